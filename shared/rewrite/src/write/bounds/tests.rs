//! Case C47: a bound never excludes a live value.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, Decimal128Array, FixedSizeBinaryArray, Float64Array, RecordBatch,
    StringArray,
};
use arrow_schema::{Field, Schema};
use parquet::{
    arrow::ArrowWriter,
    file::{
        properties::WriterProperties, reader::FileReader as _,
        serialized_reader::SerializedFileReader,
    },
};
use proptest::prelude::*;

use super::*;

/// The bounds of values that are written in row groups of three.
fn bounds_of(
    column: PrimitiveType,
    array: ArrayRef,
    mode: MetricsMode,
) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let field = Field::new("c", array.data_type().clone(), true);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![array]).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(3))
        .build();
    let mut content = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut content, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let reader = SerializedFileReader::new(bytes::Bytes::from(content)).unwrap();
    let mut bounds = Bounds::new(column);
    for group in reader.metadata().row_groups() {
        let chunk = group.column(0);
        let nulls = chunk
            .statistics()
            .and_then(|s| s.null_count_opt())
            .unwrap_or(0);
        bounds.add(chunk.statistics(), chunk.num_values() as u64 - nulls);
    }
    let (low, high) = bounds.finish(mode);
    let bytes = |datum: Option<Datum>| datum.map(|datum| datum.to_bytes().unwrap().into_vec());
    (bytes(low), bytes(high))
}

fn mode() -> impl Strategy<Value = MetricsMode> {
    prop_oneof![
        Just(MetricsMode::Full),
        (1usize..20).prop_map(MetricsMode::Truncate),
    ]
}

/// Characters on all edges: one to four bytes, around the surrogates, and the last of all.
fn text() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        Just('a'),
        Just('z'),
        Just('\u{7F}'),
        Just('\u{80}'),
        Just('\u{7FF}'),
        Just('\u{D7FF}'),
        Just('\u{E000}'),
        Just('\u{FFFF}'),
        Just('\u{10000}'),
        Just('\u{10FFFF}'),
    ];
    prop_oneof![
        prop::collection::vec(character.clone(), 0..6),
        prop::collection::vec(character, 10..90),
    ]
    .prop_map(|characters| characters.into_iter().collect())
}

proptest! {
    #[test]
    fn c47_texts(values in prop::collection::vec(prop::option::weighted(0.9, text()), 1..12), mode in mode()) {
        let array = Arc::new(StringArray::from(values.clone()));
        let (low, high) = bounds_of(PrimitiveType::String, array, mode);
        for value in values.iter().flatten() {
            if let Some(low) = &low {
                prop_assert!(low.as_slice() <= value.as_bytes());
            }
            if let Some(high) = &high {
                prop_assert!(value.as_bytes() <= high.as_slice());
            }
        }
        if let MetricsMode::Truncate(length) = mode {
            for bound in [&low, &high].into_iter().flatten() {
                prop_assert!(std::str::from_utf8(bound).unwrap().chars().count() <= length);
            }
        }
        // Bounds are only left out where there are none.
        let starts_last = |value: &String| value.starts_with('\u{10FFFF}');
        let may_lack = values.iter().flatten().any(starts_last);
        if values.iter().flatten().next().is_some() {
            prop_assert!(low.is_some());
            prop_assert!(high.is_some() || may_lack);
        }
    }

    #[test]
    fn c47_bytes(values in prop::collection::vec(
        prop::collection::vec(prop_oneof![Just(0u8), Just(0xFF), any::<u8>()], 0..80), 1..12), mode in mode()) {
        let array = Arc::new(BinaryArray::from_iter_values(&values));
        let (low, high) = bounds_of(PrimitiveType::Binary, array, mode);
        for value in &values {
            prop_assert!(low.as_ref().is_none_or(|low| low <= value));
            prop_assert!(high.as_ref().is_none_or(|high| value <= high));
        }
    }

    #[test]
    fn c47_uuids_in_either_order(values in prop::collection::vec(any::<[u8; 16]>(), 1..8), narrow in any::<bool>()) {
        let values: Vec<[u8; 16]> = values
            .into_iter()
            .map(|mut value| { if narrow { value[0] |= 0x80; } value })
            .collect();
        let array = Arc::new(FixedSizeBinaryArray::try_from_iter(values.iter()).unwrap());
        let (low, high) = bounds_of(PrimitiveType::Uuid, array, MetricsMode::Truncate(16));
        let signed = |bytes: &[u8]| {
            (i64::from_be_bytes(bytes[..8].try_into().unwrap()), i64::from_be_bytes(bytes[8..].try_into().unwrap()))
        };
        for value in &values {
            if let Some(low) = &low {
                prop_assert!(low.as_slice() <= value.as_slice() && signed(low) <= signed(value));
            }
            if let Some(high) = &high {
                prop_assert!(value.as_slice() <= high.as_slice() && signed(value) <= signed(high));
            }
        }
        prop_assert!(!narrow || low.is_some());
    }

    #[test]
    fn c47_decimals(values in prop::collection::vec(-(10i128.pow(8))..10i128.pow(8), 1..12),
                    precision in prop_oneof![Just(9u8), Just(18), Just(20), Just(38)]) {
        let array = Decimal128Array::from(values.clone()).with_precision_and_scale(precision, 2).unwrap();
        let column = PrimitiveType::Decimal { precision: precision.into(), scale: 2 };
        let (low, high) = bounds_of(column, Arc::new(array), MetricsMode::Truncate(16));
        let number = |bytes: Option<Vec<u8>>| decimal(&sign_extended(&bytes.unwrap()).unwrap());
        prop_assert_eq!(number(low), *values.iter().min().unwrap());
        prop_assert_eq!(number(high), *values.iter().max().unwrap());
    }

    #[test]
    fn c47_doubles(values in prop::collection::vec(
        prop_oneof![any::<f64>(), Just(f64::NAN), Just(0.0), Just(-0.0), Just(f64::INFINITY)], 1..12)) {
        let array = Arc::new(Float64Array::from(values.clone()));
        let (low, high) = bounds_of(PrimitiveType::Double, array, MetricsMode::Full);
        let number = |bytes: &[u8]| f64::from_le_bytes(bytes.try_into().unwrap());
        for value in values.iter().filter(|value| !value.is_nan()) {
            if let (Some(low), Some(high)) = (&low, &high) {
                prop_assert!(number(low).total_cmp(value).is_le());
                prop_assert!(value.total_cmp(&number(high)).is_le());
            }
        }
    }
}

#[test]
fn c47_a_long_value_in_one_row_group_does_not_hide_it() {
    let long = |c: &str| c.repeat(100);
    let values = vec![
        Some(long("a")),
        None,
        None,
        Some("m".to_owned()),
        None,
        None,
        Some(long("z")),
        None,
        None,
    ];
    let (low, high) = bounds_of(
        PrimitiveType::String,
        Arc::new(StringArray::from(values)),
        MetricsMode::Truncate(16),
    );
    assert_eq!(low.unwrap(), "a".repeat(16).as_bytes());
    assert_eq!(high.unwrap(), format!("{}{{", "z".repeat(15)).as_bytes());
}

#[test]
fn rounding_up_on_code_points() {
    assert_eq!(round_up_text("abc", 3).as_deref(), Some("abc"));
    assert_eq!(round_up_text("abcd", 3).as_deref(), Some("abd"));
    assert_eq!(round_up_text("a\u{10FFFF}c", 2).as_deref(), Some("b"));
    assert_eq!(round_up_text("\u{D7FF}x", 1).as_deref(), Some("\u{E000}"));
    assert_eq!(round_up_text("\u{10FFFF}x", 1), None);
    assert_eq!(round_up_bytes(&[1, 0xFF, 3], 2), Some(vec![2]));
    assert_eq!(round_up_bytes(&[0xFF, 0xFF], 1), None);
}

#[test]
fn a_row_group_without_statistics_takes_the_bounds_away() {
    let mut bounds = Bounds::new(PrimitiveType::Int);
    bounds.add(
        Some(&Statistics::int32(Some(1), Some(2), None, Some(0), false)),
        2,
    );
    bounds.add(None, 0);
    let known = bounds.clone().finish(MetricsMode::Full);
    assert!(known.0.is_some() && known.1.is_some());
    bounds.add(None, 1);
    assert_eq!(bounds.finish(MetricsMode::Full), (None, None));
}
