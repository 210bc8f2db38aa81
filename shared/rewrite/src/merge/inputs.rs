//! The inputs of a merge: their footers, what of them is in which form, and their row groups in memory.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes as Buffer;
use futures::{StreamExt as _, stream};
use icepress_model::Group;
use icepress_storage::Storage;
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

use super::{
    Refusal, Sound, Stopped, codec::Coder, column::Source, eligible::same_leaves, layout::Atom,
    refused, trust::Known,
};
use crate::{
    deletes::{DeletedPositions, input_source},
    failure::{Result, corrupt, from_read, guarded},
    read::{FileBytes, OpenFile, Reading, open},
};

/// How many requests are under way at most.
pub(super) const REQUESTS: usize = 16;

/// A file, column by column.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) file: OpenFile,
    /// Of each column of the table, the file's leaves whose pages can be kept, or why they can't.
    pub(super) columns: Vec<Sound<Vec<usize>>>,
}

/// Reads the footers of a group's inputs, which may take `most` bytes. `columns` has the leaves of each of the table's.
pub(super) async fn open_all(
    reading: &Arc<Reading>,
    group: &Group,
    (schema, columns): (&SchemaDescriptor, &[Range<usize>]),
    most: u64,
) -> std::result::Result<Vec<Arc<Input>>, Stopped> {
    let opening = (0..group.inputs.len()).map(|index| {
        let (source, reading) = (input_source(group, index), Arc::clone(reading));
        async move { open(&reading, &source, false, most).await }
    });
    let opening = stream::iter(opening.collect::<Vec<_>>()).buffered(REQUESTS);
    let mut opening = std::pin::pin!(opening);
    let (mut inputs, mut held) = (Vec::new(), 0);
    while let Some(opened) = opening.next().await {
        let (file, _) = opened?;
        held += file.metadata().memory_size() as u64;
        if held > most {
            return Err(refused("its footers don't fit the memory").into());
        }
        inputs.push(Arc::new(Input::of(file, schema, columns)));
    }
    Ok(inputs)
}

impl Input {
    fn of(file: OpenFile, schema: &SchemaDescriptor, columns: &[Range<usize>]) -> Self {
        let leaves = same_leaves(schema, file.metadata().file_metadata().schema_descr());
        let of_column = |(index, range): (usize, &Range<usize>)| {
            if !file.projection.is_plain(index) {
                return Err(refused("a file holds it in another form than the table"));
            }
            let leaves: Vec<usize> = leaves[range.clone()]
                .iter()
                .cloned()
                .collect::<Sound<_>>()?;
            let codecs = file.row_groups.iter().flat_map(|row_group| {
                let row_group = file.metadata().row_group(*row_group);
                leaves
                    .iter()
                    .map(|leaf| row_group.column(*leaf).compression())
            });
            for codec in codecs {
                if !Coder::knows(codec) {
                    return Err(refused(format_args!("a file has it compressed as {codec}")));
                }
            }
            Ok(leaves)
        };
        let columns = columns.iter().enumerate().map(of_column).collect();
        Self { file, columns }
    }

    /// Its row groups, as those of the input with a number. Only columns of the table count.
    pub(super) fn atoms(&self, number: usize) -> Vec<Atom> {
        let footer = self.file.metadata();
        let columns = footer.row_groups().iter().flat_map(|group| group.columns());
        let columns: u64 = columns
            .map(|chunk| chunk.compressed_size().unsigned_abs())
            .sum();
        let beside = self.file.size.saturating_sub(columns);
        let share = beside / (footer.num_row_groups() as u64).max(1);
        let atom = |index: &usize| {
            let row_group = footer.row_group(*index);
            let bytes = self.file.projection.leaves.iter().map(|leaf| {
                let chunk = row_group.column(*leaf);
                chunk.compressed_size().unsigned_abs()
            });
            Atom {
                file: number,
                row_group: *index,
                rows: row_group.num_rows().unsigned_abs(),
                bytes: bytes.sum(),
                whole: false,
                footer: share,
            }
        };
        self.file.row_groups.iter().map(atom).collect()
    }

    /// Where the offset index of a leaf of the file lies.
    fn offsets_range(&self, row_group: usize, leaf: usize) -> Option<Range<u64>> {
        let chunk = self.file.metadata().row_group(row_group).column(leaf);
        self.beside(chunk.offset_index_offset()?, chunk.offset_index_length()?)
    }

    /// Where the column index of a leaf of the file lies.
    fn index_range(&self, row_group: usize, leaf: usize) -> Option<Range<u64>> {
        let chunk = self.file.metadata().row_group(row_group).column(leaf);
        self.beside(chunk.column_index_offset()?, chunk.column_index_length()?)
    }

    /// What lies beside columns, if it lies in the file.
    fn beside(&self, start: i64, length: i32) -> Option<Range<u64>> {
        let start = u64::try_from(start).ok()?;
        let length = u64::try_from(length).ok()?;
        let end = start.checked_add(length)?;
        (length > 0 && end <= self.file.size).then_some(start..end)
    }
}

/// A row group of an input in memory.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) input: Arc<Input>,
    /// The input's number.
    pub(super) number: usize,
    pub(super) row_group: usize,
    /// The chunks of it that are still needed, by where they begin in the file.
    chunks: Mutex<BTreeMap<u64, Buffer>>,
    /// The column indexes of leaves that are kept, where they have one.
    indexes: HashMap<usize, Buffer>,
    /// The offset indexes of leaves, where it is copied and they have one.
    offsets: HashMap<usize, Buffer>,
    /// Whether the storage copies it: then only some of its chunks are here.
    pub(super) whole: bool,
}

impl Fetched {
    pub(super) async fn fetch(
        storage: Arc<dyn Storage>,
        input: Arc<Input>,
        (number, row_group): (usize, usize),
    ) -> Result<Self> {
        let chunks = input.file.ranges(row_group)?;
        let kept = input.columns.iter().flatten().flatten();
        let (mut leaves, mut ranges) = (Vec::new(), chunks.clone());
        for leaf in kept {
            if let Some(range) = input.index_range(row_group, *leaf) {
                leaves.push(*leaf);
                ranges.push(range);
            }
        }
        let mut contents = Vec::new();
        if !ranges.is_empty() {
            let path = &input.file.path;
            let read = storage.read_ranges(path, &ranges).await;
            contents = read.map_err(|error| from_read(&error, path))?;
            if contents.len() != ranges.len() {
                return Err(corrupt(path, "not all of its columns came"));
            }
        }
        let indexes = contents.split_off(chunks.len());
        let starts = chunks.iter().map(|range| range.start);
        Ok(Self {
            chunks: Mutex::new(starts.zip(contents).collect()),
            indexes: leaves.into_iter().zip(indexes).collect(),
            offsets: HashMap::new(),
            whole: false,
            input,
            number,
            row_group,
        })
    }

    /// Of a row group that the storage copies: what is said of its pages, and the chunks of the leaves that are `read`.
    pub(super) async fn fetch_whole(
        storage: Arc<dyn Storage>,
        input: Arc<Input>,
        (number, row_group): (usize, usize),
        read: Vec<usize>,
    ) -> Result<Self> {
        /// What a range is.
        enum Of {
            Chunk(u64),
            Index(usize),
            Offsets(usize),
        }
        let group = input.file.metadata().row_group(row_group);
        let mut wanted = Vec::new();
        for leaf in read {
            let (start, length) = group.column(leaf).byte_range();
            wanted.push((Of::Chunk(start), start..start.saturating_add(length)));
        }
        for leaf in 0..group.num_columns() {
            let index = input.index_range(row_group, leaf);
            wanted.extend(index.map(|range| (Of::Index(leaf), range)));
            let offsets = input.offsets_range(row_group, leaf);
            wanted.extend(offsets.map(|range| (Of::Offsets(leaf), range)));
        }
        let (kinds, ranges): (Vec<Of>, Vec<Range<u64>>) = wanted.into_iter().unzip();
        let mut contents = Vec::new();
        if !ranges.is_empty() {
            let path = &input.file.path;
            let read = storage.read_ranges(path, &ranges).await;
            contents = read.map_err(|error| from_read(&error, path))?;
        }
        let (mut chunks, mut indexes) = (BTreeMap::new(), HashMap::new());
        let mut offsets = HashMap::new();
        for (kind, content) in kinds.into_iter().zip(contents) {
            match kind {
                Of::Chunk(start) => drop(chunks.insert(start, content)),
                Of::Index(leaf) => drop(indexes.insert(leaf, content)),
                Of::Offsets(leaf) => drop(offsets.insert(leaf, content)),
            }
        }
        Ok(Self {
            chunks: Mutex::new(chunks),
            indexes,
            offsets,
            whole: true,
            input,
            number,
            row_group,
        })
    }

    /// Whether no chunk of it is here.
    pub(super) fn holds_nothing(&self) -> bool {
        self.held().is_empty()
    }

    /// The column index of a leaf, if there is one.
    pub(super) fn index(&self, leaf: usize) -> Option<&Buffer> {
        self.indexes.get(&leaf)
    }

    /// Its offset index, if it was fetched.
    pub(super) fn offset_index(&self, leaf: usize) -> Option<&Buffer> {
        self.offsets.get(&leaf)
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<u64, Buffer>> {
        // Nothing that is done with it can fail halfway.
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is still needed of the file, to be read.
    pub(super) fn bytes(&self) -> FileBytes {
        FileBytes::by_start(self.input.file.size, self.held().clone())
    }

    /// Lets go of a column that is made. Pages that were copied live on in what became of it.
    pub(super) fn let_go(&self, column: usize) {
        let footer = self.input.file.metadata();
        let row_group = footer.row_group(self.row_group);
        for leaf in self.leaves(column).unwrap_or_default() {
            let (start, _) = row_group.column(*leaf).byte_range();
            self.held().remove(&start);
        }
    }

    /// A leaf of the file as a source of the table's `column`.
    pub(super) fn source(
        &self,
        leaf: usize,
        column: &ColumnDescriptor,
        deleted: &DeletedPositions,
    ) -> Sound<Source<'_>> {
        let footer = self.input.file.metadata();
        let row_group = footer.row_group(self.row_group);
        let chunk = row_group.column(leaf);
        let content = guarded("", || {
            let (start, length) = chunk.byte_range();
            let content = self.held().get(&start).cloned();
            let content = content.ok_or_else(|| corrupt("", "a column was not fetched"))?;
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            match content.len() >= length {
                true => Ok(content.slice(..length)),
                false => Err(corrupt("", "a column was cut off")),
            }
        });
        let rows = row_group.num_rows().unsigned_abs();
        let first = self.input.file.row_starts[self.row_group];
        Ok(Source {
            chunk,
            rows,
            deleted: deleted.among(self.number, first, rows),
            content: content.map_err(|failure| refused(failure.message))?,
            index: self.indexes.get(&leaf).cloned(),
            known: Known::of(footer.file_metadata(), leaf, column, chunk),
        })
    }

    /// The file's leaves of a column of the table.
    pub(super) fn leaves(&self, column: usize) -> Sound<&[usize]> {
        let missing = || Err(refused("the table has no such column"));
        match self.input.columns.get(column) {
            Some(Ok(leaves)) => Ok(leaves),
            Some(Err(why)) => Err(Refusal::clone(why)),
            None => missing(),
        }
    }
}
