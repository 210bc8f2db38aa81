//! The column index of a chunk: what it says of each page, without the typed form that Parquet's own decoder makes of it
//! and for which it reserves what the bytes claim.

use super::thrift::{Cursor, Malformed, corrupt, kind};

/// What the column index says of a page. Smallest and greatest may be cut: they are bounds, and no values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageBounds<'a> {
    /// Smallest and greatest, in Parquet's plain form; `None` where the page has NULLs only.
    pub range: Option<(&'a [u8], &'a [u8])>,
    /// Its NULLs.
    pub nulls: u64,
}

/// The pages of the column index that `bytes` hold, in order. Fails where counts of NULLs are missing as well: nobody can
/// do without them.
pub fn page_bounds(bytes: &[u8]) -> Result<Vec<PageBounds<'_>>, Malformed> {
    let mut cursor = Cursor::new(bytes);
    let (mut null_pages, mut nulls) = (Vec::new(), Vec::new());
    let (mut low, mut high) = (Vec::new(), Vec::new());
    let mut last = 0;
    while let Some((id, field_type)) = cursor.field(last)? {
        last = id;
        match (id, field_type) {
            (1..=3 | 5, kind::LIST) => {
                let (size, element) = cursor.list_head()?;
                for _ in 0..size {
                    match (id, element) {
                        (1, kind::TRUE | kind::FALSE) => null_pages.push(cursor.listed_bool()?),
                        (2, kind::BINARY) => low.push(cursor.binary()?),
                        (3, kind::BINARY) => high.push(cursor.binary()?),
                        (5, kind::I64) => nulls.push(cursor.count()?),
                        _ => return Err(corrupt("a column index has a list of another type")),
                    }
                }
            }
            _ => cursor.pass_over(field_type)?,
        }
    }
    let pages = null_pages.len();
    if [low.len(), high.len(), nulls.len()] != [pages; 3] {
        return Err(corrupt("a column index has lists of different lengths"));
    }
    let ranges = low.into_iter().zip(high).zip(nulls).zip(null_pages);
    Ok(ranges
        .map(|((range, nulls), is_null)| PageBounds {
            range: (!is_null).then_some(range),
            nulls,
        })
        .collect())
}

/// Where one data page lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PagePlace {
    /// Where it begins in its file.
    pub offset: u64,
    /// Its bytes, header and all.
    pub size: u64,
    /// The first of its rows, in the row group.
    pub first_row: u64,
}

/// The pages of the offset index that `bytes` hold, in order.
pub fn page_places(bytes: &[u8]) -> Result<Vec<PagePlace>, Malformed> {
    let mut cursor = Cursor::new(bytes);
    let (mut places, mut last) = (Vec::new(), 0);
    while let Some((id, field_type)) = cursor.field(last)? {
        last = id;
        if (id, field_type) != (1, kind::LIST) {
            cursor.pass_over(field_type)?;
            continue;
        }
        let (size, element) = cursor.list_head()?;
        if element != kind::STRUCT {
            return Err(corrupt("an offset index has a list of another type"));
        }
        for _ in 0..size {
            places.push(place(&mut cursor)?);
        }
    }
    Ok(places)
}

fn place(cursor: &mut Cursor<'_>) -> Result<PagePlace, Malformed> {
    let (mut said, mut last) = ([None; 3], 0);
    while let Some((id, field_type)) = cursor.field(last)? {
        last = id;
        match (id, field_type) {
            (1 | 3, kind::I64) | (2, kind::I32) => {
                said[usize::from(id.unsigned_abs()) - 1] = Some(cursor.count()?);
            }
            _ => cursor.pass_over(field_type)?,
        }
    }
    match said {
        [Some(offset), Some(size), Some(first_row)] => Ok(PagePlace {
            offset,
            size,
            first_row,
        }),
        _ => Err(corrupt("an offset index lacks the place of a page")),
    }
}
