//! Pages compressed and decompressed, by one who does it for many of them.

use std::{borrow::Cow, io::Read};

use flate2::read::MultiGzDecoder;
use parquet::basic::Compression;
use zstd::bulk::{Compressor, Decompressor};

use super::{Sound, refused};

/// Compresses and decompresses with one codec.
pub(super) struct Coder {
    compression: Compression,
    /// What a page may take once decompressed.
    most: u64,
    compressor: Option<Compressor<'static>>,
    decompressor: Option<Decompressor<'static>>,
}

impl Coder {
    /// For pages that take no more than `most` bytes once decompressed.
    pub(super) fn new(compression: Compression, most: u64) -> Self {
        Self {
            compression,
            most,
            compressor: None,
            decompressor: None,
        }
    }

    /// The `length` bytes that `bytes` are once decompressed.
    pub(super) fn decompress<'a>(&mut self, bytes: &'a [u8], length: u64) -> Sound<Cow<'a, [u8]>> {
        if length > self.most {
            return Err(refused(format_args!("a page takes {length} bytes")));
        }
        let length = length as usize;
        let damaged = |what: &dyn std::fmt::Display| refused(format_args!("a page: {what}"));
        let made = match self.compression {
            Compression::UNCOMPRESSED => Cow::Borrowed(bytes),
            _ if length == 0 => Cow::Borrowed(&bytes[..0]),
            Compression::ZSTD(_) => {
                let decompressor = match &mut self.decompressor {
                    Some(decompressor) => decompressor,
                    None => self
                        .decompressor
                        .insert(Decompressor::new().map_err(|error| damaged(&error))?),
                };
                let made = decompressor.decompress(bytes, length);
                Cow::Owned(made.map_err(|error| damaged(&error))?)
            }
            Compression::SNAPPY => {
                let claimed = snap::raw::decompress_len(bytes).map_err(|error| damaged(&error))?;
                if claimed != length {
                    return Err(damaged(&"it is of another length than its header says"));
                }
                let made = snap::raw::Decoder::new().decompress_vec(bytes);
                Cow::Owned(made.map_err(|error| damaged(&error))?)
            }
            Compression::GZIP(_) => {
                let mut made = Vec::new();
                MultiGzDecoder::new(bytes)
                    .take(length as u64 + 1)
                    .read_to_end(&mut made)
                    .map_err(|error| damaged(&error))?;
                Cow::Owned(made)
            }
            other => return Err(refused(format_args!("pages compressed as {other}"))),
        };
        if made.len() != length {
            return Err(damaged(&"it is of another length than its header says"));
        }
        Ok(made)
    }

    /// Whether pages can be compressed anew.
    pub(super) fn knows(compression: Compression) -> bool {
        matches!(
            compression,
            Compression::UNCOMPRESSED
                | Compression::ZSTD(_)
                | Compression::SNAPPY
                | Compression::GZIP(_)
        )
    }

    /// `bytes`, compressed.
    pub(super) fn compress(&mut self, bytes: Vec<u8>) -> Sound<Vec<u8>> {
        let failed = |what: &dyn std::fmt::Display| refused(format_args!("compressing: {what}"));
        match self.compression {
            Compression::UNCOMPRESSED => Ok(bytes),
            Compression::ZSTD(level) => {
                let compressor = match &mut self.compressor {
                    Some(compressor) => compressor,
                    None => self.compressor.insert(
                        Compressor::new(level.compression_level())
                            .map_err(|error| failed(&error))?,
                    ),
                };
                compressor.compress(&bytes).map_err(|error| failed(&error))
            }
            Compression::SNAPPY => snap::raw::Encoder::new()
                .compress_vec(&bytes)
                .map_err(|error| failed(&error)),
            Compression::GZIP(level) => {
                let level = flate2::Compression::new(level.compression_level());
                let mut made = Vec::new();
                flate2::read::GzEncoder::new(bytes.as_slice(), level)
                    .read_to_end(&mut made)
                    .map_err(|error| failed(&error))?;
                Ok(made)
            }
            other => Err(refused(format_args!("pages compressed as {other}"))),
        }
    }
}
