//! The values of a column chunk, each once, by its dictionary: no value is decoded, and where the first pages point to all that
//! the dictionary has, the others are not even decompressed.

use bytes::Bytes;
use parquet::{basic::Compression, file::metadata::ColumnChunkMetaData};

use super::{
    Sound,
    codec::Coder,
    dictionary::{Values, fixed_width},
    hybrid::{Run, Runs, beyond, unpack},
    join::indices_of,
    levels::{Histograms, Parts},
    page::Pages,
    refused,
};

/// Calls `each` with every value that `chunk`, which lies in `content`, has in some row, in Parquet's plain form: of texts and
/// bytes without their length. Refused where a page does not point into a dictionary.
///
/// What a dictionary has and no row points to is no value: writers that are given a dictionary write all of it.
pub(crate) fn distinct_values(
    chunk: &ColumnChunkMetaData,
    content: &Bytes,
    most: u64,
    mut each: impl FnMut(&[u8]),
) -> Sound<()> {
    let pages = Pages::of(chunk, content)?;
    let column = chunk.column_descr();
    let dictionary = pages.dictionary.as_ref();
    let dictionary = dictionary.ok_or_else(|| refused("it has no dictionary"))?;
    for page in &pages.data {
        if !page.is_indices()? {
            return Err(refused("a page has its values by itself"));
        }
    }
    let mut coder = Coder::new(Compression::UNCOMPRESSED, most);
    let header = &dictionary.header;
    let bytes = coder.decompress(dictionary.codec, &dictionary.body, header.uncompressed)?;
    let fixed = fixed_width(column.physical_type(), column.type_length());
    let values = Values::new(bytes, header.values, fixed)?;
    let mut is_seen = vec![false; values.count()];
    let mut unseen = is_seen.len();
    let mut indices = Vec::new();
    for page in &pages.data {
        if unseen == 0 {
            break;
        }
        let count = usize::try_from(page.header.values).map_err(refused)?;
        let parts = Parts::of(page, column, &mut coder)?;
        let there = Histograms::of(&parts, column, count)?.values();
        let there = usize::try_from(there).map_err(refused)?;
        if there == 0 {
            continue;
        }
        let (width, packed) = indices_of(parts.values(), there)?;
        let mut see = |index: u32| -> Sound<()> {
            let is_seen = is_seen.get_mut(index as usize).ok_or_else(beyond)?;
            unseen -= usize::from(!std::mem::replace(is_seen, true));
            Ok(())
        };
        let mut runs = Runs::new(packed, width, there)?;
        while let Some(run) = runs.next()? {
            match run {
                Run::Repeated { value, .. } => see(value)?,
                Run::Packed { bytes, count } => {
                    indices.clear();
                    unpack(bytes, width, count, &mut indices);
                    indices.iter().try_for_each(|index| see(*index))?;
                }
            }
        }
    }
    let seen = values.iter().zip(&is_seen).filter(|(_, is_seen)| **is_seen);
    for (value, _) in seen {
        each(match fixed {
            Some(_) => value,
            None => value.get(4..).unwrap_or_default(),
        });
    }
    Ok(())
}
