//! Values of a column as the specification serializes each alone (*Binary single-value serialization*), which is what
//! sketches hash.

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray,
    cast::AsArray,
    types::{
        Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
        Time64MicrosecondType, TimestampMicrosecondType, TimestampNanosecondType,
    },
};
use arrow_schema::{DataType, TimeUnit};

use super::sketch::Growing;
use crate::failure::{Result, unsupported};

/// Adds the values of a column that are there. The column is of the table's type for it.
pub(super) fn add_column(sketch: &mut Growing, column: &ArrayRef) -> Result<()> {
    macro_rules! numbers {
        ($type:ty) => {
            add_numbers(sketch, column.as_primitive::<$type>(), |sketch, value| {
                sketch.add(&value.to_le_bytes());
            })
        };
    }
    match column.data_type() {
        DataType::Boolean => {
            for value in column.as_boolean().iter().flatten() {
                sketch.add(&[u8::from(value)]);
            }
        }
        DataType::Int32 => numbers!(Int32Type),
        DataType::Int64 => numbers!(Int64Type),
        DataType::Float32 => numbers!(Float32Type),
        DataType::Float64 => numbers!(Float64Type),
        DataType::Date32 => numbers!(Date32Type),
        DataType::Time64(TimeUnit::Microsecond) => numbers!(Time64MicrosecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => numbers!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => numbers!(TimestampNanosecondType),
        DataType::Decimal128(..) => {
            let decimals = column.as_primitive::<Decimal128Type>();
            add_numbers(sketch, decimals, |sketch, value| {
                sketch.add(unscaled(&value.to_be_bytes()));
            });
        }
        DataType::Utf8View => {
            let texts = column.as_string_view().iter().flatten();
            add_bytes(sketch, texts.map(str::as_bytes));
        }
        DataType::BinaryView => add_bytes(sketch, column.as_binary_view().iter().flatten()),
        DataType::FixedSizeBinary(_) => {
            add_bytes(sketch, column.as_fixed_size_binary().iter().flatten());
        }
        other => {
            return Err(unsupported(format!(
                "distinct values of type {other} can't be counted"
            )));
        }
    }
    Ok(())
}

/// Adds numbers; one that repeats the one before it is not hashed again.
fn add_numbers<T: ArrowPrimitiveType>(
    sketch: &mut Growing,
    numbers: &PrimitiveArray<T>,
    add: impl Fn(&mut Growing, T::Native),
) where
    T::Native: Bits,
{
    let mut last = None;
    for value in numbers.iter().flatten() {
        // By their bits: 0 and -0 are two values.
        if last != Some(value.bits()) {
            add(sketch, value);
            last = Some(value.bits());
        }
    }
}

fn add_bytes<'a>(sketch: &mut Growing, values: impl Iterator<Item = &'a [u8]>) {
    let mut last: Option<&[u8]> = None;
    for value in values {
        if last != Some(value) {
            sketch.add(value);
            last = Some(value);
        }
    }
}

/// The least bytes that hold a number in two's complement, the greatest byte first: what Java's `BigInteger` gives.
pub(super) fn unscaled(bytes: &[u8]) -> &[u8] {
    let is_spare = |pair: &[u8]| match pair {
        [0, next] => *next < 0x80,
        [0xff, next] => *next >= 0x80,
        _ => false,
    };
    let spare = bytes.windows(2).take_while(|pair| is_spare(pair)).count();
    &bytes[spare..]
}

/// The bits of a number, which tell it from all others.
trait Bits: Copy {
    fn bits(self) -> i128;
}

macro_rules! bits {
    ($($type:ty => $bits:expr),+) => {$(
        impl Bits for $type {
            fn bits(self) -> i128 {
                let bits: fn($type) -> i128 = $bits;
                bits(self)
            }
        }
    )+};
}

bits!(
    i32 => i128::from,
    i64 => i128::from,
    i128 => |number| number,
    f32 => |number| number.to_bits().into(),
    f64 => |number| number.to_bits().into()
);
