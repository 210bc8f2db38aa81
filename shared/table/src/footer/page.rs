//! The header of a page: how much memory the page takes, and how its levels and values are laid out.

use super::thrift::{Cursor, Malformed, corrupt, kind};

/// Page types of parquet.thrift.
const DATA_PAGE: u64 = 0;
const DICTIONARY_PAGE: u64 = 2;
const DATA_PAGE_V2: u64 = 3;

/// What a page says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHeader {
    /// Whether it is a dictionary.
    pub is_dictionary: bool,
    /// Its bytes in the file, behind the header.
    pub compressed: u64,
    /// Its bytes once decompressed.
    pub uncompressed: u64,
    /// Its values, NULLs among them.
    pub values: u64,
    /// The CRC32 of its bytes in the file, where its writer left one.
    pub checksum: Option<u32>,
    /// How what is in it is laid out.
    pub layout: PageLayout,
}

/// How the levels and values of a page are laid out, encodings by their numbers in parquet.thrift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageLayout {
    /// Values that data pages point to.
    Dictionary {
        /// How they are encoded.
        encoding: u64,
    },
    /// Levels and values, compressed together.
    Data {
        /// How the values are encoded.
        encoding: u64,
        /// How the definition levels are.
        definition: u64,
        /// How the repetition levels are.
        repetition: u64,
    },
    /// Levels outside of what is compressed.
    DataV2 {
        /// How the values are encoded.
        encoding: u64,
        /// Entries without a value.
        nulls: u64,
        /// Rows that begin in the page.
        rows: u64,
        /// Bytes of the definition levels.
        definition_bytes: u64,
        /// Bytes of the repetition levels, which come first.
        repetition_bytes: u64,
        /// Whether the values are compressed.
        is_compressed: bool,
    },
    /// An index, or something that nobody has defined yet.
    Other,
}

impl PageHeader {
    /// Whether `page`, the bytes behind the header, are those that were written, as far as can be told.
    pub fn matches(&self, page: &[u8]) -> bool {
        let is_sound = |checksum| crc32fast::hash(page) == checksum;
        self.checksum.is_none_or(is_sound)
    }
}

/// The header at the beginning of `bytes`, and its length. Never recurses, and reserves nothing.
pub fn page_header(bytes: &[u8]) -> Result<(PageHeader, usize), Malformed> {
    let mut cursor = Cursor::new(bytes);
    let mut page_type = None;
    let (mut uncompressed, mut compressed, mut checksum) = (None, None, None);
    let mut inner = Inner::default();
    let mut last = 0;
    while let Some((id, field_type)) = cursor.field(last)? {
        last = id;
        match (id, field_type) {
            (1, kind::I32) => page_type = Some(cursor.count()?),
            (2, kind::I32) => uncompressed = Some(cursor.count()?),
            (3, kind::I32) => compressed = Some(cursor.count()?),
            (4, kind::I32) => checksum = Some(cursor.signed()? as u32),
            // The headers of data pages, dictionaries and data pages of version 2 begin with the number of values.
            (5 | 7 | 8, kind::STRUCT) => inner = Inner::read(&mut cursor)?,
            _ => cursor.pass_over(field_type)?,
        }
    }
    match (page_type, uncompressed, compressed) {
        (Some(page_type), Some(uncompressed), Some(compressed)) => Ok((
            PageHeader {
                is_dictionary: page_type == DICTIONARY_PAGE,
                compressed,
                uncompressed,
                values: inner.numbers[0],
                checksum,
                layout: inner.layout(page_type),
            },
            cursor.at,
        )),
        _ => Err(corrupt("a page does not say how large it is")),
    }
}

/// What the headers of data pages, dictionaries and data pages of version 2 have, by the fields' places.
#[derive(Debug, Default)]
struct Inner {
    /// Fields 1 to 6 where they are numbers, else 0.
    numbers: [u64; 6],
    /// Field 7 where it is there.
    flag: Option<bool>,
}

impl Inner {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let (mut inner, mut last) = (Self::default(), 0);
        while let Some((id, field_type)) = cursor.field(last)? {
            last = id;
            match (id, field_type) {
                (1..=6, kind::I32) => inner.numbers[id as usize - 1] = cursor.count()?,
                (7, kind::TRUE | kind::FALSE) => inner.flag = Some(field_type == kind::TRUE),
                _ => cursor.pass_over(field_type)?,
            }
        }
        Ok(inner)
    }

    fn layout(&self, page_type: u64) -> PageLayout {
        let [_, second, third, fourth, fifth, sixth] = self.numbers;
        match page_type {
            DATA_PAGE => PageLayout::Data {
                encoding: second,
                definition: third,
                repetition: fourth,
            },
            DICTIONARY_PAGE => PageLayout::Dictionary { encoding: second },
            DATA_PAGE_V2 => PageLayout::DataV2 {
                nulls: second,
                rows: third,
                encoding: fourth,
                definition_bytes: fifth,
                repetition_bytes: sixth,
                is_compressed: self.flag.unwrap_or(true),
            },
            _ => PageLayout::Other,
        }
    }
}
