//! The Puffin file that holds sketches, a blob for each column.

use std::collections::HashMap;

use bytes::Bytes as Buffer;
use iceberg::{
    io::FileIO,
    puffin::{
        APACHE_DATASKETCHES_THETA_V1, Blob, CREATED_BY_PROPERTY, CompressionCodec, PuffinReader,
        PuffinWriter,
    },
    spec::{BlobMetadata, Snapshot},
};
use icepress_rewrite::Sketch;

use super::{NDV, NdvColumn, REMOVED_ROWS};

/// Where the crate's reader and writer have files while these are in memory.
const SCRATCH: &str = "memory:/sketches.puffin";
/// What stands behind the footer's payload: its length, flags and the magic number.
const BEHIND_PAYLOAD: usize = 12;
const MAGIC: usize = 4;

/// A file ready to be stored.
#[derive(Debug)]
pub(in crate::statistics) struct SketchFile {
    pub(in crate::statistics) content: Buffer,
    /// The length of its footer, as the table's metadata has it.
    pub(in crate::statistics) footer: i64,
    /// What is in it, in its order.
    pub(in crate::statistics) blobs: Vec<BlobMetadata>,
}

/// The blob of a column's sketch.
pub(super) fn blob_of(column: &NdvColumn, sketch: &Sketch, snapshot: &Snapshot) -> Blob {
    Blob::builder()
        .r#type(APACHE_DATASKETCHES_THETA_V1.to_owned())
        .fields(vec![column.field_id])
        .snapshot_id(snapshot.snapshot_id())
        .sequence_number(snapshot.sequence_number())
        .data(sketch.to_bytes())
        .properties(HashMap::from([
            (NDV.to_owned(), sketch.distinct().to_string()),
            (REMOVED_ROWS.to_owned(), column.removed_rows.to_string()),
        ]))
        .build()
}

/// Writes a file. The error is a message for people.
pub(in crate::statistics) async fn encode(blobs: Vec<Blob>) -> Result<SketchFile, String> {
    let failed = |error: iceberg::Error| format!("a Puffin file can't be written: {error}");
    let scratch = FileIO::new_with_memory();
    let output = scratch.new_output(SCRATCH).map_err(failed)?;
    let created_by = concat!("icepress version ", env!("CARGO_PKG_VERSION")).to_owned();
    let properties = HashMap::from([(CREATED_BY_PROPERTY.to_owned(), created_by)]);
    let mut writer = PuffinWriter::new(&output, properties, false)
        .await
        .map_err(failed)?;
    let mut described = Vec::new();
    for blob in blobs {
        described.push(BlobMetadata {
            r#type: blob.blob_type().to_owned(),
            snapshot_id: blob.snapshot_id(),
            sequence_number: blob.sequence_number(),
            fields: blob.fields().to_vec(),
            properties: blob.properties().clone(),
        });
        writer
            .add(blob, CompressionCodec::zstd_default())
            .await
            .map_err(failed)?;
    }
    writer.close().await.map_err(failed)?;
    let input = scratch.new_input(SCRATCH).map_err(failed)?;
    let content = input.read().await.map_err(failed)?;
    let payload = content.len().checked_sub(BEHIND_PAYLOAD);
    let payload = payload.and_then(|at| content[at..].first_chunk::<4>());
    let payload = payload.map(|bytes| u32::from_le_bytes(*bytes) as usize);
    let footer = payload.map_or(content.len(), |payload| MAGIC + payload + BEHIND_PAYLOAD);
    Ok(SketchFile {
        footer: i64::try_from(footer).unwrap_or(i64::MAX),
        content,
        blobs: described,
    })
}

/// All blobs of a file, whoever wrote it. The error is a message for people.
pub(super) async fn decode(content: Buffer) -> Result<Vec<Blob>, String> {
    let failed = |error: iceberg::Error| error.to_string();
    let scratch = FileIO::new_with_memory();
    let output = scratch.new_output(SCRATCH).map_err(failed)?;
    output.write(content).await.map_err(failed)?;
    let reader = PuffinReader::new(scratch.new_input(SCRATCH).map_err(failed)?);
    let described = reader.file_metadata().await.map_err(failed)?;
    let mut blobs = Vec::new();
    for blob in described.blobs() {
        blobs.push(reader.blob(blob).await.map_err(failed)?);
    }
    Ok(blobs)
}

/// The column whose sketch a blob is.
pub(super) fn column_of(blob: &Blob) -> Option<i32> {
    match blob.fields() {
        [id] if blob.blob_type() == APACHE_DATASKETCHES_THETA_V1 => Some(*id),
        _ => None,
    }
}
