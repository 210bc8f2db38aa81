//! The Avro file around manifest entries: header, blocks, compression.

use std::collections::BTreeMap;

use apache_avro::{Codec, DeflateSettings, ZstandardSettings};
use serde_json::Value;

use crate::avro::{self, decompress};

use super::avro::{AvroError, Cursor, Result, broken, put_bytes, put_long};

const MAGIC: &[u8] = b"Obj\x01";
const SYNC_LENGTH: usize = 16;
/// Uncompressed bytes after which a block is closed: Avro's own default.
const BLOCK_BYTES: usize = 64_000;
/// How large all blocks of a file may be when unpacked, whatever its size. Tests reach the limit with less.
const MOST_UNPACKED: usize = if cfg!(test) { 1 << 20 } else { 256 << 20 };
/// How often its own size a file may be above that: manifests repeat themselves, and shrink to a twentieth or so.
const MOST_TIMES: usize = 100;

/// A taken-apart Avro file.
#[derive(Debug)]
pub(crate) struct Container {
    /// The header's entries.
    pub(crate) header: BTreeMap<String, Vec<u8>>,
    /// The schema as it was written.
    pub(crate) schema: Value,
    /// The blocks, unpacked: how many records, and their bytes.
    pub(crate) blocks: Vec<(u64, Vec<u8>)>,
}

impl Container {
    pub(crate) fn read(file: &[u8]) -> Result<Self> {
        let Some(content) = file.strip_prefix(MAGIC) else {
            return broken("it is no Avro file");
        };
        let mut cursor = Cursor::new(content);
        let mut header = BTreeMap::new();
        while let Some(count) = cursor.block()? {
            for _ in 0..count {
                let key = String::from_utf8_lossy(cursor.bytes()?).into_owned();
                header.insert(key, cursor.bytes()?.to_vec());
            }
        }
        let Some(schema) = header.get("avro.schema") else {
            return broken("its Avro header has no schema");
        };
        let schema: Value = serde_json::from_slice(schema)
            .map_err(|error| AvroError(format!("its Avro schema is no JSON ({error})")))?;
        let codec = header.get("avro.codec").map(Vec::as_slice);
        let codec = avro::Codec::parse(codec).map_err(|error| AvroError(error.to_string()))?;
        let sync = cursor.take(SYNC_LENGTH)?;
        let mut blocks = Vec::new();
        let mut room = MOST_UNPACKED.saturating_add(file.len().saturating_mul(MOST_TIMES));
        while !cursor.is_at_end() {
            let count = cursor.long()?;
            let Ok(count) = u64::try_from(count) else {
                return broken("it has a block of a negative number of records");
            };
            let packed = cursor.bytes()?;
            if cursor.take(SYNC_LENGTH)? != sync {
                return broken("a block does not end where it should");
            }
            let mut bytes = Vec::new();
            decompress(codec, packed, room, &mut bytes)
                .map_err(|error| AvroError(error.to_string()))?;
            room -= bytes.len();
            if count > bytes.len() as u64 {
                return broken("it counts more records than it has bytes");
            }
            blocks.push((count, bytes));
        }
        Ok(Self {
            header,
            schema,
            blocks,
        })
    }

    /// A header entry as text.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.header
            .get(key)
            .and_then(|value| std::str::from_utf8(value).ok())
    }
}

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
    pub(crate) fn append(&mut self, record: &[u8]) -> Result<()> {
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

    fn close_block(&mut self) -> Result<()> {
        if self.pending_records == 0 {
            return Ok(());
        }
        let mut block = std::mem::take(&mut self.pending);
        self.compression
            .codec()
            .compress(&mut block)
            .map_err(|error| AvroError(format!("a block can't be compressed ({error})")))?;
        put_long(self.pending_records, &mut self.out);
        put_bytes(&block, &mut self.out);
        self.out.extend_from_slice(&self.sync);
        self.pending_records = 0;
        Ok(())
    }

    /// The whole file.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>> {
        self.close_block()?;
        Ok(self.out)
    }
}
