//! Deletion vectors: blobs, and the Puffin files that hold them (specification, *Deletion Vectors*; Puffin
//! specification, *`deletion-vector-v1` blob type*).
//!
//! One file holds the vectors of many data files. What tells them apart is path, offset and length, never the path
//! alone. What a vector says replaces all that was said of its data file before: whoever writes one puts in the
//! positions that were deleted already.

use std::collections::HashMap;

use bytes::Bytes as Buffer;
use iceberg::{
    io::FileIO,
    puffin::{
        Blob, CREATED_BY_PROPERTY, CompressionCodec, DELETION_VECTOR_V1, PuffinReader, PuffinWriter,
    },
    spec::{DataContentType, DataFile, DataFileBuilder, DataFileFormat, Struct},
};
use icepress_model::SpecId;
use roaring::RoaringTreemap;

use crate::reserved_ids::ROW_POSITION;

#[cfg(test)]
mod tests;

/// What the blob begins with, after its length.
const MAGIC: [u8; 4] = [0xD1, 0xD3, 0x39, 0x64];
/// Where the crate's writer writes to before the bytes go to storage.
const SCRATCH: &str = "memory:/vectors.puffin";

/// The blob that marks `positions` as deleted.
///
/// Layout: the length of magic and bitmap (4 bytes, big-endian), the magic, the bitmap (roaring, 64-bit, portable), and
/// the CRC-32 of magic and bitmap (4 bytes, big-endian). Fails where that is more than 4 GiB.
pub fn encode_vector(mut positions: RoaringTreemap) -> Result<Vec<u8>, String> {
    positions.optimize();
    let length = MAGIC.len() + positions.serialized_size();
    let header = u32::try_from(length)
        .map_err(|_| format!("a deletion vector of {length} bytes is too long"))?;
    let mut blob = Vec::with_capacity(length + 8);
    blob.extend_from_slice(&header.to_be_bytes());
    blob.extend_from_slice(&MAGIC);
    positions
        .serialize_into(&mut blob)
        .map_err(|error| format!("a deletion vector can't be written: {error}"))?;
    let checksum = crc32fast::hash(&blob[4..]);
    blob.extend_from_slice(&checksum.to_be_bytes());
    Ok(blob)
}

/// The positions that a blob marks as deleted; `Err` says what is wrong with it.
pub fn decode_vector(blob: &[u8]) -> Result<RoaringTreemap, String> {
    let (length, rest) = blob
        .split_first_chunk::<4>()
        .ok_or("the deletion vector is shorter than its header")?;
    let (body, checksum) = rest
        .split_last_chunk::<4>()
        .ok_or("the deletion vector is shorter than its checksum")?;
    let length = u32::from_be_bytes(*length);
    if length as usize != body.len() {
        return Err(format!(
            "the deletion vector says that it has {length} bytes, and it has {}",
            body.len()
        ));
    }
    if crc32fast::hash(body) != u32::from_be_bytes(*checksum) {
        return Err("the deletion vector's checksum is wrong".to_owned());
    }
    let mut bitmap = body
        .strip_prefix(&MAGIC)
        .ok_or("the deletion vector does not begin with its magic number")?;
    let positions = RoaringTreemap::deserialize_from(&mut bitmap)
        .map_err(|error| format!("the deletion vector's bitmap can't be read: {error}"))?;
    if !bitmap.is_empty() {
        return Err(format!(
            "{} bytes follow the deletion vector's bitmap",
            bitmap.len()
        ));
    }
    Ok(positions)
}

/// A Puffin file ready to be stored.
#[derive(Debug, Clone)]
pub struct VectorFile {
    /// The whole file.
    pub content: Buffer,
    /// Its vectors, in the order that they were given.
    pub vectors: Vec<PlacedVector>,
}

/// A deletion vector in a Puffin file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedVector {
    /// The data file that it is about.
    pub referenced_data_file: String,
    /// Where its blob starts in the file, in bytes.
    pub offset: u64,
    /// How long the blob is, in bytes.
    pub length: u64,
    /// How many rows it marks.
    pub rows: u64,
}

/// Writes the vectors of many data files into one Puffin file: pairs of a data file's path and its deleted positions,
/// those that were deleted before included.
pub async fn write_vectors(
    vectors: impl IntoIterator<Item = (String, RoaringTreemap)>,
) -> Result<VectorFile, String> {
    let failed = |error: iceberg::Error| format!("a Puffin file can't be written: {error}");
    let scratch = FileIO::new_with_memory();
    let output = scratch.new_output(SCRATCH).map_err(failed)?;
    let created_by = concat!("icepress version ", env!("CARGO_PKG_VERSION")).to_owned();
    let properties = HashMap::from([(CREATED_BY_PROPERTY.to_owned(), created_by)]);
    let mut writer = PuffinWriter::new(&output, properties, false)
        .await
        .map_err(failed)?;
    let mut placed = Vec::new();
    for (path, positions) in vectors {
        let rows = positions.len();
        let blob = Blob::builder()
            .r#type(DELETION_VECTOR_V1.to_owned())
            .fields(vec![ROW_POSITION])
            // Inherited: which snapshot it becomes part of is decided at the commit.
            .snapshot_id(-1)
            .sequence_number(-1)
            .data(encode_vector(positions)?)
            .properties(HashMap::from([
                ("referenced-data-file".to_owned(), path.clone()),
                ("cardinality".to_owned(), rows.to_string()),
            ]))
            .build();
        // The specification wants vectors uncompressed: readers fetch the blob alone, without the footer.
        writer
            .add(blob, CompressionCodec::None)
            .await
            .map_err(failed)?;
        placed.push((path, rows));
    }
    writer.close().await.map_err(failed)?;
    let input = scratch.new_input(SCRATCH).map_err(failed)?;
    let content = input.read().await.map_err(failed)?;
    let reader = PuffinReader::new(input);
    let metadata = reader.file_metadata().await.map_err(failed)?;
    let vectors = placed
        .into_iter()
        .zip(metadata.blobs())
        .map(|((referenced_data_file, rows), blob)| PlacedVector {
            referenced_data_file,
            offset: blob.offset(),
            length: blob.length(),
            rows,
        })
        .collect();
    Ok(VectorFile { content, vectors })
}

impl VectorFile {
    /// The entries of a delete manifest for these vectors, once the file is stored at `path`: one a vector, each with
    /// the partition of its data file.
    pub fn entries(
        &self,
        path: &str,
        spec_id: SpecId,
        partition: &Struct,
    ) -> Result<Vec<DataFile>, String> {
        let entry = |vector: &PlacedVector| {
            let failed = |error: &dyn std::fmt::Display| {
                format!(
                    "{path} can't be described: the vector of {}: {error}",
                    vector.referenced_data_file
                )
            };
            DataFileBuilder::default()
                .content(DataContentType::PositionDeletes)
                .file_path(path.to_owned())
                .file_format(DataFileFormat::Puffin)
                .partition(partition.clone())
                .partition_spec_id(spec_id.get())
                .record_count(vector.rows)
                .file_size_in_bytes(self.content.len() as u64)
                .referenced_data_file(Some(vector.referenced_data_file.clone()))
                .content_offset(Some(
                    i64::try_from(vector.offset).map_err(|error| failed(&error))?,
                ))
                .content_size_in_bytes(Some(
                    i64::try_from(vector.length).map_err(|error| failed(&error))?,
                ))
                .build()
                .map_err(|error| failed(&error))
        };
        self.vectors.iter().map(entry).collect()
    }
}
