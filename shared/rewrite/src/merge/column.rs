//! One column of a row group: the chunks that it has in the inputs, as one.

use std::{borrow::Cow, collections::HashSet, sync::Arc};

use bytes::Bytes;
use icepress_table::footer::{PageLayout, page_bounds};
use parquet::{
    basic::{Compression, Type},
    file::{metadata::ColumnChunkMetaData, statistics::Statistics},
    schema::types::{ColumnDescPtr, ColumnDescriptor},
};

use super::{
    Sound,
    chunk::{ChunkBuilder, IndexEntry, MergedChunk, SeenPages, Ways},
    codec::Coder,
    dictionary::{Union, Values, fixed_width},
    hybrid::{beyond, bits_of, decode, one_run, remap},
    levels::{Histograms, Parts},
    page::{PLAIN, Page, Pages, RLE_DICTIONARY},
    refused,
    statistics::{Floats, Range},
};

/// So many dictionaries are looked at to see whether values occur in more than one of them.
const SAMPLE: usize = 3;

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
    /// Bytes that the dictionaries of a chunk's inputs may have together.
    pub(super) most_dictionaries: usize,
    /// Whether the table wants statistics of it.
    pub(super) has_statistics: bool,
    /// Whether its bounds must be values.
    pub(super) must_be_exact: bool,
    /// Whether NaNs are counted.
    pub(super) counts_nans: bool,
}

/// A chunk of the column in an input, compressed with the codec that is wanted.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) chunk: &'a ColumnChunkMetaData,
    pub(super) rows: u64,
    pub(super) content: Bytes,
    /// Its column index.
    pub(super) index: Option<Bytes>,
}

/// What becomes of the pages of a chunk that point into its dictionary.
#[derive(Debug)]
enum Plan {
    /// They stay as they are.
    Copy,
    /// They get other indices.
    Map(Vec<u32>),
    /// They are written without a dictionary.
    Spell,
}

/// An input taken apart.
struct Input<'a> {
    source: &'a Source<'a>,
    pages: Pages,
    /// What its column index says of its data pages.
    index: Option<Vec<IndexEntry>>,
    /// The values of its dictionary, where a page points into it.
    dictionary: Option<Values<'a>>,
}

/// Joins the chunks of one column.
pub(super) fn join(target: &Target, sources: &[Source<'_>]) -> Sound<MergedChunk> {
    let mut joiner = Joiner {
        coder: Coder::new(target.compression, target.most_page as u64),
        builder: ChunkBuilder::new(Arc::clone(&target.column), target.compression),
        target,
        ways: Ways::default(),
        range: Range::default(),
        floats: target.counts_nans.then(Floats::default),
        nulls: 0,
        histograms: Some(Histograms::new(&target.column)),
    };
    joiner.join(sources)?;
    let statistics = joiner.statistics()?;
    let text_bytes = sources
        .iter()
        .map(|source| source.chunk.unencoded_byte_array_data_bytes())
        .sum();
    let (bytes, close) = joiner
        .builder
        .finish(statistics, joiner.histograms, text_bytes)?;
    Ok(MergedChunk {
        bytes,
        close,
        seen: SeenPages {
            nans: joiner.floats.map_or(0, |floats| floats.nans),
            ways: joiner.ways,
        },
    })
}

struct Joiner<'a> {
    target: &'a Target,
    coder: Coder,
    builder: ChunkBuilder,
    ways: Ways,
    range: Range,
    floats: Option<Floats>,
    nulls: u64,
    /// Of all inputs so far, as long as each has one.
    histograms: Option<Histograms>,
}

impl Joiner<'_> {
    fn column(&self) -> &ColumnDescriptor {
        &self.target.column
    }

    fn join(&mut self, sources: &[Source<'_>]) -> Sound<()> {
        let mut inputs = Vec::with_capacity(sources.len());
        let mut dictionaries = 0;
        for source in sources {
            let input = self.input(source)?;
            dictionaries += input
                .dictionary
                .as_ref()
                .map_or(0, |held| held.bytes().len());
            if dictionaries > self.target.most_dictionaries {
                return Err(refused("its dictionaries take too much memory"));
            }
            inputs.push(input);
        }
        let plans = self.plan(&inputs)?;
        for (input, plan) in inputs.iter().zip(&plans) {
            self.add(input, plan)?;
        }
        Ok(())
    }

    fn input<'b>(&mut self, source: &'b Source<'b>) -> Sound<Input<'b>> {
        let chunk = source.chunk;
        let pages = Pages::of(chunk, &source.content)?;
        let entries = source.index.as_ref().and_then(|index| {
            let entries = page_bounds(index).ok()?;
            (entries.len() == pages.data_pages && pages.data.len() == pages.data_pages).then(|| {
                let owned = entries.into_iter().map(|entry| IndexEntry {
                    range: entry.range.map(|(low, high)| (low.to_vec(), high.to_vec())),
                    nulls: entry.nulls,
                });
                owned.collect()
            })
        });
        let mut points = false;
        for page in &pages.data {
            points |= page.is_indices()?;
        }
        let dictionary = match (&pages.dictionary, points) {
            (_, false) => None,
            (None, true) => {
                return Err(refused("a page points into a dictionary that is not there"));
            }
            (Some(page), true) => {
                if !matches!(
                    page.header.layout,
                    PageLayout::Dictionary { encoding: 0 | 2 }
                ) {
                    return Err(refused("a dictionary that is not plain"));
                }
                let bytes = self
                    .coder
                    .decompress(&page.body, page.header.uncompressed)?;
                let column = self.column();
                let width = fixed_width(column.physical_type(), column.type_length());
                let bytes = Cow::Owned(bytes.into_owned());
                Some(Values::new(bytes, page.header.values, width)?)
            }
        };
        Ok(Input {
            source,
            pages,
            index: entries,
            dictionary,
        })
    }

    /// What becomes of each input's dictionary; a united one is written.
    fn plan(&mut self, inputs: &[Input<'_>]) -> Sound<Vec<Plan>> {
        let with: Vec<&Input<'_>> = inputs.iter().filter(|it| it.dictionary.is_some()).collect();
        let values = |input: &Input<'_>| {
            let indices = input.pages.data.iter();
            let indices = indices.filter(|page| page.is_indices() == Ok(true));
            indices.map(|page| page.header.values).sum::<u64>()
        };
        let Some(first) = with.first() else {
            return Ok(inputs.iter().map(|_| Plan::Copy).collect());
        };
        let base = first.dictionary.as_ref().map_or(&[][..], Values::bytes);
        let is_same = |input: &&Input<'_>| {
            let held = input.dictionary.as_ref();
            held.is_some_and(|held| held.bytes() == base)
        };
        if with.iter().all(is_same) {
            if let Some(page) = first.pages.dictionary.clone() {
                self.ways.copied += page.body.len() as u64;
                let page = self.sound(page)?;
                self.builder.put_dictionary(page)?;
            }
            return Ok(inputs.iter().map(|_| Plan::Copy).collect());
        }
        let entries = |input: &Input<'_>| input.dictionary.as_ref().map_or(0, Values::count) as u64;
        let all: u64 = with.iter().map(|input| entries(input)).sum();
        let repeat_rarely = all * 2 > with.iter().map(|input| values(input)).sum::<u64>();
        if repeat_rarely && !shared(&with) {
            return Ok(plans_of(inputs, |_| Plan::Spell));
        }
        let mut union = Union::new();
        let limit = self.target.dictionary_bytes;
        let mut plans = Vec::with_capacity(inputs.len());
        for input in inputs {
            plans.push(match &input.dictionary {
                None => Plan::Copy,
                Some(dictionary) => {
                    let room = limit.saturating_sub(union.bytes().len());
                    let fits =
                        dictionary.bytes().len() <= room || union.missing(dictionary) <= room;
                    let places = if fits { union.add(dictionary) } else { None };
                    match places {
                        Some(places) if is_identity(&places) => Plan::Copy,
                        Some(places) => Plan::Map(places),
                        None => Plan::Spell,
                    }
                }
            });
        }
        if union.count() > 0 {
            let (count, plain) = (union.count() as u64, union.into_bytes());
            let length = plain.len() as u64;
            let body = self.coder.compress(plain)?;
            self.ways.united += body.len() as u64;
            let layout = PageLayout::Dictionary { encoding: PLAIN };
            let page = Page::new(layout, count, length, body.into());
            self.builder.put_dictionary(page)?;
        }
        Ok(plans)
    }

    /// A page that is to be copied. One without a checksum is decompressed once to see whether it is whole.
    fn sound(&mut self, page: Page) -> Sound<Page> {
        if page.header.checksum.is_none() {
            match page.header.layout {
                PageLayout::Dictionary { .. } => {
                    self.coder
                        .decompress(&page.body, page.header.uncompressed)?;
                }
                _ => {
                    Parts::of(&page, &self.target.column, &mut self.coder)?;
                }
            }
        }
        Ok(page.checked())
    }

    fn add(&mut self, input: &Input<'_>, plan: &Plan) -> Sound<()> {
        let rows_before = self.builder.rows();
        let chunk = input.source.chunk;
        let column = Arc::clone(&self.target.column);
        let is_flat = column.max_rep_level() == 0 && column.path().parts().len() == 1;
        // Levels are counted where nothing else tells how many rows or values there are: of old pages they lie in what is
        // compressed.
        let told = nulls_of(chunk, &column).filter(|_| is_flat);
        let mut counted = Histograms::new(&column);
        let floats_before = self.floats.clone();
        if matches!(plan, Plan::Spell) && self.copy_dictionary_as_page(input)? {
            let rows = input.source.rows;
            counted.definition[column.max_def_level().unsigned_abs() as usize] += rows as i64;
            counted.repetition[0] += rows as i64;
        } else {
            for (index, page) in input.pages.data.iter().enumerate() {
                let entry = input.index.as_ref().map(|entries| entries[index].clone());
                let histograms = self.add_page(input, plan, page, entry, told.is_some())?;
                if let Some(histograms) = histograms {
                    counted.add(&histograms);
                }
            }
        }
        if self.builder.rows() - rows_before != input.source.rows {
            return Err(refused("its pages have other rows than its footer says"));
        }
        let nulls = match told {
            Some(nulls) => nulls,
            None => chunk.num_values().unsigned_abs() - counted.values(),
        };
        self.nulls += nulls;
        self.histograms = match self.histograms.take() {
            Some(mut sum) if told.is_none() => {
                sum.add(&counted);
                Some(sum)
            }
            Some(mut sum) => {
                let all = chunk.num_values();
                let highest = sum.definition.len() - 1;
                sum.repetition[0] += all;
                sum.definition[highest] += all - nulls as i64;
                // Without lists and structs there is one other level: NULL.
                if highest > 0 {
                    sum.definition[0] += nulls as i64;
                }
                Some(sum)
            }
            None => None,
        };
        let has_values = chunk.num_values().unsigned_abs() > nulls;
        if !self.target.has_statistics || !has_values {
            return Ok(());
        }
        match (&self.floats, floats_before) {
            (Some(_), Some(_)) => Ok(()),
            _ => {
                let must_be_exact = self.target.must_be_exact;
                self.range
                    .add_chunk(&column, chunk.statistics(), must_be_exact)
            }
        }
    }

    /// Writes one page of a chunk; returns its levels where they were counted.
    fn add_page(
        &mut self,
        input: &Input<'_>,
        plan: &Plan,
        page: &Page,
        entry: Option<IndexEntry>,
        is_told: bool,
    ) -> Sound<Option<Histograms>> {
        let column = Arc::clone(&self.target.column);
        let points = page.is_indices()?;
        let dictionary = input.dictionary.as_ref().filter(|_| points);
        let is_copied = matches!(plan, Plan::Copy) || dictionary.is_none();
        if is_copied && is_told && self.floats.is_none() {
            let page = self.sound(page.clone())?;
            self.ways.copied += page.body.len() as u64;
            let rows = page.header.values;
            self.builder.put_data(page, rows, entry)?;
            return Ok(None);
        }
        let parts = Parts::of(page, &column, &mut self.coder)?;
        let count = page.header.values as usize;
        let histograms = Histograms::of(&parts, &column, count)?;
        let present = histograms.values() as usize;
        if let Some(floats) = &mut self.floats {
            look_at_floats(floats, &column, page, dictionary, parts.values(), present)?;
        }
        let rows = histograms.rows();
        if is_copied {
            self.ways.copied += page.body.len() as u64;
            self.builder.put_data(page.clone().checked(), rows, entry)?;
            return Ok(Some(histograms));
        }
        let Some(dictionary) = dictionary else {
            return Err(beyond());
        };
        let (width, indices) = indices_of(parts.values(), present)?;
        let mut body = parts.levels().to_vec();
        let encoding = match plan {
            Plan::Map(places) => {
                let width_after = bits_of(places.iter().copied().max().unwrap_or(0)).max(1);
                body.push(width_after);
                remap(indices, width, present, places, width_after, &mut body)?;
                RLE_DICTIONARY
            }
            _ => {
                let mut decoded = Vec::with_capacity(present);
                decode(indices, width, present, &mut decoded)?;
                dictionary.spell(&decoded, self.target.most_page, &mut body)?;
                PLAIN
            }
        };
        let made = self.page_like(page, encoding, body, parts.levels().len())?;
        match plan {
            Plan::Map(_) => self.ways.united += made.body.len() as u64,
            _ => self.ways.spelled += made.body.len() as u64,
        }
        self.builder.put_data(made, rows, entry)?;
        Ok(Some(histograms))
    }

    /// A page of the same version and with the same levels, whose values are encoded so.
    fn page_like(
        &mut self,
        page: &Page,
        encoding: u64,
        body: Vec<u8>,
        levels: usize,
    ) -> Sound<Page> {
        let (values, length) = (page.header.values, body.len() as u64);
        Ok(match page.header.layout {
            PageLayout::DataV2 {
                nulls,
                rows,
                definition_bytes,
                repetition_bytes,
                ..
            } => {
                let inside = self.coder.compress(body[levels..].to_vec())?;
                let layout = PageLayout::DataV2 {
                    encoding,
                    nulls,
                    rows,
                    definition_bytes,
                    repetition_bytes,
                    is_compressed: true,
                };
                let mut whole = body;
                whole.truncate(levels);
                whole.extend(inside);
                Page::new(layout, values, length, whole.into())
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
                Page::new(layout, values, length, body.into())
            }
            PageLayout::Dictionary { .. } | PageLayout::Other => {
                return Err(refused("no data page"));
            }
        })
    }

    /// Where a chunk points to each value of its dictionary once, one after the other, that dictionary is what its values
    /// are, plainly: its bytes become a data page as they are. Returns whether that was so.
    fn copy_dictionary_as_page(&mut self, input: &Input<'_>) -> Sound<bool> {
        let column = Arc::clone(&self.target.column);
        let (Some(dictionary), Some(page)) = (&input.dictionary, &input.pages.dictionary) else {
            return Ok(false);
        };
        let rows = input.source.rows;
        let is_flat = column.max_rep_level() == 0 && column.max_def_level() <= 1;
        let is_once = is_flat
            && dictionary.count() as u64 == rows
            && input.source.chunk.num_values().unsigned_abs() == rows
            && self.floats.is_none();
        if !is_once {
            return Ok(false);
        }
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
            let in_order = decoded
                .iter()
                .zip(next..)
                .all(|(index, next)| *index == next);
            if !in_order {
                return Ok(false);
            }
            next += count as u32;
        }
        let mut body = Vec::new();
        if column.max_def_level() == 1 {
            one_run(1, 1, rows as usize, &mut body);
        }
        let definition_bytes = body.len() as u64;
        let is_compressed = self.target.compression != Compression::UNCOMPRESSED;
        let sound = self.sound(page.clone())?;
        body.extend_from_slice(&sound.body);
        let layout = PageLayout::DataV2 {
            encoding: PLAIN,
            nulls: 0,
            rows,
            definition_bytes,
            repetition_bytes: 0,
            is_compressed,
        };
        self.ways.copied += body.len() as u64;
        let length = definition_bytes + page.header.uncompressed;
        let made = Page::new(layout, rows, length, body.into());
        let entry = input.index.as_ref().and_then(|_| {
            let statistics = input.source.chunk.statistics()?;
            Some(IndexEntry {
                range: Some((
                    statistics.min_bytes_opt()?.to_vec(),
                    statistics.max_bytes_opt()?.to_vec(),
                )),
                nulls: 0,
            })
        });
        self.builder.put_data(made, rows, entry)?;
        Ok(true)
    }

    /// Of the whole chunk.
    fn statistics(&mut self) -> Sound<Option<Statistics>> {
        if !self.target.has_statistics {
            return Ok(None);
        }
        let physical = self.target.column.physical_type();
        if let Some((low, high)) = self.floats.as_ref().and_then(|it| it.range(physical)) {
            self.range
                .add(&self.target.column, (&low, &high), (true, true))?;
        }
        let range = std::mem::take(&mut self.range);
        range.statistics(&self.target.column, self.nulls).map(Some)
    }
}

fn plans_of(inputs: &[Input<'_>], of: impl Fn(&Input<'_>) -> Plan) -> Vec<Plan> {
    let plan = |input: &Input<'_>| match &input.dictionary {
        None => Plan::Copy,
        Some(_) => of(input),
    };
    inputs.iter().map(plan).collect()
}

/// Whether the first few dictionaries have values in common.
fn shared(inputs: &[&Input<'_>]) -> bool {
    let mut seen = HashSet::new();
    let mut all = 0;
    for dictionary in inputs
        .iter()
        .take(SAMPLE)
        .filter_map(|it| it.dictionary.as_ref())
    {
        all += dictionary.count();
        seen.extend(dictionary.iter());
    }
    seen.len() * 5 < all * 4
}

fn is_identity(places: &[u32]) -> bool {
    places.iter().zip(0..).all(|(place, index)| *place == index)
}

/// The width of a page's indices, and their runs.
fn indices_of(values: &[u8], present: usize) -> Sound<(u8, &[u8])> {
    match values.split_first() {
        Some((width, indices)) => Ok((*width, indices)),
        None if present == 0 => Ok((0, &[])),
        None => Err(refused("indices without a width")),
    }
}

/// NULLs of a chunk, where its footer has them.
fn nulls_of(chunk: &ColumnChunkMetaData, column: &ColumnDescriptor) -> Option<u64> {
    if column.max_def_level() == 0 {
        return Some(0);
    }
    let nulls = chunk.statistics()?.null_count_opt()?;
    (nulls <= chunk.num_values().unsigned_abs()).then_some(nulls)
}

/// Counts NaNs and takes in smallest and greatest of a page's values.
fn look_at_floats(
    floats: &mut Floats,
    column: &ColumnDescriptor,
    page: &Page,
    dictionary: Option<&Values<'_>>,
    values: &[u8],
    present: usize,
) -> Sound<()> {
    if let Some(dictionary) = dictionary {
        let (width, indices) = indices_of(values, present)?;
        let mut decoded = Vec::with_capacity(present);
        decode(indices, width, present, &mut decoded)?;
        for index in decoded {
            floats.add(dictionary.get(index as usize).ok_or_else(beyond)?);
        }
        return Ok(());
    }
    let is_plain = page.encoding() == super::page::encoding_of(PLAIN);
    let width = fixed_width(column.physical_type(), 0).filter(|_| is_plain);
    let width = width.ok_or_else(|| refused("floating-point values that are not plain"))?;
    let values = values
        .get(..present * width)
        .ok_or_else(|| refused("plain values don't fill their page"))?;
    values
        .chunks_exact(width)
        .for_each(|value| floats.add(value));
    Ok(())
}

/// Whether NaNs of a column are counted: those of floating-point columns outside of lists.
pub(super) fn counts_nans(column: &ColumnDescriptor) -> bool {
    matches!(column.physical_type(), Type::FLOAT | Type::DOUBLE) && column.max_rep_level() == 0
}
