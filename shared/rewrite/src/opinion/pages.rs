//! Sums over the values in pages: of each column, and of rows over several columns.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
    sync::Arc,
};

use iceberg::spec::Schema;
use icepress_catalog::metadata::Metadata;
use icepress_model::{Bytes, Group};
use parquet::{
    column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader},
    data_type::DataType,
    errors::ParquetError,
    file::serialized_reader::SerializedPageReader,
};
use roaring::RoaringTreemap;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    canon::{Conversion, Value},
    footers::{Fixed, OldFile, fixed_by, look_at},
    join::{Joined, TableColumns},
};
use crate::{
    RewriteContext,
    deletes::DeletedPositions,
    failure::{Result, corrupt, from_decode, from_read, guarded, over_memory},
    light::deleted_positions,
    memory::Shares,
    read::FileBytes,
};

/// Rows that are decoded of a column at a time, at the most.
const MOST_ROWS: u64 = 1024;
/// What a row is counted as that is summed over: its hash, and whether it is deleted, with room to spare.
const BYTES_OF_ROW: u64 = 16;

/// The values of one column. All sums wrap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    values: u64,
    /// The sum of their hashes, which are those of no other column.
    hash: u64,
    /// The sum of their hashes, whatever column they are in.
    bare: u64,
    /// The same, each with its row: only for columns of the same files.
    placed: u64,
}

impl Sum {
    /// Counts a value with this hash, in this column and row; returns its hash in this column.
    fn put(&mut self, bare: u64, id: i32, row: u64) -> u64 {
        let hash = spread(bare ^ spread(u64::from(id.unsigned_abs())));
        self.values += 1;
        self.hash = self.hash.wrapping_add(hash);
        self.bare = self.bare.wrapping_add(bare);
        self.placed = self.placed.wrapping_add(spread(bare ^ spread(row)));
        hash
    }

    fn and(self, other: Self) -> Self {
        Self {
            values: self.values + other.values,
            hash: self.hash.wrapping_add(other.hash),
            bare: self.bare.wrapping_add(other.bare),
            placed: self.placed.wrapping_add(other.placed),
        }
    }
}

/// A number of which each bit depends on each bit of `number` (the finisher of SplitMix64).
fn spread(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// Sums over one side's live rows.
#[derive(Debug, Default)]
pub(super) struct Sums {
    rows: u64,
    /// Deleted ones and all.
    rows_read: u64,
    /// The wrapping sum of the rows' hashes, each over the values of all chosen columns.
    row_hash: u64,
    columns: BTreeMap<i32, Sum>,
}

impl Sums {
    /// Over the columns `chosen` of all live rows of `groups`.
    pub(super) async fn of(
        context: &RewriteContext,
        metadata: &Metadata,
        schema: &Schema,
        columns: &TableColumns,
        groups: &[Group],
        chosen: &BTreeSet<i32>,
    ) -> Result<Self> {
        let mut sums = Self::default();
        for group in groups {
            let deleted = match group.leaves_rows_out() {
                false => DeletedPositions::default(),
                true => deleted_positions(context, metadata, schema, group).await?.0,
            };
            let fixed = fixed_by(metadata, group)?;
            for (index, input) in group.inputs.iter().enumerate() {
                let file = look_at(context, columns, input).await?;
                sums.add(context, columns, chosen, &fixed, &file, deleted.of(index))
                    .await?;
            }
        }
        Ok(sums)
    }

    /// How many values a column has.
    pub(super) fn values(&self, id: i32) -> u64 {
        self.columns.get(&id).map_or(0, |sum| sum.values)
    }

    /// Whether two columns of one kind have the same values in other rows: crossed, each would look right by itself.
    pub(super) fn has_twins(&self, columns: &TableColumns) -> bool {
        let mut seen: HashMap<_, u64> = HashMap::new();
        self.columns
            .iter()
            .filter(|(_, sum)| sum.values > 0)
            .any(|(id, sum)| {
                let values = (columns.kind(*id), sum.values, sum.bare);
                *seen.entry(values).or_insert(sum.placed) != sum.placed
            })
    }

    /// What of `after` is not as it is here, a line each.
    pub(super) fn differences(&self, after: &Self, columns: &TableColumns) -> Vec<String> {
        if self.rows != after.rows {
            return vec![format!(
                "the old files have {} live rows, and the new ones {}",
                self.rows, after.rows
            )];
        }
        let all: BTreeSet<i32> = self
            .columns
            .keys()
            .chain(after.columns.keys())
            .copied()
            .collect();
        let sum = |side: &Self, id| side.columns.get(&id).copied().unwrap_or_default();
        let mut lines: Vec<String> = all
            .into_iter()
            .map(|id| (id, sum(self, id), sum(after, id)))
            .filter(|(_, old, new)| (old.values, old.hash) != (new.values, new.hash))
            .map(|(id, old, new)| {
                let column = columns.described(id);
                if old.values == new.values {
                    format!(
                        "{column} has other values: {} in the old files and as many in the new ones, but not the same",
                        old.values
                    )
                } else {
                    format!(
                        "{column} has {} values in the old files and {} in the new ones",
                        old.values, new.values
                    )
                }
            })
            .collect();
        if lines.is_empty() && self.row_hash != after.row_hash {
            lines.push("each column has the values that it had, in other rows".to_owned());
        }
        lines
    }

    async fn add(
        &mut self,
        context: &RewriteContext,
        columns: &TableColumns,
        chosen: &BTreeSet<i32>,
        fixed: &Fixed,
        file: &OldFile<'_>,
        deleted: Option<&RoaringTreemap>,
    ) -> Result<()> {
        let path = &file.input.path;
        let wanted: Vec<Joined> = file
            .leaves
            .joined
            .iter()
            .filter(|joined| chosen.contains(&joined.id))
            .copied()
            .collect();
        let stand_ins: Vec<(i32, Value)> = chosen
            .iter()
            .filter(|id| wanted.iter().all(|joined| joined.id != **id))
            .filter_map(|id| Some((*id, columns.stand_in(*id, fixed.get(id))?)))
            .collect();
        let Shares {
            piece: most_held,
            batch,
            ..
        } = Shares::of(context.memory_cap);
        let rows_before = self.rows_read;
        self.rows_read += file.input.rows.get();
        let most_rows = (most_held / BYTES_OF_ROW).max(1);
        let mut first_row = 0;
        for group in 0..file.footer.num_row_groups() {
            let rows = file.footer.row_group(group).num_rows().unsigned_abs();
            let mut begin = 0;
            while begin < rows {
                let window = begin..rows.min(begin.saturating_add(most_rows));
                let at = (rows_before, first_row);
                let mut live = Rows::new(at, window.clone(), deleted);
                for part in parts(file, group, &wanted, most_held)? {
                    let ranges: Vec<Range<u64>> =
                        part.iter().map(|(_, range)| range.clone()).collect();
                    let contents = context
                        .storage
                        .read_ranges(path, &ranges)
                        .await
                        .map_err(|error| from_read(&error, path))?;
                    let bytes = FileBytes::parts(file.input.size.get(), &ranges, contents);
                    for (joined, _) in part {
                        let sum = guarded(path, || {
                            sum_chunk(file, group, &joined, bytes.clone(), &mut live, batch)
                                .map_err(|error| from_decode(&error, path))
                        })?;
                        self.put(joined.id, sum);
                        tokio::task::yield_now().await;
                    }
                }
                for (id, value) in &stand_ins {
                    self.put(*id, live.add_to_all(*id, value.hash(0)));
                }
                self.rows += live.count();
                self.row_hash = self.row_hash.wrapping_add(live.hash());
                begin = window.end;
            }
            first_row += rows;
        }
        Ok(())
    }

    fn put(&mut self, id: i32, sum: Sum) {
        let column = self.columns.entry(id).or_default();
        *column = column.and(sum);
    }
}

/// Chunks of a row group that are fetched together, each with where it lies in the file.
type Part = Vec<(Joined, Range<u64>)>;

/// The chunks to read of a row group, in parts that are fetched together and take no more than `most_held` bytes.
fn parts(
    file: &OldFile<'_>,
    row_group: usize,
    wanted: &[Joined],
    most_held: u64,
) -> Result<Vec<Part>> {
    let path = &file.input.path;
    let mut parts: Vec<Part> = Vec::new();
    let mut held = 0;
    for joined in wanted {
        let chunk = file.footer.row_group(row_group).column(joined.leaf);
        let (start, length) = guarded(path, || Ok(chunk.byte_range()))?;
        let range = start..start.saturating_add(length);
        if range.end > file.input.size.get() {
            return Err(corrupt(path, "a column lies beyond the file's end"));
        }
        if length > most_held {
            return Err(over_memory(format!(
                "{path} has a column of {} in one row group, too much to be compared: give the optimizer more memory",
                Bytes(length)
            )));
        }
        match parts.last_mut() {
            Some(part) if held + length <= most_held => part.push((*joined, range)),
            _ => {
                held = 0;
                parts.push(vec![(*joined, range)]);
            }
        }
        held += length;
    }
    Ok(parts)
}

/// Rows of a row group: what their values came to so far, and which are deleted.
struct Rows {
    /// How many rows of the row group come before.
    skipped: usize,
    /// How many rows come before in all, in other row groups and files.
    first: u64,
    hashes: Vec<u64>,
    is_deleted: Vec<bool>,
}

impl Rows {
    /// The rows `window` of a row group that begins with the row `first` of its file, behind `before` rows of other files.
    fn new(
        (before, first): (u64, u64),
        window: Range<u64>,
        deleted: Option<&RoaringTreemap>,
    ) -> Self {
        let in_file = first + window.start..first + window.end;
        let count = (window.end - window.start) as usize;
        let mut is_deleted = vec![false; count];
        if let Some(deleted) = deleted {
            let mut positions = deleted.iter();
            positions.advance_to(in_file.start);
            for position in positions.take_while(|position| *position < in_file.end) {
                is_deleted[(position - in_file.start) as usize] = true;
            }
        }
        Self {
            skipped: window.start as usize,
            first: before + in_file.start,
            hashes: vec![0; count],
            is_deleted,
        }
    }

    fn count(&self) -> u64 {
        self.is_deleted.iter().filter(|deleted| !**deleted).count() as u64
    }

    fn add_to_all(&mut self, id: i32, bare: u64) -> Sum {
        let mut sum = Sum::default();
        for row in 0..self.hashes.len() {
            if !self.is_deleted[row] {
                self.put(&mut sum, bare, id, row);
            }
        }
        sum
    }

    fn put(&mut self, sum: &mut Sum, bare: u64, id: i32, row: usize) {
        let hash = sum.put(bare, id, self.first + row as u64);
        self.hashes[row] = self.hashes[row].wrapping_add(hash);
    }

    fn hash(&self) -> u64 {
        self.hashes
            .iter()
            .zip(&self.is_deleted)
            .filter(|(_, deleted)| !**deleted)
            .fold(0, |sum: u64, (row, _)| {
                sum.wrapping_add(xxh3_64(&row.to_le_bytes()))
            })
    }
}

/// How a leaf is read.
#[derive(Debug, Clone, Copy)]
struct Levels {
    /// The definition level of a value that is there.
    greatest: i16,
    /// How many lists and maps it lies in.
    repeats: i16,
    /// Rows to decode at a time.
    most_rows: usize,
}

fn sum_chunk(
    file: &OldFile<'_>,
    row_group: usize,
    joined: &Joined,
    bytes: FileBytes,
    rows: &mut Rows,
    most_held: u64,
) -> std::result::Result<Sum, ParquetError> {
    let metadata = file.footer.row_group(row_group);
    let chunk = metadata.column(joined.leaf);
    let count = usize::try_from(metadata.num_rows())?;
    let pages = SerializedPageReader::new(Arc::new(bytes), chunk, count, None)?;
    let reader = get_column_reader(chunk.column_descr_ptr(), Box::new(pages));
    let leaf = chunk.column_descr();
    let levels = Levels {
        greatest: leaf.max_def_level(),
        repeats: leaf.max_rep_level(),
        // Values keep their pages: where they are long, fewer are held.
        most_rows: {
            let values = chunk.num_values().unsigned_abs().max(1);
            let width = chunk.uncompressed_size().unsigned_abs() / values;
            let width = width.max(leaf.type_length().unsigned_abs().into()).max(1);
            (most_held / width).clamp(1, MOST_ROWS) as usize
        },
    };
    let conversion = joined.conversion;
    match reader {
        ColumnReader::BoolColumnReader(it) => sum(it, levels, joined, rows, |value| {
            conversion.of_whole((*value).into())
        }),
        ColumnReader::Int32ColumnReader(it) => sum(it, levels, joined, rows, |value| {
            conversion.of_whole((*value).into())
        }),
        ColumnReader::Int64ColumnReader(it) => sum(it, levels, joined, rows, |value| {
            conversion.of_whole(*value)
        }),
        ColumnReader::Int96ColumnReader(it) => sum(it, levels, joined, rows, |value| {
            conversion.of_moment(value)
        }),
        ColumnReader::FloatColumnReader(it) => sum(it, levels, joined, rows, |value| {
            Value::Real((*value).into())
        }),
        ColumnReader::DoubleColumnReader(it) => {
            sum(it, levels, joined, rows, |value| Value::Real(*value))
        }
        ColumnReader::ByteArrayColumnReader(it) => sum(it, levels, joined, rows, |value| {
            conversion.of_bytes(value.data())
        }),
        ColumnReader::FixedLenByteArrayColumnReader(it) => sum(it, levels, joined, rows, |value| {
            conversion.of_bytes(value.data())
        }),
    }
}

fn sum<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    levels: Levels,
    joined: &Joined,
    rows: &mut Rows,
    value_of: impl Fn(&T::T) -> Value,
) -> std::result::Result<Sum, ParquetError> {
    let Levels {
        greatest,
        repeats,
        most_rows,
    } = levels;
    let mut sum = Sum::default();
    let (mut definitions, mut repetitions, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let (mut row, mut slot) = (0usize, 0u64);
    let mut is_first = true;
    let mut left = rows.hashes.len();
    reader.skip_records(rows.skipped)?;
    while left > 0 {
        definitions.clear();
        repetitions.clear();
        values.clear();
        let (records, _, level_count) = reader.read_records(
            most_rows.min(left),
            (greatest > 0).then_some(&mut definitions),
            (repeats > 0).then_some(&mut repetitions),
            &mut values,
        )?;
        if records == 0 {
            break;
        }
        left -= records.min(left);
        let mut next_value = values.iter();
        for level in 0..level_count {
            if repetitions.get(level).is_none_or(|level| *level == 0) {
                row += usize::from(!is_first);
                (slot, is_first) = (0, false);
            } else {
                slot += 1;
            }
            if definitions
                .get(level)
                .is_some_and(|level| *level < greatest)
            {
                continue;
            }
            let (Some(value), Some(is_deleted)) = (next_value.next(), rows.is_deleted.get(row))
            else {
                return Err(ParquetError::General(
                    "a column has more rows than its row group".to_owned(),
                ));
            };
            if *is_deleted || joined.conversion == Conversion::Nothing {
                continue;
            }
            rows.put(&mut sum, value_of(value).hash(slot), joined.id, row);
        }
    }
    let seen = if is_first { 0 } else { row + 1 };
    if seen != rows.hashes.len() {
        return Err(ParquetError::General(format!(
            "a column has {seen} rows where its row group has {}",
            rows.hashes.len()
        )));
    }
    Ok(sum)
}
