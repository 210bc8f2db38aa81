//! One column of a row group: the chunks that it has in the inputs, taken apart to be joined page by page.

use std::borrow::Cow;

use bytes::Bytes;
use icepress_table::footer::{PageBounds, PageLayout, page_bounds};
use parquet::{
    basic::{Compression, Type},
    file::metadata::ColumnChunkMetaData,
    schema::types::{ColumnDescPtr, ColumnDescriptor},
};

use super::{
    Sound,
    chunk::{IndexEntry, MergedChunk},
    codec::Coder,
    dictionary::{Values, fixed_width},
    filter::{End, Kept, check},
    hybrid::{beyond, decode},
    join::{Joiner, indices_of},
    levels::{Histograms, Parts},
    look::bare,
    page::Pages,
    refused,
    statistics::compare,
    trust::Known,
    united::unite,
};

/// How a column is to be.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// As the table has it.
    pub(super) column: ColumnDescPtr,
    pub(super) compression: Compression,
    /// Bytes that a united dictionary may have.
    pub(super) dictionary_bytes: usize,
    /// Bytes that a page may have once decompressed.
    pub(super) most_page: usize,
    /// Bytes that may be held of where the values of all dictionaries went.
    pub(super) most_dictionaries: usize,
    /// Whether the table wants statistics of it.
    pub(super) has_statistics: bool,
    /// Whether its bounds must be values.
    pub(super) must_be_exact: bool,
}

/// A chunk of the column in an input.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) chunk: &'a ColumnChunkMetaData,
    pub(super) rows: u64,
    pub(super) content: Bytes,
    /// Its column index.
    pub(super) index: Option<Bytes>,
    pub(super) known: Known,
    /// The numbers of its deleted rows, in order.
    pub(super) deleted: Vec<u64>,
}

/// An input taken apart.
#[derive(Debug)]
pub(super) struct Input<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) pages: Pages,
    /// What its column index says of its data pages.
    pub(super) index: Option<Vec<IndexEntry>>,
    /// Whether a page points into its dictionary.
    pub(super) points: bool,
    /// Its NULLs, as far as its footer and its pages agree on them.
    pub(super) nulls: Option<u64>,
    /// Whether its values are to be looked at.
    pub(super) looks: bool,
}

/// Joins the chunks of one column.
pub(super) fn join(target: &Target, sources: &[Source<'_>]) -> Sound<MergedChunk> {
    let mut coder = Coder::new(target.compression, target.most_page as u64);
    let inputs = sources.iter().map(|source| Input::of(target, source));
    let mut inputs: Vec<Input<'_>> = inputs.collect::<Sound<_>>()?;
    for input in &mut inputs {
        input.looks = input.looks || input.loses_an_end(target, &mut coder)?;
    }
    let (plans, dictionary) = unite(target, &inputs, &mut coder)?;
    let mut joiner = Joiner::new(target, coder);
    joiner.put_dictionary(dictionary, &inputs)?;
    for (input, plan) in inputs.iter().zip(&plans) {
        joiner.add(input, plan)?;
    }
    // Once rows are gone, nobody knows how long their texts were.
    let text_bytes = sources.iter().map(|source| {
        let bytes = source.chunk.unencoded_byte_array_data_bytes();
        bytes.filter(|_| source.deleted.is_empty())
    });
    let text_bytes = text_bytes.sum();
    joiner.finish(text_bytes)
}

impl<'a> Input<'a> {
    fn of(target: &Target, source: &'a Source<'a>) -> Sound<Self> {
        let column = &target.column;
        let pages = Pages::of(source.chunk, &source.content)?;
        let mut points = false;
        for page in &pages.data {
            source.known.check(page)?;
            points |= page.is_indices()?;
        }
        if points && pages.dictionary.is_none() {
            return Err(refused("a page points into a dictionary that is not there"));
        }
        let index = source.index.as_ref().filter(|_| source.known.pages);
        let index = index.and_then(|index| entries(column, index, &pages));
        let nulls = source.known.nulls.filter(|nulls| {
            let told = index.as_ref().map(|entries| {
                let nulls = entries.iter().map(|entry| entry.nulls);
                nulls.sum::<u64>()
            });
            [told, pages.nulls()]
                .iter()
                .flatten()
                .all(|told| told == nulls)
        });
        let mut input = Self {
            source,
            index: index.filter(|_| nulls.is_some()),
            pages,
            points,
            nulls,
            looks: false,
        };
        input.looks = input.must_be_looked_at(target);
        Ok(input)
    }

    /// Whether its dictionary has a value.
    pub(super) fn has_values(&self) -> bool {
        let page = self.pages.dictionary.as_ref();
        page.is_some_and(|page| page.header.values > 0)
    }

    /// The values of its dictionary, where a page points into it.
    pub(super) fn dictionary(
        &self,
        column: &ColumnDescriptor,
        coder: &mut Coder,
    ) -> Sound<Option<Values<'static>>> {
        let page = self.pages.dictionary.as_ref().filter(|_| self.points);
        let Some(page) = page else {
            return Ok(None);
        };
        if !matches!(
            page.header.layout,
            PageLayout::Dictionary { encoding: 0 | 2 }
        ) {
            return Err(refused("a dictionary that is not plain"));
        }
        let bytes = coder.decompress(page.codec, &page.body, page.header.uncompressed)?;
        let width = fixed_width(column.physical_type(), column.type_length());
        let bytes = Cow::Owned(bytes.into_owned());
        Values::new(bytes, page.header.values, width).map(Some)
    }

    /// The numbers of the deleted rows among the `rows` from `first` on.
    pub(super) fn deleted(&self, first: u64, rows: u64) -> &[u64] {
        let deleted = &self.source.deleted;
        let before = |end: u64| deleted.partition_point(|row| *row < end);
        &deleted[before(first)..before(first.saturating_add(rows))]
    }

    /// Whether the smallest value or the greatest goes with deleted rows and nothing tells that there is another like it: which is
    /// so then must be looked up. Only pages that lose rows are opened for it.
    fn loses_an_end(&self, target: &Target, coder: &mut Coder) -> Sound<bool> {
        let known = self.source.known.ends.as_ref();
        let Some(ends) = known.filter(|_| target.has_statistics) else {
            return Ok(false);
        };
        if self.source.deleted.is_empty() {
            return Ok(false);
        }
        let column = &target.column;
        let is_flat = column.max_rep_level() == 0;
        let ends = [ends.low.as_slice(), ends.high.as_slice()];
        let dictionary = self.dictionary(column, coder)?;
        let mut seen = [End::default(); 2];
        let mut first = 0;
        for (number, page) in self.pages.data.iter().enumerate() {
            let entries = page.header.values;
            if is_flat && self.deleted(first, entries).is_empty() {
                first += entries;
                self.note_whole(column, number, ends, &mut seen);
                continue;
            }
            let parts = Parts::of(page, column, coder)?;
            let levels = Histograms::of(&parts, column, entries as usize)?;
            let deleted = self.deleted(first, levels.rows());
            let rows: Vec<u64> = deleted.iter().map(|row| row - first).collect();
            first += levels.rows();
            if rows.is_empty() {
                self.note_whole(column, number, ends, &mut seen);
                continue;
            }
            check(page)?;
            let kept = Kept::of(&parts, column, entries as usize, &rows)?.values;
            let values = (parts.values(), kept.as_slice());
            match dictionary
                .as_ref()
                .filter(|_| page.is_indices() == Ok(true))
            {
                None => End::note_plain(&mut seen, column, values, ends)?,
                Some(dictionary) => {
                    let (width, indices) = indices_of(parts.values(), kept.len())?;
                    let mut decoded = Vec::with_capacity(kept.len());
                    decode(indices, width, kept.len(), &mut decoded)?;
                    let value = |index: &u32| dictionary.get(*index as usize).ok_or_else(beyond);
                    let values = decoded.iter().map(value).collect::<Sound<Vec<_>>>()?;
                    let bared = values.iter().map(|value| bare(column, value));
                    End::note(&mut seen, ends, bared.zip(kept.iter().copied()));
                }
            }
        }
        Ok(seen.iter().any(|end| end.goes && !end.stays))
    }

    /// Notes the ends that a page which loses no row is known to have. Of texts it isn't: their bounds may have been cut.
    fn note_whole(
        &self,
        column: &ColumnDescriptor,
        page: usize,
        ends: [&[u8]; 2],
        seen: &mut [End; 2],
    ) {
        let is_number = matches!(column.physical_type(), Type::INT32 | Type::INT64);
        let entries = self.index.as_ref().filter(|_| is_number);
        let range = entries.and_then(|entries| entries.get(page)?.range.as_ref());
        if let Some((low, high)) = range {
            let values = [(low.as_slice(), true), (high.as_slice(), true)];
            End::note(seen, ends, values.into_iter());
        }
    }

    fn must_be_looked_at(&self, target: &Target) -> bool {
        if counts_nans(&target.column) {
            return true;
        }
        let values = self.source.chunk.num_values().unsigned_abs();
        if !target.has_statistics || self.nulls == Some(values) {
            return false;
        }
        match &self.source.known.ends {
            None => true,
            Some(ends) => target.must_be_exact && ends.exact != (true, true),
        }
    }
}

/// What the column index says of each page, where it makes sense.
fn entries(column: &ColumnDescriptor, index: &Bytes, pages: &Pages) -> Option<Vec<IndexEntry>> {
    let entries = page_bounds(index).ok()?;
    let fits = entries.len() == pages.data_pages && pages.data.len() == pages.data_pages;
    entries_of(column, fits.then_some(entries)?)
}

/// The same of any number of pages.
pub(super) fn entries_of(
    column: &ColumnDescriptor,
    entries: Vec<PageBounds<'_>>,
) -> Option<Vec<IndexEntry>> {
    let mut made = Vec::with_capacity(entries.len());
    for entry in entries {
        if let Some((low, high)) = entry.range {
            compare(column, low, high).filter(|order| order.is_le())?;
        }
        made.push(IndexEntry {
            range: entry.range.map(|(low, high)| (low.to_vec(), high.to_vec())),
            nulls: entry.nulls,
        });
    }
    Some(made)
}

/// Whether NaNs of a column are counted: those of floating-point columns outside of lists.
pub(super) fn counts_nans(column: &ColumnDescriptor) -> bool {
    matches!(column.physical_type(), Type::FLOAT | Type::DOUBLE) && column.max_rep_level() == 0
}
