//! Equality deletes as a hash anti-join: a row goes where its key was deleted at a greater sequence number.
//!
//! Each delete file is read once a group, several at a time. Keys that do not fit their share of memory are looked up
//! through a `sieve`, for which delete files are read twice.

use std::{collections::BTreeMap, sync::Arc};

use iceberg::spec::{NestedFieldRef, StructType, Type};
use icepress_catalog::metadata::Metadata;
use icepress_model::{DeleteContent, DeleteFile, Group};

use super::{
    key_set::KeySet,
    keys::{KeyColumns, KeyField},
    position::{DeletedPositions, source},
    sieve::{Candidates, Sieve},
};
use crate::{
    constants::Constants,
    failure::{Result, corrupt, over_memory, unsupported},
    memory::Shares,
    project::Wanted,
    read::{Batch, Batches, Reading, Scan, SourceFile},
};

/// The equality deletes of a group, by kind of key.
#[derive(Debug)]
pub(crate) struct EqualityDeletes {
    joins: Vec<Join>,
    /// Columns to read in addition to the table's current ones.
    pub(crate) extra: Vec<NestedFieldRef>,
    /// How often delete files were read again because keys did not fit.
    pub(crate) passes: u64,
    /// Bytes of keys that are encoded at a time.
    step: u64,
}

/// All deletes by the same key columns.
#[derive(Debug)]
struct Join {
    /// Key columns among the current columns, followed by the extra ones.
    in_data: KeyColumns,
    /// Whether any of these deletes is listed for an input, by input.
    applies: Vec<bool>,
    keys: KeySet,
}

/// What equality deletes are loaded from and applied to.
#[derive(Debug)]
pub(crate) struct DeleteContext<'a> {
    pub(crate) metadata: &'a Metadata,
    pub(crate) current: &'a StructType,
    pub(crate) group: &'a Group,
    pub(crate) shares: Shares,
}

impl EqualityDeletes {
    /// Finds the key columns of a group's deletes, without reading a file.
    pub(crate) fn prepare(context: &DeleteContext<'_>) -> Result<(Self, Vec<KeyFiles>)> {
        let group = context.group;
        let mut kinds: BTreeMap<Vec<i32>, Vec<u32>> = BTreeMap::new();
        for (index, delete) in (0u32..).zip(&group.deletes) {
            if let DeleteContent::Equality { field_ids } = &delete.content {
                let mut ids = field_ids.clone();
                ids.sort_unstable();
                ids.dedup();
                kinds.entry(ids).or_default().push(index);
            }
        }
        let mut deletes = Self {
            joins: Vec::new(),
            extra: Vec::new(),
            passes: 0,
            step: context.shares.batch,
        };
        let mut files = Vec::new();
        for (ids, indices) in kinds {
            let fields = ids
                .iter()
                .map(|id| KeyField::find(context.metadata, context.current, *id))
                .collect::<Result<Vec<_>>>()?;
            let applies: Vec<bool> = group
                .inputs
                .iter()
                .map(|input| indices.iter().any(|index| input.deletes.contains(index)))
                .collect();
            if !applies.contains(&true) {
                continue;
            }
            let types: Vec<Type> = fields.iter().map(|field| field.key_type.clone()).collect();
            let paths = fields
                .iter()
                .map(|field| deletes.place(field, context.current))
                .collect();
            deletes.joins.push(Join {
                in_data: KeyColumns::new(paths, &types)?,
                applies,
                keys: KeySet::default(),
            });
            files.push(KeyFiles::new(&fields, &types, indices)?);
        }
        Ok((deletes, files))
    }

    /// Where a key column is among the columns read of a data file.
    fn place(&mut self, field: &KeyField, current: &StructType) -> Vec<usize> {
        match &field.current {
            Some(way) => way.clone(),
            None => {
                let top = current.fields().len() + self.extra.len();
                self.extra.push(Arc::clone(&field.alone));
                std::iter::once(top).chain(below(&field.alone)).collect()
            }
        }
    }

    /// Reads the deletes. What they hide is marked in `positions` at once where not all keys fit; then none are left.
    pub(crate) async fn load(
        &mut self,
        context: &DeleteContext<'_>,
        files: Vec<KeyFiles>,
        data: &Arc<Reading>,
        positions: &mut DeletedPositions,
    ) -> Result<()> {
        let most = context.shares.keys;
        let of_sets = most - Sieve::reserved(most);
        let step = self.step;
        let mut sieve = None;
        each_delete(
            context,
            context.shares,
            &files,
            data,
            |kind, delete, batch| {
                let columns = &files[kind].columns;
                let path = &delete.path;
                if let Some(sieve) = &mut sieve {
                    return sift_in(sieve, columns, batch, step)
                        .map_err(|error| corrupt(path, error));
                }
                self.insert(kind, columns, delete, batch)?;
                if self.memory() > of_sets {
                    let mut made = Sieve::new(keys_of(context, &files), most);
                    for join in &mut self.joins {
                        join.keys.keys().for_each(|key| made.add(key));
                        join.keys = KeySet::default();
                    }
                    sieve = Some(made);
                }
                Ok(())
            },
        )
        .await?;
        match sieve {
            Some(sieve) => self.sift(context, &files, data, &sieve, positions).await,
            None => Ok(()),
        }
    }

    fn insert(
        &mut self,
        kind: usize,
        columns: &KeyColumns,
        delete: &DeleteFile,
        batch: &Batch,
    ) -> Result<()> {
        let set = &mut self.joins[kind].keys;
        let mut fits = true;
        columns
            .for_each(&batch.columns, batch.rows, self.step, |_, key| {
                let number = set.insert(key, delete.sequence_number.get());
                fits &= number.is_some();
            })
            .map_err(|error| corrupt(&delete.path, error))?;
        if fits {
            return Ok(());
        }
        Err(too_long(&delete.path))
    }

    /// Marks the rows of all inputs that deletes hide whose keys are about those in `sieve`.
    async fn sift(
        &mut self,
        context: &DeleteContext<'_>,
        files: &[KeyFiles],
        data: &Arc<Reading>,
        sieve: &Sieve,
        positions: &mut DeletedPositions,
    ) -> Result<()> {
        let most = context.shares.keys;
        let room = most - Sieve::reserved(most);
        let inputs: Vec<usize> = (0..context.group.inputs.len())
            .filter(|input| self.joins.iter().any(|join| join.applies[*input]))
            .collect();
        let reading = self.key_reading(context, data);
        let sources = inputs
            .iter()
            .map(|input| input_source(context.group, *input))
            .collect();
        let mut scan = Scan::new(Arc::new(reading), sources, context.shares);
        let mut candidates = Candidates::of_kinds(self.joins.len());
        while let Some(piece) = scan.next().await? {
            let input = inputs[piece.file];
            let path = &context.group.inputs[input].path;
            let mut batches = Batches::new(piece, context.shares.batch)?;
            while let Some(batch) = batches.next()? {
                self.let_through(sieve, input, path, &batch, &mut candidates)?;
                if candidates.memory() > room {
                    let shares = context.shares.beside_another();
                    let found =
                        std::mem::replace(&mut candidates, Candidates::of_kinds(self.joins.len()));
                    self.judge(context, shares, files, data, found, positions)
                        .await?;
                }
                scan.look_ahead()?;
                tokio::task::yield_now().await;
            }
        }
        self.judge(context, context.shares, files, data, candidates, positions)
            .await
    }

    /// Adds the rows of a batch of an input whose keys pass the sieve.
    fn let_through(
        &self,
        sieve: &Sieve,
        input: usize,
        path: &str,
        batch: &Batch,
        candidates: &mut Candidates,
    ) -> Result<()> {
        for (kind, join) in self.joins.iter().enumerate() {
            if !join.applies[input] {
                continue;
            }
            let mut fits = true;
            join.in_data
                .for_each(&batch.columns, batch.rows, self.step, |row, key| {
                    if sieve.may_hold(key) {
                        let place = (input, batch.first_row + row as u64);
                        fits &= candidates.add(kind, key, place);
                    }
                })
                .map_err(|error| corrupt(path, error))?;
            if !fits {
                return Err(too_long(path));
            }
        }
        Ok(())
    }

    /// Marks those of the candidates that are deleted: the delete files are read once more.
    async fn judge(
        &mut self,
        context: &DeleteContext<'_>,
        shares: Shares,
        files: &[KeyFiles],
        data: &Arc<Reading>,
        mut candidates: Candidates,
        positions: &mut DeletedPositions,
    ) -> Result<()> {
        if candidates.is_empty() {
            return Ok(());
        }
        self.passes += 1;
        let step = self.step;
        each_delete(context, shares, files, data, |kind, delete, batch| {
            let sequence = delete.sequence_number.get();
            files[kind]
                .columns
                .for_each(&batch.columns, batch.rows, step, |_, key| {
                    candidates.delete(kind, key, sequence);
                })
                .map_err(|error| corrupt(&delete.path, error))
        })
        .await?;
        let inputs = &context.group.inputs;
        candidates.mark(positions, |input| inputs[input].sequence_number.get());
        positions.check(&context.shares)
    }

    /// Bytes held.
    pub(crate) fn memory(&self) -> u64 {
        self.joins.iter().map(|join| join.keys.memory()).sum()
    }

    /// Finds the rows of all inputs that the keys hide, and marks them in `positions`: of the inputs only key columns are
    /// read, and only of those that a delete is listed for.
    pub(crate) async fn find(
        &mut self,
        context: &DeleteContext<'_>,
        data: &Arc<Reading>,
        positions: &mut DeletedPositions,
    ) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let inputs: Vec<usize> = (0..context.group.inputs.len())
            .filter(|input| {
                self.joins
                    .iter()
                    .any(|join| join.applies[*input] && !join.keys.is_empty())
            })
            .collect();
        let reading = self.key_reading(context, data);
        let sources = inputs
            .iter()
            .map(|input| input_source(context.group, *input))
            .collect();
        let mut scan = Scan::new(Arc::new(reading), sources, context.shares);
        while let Some(piece) = scan.next().await? {
            let input = inputs[piece.file];
            let sequence = context.group.inputs[input].sequence_number.get();
            let path = &context.group.inputs[input].path;
            let mut batches = Batches::new(piece, context.shares.batch)?;
            while let Some(batch) = batches.next()? {
                let mut kept = vec![true; batch.rows];
                self.hide(input, sequence, path, &batch, &mut kept)?;
                for (row, kept) in kept.iter().enumerate() {
                    if !kept {
                        positions.mark(input, batch.first_row + row as u64);
                    }
                }
                scan.look_ahead()?;
                tokio::task::yield_now().await;
            }
            positions.check(&context.shares)?;
        }
        Ok(())
    }

    /// What to read of the inputs to see their keys: every column that is no part of a key is asked for as a column
    /// that no file has, so that the places of the others stay what they are.
    fn key_reading(&self, context: &DeleteContext<'_>, data: &Arc<Reading>) -> Reading {
        let current = context.current.fields().len();
        let extra = current..current + self.extra.len();
        let needed = |index: usize| {
            extra.contains(&index)
                || self
                    .joins
                    .iter()
                    .any(|join| join.in_data.top_columns().any(|top| top == index))
        };
        let targets = data
            .wanted
            .targets
            .iter()
            .enumerate()
            .map(|(index, target)| {
                if needed(index) {
                    Arc::clone(target)
                } else {
                    unread_column()
                }
            })
            .collect();
        Reading {
            storage: Arc::clone(&data.storage),
            wanted: Wanted {
                known: Arc::clone(&data.wanted.known),
                must_explain: data.wanted.must_explain,
                targets,
                constants: data.wanted.constants.clone(),
            },
        }
    }

    /// Whether no key is left to compare with.
    pub(crate) fn is_empty(&self) -> bool {
        self.joins.iter().all(|join| join.keys.is_empty())
    }

    /// Clears `kept` for each row of a batch of an input whose key was deleted after `sequence`.
    pub(crate) fn hide(
        &self,
        input: usize,
        sequence: i64,
        path: &str,
        batch: &Batch,
        kept: &mut [bool],
    ) -> Result<()> {
        for join in &self.joins {
            if !join.applies[input] || join.keys.is_empty() {
                continue;
            }
            let is_deleted = |key: &[u8]| {
                let deleted = join.keys.deleted_at(key);
                deleted.is_some_and(|deleted| deleted > sequence)
            };
            join.in_data
                .for_each(&batch.columns, batch.rows, self.step, |row, key| {
                    kept[row] = kept[row] && !is_deleted(key);
                })
                .map_err(|error| corrupt(path, error))?;
        }
        Ok(())
    }
}

/// Reads delete files, one after the other and several ahead, and hands on each batch of keys with its kind and file.
async fn each_delete(
    context: &DeleteContext<'_>,
    shares: Shares,
    files: &[KeyFiles],
    data: &Arc<Reading>,
    mut act: impl FnMut(usize, &DeleteFile, &Batch) -> Result<()>,
) -> Result<()> {
    for (kind, key_files) in files.iter().enumerate() {
        let deletes = key_files.deletes(context);
        let reading = Reading {
            storage: Arc::clone(&data.storage),
            wanted: Wanted {
                known: Arc::clone(&data.wanted.known),
                must_explain: false,
                targets: key_files.targets.clone(),
                constants: Constants::new(),
            },
        };
        let sources = deletes.iter().map(|delete| source(delete)).collect();
        let mut scan = Scan::new(Arc::new(reading), sources, shares);
        while let Some(piece) = scan.next().await? {
            let delete = deletes[piece.file];
            if let Some(id) = piece.opened.projection.absent.first() {
                return Err(unsupported(format!(
                    "{} is an equality delete file by the column with id {id}, and none of its columns is that one \
                     by field id or name mapping",
                    delete.path
                )));
            }
            let mut batches = Batches::new(piece, shares.batch)?;
            while let Some(batch) = batches.next()? {
                act(kind, delete, &batch)?;
                scan.look_ahead()?;
                tokio::task::yield_now().await;
            }
        }
    }
    Ok(())
}

/// How many keys the delete files have together, as their manifests say.
fn keys_of(context: &DeleteContext<'_>, files: &[KeyFiles]) -> u64 {
    let deletes = files.iter().flat_map(|files| files.deletes(context));
    deletes
        .map(|delete| delete.rows.get())
        .fold(0, u64::saturating_add)
}

fn sift_in(
    sieve: &mut Sieve,
    columns: &KeyColumns,
    batch: &Batch,
    step: u64,
) -> std::result::Result<(), arrow_schema::ArrowError> {
    columns.for_each(&batch.columns, batch.rows, step, |_, key| sieve.add(key))
}

fn too_long(path: &str) -> icepress_model::RewriteFailure {
    over_memory(format!(
        "{path} has too many keys of equality deletes, or too long ones, to be held"
    ))
}

/// The delete files by one kind of key, and what to read of them.
#[derive(Debug)]
pub(crate) struct KeyFiles {
    indices: Vec<u32>,
    targets: Vec<NestedFieldRef>,
    columns: KeyColumns,
}

impl KeyFiles {
    fn new(fields: &[KeyField], types: &[Type], indices: Vec<u32>) -> Result<Self> {
        let targets: Vec<NestedFieldRef> = fields
            .iter()
            .map(|field| Arc::clone(&field.alone))
            .collect();
        let paths = targets
            .iter()
            .enumerate()
            .map(|(top, target)| std::iter::once(top).chain(below(target)).collect())
            .collect();
        Ok(Self {
            indices,
            targets,
            columns: KeyColumns::new(paths, types)?,
        })
    }

    fn deletes<'g>(&self, context: &DeleteContext<'g>) -> Vec<&'g DeleteFile> {
        let indices = self.indices.iter();
        indices
            .map(|index| &context.group.deletes[*index as usize])
            .collect()
    }
}

/// The rest of the way in a field that holds nothing but a key column.
fn below(alone: &NestedFieldRef) -> Vec<usize> {
    match alone.field_type.as_ref() {
        Type::Struct(fields) => fields
            .fields()
            .iter()
            .flat_map(|field| std::iter::once(0).chain(below(field)))
            .collect(),
        _ => Vec::new(),
    }
}

/// A column that no file has: ids of columns begin with 1.
pub(super) fn unread_column() -> NestedFieldRef {
    use iceberg::spec::{NestedField, PrimitiveType};
    Arc::new(NestedField::optional(
        -1,
        "unread",
        Type::Primitive(PrimitiveType::Boolean),
    ))
}

/// An input as something to read.
pub(crate) fn input_source(group: &Group, input: usize) -> SourceFile {
    let file = &group.inputs[input];
    SourceFile {
        path: file.path.clone(),
        size: file.size.get(),
        rows: file.rows.get(),
    }
}
