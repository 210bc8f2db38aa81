use std::collections::HashMap;

use proptest::prelude::*;
use roaring::RoaringTreemap;

use super::{key_set::KeySet, vector::decode_vector};
use crate::tests::support::vector_blob;

proptest! {
    /// The set is a map from keys to the greatest number, whatever the keys.
    #[test]
    fn a_key_set_is_a_map_to_the_greatest_number(
        keys in prop::collection::vec((prop::collection::vec(0u8..3, 0..4), 0i64..9), 0..300),
    ) {
        let mut set = KeySet::default();
        let mut model: HashMap<Vec<u8>, i64> = HashMap::new();
        for (key, sequence) in &keys {
            prop_assert!(set.insert(key, *sequence));
            let known = model.entry(key.clone()).or_insert(*sequence);
            *known = (*known).max(*sequence);
        }
        prop_assert_eq!(set.is_empty(), keys.is_empty());
        for (key, _) in &keys {
            prop_assert_eq!(set.deleted_at(key), model.get(key).copied());
        }
        prop_assert_eq!(set.deleted_at(b"\x07none"), None);
        prop_assert!(set.memory() >= model.keys().map(|key| key.len() as u64).sum());
    }

    #[test]
    fn vectors_come_back_from_their_blob(
        positions in prop::collection::btree_set(
            prop_oneof![0u64..100_000, (1u64 << 32)..(1 << 32) + 50, Just(1u64 << 40)], 0..200),
    ) {
        let bitmap: RoaringTreemap = positions.iter().copied().collect();
        let decoded = decode_vector(&vector_blob(bitmap)).unwrap();
        prop_assert_eq!(decoded.iter().collect::<Vec<_>>(), positions.into_iter().collect::<Vec<_>>());
    }

    /// No bytes make the decoder panic, and no changed byte goes unseen.
    #[test]
    fn a_changed_vector_is_refused(at in 0usize..1000, change in 1u8..) {
        let mut blob = vector_blob((0..50).chain([1 << 33]).collect());
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
}
