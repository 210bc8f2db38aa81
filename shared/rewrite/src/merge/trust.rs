//! What a footer says of a chunk's values, as far as it can be believed.
//!
//! What is taken over from an input is passed on as ours, so it is judged as parquet-mr judges it (`CorruptStatistics`,
//! `ParquetMetadataConverter.fromParquetStatistics`), and harder where decoding would mend it: what is not believed is left
//! for `look`, which goes by the values themselves.

use std::cmp::Ordering;

use icepress_table::footer::PageLayout;
use parquet::{
    basic::{ColumnOrder, Compression, LogicalType, SortOrder, Type},
    file::{
        metadata::{ColumnChunkMetaData, FileMetaData},
        statistics::Statistics,
    },
    schema::types::ColumnDescriptor,
};

use super::{Sound, page::Page, refused, statistics::compare};

/// Fixed values up to this length were never cut, by any writer.
const MOST_NEVER_CUT: usize = 16;

/// Smallest and greatest of values, in Parquet's plain form without lengths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) low: Vec<u8>,
    pub(super) high: Vec<u8>,
    /// Whether each of them is a value.
    pub(super) exact: (bool, bool),
}

/// What is believed of a chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Its NULLs.
    pub(super) nulls: Option<u64>,
    /// Bounds of its values.
    pub(super) ends: Option<Ends>,
    /// Whether the column index is believed as well.
    pub(super) pages: bool,
    /// Whether pages of version 2 say truly that they are not compressed.
    pub(super) flags: bool,
}

impl Known {
    /// What is believed of `chunk`, the leaf with a number in `file`, which holds the table's `column`.
    pub(super) fn of(
        file: &FileMetaData,
        leaf: usize,
        column: &ColumnDescriptor,
        chunk: &ColumnChunkMetaData,
    ) -> Self {
        let statistics = chunk.statistics();
        let values = chunk.num_values().unsigned_abs();
        let nulls = match column.max_def_level() {
            0 => Some(0),
            _ => statistics
                .and_then(Statistics::null_count_opt)
                .filter(|nulls| *nulls <= values),
        };
        let pages = is_ordered(file, leaf, column);
        let ends = statistics.filter(|_| pages).and_then(|it| ends(column, it));
        Self {
            nulls,
            ends,
            pages,
            flags: !is_old_cpp(file),
        }
    }

    /// Fails for a page of which nobody can tell whether it is compressed.
    pub(super) fn check(&self, page: &Page) -> Sound<()> {
        match page.header.layout {
            PageLayout::DataV2 {
                is_compressed: false,
                ..
            } if !self.flags && page.codec != Compression::UNCOMPRESSED => Err(refused(
                "its writer says of compressed pages that they are not",
            )),
            _ => Ok(()),
        }
    }
}

/// Whether a file is one of parquet-cpp before 2.0. It said of compressed pages that they are not (ARROW-10353), and compared
/// decimals without their sign (PARQUET-1655).
fn is_old_cpp(file: &FileMetaData) -> bool {
    let writer = file.created_by();
    writer.is_some_and(|writer| writer.starts_with("parquet-cpp version 1."))
}

/// Whether the values of a leaf were ordered as the table's column is. Floating-point numbers never count as such: writers
/// differ in what they make of NaN and of the two zeros.
fn is_ordered(file: &FileMetaData, leaf: usize, column: &ColumnDescriptor) -> bool {
    let orders = file.column_orders();
    let order = orders.map_or(Some(&ColumnOrder::UNDEFINED), |orders| orders.get(leaf));
    match column.physical_type() {
        Type::BOOLEAN | Type::INT32 | Type::INT64 => {
            column.sort_order() != SortOrder::UNDEFINED
                && !matches!(order, None | Some(ColumnOrder::UNKNOWN))
        }
        Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY => {
            let wanted = column.sort_order();
            let is_sound = match wanted {
                SortOrder::UNSIGNED => true,
                SortOrder::SIGNED => !is_old_cpp(file),
                SortOrder::UNDEFINED => false,
            };
            is_sound && order == Some(&ColumnOrder::TYPE_DEFINED_ORDER(wanted))
        }
        Type::FLOAT | Type::DOUBLE | Type::INT96 => false,
    }
}

fn ends(column: &ColumnDescriptor, statistics: &Statistics) -> Option<Ends> {
    let (low, high) = (statistics.min_bytes_opt()?, statistics.max_bytes_opt()?);
    let exact = match column.physical_type() {
        Type::BOOLEAN | Type::INT32 | Type::INT64 => (true, true),
        // Old files order bytes as if they had a sign.
        _ if statistics.is_min_max_deprecated() => return None,
        Type::FIXED_LEN_BYTE_ARRAY => {
            let length = column.type_length().unsigned_abs() as usize;
            if low.len() > length || high.len() > length {
                return None;
            }
            let is_whole = |value: &[u8]| length <= MOST_NEVER_CUT && value.len() == length;
            (
                statistics.min_is_exact() || is_whole(low),
                statistics.max_is_exact() || is_whole(high),
            )
        }
        _ => {
            let is_text = matches!(column.logical_type_ref(), Some(LogicalType::String));
            let is_sound = |value: &[u8]| !is_text || std::str::from_utf8(value).is_ok();
            if !is_sound(low) || !is_sound(high) {
                return None;
            }
            (statistics.min_is_exact(), statistics.max_is_exact())
        }
    };
    match compare(column, low, high) {
        Some(Ordering::Less | Ordering::Equal) => Some(Ends {
            low: low.to_vec(),
            high: high.to_vec(),
            exact,
        }),
        _ => None,
    }
}
