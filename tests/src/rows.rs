//! Rows of the laboratory's tables: written as Parquet by arrow-rs, and read back by it.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{Array as _, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema as ArrowSchema};
use bytes::Bytes;
use parquet::arrow::{
    ArrowWriter, PARQUET_FIELD_ID_META_KEY, arrow_reader::ParquetRecordBatchReaderBuilder,
};

/// A row of a laboratory table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// Column `id`, field 1.
    pub id: i64,
    /// Column `region`, field 2: what partitioned tables are partitioned by.
    pub region: String,
    /// Column `note`, field 3.
    pub note: Option<String>,
}

impl Row {
    /// A row with a note that follows from its id; every seventh has none.
    pub fn numbered(id: i64, region: &str) -> Self {
        Self {
            id,
            region: region.to_owned(),
            note: (id % 7 != 0).then(|| format!("note {id}")),
        }
    }
}

/// The rows as a Parquet file with field ids.
pub fn write_rows(rows: &[Row]) -> Bytes {
    let schema = Arc::new(ArrowSchema::new(vec![
        field("id", DataType::Int64, false, 1),
        field("region", DataType::Utf8, true, 2),
        field("note", DataType::Utf8, true, 3),
    ]));
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id))),
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|row| &row.region),
            )),
            Arc::new(
                rows.iter()
                    .map(|row| row.note.as_deref())
                    .collect::<StringArray>(),
            ),
        ],
    )
    .unwrap();
    let mut content = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut content, schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    Bytes::from(content)
}

fn field(name: &str, data_type: DataType, nullable: bool, id: i32) -> Field {
    Field::new(name, data_type, nullable).with_metadata(HashMap::from([(
        PARQUET_FIELD_ID_META_KEY.to_owned(),
        id.to_string(),
    )]))
}

/// The rows of a Parquet file.
pub fn read_table_rows(content: Bytes) -> Vec<Row> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(content)
        .unwrap()
        .build()
        .unwrap();
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let ids: &Int64Array = batch
            .column_by_name("id")
            .unwrap()
            .as_any()
            .downcast_ref()
            .unwrap();
        let text = |name: &str| -> StringArray {
            let column = batch.column_by_name(name).unwrap();
            column
                .as_any()
                .downcast_ref::<StringArray>()
                .unwrap()
                .clone()
        };
        let (regions, notes) = (text("region"), text("note"));
        rows.extend((0..batch.num_rows()).map(|row| Row {
            id: ids.value(row),
            region: regions.value(row).to_owned(),
            note: notes.is_valid(row).then(|| notes.value(row).to_owned()),
        }));
    }
    rows
}
