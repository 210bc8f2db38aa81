//! Rows that are too old, as deleted rows by position: of the inputs the one column is read that says so.

use std::sync::Arc;

use arrow_array::{
    Array as _, ArrayRef,
    cast::AsArray as _,
    types::{Date32Type, Int64Type, TimestampMicrosecondType, TimestampNanosecondType},
};
use arrow_schema::{DataType, TimeUnit};
use icepress_model::OldRows;

use super::{
    DeleteContext,
    equality::{input_source, unread_column},
    position::DeletedPositions,
};
use crate::{
    failure::{Result, unsupported},
    project::Wanted,
    read::{Batches, Reading, Scan},
};

/// Marks the rows of all inputs that the group is to be without.
pub(crate) async fn find_old(
    context: &DeleteContext<'_>,
    data: &Arc<Reading>,
    positions: &mut DeletedPositions,
) -> Result<()> {
    let Some(old) = context.group.without else {
        return Ok(());
    };
    let fields = context.current.fields();
    let place = fields.iter().position(|field| field.id == old.column);
    let place = place.ok_or_else(|| {
        unsupported(format!(
            "the table has no column with id {} at the top of its schema",
            old.column
        ))
    })?;
    let targets = data.wanted.targets.iter().enumerate();
    let targets = targets.map(|(index, target)| match index == place {
        true => Arc::clone(target),
        false => unread_column(),
    });
    let reading = Reading {
        storage: Arc::clone(&data.storage),
        wanted: Wanted {
            known: Arc::clone(&data.wanted.known),
            must_explain: data.wanted.must_explain,
            targets: targets.collect(),
            constants: data.wanted.constants.clone(),
        },
    };
    let inputs = context.group.inputs.len();
    let sources = (0..inputs)
        .map(|input| input_source(context.group, input))
        .collect();
    let mut scan = Scan::new(Arc::new(reading), sources, context.shares);
    while let Some(piece) = scan.next().await? {
        let input = piece.file;
        let mut batches = Batches::new(piece, context.shares.batch)?;
        while let Some(batch) = batches.next()? {
            for row in old_rows(&batch.columns[place], old)? {
                positions.mark(input, batch.first_row + row as u64);
            }
            scan.look_ahead()?;
            tokio::task::yield_now().await;
        }
        positions.check(&context.shares)?;
    }
    Ok(())
}

/// The places of the values that are old.
fn old_rows(values: &ArrayRef, old: OldRows) -> Result<Vec<usize>> {
    let at = |value: &dyn Fn(usize) -> i64| {
        let rows = 0..values.len();
        rows.filter(|row| values.is_valid(*row) && value(*row) <= old.up_to)
            .collect()
    };
    Ok(match values.data_type() {
        DataType::Date32 => {
            let days = values.as_primitive::<Date32Type>();
            at(&|row| i64::from(days.value(row)))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = values.as_primitive::<TimestampMicrosecondType>();
            at(&|row| micros.value(row))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let nanos = values.as_primitive::<TimestampNanosecondType>();
            at(&|row| nanos.value(row))
        }
        DataType::Int64 => {
            let numbers = values.as_primitive::<Int64Type>();
            at(&|row| numbers.value(row))
        }
        other => {
            return Err(unsupported(format!(
                "rows are told to be old by a column of type {other}: it must be a date, a timestamp or a long"
            )));
        }
    })
}
