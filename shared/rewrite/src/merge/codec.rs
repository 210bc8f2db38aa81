//! Pages compressed and decompressed, by one who does it for many of them.

use std::{borrow::Cow, io::Read};

use flate2::read::MultiGzDecoder;
use parquet::basic::Compression;
use zstd::bulk::{Compressor, Decompressor};

use super::{Sound, refused};

/// Decompresses from any codec that is known, and compresses with one.
pub(super) struct Coder {
    target: Compression,
    /// What a page may take once decompressed.
    most: u64,
    compressor: Option<Compressor<'static>>,
    decompressor: Option<Decompressor<'static>>,
}

/// Whether two columns are compressed in the same way, at whatever level.
pub(super) fn is_same_codec(one: Compression, other: Compression) -> bool {
    std::mem::discriminant(&one) == std::mem::discriminant(&other)
}

impl Coder {
    /// Compresses as `target`; takes pages of no more than `most` bytes once decompressed.
    pub(super) fn new(target: Compression, most: u64) -> Self {
        Self {
            target,
            most,
            compressor: None,
            decompressor: None,
        }
    }

    /// What it compresses as.
    pub(super) fn target(&self) -> Compression {
        self.target
    }

    /// The `length` bytes that `bytes`, compressed as `codec`, are once decompressed.
    pub(super) fn decompress<'a>(
        &mut self,
        codec: Compression,
        bytes: &'a [u8],
        length: u64,
    ) -> Sound<Cow<'a, [u8]>> {
        if length > self.most {
            return Err(refused(format_args!("a page takes {length} bytes")));
        }
        let length = length as usize;
        let damaged = |what: &dyn std::fmt::Display| refused(format_args!("a page: {what}"));
        let made = match codec {
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
            Compression::LZ4_RAW => {
                let made = lz4_flex::block::decompress(bytes, length);
                Cow::Owned(made.map_err(|error| damaged(&error))?)
            }
            other => return Err(refused(format_args!("pages compressed as {other}"))),
        };
        if made.len() != length {
            return Err(damaged(&"it is of another length than its header says"));
        }
        Ok(made)
    }

    /// Whether pages can be compressed and decompressed so. Hadoop's framing of LZ4, of which there are two kinds that only
    /// trying tells apart, and codecs that hardly any table has are left to the decoder.
    pub(super) fn knows(compression: Compression) -> bool {
        matches!(
            compression,
            Compression::UNCOMPRESSED
                | Compression::ZSTD(_)
                | Compression::SNAPPY
                | Compression::GZIP(_)
                | Compression::LZ4_RAW
        )
    }

    /// `bytes`, compressed.
    pub(super) fn compress(&mut self, bytes: Vec<u8>) -> Sound<Vec<u8>> {
        let failed = |what: &dyn std::fmt::Display| refused(format_args!("compressing: {what}"));
        match self.target {
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
            Compression::LZ4_RAW => Ok(lz4_flex::block::compress(&bytes)),
            other => Err(refused(format_args!("pages compressed as {other}"))),
        }
    }
}
