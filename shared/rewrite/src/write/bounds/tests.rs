//! Cases C47 and C54: a bound never excludes a live value, and is one under `full`; under `truncate` it is as near as its
//! length allows.

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
        .set_statistics_truncate_length(None)
        .build();
    let mut content = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut content, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let reader = SerializedFileReader::new(bytes::Bytes::from(content)).unwrap();
    let mut bounds = Bounds::new(column);
    for group in reader.metadata().row_groups() {
        bounds.add_chunk(group.column(0));
    }
    let (low, high) = bounds.finish(mode);
    let bytes = |datum: Option<Datum>| datum.map(|datum| datum.to_bytes().unwrap().into_vec());
    (bytes(low), bytes(high))
}

fn mode() -> impl Strategy<Value = MetricsMode> {
    prop_oneof![
        Just(MetricsMode::Full),
        (1usize..100).prop_map(MetricsMode::Truncate),
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

fn next_character(last: char) -> Option<char> {
    (last as u32 + 1..=last as u32 + 0x800 + 1).find_map(char::from_u32)
}

/// The least sequence of at most `length` items that is not below `greatest`: the longest prefix with its last item made
/// one greater that there is.
fn nearest_above<T: Clone + Ord>(
    greatest: &[T],
    length: usize,
    next: impl Fn(&T) -> Option<T>,
) -> Option<Vec<T>> {
    if greatest.len() <= length {
        return Some(greatest.to_vec());
    }
    (0..length)
        .filter_map(|at| Some([&greatest[..at], &[next(&greatest[at])?]].concat()))
        .min()
}

proptest! {
    #[test]
    fn c54_texts(values in prop::collection::vec(prop::option::weighted(0.9, text()), 1..12), mode in mode()) {
        let array = Arc::new(StringArray::from(values.clone()));
        let (low, high) = bounds_of(PrimitiveType::String, array, mode);
        let texts = || values.iter().flatten().map(String::as_str);
        let (Some(least), Some(greatest)) = (texts().min(), texts().max()) else {
            prop_assert_eq!((low, high), (None, None));
            return Ok(());
        };
        let text = |bytes: Option<Vec<u8>>| bytes.map(|bytes| String::from_utf8(bytes).unwrap());
        let expected = match mode {
            MetricsMode::Truncate(length) => (
                least.chars().take(length).collect(),
                nearest_above(&greatest.chars().collect::<Vec<_>>(), length, |last| next_character(*last))
                    .map(|nearest| nearest.into_iter().collect()),
            ),
            _ => (least.to_owned(), Some(greatest.to_owned())),
        };
        prop_assert_eq!((text(low), text(high)), (Some(expected.0), expected.1));
    }

    #[test]
    fn c54_bytes(values in prop::collection::vec(
        prop::collection::vec(prop_oneof![Just(0u8), Just(0xFF), any::<u8>()], 0..80), 1..12), mode in mode()) {
        let array = Arc::new(BinaryArray::from_iter_values(&values));
        let (low, high) = bounds_of(PrimitiveType::Binary, array, mode);
        let (least, greatest) = (values.iter().min().unwrap(), values.iter().max().unwrap());
        let expected = match mode {
            MetricsMode::Truncate(length) => (
                least[..length.min(least.len())].to_vec(),
                nearest_above(greatest, length, |last| last.checked_add(1)),
            ),
            _ => (least.clone(), Some(greatest.clone())),
        };
        prop_assert_eq!((low, high), (Some(expected.0), expected.1));
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
        // Which of them is smallest depends on the reader: no answer is better than one of two.
        let array = Arc::new(FixedSizeBinaryArray::try_from_iter(values.iter()).unwrap());
        prop_assert_eq!(bounds_of(PrimitiveType::Uuid, array, MetricsMode::Full), (None, None));
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
        // The smallest and greatest number, equal as numbers: a zero may have the other sign.
        let numbers = || values.iter().copied().filter(|value| !value.is_nan());
        if let (Some(low), Some(high)) = (&low, &high) {
            prop_assert_eq!(number(low), numbers().fold(f64::INFINITY, f64::min));
            prop_assert_eq!(number(high), numbers().fold(f64::NEG_INFINITY, f64::max));
        }
        // Only row groups of nothing but NaN take the bounds away.
        if values.chunks(3).all(|group| group.iter().any(|value| !value.is_nan())) {
            prop_assert!(low.is_some() && high.is_some());
        }
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

#[test]
fn c54_full_has_no_bound_that_is_no_value() {
    let array = |values: Vec<String>| Arc::new(StringArray::from(values));
    let of =
        |values: Vec<String>| bounds_of(PrimitiveType::String, array(values), MetricsMode::Full);
    let (short, long) = ("a".repeat(71), "b".repeat(MOST_OF_FULL + 1));
    let (low, high) = of(vec![short.clone(), long]);
    assert_eq!((low.as_deref(), high), (Some(short.as_bytes()), None));
    assert_eq!(
        of(vec![String::new()]),
        (Some(Vec::new()), Some(Vec::new()))
    );
    // Of a writer that cuts its statistics off whatever it is told.
    let statistics = |exact: bool| {
        let values = parquet::file::statistics::ValueStatistics::new(
            Some(parquet::data_type::ByteArray::from("a")),
            Some(parquet::data_type::ByteArray::from("c")),
            None,
            Some(0),
            false,
        );
        Statistics::ByteArray(values.with_max_is_exact(exact))
    };
    let mut bounds = Bounds::new(PrimitiveType::String);
    bounds.add(Some(&statistics(true)), 2);
    let whole = bounds.clone().finish(MetricsMode::Full);
    assert_eq!(whole, (Some(Datum::string("a")), Some(Datum::string("c"))));
    bounds.add(Some(&statistics(false)), 2);
    assert_eq!(
        bounds.clone().finish(MetricsMode::Full),
        (Some(Datum::string("a")), None)
    );
    assert!(bounds.finish(MetricsMode::Truncate(16)).1.is_some());
}
