//! Bounds of a column from the statistics of its row groups: never ones that exclude a value, and under the metrics mode
//! `full` none that is not a value.
//!
//! Engines answer MIN and MAX from bounds that the mode leaves whole. So the Parquet writer is told to give the true
//! smallest and greatest values; where it does not, or where there is no telling which of two orders a reader goes by,
//! `full` has no bound. A row group with values and without statistics leaves the column without bounds.

use iceberg::spec::{Datum, PrimitiveType};
use parquet::file::{metadata::ColumnChunkMetaData, statistics::Statistics};

use icepress_table::MetricsMode;

/// What `full` takes of a value at most, in bytes: a manifest holds a bound for each file and column, and is held in
/// memory. Parquet's Java writer leaves longer ones out as well.
const MOST_OF_FULL: usize = 4096;

/// The bounds of one column over the row groups of a file.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    column: PrimitiveType,
    /// Smallest and greatest so far, in the specification's binary form.
    held: Option<(Vec<u8>, Vec<u8>)>,
    unknown: bool,
    /// Whether each of the two is a value, as far as Parquet says.
    exact: (bool, bool),
}

impl Bounds {
    /// None so far.
    pub(crate) fn new(column: PrimitiveType) -> Self {
        Self {
            column,
            held: None,
            unknown: false,
            exact: (true, true),
        }
    }

    /// Takes in a row group with `values` of the column that are neither NULL nor NaN.
    pub(crate) fn add(&mut self, statistics: Option<&Statistics>, values: u64) {
        if values == 0 {
            return;
        }
        let Some((low, high)) = statistics.and_then(|statistics| self.of_row_group(statistics))
        else {
            self.unknown = true;
            return;
        };
        if let Some(statistics) = statistics {
            self.exact.0 &= statistics.min_is_exact();
            self.exact.1 &= statistics.max_is_exact();
        }
        self.held = Some(match self.held.take() {
            None => (low, high),
            Some((lowest, highest)) => (
                if self.less(&low, &lowest) {
                    low
                } else {
                    lowest
                },
                if self.less(&highest, &high) {
                    high
                } else {
                    highest
                },
            ),
        });
    }

    /// Takes in a column chunk as its writer leaves it.
    pub(crate) fn add_chunk(&mut self, chunk: &ColumnChunkMetaData) {
        let statistics = chunk.statistics();
        // Without a count of NULLs all may be values: then a chunk without statistics has unknown bounds.
        let nulls = statistics.and_then(Statistics::null_count_opt).unwrap_or(0);
        self.add(
            statistics,
            chunk.num_values().unsigned_abs().saturating_sub(nulls),
        );
    }

    /// Lower and upper bound as a mode wants them; each is `None` where there is none that holds.
    pub(crate) fn finish(self, mode: MetricsMode) -> (Option<Datum>, Option<Datum>) {
        let held = match &self.held {
            Some((low, high)) if !self.unknown => (low.as_slice(), high.as_slice()),
            _ => return (None, None),
        };
        let (low, high) = match mode {
            MetricsMode::None | MetricsMode::Counts => (None, None),
            MetricsMode::Truncate(length) => self.truncated(held, length),
            MetricsMode::Full => self.whole(held),
        };
        let datum = |bytes: Option<Vec<u8>>| {
            bytes.and_then(|bytes| Datum::try_from_bytes(&bytes, self.column.clone()).ok())
        };
        (datum(low), datum(high))
    }

    /// The smallest and the greatest value themselves.
    fn whole(&self, (low, high): (&[u8], &[u8])) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        // Which UUIDs are smallest and greatest differs from reader to reader: see `uuid_bounds`.
        if self.column == PrimitiveType::Uuid {
            return (None, None);
        }
        let value = |bytes: &[u8], exact: bool| {
            (exact && bytes.len() <= MOST_OF_FULL).then(|| bytes.to_vec())
        };
        (value(low, self.exact.0), value(high, self.exact.1))
    }

    /// Bounds of at most `length` code points or bytes.
    fn truncated(
        &self,
        (low, high): (&[u8], &[u8]),
        length: usize,
    ) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        match self.column {
            PrimitiveType::String => (
                std::str::from_utf8(low)
                    .ok()
                    .map(|low| truncate_text(low, length).as_bytes().to_vec()),
                std::str::from_utf8(high)
                    .ok()
                    .and_then(|high| round_up_text(high, length))
                    .map(String::into_bytes),
            ),
            PrimitiveType::Binary | PrimitiveType::Fixed(_) => (
                Some(low[..low.len().min(length)].to_vec()),
                round_up_bytes(high, length),
            ),
            PrimitiveType::Uuid => uuid_bounds(low, high),
            _ => (Some(low.to_vec()), Some(high.to_vec())),
        }
    }

    /// The bounds that a row group's statistics give, in the specification's binary form.
    fn of_row_group(&self, statistics: &Statistics) -> Option<(Vec<u8>, Vec<u8>)> {
        let (low, high) = (statistics.min_bytes_opt()?, statistics.max_bytes_opt()?);
        match (&self.column, statistics) {
            (PrimitiveType::Decimal { .. }, Statistics::Int32(values)) => Some((
                i128::from(*values.min_opt()?).to_be_bytes().to_vec(),
                i128::from(*values.max_opt()?).to_be_bytes().to_vec(),
            )),
            (PrimitiveType::Decimal { .. }, Statistics::Int64(values)) => Some((
                i128::from(*values.min_opt()?).to_be_bytes().to_vec(),
                i128::from(*values.max_opt()?).to_be_bytes().to_vec(),
            )),
            (PrimitiveType::Decimal { .. }, Statistics::FixedLenByteArray(_)) => {
                Some((sign_extended(low)?, sign_extended(high)?))
            }
            // A bound that is not a number, or a zero whose sign is not on the safe side, would exclude values.
            (PrimitiveType::Float, Statistics::Float(values)) => {
                let (low, high) = (*values.min_opt()?, *values.max_opt()?);
                let low = if low == 0.0 { -0.0 } else { low };
                let high = if high == 0.0 { 0.0 } else { high };
                (!low.is_nan() && !high.is_nan())
                    .then(|| (low.to_le_bytes().to_vec(), high.to_le_bytes().to_vec()))
            }
            (PrimitiveType::Double, Statistics::Double(values)) => {
                let (low, high) = (*values.min_opt()?, *values.max_opt()?);
                let low = if low == 0.0 { -0.0 } else { low };
                let high = if high == 0.0 { 0.0 } else { high };
                (!low.is_nan() && !high.is_nan())
                    .then(|| (low.to_le_bytes().to_vec(), high.to_le_bytes().to_vec()))
            }
            _ => Some((low.to_vec(), high.to_vec())),
        }
    }

    fn less(&self, left: &[u8], right: &[u8]) -> bool {
        match self.column {
            PrimitiveType::Int | PrimitiveType::Date => int(left) < int(right),
            PrimitiveType::Long
            | PrimitiveType::Time
            | PrimitiveType::Timestamp
            | PrimitiveType::Timestamptz
            | PrimitiveType::TimestampNs
            | PrimitiveType::TimestamptzNs => long(left) < long(right),
            PrimitiveType::Float => {
                f32::from_bits(int(left) as u32).total_cmp(&f32::from_bits(int(right) as u32))
                    == std::cmp::Ordering::Less
            }
            PrimitiveType::Double => {
                f64::from_bits(long(left) as u64).total_cmp(&f64::from_bits(long(right) as u64))
                    == std::cmp::Ordering::Less
            }
            PrimitiveType::Decimal { .. } => decimal(left) < decimal(right),
            PrimitiveType::Boolean
            | PrimitiveType::String
            | PrimitiveType::Uuid
            | PrimitiveType::Fixed(_)
            | PrimitiveType::Binary => left < right,
        }
    }
}

fn int(bytes: &[u8]) -> i32 {
    i32::from_le_bytes(bytes.try_into().unwrap_or_default())
}

fn long(bytes: &[u8]) -> i64 {
    i64::from_le_bytes(bytes.try_into().unwrap_or_default())
}

fn decimal(bytes: &[u8]) -> i128 {
    i128::from_be_bytes(bytes.try_into().unwrap_or_default())
}

/// A big-endian number of up to 16 bytes as one of 16.
fn sign_extended(bytes: &[u8]) -> Option<Vec<u8>> {
    let fill = if bytes.first()? & 0x80 == 0 { 0 } else { 0xFF };
    let mut extended = vec![fill; 16usize.checked_sub(bytes.len())?];
    extended.extend_from_slice(bytes);
    Some(extended)
}

/// The first `length` code points.
fn truncate_text(text: &str, length: usize) -> &str {
    match text.char_indices().nth(length) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// The smallest text of at most `length` code points that is not less than `text`; `None` where there is none.
pub(super) fn round_up_text(text: &str, length: usize) -> Option<String> {
    let truncated = truncate_text(text, length);
    if truncated.len() == text.len() {
        return Some(text.to_owned());
    }
    let mut kept: Vec<char> = truncated.chars().collect();
    while let Some(last) = kept.pop() {
        let next = match last {
            // The code points between are halves of pairs, which no text has.
            '\u{D7FF}' => Some('\u{E000}'),
            last => char::from_u32(last as u32 + 1),
        };
        if let Some(next) = next {
            kept.push(next);
            return Some(kept.into_iter().collect());
        }
    }
    None
}

/// The smallest bytes, at most `length` of them, that are not less than `bytes`; `None` where there are none.
pub(super) fn round_up_bytes(bytes: &[u8], length: usize) -> Option<Vec<u8>> {
    if bytes.len() <= length {
        return Some(bytes.to_vec());
    }
    let mut kept = bytes[..length].to_vec();
    while let Some(last) = kept.pop() {
        if last < u8::MAX {
            kept.push(last + 1);
            return Some(kept);
        }
    }
    None
}

/// Bounds of UUIDs that hold for readers that compare them as bytes and for those that compare two signed numbers, as
/// Java does: the upper half is widened by one, so that the lower half never decides. `None` where the two orders
/// differ.
fn uuid_bounds(low: &[u8], high: &[u8]) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let upper_half = |bytes: &[u8]| Some(i64::from_be_bytes(*bytes.first_chunk::<8>()?));
    let (Some(low), Some(high)) = (upper_half(low), upper_half(high)) else {
        return (None, None);
    };
    if (low < 0) != (high < 0) {
        return (None, None);
    }
    let same_sign = |widened: Option<i64>| {
        widened
            .filter(|widened| (*widened < 0) == (low < 0))
            .map(|widened| [widened.to_be_bytes(), [0; 8]].concat())
    };
    (
        same_sign(low.checked_sub(1)),
        same_sign(high.checked_add(1)),
    )
}

#[cfg(test)]
mod tests;
