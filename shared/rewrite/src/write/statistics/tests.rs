use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, FixedSizeBinaryArray, RecordBatch, StringArray};
use arrow_schema::{Field, Schema};
use parquet::{
    arrow::{
        ArrowSchemaConverter,
        arrow_writer::{ArrowRowGroupWriterFactory, compute_leaves},
    },
    file::{properties::WriterProperties, writer::SerializedFileWriter},
};
use proptest::prelude::*;

use super::*;

/// A finished chunk of `array`, with statistics as the encoder asks for them, and the same cut down.
fn chunk(array: &ArrayRef) -> (ColumnChunkMetaData, ColumnCloseResult) {
    let field = Field::new("c", array.data_type().clone(), true);
    let schema = Arc::new(Schema::new(vec![field.clone()]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::clone(array)]).unwrap();
    let properties = WriterProperties::builder().set_statistics_truncate_length(None);
    let columns = ArrowSchemaConverter::new().convert(&schema).unwrap();
    let file = SerializedFileWriter::new(
        Vec::new(),
        columns.root_schema_ptr(),
        Arc::new(properties.build()),
    )
    .unwrap();
    let factory = ArrowRowGroupWriterFactory::new(&file, schema);
    let mut writer = factory.create_column_writers(0).unwrap().remove(0);
    for leaf in compute_leaves(&field, batch.column(0)).unwrap() {
        writer.write(&leaf).unwrap();
    }
    let mut chunk = writer.close().unwrap();
    let whole = chunk.close().metadata.clone();
    shorten(chunk.close_mut()).unwrap();
    let close = chunk.close();
    let cut = ColumnCloseResult {
        bytes_written: close.bytes_written,
        rows_written: close.rows_written,
        metadata: close.metadata.clone(),
        bloom_filter: None,
        column_index: close.column_index.clone(),
        offset_index: close.offset_index.clone(),
    };
    (whole, cut)
}

/// The statistics that are left hold, are short, say whether they are exact, and have lost no count.
fn check(array: &ArrayRef) -> std::result::Result<(), TestCaseError> {
    let (whole, cut) = chunk(array);
    let (whole, left) = (
        whole.statistics().unwrap(),
        cut.metadata.statistics().unwrap(),
    );
    prop_assert_eq!(whole.null_count_opt(), left.null_count_opt());
    let (Some(low), Some(high)) = (whole.min_bytes_opt(), whole.max_bytes_opt()) else {
        prop_assert_eq!(left.min_bytes_opt(), None);
        return Ok(());
    };
    let lower = left.min_bytes_opt().unwrap();
    prop_assert!(lower.len() <= MOST && lower <= low && low.starts_with(lower));
    prop_assert_eq!(left.min_is_exact(), lower == low);
    match left.max_bytes_opt() {
        Some(upper) => {
            // What nothing short is greater than stays whole.
            prop_assert!(upper.len() <= MOST || upper == high && has_no_short_bound(high));
            prop_assert!(high <= upper);
            prop_assert_eq!(left.max_is_exact(), upper == high);
        }
        None => prop_assert!(high.len() > MOST_WHOLE),
    }
    if let Some(index) = &cut.column_index {
        prop_assert!(!has_long_values(index));
    }
    Ok(())
}

/// Whether everything up to the longest short value is already the greatest byte or character there is.
fn has_no_short_bound(high: &[u8]) -> bool {
    let text = std::str::from_utf8(high);
    let mut begin = text.iter().flat_map(|text| text.chars()).take(MOST / 4 - 1);
    high[..MOST].iter().all(|byte| *byte == 0xFF)
        || text.is_ok() && begin.all(|character| character == '\u{10FFFF}')
}

proptest! {
    #[test]
    fn texts_of_any_length_leave_short_statistics(values in prop::collection::vec(prop::option::of((
        prop::sample::select(vec!['a', '\u{7F}', '\u{7FF}', '\u{D7FF}', '\u{FFFF}', '\u{10FFFF}']),
        0usize..70, "[a-c]{0,3}")), 1..5)) {
        let texts: Vec<Option<String>> = values
            .into_iter()
            .map(|value| value.map(|(first, count, rest)| first.to_string().repeat(count) + &rest))
            .collect();
        check(&(Arc::new(StringArray::from(texts)) as ArrayRef))?;
    }

    #[test]
    fn bytes_of_any_length_leave_short_statistics(values in prop::collection::vec(prop_oneof![
        prop::collection::vec(any::<u8>(), 0..130), Just(vec![0xFF; 100]), Just(vec![0xFF; 64])], 1..5)) {
        check(&(Arc::new(BinaryArray::from_iter_values(&values)) as ArrayRef))?;
        let fixed = values.iter().map(|value| [value.as_slice(), &[0xFF; 200]].concat()[..200].to_vec());
        check(&(Arc::new(FixedSizeBinaryArray::try_from_iter(fixed).unwrap()) as ArrayRef))?;
    }
}

#[test]
fn values_that_nothing_short_is_greater_than_stay_out_of_the_column_index() {
    let greatest: ArrayRef = Arc::new(BinaryArray::from_iter_values([vec![0xFFu8; 5000]]));
    let (_, cut) = chunk(&greatest);
    assert!(cut.column_index.is_none() && cut.offset_index.is_some());
    let statistics = cut.metadata.statistics().unwrap();
    assert_eq!(statistics.max_bytes_opt(), None);
    let usual: ArrayRef = Arc::new(BinaryArray::from_iter_values([vec![7u8; 5000]]));
    assert!(chunk(&usual).1.column_index.is_some());
}

/// Iceberg's reading of a footer answers from the row groups that have a maximum alone.
#[test]
fn a_maximum_that_can_not_be_rounded_up_is_in_the_footer_whole() {
    let highest = "\u{10FFFF}".repeat(21);
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", &highest]));
    let (_, cut) = chunk(&texts);
    let statistics = cut.metadata.statistics().unwrap();
    assert_eq!(statistics.max_bytes_opt(), Some(highest.as_bytes()));
    assert!(statistics.max_is_exact());
}
