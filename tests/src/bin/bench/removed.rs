//! What deletes: the same share of each data file's rows by position, by key, and by vector.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::Path,
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

use crate::{
    events::{self, EVENT_ID, Stream},
    tables::Shape,
};

const KEY_FILES: u64 = 10;
/// Field ids of a position delete file's columns (specification, *Reserved Field IDs*).
const PATH_ID: i32 = 2_147_483_546;
const POSITION_ID: i32 = 2_147_483_545;

/// How one row in a hundred is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// By a position delete file for each data file, rows at random.
    Random,
    /// The same, rows in two runs of each file.
    Blocks,
    /// By ten equality delete files by the event's id, rows at random.
    Keys,
    /// By a deletion vector for each data file, all in one Puffin file, rows at random.
    Vectors,
}

/// Rows that are deleted of each data file: one in a hundred.
pub(crate) fn of_a_file(shape: &Shape) -> u64 {
    shape.rows / 100
}

/// Writes what deletes to `folder`; returns the data files, each with what may delete its rows.
pub(crate) fn remove(
    removal: Removal,
    shape: &Shape,
    folder: &Path,
) -> Result<(Vec<InputFile>, Vec<DeleteFile>)> {
    let one_each = |number: u32| vec![number];
    match removal {
        Removal::Random | Removal::Blocks => {
            let inputs = shape.inputs(one_each)?;
            let files = (0..)
                .zip(&inputs)
                .map(|(number, input)| positions(removal, shape, number, input, folder));
            let files = files.collect::<Result<_>>()?;
            Ok((inputs, files))
        }
        Removal::Keys => {
            let files = keys(shape, folder)?;
            let all: Vec<u32> = (0..files.len() as u32).collect();
            Ok((shape.inputs(|_| all.clone())?, files))
        }
        Removal::Vectors => {
            let inputs = shape.inputs(one_each)?;
            let files = vectors(shape, &inputs, folder)?;
            Ok((inputs, files))
        }
    }
}

/// Which rows of the data file with a number are deleted.
fn rows(removal: Removal, shape: &Shape, file: u64) -> BTreeSet<u64> {
    let (mut stream, count) = (Stream(1_000 + file), of_a_file(shape));
    if removal == Removal::Blocks {
        let half = count / 2;
        let first = stream.below(shape.rows / 2 - half);
        let second = shape.rows / 2 + stream.below(shape.rows / 2 - (count - half));
        return (first..first + half)
            .chain(second..second + (count - half))
            .collect();
    }
    let mut rows = BTreeSet::new();
    while (rows.len() as u64) < count {
        rows.insert(stream.below(shape.rows));
    }
    rows
}

fn positions(
    removal: Removal,
    shape: &Shape,
    number: u64,
    input: &InputFile,
    folder: &Path,
) -> Result<DeleteFile> {
    let rows = rows(removal, shape, number);
    let paths = StringArray::from_iter_values(rows.iter().map(|_| &input.path));
    let positions = Int64Array::from_iter_values(rows.iter().map(|row| *row as i64));
    let schema = Schema::new(vec![
        events::field(PATH_ID, "file_path", DataType::Utf8).with_nullable(false),
        events::field(POSITION_ID, "pos", DataType::Int64).with_nullable(false),
    ]);
    let columns: Vec<ArrayRef> = vec![Arc::new(paths), Arc::new(positions)];
    let path = folder.join(format!("{number:04}-positions.parquet"));
    write(&path, schema, columns)?;
    let mut file = delete(&path, DeleteContent::Position, rows.len() as u64)?;
    file.referenced_data_file = Some(input.path.clone());
    Ok(file)
}

/// Each file has a tenth of the deleted rows of every data file.
fn keys(shape: &Shape, folder: &Path) -> Result<Vec<DeleteFile>> {
    let ids: Vec<i64> = (0..shape.files)
        .flat_map(|file| {
            let rows = rows(Removal::Keys, shape, file).into_iter();
            rows.map(move |row| (file * shape.rows + row) as i64)
        })
        .collect();
    (0..KEY_FILES)
        .map(|number| {
            let keys = ids.iter().skip(number as usize).step_by(KEY_FILES as usize);
            let keys = Int64Array::from_iter_values(keys.copied());
            let count = keys.values().len() as u64;
            let schema = Schema::new(vec![events::field(EVENT_ID, "event_id", DataType::Int64)]);
            let path = folder.join(format!("{number}-keys.parquet"));
            write(&path, schema, vec![Arc::new(keys)])?;
            let field_ids = vec![EVENT_ID];
            delete(&path, DeleteContent::Equality { field_ids }, count)
        })
        .collect()
}

fn vectors(shape: &Shape, inputs: &[InputFile], folder: &Path) -> Result<Vec<DeleteFile>> {
    let vector = |(number, input): (u64, &InputFile)| {
        let rows: RoaringTreemap = rows(Removal::Vectors, shape, number).into_iter().collect();
        (input.path.clone(), rows)
    };
    let vectors: Vec<_> = (0..).zip(inputs).map(vector).collect();
    let writing = icepress_table::vectors::write_vectors(vectors);
    let file = tokio::runtime::Runtime::new()?.block_on(writing);
    let file = file.map_err(anyhow::Error::msg)?;
    let path = folder.join("vectors.puffin");
    fs::write(&path, &file.content)?;
    let vector = |vector: icepress_table::vectors::PlacedVector| {
        let content = DeleteContent::Vector {
            offset: vector.offset,
            length: vector.length,
        };
        let mut delete = delete(&path, content, of_a_file(shape))?;
        delete.referenced_data_file = Some(vector.referenced_data_file);
        Ok(delete)
    };
    file.vectors.into_iter().map(vector).collect()
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
