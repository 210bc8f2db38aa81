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
