//! What a footer keeps of the statistics of a row group: enough to prune by, never a value of any length.
//!
//! The Parquet writer hands over the true smallest and greatest values, from which the bounds of the manifest are made
//! (`bounds`); in the footer they would be repeated for each row group, however long they are.

use parquet::{
    basic::LogicalType,
    column::writer::ColumnCloseResult,
    data_type::{ByteArray, FixedLenByteArray},
    errors::Result,
    file::{
        metadata::ColumnChunkMetaData,
        page_index::column_index::ColumnIndexMetaData,
        statistics::{Statistics, ValueStatistics},
    },
};

use super::bounds::{round_up_bytes, round_up_text};

/// Bytes of a value in the footer at most, as the column index has it too.
const MOST: usize = 64;

/// Bytes of a greatest value that nothing short is greater than, at most: up to this it stays whole. Iceberg's own reading
/// of a footer passes over row groups that have no statistics and answers from the others (`ParquetMetrics`), so a missing
/// maximum makes a wrong one. Beyond it parquet-mr leaves statistics out as well.
const MOST_WHOLE: usize = 4096;

/// Cuts down what a finished column chunk says of its values.
pub(super) fn shorten(chunk: &mut ColumnCloseResult) -> Result<()> {
    if let Some(statistics) = shortened(&chunk.metadata) {
        let builder = chunk.metadata.clone().into_builder();
        chunk.metadata = builder.set_statistics(statistics).build()?;
    }
    // The column index is cut to the same length by the writer, but for values that nothing short is greater than.
    if chunk.column_index.as_ref().is_some_and(has_long_values) {
        chunk.column_index = None;
    }
    Ok(())
}

/// The statistics of a chunk with values of `MOST` bytes; `None` where they are no longer than that.
fn shortened(chunk: &ColumnChunkMetaData) -> Option<Statistics> {
    let whole = chunk.statistics()?;
    let (low, high) = (whole.min_bytes_opt()?, whole.max_bytes_opt()?);
    if low.len() <= MOST && high.len() <= MOST {
        return None;
    }
    let is_text = matches!(
        chunk.column_descr().logical_type_ref(),
        Some(LogicalType::String)
    );
    let texts = std::str::from_utf8(low)
        .ok()
        .zip(std::str::from_utf8(high).ok());
    let (lower, upper) = match texts.filter(|_| is_text) {
        Some((low, high)) => short_texts(low, high),
        None => (
            low[..low.len().min(MOST)].to_vec(),
            round_up_bytes(high, MOST),
        ),
    };
    let upper = upper.or_else(|| (high.len() <= MOST_WHOLE).then(|| high.to_vec()));
    let exact = (
        lower.as_slice() == low && whole.min_is_exact(),
        upper.as_deref() == Some(high) && whole.max_is_exact(),
    );
    Some(match whole {
        Statistics::FixedLenByteArray(_) => {
            let fixed = |bytes: Vec<u8>| FixedLenByteArray::from(bytes);
            with_values(whole, fixed(lower), upper.map(fixed), exact).into()
        }
        _ => with_values(
            whole,
            ByteArray::from(lower),
            upper.map(ByteArray::from),
            exact,
        )
        .into(),
    })
}

fn short_texts(low: &str, high: &str) -> (Vec<u8>, Option<Vec<u8>>) {
    if high.len() <= MOST {
        let lower = &low[..low.floor_char_boundary(MOST)];
        return (lower.as_bytes().to_vec(), Some(high.as_bytes().to_vec()));
    }
    // The code point that is rounded up may take a byte more than before.
    let characters = high[..high.floor_char_boundary(MOST - 1)].chars().count();
    let upper = round_up_text(high, characters);
    (
        low.as_bytes()[..low.floor_char_boundary(MOST)].to_vec(),
        upper.map(String::into_bytes),
    )
}

fn with_values<T>(
    whole: &Statistics,
    lower: T,
    upper: Option<T>,
    (low_is_exact, high_is_exact): (bool, bool),
) -> ValueStatistics<T> {
    let (distinct, nulls) = (whole.distinct_count_opt(), whole.null_count_opt());
    ValueStatistics::new(Some(lower), upper, distinct, nulls, false)
        .with_min_is_exact(low_is_exact)
        .with_max_is_exact(high_is_exact)
}

fn has_long_values(index: &ColumnIndexMetaData) -> bool {
    match index {
        ColumnIndexMetaData::BYTE_ARRAY(index)
        | ColumnIndexMetaData::FIXED_LEN_BYTE_ARRAY(index) => {
            let mut values = index
                .min_values_iter()
                .chain(index.max_values_iter())
                .flatten();
            values.any(|value| value.len() > MOST)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
