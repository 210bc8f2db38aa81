//! Parts of a file in memory, as the Parquet reader wants them.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use bytes::{Buf, Bytes, buf::Reader};
use parquet::{
    errors::{ParquetError, Result},
    file::reader::{ChunkReader, Length},
};

/// The whole of a file, or those of its parts that were fetched.
#[derive(Debug, Clone)]
pub(crate) struct FileBytes {
    file_size: u64,
    /// Where each part begins, in order.
    parts: Arc<Vec<(u64, Bytes)>>,
}

impl FileBytes {
    /// A whole file.
    pub(crate) fn whole(content: Bytes) -> Self {
        Self {
            file_size: content.len() as u64,
            parts: Arc::new(vec![(0, content)]),
        }
    }

    /// Parts of a file of `file_size` bytes.
    pub(crate) fn parts(file_size: u64, ranges: &[Range<u64>], contents: Vec<Bytes>) -> Self {
        let starts = ranges.iter().map(|range| range.start);
        Self::by_start(file_size, starts.zip(contents).collect())
    }

    /// The same, by where they begin.
    pub(crate) fn by_start(file_size: u64, parts: BTreeMap<u64, Bytes>) -> Self {
        Self {
            file_size,
            parts: Arc::new(parts.into_iter().collect()),
        }
    }

    /// From `start` to the end of the part that it lies in.
    pub(crate) fn from(&self, start: u64) -> Result<Bytes> {
        let after = self.parts.partition_point(|(begin, _)| *begin <= start);
        let part = after.checked_sub(1).and_then(|index| {
            let (begin, content) = &self.parts[index];
            let offset = usize::try_from(start - begin).ok()?;
            (offset <= content.len()).then(|| content.slice(offset..))
        });
        part.ok_or_else(|| {
            ParquetError::EOF(format!("a page at byte {start} lies outside its column"))
        })
    }
}

impl Length for FileBytes {
    fn len(&self) -> u64 {
        self.file_size
    }
}

impl ChunkReader for FileBytes {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let content = self.from(start)?;
        if content.len() < length {
            return Err(ParquetError::EOF(format!(
                "a page at byte {start} is {length} bytes long, of which {} are there",
                content.len()
            )));
        }
        Ok(content.slice(..length))
    }
}
