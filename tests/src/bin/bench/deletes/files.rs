//! The delete files: the same rows of each data file deleted by position, by key, and by vector.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Schema};
use icepress_model::{Bytes, DeleteContent, DeleteFile, InputFile, Rows, SequenceNumber};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use roaring::RoaringTreemap;

use crate::events::{self, EVENT_ID, FILES, ROWS, Stream};

/// Rows that are deleted of each data file: one in a hundred.
pub(super) const DELETED_OF_A_FILE: u64 = ROWS / 100;
const KEY_FILES: u64 = 10;
/// Field ids of a position delete file's columns (specification, *Reserved Field IDs*).
const PATH_ID: i32 = 2_147_483_546;
const POSITION_ID: i32 = 2_147_483_545;
/// The Puffin file, and where in it each data file's vector lies.
const PUFFIN: &str = "vectors.puffin";
const PLACES: &str = "vectors.json";

/// Which rows of the data file with a number are deleted.
fn deleted_rows(file: u64) -> BTreeSet<u64> {
    let mut stream = Stream(1_000 + file);
    let mut rows = BTreeSet::new();
    while (rows.len() as u64) < DELETED_OF_A_FILE {
        rows.insert(stream.below(ROWS));
    }
    rows
}

/// Writes a position delete file for each data file.
pub(super) fn write_positions(folder: &Path, inputs: &[InputFile]) -> Result<()> {
    for (number, input) in (0..).zip(inputs) {
        let rows = deleted_rows(number);
        let paths = StringArray::from_iter_values(rows.iter().map(|_| &input.path));
        let positions = Int64Array::from_iter_values(rows.iter().map(|row| *row as i64));
        let schema = Schema::new(vec![
            events::field(PATH_ID, "file_path", DataType::Utf8).with_nullable(false),
            events::field(POSITION_ID, "pos", DataType::Int64).with_nullable(false),
        ]);
        let columns: Vec<ArrayRef> = vec![Arc::new(paths), Arc::new(positions)];
        write(&positions_path(folder, number), schema, columns)?;
    }
    Ok(())
}

fn positions_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:02}-positions.parquet"))
}

/// The position delete files, one for each input.
pub(super) fn positions(folder: &Path, inputs: &[InputFile]) -> Result<Vec<DeleteFile>> {
    let file = |(number, input): (u64, &InputFile)| {
        let mut delete = delete(
            &positions_path(folder, number),
            DeleteContent::Position,
            DELETED_OF_A_FILE,
        )?;
        delete.referenced_data_file = Some(input.path.clone());
        Ok(delete)
    };
    (0..).zip(inputs).map(file).collect()
}

/// Writes the equality delete files: each has a tenth of the deleted rows of every data file.
pub(super) fn write_keys(folder: &Path) -> Result<()> {
    let ids: Vec<i64> = (0..FILES)
        .flat_map(|file| {
            let rows = deleted_rows(file).into_iter();
            rows.map(move |row| (file * ROWS + row) as i64)
        })
        .collect();
    for number in 0..KEY_FILES {
        let keys = ids.iter().skip(number as usize).step_by(KEY_FILES as usize);
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(keys.copied()));
        let schema = Schema::new(vec![events::field(EVENT_ID, "event_id", DataType::Int64)]);
        write(&keys_path(folder, number), schema, vec![keys])?;
    }
    Ok(())
}

fn keys_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number}-keys.parquet"))
}

/// The equality delete files.
pub(super) fn keys(folder: &Path) -> Result<Vec<DeleteFile>> {
    let field_ids = vec![EVENT_ID];
    let content = DeleteContent::Equality { field_ids };
    let rows = FILES * DELETED_OF_A_FILE / KEY_FILES;
    (0..KEY_FILES)
        .map(|number| delete(&keys_path(folder, number), content.clone(), rows))
        .collect()
}

/// Writes the vectors of all data files.
pub(super) fn write_vectors(folder: &Path, inputs: &[InputFile]) -> Result<()> {
    let vector = |(number, input): (u64, &InputFile)| {
        let rows: RoaringTreemap = deleted_rows(number).into_iter().collect();
        (input.path.clone(), rows)
    };
    let vectors: Vec<_> = (0..).zip(inputs).map(vector).collect();
    let writing = icepress_table::vectors::write_vectors(vectors);
    let file = tokio::runtime::Runtime::new()?.block_on(writing);
    let file = file.map_err(anyhow::Error::msg)?;
    fs::write(folder.join(PUFFIN), &file.content)?;
    let places: Vec<(String, u64, u64)> = file
        .vectors
        .into_iter()
        .map(|vector| (vector.referenced_data_file, vector.offset, vector.length))
        .collect();
    fs::write(folder.join(PLACES), serde_json::to_vec(&places)?)?;
    Ok(())
}

/// The vectors, one for each input.
pub(super) fn vectors(folder: &Path) -> Result<Vec<DeleteFile>> {
    let places: Vec<(String, u64, u64)> = serde_json::from_slice(&fs::read(folder.join(PLACES))?)?;
    let vector = |(path, offset, length)| {
        let content = DeleteContent::Vector { offset, length };
        let mut delete = delete(&folder.join(PUFFIN), content, DELETED_OF_A_FILE)?;
        delete.referenced_data_file = Some(path);
        Ok(delete)
    };
    places.into_iter().map(vector).collect()
}

fn delete(path: &Path, content: DeleteContent, rows: u64) -> Result<DeleteFile> {
    Ok(DeleteFile {
        content,
        size: Bytes(path.metadata()?.len()),
        path: path
            .to_str()
            .context("a file's name is no text")?
            .to_owned(),
        rows: Rows(rows),
        sequence_number: SequenceNumber(2),
        referenced_data_file: None,
    })
}

fn write(path: &Path, schema: Schema, columns: Vec<ArrayRef>) -> Result<()> {
    let batch = RecordBatch::try_new(Arc::new(schema), columns)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .build();
    let file = File::create(path)?;
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}
