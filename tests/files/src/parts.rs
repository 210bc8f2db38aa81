//! A Parquet file taken apart, to be changed and put together again (format: parquet.thrift of parquet-format 2.12).

use anyhow::{Context as _, Result, ensure};

use crate::thrift::{Struct, Value};

const MAGIC: &[u8; 4] = b"PAR1";
/// The footer's length and the magic behind it.
const TAIL: usize = 8;

/// Numbers of `Encoding`.
pub mod encoding {
    /// Values one after another.
    pub const PLAIN: i32 = 0;
    /// What old writers call a dictionary and what points into it.
    pub const PLAIN_DICTIONARY: i32 = 2;
    /// Runs, and numbers of few bits.
    pub const RLE: i32 = 3;
    /// What parquet-mr says of levels that need no bit.
    pub const BIT_PACKED: i32 = 4;
    /// What points into a dictionary.
    pub const RLE_DICTIONARY: i32 = 8;
}

/// Field ids, by struct.
mod id {
    pub(super) const FILE_ROW_GROUPS: i16 = 4;
    pub(super) const FILE_CREATED_BY: i16 = 6;
    pub(super) const GROUP_COLUMNS: i16 = 1;
    pub(super) const GROUP_FILE_OFFSET: i16 = 5;
    pub(super) const GROUP_COMPRESSED: i16 = 6;
    pub(super) const CHUNK_FILE_OFFSET: i16 = 2;
    pub(super) const CHUNK_META: i16 = 3;
    pub(super) const CHUNK_OFFSET_INDEX: i16 = 4;
    pub(super) const CHUNK_OFFSET_INDEX_LENGTH: i16 = 5;
    pub(super) const CHUNK_COLUMN_INDEX: i16 = 6;
    pub(super) const CHUNK_COLUMN_INDEX_LENGTH: i16 = 7;
    pub(super) const META_ENCODINGS: i16 = 2;
    pub(super) const META_UNCOMPRESSED: i16 = 6;
    pub(super) const META_COMPRESSED: i16 = 7;
    pub(super) const META_DATA_PAGE: i16 = 9;
    pub(super) const META_DICTIONARY_PAGE: i16 = 11;
    pub(super) const META_ENCODING_STATS: i16 = 13;
    pub(super) const META_BLOOM_OFFSET: i16 = 14;
    pub(super) const META_BLOOM_LENGTH: i16 = 15;
    pub(super) const PAGE_TYPE: i16 = 1;
    pub(super) const PAGE_UNCOMPRESSED: i16 = 2;
    pub(super) const PAGE_COMPRESSED: i16 = 3;
    pub(super) const PAGE_CRC: i16 = 4;
    pub(super) const PAGE_V1: i16 = 5;
    pub(super) const PAGE_DICTIONARY: i16 = 7;
    pub(super) const PAGE_V2: i16 = 8;
}

/// A whole file.
#[derive(Debug, Clone)]
pub struct ParquetParts {
    /// `FileMetaData`; offsets and sizes in it are set when the file is put together.
    pub footer: Struct,
    /// The chunks of each row group.
    pub row_groups: Vec<Vec<Chunk>>,
}

/// A column chunk.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Its pages, the dictionary's first.
    pub pages: Vec<Page>,
    /// `OffsetIndex`, whose offsets are set when the file is put together: a place for each data page.
    pub offset_index: Option<Struct>,
    /// `ColumnIndex`.
    pub column_index: Option<Struct>,
    /// The bloom filter, header and all.
    pub bloom_filter: Option<Vec<u8>>,
}

/// A page.
#[derive(Debug, Clone)]
pub struct Page {
    /// `PageHeader`.
    pub header: Struct,
    /// What follows it, compressed as the chunk is.
    pub body: Vec<u8>,
}

/// What a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PageKind {
    /// Levels and values, compressed together.
    DataV1,
    /// Values, and levels that are not compressed.
    DataV2,
    /// A dictionary.
    Dictionary,
    /// Anything else.
    Other,
}

impl Page {
    /// What the page is.
    pub fn kind(&self) -> PageKind {
        match self.header.int(id::PAGE_TYPE) {
            Some(0) => PageKind::DataV1,
            Some(2) => PageKind::Dictionary,
            Some(3) => PageKind::DataV2,
            _ => PageKind::Other,
        }
    }

    fn own(&self) -> Option<(&Struct, i16)> {
        let (child, encoding) = match self.kind() {
            PageKind::DataV1 => (id::PAGE_V1, 2),
            PageKind::DataV2 => (id::PAGE_V2, 4),
            PageKind::Dictionary => (id::PAGE_DICTIONARY, 2),
            PageKind::Other => return None,
        };
        Some((self.header.child(child)?, encoding))
    }

    /// The header's own part: that of a data page or of a dictionary.
    pub fn own_mut(&mut self) -> Option<&mut Struct> {
        let child = match self.kind() {
            PageKind::DataV1 => id::PAGE_V1,
            PageKind::DataV2 => id::PAGE_V2,
            PageKind::Dictionary => id::PAGE_DICTIONARY,
            PageKind::Other => return None,
        };
        self.header.child_mut(child)
    }

    /// How its values are encoded ([`encoding`]).
    pub fn encoding(&self) -> Option<i32> {
        let (own, encoding) = self.own()?;
        own.int(encoding)?.try_into().ok()
    }

    /// Says another encoding, whatever lies in it.
    pub fn set_encoding(&mut self, encoding: i32) {
        let field = if self.kind() == PageKind::DataV2 {
            4
        } else {
            2
        };
        if let Some(own) = self.own_mut() {
            own.set(field, Value::I32(encoding));
        }
    }

    /// How many values it has, those that are NULL too.
    pub fn values(&self) -> u64 {
        let values = self.own().and_then(|(own, _)| own.int(1));
        values.unwrap_or(0).unsigned_abs()
    }

    /// Bytes of its body once decompressed.
    pub fn uncompressed(&self) -> u64 {
        self.header
            .int(id::PAGE_UNCOMPRESSED)
            .unwrap_or(0)
            .unsigned_abs()
    }

    /// Whether it has a checksum.
    pub fn has_checksum(&self) -> bool {
        self.header.get(id::PAGE_CRC).is_some()
    }

    /// Gives it a checksum, the right one.
    pub fn add_checksum(&mut self) {
        let sum = crc32fast::hash(&self.body);
        self.header.set(id::PAGE_CRC, Value::I32(sum as i32));
    }

    fn is_data(&self) -> bool {
        matches!(self.kind(), PageKind::DataV1 | PageKind::DataV2)
    }
}

impl Chunk {
    /// The pages that hold rows.
    pub fn data_pages(&self) -> impl Iterator<Item = &Page> {
        self.pages.iter().filter(|page| page.is_data())
    }

    /// The dictionary's page.
    pub fn dictionary(&self) -> Option<&Page> {
        let first = self.pages.first()?;
        (first.kind() == PageKind::Dictionary).then_some(first)
    }

    /// Takes column and offset index away.
    pub fn drop_indexes(&mut self) {
        self.offset_index = None;
        self.column_index = None;
    }
}

impl ParquetParts {
    /// Takes a file apart.
    pub fn of(file: &[u8]) -> Result<Self> {
        let tail = file.len().checked_sub(TAIL).context("it is too short")?;
        ensure!(&file[tail + 4..] == MAGIC, "it is no Parquet file");
        let length = u32::from_le_bytes(file[tail..tail + 4].try_into()?) as usize;
        let start = tail.checked_sub(length).context("the footer's length")?;
        let (footer, _) = Struct::read(&file[start..tail])?;
        let groups = footer.list(id::FILE_ROW_GROUPS).iter();
        let row_groups = groups
            .map(|group| {
                let columns = structure(group)?.list(id::GROUP_COLUMNS).iter();
                columns
                    .map(|chunk| Chunk::of(file, structure(chunk)?))
                    .collect()
            })
            .collect::<Result<_>>()?;
        Ok(Self { footer, row_groups })
    }

    /// The entry of a chunk in the footer, `ColumnMetaData`.
    pub fn meta_mut(&mut self, group: usize, column: usize) -> Result<&mut Struct> {
        let chunk = chunk_mut(&mut self.footer, group, column)?;
        chunk.child_mut(id::CHUNK_META).context("a chunk's entry")
    }

    /// Says who wrote it.
    pub fn set_created_by(&mut self, name: &str) {
        self.footer
            .set(id::FILE_CREATED_BY, Value::Binary(name.as_bytes().to_vec()));
    }

    /// Sets which encodings the footer says that a chunk has, and takes away what it says of its pages.
    pub fn set_encodings(&mut self, group: usize, column: usize, encodings: &[i32]) -> Result<()> {
        let meta = self.meta_mut(group, column)?;
        meta.set(id::META_ENCODINGS, Value::i32s(encodings.iter().copied()));
        meta.remove(id::META_ENCODING_STATS);
        Ok(())
    }

    /// The chunks' entries in the footer, each with the chunk.
    pub(crate) fn each_chunk(
        &mut self,
        mut act: impl FnMut(&mut Struct, &mut Chunk) -> Result<()>,
    ) -> Result<()> {
        for (group, chunks) in self.row_groups.iter_mut().enumerate() {
            for (column, chunk) in chunks.iter_mut().enumerate() {
                let entry = chunk_mut(&mut self.footer, group, column)?;
                let meta = entry.child_mut(id::CHUNK_META).context("a chunk's entry")?;
                act(meta, chunk)?;
            }
        }
        Ok(())
    }

    /// The file: what was changed in it stands as it was set, offsets and sizes follow from what is there.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut out = MAGIC.to_vec();
        let mut footer = self.footer.clone();
        let mut places = Vec::new();
        for (group, chunks) in self.row_groups.iter().enumerate() {
            let begun = out.len();
            for (column, chunk) in chunks.iter().enumerate() {
                let entry = chunk_mut(&mut footer, group, column)?;
                places.push(chunk.write(entry, &mut out)?);
            }
            let compressed = (out.len() - begun) as i64;
            let entry = group_mut(&mut footer, group)?;
            entry.set(id::GROUP_FILE_OFFSET, Value::I64(begun as i64));
            entry.set(id::GROUP_COMPRESSED, Value::I64(compressed));
        }
        let mut places = places.into_iter();
        for (group, chunks) in self.row_groups.iter().enumerate() {
            for (column, chunk) in chunks.iter().enumerate() {
                let places = places.next().context("a place for each chunk")?;
                let entry = chunk_mut(&mut footer, group, column)?;
                chunk.write_indexes(entry, &places, &mut out)?;
            }
        }
        let footer = footer.to_bytes();
        out.extend_from_slice(&footer);
        out.extend_from_slice(&u32::try_from(footer.len())?.to_le_bytes());
        out.extend_from_slice(MAGIC);
        Ok(out)
    }
}

impl Chunk {
    fn of(file: &[u8], entry: &Struct) -> Result<Self> {
        let meta = entry.child(id::CHUNK_META).context("a chunk's entry")?;
        let offset = |of: &Struct, id| of.int(id).and_then(|offset| usize::try_from(offset).ok());
        let data = offset(meta, id::META_DATA_PAGE).context("where its data is")?;
        let dictionary = offset(meta, id::META_DICTIONARY_PAGE).filter(|offset| *offset > 0);
        let mut at = dictionary.map_or(data, |dictionary| dictionary.min(data));
        let length = offset(meta, id::META_COMPRESSED).context("how large it is")?;
        let end = at + length;
        let mut pages = Vec::new();
        while at < end {
            let (header, taken) = Struct::read(file.get(at..end).context("it ends early")?)?;
            let size = header.int(id::PAGE_COMPRESSED).context("a page's size")?;
            let body = at + taken..at + taken + usize::try_from(size)?;
            at = body.end;
            let body = file.get(body).context("a page ends early")?.to_vec();
            pages.push(Page { header, body });
        }
        let index = |from: i16| -> Result<Option<Struct>> {
            let Some(at) = offset(entry, from) else {
                return Ok(None);
            };
            Ok(Some(Struct::read(&file[at..])?.0))
        };
        let bloom_filter = match offset(meta, id::META_BLOOM_OFFSET) {
            None => None,
            Some(at) => {
                let (header, taken) = Struct::read(&file[at..])?;
                let bytes = usize::try_from(header.int(1).context("a filter's size")?)?;
                Some(file[at..at + taken + bytes].to_vec())
            }
        };
        Ok(Self {
            pages,
            offset_index: index(id::CHUNK_OFFSET_INDEX)?,
            column_index: index(id::CHUNK_COLUMN_INDEX)?,
            bloom_filter,
        })
    }

    /// Writes the pages; returns where each data page lies, and how long it is.
    fn write(&self, entry: &mut Struct, out: &mut Vec<u8>) -> Result<Vec<(u64, u64)>> {
        let begun = out.len();
        let mut uncompressed = 0;
        let mut places = Vec::new();
        for page in &self.pages {
            let at = out.len();
            let mut header = page.header.clone();
            let size = i32::try_from(page.body.len())?;
            header.set(id::PAGE_COMPRESSED, Value::I32(size));
            let header = header.to_bytes();
            uncompressed += header.len() as u64 + page.uncompressed();
            out.extend_from_slice(&header);
            out.extend_from_slice(&page.body);
            if page.is_data() {
                places.push((at as u64, (out.len() - at) as u64));
            }
        }
        let meta = entry.child_mut(id::CHUNK_META).context("a chunk's entry")?;
        let number = |number: u64| Value::I64(number as i64);
        let data = places.first().map_or(begun as u64, |(at, _)| *at);
        meta.set(id::META_UNCOMPRESSED, number(uncompressed));
        meta.set(id::META_COMPRESSED, number((out.len() - begun) as u64));
        meta.set(id::META_DATA_PAGE, number(data));
        match self.dictionary() {
            Some(_) => meta.set(id::META_DICTIONARY_PAGE, number(begun as u64)),
            None => drop(meta.remove(id::META_DICTIONARY_PAGE)),
        }
        if entry
            .get(id::CHUNK_FILE_OFFSET)
            .is_some_and(|offset| *offset != Value::I64(0))
        {
            entry.set(id::CHUNK_FILE_OFFSET, number(begun as u64));
        }
        Ok(places)
    }

    fn write_indexes(
        &self,
        entry: &mut Struct,
        places: &[(u64, u64)],
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let mut offset_index = self.offset_index.clone();
        if let Some(index) = &mut offset_index {
            let known = index.list_mut(1).context("an offset index's places")?;
            ensure!(
                known.len() == places.len(),
                "an offset index of other pages"
            );
            for (known, (at, length)) in known.iter_mut().zip(places) {
                let Value::Struct(known) = known else {
                    anyhow::bail!("a place is no struct");
                };
                known.set(1, Value::I64(*at as i64));
                known.set(2, Value::I32(i32::try_from(*length)?));
            }
        }
        let indexes = [
            (
                &self.column_index,
                id::CHUNK_COLUMN_INDEX,
                id::CHUNK_COLUMN_INDEX_LENGTH,
            ),
            (
                &offset_index,
                id::CHUNK_OFFSET_INDEX,
                id::CHUNK_OFFSET_INDEX_LENGTH,
            ),
        ];
        for (index, offset, length) in indexes {
            let Some(index) = index else {
                entry.remove(offset);
                entry.remove(length);
                continue;
            };
            let bytes = index.to_bytes();
            entry.set(offset, Value::I64(out.len() as i64));
            entry.set(length, Value::I32(i32::try_from(bytes.len())?));
            out.extend_from_slice(&bytes);
        }
        let meta = entry.child_mut(id::CHUNK_META).context("a chunk's entry")?;
        match &self.bloom_filter {
            Some(filter) => {
                meta.set(id::META_BLOOM_OFFSET, Value::I64(out.len() as i64));
                meta.set(
                    id::META_BLOOM_LENGTH,
                    Value::I32(i32::try_from(filter.len())?),
                );
                out.extend_from_slice(filter);
            }
            None => {
                meta.remove(id::META_BLOOM_OFFSET);
                meta.remove(id::META_BLOOM_LENGTH);
            }
        }
        Ok(())
    }
}

fn structure(value: &Value) -> Result<&Struct> {
    match value {
        Value::Struct(value) => Ok(value),
        _ => anyhow::bail!("an element is no struct"),
    }
}

fn group_mut(footer: &mut Struct, group: usize) -> Result<&mut Struct> {
    element_mut(footer, id::FILE_ROW_GROUPS, group)
}

fn chunk_mut(footer: &mut Struct, group: usize, column: usize) -> Result<&mut Struct> {
    element_mut(group_mut(footer, group)?, id::GROUP_COLUMNS, column)
}

fn element_mut(of: &mut Struct, list: i16, index: usize) -> Result<&mut Struct> {
    match of.list_mut(list).and_then(|list| list.get_mut(index)) {
        Some(Value::Struct(element)) => Ok(element),
        _ => anyhow::bail!("field {list} has no element {index}"),
    }
}
