//! Values of one Arrow type as another: what a file holds, as the table's current type.
//!
//! Only what loses nothing is allowed: Iceberg's own promotions (specification, *Schema Evolution*), and the shapes
//! that writers other than Iceberg's give the same values. Everything else is refused with both types named.

use arrow_array::{Array, ArrayRef, Decimal128Array, cast::AsArray, types::Decimal128Type};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use std::sync::Arc;

/// How a leaf of a file becomes a leaf of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LeafConversion {
    /// As it is.
    Keep,
    /// By a cast that fails where a value does not fit.
    Cast(DataType),
    /// The same numbers under another type's name (a 64-bit number as a timestamp, a zone added or taken away).
    Relabel(DataType),
    /// A decimal of more digits than the column has: fits only if each value does.
    Decimal(u8, i8),
    /// To a coarser unit of time. A value that would lose its last digits fails.
    Coarsen(DataType),
    /// A column that holds nothing but NULL.
    Null(DataType),
}

/// How values of `from` become values of `to`; `None` where that might change them.
pub(crate) fn leaf_conversion(from: &DataType, to: &DataType) -> Option<LeafConversion> {
    use DataType::{
        Binary, BinaryView, Date32, Decimal32, Decimal64, Decimal128, Float16, Float32, Float64,
        Int8, Int16, Int32, Int64, Null, Time32, Time64, Timestamp, UInt8, UInt16, UInt32, UInt64,
        Utf8, Utf8View,
    };
    if from == to {
        return Some(LeafConversion::Keep);
    }
    let cast = || Some(LeafConversion::Cast(to.clone()));
    let relabel = || Some(LeafConversion::Relabel(to.clone()));
    match (from, to) {
        (Null, _) => Some(LeafConversion::Null(to.clone())),
        (Int8 | Int16 | UInt8 | UInt16 | UInt32, Int32) => cast(),
        (Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32 | UInt64, Int64) => cast(),
        (Float16, Float32 | Float64) | (Float32, Float64) => cast(),
        (Int32, Date32) | (Int64, Time64(TimeUnit::Microsecond)) => relabel(),
        (Int64, Timestamp(TimeUnit::Microsecond, _)) => relabel(),
        (Time32(_), Time64(TimeUnit::Microsecond)) => cast(),
        (Time64(TimeUnit::Nanosecond), Time64(TimeUnit::Microsecond)) => {
            Some(LeafConversion::Coarsen(to.clone()))
        }
        (Timestamp(held, _), Timestamp(wanted, _)) if held == wanted => relabel(),
        (Timestamp(TimeUnit::Nanosecond, _), Timestamp(TimeUnit::Microsecond, _)) => {
            Some(LeafConversion::Coarsen(to.clone()))
        }
        (Timestamp(..), Timestamp(..)) => cast(),
        // Format version 3 promotes dates to timestamps without a zone.
        (Date32, Timestamp(_, None)) => cast(),
        (Decimal32(_, held) | Decimal64(_, held), Decimal128(_, wanted)) if held == wanted => {
            cast()
        }
        (Decimal128(digits, held), Decimal128(most, wanted)) if held == wanted => {
            if digits <= most {
                relabel()
            } else {
                Some(LeafConversion::Decimal(*most, *wanted))
            }
        }
        (Binary | BinaryView | Utf8, Utf8View) | (Utf8 | Utf8View | Binary, BinaryView) => cast(),
        _ => None,
    }
}

impl LeafConversion {
    /// Converts a column.
    pub(crate) fn apply(&self, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::Keep => Ok(Arc::clone(array)),
            Self::Cast(to) => checked_cast(array, to),
            Self::Relabel(to) => {
                let relabelled = array
                    .to_data()
                    .into_builder()
                    .data_type(to.clone())
                    .build()?;
                Ok(arrow_array::make_array(relabelled))
            }
            Self::Decimal(precision, scale) => {
                let decimals: &Decimal128Array = array.as_primitive::<Decimal128Type>();
                decimals.validate_decimal_precision(*precision)?;
                let narrowed = decimals
                    .clone()
                    .with_precision_and_scale(*precision, *scale)?;
                Ok(Arc::new(narrowed))
            }
            Self::Coarsen(to) => {
                let coarse = checked_cast(array, to)?;
                let back = checked_cast(&coarse, array.data_type())?;
                if back.to_data() != array.to_data() {
                    return Err(ArrowError::CastError(format!(
                        "it holds {} whose last digits {to} has no room for",
                        array.data_type()
                    )));
                }
                Ok(coarse)
            }
            Self::Null(to) => Ok(arrow_array::new_null_array(to, array.len())),
        }
    }
}

/// A cast in which a value that does not fit is an error, not a NULL.
fn checked_cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(array, to, &options)
}
