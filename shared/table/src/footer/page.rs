//! The header of a page: what of it tells how much memory the page takes.

use super::thrift::{Cursor, Malformed, corrupt, kind};

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
    const DICTIONARY_PAGE: u64 = 2;
    let mut cursor = Cursor::new(bytes);
    let mut page_type = None;
    let (mut uncompressed, mut compressed, mut values, mut checksum) = (None, None, 0, None);
    let mut last = 0;
    while let Some((id, field_type)) = cursor.field(last)? {
        last = id;
        match (id, field_type) {
            (1, kind::I32) => page_type = Some(cursor.count()?),
            (2, kind::I32) => uncompressed = Some(cursor.count()?),
            (3, kind::I32) => compressed = Some(cursor.count()?),
            (4, kind::I32) => checksum = Some(cursor.signed()? as u32),
            // The headers of data pages, dictionaries and data pages of version 2 begin with the number of values.
            (5 | 7 | 8, kind::STRUCT) => values = values_of(&mut cursor)?,
            _ => cursor.pass_over(field_type)?,
        }
    }
    match (page_type, uncompressed, compressed) {
        (Some(page_type), Some(uncompressed), Some(compressed)) => Ok((
            PageHeader {
                is_dictionary: page_type == DICTIONARY_PAGE,
                compressed,
                uncompressed,
                values,
                checksum,
            },
            cursor.at,
        )),
        _ => Err(corrupt("a page does not say how large it is")),
    }
}

fn values_of(cursor: &mut Cursor<'_>) -> Result<u64, Malformed> {
    let (mut values, mut last) = (0, 0);
    while let Some((id, field_type)) = cursor.field(last)? {
        last = id;
        match (id, field_type) {
            (1, kind::I32) => values = cursor.count()?,
            _ => cursor.pass_over(field_type)?,
        }
    }
    Ok(values)
}
