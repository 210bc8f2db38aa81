//! What must be true after every step: the protocol's invariants over all rows, the tables' rows as a plain model has
//! them, and every file that a snapshot needs in its place.

mod limits;
mod lineage;
mod protocol;
mod retention;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use iceberg::spec::{DataContentType, Operation, Snapshot, TableMetadata};
use icepress_model::{MetadataLocation, TableId, TimestampMs};
use icepress_table::PROCESS_ID;
use icepress_upkeep::ages::AGED_OUT;

pub use self::limits::{Ban, Rules, nothing_held};
use crate::{
    ambient::START,
    catalog::{self, Moved},
    dynamo::Dynamo,
    engine::Engine,
    reader::{Identity, LiveFile, Reader},
    rows::{Lineage, Row},
    storage,
};

/// What a foreign writer's snapshot does to a table's rows.
#[derive(Debug, Clone, Default)]
pub struct RowChange {
    /// Ids of rows that go, wherever they are.
    pub removed: BTreeSet<i64>,
    /// Rows that come.
    pub added: Vec<Row>,
}

#[derive(Debug, Default)]
struct TableModel {
    needed: BTreeSet<String>,
    /// Every snapshot that it ever had.
    told: BTreeMap<i64, Told>,
    current: Option<i64>,
    /// Snapshots, branches and tags, as its last commit left them.
    history: retention::History,
}

/// What a snapshot must be.
#[derive(Debug, Default)]
struct Told {
    rows: Arc<BTreeMap<i64, Row>>,
    /// Rows that it wrote or changed.
    written: BTreeSet<i64>,
    /// What is known of each row's lineage, by `id`; `None` before it was looked at.
    lineage: Option<BTreeMap<i64, Lineage>>,
}

#[derive(Debug, Default)]
struct State {
    tables: BTreeMap<TableId, TableModel>,
    expected: HashMap<i64, RowChange>,
    foreign_files: BTreeSet<String>,
    processes: BTreeSet<String>,
    /// What each process under way was planned on.
    bases: BTreeMap<String, i64>,
    /// What each snapshot needs that a process was ever planned on, in a tended world.
    files: BTreeMap<i64, BTreeSet<String>>,
    /// Every snapshot that any table ever had, with the process that it names.
    snapshots_ever: BTreeMap<i64, Option<String>>,
    /// For each table, by the hashes that a digest has of it, the states that its row ever named.
    named: BTreeSet<(u64, u64)>,
    /// When each commit lock was written last.
    locks: BTreeMap<String, Duration>,
    /// Who holds each commit lock.
    lock_owners: BTreeMap<String, String>,
    limits: limits::Remembered,
    rewrites: u64,
    foreign_commits: u64,
    /// Whether tasks have no reason to fail but what other writers did.
    no_task_may_fail: bool,
}

/// What the names of machines begin with at which people set tables back.
pub const RESTORER: &str = "restorer";

/// Watches every service, and knows what each table's rows must be.
pub struct Oracle {
    engine: Arc<Engine>,
    reader: Reader,
    state: Mutex<State>,
}

impl fmt::Debug for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oracle").finish_non_exhaustive()
    }
}

impl Oracle {
    /// An oracle of an empty world.
    pub fn new(engine: &Arc<Engine>, objects: &Arc<storage::Objects>) -> Arc<Self> {
        Arc::new(Self {
            engine: Arc::clone(engine),
            reader: Reader::new(objects),
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reader that it judges with.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Says what a snapshot will do that a foreign writer is about to commit.
    pub fn expect(&self, snapshot: i64, change: RowChange) {
        self.state().expected.insert(snapshot, change);
    }

    /// Says that a foreign writer wrote a file.
    pub fn foreign_file(&self, location: &str) {
        self.state().foreign_files.insert(location.to_owned());
    }

    /// From now on tasks have no reason to fail but what other writers did.
    pub fn let_no_task_fail(&self) {
        self.state().no_task_may_fail = true;
    }

    /// Commits of ours and of foreign writers so far.
    pub fn commits(&self) -> (u64, u64) {
        let state = self.state();
        (state.rewrites, state.foreign_commits)
    }

    /// Processes that were ever written to the state table.
    fn knows_process(&self, process: &str) -> bool {
        self.state().processes.contains(process)
    }

    /// Holds a table's state against what it must be, after a commit of `writer` or at rest.
    fn judge_commit(
        &self,
        state: &mut State,
        table: &TableId,
        location: &MetadataLocation,
        metadata: &TableMetadata,
        writer: Option<&str>,
    ) -> Result<(), String> {
        let is_foreign = writer.is_none_or(|writer| writer.starts_with("writer"));
        let is_restorer = writer.is_some_and(|writer| writer.starts_with(RESTORER));
        let now = self.now();
        let current = metadata.current_snapshot_id();
        let was_told = |state: &State, id| {
            state
                .tables
                .get(table)
                .is_some_and(|it| it.told.contains_key(&id))
        };
        let mut aged_out = None;
        let mut new: Vec<&Arc<Snapshot>> = metadata
            .snapshots()
            .filter(|snapshot| !was_told(state, snapshot.snapshot_id()))
            .collect();
        new.sort_by_key(|snapshot| (snapshot.sequence_number(), snapshot.timestamp_ms()));
        let is_back = current.is_some_and(|id| was_told(state, id));
        for snapshot in new {
            let id = snapshot.snapshot_id();
            let process = snapshot.summary().additional_properties.get(PROCESS_ID);
            state.snapshots_ever.insert(id, process.cloned());
            let change = state.expected.remove(&id);
            let model = state.tables.entry(table.clone()).or_default();
            let before = snapshot.parent_snapshot_id();
            let before = before.and_then(|parent| model.told.get(&parent));
            let mut told = Told {
                rows: before
                    .map(|told| Arc::clone(&told.rows))
                    .unwrap_or_default(),
                ..Told::default()
            };
            if let Some(change) = change {
                state.foreign_commits += 1;
                let rows = Arc::make_mut(&mut told.rows);
                rows.retain(|id, _| !change.removed.contains(id));
                told.written.extend(change.added.iter().map(|row| row.id));
                for row in change.added {
                    if rows.insert(row.id, row.clone()).is_some() {
                        return Err(format!("the writer added row {} twice", row.id));
                    }
                }
            } else if process.is_some() && current == Some(id) {
                state.rewrites += 1;
                let summary = snapshot.summary();
                if summary.additional_properties.contains_key(AGED_OUT) {
                    aged_out = Some(id);
                } else {
                    self.judge_operation(metadata, snapshot)?;
                }
            } else {
                return Err(format!("nobody announced snapshot {id}"));
            }
            model.told.insert(id, told);
        }
        let model = state.tables.entry(table.clone()).or_default();
        if is_back && current != model.current && !is_foreign && !is_restorer {
            return Err(format!("it was set back to {current:?}"));
        }
        model.needed = self.reader.needed(metadata)?;
        model.needed.insert(location.to_string());
        let live = self.reader.rows(metadata)?;
        let found: Vec<Row> = live.iter().map(|live| live.row.clone()).collect();
        let Some(id) = current else {
            return match found.is_empty() {
                true => Ok(()),
                false => Err(format!("{} rows without a snapshot", found.len())),
            };
        };
        if aged_out.is_some() {
            let told = model.told.entry(id).or_default();
            let rows = Arc::make_mut(&mut told.rows);
            let stay: BTreeSet<i64> = found.iter().map(|row| row.id).collect();
            let gone = rows.extract_if(.., |id, _| !stay.contains(id));
            let gone: Vec<i64> = gone.map(|(id, _)| id).collect();
            let operation = metadata
                .current_snapshot()
                .map(|it| it.summary().operation.clone());
            let count = gone.len();
            self.engine.note(format_args!(
                "{table}: {count} rows went for their age, by {operation:?}"
            ));
            let skew = state.limits.rules.skew;
            retention::judge_age(metadata, gone.into_iter(), now, skew)?;
        }
        let parent = metadata
            .current_snapshot()
            .and_then(|it| it.parent_snapshot_id());
        let inherited = parent.and_then(|parent| model.told.get(&parent)?.lineage.clone());
        let told = model.told.entry(id).or_default();
        let mut expected: Vec<Row> = told.rows.values().cloned().collect();
        expected.sort();
        if found != expected {
            return Err(difference(&found, &expected));
        }
        // What a snapshot wrote is new to whoever sees it first.
        let (known, written) = match told.lineage.take() {
            Some(known) => (known, BTreeSet::new()),
            None => (inherited.unwrap_or_default(), told.written.clone()),
        };
        told.lineage = Some(lineage::judge(metadata, &known, &live, &written)?);
        model.current = current;
        let history = retention::History::of(metadata, &self.reader.refs(location)?);
        if state.limits.rules.is_tended {
            let pinned: BTreeSet<i64> = state.bases.values().copied().collect();
            for snapshot in metadata.snapshots() {
                let id = snapshot.snapshot_id();
                if let std::collections::btree_map::Entry::Vacant(vacant) = state.files.entry(id) {
                    vacant.insert(self.reader.files_of(metadata, snapshot)?);
                }
            }
            if is_restorer {
                model.history.judge_restore(&history)?;
            } else if !is_foreign {
                let skew = state.limits.rules.skew;
                model
                    .history
                    .judge_step(&history, metadata, &pinned, now, skew)?;
            }
        }
        model.history = history;
        Ok(())
    }

    /// The true time, in milliseconds since 1970.
    fn now(&self) -> i64 {
        (START + self.engine.now()).get()
    }

    /// A rewrite replaces; where it tells in position deletes or vectors what was deleted by value, other compactors must
    /// be able to see that by their own validation, and it overwrites.
    fn judge_operation(&self, metadata: &TableMetadata, snapshot: &Snapshot) -> Result<(), String> {
        let operation = snapshot.summary().operation.clone();
        let parent = snapshot.parent_snapshot_id().unwrap_or_default();
        let before = self.reader.live_in(metadata, parent)?;
        let after = self.reader.live(metadata)?;
        let of = |live: &[LiveFile], content: DataContentType| -> BTreeSet<Identity> {
            let live = live.iter();
            live.filter(|live| live.file.content_type() == content)
                .map(LiveFile::identity)
                .collect()
        };
        let (data, by_value) = (DataContentType::Data, DataContentType::EqualityDeletes);
        let by_position = DataContentType::PositionDeletes;
        // One that applied to no data file told nobody anything, and could go in any case.
        let still_by_value = of(&after, by_value);
        let was_told = before.iter().any(|live| {
            live.file.content_type() == by_value
                && !still_by_value.contains(&live.identity())
                && self.reader.applies_to_any(metadata, live, &before)
        });
        let must_overwrite = was_told
            && of(&before, data) == of(&after, data)
            && !of(&after, by_position).is_subset(&of(&before, by_position));
        let is_right = match operation {
            Operation::Replace => !must_overwrite,
            Operation::Overwrite => !of(&before, by_value).is_empty(),
            _ => false,
        };
        if is_right {
            return Ok(());
        }
        Err(format!("a rewrite was committed as {operation:?}"))
    }

    /// Everything that must hold once nothing happens any more; the reasons why not.
    pub fn judge_rest(
        &self,
        pointers: &catalog::Pointers,
        objects: &storage::Objects,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut needed = BTreeSet::new();
        for (table, location) in pointers.all() {
            let judged = self.reader.metadata(&location).and_then(|metadata| {
                needed.extend(self.reader.needed(&metadata)?);
                needed.insert(location.to_string());
                self.judge_commit(&mut self.state(), &table, &location, &metadata, None)?;
                self.judge_branches(&table, &location, &metadata)
            });
            if let Err(message) = judged {
                wrong.push(format!("{table}: {message}"));
            }
        }
        // The files of a log may have gone with the table that they were another state of.
        for missing in needed.iter().filter(|location| !objects.has(location)) {
            wrong.push(format!("{missing} is live, and missing"));
        }
        for left in objects.locations() {
            if !needed.contains(&left) && !self.is_accounted_for(&left) {
                wrong.push(format!("{left} belongs to nobody"));
            }
        }
        wrong
    }

    /// Whether a file that no snapshot needs can be told by its name: whose it was, and that it may go.
    fn is_accounted_for(&self, location: &str) -> bool {
        if self.state().foreign_files.contains(location) {
            return true;
        }
        let (folder, name) = location.rsplit_once('/').unwrap_or(("", location));
        if folder.ends_with("/metadata") {
            // Named by a fresh UUID, and needed by nothing once its commit did not go through.
            let endings = [".metadata.json", ".avro", ".parquet"];
            return endings.iter().any(|ending| name.ends_with(ending));
        }
        // Lists of what is to be deleted.
        if folder.contains("/metadata/icepress-") {
            return true;
        }
        let Some(process) = protocol::process_of(name) else {
            return false;
        };
        // Plans are written before their process is: one that never came to be leaves them to the folder's lifecycle.
        folder.ends_with("/plans") || self.knows_process(&process)
    }
}

fn difference(found: &[Row], expected: &[Row]) -> String {
    let count = |rows: &[Row]| {
        let mut counts: BTreeMap<Row, i64> = BTreeMap::new();
        for row in rows {
            *counts.entry(row.clone()).or_default() += 1;
        }
        counts
    };
    let (mut found_counts, expected_counts) = (count(found), count(expected));
    for (row, number) in expected_counts {
        *found_counts.entry(row).or_default() -= number;
    }
    let mut wrong = found_counts.into_iter().filter(|(_, number)| *number != 0);
    let first: Vec<String> = wrong
        .by_ref()
        .take(3)
        .map(|(row, number)| format!("{row:?} {number:+}"))
        .collect();
    format!(
        "{} rows where the model has {}: {} (and {} more)",
        found.len(),
        expected.len(),
        first.join(", "),
        wrong.count()
    )
}

impl catalog::Watch for Oracle {
    fn moved(&self, moved: &Moved<'_>) {
        let Moved {
            writer,
            table,
            before,
            ..
        } = moved;
        if moved.before != moved.expected {
            self.engine.violated(format!(
                "{writer} moved {table} on from {:?}, and lost {before:?}",
                moved.expected
            ));
        }
        let Some(after) = moved.after else {
            self.state().tables.remove(table);
            return;
        };
        let judged = self.reader.metadata(after).and_then(|metadata| {
            self.judge_lock_of(moved, after)?;
            self.judge_blocked(moved, &metadata)?;
            self.judge_commit(&mut self.state(), table, after, &metadata, Some(writer))
        });
        if let Err(message) = judged {
            self.engine.violated(format!(
                "{table} after a commit of {writer} to {after}: {message}"
            ));
        }
    }
}

impl Oracle {
    /// Where others move pointers blindly, whoever moves one holds the lock at that very moment.
    fn judge_lock_of(&self, moved: &Moved<'_>, after: &MetadataLocation) -> Result<(), String> {
        let state = self.state();
        if !state.limits.rules.blind || moved.before.is_none() {
            return Ok(());
        }
        let holder = state.lock_owners.get(&moved.table.name_in_catalog());
        if holder.is_some_and(|holder| holder == after.as_str()) {
            return Ok(());
        }
        Err(format!("the lock is held by {holder:?}"))
    }

    /// Nobody of ours commits where a blocker keeps us away.
    fn judge_blocked(&self, moved: &Moved<'_>, metadata: &TableMetadata) -> Result<(), String> {
        let state = self.state();
        let known = state.tables.get(moved.table);
        let Some(snapshot) = metadata.current_snapshot() else {
            return Ok(());
        };
        let id = snapshot.snapshot_id();
        if known.is_some_and(|known| known.told.contains_key(&id)) {
            return Ok(());
        }
        match snapshot.summary().additional_properties.get(PROCESS_ID) {
            Some(process) => state.limits.judge_commit(moved, process, self.engine.now()),
            None => Ok(()),
        }
    }
}

impl storage::Watch for Oracle {
    fn put(&self, writer: &str, location: &str, replaced: bool) {
        // How far a run came is written over what it said before.
        let is_record = location.contains("/metadata/icepress-");
        if replaced && !is_record {
            self.engine
                .violated(format!("{writer} overwrote {location} with something else"));
        }
    }

    fn deleted(&self, writer: &str, location: &str) {
        let state = self.state();
        let needs = state
            .tables
            .iter()
            .find(|(_, model)| model.needed.contains(location));
        if let Some((table, _)) = needs {
            self.engine
                .violated(format!("{writer} deleted {location}, which {table} needs"));
        }
        // Other writers know nothing of processes.
        if writer.starts_with("writer") {
            return;
        }
        let works_with = state.bases.iter().find(|(_, base)| {
            let files = state.files.get(base);
            files.is_some_and(|files| files.contains(location))
        });
        if let Some((process, base)) = works_with {
            self.engine.violated(format!(
                "{writer} deleted {location}, which process {process} works with: it was planned on snapshot {base}"
            ));
        }
    }
}

/// Why the state table is not at rest, if it is not. The table `outcast` is left out; `tended_now` is the time, where tables are
/// looked at by the clock.
pub fn unrest(
    dynamo: &Dynamo,
    table: &str,
    pointers: &catalog::Pointers,
    outcast: Option<&str>,
    tended_now: Option<TimestampMs>,
) -> Option<String> {
    let mut tables = pointers.all();
    tables.retain(|table, _| Some(table.name.as_str()) != outcast);
    protocol::unrest(&dynamo.items(table), &tables, outcast, tended_now)
}
