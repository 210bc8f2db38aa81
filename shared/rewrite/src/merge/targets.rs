//! The columns of the table, and how the pages of each are to be.

use std::{ops::Range, sync::Arc};

use iceberg::spec::NestedFieldRef;
use icepress_table::MetricsMode;
use parquet::{
    file::properties::EnabledStatistics,
    schema::types::{ColumnDescPtr, SchemaDescriptor},
};

use super::{Sound, codec::Coder, column::Target, refused, rows::EncodedColumn};
use crate::{RewriteContext, failure::Result, write::Output};

/// What each of the things that a thread holds may take of the memory, as one part in so many: a page, a united dictionary, where the
/// values of dictionaries went.
pub(super) const HELD: u64 = 32;

/// A column of the table.
#[derive(Debug)]
pub(super) struct Column {
    /// Its leaves among those of the table, and how each is to be, or why none may be made of pages.
    pub(super) leaves: Range<usize>,
    pub(super) targets: Sound<Vec<Target>>,
    pub(super) encoded: EncodedColumn,
}

/// The columns of the table.
pub(super) fn columns(
    context: &RewriteContext,
    output: &Output,
    parquet: &SchemaDescriptor,
    fields: &[NestedFieldRef],
) -> Result<Vec<Column>> {
    let root = |leaf: usize| parquet.get_column_root_idx(leaf);
    let (mut made, mut start) = (Vec::with_capacity(fields.len()), 0);
    for (index, field) in fields.iter().enumerate() {
        let more = (start..parquet.num_columns()).take_while(|leaf| root(*leaf) == index);
        let leaves = start..start + more.count();
        start = leaves.end;
        let encoded = EncodedColumn::new(field)?;
        let targets = match encoded.is_lineage() {
            true => Err(refused("it is row lineage")),
            false => leaves
                .clone()
                .map(|leaf| target(context, output, &parquet.column(leaf)))
                .collect(),
        };
        made.push(Column {
            leaves,
            targets,
            encoded,
        });
    }
    Ok(made)
}

/// How a leaf is to be.
fn target(context: &RewriteContext, output: &Output, column: &ColumnDescPtr) -> Sound<Target> {
    let settings = output.settings();
    let share = usize::try_from(context.memory_cap.get() / HELD).unwrap_or(usize::MAX);
    let path = column.path();
    let compression = settings.writer.compression(path);
    if !Coder::knows(compression) {
        return Err(refused(format_args!("the table wants {compression}")));
    }
    if settings.writer.bloom_filter_properties(path).is_some() {
        return Err(refused("the table wants a Bloom filter of it"));
    }
    let id = column.self_type().get_basic_info().id();
    Ok(Target {
        column: Arc::clone(column),
        compression,
        dictionary_bytes: settings.united_dictionary_bytes().min(share),
        most_page: share,
        most_dictionaries: share,
        has_statistics: settings.writer.statistics_enabled(path) != EnabledStatistics::None,
        must_be_exact: must_be_exact(output.metrics_mode(id)),
    })
}

/// Bytes to which some writers cut what they say of texts, without saying so. Bounds of a mode that has more of them would be
/// taken for values.
const SOMETIMES_CUT: usize = 16;

fn must_be_exact(mode: MetricsMode) -> bool {
    match mode {
        MetricsMode::Full => true,
        MetricsMode::Truncate(length) => length > SOMETIMES_CUT,
        MetricsMode::None | MetricsMode::Counts => false,
    }
}
