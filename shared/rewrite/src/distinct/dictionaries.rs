//! Values by the dictionaries of files, where a column has them as the table does: then no row is decoded.

use iceberg::spec::{NestedField, PrimitiveType, Type};
use parquet::basic::Type as Physical;

use super::{sketch::Growing, values::unscaled};
use crate::{
    failure::{Result, guarded},
    merge::distinct_values,
    read::{OpenFile, Piece},
};

/// Adds the values that the column `field`, the target number `place` of the piece's file, has in the piece; whether that could
/// be done. Where not, some may have been added all the same: they are there.
pub(super) fn add_by_dictionaries(
    sketch: &mut Growing,
    piece: &Piece,
    (place, field): (usize, &NestedField),
    most: u64,
) -> Result<bool> {
    let opened = &piece.opened;
    let (true, Some(leaf)) = (opened.projection.is_plain(place), leaf_of(opened, field)) else {
        return Ok(false);
    };
    let is_decimal = matches!(
        field.field_type.as_ref(),
        Type::Primitive(PrimitiveType::Decimal { .. })
    );
    for row_group in &piece.row_groups {
        let chunk = opened.metadata().row_group(*row_group).column(leaf);
        let physical = chunk.column_type();
        let content = guarded(&opened.path, || {
            let (start, length) = chunk.byte_range();
            let content = piece.bytes.from(start).ok();
            let length = usize::try_from(length).ok();
            Ok(content.zip(length).and_then(|(content, length)| {
                (length <= content.len()).then(|| content.slice(..length))
            }))
        })?;
        let Some(content) = content else {
            return Ok(false);
        };
        let told = guarded(&opened.path, || {
            Ok(distinct_values(
                chunk,
                &content,
                most,
                |value| match is_decimal {
                    true => add_decimal(sketch, physical, value),
                    false => sketch.add(value),
                },
            ))
        })?;
        if let Err(why) = told {
            tracing::trace!(path = %opened.path, column = %field.name, %why, "values are decoded");
            return Ok(false);
        }
    }
    Ok(true)
}

/// The file's leaf at the top that says by its field id that it is this column, and that has dictionaries at all.
fn leaf_of(opened: &OpenFile, field: &NestedField) -> Option<usize> {
    let schema = opened.metadata().file_metadata().schema_descr();
    let mut leaves = opened.projection.leaves.iter().copied();
    let leaf = leaves.find(|leaf| {
        let column = schema.column(*leaf);
        let info = column.self_type().get_basic_info();
        column.path().parts().len() == 1 && info.has_id() && info.id() == field.id
    })?;
    let column = schema.column(leaf);
    let is_fit = !matches!(column.physical_type(), Physical::INT96 | Physical::BOOLEAN);
    (is_fit && column.max_rep_level() == 0).then_some(leaf)
}

/// Adds a decimal: numbers have the smallest byte first, bytes the greatest.
fn add_decimal(sketch: &mut Growing, physical: Physical, value: &[u8]) {
    match physical {
        Physical::INT32 | Physical::INT64 => {
            let mut bytes = value.to_vec();
            bytes.reverse();
            sketch.add(unscaled(&bytes));
        }
        _ => sketch.add(unscaled(value)),
    }
}
