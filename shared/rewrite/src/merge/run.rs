//! A group merged: footers read, the layout made, column chunks fetched, joined on all cores and written in order.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use bytes::Bytes as Buffer;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use iceberg::spec::{FormatVersion, Schema};
use icepress_catalog::metadata::Metadata;
use icepress_model::{Bytes, Group, Rows};
use icepress_table::MetricsMode;
use parquet::{
    file::properties::EnabledStatistics,
    schema::types::{ColumnDescPtr, SchemaDescriptor},
};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::JoinSet,
};

use super::{
    MergedChunk, Refusal, Sound, Stopped,
    chunk::Ways,
    codec::Coder,
    column::{Source, Target, counts_nans, join},
    eligible::same_leaves,
    layout::{Atom, Sizes, layout},
    refused,
};
use crate::{
    MergePages, RewriteContext,
    deletes::input_source,
    failure::{Result, from_read, guarded},
    group::{GroupCounts, reading_of},
    memory::Shares,
    read::{OpenFile, Reading, open},
    write::{Output, ParquetSettings},
};

/// How many requests are under way at most.
const REQUESTS: usize = 16;
/// Bytes of a column in a row group of an input, on average, from which on pages are worth keeping: readers pay for each.
const FEWEST_BYTES: u64 = 2 << 10;
/// What footers may take of the memory, as one part in so many.
const FOOTERS: u64 = 8;
/// What a page, and what the dictionaries of a column, may take of it.
const PAGE: u64 = 16;
const DICTIONARIES: u64 = 8;

/// What became of a group.
#[derive(Debug)]
pub(crate) enum Merged {
    /// It is written.
    Whole(GroupCounts),
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
        Ok(counts) => Ok(Merged::Whole(counts)),
        Err(Stopped::Refused(why)) => Ok(Merged::Not(why)),
        Err(Stopped::Failed(failure)) => Err(failure),
    }
}

/// An input whose columns are as the table's.
#[derive(Debug)]
struct Input {
    file: OpenFile,
    /// Of each leaf of the table, that of the file.
    leaves: Vec<usize>,
}

struct Merger<'a> {
    context: &'a RewriteContext,
    inputs: Vec<Arc<Input>>,
    files: Vec<Vec<Vec<Atom>>>,
    targets: Arc<Vec<Target>>,
    /// Whether the row group after the one that is being joined is fetched already.
    looks_ahead: bool,
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
        let columns = output.parquet_schema().clone();
        check_group(context, metadata, group, columns.num_columns())?;
        let targets = targets(context, output)?;
        let reading = reading_of(
            context,
            metadata,
            schema,
            group,
            schema.as_struct().fields().to_vec(),
        )?;
        let shares = Shares::of(context.memory_cap);
        let inputs = inputs(&reading, group, (&columns, &targets), shares.cap / FOOTERS).await?;
        let atoms = atoms(&inputs);
        let bytes = atoms.iter().map(|atom| atom.bytes).sum();
        check_pages(context, bytes, atoms.len(), columns.num_columns())?;
        let settings = output.settings().clone();
        let files = layout(
            &atoms,
            Sizes {
                file: group.target_file_size.get().max(1),
                row_group: settings.row_group_bytes,
                rows: settings.row_group_rows,
            },
        )?;
        let row_groups = files.iter().flatten();
        let largest = row_groups.map(|atoms| atoms.iter().map(|atom| atom.bytes).sum::<u64>());
        // A row group is there twice at most: as it was, and as it will be.
        let held = largest.max().unwrap_or(0).saturating_mul(2);
        let room = shares.cap - shares.cap / FOOTERS - 2 * (shares.cap / DICTIONARIES);
        if held > room {
            return Err(refused("its row groups don't fit the memory").into());
        }
        Ok(Self {
            context,
            inputs,
            files,
            targets: Arc::new(targets),
            looks_ahead: held + held / 2 <= room,
        })
    }

    async fn run(self, output: &mut Output) -> std::result::Result<GroupCounts, Stopped> {
        let mut ways = Ways::default();
        let mut counts = GroupCounts::default();
        let mut waiting: VecDeque<(&[Atom], bool)> = VecDeque::new();
        for file in &self.files {
            for (index, atoms) in file.iter().enumerate() {
                waiting.push_back((atoms, index + 1 == file.len()));
            }
        }
        let mut fetching = JoinSet::new();
        while let Some((atoms, ends_file)) = waiting.pop_front() {
            if fetching.is_empty() {
                fetching.spawn(self.fetch(atoms));
            }
            let fetched = match fetching.join_next().await {
                Some(Ok(fetched)) => Arc::new(fetched?),
                _ => return Err(refused("fetching was interrupted").into()),
            };
            if let (true, Some((atoms, _))) = (self.looks_ahead, waiting.front()) {
                fetching.spawn(self.fetch(atoms));
            }
            let rows: u64 = atoms.iter().map(|atom| atom.rows).sum();
            let chunks = std::pin::pin!(self.joined(&fetched));
            ways.add(output.append_row_group(rows, chunks).await?);
            if ends_file {
                output.roll().await?;
            }
            counts.rows_in += rows;
            counts.row_groups += atoms.len() as u64;
            let bytes = atoms.iter().map(|atom| atom.bytes).sum();
            self.context.progress.add(Rows(rows), Bytes(bytes));
        }
        tracing::info!(
            copied = ways.copied,
            united = ways.united,
            spelled = ways.spelled,
            "pages were merged; bytes of the new files by how they came about"
        );
        Ok(counts)
    }

    fn fetch(&self, atoms: &[Atom]) -> impl Future<Output = Result<Vec<Fetched>>> + Send + use<> {
        let storage = Arc::clone(&self.context.storage);
        let wanted: Vec<(Arc<Input>, usize)> = atoms
            .iter()
            .map(|atom| (Arc::clone(&self.inputs[atom.file]), atom.row_group))
            .collect();
        let fetched = wanted.into_iter().map(|(input, row_group)| {
            let storage = Arc::clone(&storage);
            async move {
                let ranges = input.ranges(row_group)?;
                let path = &input.file.path;
                let contents = storage
                    .read_ranges(path, &ranges)
                    .await
                    .map_err(|error| from_read(&error, path))?;
                Ok(Fetched {
                    input,
                    row_group,
                    contents,
                })
            }
        });
        stream::iter(fetched.collect::<Vec<_>>())
            .buffered(REQUESTS)
            .try_collect()
    }

    /// The columns of a row group, in order, joined by as many threads as the runtime has.
    fn joined(
        &self,
        fetched: &Arc<Vec<Fetched>>,
    ) -> impl Stream<Item = std::result::Result<MergedChunk, Stopped>> + Send + use<> {
        let handle = Handle::current();
        // With one thread, as in a simulated world, nothing may depend on how fast another is.
        let threads = match handle.runtime_flavor() {
            RuntimeFlavor::CurrentThread => 1,
            _ => handle.metrics().num_workers(),
        };
        let jobs = (0..self.targets.len()).map(|leaf| {
            let (targets, fetched) = (Arc::clone(&self.targets), Arc::clone(fetched));
            let job = move || join_column(&targets[leaf], leaf, &fetched);
            async move {
                if threads == 1 {
                    return Ok(job()?);
                }
                match tokio::task::spawn_blocking(job).await {
                    Ok(joined) => Ok(joined?),
                    Err(_) => Err(refused("joining a column was interrupted").into()),
                }
            }
        });
        stream::iter(jobs.collect::<Vec<_>>()).buffered(threads)
    }
}

/// Whether a group is one whose pages can be merged at all.
fn check_group(
    context: &RewriteContext,
    metadata: &Metadata,
    group: &Group,
    columns: usize,
) -> Sound<()> {
    if context.merge_pages == MergePages::Never {
        return Err(refused("pages are not to be merged"));
    }
    if !group.deletes.is_empty() {
        return Err(refused("it has deleted rows"));
    }
    if metadata.format_version() >= FormatVersion::V3 {
        return Err(refused("its rows have lineage"));
    }
    // No file is opened for nothing where their sizes tell already.
    check_pages(
        context,
        group.input_bytes().get(),
        group.inputs.len(),
        columns,
    )
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

/// How each column is to be.
fn targets(context: &RewriteContext, output: &Output) -> Sound<Vec<Target>> {
    let settings = output.settings();
    let cap = context.memory_cap.get();
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let target = |column: &ColumnDescPtr| {
        let path = column.path();
        let compression = settings.writer.compression(path);
        if !Coder::knows(compression) {
            return Err(refused(format_args!("pages compressed as {compression}")));
        }
        if settings.writer.bloom_filter_properties(path).is_some() {
            return Err(refused("the table wants Bloom filters"));
        }
        let id = column.self_type().get_basic_info().id();
        Ok(Target {
            column: Arc::clone(column),
            compression,
            dictionary_bytes: dictionary_bytes(settings, cap),
            most_page: size(cap / PAGE),
            most_dictionaries: size(cap / DICTIONARIES),
            has_statistics: settings.writer.statistics_enabled(path) != EnabledStatistics::None,
            must_be_exact: output.metrics_mode(id) == MetricsMode::Full,
            counts_nans: counts_nans(column),
        })
    };
    output
        .parquet_schema()
        .columns()
        .iter()
        .map(target)
        .collect()
}

fn dictionary_bytes(settings: &ParquetSettings, cap: u64) -> usize {
    let most = usize::try_from(cap / DICTIONARIES).unwrap_or(usize::MAX);
    settings.united_dictionary_bytes().min(most)
}

/// Reads the footers of a group's inputs, which may take `most` bytes.
async fn inputs(
    reading: &Arc<Reading>,
    group: &Group,
    (columns, targets): (&SchemaDescriptor, &[Target]),
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
        if !file.projection.is_plain() {
            return Err(refused(format_args!(
                "{} holds columns in another form than the table",
                file.path
            ))
            .into());
        }
        let found = same_leaves(columns, file.metadata().file_metadata().schema_descr());
        let leaves = found.map_err(|why| refused(format_args!("{}: {why}", file.path)))?;
        check_codecs(&file, &leaves, targets)?;
        inputs.push(Arc::new(Input { file, leaves }));
    }
    Ok(inputs)
}

/// Whether the pages of a file are compressed as the table wants them: elsewhere all of them would have to be done anew.
fn check_codecs(file: &OpenFile, leaves: &[usize], targets: &[Target]) -> Sound<()> {
    for row_group in &file.row_groups {
        let row_group = file.metadata().row_group(*row_group);
        for (leaf, target) in leaves.iter().zip(targets) {
            let held = row_group.column(*leaf).compression();
            if std::mem::discriminant(&held) != std::mem::discriminant(&target.compression) {
                return Err(refused(format_args!(
                    "{} is compressed in another way than the table wants",
                    file.path
                )));
            }
        }
    }
    Ok(())
}

/// The row groups of all inputs, in order.
fn atoms(inputs: &[Arc<Input>]) -> Vec<Atom> {
    let of_input = |(file, input): (usize, &Arc<Input>)| {
        let footer = input.file.metadata();
        let atom = |index: &usize| {
            let row_group = footer.row_group(*index);
            let bytes = input.leaves.iter().map(|leaf| {
                let chunk = row_group.column(*leaf);
                chunk.compressed_size().unsigned_abs()
            });
            Atom {
                file,
                row_group: *index,
                rows: row_group.num_rows().unsigned_abs(),
                bytes: bytes.sum(),
            }
        };
        input.file.row_groups.iter().map(atom).collect::<Vec<_>>()
    };
    inputs.iter().enumerate().flat_map(of_input).collect()
}

impl Input {
    /// Where the chunks of a row group lie, and behind them the column indexes of those that have one.
    fn ranges(&self, row_group: usize) -> Result<Vec<Range<u64>>> {
        let group = self.file.metadata().row_group(row_group);
        let mut ranges = guarded(&self.file.path, || {
            let chunk = |leaf: &usize| {
                let (start, length) = group.column(*leaf).byte_range();
                start..start.saturating_add(length)
            };
            Ok(self.leaves.iter().map(chunk).collect::<Vec<_>>())
        })?;
        ranges.extend(self.index_ranges(row_group).into_iter().flatten());
        if ranges.iter().any(|range| range.end > self.file.size) {
            let what = "a column lies beyond the file's end";
            return Err(crate::failure::corrupt(&self.file.path, what));
        }
        Ok(ranges)
    }

    /// Where the column index of each leaf lies.
    fn index_ranges(&self, row_group: usize) -> Vec<Option<Range<u64>>> {
        let group = self.file.metadata().row_group(row_group);
        let range = |leaf: &usize| {
            let chunk = group.column(*leaf);
            let start = u64::try_from(chunk.column_index_offset()?).ok()?;
            let length = u64::try_from(chunk.column_index_length()?).ok()?;
            let end = start.checked_add(length)?;
            (length > 0 && end <= self.file.size).then_some(start..end)
        };
        self.leaves.iter().map(range).collect()
    }
}

/// A row group of an input in memory.
#[derive(Debug)]
struct Fetched {
    input: Arc<Input>,
    row_group: usize,
    contents: Vec<Buffer>,
}

impl Fetched {
    fn source(&self, leaf: usize) -> Sound<Source<'_>> {
        let group = self.input.file.metadata().row_group(self.row_group);
        let missing = || refused("a column was not fetched");
        let indexes = self.input.index_ranges(self.row_group);
        let index = match &indexes[leaf] {
            None => None,
            Some(_) => {
                let before = indexes[..leaf].iter().flatten().count();
                let place = self.input.leaves.len() + before;
                Some(self.contents.get(place).ok_or_else(missing)?.clone())
            }
        };
        Ok(Source {
            chunk: group.column(self.input.leaves[leaf]),
            rows: group.num_rows().unsigned_abs(),
            content: self.contents.get(leaf).ok_or_else(missing)?.clone(),
            index,
        })
    }
}

fn join_column(target: &Target, leaf: usize, fetched: &[Fetched]) -> Sound<MergedChunk> {
    let joined = guarded("", || {
        let sources = fetched.iter().map(|fetched| fetched.source(leaf));
        Ok(sources
            .collect::<Sound<Vec<_>>>()
            .and_then(|sources| join(target, &sources)))
    });
    let joined = joined.map_err(|failure| refused(failure.message)).flatten();
    joined.map_err(|why| {
        refused(format_args!(
            "column {}: {why}",
            target.column.path().string()
        ))
    })
}
