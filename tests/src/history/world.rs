//! A history as it happens: the table, the model beside it, and the rewrite that may be under way.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use iceberg::{
    TableCreation, TableRequirement, TableUpdate,
    spec::{DataContentType, FormatVersion, Literal, PartitionSpec, Schema},
};
use icepress_catalog::{Catalog, LoadedTable, SqlCatalog, TableChange, metadata::stage_new_table};
use icepress_model::{Bytes, MetadataLocation, TableId, ambient::Ambient};
use icepress_storage::Storage;
use icepress_table::{CommitContext, CommitPolicy};
use icepress_writer::{AddedFile, RemovedFile, append_files, overwrite_files};

use super::{
    dice::Dice,
    evolve, invariants,
    model::{Model, ModelRow, Scope, key},
    reader::{Reader, Seen},
    rewriting::Begun,
    setup::{History, ID, Layout, Rows, Step, first_schema, partition_fields},
    shape::{key_fields, project, select},
    values::{Columns, Value},
    writer::{Marked, NewData, Place, Writer, is_usable, key_row},
};

/// What is wrong, for people.
pub type Outcome<T = ()> = Result<T, String>;

/// The state of a table and the rows that it must have: for other readers to judge.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The state.
    pub location: MetadataLocation,
    /// After which step, in words.
    pub after: String,
    /// The rows as the Java harness prints them.
    pub rows: Vec<String>,
}

/// What happened, by name: a run in which something never happened tells nothing about it.
pub type Tally = BTreeMap<&'static str, u64>;

/// A table with its model.
pub struct World {
    pub(super) ambient: Ambient,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) catalog: Arc<SqlCatalog>,
    pub(super) table: TableId,
    pub(super) reader: Reader,
    pub(super) model: Model,
    pub(super) begun: Option<Begun>,
    /// States to be judged by others.
    pub checkpoints: Vec<Checkpoint>,
    /// What happened, counted.
    pub tally: Tally,
    writer: Writer,
    next_id: i64,
}

/// A spec, and a partition under it.
type Partition = (i32, Vec<Value>);

/// What a foreign commit adds beside its delete files.
#[derive(Default)]
struct Foreign {
    added: Vec<AddedFile>,
    removed: Vec<RemovedFile>,
    data: Vec<NewData>,
}

impl World {
    /// Makes the table of a history.
    pub async fn new(
        history: &History,
        table: TableId,
        folder: String,
        ambient: Ambient,
        storage: Arc<dyn Storage>,
        catalog: Arc<SqlCatalog>,
    ) -> Self {
        let spec = partition_fields(history.setup.spec).into_iter().fold(
            iceberg::spec::UnboundPartitionSpec::builder(),
            |spec, field| {
                let (source, transform, name) = field;
                spec.add_partition_field(source, name, transform).unwrap()
            },
        );
        let creation = TableCreation::builder()
            .name(table.name.clone())
            .location(folder.clone())
            .schema(first_schema())
            .partition_spec(spec.build())
            .properties(history.setup.properties())
            .format_version(history.setup.format_version())
            .build();
        let staged = stage_new_table(&*storage, &ambient, &table, creation)
            .await
            .unwrap();
        catalog.register(&table, &staged.location).await.unwrap();
        Self {
            reader: Reader::new(Arc::clone(&storage)),
            writer: Writer::new(Arc::clone(&storage), folder),
            ambient,
            storage,
            catalog,
            table,
            model: Model::default(),
            begun: None,
            checkpoints: Vec::new(),
            tally: Tally::default(),
            next_id: 0,
        }
    }

    /// One step, and a look at the table after it.
    pub async fn step(&mut self, step: &Step) -> Outcome {
        match step {
            Step::Append { files, spec } => self.append(files, *spec).await,
            Step::Overwrite { remove, add } => self.overwrite(remove, *add).await,
            Step::DeletePositions { picks, layout, add } => {
                self.delete_positions(picks, *layout, *add).await
            }
            Step::DeleteEqual {
                key,
                picks,
                miss,
                global,
                add,
            } => self.delete_equal(*key, picks, *miss, *global, *add).await,
            Step::AddColumn { .. }
            | Step::Rename(_)
            | Step::Drop(_)
            | Step::DropAndAdd(..)
            | Step::Promote(_)
            | Step::Reorder
            | Step::Repartition(_)
            | Step::Upgrade => self.evolve(step).await,
            Step::Rewrite { force } => self.rewrite(*force).await?,
            Step::Begin { force } => self.begin(*force).await?,
            Step::Finish => self.finish().await?,
        }
        let loaded = self.load().await;
        let seen = self.reader.read(&loaded.metadata).await;
        self.compare(&loaded, &seen)?;
        invariants::check(&*self.storage, &loaded.metadata, &seen).await?;
        if matches!(step, Step::Rewrite { .. } | Step::Finish) {
            self.note(&loaded, &format!("{step:?}"));
        }
        Ok(())
    }

    /// Keeps the state of the table for others to judge.
    pub fn note(&mut self, loaded: &LoadedTable, after: &str) {
        let location = loaded.metadata_location.clone();
        let last = self.checkpoints.last();
        if last.is_some_and(|last| last.location == location) {
            return;
        }
        let fields = loaded.metadata.current_schema().as_struct().fields();
        let line = |columns: &Columns| {
            let values = columns.iter().zip(fields);
            let values = values.map(|((_, value), field)| value.to_json(&field.field_type));
            serde_json::Value::Array(values.collect()).to_string()
        };
        let rows = self.model.visible(&loaded.metadata);
        self.checkpoints.push(Checkpoint {
            location,
            after: after.to_owned(),
            rows: rows.values().map(line).collect(),
        });
    }

    pub(super) fn count(&mut self, what: &'static str) {
        self.count_all(what, 1);
    }

    pub(super) fn count_all(&mut self, what: &'static str, times: u64) {
        *self.tally.entry(what).or_default() += times;
    }

    pub(super) async fn load(&self) -> LoadedTable {
        self.catalog.load(&self.table).await.unwrap()
    }

    /// The table as it is, and what is in it.
    pub(super) async fn look(&mut self) -> (LoadedTable, Seen) {
        let loaded = self.load().await;
        let seen = self.reader.read(&loaded.metadata).await;
        (loaded, seen)
    }

    pub(super) fn committing(&self) -> CommitContext {
        CommitContext {
            catalog: Arc::clone(&self.catalog) as Arc<dyn Catalog>,
            storage: Arc::clone(&self.storage),
            ambient: self.ambient.clone(),
            policy: CommitPolicy {
                attempts: 3,
                first_backoff: Duration::from_millis(1),
            },
        }
    }

    /// The rows of the table against the rows of the model.
    fn compare(&mut self, loaded: &LoadedTable, seen: &Seen) -> Outcome {
        let metadata = &loaded.metadata;
        let fields = metadata.current_schema().as_struct().fields();
        let expected = self.model.visible(metadata);
        let mut found: BTreeMap<i64, Columns> = BTreeMap::new();
        let mut row_ids = HashSet::new();
        for row in &seen.rows {
            let id = id_of(&row.columns);
            if found.insert(id, project(fields, &row.columns)).is_some() {
                return Err(format!("row {id} is there twice"));
            }
            self.check_lineage(id, row.lineage)?;
            if let Some((Some(row_id), _)) = row.lineage
                && !row_ids.insert(row_id)
            {
                return Err(format!("two rows have the row id {row_id}"));
            }
        }
        let next = i64::try_from(metadata.next_row_id()).unwrap();
        if let Some(row_id) = row_ids.iter().find(|row_id| **row_id >= next) {
            return Err(format!(
                "a row has the id {row_id}, and the next free one is {next}"
            ));
        }
        for (id, columns) in &expected {
            match found.get(id) {
                None => return Err(format!("row {id} is lost: {columns:?}")),
                Some(other) if other != columns => {
                    return Err(format!("row {id} is {other:?}, and must be {columns:?}"));
                }
                Some(_) => {}
            }
        }
        match found.iter().find(|(id, _)| !expected.contains_key(id)) {
            Some((id, columns)) => Err(format!("row {id} came back: {columns:?}")),
            None => Ok(()),
        }
    }

    /// Once a row has an id, it keeps it, and the number of its last change too: no step changes a row.
    fn check_lineage(&mut self, id: i64, lineage: Option<(Option<i64>, i64)>) -> Outcome {
        let (Some(row), Some((Some(row_id), sequence))) = (self.model.row_mut(id), lineage) else {
            return Ok(());
        };
        match row.lineage {
            None => row.lineage = Some((row_id, sequence)),
            Some(known) if known != (row_id, sequence) => {
                return Err(format!(
                    "row {id} had the lineage {known:?} and has {:?} now",
                    (row_id, sequence)
                ));
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Rows under the current schema, in files of `spec`.
    async fn make(
        &mut self,
        loaded: &LoadedTable,
        spec: &PartitionSpec,
        rows: Rows,
    ) -> Vec<NewData> {
        let fields = loaded
            .metadata
            .current_schema()
            .as_struct()
            .fields()
            .to_vec();
        let mut dice = Dice::new(u64::from(rows.seed));
        let mut made = Vec::new();
        for _ in 0..rows.count {
            made.push(dice.row(&fields, self.next_id));
            self.next_id += 1;
        }
        self.writer
            .data(&loaded.metadata, spec, made, &mut dice)
            .await
    }

    async fn make_current(&mut self, loaded: &LoadedTable, rows: Option<Rows>) -> Vec<NewData> {
        let spec = Arc::clone(loaded.metadata.default_partition_spec());
        match rows {
            Some(rows) => self.make(loaded, &spec, rows).await,
            None => Vec::new(),
        }
    }

    /// Commits as a foreign writer, and lets the model know the new rows.
    async fn commit(&mut self, base: &LoadedTable, foreign: Foreign) {
        let mut added = foreign.added;
        added.extend(foreign.data.iter().map(|data| data.added.clone()));
        if added.is_empty() && foreign.removed.is_empty() {
            return;
        }
        let context = self.committing();
        for file in &added {
            self.count(match file.file.content_type() {
                DataContentType::Data => "data files",
                DataContentType::PositionDeletes if file.file.content_offset().is_some() => {
                    "vectors"
                }
                DataContentType::PositionDeletes => "position delete files",
                DataContentType::EqualityDeletes => "equality delete files",
            });
        }
        if !foreign.removed.is_empty() {
            self.count("overwrites");
        }
        let only_data = foreign.removed.is_empty() && added.len() == foreign.data.len();
        if only_data {
            append_files(&context, &self.table, &added).await.unwrap();
        } else {
            overwrite_files(&context, base, &added, &foreign.removed)
                .await
                .unwrap();
        }
        for data in foreign.data {
            let partition = data.place.values();
            for columns in data.rows {
                self.model.insert(
                    id_of(&columns),
                    ModelRow {
                        columns,
                        spec_id: data.place.spec_id,
                        partition: partition.clone(),
                        lineage: None,
                    },
                );
            }
        }
    }

    async fn append(&mut self, files: &[Rows], spec: u8) {
        let loaded = self.load().await;
        let spec = pick_spec(&loaded, spec);
        let mut foreign = Foreign::default();
        for rows in files {
            foreign.data.extend(self.make(&loaded, &spec, *rows).await);
        }
        self.commit(&loaded, foreign).await;
    }

    async fn overwrite(&mut self, remove: &[u8], add: Option<Rows>) {
        let (loaded, seen) = self.look().await;
        let data = seen.data();
        if data.is_empty() {
            return;
        }
        let gone: HashSet<RemovedFile> = remove
            .iter()
            .map(|pick| RemovedFile::of(&data[usize::from(*pick) % data.len()].file))
            .collect();
        for row in &seen.rows {
            if gone.iter().any(|file| file.path == row.path) {
                self.model.delete(id_of(&row.columns));
            }
        }
        // A vector goes with its file, as Java's writers have it.
        let is_gone = |path: String| gone.iter().any(|file| file.path == path);
        let vectors = seen.deletes().into_iter().filter(|file| {
            file.is_vector() && file.file.referenced_data_file().is_some_and(is_gone)
        });
        let vectors: Vec<RemovedFile> = vectors.map(|file| RemovedFile::of(&file.file)).collect();
        let foreign = Foreign {
            removed: gone.into_iter().chain(vectors).collect(),
            data: self.make_current(&loaded, add).await,
            ..Foreign::default()
        };
        self.commit(&loaded, foreign).await;
    }

    async fn delete_positions(&mut self, picks: &[u8], layout: Layout, add: Option<Rows>) {
        let (loaded, seen) = self.look().await;
        let version = loaded.metadata.format_version();
        if version == FormatVersion::V1 {
            return;
        }
        let data = self.make_current(&loaded, add).await;
        let mut doomed: BTreeMap<Partition, Vec<(String, u64)>> = BTreeMap::new();
        let mut gone = Vec::new();
        let rows: Vec<_> = seen
            .rows
            .iter()
            .filter(|row| is_open(&loaded, row.spec_id))
            .collect();
        for pick in picks {
            if let Some(row) = rows.get(usize::from(*pick) % rows.len().max(1)) {
                let place = (row.spec_id, row.partition.clone());
                let at = (row.path.clone(), row.position);
                doomed.entry(place).or_default().push(at);
                gone.push(id_of(&row.columns));
            }
        }
        if let Some(new) = data.first() {
            let place = (new.place.spec_id, new.place.values());
            let at = (new.added.file.file_path().to_owned(), 0);
            doomed.entry(place).or_default().push(at);
            gone.push(id_of(&new.rows[0]));
        }
        let mut dice = Dice::new(picks.iter().map(|pick| u64::from(*pick)).sum());
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for (place, positions) in doomed {
            let place = place_of_known(&loaded, &data, &place);
            if version == FormatVersion::V2 {
                let files = self.writer.positions(&place, &positions, layout, &mut dice);
                added.extend(files.await);
                continue;
            }
            let (mut deleted, replaced) = self.deleted_already(&seen, &positions).await;
            removed.extend(replaced);
            for (path, position) in positions {
                deleted.entry(path).or_default().insert(position);
            }
            added.extend(self.writer.vectors(&place, deleted).await);
        }
        let foreign = Foreign {
            added,
            removed,
            data,
        };
        self.commit(&loaded, foreign).await;
        for id in gone {
            self.model.delete(id);
        }
    }

    /// What is deleted by position in the files that `doomed` names, which a new vector must say again; and the vectors
    /// that it takes the place of.
    async fn deleted_already(
        &mut self,
        seen: &Seen,
        doomed: &[(String, u64)],
    ) -> (Marked, Vec<RemovedFile>) {
        let mut deleted = Marked::new();
        for (path, _) in doomed {
            if !deleted.contains_key(path) {
                let positions = self.reader.positions_in(seen, path).await;
                deleted.insert(path.clone(), positions.into_iter().collect());
            }
        }
        let vectors = seen.deletes().into_iter().filter(|file| {
            let named = file.file.referenced_data_file();
            file.is_vector() && named.is_some_and(|path| deleted.contains_key(&path))
        });
        let replaced = vectors.map(|file| RemovedFile::of(&file.file)).collect();
        (deleted, replaced)
    }

    async fn delete_equal(
        &mut self,
        choice: u8,
        picks: &[u8],
        miss: bool,
        global: bool,
        add: Option<Rows>,
    ) {
        let (loaded, seen) = self.look().await;
        let metadata = &loaded.metadata;
        let open: Vec<_> = seen
            .rows
            .iter()
            .filter(|row| is_open(&loaded, row.spec_id))
            .collect();
        if metadata.format_version() == FormatVersion::V1 || open.is_empty() {
            return;
        }
        let schema = metadata.current_schema();
        let mut dice = Dice::new(u64::from(choice));
        let mut candidates = key_fields(schema);
        let mut ids = vec![candidates.swap_remove(dice.below(candidates.len()))];
        if dice.once_in(2) {
            ids.push(candidates.swap_remove(dice.below(candidates.len())));
        }
        let everywhere = metadata
            .partition_specs_iter()
            .find(|spec| spec.is_unpartitioned());
        let first = open[usize::from(picks[0]) % open.len()];
        let (place, scope) = match everywhere {
            Some(spec) if global => {
                let place = Place {
                    spec_id: spec.spec_id(),
                    literals: Vec::new(),
                };
                (place, Scope::Everywhere)
            }
            _ => {
                let known = (first.spec_id, first.partition.clone());
                let spec = metadata.partition_spec_by_id(first.spec_id).unwrap();
                let scope = if spec.is_unpartitioned() {
                    Scope::Everywhere
                } else {
                    Scope::Partition(first.spec_id, first.partition.clone())
                };
                (place_of_known(&loaded, &[], &known), scope)
            }
        };
        let shape: Schema = select(schema, &ids);
        let mut rows: Vec<Columns> = Vec::new();
        for pick in picks {
            let row = open[usize::from(*pick) % open.len()];
            let in_scope = match &scope {
                Scope::Everywhere => true,
                Scope::Partition(spec_id, partition) => {
                    row.spec_id == *spec_id && row.partition == *partition
                }
            };
            if in_scope {
                rows.push(key_row(&row.columns, &shape, metadata));
            }
        }
        if miss {
            let made = dice.row(schema.as_struct().fields(), -1);
            rows.push(key_row(&made, &shape, metadata));
        }
        let file = self.writer.equality(&place, &shape, &ids, &rows, &mut dice);
        let file = file.await;
        let keys = rows.iter().map(|row| key(metadata, row, &ids)).collect();
        self.model.delete_equal(metadata, &scope, &ids, &keys);
        let foreign = Foreign {
            added: vec![file],
            data: self.make_current(&loaded, add).await,
            ..Foreign::default()
        };
        self.commit(&loaded, foreign).await;
    }

    async fn evolve(&mut self, step: &Step) {
        let loaded = self.load().await;
        let metadata = &loaded.metadata;
        let schema = match step {
            Step::AddColumn { kind, inside } => evolve::with_column(metadata, *kind, *inside, None),
            Step::Rename(pick) => Some(evolve::renamed(metadata, *pick)),
            Step::Drop(pick) => evolve::without_column(metadata, *pick).map(|(schema, _)| schema),
            Step::DropAndAdd(pick, kind) => {
                let Some((schema, name)) = evolve::without_column(metadata, *pick) else {
                    return;
                };
                let dropped = self.change(&loaded, schema_updates(schema)).await;
                let added = evolve::with_column(&dropped.metadata, *kind, false, name.as_deref());
                if let Some(schema) = added {
                    self.change(&dropped, schema_updates(schema)).await;
                }
                return;
            }
            Step::Promote(pick) => evolve::promoted(metadata, *pick),
            Step::Reorder => evolve::reordered(metadata),
            Step::Repartition(choice) => {
                if let Some(spec) = evolve::repartitioned(metadata, *choice) {
                    let updates = vec![
                        TableUpdate::AddSpec { spec },
                        TableUpdate::SetDefaultSpec { spec_id: -1 },
                    ];
                    self.change(&loaded, updates).await;
                }
                return;
            }
            Step::Upgrade => {
                let format_version = match metadata.format_version() {
                    FormatVersion::V1 => FormatVersion::V2,
                    FormatVersion::V2 => FormatVersion::V3,
                    _ => return,
                };
                let update = TableUpdate::UpgradeFormatVersion { format_version };
                self.change(&loaded, vec![update]).await;
                return;
            }
            other => unreachable!("{other:?} changes no schema"),
        };
        if let Some(schema) = schema {
            self.change(&loaded, schema_updates(schema)).await;
        }
    }

    async fn change(&mut self, base: &LoadedTable, updates: Vec<TableUpdate>) -> LoadedTable {
        self.count(match updates[0] {
            TableUpdate::AddSchema { .. } => "new schemas",
            TableUpdate::AddSpec { .. } => "new specs",
            TableUpdate::UpgradeFormatVersion {
                format_version: FormatVersion::V3,
            } => "upgrades to version 3",
            _ => "upgrades to version 2",
        });
        let change = TableChange {
            requirements: vec![TableRequirement::UuidMatch {
                uuid: base.metadata.uuid(),
            }],
            updates,
        };
        self.catalog.commit(base, change).await.unwrap()
    }

    /// How much memory a rewrite may take here.
    pub(super) const MEMORY: Bytes = Bytes::mebibytes(64);
}

fn schema_updates(schema: Schema) -> Vec<TableUpdate> {
    vec![
        TableUpdate::AddSchema { schema },
        TableUpdate::SetCurrentSchema { schema_id: -1 },
    ]
}

fn pick_spec(loaded: &LoadedTable, pick: u8) -> PartitionSpec {
    let metadata = &loaded.metadata;
    let mut specs: Vec<_> = metadata
        .partition_specs_iter()
        .filter(|spec| is_usable(metadata.current_schema(), spec))
        .collect();
    specs.sort_by_key(|spec| spec.spec_id());
    let default = metadata.default_partition_spec();
    let others = usize::from(pick).checked_sub(1);
    let picked = others.and_then(|pick| specs.get(pick % specs.len().max(1)));
    picked.copied().unwrap_or(default).as_ref().clone()
}

/// The literals of a partition that some file has.
fn place_of_known(loaded: &LoadedTable, new: &[NewData], place: &(i32, Vec<Value>)) -> Place {
    let of_new = new
        .iter()
        .find(|data| data.place.spec_id == place.0 && data.place.values() == place.1)
        .map(|data| data.place.clone());
    of_new.unwrap_or_else(|| {
        // As the types are now: they may have been widened since the files were written.
        let metadata = &loaded.metadata;
        let spec = metadata.partition_spec_by_id(place.0).unwrap();
        let kinds = spec.partition_type(metadata.current_schema()).unwrap();
        let literals = place.1.iter().zip(kinds.fields()).map(|(value, field)| {
            let kind = field.field_type.as_primitive_type().unwrap();
            value.to_literal(kind).map(Literal::Primitive)
        });
        Place {
            spec_id: place.0,
            literals: literals.collect(),
        }
    })
}

/// Whether a writer of today can write files of that spec.
fn is_open(loaded: &LoadedTable, spec_id: i32) -> bool {
    let metadata = &loaded.metadata;
    let spec = metadata.partition_spec_by_id(spec_id);
    spec.is_some_and(|spec| is_usable(metadata.current_schema(), spec))
}

/// The value of the column `id`.
pub(super) fn id_of(columns: &Columns) -> i64 {
    match columns.iter().find(|(id, _)| *id == ID) {
        Some((_, Value::Integer(id))) => *id,
        other => panic!("a row's id is {other:?}"),
    }
}
