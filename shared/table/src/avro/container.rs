//! Avro's object container files: a header with the writer's schema, and blocks of values, each compressed alone.

use std::{collections::HashMap, io::Read};

use super::{AvroError, AvroType, Cursor};

const MAGIC: [u8; 4] = *b"Obj\x01";
const SYNC_LENGTH: usize = 16;
/// What all blocks of a file together may grow to, whatever its size. Tests reach the limit with less.
const MOST_UNPACKED: usize = if cfg!(test) { 1 << 20 } else { 256 << 20 };
/// How often its own size a file may be above that: manifests repeat themselves, and shrink to a twentieth or so.
const MOST_TIMES: usize = 100;

/// An Avro file in memory, its header read.
pub(crate) struct Container<'a> {
    metadata: HashMap<&'a str, &'a [u8]>,
    schema: AvroType,
    codec: Codec,
    sync: [u8; SYNC_LENGTH],
    blocks: Cursor<'a>,
    /// How many more bytes blocks may grow to.
    room: usize,
}

/// How a file's blocks are compressed.
#[derive(Clone, Copy)]
enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
}

impl Codec {
    /// The codec that a header's `avro.codec` names.
    fn parse(name: Option<&[u8]>) -> Result<Self, AvroError> {
        match name {
            None | Some(b"null") => Ok(Self::Null),
            Some(b"deflate") => Ok(Self::Deflate),
            Some(b"snappy") => Ok(Self::Snappy),
            Some(b"zstandard") => Ok(Self::Zstandard),
            Some(other) => Err(AvroError::Unsupported(format!(
                "it is compressed with {}, of which only null, deflate, snappy and zstandard can be read",
                String::from_utf8_lossy(other)
            ))),
        }
    }
}

impl<'a> Container<'a> {
    /// Reads the header.
    pub(crate) fn open(file: &'a [u8]) -> Result<Self, AvroError> {
        let mut cursor = Cursor::new(file);
        if cursor.array::<4>().ok() != Some(MAGIC) {
            return Err(AvroError::corrupt("it is no Avro file"));
        }
        let mut metadata = HashMap::new();
        cursor.items(|cursor| {
            metadata.insert(cursor.string()?, cursor.bytes()?);
            Ok(())
        })?;
        let sync = cursor.array()?;
        let codec = Codec::parse(metadata.get("avro.codec").copied())?;
        let schema = metadata
            .get("avro.schema")
            .ok_or_else(|| AvroError::corrupt("its header has no Avro schema"))?;
        Ok(Self {
            schema: AvroType::parse(schema)?,
            metadata,
            codec,
            sync,
            blocks: cursor,
            room: MOST_UNPACKED.saturating_add(file.len().saturating_mul(MOST_TIMES)),
        })
    }

    /// The writer's schema.
    pub(crate) fn schema(&self) -> &AvroType {
        &self.schema
    }

    /// The same, to be changed: ids that the writer left out may be put in.
    pub(crate) fn schema_mut(&mut self) -> &mut AvroType {
        &mut self.schema
    }

    /// A value of the header.
    pub(crate) fn metadata(&self, key: &str) -> Option<&'a [u8]> {
        self.metadata.get(key).copied()
    }

    /// Calls `read` for each value, in the file's order, with the cursor before it; `read` must step over all of it.
    pub(crate) fn for_each(
        mut self,
        mut read: impl FnMut(&mut Cursor<'_>) -> Result<(), AvroError>,
    ) -> Result<(), AvroError> {
        let mut decompressed = Vec::new();
        while !self.blocks.is_empty() {
            let count = self.blocks.varint()?;
            let block = self.blocks.bytes()?;
            if self.blocks.array()? != self.sync {
                return Err(AvroError::corrupt(
                    "a block does not end with the sync marker",
                ));
            }
            let values = match self.codec {
                Codec::Null => block,
                codec => {
                    decompressed.clear();
                    decompress(codec, block, self.room, &mut decompressed)?;
                    self.room -= decompressed.len();
                    decompressed.as_slice()
                }
            };
            // A value takes a byte at least: manifests hold no empty records.
            let count = u64::try_from(count)
                .ok()
                .filter(|count| *count <= values.len() as u64)
                .ok_or_else(|| {
                    AvroError::corrupt(format!("{count} values in {} bytes", values.len()))
                })?;
            let mut cursor = Cursor::new(values);
            for _ in 0..count {
                read(&mut cursor)?;
            }
            if !cursor.is_empty() {
                return Err(AvroError::corrupt(format!(
                    "{} bytes after the last value of a block",
                    cursor.rest().len()
                )));
            }
        }
        Ok(())
    }
}

/// Puts what is in `block` into `output`, which is empty; fails where that is more than `limit` bytes.
fn decompress(
    codec: Codec,
    block: &[u8],
    limit: usize,
    output: &mut Vec<u8>,
) -> Result<(), AvroError> {
    match codec {
        Codec::Null => {
            check_size(block.len(), limit)?;
            output.extend_from_slice(block);
            Ok(())
        }
        Codec::Deflate => inflate(block, limit, output),
        Codec::Snappy => unsnap(block, limit, output),
        Codec::Zstandard => {
            let failed =
                |error| AvroError::corrupt(format!("a zstandard block can't be read: {error}"));
            let decoder = zstd::Decoder::new(block).map_err(failed)?;
            let one_more = (limit as u64).saturating_add(1);
            let read = decoder.take(one_more).read_to_end(output);
            check_size(read.map_err(failed)?, limit)
        }
    }
}

fn inflate(block: &[u8], limit: usize, output: &mut Vec<u8>) -> Result<(), AvroError> {
    let mut inflater = flate2::Decompress::new(false);
    output.reserve(block.len().saturating_mul(4).min(limit));
    loop {
        let read = usize::try_from(inflater.total_in()).unwrap_or(usize::MAX);
        let input = block.get(read..).unwrap_or_default();
        let status = inflater
            .decompress_vec(input, output, flate2::FlushDecompress::Finish)
            .map_err(|error| {
                AvroError::corrupt(format!("a deflate block can't be read: {error}"))
            })?;
        check_size(output.len(), limit)?;
        match status {
            flate2::Status::StreamEnd => return Ok(()),
            _ if output.len() == output.capacity() => output.reserve(output.len().max(1 << 16)),
            _ => return Err(AvroError::corrupt("a deflate block is cut short")),
        }
    }
}

/// Avro's snappy blocks end with the CRC-32 of what they hold, big-endian.
fn unsnap(block: &[u8], limit: usize, output: &mut Vec<u8>) -> Result<(), AvroError> {
    let failed = |error| AvroError::corrupt(format!("a snappy block can't be read: {error}"));
    let (compressed, checksum) = block
        .split_last_chunk::<4>()
        .ok_or_else(|| AvroError::corrupt("a snappy block is cut short"))?;
    let length = snap::raw::decompress_len(compressed).map_err(failed)?;
    check_size(length, limit)?;
    // Three bytes copy at most 64: what claims more is not worth the memory.
    if length > compressed.len().saturating_mul(32) {
        return Err(AvroError::corrupt(
            "a snappy block claims an impossible size",
        ));
    }
    output.resize(length, 0);
    snap::raw::Decoder::new()
        .decompress(compressed, output)
        .map_err(failed)?;
    if crc32fast::hash(output) != u32::from_be_bytes(*checksum) {
        return Err(AvroError::corrupt("a snappy block has the wrong checksum"));
    }
    Ok(())
}

fn check_size(size: usize, limit: usize) -> Result<(), AvroError> {
    if size > limit {
        return Err(AvroError::corrupt(format!(
            "a block is larger than {limit} bytes when decompressed"
        )));
    }
    Ok(())
}
