use iceberg::spec::Struct;
use icepress_model::SpecId;
use proptest::prelude::*;
use roaring::RoaringTreemap;

use super::{decode_vector, encode_vector, write_vectors};

proptest! {
    #[test]
    fn vectors_come_back_from_their_blob(
        positions in prop::collection::btree_set(
            prop_oneof![0u64..100_000, (1u64 << 32)..(1 << 32) + 50, Just(1u64 << 40)], 0..200),
        run in 0u64..5_000,
    ) {
        let mut bitmap: RoaringTreemap = positions.iter().copied().collect();
        bitmap.insert_range(200_000..200_000 + run);
        let decoded = decode_vector(&encode_vector(bitmap.clone()).unwrap()).unwrap();
        prop_assert_eq!(decoded, bitmap);
    }

    /// No bytes make the decoder panic, and no changed byte goes unseen.
    #[test]
    fn a_changed_vector_is_refused(at in 0usize..1000, change in 1u8..) {
        let mut blob = encode_vector((0..50).chain([1 << 33]).collect()).unwrap();
        let at = at % blob.len();
        blob[at] ^= change;
        prop_assert!(decode_vector(&blob).is_err());
        prop_assert!(decode_vector(&blob[..at]).is_err());
    }
}

/// Positions 1, 3, 5, 7, 9 as Iceberg's Java writer stores them (`small-alternating-values-position-index.bin` of its
/// own tests holds the same values).
#[test]
fn a_vector_laid_out_by_hand() {
    let mut body = vec![0xD1, 0xD3, 0x39, 0x64];
    // One bitmap, for the upper half 0.
    body.extend_from_slice(&1u64.to_le_bytes());
    body.extend_from_slice(&0u32.to_le_bytes());
    // A bitmap without runs: cookie, one container with key 0 and five values at offset 16.
    body.extend_from_slice(&12_346u32.to_le_bytes());
    body.extend_from_slice(&1u32.to_le_bytes());
    body.extend_from_slice(&0u16.to_le_bytes());
    body.extend_from_slice(&4u16.to_le_bytes());
    body.extend_from_slice(&16u32.to_le_bytes());
    for position in [1u16, 3, 5, 7, 9] {
        body.extend_from_slice(&position.to_le_bytes());
    }
    let mut blob = (body.len() as u32).to_be_bytes().to_vec();
    blob.extend_from_slice(&body);
    blob.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
    let decoded = decode_vector(&blob).unwrap();
    assert_eq!(decoded.iter().collect::<Vec<_>>(), [1, 3, 5, 7, 9]);
    assert_eq!(encode_vector(decoded).unwrap(), blob);
}

/// A file whose vectors are told apart by its path alone would be one vector, and all but one file's rows come back.
#[tokio::test]
async fn c49_many_vectors_lie_in_one_file_each_at_a_place_of_its_own() {
    let bitmaps: Vec<RoaringTreemap> = (0..64u64)
        .map(|file| (0..=file).map(|row| row * (file + 1)).collect())
        .collect();
    let named = bitmaps.iter().enumerate();
    let written =
        write_vectors(named.map(|(file, bitmap)| (format!("s3://b/{file}"), bitmap.clone())))
            .await
            .unwrap();
    let entries = written
        .entries("s3://b/v.puffin", SpecId(3), &Struct::empty())
        .unwrap();
    assert_eq!(entries.len(), 64);
    for ((file, bitmap), entry) in bitmaps.iter().enumerate().zip(&entries) {
        let start = usize::try_from(entry.content_offset().unwrap()).unwrap();
        let length = usize::try_from(entry.content_size_in_bytes().unwrap()).unwrap();
        let decoded = decode_vector(&written.content[start..start + length]).unwrap();
        assert_eq!(decoded, *bitmap);
        assert_eq!(entry.record_count(), bitmap.len());
        assert_eq!(entry.referenced_data_file(), Some(format!("s3://b/{file}")));
        assert_eq!(entry.file_size_in_bytes(), written.content.len() as u64);
    }
    assert!(written.content.starts_with(b"PFA1") && written.content.ends_with(b"PFA1"));
}
