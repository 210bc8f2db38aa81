//! A group merged: footers read, the layout made, row groups fetched, their columns joined on all cores and written in order.

use std::{ops::Range, sync::Arc};

use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, stream};
use iceberg::spec::Schema;
use icepress_catalog::metadata::Metadata;
use icepress_model::{Bytes, Group, InputFile, MergePages, Rows};
use icepress_storage::StorageErrorKind;
use parquet::basic::Compression;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Notify,
};

use super::{
    MergedChunk, Refusal, Sound, Stopped,
    chunk::Ways,
    codec::is_same_codec,
    column::{Target, join},
    coming::{Coming, Join, Threads},
    inputs::{Fetched, Input, REQUESTS, open_all},
    layout::{Atom, Next, Sizes, check, footer, joined, next},
    refused,
    rows::{Room, RowGroup},
    splice,
    targets::{Column, HELD, columns},
};
use crate::{
    RewriteContext,
    deletes::DeletedPositions,
    failure::{Result, from_read, guarded},
    group::{GroupCounts, reading_of},
    light::deleted_positions,
    lineage::lineage_fields,
    read::Reading,
    write::{Output, ParquetSettings},
};

/// Bytes of a column in a row group of an input, on average, from which on pages are worth keeping: readers pay for each.
const FEWEST_BYTES: u64 = 2 << 10;
/// A row group of an input is large enough as it is from one part in so many of the wanted size on.
const LARGE_ENOUGH: u64 = 2;
/// Bytes of a row group by which it is told what becomes of others: of fewer most is what has no codec, and more take long.
const TELLING: u64 = 1 << 20;
/// What footers may take of the memory, as one part in so many.
const FOOTERS: u64 = 8;
/// Things that a thread holds, each of them up to its share of the memory.
const THINGS: u64 = 3;
/// Columns that are joined at a time, at most.
const MOST_THREADS: usize = 4;
/// What an encoded column may take of the memory, beside what its row group has anyway.
const ENCODED: u64 = 4;

/// What became of a group.
#[derive(Debug)]
pub(crate) enum Merged {
    /// It is written.
    Whole(GroupCounts, icepress_model::Ways),
    /// Its rows are to be decoded, for this reason. What was written is to be thrown away.
    Not(Refusal),
}

/// Merges the pages of a group into `output`.
pub(crate) async fn merge(
    context: &RewriteContext,
    metadata: &Metadata,
    schema: &Schema,
    group: &Group,
    output: &mut Output,
) -> Result<Merged> {
    let merged = match Merger::open(context, metadata, schema, group, output).await {
        Ok(merger) => merger.run(output).await,
        Err(stopped) => Err(stopped),
    };
    match merged {
        Ok((counts, ways)) => Ok(Merged::Whole(counts, ways)),
        Err(Stopped::Refused(why)) => Ok(Merged::Not(why)),
        Err(Stopped::Failed(failure)) => Err(failure),
    }
}

/// What is the same for all columns of all row groups.
#[derive(Debug)]
struct Shared {
    columns: Vec<Column>,
    reading: Arc<Reading>,
    entries: Vec<InputFile>,
    deleted: DeletedPositions,
    settings: ParquetSettings,
    room: Room,
}

struct Merger<'a> {
    context: &'a RewriteContext,
    inputs: Vec<Arc<Input>>,
    atoms: Vec<Atom>,
    sizes: Sizes,
    /// Bytes that one of the inputs' makes, as far as that is known before.
    ratio: f64,
    shared: Arc<Shared>,
    /// What was read without a row group being: passes over deletes, and row groups of which no row is live.
    counts: GroupCounts,
    threads: usize,
}

impl<'a> Merger<'a> {
    async fn open(
        context: &'a RewriteContext,
        metadata: &Metadata,
        schema: &Schema,
        group: &Group,
        // Alone: a file that is open can't be looked at by two threads.
        output: &mut Output,
    ) -> std::result::Result<Self, Stopped> {
        let parquet = output.parquet_schema().clone();
        if context.merge_pages == MergePages::Never {
            return Err(refused("pages are not to be merged").into());
        }
        // No file is opened for nothing where their sizes tell already.
        let bytes = group.input_bytes().get();
        check_pages(context, bytes, group.inputs.len(), parquet.num_columns())?;
        let mut fields = schema.as_struct().fields().to_vec();
        fields.extend(lineage_fields(metadata, schema.as_struct())?);
        let columns = columns(context, output, &parquet, &fields)?;
        let reading = reading_of(context, metadata, schema, group, fields)?;
        let cap = context.memory_cap.get();
        let ranges: Vec<Range<usize>> = columns.iter().map(|it| it.leaves.clone()).collect();
        let inputs = open_all(&reading, group, (&parquet, &ranges), cap / FOOTERS).await?;
        worth_it(&columns, &inputs)?;
        let numbered = inputs.iter().enumerate();
        let atoms: Vec<Atom> = numbered.flat_map(|(number, it)| it.atoms(number)).collect();
        let bytes = atoms.iter().map(|atom| atom.bytes).sum();
        check_pages(context, bytes, atoms.len(), parquet.num_columns())?;
        let settings = output.settings().clone();
        let sizes = Sizes {
            file: group.target_file_size.get().max(1),
            row_group: settings.row_group_bytes,
            rows: settings.row_group_rows,
        };
        let (deleted, passes) = match group.leaves_rows_out() {
            false => (DeletedPositions::default(), 0),
            true => deleted_positions(context, metadata, schema, group).await?,
        };
        let mut merger = Self {
            context,
            inputs,
            atoms,
            sizes,
            ratio: 1.0,
            shared: Arc::new(Shared {
                columns,
                reading,
                entries: group.inputs.clone(),
                deleted,
                settings,
                room: Room {
                    batch: cap / HELD / 4,
                    decoding: cap / HELD,
                    encoding: cap / ENCODED,
                },
            }),
            counts: GroupCounts {
                passes,
                ..GroupCounts::default()
            },
            threads: 1,
        };
        merger.leave_out_dead();
        merger.find_whole();
        merger.measured().await?.with_room(cap)
    }

    /// Takes out the row groups of which no row is live: nothing becomes of them, and they tell nothing of what becomes of others.
    fn leave_out_dead(&mut self) {
        for atom in std::mem::take(&mut self.atoms) {
            if self.live_rows(&atom) > 0 {
                self.atoms.push(atom);
                continue;
            }
            self.counts.rows_in += atom.rows;
            self.counts.rows_deleted += atom.rows;
            self.counts.row_groups += 1;
            self.context
                .progress
                .add(Rows(atom.rows), Bytes(atom.bytes));
        }
    }

    /// Marks row groups that are large enough as they are, and may be copied.
    fn find_whole(&mut self) {
        let whole: Vec<bool> = self.atoms.iter().map(|atom| self.is_whole(atom)).collect();
        for (atom, whole) in self.atoms.iter_mut().zip(whole) {
            atom.whole = whole;
        }
    }

    fn is_whole(&self, atom: &Atom) -> bool {
        let input = &self.inputs[atom.file];
        let Some(least) = self.context.storage.copies(&input.file.path) else {
            return false;
        };
        let wanted = self.sizes.row_group.min(self.sizes.file) / LARGE_ENOUGH;
        if atom.bytes < least.get().max(wanted) || self.live_rows(atom) != atom.rows {
            return false;
        }
        let span = self.span(atom);
        if let Err(why) = &span {
            tracing::debug!(path = input.file.path, %why, "a row group is not copied whole");
        }
        span.is_ok()
    }

    /// Where a row group that may be copied lies in its file.
    fn span(&self, atom: &Atom) -> Sound<Range<u64>> {
        let input = &self.inputs[atom.file];
        splice::span(input, atom.row_group, &self.shared.leaves(input)?)
    }

    /// The same with what one row group of an input becomes, where the table wants another codec than the inputs have: what
    /// that makes of them nothing else tells.
    async fn measured(mut self) -> std::result::Result<Self, Stopped> {
        let wanted = self.shared.columns.iter();
        let wanted: Vec<Option<Compression>> = wanted
            .map(|column| Some(column.targets.as_ref().ok()?.first()?.compression))
            .collect();
        let is_other = |atom: &&Atom| {
            let input = &self.inputs[atom.file];
            let row_group = input.file.metadata().row_group(atom.row_group);
            let mut columns = input.columns.iter().zip(&wanted);
            columns.any(|(leaves, wanted)| {
                let (Ok(leaves), Some(wanted)) = (leaves, wanted) else {
                    return false;
                };
                let mut codecs = leaves
                    .iter()
                    .map(|leaf| row_group.column(*leaf).compression());
                codecs.any(|codec| !is_same_codec(codec, *wanted))
            })
        };
        let others = self.atoms.iter().filter(is_other);
        let Some(atom) = others.min_by_key(|atom| atom.bytes.abs_diff(TELLING)) else {
            return Ok(self);
        };
        let fetched = self.fetch(std::slice::from_ref(atom)).await?;
        let mut made = 0;
        for column in 0..self.shared.columns.len() {
            let chunks = self.shared.chunks(column, &fetched)?;
            made += chunks.iter().map(MergedChunk::bytes).sum::<u64>();
        }
        self.ratio = ratio(made, atom.bytes);
        Ok(self)
    }

    /// The same with as many threads as memory allows.
    fn with_room(mut self, cap: u64) -> std::result::Result<Self, Stopped> {
        let sizes = self.sizes.before(self.ratio);
        check(&self.atoms, sizes)?;
        // A row group is there twice at most: as it was, and as it will be; or the half of it that is not joined yet, and all of
        // the next.
        let most = sizes.row_group.saturating_add(sizes.row_group / 4);
        let all: u64 = self.atoms.iter().map(|atom| atom.bytes).sum();
        let held = most.min(all).saturating_mul(2);
        let room = cap.saturating_sub(cap / FOOTERS + self.shared.deleted.memory());
        let of_thread = THINGS * (cap / HELD).max(1);
        let threads = room.saturating_sub(held) / of_thread;
        let threads = usize::try_from(threads).unwrap_or(MOST_THREADS);
        if threads == 0 {
            return Err(refused("its row groups don't fit the memory").into());
        }
        self.threads = threads.min(workers()).min(MOST_THREADS);
        Ok(self)
    }

    async fn run(
        self,
        output: &mut Output,
    ) -> std::result::Result<(GroupCounts, icepress_model::Ways), Stopped> {
        let threads = Threads::new(self.threads);
        let mut ways = Ways::default();
        let mut counts = self.counts;
        let (mut read, mut ratio_now) = (0, self.ratio);
        // Of the file that is open.
        let mut footers = 0;
        let has_room = Arc::new(Notify::new());
        has_room.notify_one();
        if self.atoms.is_empty() {
            return Ok((counts, ways.into()));
        }
        let (mut turn, mut left) = self.next(&self.atoms, ratio_now, 0);
        let mut coming = self.begin(&threads, turn.atoms, has_room);
        loop {
            if turn.begins_file {
                output.roll().await?;
                footers = 0;
            }
            // What comes next is settled before this one is written, whatever becomes of it, so that it can be joined meanwhile.
            // Room for it is there once half of this one is written.
            let half_written = Arc::new(Notify::new());
            let open = (output.open_bytes() as f64 / ratio_now) as u64 + footers;
            let mut next = None;
            if !left.is_empty() {
                let (after, rest) = self.next(left, ratio_now, open + joined(turn.atoms));
                let begun = self.begin(&threads, after.atoms, Arc::clone(&half_written));
                (next, left) = (Some((after, begun)), rest);
            }
            let bytes: u64 = turn.atoms.iter().map(|atom| atom.bytes).sum();
            let rows: u64 = turn.atoms.iter().map(|atom| atom.rows).sum();
            let live: u64 = turn.atoms.iter().map(|atom| self.live_rows(atom)).sum();
            if let [whole] = turn.atoms
                && whole.whole
            {
                ways.add(self.copy(output, whole, coming.chunks()).await?);
            } else {
                let mut made = 0;
                let chunks = coming.chunks().inspect_ok(|chunk| {
                    made += chunk.bytes();
                    if made as f64 >= bytes as f64 * ratio_now / 2.0 {
                        half_written.notify_one();
                    }
                });
                let chunks = std::pin::pin!(chunks);
                ways.add(output.append_row_group(live, chunks, 0).await?);
            }
            half_written.notify_one();
            read += bytes;
            footers += footer(turn.atoms);
            ratio_now = ratio(ways.all(), read);
            counts.rows_in += rows;
            counts.rows_deleted += rows - live;
            counts.row_groups += turn.atoms.len() as u64;
            self.context.progress.add(Rows(rows), Bytes(bytes));
            match next {
                Some(next) => (turn, coming) = next,
                None => return Ok((counts, ways.into())),
            }
        }
    }

    /// Writes a row group that the storage copies.
    async fn copy(
        &self,
        output: &mut Output,
        atom: &Atom,
        chunks: impl Stream<Item = std::result::Result<MergedChunk, Stopped>>,
    ) -> std::result::Result<Ways, Stopped> {
        let (path, span) = (&self.inputs[atom.file].file.path, self.span(atom)?);
        let chunks = std::pin::pin!(chunks);
        let left_out = span.end - span.start;
        let ways = output.append_row_group(atom.rows, chunks, left_out).await?;
        match output.copy(path, span).await {
            Ok(()) => Ok(ways),
            Err(error) if error.kind == StorageErrorKind::Throttled => {
                Err(Stopped::Failed(from_read(&error, path)))
            }
            // Whoever may read it need not be allowed to have it copied from where it is.
            Err(error) => Err(refused(format_args!("it can't be copied: {error}")).into()),
        }
    }

    /// The next row group of what is `left`, and what is left then; `open` is what the open file will hold before it, as bytes of
    /// inputs.
    fn next<'b>(&self, left: &'b [Atom], ratio: f64, open: u64) -> (Turn<'b>, &'b [Atom]) {
        let sizes = self.sizes.before(ratio);
        let (begins_file, count) = match next(left, sizes, open) {
            Next::RowGroup(count) => (false, count),
            Next::EndOfFile => match next(left, sizes, 0) {
                Next::RowGroup(count) => (true, count),
                // An empty file always takes something.
                Next::EndOfFile => (true, left.len()),
            },
        };
        let (atoms, rest) = left.split_at(count);
        (Turn { begins_file, atoms }, rest)
    }

    fn begin(&self, threads: &Threads, atoms: &[Atom], has_room: Arc<Notify>) -> Coming {
        let fetch = Box::pin(self.fetch(atoms));
        threads.begin(Arc::clone(&self.shared), has_room, fetch)
    }

    fn live_rows(&self, atom: &Atom) -> u64 {
        let first = self.inputs[atom.file].file.row_starts[atom.row_group];
        atom.rows - self.shared.deleted.count(atom.file, first, atom.rows)
    }

    /// The row groups that are to be one, in memory.
    fn fetch(&self, atoms: &[Atom]) -> impl Future<Output = Result<Vec<Fetched>>> + Send + use<> {
        let fetched = atoms.iter().map(|atom| {
            let storage = Arc::clone(&self.context.storage);
            let input = Arc::clone(&self.inputs[atom.file]);
            let number = (atom.file, atom.row_group);
            match atom.whole {
                false => Fetched::fetch(storage, input, number).boxed(),
                true => {
                    let read = self.shared.leaves_to_read(&input, atom.row_group);
                    Fetched::fetch_whole(storage, input, number, read).boxed()
                }
            }
        });
        stream::iter(fetched.collect::<Vec<_>>())
            .buffered(REQUESTS)
            .try_collect()
    }
}

/// A row group's turn to be written.
struct Turn<'a> {
    /// Whether it is the first of its file, and not of all.
    begins_file: bool,
    atoms: &'a [Atom],
}

/// Which part of bytes that were read is left once they are written. Nothing tells much of little.
fn ratio(written: u64, read: u64) -> f64 {
    match read {
        0 => 1.0,
        read => (written as f64 / read as f64).clamp(0.05, 4.0),
    }
}

impl Join for Shared {
    fn columns(&self) -> usize {
        self.columns.len()
    }

    /// Of a row group that is copied, and of which nothing is read.
    fn is_little(&self, fetched: &[Fetched]) -> bool {
        fetched
            .iter()
            .all(|fetched| fetched.whole && fetched.holds_nothing())
    }

    /// Of pages, or of rows where that can't be.
    fn chunks(&self, column: usize, fetched: &[Fetched]) -> Sound<Vec<MergedChunk>> {
        let name = || &self.columns[column].encoded.field.name;
        let made = guarded("", || {
            if let [whole] = fetched
                && whole.whole
            {
                return Ok(self.lying(column, whole));
            }
            let made = self.of_pages(column, fetched).or_else(|why| {
                tracing::debug!(column = %name(), %why, "a column's rows are decoded");
                self.of_rows(column, fetched)
            });
            Ok(made)
        });
        let made = made.map_err(|failure| refused(failure.message)).flatten();
        made.map_err(|why| refused(format_args!("column {}: {why}", name())))
    }
}

impl Shared {
    /// All leaves of the table, each with its place in the file; fails where one can't be kept as it is.
    fn leaves(&self, input: &Input) -> Sound<Vec<(usize, &Target)>> {
        let mut leaves = Vec::new();
        for (column, held) in self.columns.iter().zip(&input.columns) {
            let targets = column.targets.as_ref().map_err(Clone::clone)?;
            let held = held.as_ref().map_err(Clone::clone)?;
            leaves.extend(held.iter().copied().zip(targets));
        }
        Ok(leaves)
    }

    /// Those of them that have to be read although their bytes are copied.
    fn leaves_to_read(&self, input: &Input, row_group: usize) -> Vec<usize> {
        let leaves = self.leaves(input).unwrap_or_default().into_iter();
        let read = leaves.filter(|(leaf, target)| splice::is_read(input, row_group, *leaf, target));
        read.map(|(leaf, _)| leaf).collect()
    }

    /// The chunks of a column whose row group is copied.
    fn lying(&self, column: usize, whole: &Fetched) -> Sound<Vec<MergedChunk>> {
        let targets = self.columns[column].targets.as_ref();
        let targets = targets.map_err(Clone::clone)?;
        let leaves = whole.leaves(column)?.iter().zip(targets);
        leaves
            .map(|(leaf, target)| splice::lying(target, whole, *leaf))
            .collect()
    }

    fn of_pages(&self, column: usize, fetched: &[Fetched]) -> Sound<Vec<MergedChunk>> {
        let targets = self.columns[column]
            .targets
            .as_ref()
            .map_err(Clone::clone)?;
        let join_leaf = |(leaf, target): (usize, &Target)| {
            let sources = fetched.iter().map(|fetched| {
                let leaf = fetched.leaves(column)?[leaf];
                fetched.source(leaf, &target.column, &self.deleted)
            });
            join(target, &sources.collect::<Sound<Vec<_>>>()?)
        };
        let joined = targets.iter().enumerate().map(join_leaf);
        let joined: Vec<MergedChunk> = joined.collect::<Sound<_>>()?;
        for fetched in fetched {
            fetched.let_go(column);
        }
        Ok(joined)
    }

    fn of_rows(&self, column: usize, fetched: &[Fetched]) -> Sound<Vec<MergedChunk>> {
        let row_groups = fetched.iter().map(|fetched| RowGroup {
            input: fetched.number,
            entry: &self.entries[fetched.number],
            file: &fetched.input.file,
            row_group: fetched.row_group,
            bytes: fetched.bytes(),
        });
        self.columns[column].encoded.encode(
            &row_groups.collect::<Vec<_>>(),
            &self.reading.wanted,
            &self.deleted,
            &self.settings,
            self.room,
        )
    }
}

/// How many threads the runtime has. With one, as in a simulated world, nothing may depend on how fast another is.
fn workers() -> usize {
    let handle = Handle::current();
    match handle.runtime_flavor() {
        RuntimeFlavor::CurrentThread => 1,
        _ => handle.metrics().num_workers(),
    }
}

/// Whether so many bytes in so many row groups make pages that are worth keeping.
fn check_pages(
    context: &RewriteContext,
    bytes: u64,
    row_groups: usize,
    columns: usize,
) -> Sound<()> {
    let fewest = (row_groups as u64)
        .saturating_mul(columns as u64)
        .saturating_mul(FEWEST_BYTES);
    if context.merge_pages == MergePages::WhereItPays && bytes < fewest {
        return Err(refused("its pages are too small to be kept"));
    }
    Ok(())
}

/// Fails where no column of any file is in a form in which its pages can be kept: rows are decoded more simply then.
fn worth_it(columns: &[Column], inputs: &[Arc<Input>]) -> Sound<()> {
    let mut first = None;
    for (index, column) in columns.iter().enumerate() {
        let refusals = inputs
            .iter()
            .filter_map(|it| it.columns[index].as_ref().err());
        match column
            .targets
            .as_ref()
            .err()
            .or(refusals.into_iter().next())
        {
            None => return Ok(()),
            Some(why) => first = first.or(Some(why)),
        }
    }
    first.map_or(Ok(()), |why| Err(why.clone()))
}
