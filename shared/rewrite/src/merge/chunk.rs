//! A column chunk being put together from pages, with what footer and page index say of it.

use std::{
    cmp::Ordering,
    collections::VecDeque,
    io::{self, Read, Repeat, Take, Write},
    ops::Range as Span,
};

use bytes::{Buf, Bytes};
use parquet::{
    arrow::arrow_writer::ArrowColumnChunk,
    basic::{BoundaryOrder, Compression, Encoding, PageType},
    column::writer::ColumnCloseResult,
    errors::Result as ParquetResult,
    file::{
        metadata::{
            ColumnChunkMetaData, ColumnIndexBuilder, LevelHistogram, OffsetIndexBuilder,
            PageEncodingStats,
        },
        reader::{ChunkReader, Length},
        statistics::Statistics,
        writer::SerializedRowGroupWriter,
    },
    schema::types::ColumnDescPtr,
};

use super::{Sound, levels::Histograms, page::Page, refused, statistics::compare};
use icepress_table::footer::PageLayout;

/// The bytes of a chunk, in pieces that partly are those of its inputs.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    pieces: Vec<Bytes>,
    length: u64,
}

impl Length for Pieces {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Pieces {
    type T = Rest;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let mut pieces: VecDeque<Bytes> = self.pieces.iter().cloned().collect();
        let mut skip = start;
        while let Some(first) = pieces.front_mut() {
            if skip < first.len() as u64 {
                first.advance(skip as usize);
                break;
            }
            skip -= first.len() as u64;
            pieces.pop_front();
        }
        Ok(Rest(pieces))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let mut whole = Vec::new();
        self.get_read(start)?
            .take(length as u64)
            .read_to_end(&mut whole)?;
        Ok(whole.into())
    }
}

/// What is left of the pieces.
#[derive(Debug)]
pub(crate) struct Rest(VecDeque<Bytes>);

impl Read for Rest {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(first) = self.0.front_mut() {
            if first.is_empty() {
                self.0.pop_front();
                continue;
            }
            let length = first.len().min(buffer.len());
            buffer[..length].copy_from_slice(&first[..length]);
            first.advance(length);
            return Ok(length);
        }
        Ok(0)
    }
}

/// The bytes of a chunk that the storage copies: as many as it has, of no meaning.
#[derive(Debug)]
struct LeftOut(u64);

impl Length for LeftOut {
    fn len(&self) -> u64 {
        self.0
    }
}

impl ChunkReader for LeftOut {
    type T = Take<Repeat>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(io::repeat(0).take(self.0.saturating_sub(start)))
    }

    fn get_bytes(&self, _start: u64, length: usize) -> ParquetResult<Bytes> {
        Ok(vec![0; length].into())
    }
}

/// A chunk, ready to be appended to a row group.
#[derive(Debug)]
pub(crate) struct MergedChunk {
    made: ChunkContent,
    /// What was seen of its pages.
    pub(crate) seen: SeenPages,
}

/// How a chunk came about.
#[derive(Debug)]
enum ChunkContent {
    /// Of pages; what is said of it has offsets into its bytes.
    OfPages(Pieces, Box<ColumnCloseResult>),
    /// As it lies in an input, so many bytes, which the storage copies; what is said of it has offsets into them.
    Lying(u64, Box<ColumnCloseResult>),
    /// By the encoder.
    Encoded(Box<ArrowColumnChunk>),
}

impl MergedChunk {
    pub(super) fn of_pages(bytes: Pieces, close: ColumnCloseResult, seen: SeenPages) -> Self {
        let made = ChunkContent::OfPages(bytes, Box::new(close));
        Self { made, seen }
    }

    /// A chunk of so many bytes in an input, which the storage copies.
    pub(super) fn lying(length: u64, close: ColumnCloseResult, nans: u64) -> Self {
        let ways = Ways {
            spliced: length,
            ..Ways::default()
        };
        let made = ChunkContent::Lying(length, Box::new(close));
        let seen = SeenPages { nans, ways };
        Self { made, seen }
    }

    pub(super) fn encoded(chunk: ArrowColumnChunk, nans: u64) -> Self {
        let ways = Ways {
            encoded: chunk.close().bytes_written,
            ..Ways::default()
        };
        let made = ChunkContent::Encoded(Box::new(chunk));
        let seen = SeenPages { nans, ways };
        Self { made, seen }
    }

    /// How many bytes it has.
    pub(super) fn bytes(&self) -> u64 {
        match &self.made {
            ChunkContent::OfPages(bytes, _) => bytes.len(),
            ChunkContent::Lying(length, _) => *length,
            ChunkContent::Encoded(chunk) => chunk.close().bytes_written,
        }
    }

    /// What is said of it.
    pub(crate) fn close_mut(&mut self) -> &mut ColumnCloseResult {
        match &mut self.made {
            ChunkContent::OfPages(_, close) | ChunkContent::Lying(_, close) => close,
            ChunkContent::Encoded(chunk) => chunk.close_mut(),
        }
    }

    /// Appends it. Of one that the storage copies only as many bytes come as it has: they are to be left out.
    pub(crate) fn append_to<W: Write + Send>(
        self,
        row_group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> ParquetResult<()> {
        match self.made {
            ChunkContent::OfPages(bytes, close) => row_group.append_column(&bytes, *close),
            ChunkContent::Lying(length, close) => row_group.append_column(&LeftOut(length), *close),
            ChunkContent::Encoded(chunk) => chunk.append_to_row_group(row_group),
        }
    }
}

/// What was seen of the pages of a chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SeenPages {
    /// NaNs in it; 0 where they are not counted.
    pub(crate) nans: u64,
    /// How many of its bytes came about in which way.
    pub(crate) ways: Ways,
}

/// Bytes of pages, by how they came about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ways {
    /// In row groups that the storage copies whole.
    pub(crate) spliced: u64,
    /// As they lay in the input.
    pub(crate) copied: u64,
    /// Indices into a united dictionary, and that dictionary.
    pub(crate) united: u64,
    /// Written anew: without the dictionary that they had, or without deleted rows.
    pub(crate) spelled: u64,
    /// Decoded and encoded.
    pub(crate) encoded: u64,
}

impl Ways {
    pub(super) fn all(&self) -> u64 {
        self.spliced + self.copied + self.united + self.spelled + self.encoded
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.spliced += other.spliced;
        self.copied += other.copied;
        self.united += other.united;
        self.spelled += other.spelled;
        self.encoded += other.encoded;
    }
}

impl From<Ways> for icepress_model::Ways {
    fn from(ways: Ways) -> Self {
        Self {
            spliced: icepress_model::Bytes(ways.spliced),
            copied: icepress_model::Bytes(ways.copied),
            united: icepress_model::Bytes(ways.united),
            spelled: icepress_model::Bytes(ways.spelled),
            encoded: icepress_model::Bytes(ways.encoded),
        }
    }
}

/// What the column index says of a page.
#[derive(Debug, Clone)]
pub(super) struct IndexEntry {
    pub(super) range: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) nulls: u64,
}

/// Takes pages one after the other.
pub(super) struct ChunkBuilder {
    column: ColumnDescPtr,
    compression: Compression,
    pieces: Pieces,
    uncompressed: u64,
    values: u64,
    rows: u64,
    /// Whether the first piece is a dictionary, and its length.
    dictionary: Option<u64>,
    pages: Vec<(PageType, Encoding, i32)>,
    locations: OffsetIndexBuilder,
    /// What the column index says, as long as each page has an entry.
    index: Option<Vec<IndexEntry>>,
}

impl ChunkBuilder {
    pub(super) fn new(column: ColumnDescPtr, compression: Compression) -> Self {
        Self {
            column,
            compression,
            pieces: Pieces::default(),
            uncompressed: 0,
            values: 0,
            rows: 0,
            dictionary: None,
            pages: Vec::new(),
            locations: OffsetIndexBuilder::new(),
            index: Some(Vec::new()),
        }
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    fn put(&mut self, page: Page, page_type: PageType) -> Sound<Span<u64>> {
        let encoding = page.encoding()?;
        match self
            .pages
            .iter_mut()
            .find(|(held, of, _)| (*held, *of) == (page_type, encoding))
        {
            Some((_, _, count)) => *count += 1,
            None => self.pages.push((page_type, encoding, 1)),
        }
        self.uncompressed += page.head.len() as u64 + page.header.uncompressed;
        let start = self.pieces.length;
        self.pieces.length += (page.head.len() + page.body.len()) as u64;
        self.pieces.pieces.extend([page.head, page.body]);
        Ok(start..self.pieces.length)
    }

    /// The dictionary, which comes first.
    pub(super) fn put_dictionary(&mut self, page: Page) -> Sound<()> {
        self.dictionary = Some(self.put(page, PageType::DICTIONARY_PAGE)?.end);
        Ok(())
    }

    /// A data page of so many rows.
    pub(super) fn put_data(
        &mut self,
        page: Page,
        rows: u64,
        entry: Option<IndexEntry>,
    ) -> Sound<()> {
        let page_type = match page.header.layout {
            PageLayout::DataV2 { .. } => PageType::DATA_PAGE_V2,
            _ => PageType::DATA_PAGE,
        };
        self.values += page.header.values;
        let place = self.put(page, page_type)?;
        let size = i32::try_from(place.end - place.start)
            .map_err(|_| refused("a page of more than 2 GiB"))?;
        self.locations
            .append_offset_and_size(place.start as i64, size);
        self.locations.append_row_count(rows as i64);
        self.rows += rows;
        match (entry, &mut self.index) {
            (Some(entry), Some(index)) => index.push(entry),
            _ => self.index = None,
        }
        Ok(())
    }

    /// The chunk.
    pub(super) fn finish(
        self,
        statistics: Option<Statistics>,
        histograms: Option<Histograms>,
        text_bytes: Option<i64>,
    ) -> Sound<(Pieces, ColumnCloseResult)> {
        let column_index = self
            .index
            .and_then(|index| column_index(&self.column, index));
        let mut encodings: Vec<Encoding> = Vec::new();
        let levels = [Encoding::RLE];
        let of_pages = self.pages.iter().map(|(_, encoding, _)| *encoding);
        for encoding in of_pages.chain(levels) {
            if !encodings.contains(&encoding) {
                encodings.push(encoding);
            }
        }
        let counts = self.pages.iter();
        let counts = counts.map(|(page_type, encoding, count)| PageEncodingStats {
            page_type: *page_type,
            encoding: *encoding,
            count: *count,
        });
        let mut builder = ColumnChunkMetaData::builder(self.column)
            .set_compression(self.compression)
            .set_encodings(encodings)
            .set_page_encoding_stats(counts.collect())
            .set_total_compressed_size(self.pieces.length as i64)
            .set_total_uncompressed_size(self.uncompressed as i64)
            .set_num_values(self.values as i64)
            .set_dictionary_page_offset(self.dictionary.map(|_| 0))
            .set_data_page_offset(self.dictionary.unwrap_or(0) as i64)
            .set_unencoded_byte_array_data_bytes(text_bytes);
        if let Some(histograms) = histograms {
            let of = |levels: Vec<i64>| (levels.len() > 1).then(|| LevelHistogram::from(levels));
            builder = builder
                .set_definition_level_histogram(of(histograms.definition))
                .set_repetition_level_histogram(of(histograms.repetition));
        }
        if let Some(statistics) = statistics {
            builder = builder.set_statistics(statistics);
        }
        let close = ColumnCloseResult {
            bytes_written: self.pieces.length,
            rows_written: self.rows,
            metadata: builder.build().map_err(refused)?,
            bloom_filter: None,
            column_index,
            offset_index: Some(self.locations.build()),
        };
        Ok((self.pieces, close))
    }
}

/// The column index of pages; `None` where one says what can't be said of the column.
pub(super) fn column_index(
    column: &ColumnDescPtr,
    entries: Vec<IndexEntry>,
) -> Option<parquet::file::page_index::column_index::ColumnIndexMetaData> {
    let mut builder = ColumnIndexBuilder::new(column.physical_type());
    builder.set_boundary_order(order_of(column, &entries));
    for IndexEntry { range, nulls } in entries {
        let is_null = range.is_none();
        let (low, high) = range.unwrap_or_default();
        builder.append(is_null, low, high, i64::try_from(nulls).ok()?);
    }
    builder.build().ok()
}

/// Whether smallest and greatest both only grow, or only fall, from page to page.
fn order_of(column: &ColumnDescPtr, entries: &[IndexEntry]) -> BoundaryOrder {
    let ranges: Vec<_> = entries
        .iter()
        .filter_map(|entry| entry.range.as_ref())
        .collect();
    let always = |wanted: Ordering| {
        ranges.windows(2).all(|pair| {
            let [(low, high), (next_low, next_high)] = [pair[0], pair[1]];
            [(low, next_low), (high, next_high)]
                .iter()
                .all(|(one, next)| {
                    compare(column, one, next)
                        .is_some_and(|order| order == Ordering::Equal || order == wanted)
                })
        })
    };
    if always(Ordering::Less) {
        BoundaryOrder::ASCENDING
    } else if always(Ordering::Greater) {
        BoundaryOrder::DESCENDING
    } else {
        BoundaryOrder::UNORDERED
    }
}
