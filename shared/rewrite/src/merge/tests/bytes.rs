//! Levels, indices and pages as bytes: round trips, and bytes that nobody should have written.

use bytes::Bytes;
use parquet::{
    basic::Compression,
    file::{
        properties::{WriterProperties, WriterVersion},
        reader::{FileReader as _, SerializedFileReader},
    },
};
use proptest::prelude::*;

use super::{
    super::{
        column::{Source, Target, join},
        hybrid::{bits_of, count_levels, decode, encode, one_run, remap},
        trust::Known,
    },
    rows::{drawn, in_memory},
};

/// Values as one bit-packed run, by the book: value after value, lowest bit first.
fn packed(values: &[u32], width: u8) -> Vec<u8> {
    let groups = values.len().div_ceil(8);
    let mut bits = vec![false; groups * 8 * usize::from(width)];
    for (index, value) in values.iter().enumerate() {
        for bit in 0..usize::from(width) {
            bits[index * usize::from(width) + bit] = value >> bit & 1 == 1;
        }
    }
    let mut out = Vec::new();
    let mut head = groups << 1 | 1;
    while head >= 0x80 {
        out.push(head as u8 | 0x80);
        head >>= 7;
    }
    out.push(head as u8);
    out.extend(bits.chunks(8).map(|bits| {
        let bits = bits.iter().enumerate();
        bits.fold(0u8, |byte, (place, bit)| byte | u8::from(*bit) << place)
    }));
    out
}

proptest! {
    #[test]
    fn packed_values_are_read_and_mapped(
        width in 1u8..=20,
        raw in prop::collection::vec(any::<u32>(), 1..300),
        repeated in 1usize..50,
    ) {
        let mask = (1u32 << width) - 1;
        let mut values: Vec<u32> = raw.iter().map(|value| value & mask).collect();
        values.truncate(values.len() / 8 * 8);
        let mut bytes = packed(&values, width);
        values.extend(std::iter::repeat_n(mask, repeated));
        one_run(mask, width, repeated, &mut bytes);
        let tail: Vec<u32> = raw.iter().rev().map(|value| value & mask).collect();
        bytes.extend(packed(&tail, width));
        values.extend(&tail);
        let mut read = Vec::new();
        decode(&bytes, width, values.len(), &mut read).unwrap();
        prop_assert_eq!(&read, &values);

        let map: Vec<u32> = (0..=mask).map(|index| index.wrapping_mul(2_654_435_761) >> 4).collect();
        let wider = bits_of(u32::MAX >> 4);
        let mut mapped = Vec::new();
        remap(&bytes, width, values.len(), &map, wider, &mut mapped).unwrap();
        let mut read = Vec::new();
        decode(&mapped, wider, values.len(), &mut read).unwrap();
        let expected: Vec<u32> = values.iter().map(|value| map[*value as usize]).collect();
        prop_assert_eq!(read, expected);
        let short = &map[..mask as usize];
        prop_assert!(remap(&bytes, width, values.len(), short, wider, &mut Vec::new()).is_err());
    }

    #[test]
    fn what_is_encoded_is_read_again(
        width in 1u8..=20,
        runs in prop::collection::vec((any::<u32>(), 1usize..40), 0..40),
    ) {
        let mask = (1u32 << width) - 1;
        let values: Vec<u32> = runs
            .iter()
            .flat_map(|(value, count)| std::iter::repeat_n(value & mask, *count))
            .collect();
        let (mut bytes, mut read) = (Vec::new(), Vec::new());
        encode(&values, width, &mut bytes);
        decode(&bytes, width, values.len(), &mut read).unwrap();
        prop_assert_eq!(read, values);
    }

    #[test]
    fn no_bytes_make_levels_or_indices_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        width in 0u8..=40,
        count in 0usize..5000,
    ) {
        let mut read = Vec::new();
        if decode(&bytes, width, count, &mut read).is_ok() {
            prop_assert_eq!(read.len(), count);
        }
        let mut histogram = vec![0; usize::from(width % 5) + 1];
        if count_levels(&bytes, count, &mut histogram).is_ok() {
            prop_assert_eq!(histogram.iter().sum::<i64>(), count as i64);
        }
        let _ = remap(&bytes, width, count, &[3, 1, 2], 2, &mut Vec::new());
    }

    #[test]
    fn no_pages_make_a_merge_panic(
        seed in 0u64..6,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let version = if seed % 2 == 0 { WriterVersion::PARQUET_1_0 } else { WriterVersion::PARQUET_2_0 };
        let properties = WriterProperties::builder()
            .set_writer_version(version)
            .set_data_page_row_count_limit(20)
            .set_write_batch_size(10)
            .build();
        let content = in_memory(&drawn(seed, 60), properties);
        let reader = SerializedFileReader::new(content.clone()).unwrap();
        let group = reader.metadata().row_group(0);
        for (chunk_number, chunk) in group.columns().iter().enumerate() {
            let (start, length) = chunk.byte_range();
            let whole = content.slice(start as usize..(start + length) as usize);
            let mut bytes = whole.to_vec();
            for (place, byte) in &changes {
                let place = place.index(bytes.len());
                bytes[place] = *byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let source = |content: Bytes| Source {
                chunk,
                rows: group.num_rows() as u64,
                index: Some(content.slice(..content.len() / 2)),
                known: Known::of(
                    reader.metadata().file_metadata(),
                    chunk_number,
                    chunk.column_descr(),
                    chunk,
                ),
                content,
                deleted: vec![1, 7, 8],
            };
            let target = Target {
                column: chunk.column_descr_ptr(),
                compression: Compression::UNCOMPRESSED,
                dictionary_bytes: 1 << 20,
                most_page: 1 << 20,
                most_dictionaries: 1 << 20,
                has_statistics: true,
                must_be_exact: false,
            };
            // Whatever comes of it, it comes.
            let _ = join(&target, &[source(whole), source(bytes.into())]);
        }
    }
}
