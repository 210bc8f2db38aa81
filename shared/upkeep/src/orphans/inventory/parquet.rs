//! Files of an inventory in Parquet, of which only the columns that count are read.

use arrow_array::{
    Array as _, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    TimestampMillisecondArray,
};
use bytes::Bytes as Buffer;
use icepress_model::TimestampMs;
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
};

use super::{Batch, Row};

/// Rows that are read at a time.
const BATCH: usize = 8192;
const COLUMNS: [&str; 6] = [
    "bucket",
    "key",
    "is_latest",
    "is_delete_marker",
    "size",
    "last_modified_date",
];

/// The rows of one file.
pub(super) struct ParquetRows {
    reader: ParquetRecordBatchReader,
}

impl ParquetRows {
    pub(super) fn new(content: Buffer) -> Result<Self, String> {
        let unreadable =
            |error: parquet::errors::ParquetError| format!("it can't be read: {error}");
        // Types are those of the file, whatever the writer's library had in memory.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(content, options)
            .map_err(unreadable)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), COLUMNS);
        let reader = builder.with_projection(mask).with_batch_size(BATCH).build();
        Ok(Self {
            reader: reader.map_err(unreadable)?,
        })
    }

    /// Some rows; `None` at the end.
    pub(super) fn next(&mut self) -> Batch {
        let Some(batch) = self.reader.next() else {
            return Ok(None);
        };
        let batch = batch.map_err(|error| format!("it can't be read: {error}"))?;
        rows_of(&batch).map(Some)
    }
}

fn rows_of(batch: &RecordBatch) -> Result<Vec<Row>, String> {
    let bucket: &StringArray = column(batch, "bucket")?;
    let key: &StringArray = column(batch, "key")?;
    let size: &Int64Array = column(batch, "size")?;
    let modified = moments(batch)?;
    let flag = |name: &str| match batch.column_by_name(name) {
        None => Ok(None),
        Some(_) => column::<BooleanArray>(batch, name).map(Some),
    };
    let (latest, marker) = (flag("is_latest")?, flag("is_delete_marker")?);
    let is_true = |flags: Option<&BooleanArray>, at: usize, otherwise: bool| match flags {
        Some(flags) if flags.is_valid(at) => flags.value(at),
        _ => otherwise,
    };
    let rows = (0..batch.num_rows()).map(|at| {
        // Where it is told of versions and not of this one, it stays.
        let is_latest = is_true(latest, at, latest.is_none());
        Row {
            bucket: bucket.value(at).to_owned(),
            key: key.value(at).to_owned(),
            is_current: is_latest && !is_true(marker, at, false),
            size: size
                .is_valid(at)
                .then(|| u64::try_from(size.value(at)).ok())
                .flatten(),
            modified: modified[at],
        }
    });
    Ok(rows.collect())
}

fn column<'a, A: 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a A, String> {
    let column = batch
        .column_by_name(name)
        .ok_or_else(|| format!("it has no column {name}"))?;
    let typed = column.as_any().downcast_ref();
    typed.ok_or_else(|| format!("its column {name} has the type {}", column.data_type()))
}

fn moments(batch: &RecordBatch) -> Result<Vec<Option<TimestampMs>>, String> {
    const NAME: &str = "last_modified_date";
    if let Ok(millis) = column::<TimestampMillisecondArray>(batch, NAME) {
        return Ok(millis.iter().map(|it| it.map(TimestampMs)).collect());
    }
    let micros: &TimestampMicrosecondArray = column(batch, NAME)?;
    let moments = micros
        .iter()
        .map(|it| it.map(|it| TimestampMs(it.div_euclid(1000))));
    Ok(moments.collect())
}
