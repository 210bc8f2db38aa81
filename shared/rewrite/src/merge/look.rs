//! Values looked at, where nothing that is said of them is believed: their smallest and greatest, and how many are NaN.

use std::{borrow::Cow, cmp::Ordering};

use parquet::{basic::Type, schema::types::ColumnDescriptor};

use super::{
    Sound,
    dictionary::{Values, fixed_width},
    hybrid::beyond,
    refused,
    statistics::compare,
};

/// What was seen of a page's values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Smallest and greatest, in Parquet's plain form without lengths; none where there is no value that is a number. A zero
    /// among floating-point numbers has the sign that keeps the other zero inside.
    pub(super) range: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) nans: u64,
}

/// The rank of what has none.
const NAN: u32 = u32::MAX;

/// The values of a dictionary in their order.
#[derive(Debug)]
pub(super) struct Ranks {
    /// Of each value; NaN has none.
    of: Vec<u32>,
    /// The value of each rank.
    values: Vec<u32>,
}

impl Ranks {
    pub(super) fn new(column: &ColumnDescriptor, dictionary: &Values<'_>) -> Self {
        let value = |index: u32| bare(column, dictionary.get(index as usize).unwrap_or_default());
        let mut values: Vec<u32> = (0..dictionary.count() as u32)
            .filter(|index| !is_nan(column, value(*index)))
            .collect();
        values.sort_unstable_by(|left, right| {
            compare(column, value(*left), value(*right)).unwrap_or(Ordering::Equal)
        });
        let mut of = vec![NAN; dictionary.count()];
        for (rank, index) in values.iter().enumerate() {
            of[*index as usize] = rank as u32;
        }
        Self { of, values }
    }
}

/// Looks at values by what points to them.
pub(super) fn look_at_indices(
    column: &ColumnDescriptor,
    dictionary: &Values<'_>,
    ranks: &Ranks,
    indices: &[u32],
) -> Sound<Seen> {
    let (mut low, mut high, mut nans) = (NAN, 0, 0);
    for index in indices {
        let rank = *ranks.of.get(*index as usize).ok_or_else(beyond)?;
        if rank == NAN {
            nans += 1;
        } else {
            low = low.min(rank);
            high = high.max(rank);
        }
    }
    if low == NAN {
        return Ok(Seen { range: None, nans });
    }
    let value = |rank: u32| {
        let index = ranks.values.get(rank as usize).ok_or_else(beyond)?;
        let value = dictionary.get(*index as usize).ok_or_else(beyond)?;
        Ok(bare(column, value).to_vec())
    };
    Ok(Seen {
        range: Some(safe(column, value(low)?, value(high)?)),
        nans,
    })
}

/// Looks at `present` plain values.
pub(super) fn look_at_plain(
    column: &ColumnDescriptor,
    values: &[u8],
    present: usize,
) -> Sound<Seen> {
    if present == 0 {
        return Ok(Seen::default());
    }
    macro_rules! numbers {
        ($number:ty, $width:literal) => {{
            let values = whole(values, present, $width)?;
            let (numbers, _) = values.as_chunks::<$width>();
            let of = |bytes: &[u8; $width]| <$number>::from_le_bytes(*bytes);
            let low = numbers.iter().map(of).min();
            let high = numbers.iter().map(of).max();
            let range = low.zip(high);
            Seen {
                range: range
                    .map(|(low, high)| (low.to_le_bytes().to_vec(), high.to_le_bytes().to_vec())),
                nans: 0,
            }
        }};
    }
    macro_rules! floats {
        ($number:ty, $width:literal) => {{
            let values = whole(values, present, $width)?;
            let (mut low, mut high, mut nans) = (<$number>::INFINITY, <$number>::NEG_INFINITY, 0);
            for bytes in values.as_chunks::<$width>().0 {
                let number = <$number>::from_le_bytes(*bytes);
                nans += u64::from(number.is_nan());
                // What is no number is passed over by both.
                low = low.min(number);
                high = high.max(number);
            }
            let range = (nans < present as u64).then(|| {
                let (low, high) = (low.to_le_bytes().to_vec(), high.to_le_bytes().to_vec());
                safe(column, low, high)
            });
            Seen { range, nans }
        }};
    }
    Ok(match column.physical_type() {
        Type::INT32 => numbers!(i32, 4),
        Type::INT64 => numbers!(i64, 8),
        Type::FLOAT => floats!(f32, 4),
        Type::DOUBLE => floats!(f64, 8),
        Type::BOOLEAN => {
            let bytes = values.get(..present.div_ceil(8)).ok_or_else(short)?;
            let is_set = |index: usize| bytes[index / 8] >> (index % 8) & 1 == 1;
            let any = |wanted: bool| (0..present).any(|index| is_set(index) == wanted);
            let range = (vec![u8::from(!any(false))], vec![u8::from(any(true))]);
            Seen {
                range: Some(range),
                nans: 0,
            }
        }
        physical @ (Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY) => {
            let width = fixed_width(physical, column.type_length());
            let values = Values::new(Cow::Borrowed(values), present as u64, width)?;
            let mut range: Option<(&[u8], &[u8])> = None;
            for value in values.iter() {
                let value = bare(column, value);
                let (low, high) = range.get_or_insert((value, value));
                if compare(column, value, low) == Some(Ordering::Less) {
                    *low = value;
                } else if compare(column, value, high) == Some(Ordering::Greater) {
                    *high = value;
                }
            }
            let range = range.map(|(low, high)| (low.to_vec(), high.to_vec()));
            Seen { range, nans: 0 }
        }
        Type::INT96 => return Err(refused("INT96")),
    })
}

fn whole(values: &[u8], present: usize, width: usize) -> Sound<&[u8]> {
    let length = present.checked_mul(width);
    length
        .and_then(|length| values.get(..length))
        .ok_or_else(short)
}

fn short() -> super::Refusal {
    refused("plain values don't fill their page")
}

/// A value without the length before it.
pub(super) fn bare<'a>(column: &ColumnDescriptor, plain: &'a [u8]) -> &'a [u8] {
    match column.physical_type() {
        Type::BYTE_ARRAY => plain.get(4..).unwrap_or_default(),
        _ => plain,
    }
}

fn is_nan(column: &ColumnDescriptor, value: &[u8]) -> bool {
    match column.physical_type() {
        Type::FLOAT => value
            .try_into()
            .is_ok_and(|bytes| f32::from_le_bytes(bytes).is_nan()),
        Type::DOUBLE => value
            .try_into()
            .is_ok_and(|bytes| f64::from_le_bytes(bytes).is_nan()),
        _ => false,
    }
}

/// A range with zeros that hold both zeros, as the format wants it of floating-point numbers.
fn safe(column: &ColumnDescriptor, mut low: Vec<u8>, mut high: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    if !matches!(column.physical_type(), Type::FLOAT | Type::DOUBLE) {
        return (low, high);
    }
    let is_zero = |value: &[u8]| {
        value
            .split_last()
            .is_some_and(|(last, rest)| last & 0x7F == 0 && rest.iter().all(|byte| *byte == 0))
    };
    if is_zero(&low)
        && let Some(last) = low.last_mut()
    {
        *last = 0x80;
    }
    if is_zero(&high)
        && let Some(last) = high.last_mut()
    {
        *last = 0;
    }
    (low, high)
}
