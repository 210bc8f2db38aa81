//! What arrow-rs finds in a rewritten file, held against the rows that should be in it.

use std::{fs, sync::Arc};

use arrow_array::{Array, ArrayRef, RecordBatch, UInt64Array, cast::AsArray, types::Int64Type};
use arrow_cast::cast;
use arrow_row::{RowConverter, SortField};
use arrow_schema::{DataType, SchemaRef};
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use icepress_model::GroupResult;
use parquet::{
    arrow::arrow_reader::{
        ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
        RowSelector, statistics::StatisticsConverter,
    },
    file::{
        metadata::PageIndexPolicy,
        properties::ReaderProperties,
        reader::FileReader as _,
        serialized_reader::{ReadOptionsBuilder, SerializedFileReader},
    },
};

use crate::support::{TestTable, plain_schema};

/// Holds what a rewrite left against `expected`, the live rows in the inputs' order.
pub(crate) fn judge(table: &TestTable, result: &GroupResult, expected: &RecordBatch) {
    let schema = plain_schema(table.metadata.current_schema());
    let expected = plain(expected, &schema);
    let mut first = 0;
    for entry in table.entries(result) {
        let file = Bytes::from(fs::read(entry.file_path()).unwrap());
        let rows = entry.record_count() as usize;
        assert!(
            first + rows <= expected.num_rows(),
            "there are more rows than before"
        );
        let wanted = expected.slice(first, rows);
        assert_eq!(read(&file, None, &schema), wanted, "rows differ");
        some_rows(&file, &wanted, &schema);
        statistics(&file, &wanted);
        bloom_filters(&file, &wanted);
        first += rows;
    }
    assert_eq!(first, expected.num_rows(), "rows were lost");
}

fn plain(batch: &RecordBatch, schema: &SchemaRef) -> RecordBatch {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| cast(column, field.data_type()).unwrap());
    RecordBatch::try_new(Arc::clone(schema), columns.collect()).unwrap()
}

fn read(file: &Bytes, selection: Option<RowSelection>, schema: &SchemaRef) -> RecordBatch {
    let policy = match selection {
        None => PageIndexPolicy::Skip,
        Some(_) => PageIndexPolicy::Required,
    };
    let options = ArrowReaderOptions::new().with_page_index_policy(policy);
    let mut builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(file.clone(), options).unwrap();
    if let Some(selection) = selection {
        builder = builder.with_row_selection(selection);
    }
    let batches: Vec<RecordBatch> = builder
        .build()
        .unwrap()
        .map(|batch| plain(&batch.unwrap(), schema))
        .collect();
    concat_batches(schema, &batches).unwrap()
}

/// Reads every third run of seven rows, which readers find by the page index.
fn some_rows(file: &Bytes, wanted: &RecordBatch, schema: &SchemaRef) {
    const RUN: usize = 7;
    let (mut selectors, mut slices) = (Vec::new(), Vec::new());
    for (number, start) in (0..wanted.num_rows()).step_by(RUN).enumerate() {
        let length = RUN.min(wanted.num_rows() - start);
        if number % 3 == 1 {
            selectors.push(RowSelector::select(length));
            slices.push(wanted.slice(start, length));
        } else {
            selectors.push(RowSelector::skip(length));
        }
    }
    let wanted = concat_batches(schema, &slices).unwrap();
    assert_eq!(
        read(file, Some(selectors.into()), schema),
        wanted,
        "by the page index"
    );
}

/// Holds minima, maxima and NULL counts of row groups and of pages against the rows.
fn statistics(file: &Bytes, wanted: &RecordBatch) {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let metadata = ArrowReaderMetadata::load(file, options).unwrap();
    let parquet = metadata.metadata();
    for (column, field) in wanted.columns().iter().zip(wanted.schema().fields()) {
        if field.data_type().is_nested() || field.data_type().is_floating() {
            continue;
        }
        let name = field.name();
        let schema = metadata.schema();
        let converter =
            StatisticsConverter::try_new(name, schema, metadata.parquet_schema()).unwrap();
        let groups = parquet.row_groups();
        let sizes: Vec<u64> = groups.iter().map(|group| group.num_rows() as u64).collect();
        let bounds = Bounds {
            min: converter.row_group_mins(groups).unwrap(),
            max: converter.row_group_maxes(groups).unwrap(),
            nulls: converter.row_group_null_counts(groups).unwrap(),
        };
        bounds.hold(&format!("row groups of {name}"), column, &sizes);
        let (Some(columns), Some(offsets)) = (parquet.column_index(), parquet.offset_index())
        else {
            panic!("there is no page index");
        };
        let all: Vec<usize> = (0..groups.len()).collect();
        let pages = converter
            .data_page_row_counts(offsets, groups, &all)
            .unwrap();
        let sizes: Vec<u64> = pages.unwrap().iter().map(Option::unwrap).collect();
        let bounds = Bounds {
            min: converter.data_page_mins(columns, offsets, &all).unwrap(),
            max: converter.data_page_maxes(columns, offsets, &all).unwrap(),
            nulls: converter
                .data_page_null_counts(columns, offsets, &all)
                .unwrap(),
        };
        bounds.hold(&format!("pages of {name}"), column, &sizes);
    }
}

/// What is said of runs of rows.
struct Bounds {
    min: ArrayRef,
    max: ArrayRef,
    nulls: UInt64Array,
}

impl Bounds {
    fn hold(&self, what: &str, column: &ArrayRef, sizes: &[u64]) {
        let converter =
            RowConverter::new(vec![SortField::new(column.data_type().clone())]).unwrap();
        let rows = |array: &ArrayRef| {
            let array = cast(array, column.data_type()).unwrap();
            converter.convert_columns(&[array]).unwrap()
        };
        let (values, min, max) = (rows(column), rows(&self.min), rows(&self.max));
        let mut first = 0;
        for (index, size) in sizes.iter().enumerate() {
            let run = first..first + *size as usize;
            first = run.end;
            let nulls = run.clone().filter(|row| column.is_null(*row)).count() as u64;
            if self.nulls.is_valid(index) {
                assert_eq!(self.nulls.value(index), nulls, "NULLs in {what} {index}");
            }
            for row in run.filter(|row| column.is_valid(*row)) {
                if self.min.is_valid(index) {
                    assert!(min.row(index) <= values.row(row), "min of {what} {index}");
                }
                if self.max.is_valid(index) {
                    assert!(values.row(row) <= max.row(index), "max of {what} {index}");
                }
            }
        }
        assert_eq!(first, column.len(), "rows of {what}");
    }
}

/// Asks the bloom filters that are there for every value.
fn bloom_filters(file: &Bytes, wanted: &RecordBatch) {
    let reading = ReaderProperties::builder()
        .set_read_bloom_filter(true)
        .build();
    let options = ReadOptionsBuilder::new()
        .with_reader_properties(reading)
        .build();
    let reader = SerializedFileReader::new_with_options(file.clone(), options).unwrap();
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let mut first = 0;
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).unwrap();
        let rows = group.metadata().num_rows() as usize;
        for (leaf, column) in schema.columns().iter().enumerate() {
            let [name] = column.path().parts() else {
                continue;
            };
            let values = wanted.column_by_name(name).unwrap().slice(first, rows);
            if let Some(filter) = group.get_column_bloom_filter(leaf) {
                for row in (0..rows).filter(|row| values.is_valid(*row)) {
                    let is_there = match values.data_type() {
                        DataType::Utf8 => filter.check(values.as_string::<i32>().value(row)),
                        DataType::Int64 => {
                            filter.check(&values.as_primitive::<Int64Type>().value(row))
                        }
                        _ => true,
                    };
                    assert!(is_there, "a value of {name} is not in its bloom filter");
                }
            }
        }
        first += rows;
    }
}
