//! What footers say of the columns of several groups: how many values there are, and between which bounds they lie.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use iceberg::spec::{Literal, PrimitiveType, TableMetadata, Transform, Type};
use icepress_model::{Bytes, DeleteContent, Group, InputFile};
use icepress_table::footer::read_footer;
use parquet::{
    file::{
        metadata::{ColumnChunkMetaData, ParquetMetaData},
        statistics::Statistics,
    },
    schema::types::ColumnDescriptor,
};

use super::{
    canon::{Conversion, Value},
    join::{FileLeaves, Joined, TableColumns},
};
use crate::{
    RewriteContext,
    failure::{Result, from_footer, guarded},
    group::Partition,
    memory::Shares,
};

/// How many footers are read at a time.
const REQUESTS: usize = 16;

/// What partitions say of columns: the value, and the type that it is of there, by field id.
pub(super) type Fixed = BTreeMap<i32, (Option<Literal>, PrimitiveType)>;

/// One end of the range that values lie in.
#[derive(Debug, Clone, PartialEq)]
enum End {
    /// No value was seen yet.
    Open,
    /// There are values, and nothing is known of where they end.
    Unknown,
    /// They end here, or before.
    Within(Value),
    /// There is a value right here, and none beyond.
    At(Value),
}

/// What is known of one column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Noted {
    /// Values in live rows, at the least.
    pub(super) least: u64,
    /// Values in live rows, at the most.
    pub(super) most: u64,
    /// Whether each footer told.
    is_told: bool,
    low: End,
    high: End,
}

/// What a column is of which nothing was seen.
static NOTHING: Noted = Noted {
    least: 0,
    most: 0,
    is_told: true,
    low: End::Open,
    high: End::Open,
};

/// The footers of one side.
#[derive(Debug, Default)]
pub(super) struct Footers {
    noted: BTreeMap<i32, Noted>,
    /// Columns of files that are none of the table's, with the file.
    pub(super) unexplained: Vec<String>,
}

/// A data file with its footer.
pub(super) struct OldFile<'a> {
    pub(super) input: &'a InputFile,
    pub(super) footer: Arc<ParquetMetaData>,
    pub(super) leaves: FileLeaves,
}

/// Reads the footer of a data file, and joins its leaves to the table's columns.
pub(super) async fn look_at<'a>(
    context: &RewriteContext,
    columns: &TableColumns,
    input: &'a InputFile,
) -> Result<OldFile<'a>> {
    let (path, size) = (&input.path, input.size.get());
    let most_held = Bytes(Shares::of(context.memory_cap).piece);
    let footer = read_footer(context.storage.as_ref(), path, size, most_held)
        .await
        .map_err(|error| from_footer(&error, path))?;
    let leaves = guarded(&input.path, || {
        let root = footer.file_metadata().schema_descr().root_schema();
        Ok(columns.join(root))
    })?;
    Ok(OldFile {
        input,
        footer: Arc::new(footer),
        leaves,
    })
}

/// The columns that a group's partition fixes.
pub(super) fn fixed_by(metadata: &TableMetadata, group: &Group) -> Result<Fixed> {
    let partition = Partition::of(metadata, group)?;
    let fields = partition.spec.fields().iter();
    let held = partition.types.fields().iter().zip(partition.values.iter());
    Ok(fields
        .zip(held)
        .filter(|(field, _)| field.transform == Transform::Identity)
        .filter_map(|(field, (held, value))| match held.field_type.as_ref() {
            Type::Primitive(held) => Some((field.source_id, (value.cloned(), held.clone()))),
            _ => None,
        })
        .collect())
}

impl Footers {
    /// Of all data files of `groups`.
    pub(super) async fn of(
        context: &RewriteContext,
        metadata: &TableMetadata,
        columns: &TableColumns,
        groups: &[Group],
    ) -> Result<Self> {
        let mut footers = Self::default();
        for group in groups {
            let fixed = fixed_by(metadata, group)?;
            let mut looks = Vec::with_capacity(group.inputs.len());
            for input in &group.inputs {
                looks.push(look_at(context, columns, input));
            }
            let mut files = stream::iter(looks).buffered(REQUESTS);
            while let Some(file) = files.try_next().await? {
                footers.add(columns, group, &fixed, &file);
            }
        }
        Ok(footers)
    }

    pub(super) fn noted(&self, id: i32) -> &Noted {
        self.noted.get(&id).unwrap_or(&NOTHING)
    }

    fn add(&mut self, columns: &TableColumns, group: &Group, fixed: &Fixed, file: &OldFile<'_>) {
        let of_file = |what: &String| format!("{} {what}", file.input.path);
        self.unexplained
            .extend(file.leaves.unexplained.iter().map(of_file));
        let deleted = deleted_at_most(group, file.input);
        let mut of_column: BTreeMap<i32, Noted> = BTreeMap::new();
        for joined in &file.leaves.joined {
            let descriptor = file
                .footer
                .file_metadata()
                .schema_descr()
                .column(joined.leaf);
            let noted = of_column
                .entry(joined.id)
                .or_insert_with(|| NOTHING.clone());
            for row_group in file.footer.row_groups() {
                if row_group.num_rows() > 0 {
                    noted.add(&of_chunk(
                        row_group.column(joined.leaf),
                        joined,
                        &descriptor,
                    ));
                }
            }
            noted.less(deleted, joined.is_flat);
        }
        for id in columns.at_the_top() {
            if let Some(value) = columns.stand_in(id, fixed.get(&id))
                && !of_column.contains_key(&id)
            {
                let rows = file.input.rows.get();
                let mut noted = Noted {
                    least: rows,
                    most: rows,
                    is_told: true,
                    low: End::At(value.clone()),
                    high: End::At(value),
                };
                noted.less(deleted, true);
                of_column.insert(id, noted);
            }
        }
        for (id, noted) in of_column {
            self.noted
                .entry(id)
                .or_insert_with(|| NOTHING.clone())
                .add(&noted);
        }
    }
}

/// How many rows of a file its deletes may hide.
fn deleted_at_most(group: &Group, input: &InputFile) -> u64 {
    let rows = input.rows.get();
    let by_each = input.deletes.iter().map(|index| {
        let delete = group.deletes.get(*index as usize);
        match delete.map(|delete| (&delete.content, delete.rows.get())) {
            Some((DeleteContent::Position | DeleteContent::Vector { .. }, deleted)) => deleted,
            _ => rows,
        }
    });
    by_each.fold(0, u64::saturating_add).min(rows)
}

impl Noted {
    /// Whether there is certainly nothing to compare.
    pub(super) fn is_empty(&self) -> bool {
        self.is_told && self.most == 0
    }

    /// Whether the values that these footers tell of may be those that others do. Where they don't tell, they don't fit:
    /// pages must be read.
    pub(super) fn fits(&self, after: &Self) -> bool {
        let is_told = self.is_told && after.is_told;
        let counts = self.least <= after.most && after.least <= self.most;
        is_told
            && counts
            && may_end(&self.low, &after.low, Ordering::Less)
            && may_end(&self.high, &after.high, Ordering::Greater)
    }

    fn add(&mut self, other: &Self) {
        self.least = self.least.saturating_add(other.least);
        self.most = self.most.saturating_add(other.most);
        self.is_told &= other.is_told;
        self.low = further(&self.low, &other.low, Ordering::Less);
        self.high = further(&self.high, &other.high, Ordering::Greater);
    }

    /// The same once up to `rows` rows are gone.
    fn less(&mut self, rows: u64, is_flat: bool) {
        if rows == 0 {
            return;
        }
        self.least = if is_flat {
            self.least.saturating_sub(rows)
        } else {
            0
        };
        for end in [&mut self.low, &mut self.high] {
            if let End::At(value) = end {
                *end = End::Within(value.clone());
            }
        }
    }
}

/// The end of two ranges together that lies further out, `outwards` being how a value further out compares.
fn further(one: &End, other: &End, outwards: Ordering) -> End {
    match (one, other) {
        (End::Open, end) | (end, End::Open) => end.clone(),
        (
            End::Within(one_value) | End::At(one_value),
            End::Within(other_value) | End::At(other_value),
        ) => match one_value.partial_cmp(other_value) {
            Some(Ordering::Equal) if matches!(one, End::At(_)) => one.clone(),
            Some(Ordering::Equal) => other.clone(),
            Some(order) if order == outwards => one.clone(),
            Some(_) => other.clone(),
            None => End::Unknown,
        },
        _ => End::Unknown,
    }
}

/// Whether values that end like `before` may be those that end like `after`: a value that is there lies within the
/// other's range.
fn may_end(before: &End, after: &End, outwards: Ordering) -> bool {
    let is_beyond = |value: &Value, end: &Value| value.partial_cmp(end) == Some(outwards);
    match (before, after) {
        (End::At(before), End::At(after)) => !is_beyond(before, after) && !is_beyond(after, before),
        (End::At(there), End::Within(end)) | (End::Within(end), End::At(there)) => {
            !is_beyond(there, end)
        }
        _ => true,
    }
}

/// What the footer says of a column chunk.
fn of_chunk(chunk: &ColumnChunkMetaData, joined: &Joined, leaf: &ColumnDescriptor) -> Noted {
    let values = values_of(chunk, leaf);
    let (low, high) = match (values, chunk.statistics()) {
        (Some(0), _) => (End::Open, End::Open),
        (_, Some(statistics)) => ends_of(statistics, joined.conversion),
        (_, None) => (End::Unknown, End::Unknown),
    };
    let all = chunk.num_values().unsigned_abs();
    Noted {
        least: values.unwrap_or(0),
        most: values.unwrap_or(all),
        is_told: values.is_some(),
        low,
        high,
    }
}

/// Values in a column chunk. Writers agree about what the number of NULLs is only for columns at the top; elsewhere the
/// histogram of definition levels tells, where there is one.
fn values_of(chunk: &ColumnChunkMetaData, leaf: &ColumnDescriptor) -> Option<u64> {
    let all = chunk.num_values().unsigned_abs();
    if leaf.max_def_level() == 0 {
        return Some(all);
    }
    let greatest = usize::try_from(leaf.max_def_level()).ok()?;
    let counted = chunk
        .definition_level_histogram()
        .and_then(|levels| levels.get(greatest))
        .and_then(|count| u64::try_from(count).ok());
    if counted.is_some() || leaf.max_rep_level() > 0 || leaf.path().parts().len() > 1 {
        return counted;
    }
    let nulls = chunk.statistics()?.null_count_opt()?;
    all.checked_sub(nulls)
}

fn ends_of(statistics: &Statistics, conversion: Conversion) -> (End, End) {
    let both = match statistics {
        Statistics::Boolean(it) => (
            it.min_opt().map(|it| conversion.of_whole((*it).into())),
            it.max_opt().map(|it| conversion.of_whole((*it).into())),
        ),
        Statistics::Int32(it) => (
            it.min_opt().map(|it| conversion.of_whole((*it).into())),
            it.max_opt().map(|it| conversion.of_whole((*it).into())),
        ),
        Statistics::Int64(it) => (
            it.min_opt().map(|it| conversion.of_whole(*it)),
            it.max_opt().map(|it| conversion.of_whole(*it)),
        ),
        Statistics::Float(it) => (
            it.min_opt().map(|it| Value::Real((*it).into())),
            it.max_opt().map(|it| Value::Real((*it).into())),
        ),
        Statistics::Double(it) => (
            it.min_opt().map(|it| Value::Real(*it)),
            it.max_opt().map(|it| Value::Real(*it)),
        ),
        // Old files order bytes as if they had a sign.
        _ if statistics.is_min_max_deprecated() => (None, None),
        Statistics::ByteArray(it) => (
            it.min_opt().map(|it| conversion.of_bytes(it.data())),
            it.max_opt().map(|it| conversion.of_bytes(it.data())),
        ),
        Statistics::FixedLenByteArray(it) => (
            it.min_opt().map(|it| conversion.of_bytes(it.data())),
            it.max_opt().map(|it| conversion.of_bytes(it.data())),
        ),
        Statistics::Int96(_) => (None, None),
    };
    let is_cut = matches!(
        statistics,
        Statistics::ByteArray(_) | Statistics::FixedLenByteArray(_)
    );
    let end = |value: Option<Value>, is_exact: bool| match value {
        Some(Value::Real(number)) if number.is_nan() => End::Unknown,
        Some(value) if is_exact || !is_cut => End::At(value),
        Some(value) => End::Within(value),
        None => End::Unknown,
    };
    (
        end(both.0, statistics.min_is_exact()),
        end(both.1, statistics.max_is_exact()),
    )
}
