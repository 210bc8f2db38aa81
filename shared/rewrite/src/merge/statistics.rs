//! Statistics of several chunks as those of one, and the order that a column's values have.

use std::cmp::Ordering;

use parquet::{
    basic::{SortOrder, Type},
    data_type::{ByteArray, FixedLenByteArray},
    file::statistics::{Statistics, ValueStatistics},
    schema::types::ColumnDescriptor,
};

use super::{Sound, refused};

/// How two values in Parquet's plain form, without lengths, compare; `None` where they don't.
pub(super) fn compare(column: &ColumnDescriptor, left: &[u8], right: &[u8]) -> Option<Ordering> {
    fn number<const W: usize>(bytes: &[u8]) -> Option<[u8; W]> {
        bytes.try_into().ok()
    }
    match column.physical_type() {
        Type::BOOLEAN => Some(left.cmp(right)),
        Type::INT32 => {
            let of = |bytes| number(bytes).map(i32::from_le_bytes);
            Some(of(left)?.cmp(&of(right)?))
        }
        Type::INT64 => {
            let of = |bytes| number(bytes).map(i64::from_le_bytes);
            Some(of(left)?.cmp(&of(right)?))
        }
        Type::FLOAT => {
            let of = |bytes| number(bytes).map(f32::from_le_bytes);
            of(left)?.partial_cmp(&of(right)?)
        }
        Type::DOUBLE => {
            let of = |bytes| number(bytes).map(f64::from_le_bytes);
            of(left)?.partial_cmp(&of(right)?)
        }
        Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY => match column.sort_order() {
            SortOrder::UNSIGNED => Some(left.cmp(right)),
            SortOrder::SIGNED if left.len() == right.len() => {
                let sign = |bytes: &[u8]| bytes.first().is_some_and(|byte| byte & 0x80 != 0);
                // Numbers of one length, in two's complement: of one sign they compare as bytes do.
                Some(sign(right).cmp(&sign(left)).then_with(|| left.cmp(right)))
            }
            _ => None,
        },
        Type::INT96 => None,
    }
}

/// Smallest and greatest of a column's values, as far as they were seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Range {
    ends: Option<(Vec<u8>, Vec<u8>)>,
    is_exact: (bool, bool),
}

impl Range {
    /// Takes in a range of values.
    pub(super) fn add(
        &mut self,
        column: &ColumnDescriptor,
        (low, high): (&[u8], &[u8]),
        exact: (bool, bool),
    ) -> Sound<()> {
        let incomparable = || refused("its bounds can't be compared");
        let Some((lowest, highest)) = &mut self.ends else {
            compare(column, low, high).ok_or_else(incomparable)?;
            self.ends = Some((low.to_vec(), high.to_vec()));
            self.is_exact = exact;
            return Ok(());
        };
        match compare(column, low, lowest).ok_or_else(incomparable)? {
            Ordering::Less => (*lowest, self.is_exact.0) = (low.to_vec(), exact.0),
            Ordering::Equal => self.is_exact.0 |= exact.0,
            Ordering::Greater => {}
        }
        match compare(column, high, highest).ok_or_else(incomparable)? {
            Ordering::Greater => (*highest, self.is_exact.1) = (high.to_vec(), exact.1),
            Ordering::Equal => self.is_exact.1 |= exact.1,
            Ordering::Less => {}
        }
        Ok(())
    }

    /// As the statistics of a chunk with `nulls` NULLs.
    pub(super) fn statistics(self, column: &ColumnDescriptor, nulls: u64) -> Sound<Statistics> {
        let (exact, nulls) = (self.is_exact, Some(nulls));
        let (low, high) = self.ends.unzip();
        macro_rules! of {
            ($read:expr) => {{
                let read = $read;
                let (low, high) = (low.map(&read).transpose()?, high.map(&read).transpose()?);
                ValueStatistics::new(low, high, None, nulls, false)
                    .with_min_is_exact(exact.0)
                    .with_max_is_exact(exact.1)
                    .into()
            }};
        }
        macro_rules! number {
            ($number:ty) => {
                of!(|bytes: Vec<u8>| {
                    let bytes = bytes.try_into();
                    bytes
                        .map(<$number>::from_le_bytes)
                        .map_err(|_| refused("a bound of another length than its values"))
                })
            };
        }
        Ok(match column.physical_type() {
            Type::BOOLEAN => of!(|bytes: Vec<u8>| Ok(bytes.first() == Some(&1))),
            Type::INT32 => number!(i32),
            Type::INT64 => number!(i64),
            Type::FLOAT => number!(f32),
            Type::DOUBLE => number!(f64),
            Type::BYTE_ARRAY => of!(|bytes: Vec<u8>| Ok(ByteArray::from(bytes))),
            Type::FIXED_LEN_BYTE_ARRAY => {
                of!(|bytes: Vec<u8>| Ok(FixedLenByteArray::from(bytes)))
            }
            Type::INT96 => return Err(refused("INT96")),
        })
    }
}
