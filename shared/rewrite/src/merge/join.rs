//! Pages of several chunks put one behind the other, each in the cheapest way that is sound.

use std::sync::Arc;

use icepress_table::footer::PageLayout;
use parquet::{
    basic::Compression,
    file::statistics::Statistics,
    schema::types::{ColumnDescPtr, ColumnDescriptor},
};

use super::{
    Sound,
    chunk::{ChunkBuilder, IndexEntry, MergedChunk, SeenPages, Ways},
    codec::{Coder, is_same_codec},
    column::{Input, Target},
    dictionary::Values,
    filter::{Kept, keep_indices, keep_plain},
    hybrid::{beyond, decode, one_run, remap},
    levels::{Histograms, Parts, levels_of},
    look::{Ranks, Seen, look_at_indices, look_at_plain},
    page::{PLAIN, Page, RLE_DICTIONARY, encoding_of},
    refused,
    statistics::Range,
    united::{Dictionary, Plan},
};

/// What the column index has of a value at most, in bytes.
const MOST_OF_ENTRY: usize = 64;

pub(super) struct Joiner<'a> {
    target: &'a Target,
    coder: Coder,
    builder: ChunkBuilder,
    ways: Ways,
    range: Range,
    nans: u64,
    nulls: u64,
    /// Of all inputs so far.
    histograms: Histograms,
}

impl<'a> Joiner<'a> {
    pub(super) fn new(target: &'a Target, coder: Coder) -> Self {
        Self {
            coder,
            builder: ChunkBuilder::new(Arc::clone(&target.column), target.compression),
            target,
            ways: Ways::default(),
            range: Range::default(),
            nans: 0,
            nulls: 0,
            histograms: Histograms::new(&target.column),
        }
    }

    fn column(&self) -> ColumnDescPtr {
        Arc::clone(&self.target.column)
    }

    /// Writes the dictionary of all.
    pub(super) fn put_dictionary(
        &mut self,
        dictionary: Dictionary,
        inputs: &[Input<'_>],
    ) -> Sound<()> {
        let page = match dictionary {
            Dictionary::None => return Ok(()),
            Dictionary::United(page) => {
                self.ways.united += page.body.len() as u64;
                page
            }
            Dictionary::First => {
                let mut with = inputs.iter().filter(|input| input.points);
                let page = with.find_map(|input| input.pages.dictionary.clone());
                let Some(page) = page else {
                    return Err(refused("a dictionary that is not there"));
                };
                let page = self.sound(page, false)?;
                self.ways.copied += page.body.len() as u64;
                page
            }
        };
        self.builder.put_dictionary(page)
    }

    /// A page that is to be copied: compressed as the table wants it, and with a checksum. One without is decompressed once
    /// to see whether it is whole, unless that `is_seen` already.
    fn sound(&mut self, page: Page, is_seen: bool) -> Sound<Page> {
        let levels = levels_of(&page)?;
        let is_compressed = !matches!(
            page.header.layout,
            PageLayout::DataV2 {
                is_compressed: false,
                ..
            }
        );
        if is_compressed && !is_same_codec(page.codec, self.coder.target()) {
            return self.transcoded(&page, levels);
        }
        if page.header.checksum.is_none() && !is_seen {
            match page.header.layout {
                PageLayout::Dictionary { .. } => {
                    let length = page.header.uncompressed;
                    self.coder.decompress(page.codec, &page.body, length)?;
                }
                _ => {
                    Parts::of(&page, &self.target.column, &mut self.coder)?;
                }
            }
        }
        Ok(page.checked())
    }

    /// The same page under the table's codec.
    fn transcoded(&mut self, page: &Page, levels: usize) -> Sound<Page> {
        let length = page.header.uncompressed;
        let inside = length
            .checked_sub(levels as u64)
            .ok_or_else(|| refused("the levels of a page are cut off"))?;
        let (outside, body) = page.body.split_at(levels);
        let plain = self
            .coder
            .decompress(page.codec, body, inside)?
            .into_owned();
        let mut made = outside.to_vec();
        made.extend(self.coder.compress(plain)?);
        let codec = self.coder.target();
        Ok(Page::new(
            page.header.layout,
            codec,
            page.header.values,
            length,
            made.into(),
        ))
    }

    /// Adds the pages of an input.
    pub(super) fn add(&mut self, input: &Input<'_>, plan: &Plan) -> Sound<()> {
        let rows_before = self.builder.rows();
        let chunk = input.source.chunk;
        let column = self.column();
        let is_flat = column.max_rep_level() == 0 && column.path().parts().len() == 1;
        // Levels are counted where nothing else tells how many rows or values there are: of old pages they lie in what is
        // compressed.
        let told = input.nulls.filter(|_| is_flat);
        let dictionary = self.dictionary_of(input, plan)?;
        let values = chunk.num_values().unsigned_abs();
        let counted = if matches!(plan, Plan::Spell) && self.copy_dictionary_as_page(input)? {
            Histograms::flat(&column, values, 0)
        } else {
            let mut counted = match told {
                None => Histograms::new(&column),
                Some(nulls) => Histograms::flat(&column, values, nulls),
            };
            let mut row = 0;
            for (index, page) in input.pages.data.iter().enumerate() {
                let entry = input.index.as_ref().map(|entries| entries[index].clone());
                let rows = page.header.values;
                if told.is_some()
                    && self.is_copied(input, plan, page)?
                    && input.deleted(row, rows).is_empty()
                {
                    self.copy((page, false), rows, entry)?;
                    row += rows;
                    continue;
                }
                let (before, after) =
                    self.add_page(input, (plan, &dictionary), page, (row, entry))?;
                row += before.rows();
                match told {
                    None => counted.add(&after),
                    Some(_) => counted.lose(&before, &after),
                }
            }
            counted
        };
        let live = input.source.rows - input.source.deleted.len() as u64;
        if self.builder.rows() - rows_before != live {
            return Err(refused("its pages have other rows than its footer says"));
        }
        let (there, entries) = (counted.values(), counted.entries());
        self.nulls += entries.saturating_sub(there);
        self.histograms.add(&counted);
        if self.target.has_statistics
            && !input.looks
            && there > 0
            && let Some(ends) = &input.source.known.ends
        {
            self.range
                .add(&column, (&ends.low, &ends.high), ends.exact)?;
        }
        Ok(())
    }

    /// The dictionary of an input and its order, as far as its pages can't be written without.
    fn dictionary_of(&mut self, input: &Input<'_>, plan: &Plan) -> Sound<Lookup> {
        if !input.looks && !matches!(plan, Plan::Spell) {
            return Ok(Lookup::default());
        }
        let column = self.column();
        let values = input.dictionary(&column, &mut self.coder)?;
        let ranked = values.as_ref().filter(|_| input.looks);
        Ok(Lookup {
            ranks: ranked.map(|values| Ranks::new(&column, values)),
            values,
        })
    }

    /// Whether a page is copied without a look into it.
    fn is_copied(&self, input: &Input<'_>, plan: &Plan, page: &Page) -> Sound<bool> {
        let is_kept = matches!(plan, Plan::Copy) || !page.is_indices()?;
        Ok(is_kept && !input.looks)
    }

    fn copy(
        &mut self,
        (page, is_seen): (&Page, bool),
        rows: u64,
        entry: Option<IndexEntry>,
    ) -> Sound<()> {
        let page = self.sound(page.clone(), is_seen)?;
        self.ways.copied += page.body.len() as u64;
        self.builder.put_data(page, rows, entry)
    }

    /// Writes one page of a chunk, which begins at the row `first`, without its deleted rows; returns its levels before and
    /// after.
    fn add_page(
        &mut self,
        input: &Input<'_>,
        (plan, dictionary): (&Plan, &Lookup),
        page: &Page,
        (first, entry): (u64, Option<IndexEntry>),
    ) -> Sound<(Histograms, Histograms)> {
        let column = self.column();
        let parts = Parts::of(page, &column, &mut self.coder)?;
        let count = page.header.values as usize;
        let before = Histograms::of(&parts, &column, count)?;
        let present = before.values() as usize;
        let deleted = input.deleted(first, before.rows());
        if deleted.is_empty() {
            let entry = match input.looks {
                false => entry,
                true => {
                    let seen = look(&column, page, dictionary, parts.values(), present)?;
                    self.take_in(seen, (count - present) as u64, present)?
                }
            };
            if matches!(plan, Plan::Copy) || !page.is_indices()? {
                self.copy((page, true), before.rows(), entry)?;
            } else {
                let mut body = Vec::with_capacity(parts.levels().len() + parts.values().len());
                body.extend_from_slice(parts.levels());
                let encoding =
                    self.put_indices((plan, dictionary), parts.values(), present, &mut body)?;
                let made = self.page_like(page, encoding, body, parts.levels().len())?;
                self.put(made, before.rows(), (plan, entry))?;
            }
            return Ok((before.clone(), before));
        }
        super::filter::check(page)?;
        let rows: Vec<u64> = deleted.iter().map(|row| row - first).collect();
        let kept = Kept::of(&parts, &column, count, &rows)?;
        let after = kept.histograms.clone();
        if after.rows() == 0 {
            return Ok((before, after));
        }
        // Plain or indices, and then for any dictionary.
        let mut values = Vec::new();
        let is_indices = page.is_indices()?;
        if is_indices {
            let (width, indices) = indices_of(parts.values(), present)?;
            let mut decoded = Vec::with_capacity(present);
            decode(indices, width, present, &mut decoded)?;
            values.push(width);
            keep_indices(&decoded, &kept.values, width, &mut values);
        } else {
            keep_plain(&column, parts.values(), &kept.values, &mut values)?;
        }
        let (there, entries) = (after.values() as usize, after.entries());
        let nulls = entries - there as u64;
        let entry = match input.looks {
            true => {
                let seen = look(&column, page, dictionary, &values, there)?;
                self.take_in(seen, nulls, there)?
            }
            // What bounded the page before still does.
            false => entry.map(|entry| IndexEntry {
                range: entry.range.filter(|_| there > 0),
                nulls,
            }),
        };
        let levels = kept.levels.len();
        let mut body = kept.levels;
        let encoding = match is_indices {
            false => {
                body.extend(values);
                PLAIN
            }
            true if matches!(plan, Plan::Copy) => {
                body.extend(values);
                RLE_DICTIONARY
            }
            true => self.put_indices((plan, dictionary), &values, there, &mut body)?,
        };
        let like = page.with_entries(&after, (kept.repetition_bytes, levels));
        let made = self.page_like(&like, encoding, body, levels)?;
        self.put(made, after.rows(), (&Plan::Spell, entry))?;
        Ok((before, after))
    }

    /// Adds what becomes of indices to `body`; returns how that is encoded.
    fn put_indices(
        &self,
        (plan, dictionary): (&Plan, &Lookup),
        values: &[u8],
        present: usize,
        body: &mut Vec<u8>,
    ) -> Sound<u64> {
        let (width, indices) = indices_of(values, present)?;
        if let Plan::Map { places, width: to } = plan {
            body.push(*to);
            remap(indices, width, present, places, *to, body)?;
            return Ok(RLE_DICTIONARY);
        }
        let values = dictionary.values.as_ref().ok_or_else(beyond)?;
        let mut decoded = Vec::with_capacity(present);
        decode(indices, width, present, &mut decoded)?;
        values.spell(&decoded, self.target.most_page, body)?;
        Ok(PLAIN)
    }

    /// Writes a page that was made.
    fn put(
        &mut self,
        page: Page,
        rows: u64,
        (plan, entry): (&Plan, Option<IndexEntry>),
    ) -> Sound<()> {
        let bytes = page.body.len() as u64;
        match plan {
            Plan::Map { .. } => self.ways.united += bytes,
            Plan::Copy | Plan::Spell => self.ways.spelled += bytes,
        }
        self.builder.put_data(page, rows, entry)
    }

    /// Counts in what was seen of a page with so many NULLs and values; returns what the column index says of it.
    fn take_in(&mut self, seen: Seen, nulls: u64, present: usize) -> Sound<Option<IndexEntry>> {
        self.nans += seen.nans;
        let column = self.column();
        let Some((low, high)) = seen.range else {
            // A page of nothing but NaN has no place in a column index.
            let is_null = present == 0;
            return Ok(is_null.then_some(IndexEntry { range: None, nulls }));
        };
        if self.target.has_statistics {
            self.range.add(&column, (&low, &high), (true, true))?;
        }
        let is_short = low.len() <= MOST_OF_ENTRY && high.len() <= MOST_OF_ENTRY;
        Ok(is_short.then_some(IndexEntry {
            range: Some((low, high)),
            nulls,
        }))
    }

    /// A page of the same version and with the same levels, whose values are encoded so.
    fn page_like(
        &mut self,
        page: &Page,
        encoding: u64,
        mut body: Vec<u8>,
        levels: usize,
    ) -> Sound<Page> {
        let (values, length) = (page.header.values, body.len() as u64);
        let codec = self.coder.target();
        Ok(match page.header.layout {
            PageLayout::DataV2 {
                nulls,
                rows,
                definition_bytes,
                repetition_bytes,
                ..
            } => {
                let inside = self.coder.compress(body.split_off(levels))?;
                let layout = PageLayout::DataV2 {
                    encoding,
                    nulls,
                    rows,
                    definition_bytes,
                    repetition_bytes,
                    is_compressed: codec != Compression::UNCOMPRESSED,
                };
                body.extend(inside);
                Page::new(layout, codec, values, length, body.into())
            }
            PageLayout::Data {
                definition,
                repetition,
                ..
            } => {
                let layout = PageLayout::Data {
                    encoding,
                    definition,
                    repetition,
                };
                let body = self.coder.compress(body)?;
                Page::new(layout, codec, values, length, body.into())
            }
            PageLayout::Dictionary { .. } | PageLayout::Other => {
                return Err(refused("no data page"));
            }
        })
    }

    /// Where a chunk points to each value of its dictionary once, one after the other, that dictionary is what its values
    /// are, plainly: its bytes become a data page as they are. Returns whether that was so.
    fn copy_dictionary_as_page(&mut self, input: &Input<'_>) -> Sound<bool> {
        let column = self.column();
        let Some(page) = input.pages.dictionary.as_ref().filter(|_| input.points) else {
            return Ok(false);
        };
        let rows = input.source.rows;
        let is_flat = column.max_rep_level() == 0 && column.max_def_level() <= 1;
        let is_once = is_flat
            && page.header.values == rows
            && input.source.chunk.num_values().unsigned_abs() == rows
            && !input.looks
            && input.source.deleted.is_empty();
        if !is_once || !self.points_in_order(input)? {
            return Ok(false);
        }
        let page = self.sound(page.clone(), false)?;
        let mut body = Vec::new();
        if column.max_def_level() == 1 {
            one_run(1, 1, rows as usize, &mut body);
        }
        let definition_bytes = body.len() as u64;
        body.extend_from_slice(&page.body);
        let layout = PageLayout::DataV2 {
            encoding: PLAIN,
            nulls: 0,
            rows,
            definition_bytes,
            repetition_bytes: 0,
            is_compressed: self.target.compression != Compression::UNCOMPRESSED,
        };
        self.ways.copied += body.len() as u64;
        let length = definition_bytes + page.header.uncompressed;
        let made = Page::new(layout, page.codec, rows, length, body.into());
        let ends = input.source.known.ends.as_ref();
        let ends = ends.filter(|ends| {
            let longest = ends.low.len().max(ends.high.len());
            input.index.is_some() && longest <= MOST_OF_ENTRY
        });
        let entry = ends.map(|ends| IndexEntry {
            range: Some((ends.low.clone(), ends.high.clone())),
            nulls: 0,
        });
        self.builder.put_data(made, rows, entry)?;
        Ok(true)
    }

    /// Whether the indices of a chunk without NULLs are 0, 1, 2, ….
    fn points_in_order(&mut self, input: &Input<'_>) -> Sound<bool> {
        let column = self.column();
        let mut next = 0;
        let mut decoded = Vec::new();
        for page in &input.pages.data {
            if !page.is_indices()? {
                return Ok(false);
            }
            let parts = Parts::of(page, &column, &mut self.coder)?;
            let count = page.header.values as usize;
            let present = Histograms::of(&parts, &column, count)?.values() as usize;
            if present != count {
                return Ok(false);
            }
            let (width, indices) = indices_of(parts.values(), present)?;
            decoded.clear();
            decode(indices, width, present, &mut decoded)?;
            let mut both = decoded.iter().zip(next..);
            if both.any(|(index, next)| *index != next) {
                return Ok(false);
            }
            next += count as u32;
        }
        Ok(true)
    }

    /// The chunk; `text_bytes` are those of its texts, where all inputs say so.
    pub(super) fn finish(self, text_bytes: Option<i64>) -> Sound<MergedChunk> {
        let statistics: Option<Statistics> = match self.target.has_statistics {
            false => None,
            true => Some(self.range.statistics(&self.target.column, self.nulls)?),
        };
        let (bytes, close) = self
            .builder
            .finish(statistics, Some(self.histograms), text_bytes)?;
        let seen = SeenPages {
            nans: self.nans,
            ways: self.ways,
        };
        Ok(MergedChunk::of_pages(bytes, close, seen))
    }
}

/// An input's dictionary, as far as it is needed.
#[derive(Debug, Default)]
struct Lookup {
    values: Option<Values<'static>>,
    ranks: Option<Ranks>,
}

/// Looks at the values of a page: by its dictionary and that dictionary's order, where it points into one.
fn look(
    column: &ColumnDescriptor,
    page: &Page,
    dictionary: &Lookup,
    values: &[u8],
    present: usize,
) -> Sound<Seen> {
    if page.is_indices()? {
        let (dictionary, ranks) = dictionary
            .values
            .as_ref()
            .zip(dictionary.ranks.as_ref())
            .ok_or_else(beyond)?;
        let (width, indices) = indices_of(values, present)?;
        let mut decoded = Vec::with_capacity(present);
        decode(indices, width, present, &mut decoded)?;
        return look_at_indices(column, dictionary, ranks, &decoded);
    }
    if page.encoding() != encoding_of(PLAIN) {
        return Err(refused("its values are encoded, and must be looked at"));
    }
    look_at_plain(column, values, present)
}

/// The width of a page's indices, and their runs.
pub(super) fn indices_of(values: &[u8], present: usize) -> Sound<(u8, &[u8])> {
    match values.split_first() {
        Some((width, indices)) => Ok((*width, indices)),
        None if present == 0 => Ok((0, &[])),
        None => Err(refused("indices without a width")),
    }
}
