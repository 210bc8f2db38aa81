//! How many distinct values columns have: sketches made of the live rows of files, of which only the columns asked for are
//! read. Of files without deletes their dictionaries tell where they can (`dictionaries`); else values are decoded by the same
//! reader as a rewrite's, with the same deletes applied.

mod dictionaries;
mod sketch;
#[cfg(test)]
mod tests;
mod values;

use std::sync::Arc;

use iceberg::spec::{NestedFieldRef, Schema};
use icepress_catalog::metadata::Metadata;
use icepress_model::{Bytes, Group, InputFile, RewriteFailureKind, SchemaId};

pub use self::sketch::Sketch;
use self::{dictionaries::add_by_dictionaries, sketch::Growing, values::add_column};
use crate::{
    RewriteContext,
    deletes::input_source,
    failure::{Result, failure, over_memory, unsupported},
    group::{GroupReader, reading_of, schema_of},
    memory::Shares,
    project::Wanted,
    read::{Batches, Piece, Reading, Scan},
};

/// What is held of a column: the hashes that its sketch grows by, what it is cut to, and an earlier one to unite it with.
const SKETCH: u64 = 128 << 10;

/// See [`crate::sketch_columns`].
pub(crate) async fn sketch(
    context: &RewriteContext,
    metadata: &Metadata,
    schema_id: SchemaId,
    columns: &[i32],
    groups: &[Group],
    is_late: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Sketch>> {
    let schema = schema_of(metadata, schema_id)?;
    let held = columns.len() as u64 * SKETCH;
    let cap = context.memory_cap.get();
    if held > cap / 2 {
        return Err(over_memory(format!(
            "sketches of {} columns take {}, of a cap of {}: ask for fewer (icepress.statistics.ndv-columns), or give the \
             optimizer more memory",
            columns.len(),
            Bytes(held),
            context.memory_cap
        )));
    }
    let context = &RewriteContext {
        memory_cap: Bytes(cap - held),
        ..context.clone()
    };
    let mut sketching = Sketching {
        context,
        metadata,
        fields: fields_of(&schema, columns)?,
        schema: &schema,
        columns,
        sketches: columns
            .iter()
            .map(|_| Growing::new().map_err(unsupported))
            .collect::<Result<_>>()?,
        is_late,
    };
    for group in groups {
        let with = |is_asked: &dyn Fn(&InputFile) -> bool| Group {
            inputs: group
                .inputs
                .iter()
                .filter(|it| is_asked(it))
                .cloned()
                .collect(),
            ..group.clone()
        };
        let whole = with(&|input| input.deletes.is_empty());
        if !whole.inputs.is_empty() {
            sketching.add_whole_files(&whole).await?;
        }
        let others = with(&|input| !input.deletes.is_empty());
        if !others.inputs.is_empty() {
            sketching.add_live_rows(&others).await?;
        }
    }
    let sketches = sketching.sketches.into_iter();
    Ok(sketches.map(Growing::finish).collect())
}

/// The fields at the top that have these ids, in the ids' order.
fn fields_of(schema: &Schema, columns: &[i32]) -> Result<Vec<NestedFieldRef>> {
    let field = |id: &i32| {
        let mut fields = schema.as_struct().fields().iter();
        let found = fields.find(|field| field.id == *id).cloned();
        found
            .ok_or_else(|| unsupported(format!("the schema has no column at the top with id {id}")))
    };
    columns.iter().map(field).collect()
}

struct Sketching<'a> {
    context: &'a RewriteContext,
    metadata: &'a Metadata,
    schema: &'a Schema,
    columns: &'a [i32],
    fields: Vec<NestedFieldRef>,
    sketches: Vec<Growing>,
    is_late: &'a (dyn Fn() -> bool + Sync),
}

impl Sketching<'_> {
    /// Adds all rows of the inputs.
    async fn add_whole_files(&mut self, group: &Group) -> Result<()> {
        let targets = self.fields.clone();
        let reading = reading_of(self.context, self.metadata, self.schema, group, targets)?;
        let sources = (0..group.inputs.len()).map(|input| input_source(group, input));
        let shares = Shares::of(self.context.memory_cap).after_deletes(0);
        let mut scan = Scan::new(Arc::clone(&reading), sources.collect(), shares);
        while let Some(piece) = scan.next().await? {
            self.check_time()?;
            let rest = self.add_by_dictionaries(&piece, shares.piece)?;
            if rest.is_empty() {
                tokio::task::yield_now().await;
                continue;
            }
            let piece = piece.only(&self.wanted(&reading, &rest))?;
            let mut batches = Batches::new(piece, shares.batch)?;
            while let Some(batch) = batches.next()? {
                self.check_time()?;
                scan.look_ahead()?;
                for (column, place) in batch.columns.iter().zip(&rest) {
                    add_column(&mut self.sketches[*place], column)?;
                }
                // Lets what has arrived from storage be taken in.
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Adds what dictionaries tell; returns the columns of which they don't tell all.
    fn add_by_dictionaries(&mut self, piece: &Piece, most: u64) -> Result<Vec<usize>> {
        let mut rest = Vec::new();
        for (place, field) in self.fields.iter().enumerate() {
            let sketch = &mut self.sketches[place];
            if !add_by_dictionaries(sketch, piece, (place, field), most)? {
                rest.push(place);
            }
        }
        Ok(rest)
    }

    fn wanted(&self, reading: &Reading, places: &[usize]) -> Wanted {
        let Wanted {
            known,
            must_explain,
            constants,
            ..
        } = &reading.wanted;
        Wanted {
            known: Arc::clone(known),
            must_explain: *must_explain,
            targets: places
                .iter()
                .map(|place| Arc::clone(&self.fields[*place]))
                .collect(),
            constants: constants.clone(),
        }
    }

    /// Adds those rows of the inputs that no delete hides.
    async fn add_live_rows(&mut self, group: &Group) -> Result<()> {
        let Self {
            context,
            metadata,
            schema,
            columns,
            ..
        } = *self;
        let mut reader =
            GroupReader::open_columns(context, metadata, schema, group, Some(columns)).await?;
        let places = reader.places(columns)?;
        while let Some(live) = reader.next().await? {
            self.check_time()?;
            for (sketch, place) in self.sketches.iter_mut().zip(&places) {
                add_column(sketch, &live.columns[*place])?;
            }
        }
        Ok(())
    }

    fn check_time(&self) -> Result<()> {
        if !(self.is_late)() {
            return Ok(());
        }
        Err(failure(
            RewriteFailureKind::OverTime,
            "counting distinct values takes longer than it may: ask for fewer columns (icepress.statistics.ndv-columns), or run \
             `icepress maintain` where no time limit holds"
                .to_owned(),
        ))
    }
}
