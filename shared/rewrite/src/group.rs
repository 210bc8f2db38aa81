//! One group through the engine: its deletes, then its inputs in order, batch by batch.
//!
//! The rewrite and the hash of rows read in exactly the same way; only what they do with the rows differs.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray};
use arrow_select::filter::FilterBuilder;
use iceberg::spec::{
    NestedFieldRef, PartitionSpec, Schema, SchemaRef, Struct, StructType, TableMetadata, Type,
};
use icepress_catalog::metadata::Metadata;
use icepress_model::{Bytes, Group, Rows, SchemaId};
use icepress_table::{partition_from_json, partition_path, partition_type};

use crate::{
    RewriteContext,
    constants::partition_constants,
    deletes::{DeleteContext, DeletedPositions, EqualityDeletes, find_old, input_source},
    failure::{Result, corrupt, unsupported},
    lineage::{lineage, lineage_fields},
    memory::Shares,
    project::{KnownColumns, Wanted},
    read::{Batch, Batches, Reading, Scan},
    write::WriterRoom,
};

/// Rows of one batch that are left once deletes are applied.
#[derive(Debug)]
pub(crate) struct LiveRows {
    /// The table's columns; behind them, from format version 3 on, row id and sequence number of each row.
    pub(crate) columns: Vec<ArrayRef>,
    /// How many rows.
    pub(crate) rows: usize,
    /// Input bytes still to be read after this batch, about.
    pub(crate) left: u64,
    /// What memory has for whoever writes them.
    pub(crate) room: WriterRoom,
}

/// What was read of a group.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct GroupCounts {
    pub(crate) rows_in: u64,
    pub(crate) rows_deleted: u64,
    pub(crate) row_groups: u64,
    /// How often equality delete files were read again because their keys did not fit.
    pub(crate) passes: u64,
}

/// A group whose deletes are loaded, ready to be read.
pub(crate) struct GroupReader<'a> {
    context: &'a RewriteContext,
    group: &'a Group,
    shares: Shares,
    /// Those of the columns read that are asked for. Behind them come those that are keys only, then those of lineage.
    fields: StructType,
    /// How many columns are row lineage.
    lineage: usize,
    positions: DeletedPositions,
    equality: EqualityDeletes,
    scan: Scan,
    batches: Option<Batches>,
    counts: GroupCounts,
    /// Rows read of each input.
    rows_of: Vec<u64>,
    bytes_done: u64,
    /// Bytes of the largest dictionary so far.
    dictionary: u64,
}

/// The schema with an id.
pub(crate) fn schema_of(metadata: &Metadata, id: SchemaId) -> Result<SchemaRef> {
    metadata
        .schema_by_id(id.get())
        .cloned()
        .ok_or_else(|| unsupported(format!("the table has no schema with id {id}")))
}

/// The partition of a group.
pub(crate) struct Partition<'a> {
    pub(crate) spec: &'a PartitionSpec,
    /// The types of its values, a field for each of the spec's.
    pub(crate) types: StructType,
    pub(crate) values: Struct,
}

impl<'a> Partition<'a> {
    pub(crate) fn of(metadata: &'a TableMetadata, group: &Group) -> Result<Self> {
        let spec = metadata
            .partition_spec_by_id(group.spec_id.get())
            .ok_or_else(|| {
                unsupported(format!(
                    "the table has no partition spec with id {}",
                    group.spec_id
                ))
            })?;
        let types = partition_type(metadata, group.spec_id).map_err(unsupported)?;
        let values = partition_from_json(&group.partition, &types).map_err(unsupported)?;
        Ok(Self {
            spec,
            types,
            values,
        })
    }

    /// The folder of its files, below the table's data: `key=value/…`.
    pub(crate) fn folder(&self) -> String {
        partition_path(self.spec, &self.types, &self.values)
    }
}

/// How a group's data files are read as columns of `targets`, fields of `schema` and keys beside them.
pub(crate) fn reading_of(
    context: &RewriteContext,
    metadata: &TableMetadata,
    schema: &Schema,
    group: &Group,
    targets: Vec<NestedFieldRef>,
) -> Result<Arc<Reading>> {
    let partition = Partition::of(metadata, group)?;
    let fields = partition.types.fields().iter();
    let types: Vec<Type> = fields.map(|field| Type::clone(&field.field_type)).collect();
    let constants = partition_constants(partition.spec, &types, &partition.values, |id| {
        type_of(&targets, id)
    })?;
    Ok(Arc::new(Reading {
        storage: Arc::clone(&context.storage),
        wanted: Wanted {
            known: Arc::new(KnownColumns::of(metadata, schema)?),
            must_explain: true,
            targets,
            constants,
        },
    }))
}

impl<'a> GroupReader<'a> {
    /// Loads the deletes of a group whose rows are to be read under `schema`.
    pub(crate) async fn open(
        context: &'a RewriteContext,
        metadata: &Metadata,
        schema: &Schema,
        group: &'a Group,
    ) -> Result<Self> {
        Self::open_columns(context, metadata, schema, group, None).await
    }

    /// The same of some columns at the top alone, by field id, in the schema's order; without row lineage.
    pub(crate) async fn open_columns(
        context: &'a RewriteContext,
        metadata: &Metadata,
        schema: &Schema,
        group: &'a Group,
        columns: Option<&[i32]>,
    ) -> Result<Self> {
        let shares = Shares::of(context.memory_cap);
        let all = schema.as_struct().fields().iter();
        let is_asked = |id| columns.is_none_or(|columns| columns.contains(&id));
        let fields = StructType::new(all.filter(|it| is_asked(it.id)).cloned().collect());
        let current = &fields;
        let of_deletes = DeleteContext {
            metadata,
            current,
            group,
            shares,
        };
        let (mut equality, key_files) = EqualityDeletes::prepare(&of_deletes)?;
        let mut targets = current.fields().to_vec();
        targets.extend(equality.extra.iter().cloned());
        let lineage = match columns {
            None => lineage_fields(metadata, current)?,
            Some(_) => Vec::new(),
        };
        targets.extend(lineage.iter().cloned());
        let reading = reading_of(context, metadata, schema, group, targets)?;
        let mut positions = DeletedPositions::load(&context.storage, group, &shares).await?;
        equality
            .load(&of_deletes, key_files, &reading, &mut positions)
            .await?;
        find_old(&of_deletes, &reading, &mut positions).await?;
        let shares = shares.after_deletes(positions.memory() + equality.memory());
        let sources = (0..group.inputs.len())
            .map(|input| input_source(group, input))
            .collect();
        Ok(Self {
            context,
            group,
            shares,
            lineage: lineage.len(),
            fields,
            positions,
            counts: GroupCounts {
                passes: equality.passes,
                ..GroupCounts::default()
            },
            equality,
            scan: Scan::new(reading, sources, shares),
            batches: None,
            rows_of: vec![0; group.inputs.len()],
            bytes_done: 0,
            dictionary: 0,
        })
    }

    /// The next rows, in the inputs' order; `None` at the end, once every input gave the rows that its manifest has.
    pub(crate) async fn next(&mut self) -> Result<Option<LiveRows>> {
        loop {
            if self.batches.is_none() {
                let Some(piece) = self.scan.next().await? else {
                    self.check_rows()?;
                    return Ok(None);
                };
                self.batches = Some(Batches::new(piece, self.shares.batch)?);
            }
            let Some(batches) = &mut self.batches else {
                continue;
            };
            let input = batches.file();
            let Some(batch) = batches.next()? else {
                let bytes = batches.file_bytes();
                self.bytes_done += bytes;
                self.context.progress.add(Rows::ZERO, Bytes(bytes));
                self.batches = None;
                continue;
            };
            self.scan.look_ahead()?;
            self.rows_of[input] += batch.rows as u64;
            self.counts.rows_in += batch.rows as u64;
            self.context
                .progress
                .add(Rows(batch.rows as u64), Bytes::ZERO);
            let done = self.bytes_done + batches.file_bytes_done();
            self.dictionary = self.dictionary.max(batches.dictionary());
            let room = WriterRoom {
                row_group: self.shares.left_to_write(batches.held()),
                dictionary: self.dictionary,
            };
            let live = self.live_rows(input, batch, done, room)?;
            // Lets what has arrived from storage be taken in.
            tokio::task::yield_now().await;
            if live.rows > 0 {
                return Ok(Some(live));
            }
        }
    }

    fn live_rows(
        &mut self,
        input: usize,
        batch: Batch,
        done: u64,
        room: WriterRoom,
    ) -> Result<LiveRows> {
        let left = self.group.input_bytes().get().saturating_sub(done);
        let kept = self.kept(input, &batch)?;
        let rows = batch.rows;
        let (first_row, mut columns) = (batch.first_row, batch.columns);
        let stored = columns.split_off(columns.len() - self.lineage);
        columns.truncate(self.fields.fields().len());
        if self.lineage > 0 {
            columns.extend(lineage(&stored, first_row, &self.group.inputs[input])?);
        }
        let Some(kept) = kept else {
            return Ok(LiveRows {
                columns,
                rows,
                left,
                room,
            });
        };
        let kept = BooleanArray::from(kept);
        let live = kept.true_count();
        self.counts.rows_deleted += (rows - live) as u64;
        let path = &self.group.inputs[input].path;
        let predicate = FilterBuilder::new(&kept).optimize().build();
        let columns = columns
            .iter()
            .map(|column| predicate.filter(column))
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| corrupt(path, error))?;
        Ok(LiveRows {
            columns,
            rows: live,
            left,
            room,
        })
    }

    /// Which rows of a batch stay; `None` where all do.
    fn kept(&self, input: usize, batch: &Batch) -> Result<Option<Vec<bool>>> {
        let kept = self.positions.kept(input, batch.first_row, batch.rows);
        if self.equality.is_empty() {
            return Ok(kept);
        }
        let mut kept = kept.unwrap_or_else(|| vec![true; batch.rows]);
        let file = &self.group.inputs[input];
        let sequence = file.sequence_number.get();
        self.equality
            .hide(input, sequence, &file.path, batch, &mut kept)?;
        Ok(kept.contains(&false).then_some(kept))
    }

    fn check_rows(&mut self) -> Result<()> {
        self.counts.row_groups = self.scan.row_groups_seen();
        for (input, rows) in self.group.inputs.iter().zip(&self.rows_of) {
            if input.rows.get() != *rows {
                return Err(corrupt(
                    &input.path,
                    format_args!(
                        "{rows} rows were read, and the manifest says {}",
                        input.rows
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Where these columns, by field id, are among those of [`LiveRows`].
    pub(crate) fn places(&self, ids: &[i32]) -> Result<Vec<usize>> {
        let place = |id: &i32| {
            self.fields
                .fields()
                .iter()
                .position(|field| field.id == *id)
        };
        let lost = |id| unsupported(format!("the schema has no column at the top with id {id}"));
        ids.iter()
            .map(|id| place(id).ok_or_else(|| lost(id)))
            .collect()
    }

    /// What was read; complete once [`Self::next`] has returned `None`.
    pub(crate) fn counts(&self) -> GroupCounts {
        self.counts
    }

    /// The memory's shares.
    pub(crate) fn shares(&self) -> Shares {
        self.shares
    }
}

/// The type of a field at any depth outside lists and maps.
fn type_of(fields: &[NestedFieldRef], id: i32) -> Option<Type> {
    fields.iter().find_map(|field| {
        if field.id == id {
            return Some(Type::clone(&field.field_type));
        }
        match field.field_type.as_ref() {
            Type::Struct(below) => type_of(below.fields(), id),
            _ => None,
        }
    })
}
