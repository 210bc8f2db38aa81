//! The pages of a column chunk as they lie in a file, and the headers of new ones.

use bytes::Bytes;
use icepress_table::footer::{PageHeader, PageLayout, page_header};
use parquet::{
    basic::{Compression, Encoding},
    file::metadata::ColumnChunkMetaData,
};

use super::{Sound, levels::Histograms, refused};

/// Values of a page at most. A run of some bytes may claim any number of them.
const MOST_VALUES: u64 = 1 << 24;

/// A page in memory.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) header: PageHeader,
    /// How what is in it is compressed, if it is.
    pub(super) codec: Compression,
    /// The header's own bytes.
    pub(super) head: Bytes,
    /// What follows it.
    pub(super) body: Bytes,
}

/// The pages of a column chunk.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) dictionary: Option<Page>,
    /// Those with values, in order.
    pub(super) data: Vec<Page>,
    /// Data pages in all. The column index has an entry for each of them, empty or not.
    pub(super) data_pages: usize,
}

impl Pages {
    /// The pages of `chunk`, which lies in `content`: each with its checksum, where it has one, and together as many values
    /// as the footer says.
    pub(super) fn of(chunk: &ColumnChunkMetaData, content: &Bytes) -> Sound<Self> {
        let mut pages = Self {
            dictionary: None,
            data: Vec::new(),
            data_pages: 0,
        };
        let (mut at, mut values) = (0, 0u64);
        let all = chunk.num_values().unsigned_abs();
        // What follows the last value is no page: old writers had the length wrong.
        while at < content.len() && values < all {
            let (header, head) = page_header(&content[at..]).map_err(refused)?;
            let start = at + head;
            let end = usize::try_from(header.compressed)
                .ok()
                .and_then(|length| start.checked_add(length))
                .filter(|end| *end <= content.len())
                .ok_or_else(|| refused("a page reaches over its column's end"))?;
            let page = Page {
                header,
                codec: chunk.compression(),
                head: content.slice(at..start),
                body: content.slice(start..end),
            };
            at = end;
            if !header.matches(&page.body) {
                return Err(refused("the checksum of a page is wrong"));
            }
            match header.layout {
                PageLayout::Dictionary { .. } => {
                    let is_first = pages.dictionary.is_none() && pages.data_pages == 0;
                    if !is_first {
                        return Err(refused("a dictionary comes late"));
                    }
                    pages.dictionary = Some(page);
                }
                PageLayout::Data { .. } | PageLayout::DataV2 { .. } => {
                    pages.data_pages += 1;
                    if header.values > MOST_VALUES {
                        return Err(refused(
                            "a page of more values than any writer puts into one",
                        ));
                    }
                    values += header.values;
                    if header.values > 0 {
                        pages.data.push(page);
                    }
                }
                PageLayout::Other => return Err(refused("a page of a kind of its own")),
            }
        }
        if values != all {
            return Err(refused(format_args!(
                "its pages have {values} values where its footer says {all}"
            )));
        }
        Ok(pages)
    }
}

impl Pages {
    /// What the pages say of NULLs, where all of them do.
    pub(super) fn nulls(&self) -> Option<u64> {
        let of_page = |page: &Page| match page.header.layout {
            PageLayout::DataV2 { nulls, .. } => Some(nulls),
            _ => None,
        };
        self.data.iter().map(of_page).sum()
    }
}

/// An encoding by its number in parquet.thrift.
pub(super) fn encoding_of(number: u64) -> Sound<Encoding> {
    #[expect(deprecated, reason = "old files have pages with such levels")]
    let bit_packed = Encoding::BIT_PACKED;
    Ok(match number {
        0 => Encoding::PLAIN,
        2 => Encoding::PLAIN_DICTIONARY,
        3 => Encoding::RLE,
        4 => bit_packed,
        5 => Encoding::DELTA_BINARY_PACKED,
        6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        7 => Encoding::DELTA_BYTE_ARRAY,
        8 => Encoding::RLE_DICTIONARY,
        9 => Encoding::BYTE_STREAM_SPLIT,
        other => return Err(refused(format_args!("the encoding {other}"))),
    })
}

/// Numbers of encodings in parquet.thrift.
pub(super) const PLAIN: u64 = 0;
pub(super) const RLE: u64 = 3;
pub(super) const RLE_DICTIONARY: u64 = 8;

impl Page {
    /// How its values are encoded.
    pub(super) fn encoding(&self) -> Sound<Encoding> {
        match self.header.layout {
            PageLayout::Dictionary { encoding }
            | PageLayout::Data { encoding, .. }
            | PageLayout::DataV2 { encoding, .. } => encoding_of(encoding),
            PageLayout::Other => Err(refused("a page of a kind of its own")),
        }
    }

    /// Whether it points into a dictionary.
    pub(super) fn is_indices(&self) -> Sound<bool> {
        Ok(matches!(
            self.encoding()?,
            Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY
        ))
    }

    /// What pages are made like that are this one without some of its rows: `levels` are the bytes of repetition levels and of
    /// all levels.
    pub(super) fn with_entries(
        &self,
        left: &Histograms,
        (repetition, levels): (usize, usize),
    ) -> Self {
        let mut like = self.clone();
        like.header.values = left.entries();
        if let PageLayout::DataV2 {
            nulls,
            rows,
            definition_bytes,
            repetition_bytes,
            ..
        } = &mut like.header.layout
        {
            *nulls = left.entries() - left.values();
            *rows = left.rows();
            *definition_bytes = (levels - repetition) as u64;
            *repetition_bytes = repetition as u64;
        }
        like
    }

    /// A new page. `uncompressed` are the bytes of `body` before it was compressed as `codec`; both have to do with what the
    /// layout says of levels.
    pub(super) fn new(
        layout: PageLayout,
        codec: Compression,
        values: u64,
        uncompressed: u64,
        body: Bytes,
    ) -> Self {
        let header = PageHeader {
            is_dictionary: matches!(layout, PageLayout::Dictionary { .. }),
            compressed: body.len() as u64,
            uncompressed,
            values,
            checksum: Some(crc32fast::hash(&body)),
            layout,
        };
        Self {
            head: encoded(&header),
            header,
            codec,
            body,
        }
    }

    /// The same with a checksum.
    pub(super) fn checked(self) -> Self {
        match self.header.checksum {
            Some(_) => self,
            None => Self::new(
                self.header.layout,
                self.codec,
                self.header.values,
                self.header.uncompressed,
                self.body,
            ),
        }
    }
}

/// A header in Thrift's compact protocol.
fn encoded(header: &PageHeader) -> Bytes {
    let mut out = Struct::default();
    let (page_type, field) = match header.layout {
        PageLayout::Data { .. } | PageLayout::Other => (0, 5),
        PageLayout::Dictionary { .. } => (2, 7),
        PageLayout::DataV2 { .. } => (3, 8),
    };
    out.number(1, page_type);
    out.number(2, header.uncompressed as i64);
    out.number(3, header.compressed as i64);
    if let Some(checksum) = header.checksum {
        out.number(4, (checksum as i32).into());
    }
    let mut inner = Struct::default();
    inner.number(1, header.values as i64);
    match header.layout {
        PageLayout::Data {
            encoding,
            definition,
            repetition,
        } => {
            inner.number(2, encoding as i64);
            inner.number(3, definition as i64);
            inner.number(4, repetition as i64);
        }
        PageLayout::DataV2 {
            encoding,
            nulls,
            rows,
            definition_bytes,
            repetition_bytes,
            is_compressed,
        } => {
            inner.number(2, nulls as i64);
            inner.number(3, rows as i64);
            inner.number(4, encoding as i64);
            inner.number(5, definition_bytes as i64);
            inner.number(6, repetition_bytes as i64);
            inner.field(7, if is_compressed { 1 } else { 2 });
        }
        PageLayout::Dictionary { encoding } => inner.number(2, encoding as i64),
        PageLayout::Other => {}
    }
    out.field(field, 12);
    out.bytes.extend(inner.end());
    Bytes::from(out.end())
}

/// A struct being written. All fields have numbers near one another.
#[derive(Debug, Default)]
struct Struct {
    bytes: Vec<u8>,
    last: u8,
}

impl Struct {
    fn field(&mut self, id: u8, kind: u8) {
        self.bytes.push((id - self.last) << 4 | kind);
        self.last = id;
    }

    fn number(&mut self, id: u8, number: i64) {
        self.field(id, 5);
        let mut number = ((number << 1) ^ (number >> 63)) as u64;
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}
