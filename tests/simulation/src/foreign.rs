//! A writer that is not ours: it appends, deletes by position and by value, overwrites, expires and drops, through the
//! same catalog and the same network, and writes its manifests with the `iceberg` crate's own writers.

mod commit;
mod history;
mod vectors;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use iceberg::{
    TableCreation, TableUpdate,
    spec::{
        DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, FormatVersion, Literal,
        NestedField, Operation, PrimitiveType, Schema, Struct, Transform, Type,
        UnboundPartitionSpec,
    },
};
use icepress_catalog::{Catalog as _, LoadedTable, metadata::stage_new_table};
use icepress_model::{CatalogName, Namespace, TableId, ambient::Ambient};
use icepress_storage::{PutMode, Storage as _, WriteOptions};

use crate::{
    catalog::MachineCatalog,
    engine::Engine,
    fleet::Night,
    oracle::{Oracle, RowChange},
    reader::{Identity, LiveRow},
    rows::{Row, data_file, equality_deletes, position_deletes},
    storage::MachineStorage,
};

/// The field id of `file_path` in position delete files.
const PATH_ID: i32 = 2_147_483_546;
const REGIONS: [&str; 3] = ["eu", "us", "ap"];

/// A foreign writer of one table.
#[derive(Debug)]
pub struct Writer {
    /// Who it is, for the trace.
    pub name: String,
    /// Its table.
    pub table: TableId,
    /// Chance and order.
    pub engine: Arc<Engine>,
    /// Its clock.
    pub ambient: Ambient,
    /// Its way to the files.
    pub storage: MachineStorage,
    /// Its way to the catalog.
    pub catalog: MachineCatalog,
    /// Who has to know what it does.
    pub oracle: Arc<Oracle>,
    /// How many regions its rows are of.
    pub regions: usize,
    /// Whether the table is partitioned by region.
    pub partitioned: bool,
    /// The most rows of a file.
    pub rows_per_file: u64,
    /// The next id that no row had yet.
    pub next_id: i64,
    /// Ids of rows that were deleted: some come back.
    pub graveyard: Vec<i64>,
    /// How often the table was made.
    pub generation: u32,
    /// The format version that its table is made with.
    pub version: FormatVersion,
    /// Whether it upgrades its table now and then.
    pub upgrades: bool,
    /// Whether its files are large, as its table sees it: their deletes are rewritten without them.
    pub light: bool,
    /// How often it drops its table beside, in a hundred.
    pub drops_more: u64,
    /// What it does besides in a tended world.
    pub tended: Option<Tended>,
}

/// What a writer knows and does in a world in which upkeep of every kind is at work.
#[derive(Debug)]
pub struct Tended {
    /// What its table wants of its upkeep.
    pub properties: Vec<(String, String)>,
    /// Whether it names its files by another scheme than its table does.
    pub other_scheme: bool,
    /// When it rests for days.
    pub night: Night,
    /// Data files that it took out: some come back, by the same path.
    pub taken_out: Vec<DataFile>,
}

/// What a commit of the writer adds and removes.
#[derive(Debug, Default)]
struct Work {
    added: Vec<DataFile>,
    removed: BTreeSet<Identity>,
    change: RowChange,
}

/// Something failed, or somebody else was first: the writer does something else then.
#[derive(Debug)]
struct GaveUp(String);

impl<E: std::error::Error> From<E> for GaveUp {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

type Done = Result<(), GaveUp>;

/// The name of a table of the simulated world.
pub fn table_id(name: &str) -> TableId {
    TableId {
        catalog: CatalogName::from("lake"),
        namespace: Namespace::from_dotted("tests"),
        name: name.to_owned(),
    }
}

impl Writer {
    /// Does so many things, with pauses of up to `pause` between them.
    pub async fn work(mut self, things: u64, pause: Duration) {
        for _ in 0..things {
            let wait = self.engine.duration_up_to(pause);
            self.engine.sleep(wait).await;
            self.sleep_through_the_night().await;
            if let Err(GaveUp(why)) = self.one_thing().await {
                let short: String = why.chars().take(120).collect();
                self.engine
                    .note(format_args!("{} gave up: {short}", self.name));
            }
        }
    }

    async fn one_thing(&mut self) -> Done {
        let base = match self.catalog.load(&self.table).await {
            Ok(base) => base,
            Err(icepress_catalog::CatalogError::NoSuchTable(_)) => return self.create().await,
            Err(error) => return Err(error.into()),
        };
        if self.drops_more > 0 && self.engine.below(100) < self.drops_more {
            return self.drop_table(&base).await;
        }
        if base.metadata.current_snapshot().is_none() {
            return self.append(&base).await;
        }
        if self.tended.is_some() && self.engine.below(5) < 2 {
            return self.change_history(&base).await;
        }
        let version = base.metadata.format_version();
        if self.upgrades && version < FormatVersion::V3 && self.engine.below(5) == 0 {
            return self.upgrade(&base).await;
        }
        let what = match (version, self.engine.below(100)) {
            // Version 1 knows no delete files.
            (FormatVersion::V1, 38..78) => 78,
            (_, drawn) => drawn,
        };
        match what {
            0..38 => self.append(&base).await,
            // Version 3 has vectors in the place of position deletes.
            38..54 if version == FormatVersion::V3 => self.delete_by_vectors(&base).await,
            38..54 => self.delete_positions(&base).await,
            54..68 => self.delete_equal(&base, false).await,
            68..78 => self.delete_equal(&base, true).await,
            78..87 => self.overwrite(&base).await,
            87..93 => self.expire(&base).await,
            93..98 => self.touch(&base).await,
            _ => self.drop_table(&base).await,
        }
    }

    /// To the next format version.
    async fn upgrade(&self, base: &LoadedTable) -> Done {
        let format_version = match base.metadata.format_version() {
            FormatVersion::V1 => FormatVersion::V2,
            _ => FormatVersion::V3,
        };
        self.change(
            base,
            vec![TableUpdate::UpgradeFormatVersion { format_version }],
        )
        .await?;
        Ok(())
    }

    fn region(&self) -> String {
        REGIONS[self.engine.below(self.regions as u64) as usize].to_owned()
    }

    fn new_row(&mut self, region: &str, live: &mut BTreeSet<i64>) -> Row {
        let again = !self.graveyard.is_empty() && self.engine.below(4) == 0;
        let buried = again.then(|| {
            let index = self.engine.below(self.graveyard.len() as u64) as usize;
            self.graveyard.swap_remove(index)
        });
        // Its delete may have come to nothing.
        let id = buried.filter(|id| !live.contains(id)).unwrap_or_else(|| {
            self.next_id += 1;
            self.next_id
        });
        live.insert(id);
        Row {
            id,
            region: region.to_owned(),
            note: (self.engine.below(5) > 0).then(|| format!("note {}", self.engine.below(1000))),
        }
    }

    async fn create(&mut self) -> Done {
        self.generation += 1;
        let text = |id, name: &str| {
            NestedField::optional(id, name, Type::Primitive(PrimitiveType::String))
        };
        let schema = Schema::builder()
            .with_fields([
                NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)).into(),
                text(2, "region").into(),
                text(3, "note").into(),
            ])
            .build()?;
        let spec = UnboundPartitionSpec::builder();
        let spec = if self.partitioned {
            spec.add_partition_field(2, "region", Transform::Identity)?
        } else {
            spec
        };
        // Made anew, it lies where the old one lay, or elsewhere.
        let folder = if self.engine.below(2) == 0 {
            1
        } else {
            self.generation
        };
        let mut properties = HashMap::new();
        if self.light {
            let size = 1_600 + self.engine.below(900);
            for (name, value) in [
                ("write.target-file-size-bytes", size.to_string()),
                ("icepress.delete-ratio-threshold", "0.8".to_owned()),
            ] {
                properties.insert(name.to_owned(), value);
            }
        }
        if let Some(tended) = &self.tended {
            properties.extend(tended.properties.iter().cloned());
        }
        let creation = TableCreation::builder()
            .name(self.table.name.clone())
            .location(format!("s3://lake/{}-{folder}", self.table.name))
            .schema(schema)
            .partition_spec(spec.build())
            .properties(properties)
            .format_version(self.version)
            .build();
        let staged = stage_new_table(&self.storage, &self.ambient, &self.table, creation).await?;
        self.oracle.foreign_file(staged.location.as_str());
        self.catalog.create(&self.table, &staged).await?;
        Ok(())
    }

    async fn drop_table(&mut self, base: &LoadedTable) -> Done {
        self.graveyard.clear();
        self.catalog.drop_table(base).await?;
        Ok(())
    }

    async fn append(&mut self, base: &LoadedTable) -> Done {
        let mut work = Work::default();
        let mut live: BTreeSet<i64> = self
            .live_rows(base)?
            .into_values()
            .flatten()
            .map(|live| live.row.id)
            .collect();
        for _ in 0..1 + self.engine.below(3) {
            let region = self.region();
            let count = 1 + self.engine.below(self.rows_per_file);
            let rows: Vec<Row> = (0..count)
                .map(|_| self.new_row(&region, &mut live))
                .collect();
            work.added.push(self.write_rows(base, &rows, None).await?);
            work.change.added.extend(rows);
        }
        self.commit(base, work, Operation::Append).await
    }

    async fn delete_positions(&mut self, base: &LoadedTable) -> Done {
        let live = self.live_rows(base)?;
        let mut by_region: BTreeMap<String, Vec<(String, i64)>> = BTreeMap::new();
        let mut work = Work::default();
        for (path, rows) in live {
            for LiveRow { position, row, .. } in rows {
                if self.engine.below(4) == 0 {
                    let places = by_region.entry(row.region).or_default();
                    places.push((path.clone(), position));
                    work.change.removed.insert(row.id);
                }
            }
        }
        for (region, mut places) in by_region {
            places.sort();
            let builder = self
                .write(
                    base,
                    "deletes",
                    position_deletes(&places),
                    &region,
                    places.len(),
                )
                .await?;
            work.added.push(positions_of(builder, &places)?);
        }
        if work.added.is_empty() {
            return Ok(());
        }
        self.graveyard.extend(&work.change.removed);
        self.commit(base, work, Operation::Delete).await
    }

    /// By the value of `id`; with `again`, the same ids come back with new values in the same snapshot.
    async fn delete_equal(&mut self, base: &LoadedTable, again: bool) -> Done {
        let rows: Vec<Row> = self
            .live_rows(base)?
            .into_values()
            .flatten()
            .map(|live| live.row)
            .collect();
        let region = self.region();
        let mut work = Work::default();
        for row in rows
            .iter()
            .filter(|row| row.region == region || !self.partitioned)
        {
            if self.engine.below(4) == 0 {
                work.change.removed.insert(row.id);
            }
        }
        let mut ids: Vec<i64> = work.change.removed.iter().copied().collect();
        // Of rows that are not there, too.
        ids.push(1_000_000 + self.engine.below(1000) as i64);
        let builder = self
            .write(base, "equality", equality_deletes(&ids), &region, ids.len())
            .await?;
        let mut builder = builder;
        builder
            .content(DataContentType::EqualityDeletes)
            .equality_ids(Some(vec![1]));
        work.added
            .push(builder.build().map_err(|error| GaveUp(error.to_string()))?);
        let mut gone = work.change.removed.clone();
        if again {
            let rows: Vec<Row> = rows
                .into_iter()
                .filter(|row| gone.contains(&row.id))
                .map(|row| Row {
                    note: Some(format!("again {}", self.engine.below(1000))),
                    region: region.clone(),
                    ..row
                })
                .collect();
            if !rows.is_empty() {
                work.added.push(self.write_rows(base, &rows, None).await?);
                gone.clear();
                work.change.added.extend(rows);
            }
        }
        self.graveyard.extend(gone);
        self.commit(base, work, Operation::Overwrite).await
    }

    /// Replaces whole files, as copy-on-write engines do: rows that have ids keep them.
    async fn overwrite(&mut self, base: &LoadedTable) -> Done {
        let live = self.live_rows(base)?;
        let mut work = Work::default();
        let mut by_region: BTreeMap<String, Vec<(Row, Option<i64>)>> = BTreeMap::new();
        for (path, rows) in live {
            if self.engine.below(3) > 0 {
                continue;
            }
            work.removed.insert((path, None));
            for LiveRow { row, lineage, .. } in rows {
                work.change.removed.insert(row.id);
                if self.engine.below(4) > 0 {
                    let row = Row {
                        note: Some(format!("over {}", self.engine.below(1000))),
                        ..row
                    };
                    let row_id = lineage.map(|lineage| lineage.row_id);
                    let rows = by_region.entry(row.region.clone()).or_default();
                    rows.push((row, row_id));
                }
            }
        }
        if work.removed.is_empty() {
            return Ok(());
        }
        self.remember_taken_out(base, &work.removed)?;
        // Not every writer takes away the vectors of files that go.
        if self.engine.below(2) == 0 {
            let gone: BTreeSet<String> =
                work.removed.iter().map(|(path, _)| path.clone()).collect();
            work.removed
                .extend(self.vectors_of(base, |path| gone.contains(path))?);
        }
        for rows in by_region.into_values() {
            let (rows, row_ids): (Vec<Row>, Vec<Option<i64>>) = rows.into_iter().unzip();
            let has_ids = row_ids.iter().any(Option::is_some);
            let row_ids = has_ids.then_some(&*row_ids);
            work.added
                .push(self.write_rows(base, &rows, row_ids).await?);
            work.change.added.extend(rows);
        }
        self.commit(base, work, Operation::Overwrite).await
    }

    /// Forgets old snapshots, and deletes what only they needed.
    async fn expire(&mut self, base: &LoadedTable) -> Done {
        let refs = base.metadata.refs().map_err(GaveUp)?;
        let heads: BTreeSet<i64> = refs.values().map(|head| head.snapshot_id).collect();
        let mut others: Vec<(i64, i64)> = base
            .metadata
            .snapshots()
            .filter(|snapshot| !heads.contains(&snapshot.snapshot_id()))
            .map(|snapshot| (snapshot.sequence_number(), snapshot.snapshot_id()))
            .collect();
        others.sort_unstable();
        let kept = self.engine.below(3) as usize;
        others.truncate(others.len().saturating_sub(kept));
        if others.is_empty() {
            return Ok(());
        }
        let snapshot_ids = others.into_iter().map(|(_, id)| id).collect();
        let before = self
            .oracle
            .reader()
            .needed(&base.metadata)
            .map_err(GaveUp)?;
        let after = self
            .change(base, vec![TableUpdate::RemoveSnapshots { snapshot_ids }])
            .await?;
        let still = self
            .oracle
            .reader()
            .needed(&after.metadata)
            .map_err(GaveUp)?;
        let gone: Vec<String> = before.difference(&still).cloned().collect();
        // What can't be deleted stays behind.
        self.storage.delete(&gone).await;
        Ok(())
    }

    async fn touch(&mut self, base: &LoadedTable) -> Done {
        let updates = HashMap::from([("touched".to_owned(), self.engine.below(1000).to_string())]);
        self.change(base, vec![TableUpdate::SetProperties { updates }])
            .await?;
        Ok(())
    }

    fn live_rows(&self, base: &LoadedTable) -> Result<BTreeMap<String, Vec<LiveRow>>, GaveUp> {
        self.oracle
            .reader()
            .positioned(&base.metadata)
            .map_err(GaveUp)
    }

    fn partition(&self, region: &str) -> Struct {
        if self.partitioned {
            Struct::from_iter([Some(Literal::string(region))])
        } else {
            Struct::empty()
        }
    }

    async fn write_rows(
        &self,
        base: &LoadedTable,
        rows: &[Row],
        row_ids: Option<&[Option<i64>]>,
    ) -> Result<DataFile, GaveUp> {
        let region = rows[0].region.clone();
        let content = data_file(rows, row_ids);
        let mut builder = self
            .write(base, "data", content, &region, rows.len())
            .await?;
        builder.content(DataContentType::Data);
        if self.engine.below(2) == 0 {
            let nulls = rows.iter().filter(|row| row.note.is_none()).count() as u64;
            builder
                .value_counts(HashMap::from([(3, rows.len() as u64)]))
                .null_value_counts(HashMap::from([(3, nulls)]));
        }
        if self.tended.is_some() && self.engine.below(3) > 0 {
            let bound = |id: Option<i64>| HashMap::from([(1, Datum::long(id.unwrap_or(0)))]);
            builder
                .lower_bounds(bound(rows.iter().map(|row| row.id).min()))
                .upper_bounds(bound(rows.iter().map(|row| row.id).max()));
        }
        builder.build().map_err(|error| GaveUp(error.to_string()))
    }

    /// Puts a new file into the table's folder; returns where it is.
    async fn put(
        &self,
        base: &LoadedTable,
        kind: &str,
        extension: &str,
        content: bytes::Bytes,
    ) -> Result<String, GaveUp> {
        let location = base.metadata.location();
        let path = format!("{location}/data/{kind}-{}.{extension}", self.ambient.uuid());
        self.oracle.foreign_file(&path);
        let path = match &self.tended {
            Some(Tended {
                other_scheme: true, ..
            }) => path.replacen("s3://", "s3a://", 1),
            _ => path,
        };
        let options = WriteOptions::default();
        self.storage
            .put(&path, content, PutMode::CreateOnly, &options)
            .await?;
        Ok(path)
    }

    async fn write(
        &self,
        base: &LoadedTable,
        kind: &str,
        content: bytes::Bytes,
        region: &str,
        records: usize,
    ) -> Result<DataFileBuilder, GaveUp> {
        let size = content.len() as u64;
        let path = self.put(base, kind, "parquet", content).await?;
        let mut builder = DataFileBuilder::default();
        builder
            .file_path(path)
            .file_format(DataFileFormat::Parquet)
            .partition(self.partition(region))
            .partition_spec_id(0)
            .record_count(records as u64)
            .file_size_in_bytes(size);
        Ok(builder)
    }
}

/// A position delete file's entry, with the bounds of its paths: equal ones say that it is about one file.
fn positions_of(
    mut builder: DataFileBuilder,
    places: &[(String, i64)],
) -> Result<DataFile, GaveUp> {
    let bound = |place: Option<&(String, i64)>| {
        let path = place.map(|(path, _)| path.as_str()).unwrap_or_default();
        HashMap::from([(PATH_ID, Datum::string(path))])
    };
    builder
        .content(DataContentType::PositionDeletes)
        .lower_bounds(bound(places.first()))
        .upper_bounds(bound(places.last()));
    builder.build().map_err(|error| GaveUp(error.to_string()))
}
