//! Avro files put together: header, blocks, compression.

use apache_avro::{Codec, DeflateSettings, ZstandardSettings};
use serde_json::Value;

use crate::avro::{AvroError, put_bytes, put_long};

const MAGIC: &[u8] = b"Obj\x01";
const SYNC_LENGTH: usize = 16;
/// Uncompressed bytes after which a block is closed: Avro's own default.
const BLOCK_BYTES: usize = 64_000;

/// How the blocks of a written file are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Compression {
    /// Deflate: what Iceberg calls gzip, and its default.
    #[default]
    Gzip,
    Zstd,
    Snappy,
    None,
}

impl Compression {
    /// The value of `write.avro.compression-codec`; the default where it is absent or unknown.
    pub(crate) fn from_property(value: Option<&String>) -> Self {
        match value.map(|value| value.to_ascii_lowercase()).as_deref() {
            Some("zstd" | "zstandard") => Self::Zstd,
            Some("snappy") => Self::Snappy,
            Some("uncompressed" | "none") => Self::None,
            _ => Self::Gzip,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "deflate",
            Self::Zstd => "zstandard",
            Self::Snappy => "snappy",
            Self::None => "null",
        }
    }

    fn codec(self) -> Codec {
        match self {
            Self::Gzip => Codec::Deflate(DeflateSettings::default()),
            Self::Zstd => Codec::Zstandard(ZstandardSettings::default()),
            Self::Snappy => Codec::Snappy,
            Self::None => Codec::Null,
        }
    }
}

/// Puts an Avro file together.
#[derive(Debug)]
pub(crate) struct ContainerWriter {
    out: Vec<u8>,
    sync: [u8; SYNC_LENGTH],
    compression: Compression,
    pending: Vec<u8>,
    pending_records: i64,
}

impl ContainerWriter {
    /// Begins a file. `sync` are 16 random bytes.
    pub(crate) fn new(
        schema: &Value,
        header: &[(String, Vec<u8>)],
        compression: Compression,
        sync: [u8; SYNC_LENGTH],
    ) -> Self {
        let mut out = MAGIC.to_vec();
        put_long(header.len() as i64 + 2, &mut out);
        put_bytes(b"avro.schema", &mut out);
        put_bytes(schema.to_string().as_bytes(), &mut out);
        put_bytes(b"avro.codec", &mut out);
        put_bytes(compression.name().as_bytes(), &mut out);
        for (key, value) in header {
            put_bytes(key.as_bytes(), &mut out);
            put_bytes(value, &mut out);
        }
        put_long(0, &mut out);
        out.extend_from_slice(&sync);
        Self {
            out,
            sync,
            compression,
            pending: Vec::new(),
            pending_records: 0,
        }
    }

    /// Adds one encoded record.
    pub(crate) fn append(&mut self, record: &[u8]) -> Result<(), AvroError> {
        self.pending.extend_from_slice(record);
        self.pending_records += 1;
        if self.pending.len() >= BLOCK_BYTES {
            self.close_block()?;
        }
        Ok(())
    }

    /// Bytes of the blocks closed so far.
    pub(crate) fn written(&self) -> usize {
        self.out.len()
    }

    fn close_block(&mut self) -> Result<(), AvroError> {
        if self.pending_records == 0 {
            return Ok(());
        }
        let mut block = std::mem::take(&mut self.pending);
        self.compression
            .codec()
            .compress(&mut block)
            .map_err(|error| {
                AvroError::corrupt(format!("a block can't be compressed ({error})"))
            })?;
        put_long(self.pending_records, &mut self.out);
        put_bytes(&block, &mut self.out);
        self.out.extend_from_slice(&self.sync);
        self.pending_records = 0;
        Ok(())
    }

    /// The whole file.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, AvroError> {
        self.close_block()?;
        Ok(self.out)
    }
}
