//! Rows of the simulated tables, and Parquet files of them, written and read by arrow-rs.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{Array as _, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema as ArrowSchema};
use bytes::Bytes;
use parquet::arrow::{
    ArrowWriter, PARQUET_FIELD_ID_META_KEY, arrow_reader::ParquetRecordBatchReaderBuilder,
};

/// A row of a simulated table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// Column `id`, field 1. No two rows that live at once have the same.
    pub id: i64,
    /// Column `region`, field 2: what partitioned tables are partitioned by.
    pub region: String,
    /// Column `note`, field 3.
    pub note: Option<String>,
}

/// Which row a row is, and when it last changed (specification, *Row Lineage*).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lineage {
    /// `_row_id`.
    pub row_id: i64,
    /// `_last_updated_sequence_number`.
    pub updated: i64,
}

/// A row as its file has it, with what the file itself says of its lineage.
#[derive(Debug, Clone)]
pub struct StoredRow {
    /// The table's columns.
    pub row: Row,
    /// Its id, where it does not follow from its place.
    pub row_id: Option<i64>,
    /// When it last changed, where that does not follow from the file.
    pub updated: Option<i64>,
}

/// The field id of `_row_id`.
const ROW_ID: i32 = 2_147_483_540;
/// The field id of `file_path` in position delete files (specification, *Reserved Field IDs*).
const PATH_ID: i32 = 2_147_483_546;
/// The field id of `pos`.
const POSITION_ID: i32 = 2_147_483_545;

fn field(name: &str, data_type: DataType, nullable: bool, id: i32) -> Field {
    Field::new(name, data_type, nullable).with_metadata(HashMap::from([(
        PARQUET_FIELD_ID_META_KEY.to_owned(),
        id.to_string(),
    )]))
}

fn file(fields: Vec<Field>, columns: Vec<arrow_array::ArrayRef>) -> Bytes {
    let schema = Arc::new(ArrowSchema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let mut content = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut content, schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    Bytes::from(content)
}

/// Rows as a data file. With `row_ids` it has a column of them, in which a row that has none is new.
pub fn data_file(rows: &[Row], row_ids: Option<&[Option<i64>]>) -> Bytes {
    let ids: Int64Array = rows.iter().map(|row| Some(row.id)).collect();
    let regions: StringArray = rows.iter().map(|row| Some(row.region.as_str())).collect();
    let notes: StringArray = rows.iter().map(|row| row.note.as_deref()).collect();
    let mut fields = vec![
        field("id", DataType::Int64, false, 1),
        field("region", DataType::Utf8, true, 2),
        field("note", DataType::Utf8, true, 3),
    ];
    let mut columns: Vec<arrow_array::ArrayRef> =
        vec![Arc::new(ids), Arc::new(regions), Arc::new(notes)];
    if let Some(row_ids) = row_ids {
        fields.push(field("_row_id", DataType::Int64, true, ROW_ID));
        columns.push(Arc::new(Int64Array::from(row_ids.to_vec())));
    }
    file(fields, columns)
}

/// Places in data files as a position delete file.
pub fn position_deletes(places: &[(String, i64)]) -> Bytes {
    let paths: StringArray = places.iter().map(|(path, _)| Some(path.as_str())).collect();
    let positions: Int64Array = places.iter().map(|(_, position)| Some(*position)).collect();
    file(
        vec![
            field("file_path", DataType::Utf8, false, PATH_ID),
            field("pos", DataType::Int64, false, POSITION_ID),
        ],
        vec![Arc::new(paths), Arc::new(positions)],
    )
}

/// Ids as an equality delete file.
pub fn equality_deletes(ids: &[i64]) -> Bytes {
    let ids: Int64Array = ids.iter().map(|id| Some(*id)).collect();
    file(
        vec![field("id", DataType::Int64, false, 1)],
        vec![Arc::new(ids)],
    )
}

fn batches(content: Bytes) -> Result<Vec<RecordBatch>, String> {
    ParquetRecordBatchReaderBuilder::try_new(content)
        .and_then(|builder| builder.build())
        .map_err(|error| error.to_string())?
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())
}

fn numbers(batch: &RecordBatch, name: &str) -> Result<Int64Array, String> {
    let column = batch
        .column_by_name(name)
        .ok_or(format!("no column {name}"))?;
    let numbers = column.as_any().downcast_ref::<Int64Array>();
    numbers
        .cloned()
        .ok_or(format!("{name} is {}", column.data_type()))
}

fn texts(batch: &RecordBatch, name: &str) -> Result<StringArray, String> {
    let column = batch
        .column_by_name(name)
        .ok_or(format!("no column {name}"))?;
    let texts = column.as_any().downcast_ref::<StringArray>();
    texts
        .cloned()
        .ok_or(format!("{name} is {}", column.data_type()))
}

/// The rows of a data file, in its order.
pub fn read_data_file(content: Bytes) -> Result<Vec<StoredRow>, String> {
    let mut rows = Vec::new();
    for batch in batches(content)? {
        let ids = numbers(&batch, "id")?;
        let (regions, notes) = (texts(&batch, "region")?, texts(&batch, "note")?);
        let optional = |name: &str| {
            let column = batch.column_by_name(name).map(|_| numbers(&batch, name));
            column.transpose()
        };
        let row_ids = optional("_row_id")?;
        let updated = optional("_last_updated_sequence_number")?;
        let value = |column: &Option<Int64Array>, row: usize| {
            let column = column.as_ref().filter(|column| column.is_valid(row))?;
            Some(column.value(row))
        };
        rows.extend((0..batch.num_rows()).map(|row| StoredRow {
            row: Row {
                id: ids.value(row),
                region: regions.value(row).to_owned(),
                note: notes.is_valid(row).then(|| notes.value(row).to_owned()),
            },
            row_id: value(&row_ids, row),
            updated: value(&updated, row),
        }));
    }
    Ok(rows)
}

/// The places of a position delete file.
pub fn read_position_deletes(content: Bytes) -> Result<Vec<(String, i64)>, String> {
    let mut places = Vec::new();
    for batch in batches(content)? {
        let (paths, positions) = (texts(&batch, "file_path")?, numbers(&batch, "pos")?);
        places.extend(
            (0..batch.num_rows()).map(|row| (paths.value(row).to_owned(), positions.value(row))),
        );
    }
    Ok(places)
}

/// The ids of an equality delete file.
pub fn read_equality_deletes(content: Bytes) -> Result<Vec<i64>, String> {
    let mut ids = Vec::new();
    for batch in batches(content)? {
        ids.extend(numbers(&batch, "id")?.values());
    }
    Ok(ids)
}
