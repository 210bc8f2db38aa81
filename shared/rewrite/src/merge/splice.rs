//! Row groups that are large enough as they are: the storage copies them whole, and nobody reads their pages. What their file says of
//! them is passed on, as far as it is believed, with places that fit the new file.
//!
//! Columns of which nobody says what manifests need (NaNs are never counted in files, and some bounds are no values) are read and
//! looked at all the same; their bytes are copied with the others.

use std::{ops::Range as Span, sync::Arc};

use icepress_table::footer::{PagePlace, page_bounds, page_places};
use parquet::{
    column::writer::ColumnCloseResult,
    file::{
        metadata::{ColumnChunkMetaData, LevelHistogram, OffsetIndexBuilder},
        page_index::{column_index::ColumnIndexMetaData, offset_index::OffsetIndexMetaData},
        statistics::Statistics,
    },
    schema::types::ColumnDescriptor,
};

use super::{
    Sound,
    chunk::{MergedChunk, column_index},
    codec::is_same_codec,
    column::{Target, counts_nans, entries_of, join},
    inputs::{Fetched, Input},
    levels::Histograms,
    refused,
    statistics::Range,
    trust::Known,
};
use crate::deletes::DeletedPositions;

/// Where the row group of an input with a number lies, if it may stand in a file of the table as it is. `leaves` has all leaves of the
/// table.
pub(super) fn span(
    input: &Input,
    row_group: usize,
    leaves: &[(usize, &Target)],
) -> Sound<Span<u64>> {
    let footer = input.file.metadata();
    let file = footer.file_metadata();
    if leaves.len() != file.schema_descr().num_columns()
        || leaves
            .iter()
            .enumerate()
            .any(|(leaf, (of_file, _))| leaf != *of_file)
    {
        return Err(refused(
            "the file has other columns than the table, or in another order",
        ));
    }
    let mut all: Option<Span<u64>> = None;
    for (leaf, target) in leaves {
        let chunk = footer.row_group(row_group).column(*leaf);
        let place = place(chunk)?;
        let start = match &all {
            None => place.start,
            Some(all) if all.end == place.start => all.start,
            Some(_) => return Err(refused("its columns do not follow one another")),
        };
        all = Some(start..place.end);
        if !is_same_codec(chunk.compression(), target.compression) {
            return Err(refused("it is compressed otherwise"));
        }
        let known = Known::of(file, *leaf, &target.column, chunk);
        if !known.flags || known.nulls.is_none() {
            return Err(refused("what its file says of it is not believed"));
        }
    }
    all.filter(|all| all.end <= input.file.size)
        .ok_or_else(|| refused("it lies beyond its file's end"))
}

/// Where a chunk lies, by what its footer says without a doubt.
fn place(chunk: &ColumnChunkMetaData) -> Sound<Span<u64>> {
    let data = chunk.data_page_offset();
    let start = match chunk.dictionary_page_offset() {
        None => data,
        Some(dictionary) if dictionary > 0 && dictionary < data => dictionary,
        Some(_) => return Err(refused("its dictionary lies at an odd place")),
    };
    let (start, length) = (u64::try_from(start), u64::try_from(chunk.compressed_size()));
    match (start, length) {
        (Ok(start), Ok(length)) if start > 0 && length > 0 && chunk.file_path().is_none() => {
            Ok(start..start.saturating_add(length))
        }
        _ => Err(refused("its place is not told")),
    }
}

/// Whether a leaf has to be read for what manifests say of it.
pub(super) fn is_read(input: &Input, row_group: usize, leaf: usize, target: &Target) -> bool {
    let footer = input.file.metadata();
    let chunk = footer.row_group(row_group).column(leaf);
    let known = Known::of(footer.file_metadata(), leaf, &target.column, chunk);
    if counts_nans(&target.column) {
        return true;
    }
    let values = chunk.num_values().unsigned_abs();
    let is_null = known.nulls == Some(values);
    let is_bounded = known
        .ends
        .is_some_and(|ends| !target.must_be_exact || ends.exact == (true, true));
    target.has_statistics && !is_null && !is_bounded
}

/// A chunk of a row group that is copied: what is to be said of it in the new file.
pub(super) fn lying(target: &Target, fetched: &Fetched, leaf: usize) -> Sound<MergedChunk> {
    let input = &fetched.input;
    let footer = input.file.metadata();
    let row_group = footer.row_group(fetched.row_group);
    let chunk = row_group.column(leaf);
    let (place, rows) = (place(chunk)?, row_group.num_rows().unsigned_abs());
    let known = Known::of(footer.file_metadata(), leaf, &target.column, chunk);
    let nulls = known
        .nulls
        .ok_or_else(|| refused("its NULLs are not counted"))?;
    let places = fetched.offset_index(leaf).and_then(|index| {
        let places = page_places(index).ok()?;
        follow(&places, &place, rows).then_some(places)
    });
    let seen = match is_read(input, fetched.row_group, leaf, target) {
        true => looked_at(target, fetched, leaf, places.as_deref())?,
        false => said(
            target,
            &known,
            (chunk, nulls),
            fetched,
            (leaf, places.as_deref()),
        )?,
    };
    let length = place.end - place.start;
    let data = (chunk.data_page_offset().unsigned_abs() - place.start) as i64;
    let mut builder = ColumnChunkMetaData::builder(Arc::clone(&target.column))
        .set_compression(chunk.compression())
        .set_encodings_mask(*chunk.encodings_mask())
        .set_total_compressed_size(chunk.compressed_size())
        .set_total_uncompressed_size(chunk.uncompressed_size())
        .set_num_values(chunk.num_values())
        .set_dictionary_page_offset((data > 0).then_some(0))
        .set_data_page_offset(data)
        .set_unencoded_byte_array_data_bytes(chunk.unencoded_byte_array_data_bytes());
    if let Some(encodings) = chunk.page_encoding_stats() {
        builder = builder.set_page_encoding_stats(encodings.clone());
    }
    if let Some(histograms) = flat(&target.column, chunk, nulls) {
        let of = |levels: Vec<i64>| (levels.len() > 1).then(|| LevelHistogram::from(levels));
        builder = builder
            .set_definition_level_histogram(of(histograms.definition))
            .set_repetition_level_histogram(of(histograms.repetition));
    }
    if let Some(statistics) = seen.statistics {
        builder = builder.set_statistics(statistics);
    }
    let close = ColumnCloseResult {
        bytes_written: length,
        rows_written: rows,
        metadata: builder.build().map_err(refused)?,
        bloom_filter: None,
        column_index: seen.index.filter(|_| places.is_some()),
        offset_index: places.map(|places| offset_index(&places, place.start, rows)),
    };
    Ok(MergedChunk::lying(length, close, seen.nans))
}

/// What is known of a chunk's values.
struct SeenValues {
    statistics: Option<Statistics>,
    nans: u64,
    index: Option<ColumnIndexMetaData>,
}

/// By what the file says.
fn said(
    target: &Target,
    known: &Known,
    (chunk, nulls): (&ColumnChunkMetaData, u64),
    fetched: &Fetched,
    (leaf, places): (usize, Option<&[PagePlace]>),
) -> Sound<SeenValues> {
    let mut range = Range::default();
    if let Some(ends) = &known.ends
        && nulls < chunk.num_values().unsigned_abs()
    {
        range.add(&target.column, (&ends.low, &ends.high), ends.exact)?;
    }
    let statistics = match target.has_statistics {
        false => None,
        true => Some(range.statistics(&target.column, nulls)?),
    };
    let index = fetched.index(leaf).filter(|_| known.pages);
    let index = index.and_then(|index| {
        let entries = entries_of(&target.column, page_bounds(index).ok()?)?;
        let counted: u64 = entries.iter().map(|entry| entry.nulls).sum();
        let fits = counted == nulls && places.is_some_and(|it| it.len() == entries.len());
        column_index(&target.column, fits.then_some(entries)?)
    });
    Ok(SeenValues {
        statistics,
        nans: 0,
        index,
    })
}

/// By the values themselves, read as if they were to be written anew.
fn looked_at(
    target: &Target,
    fetched: &Fetched,
    leaf: usize,
    places: Option<&[PagePlace]>,
) -> Sound<SeenValues> {
    let source = fetched.source(leaf, &target.column, &DeletedPositions::default())?;
    let mut joined = join(target, &[source])?;
    let nans = joined.seen.nans;
    let close = joined.close_mut();
    // What it would say of its pages holds for those that are copied where they are the same, one by one.
    let same = close
        .offset_index
        .as_ref()
        .zip(places)
        .is_some_and(|(made, places)| {
            let made = made.page_locations.iter().map(|page| page.first_row_index);
            made.eq(places.iter().map(|place| place.first_row as i64))
        });
    Ok(SeenValues {
        statistics: close.metadata.statistics().cloned(),
        nans,
        index: close.column_index.take().filter(|_| same),
    })
}

/// Whether pages lie one behind the other within their chunk, and hold its rows in order.
fn follow(places: &[PagePlace], chunk: &Span<u64>, rows: u64) -> bool {
    let mut end = chunk.start;
    let mut next_row = 0;
    for (index, place) in places.iter().enumerate() {
        let begins = match index {
            0 => place.first_row == 0,
            _ => place.first_row > next_row,
        };
        if !begins || place.first_row >= rows || place.offset < end || place.size == 0 {
            return false;
        }
        next_row = place.first_row;
        end = place.offset.saturating_add(place.size);
    }
    !places.is_empty() && end <= chunk.end
}

fn offset_index(places: &[PagePlace], start: u64, rows: u64) -> OffsetIndexMetaData {
    let mut builder = OffsetIndexBuilder::new();
    let ends = places.iter().skip(1).map(|place| place.first_row);
    for (place, end) in places.iter().zip(ends.chain([rows])) {
        // A page has less than 2 GiB: its own header counts in an i32.
        let size = i32::try_from(place.size).unwrap_or(i32::MAX);
        builder.append_offset_and_size((place.offset - start) as i64, size);
        builder.append_row_count((end - place.first_row) as i64);
    }
    builder.build()
}

/// The levels of a column that is in nothing, for which NULLs tell all.
fn flat(column: &ColumnDescriptor, chunk: &ColumnChunkMetaData, nulls: u64) -> Option<Histograms> {
    let is_flat = column.max_rep_level() == 0 && column.path().parts().len() == 1;
    let values = chunk.num_values().unsigned_abs();
    is_flat.then(|| Histograms::flat(column, values, nulls))
}
