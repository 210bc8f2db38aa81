//! Deleted rows by position: position delete files and deletion vectors, as one bitmap for each input.

use std::{collections::HashMap, ops::Range, sync::Arc};

use arrow_array::{Array, cast::AsArray, types::Int64Type};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use iceberg::spec::{NestedField, PrimitiveType, Type};
use icepress_model::{Bytes, DeleteContent, DeleteFile, Group};
use icepress_storage::Storage;
use icepress_table::{
    reserved_ids::{
        DELETE_FILE_PATH, DELETE_FILE_PATH_NAME, DELETE_POSITION, DELETE_POSITION_NAME,
    },
    vectors::decode_vector,
};
use roaring::RoaringTreemap;

use crate::{
    failure::{Result, corrupt, differs, from_read, over_memory},
    memory::Shares,
    project::{KnownColumns, Wanted},
    read::{Batches, Reading, Scan, SourceFile},
};

/// Bytes of vectors that come in one request, unless one has more.
const READ: u64 = 1 << 20;
/// Requests for vectors that are under way at a time.
const READS_AT_ONCE: usize = 8;

/// A deletion vector, and which inputs it is said to belong to.
struct Vector<'a> {
    delete: &'a DeleteFile,
    range: Range<u64>,
    inputs: Vec<usize>,
}

/// The inputs that each delete of the group applies to.
fn inputs_of_deletes(group: &Group) -> Vec<Vec<usize>> {
    let mut inputs = vec![Vec::new(); group.deletes.len()];
    for (index, input) in group.inputs.iter().enumerate() {
        for delete in &input.deletes {
            if let Some(inputs) = inputs.get_mut(*delete as usize)
                && inputs.last() != Some(&index)
            {
                inputs.push(index);
            }
        }
    }
    inputs
}

/// Vectors of one file, in the order in which they lie there, up to [`READ`] bytes together; none is empty.
fn reads_of(mut vectors: Vec<Vector<'_>>) -> Vec<Vec<Vector<'_>>> {
    vectors.sort_by(|one, other| {
        let place = |of: &Vector<'_>| (of.range.start, of.range.end);
        (&one.delete.path, place(one)).cmp(&(&other.delete.path, place(other)))
    });
    let mut reads: Vec<Vec<Vector<'_>>> = Vec::new();
    let mut bytes = 0u64;
    for vector in vectors {
        let own = vector.range.end - vector.range.start;
        match reads.last_mut() {
            Some(read)
                if read[0].delete.path == vector.delete.path
                    && bytes.saturating_add(own) <= READ =>
            {
                bytes += own;
                read.push(vector);
            }
            _ => {
                bytes = own;
                reads.push(vec![vector]);
            }
        }
    }
    reads
}

/// Fetches ranges of one file, all at once.
async fn fetch(
    storage: Arc<dyn Storage>,
    path: String,
    ranges: Vec<Range<u64>>,
) -> Result<Vec<bytes::Bytes>> {
    let fetched = storage.read_ranges(&path, &ranges).await;
    fetched.map_err(|error| from_read(&error, &path))
}

/// The deleted positions of each input that has any.
#[derive(Debug, Default)]
pub(crate) struct DeletedPositions {
    by_input: HashMap<usize, RoaringTreemap>,
}

impl DeletedPositions {
    /// The deleted positions of an input.
    pub(crate) fn of(&self, input: usize) -> Option<&RoaringTreemap> {
        self.by_input.get(&input)
    }

    /// Which of `rows` rows of an input, from the position `first` on, stay; `None` where all do.
    pub(crate) fn kept(&self, input: usize, first: u64, rows: usize) -> Option<Vec<bool>> {
        let mut kept: Option<Vec<bool>> = None;
        let mut positions = self.of(input)?.iter();
        positions.advance_to(first);
        for position in positions.take_while(|position| *position < first + rows as u64) {
            let kept = kept.get_or_insert_with(|| vec![true; rows]);
            kept[(position - first) as usize] = false;
        }
        kept
    }

    /// The numbers of the deleted rows among the `rows` of an input from the position `first` on, counted from there.
    pub(crate) fn among(&self, input: usize, first: u64, rows: u64) -> Vec<u64> {
        let Some(positions) = self.of(input) else {
            return Vec::new();
        };
        let mut positions = positions.iter();
        positions.advance_to(first);
        let positions = positions.take_while(|position| *position < first + rows);
        positions.map(|position| position - first).collect()
    }

    /// How many of `rows` rows of an input, from the position `first` on, are deleted.
    pub(crate) fn count(&self, input: usize, first: u64, rows: u64) -> u64 {
        let Some(positions) = self.of(input) else {
            return 0;
        };
        // The rank of a position is how many there are up to it.
        let before = |end: u64| end.checked_sub(1).map_or(0, |last| positions.rank(last));
        before(first + rows) - before(first)
    }

    /// The deleted positions of an input, taken out. What lies beyond its `rows` deletes nothing.
    pub(crate) fn take(&mut self, input: usize, rows: u64) -> RoaringTreemap {
        let mut bitmap = self.by_input.remove(&input).unwrap_or_default();
        bitmap.remove_range(rows..);
        bitmap
    }

    /// Marks one row of an input.
    pub(crate) fn mark(&mut self, input: usize, position: u64) {
        self.by_input.entry(input).or_default().insert(position);
    }

    /// Bytes held, about: a bitmap in memory is little larger than its serialized form.
    pub(crate) fn memory(&self) -> u64 {
        self.by_input
            .values()
            .map(|bitmap| bitmap.serialized_size() as u64)
            .sum()
    }

    /// Fails where the bitmaps have outgrown their share.
    pub(crate) fn check(&self, shares: &Shares) -> Result<()> {
        let held = self.memory();
        if held <= shares.positions {
            return Ok(());
        }
        Err(over_memory(format!(
            "the positions of the group's deleted rows take {}, more than the {} that a cap of {} leaves for them: \
             give the optimizer more memory, or let groups be smaller",
            Bytes(held),
            Bytes(shares.positions),
            Bytes(shares.cap),
        )))
    }

    /// Reads the position delete files and vectors of a group, each once.
    pub(crate) async fn load(
        storage: &Arc<dyn Storage>,
        group: &Group,
        shares: &Shares,
    ) -> Result<Self> {
        let mut deleted = Self::default();
        let (mut files, mut vectors) = (Vec::new(), Vec::new());
        for (delete, inputs) in group.deletes.iter().zip(inputs_of_deletes(group)) {
            match delete.content {
                _ if inputs.is_empty() => {}
                DeleteContent::Equality { .. } => {}
                DeleteContent::Position => files.push((delete, inputs)),
                DeleteContent::Vector { offset, length } => vectors.push(Vector {
                    delete,
                    range: offset..offset.saturating_add(length),
                    inputs,
                }),
            }
        }
        let reads = reads_of(vectors);
        let fetches: Vec<_> = reads
            .iter()
            .map(|vectors| {
                let ranges = vectors.iter().map(|vector| vector.range.clone()).collect();
                fetch(Arc::clone(storage), vectors[0].delete.path.clone(), ranges)
            })
            .collect();
        let mut fetched = stream::iter(fetches).buffered(READS_AT_ONCE);
        for vectors in &reads {
            let blobs = fetched.try_next().await?.unwrap_or_default();
            if blobs.len() != vectors.len() {
                let path = &vectors[0].delete.path;
                return Err(corrupt(path, "not all of its vectors came"));
            }
            for (vector, blob) in vectors.iter().zip(blobs) {
                deleted.add_vector(group, vector, &blob)?;
                deleted.check(shares)?;
            }
        }
        deleted.load_files(storage, group, &files, shares).await?;
        Ok(deleted)
    }

    fn add_vector(&mut self, group: &Group, vector: &Vector<'_>, blob: &[u8]) -> Result<()> {
        let delete = vector.delete;
        let positions = decode_vector(blob).map_err(|what| corrupt(&delete.path, what))?;
        if positions.len() != delete.rows.get() {
            return Err(differs(
                &delete.path,
                format_args!(
                    "a deletion vector marks {} rows, and the manifest says {}",
                    positions.len(),
                    delete.rows
                ),
            ));
        }
        for input in &vector.inputs {
            let path = &group.inputs[*input].path;
            if delete
                .referenced_data_file
                .as_ref()
                .is_some_and(|referenced| referenced != path)
            {
                return Err(corrupt(
                    &delete.path,
                    format_args!("a deletion vector of another file was attached to {path}"),
                ));
            }
            *self.by_input.entry(*input).or_default() |= &positions;
        }
        Ok(())
    }

    async fn load_files(
        &mut self,
        storage: &Arc<dyn Storage>,
        group: &Group,
        files: &[(&DeleteFile, Vec<usize>)],
        shares: &Shares,
    ) -> Result<()> {
        let column = |id, name: &str, primitive| {
            Arc::new(NestedField::required(id, name, Type::Primitive(primitive)))
        };
        let wanted = Wanted {
            known: Arc::new(KnownColumns::of_position_deletes()),
            must_explain: false,
            targets: vec![
                column(
                    DELETE_FILE_PATH,
                    DELETE_FILE_PATH_NAME,
                    PrimitiveType::String,
                ),
                column(DELETE_POSITION, DELETE_POSITION_NAME, PrimitiveType::Long),
            ],
            constants: HashMap::new(),
        };
        let reading = Reading {
            storage: Arc::clone(storage),
            wanted,
        };
        let sources = files.iter().map(|(delete, _)| source(delete)).collect();
        let mut scan = Scan::new(Arc::new(reading), sources, *shares);
        while let Some(piece) = scan.next().await? {
            let (delete, inputs) = &files[piece.file];
            let by_path: HashMap<&str, usize> = inputs
                .iter()
                .map(|input| (group.inputs[*input].path.as_str(), *input))
                .collect();
            let mut batches = Batches::new(piece, shares.batch)?;
            while let Some(batch) = batches.next()? {
                let [paths, positions] = batch.columns.as_slice() else {
                    return Err(corrupt(
                        &delete.path,
                        "its columns are not path and position",
                    ));
                };
                if paths.null_count() + positions.null_count() > 0 {
                    return Err(corrupt(&delete.path, "a position delete holds NULL"));
                }
                let paths = paths.as_string_view();
                let positions = positions.as_primitive::<Int64Type>().values();
                self.mark_batch(&delete.path, &by_path, paths, positions)?;
                scan.look_ahead()?;
                tokio::task::yield_now().await;
            }
            self.check(shares)?;
        }
        Ok(())
    }

    /// Marks what a batch says of the group's inputs. Paths come sorted: runs of one path are looked up once.
    fn mark_batch(
        &mut self,
        delete_path: &str,
        by_path: &HashMap<&str, usize>,
        paths: &arrow_array::StringViewArray,
        positions: &[i64],
    ) -> Result<()> {
        let mut row = 0;
        while row < positions.len() {
            let path = paths.value(row);
            let end = (row..positions.len())
                .find(|other| paths.value(*other) != path)
                .unwrap_or(positions.len());
            if let Some(input) = by_path.get(path) {
                let bitmap = self.by_input.entry(*input).or_default();
                for position in &positions[row..end] {
                    let position = u64::try_from(*position)
                        .map_err(|_| corrupt(delete_path, "a position is negative"))?;
                    bitmap.insert(position);
                }
            }
            row = end;
        }
        Ok(())
    }
}

/// A delete file as something to read.
pub(super) fn source(delete: &DeleteFile) -> SourceFile {
    SourceFile {
        path: delete.path.clone(),
        size: delete.size.get(),
        rows: delete.rows.get(),
    }
}
