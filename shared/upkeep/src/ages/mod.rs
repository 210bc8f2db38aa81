//! Rows that are too old: their files go whole, by one commit that writes manifests alone; what was there can be read and
//! restored until its snapshots are expired, and only then are files deleted.
//!
//! A file is too old when its statistics, or its partition, say so of every row. Where they don't say, or where a row has no
//! time, it stays: rows that are too old may be left in it, and a row that is not never goes. By default a partition goes at
//! a time, when all of it is too old.
//!
//! Where the table asks for it by row (`icepress.age-out.level`), files that have rows of both kinds are written anew without
//! those that are too old ([`rows`]), and come into the table by the same commit. Of a plan it is known which these files are, and
//! not how many of their rows go: no data file is read in order to plan.
//!
//! What is too old is decided on the very state that the commit is compared with, so files that came late are judged like
//! all others. Writers who began before see a snapshot of operation `delete`, and their own validation tells them.

mod column;
mod outlook;
mod policy;
mod rows;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use iceberg::spec::Operation;
use icepress_catalog::{CatalogError, LoadedTable, metadata::Metadata};
use icepress_model::{
    Attempt, Bytes, MetadataLocation, OldRows, ProcessId, Rows, SnapshotId, SpecId, TableId,
    TimestampMs,
};
use icepress_rewrite::RewriteContext;
use icepress_storage::Storage;
use icepress_table::{
    Chooser, CommitContext, CommitFailure, Gatekeeper, PROCESS_ID, TableError,
    filter::{Matches, PartitionFilter},
    partition_name, partition_type, remove_rows,
    survey::{Surveyed, survey_data_files},
};
use serde::Serialize;

use self::{
    column::{AgeColumn, Verdict},
    policy::AgePolicy,
    rows::RowWork,
};
pub use self::{
    outlook::{AgeOutlook, outlook},
    policy::{Base, Level},
    rows::MOST_BYTES,
};
use crate::{Committed, UpkeepError, past};

/// The property of a snapshot's summary that says up to when rows went, as milliseconds since 1970.
pub const AGED_OUT: &str = "icepress.age-out.up-to-ms";
/// What Amoro writes under `snapshot.producer` into the summaries of its own upkeep.
const AMORO_UPKEEP: [&str; 3] = ["OPTIMIZE", "DATA_EXPIRATION", "CLEAN_DANGLING_DELETE"];
/// How often files are written anew where others change them meanwhile.
const TRIES: u32 = 3;
/// Partitions that are named in a plan.
const NAMED: usize = 1_000;

/// Files and what is in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// How many.
    pub files: u64,
    /// Their rows, deleted ones included.
    pub rows: Rows,
    /// Their sizes.
    pub bytes: Bytes,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.rows = Rows(self.rows.get().saturating_add(other.rows.get()));
        self.bytes = Bytes(self.bytes.get().saturating_add(other.bytes.get()));
    }
}

/// What goes of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OldPartition {
    /// Its spec.
    pub spec_id: SpecId,
    /// Its name, as in `day=2026-01-31`; empty for a spec without fields.
    pub partition_name: String,
    /// Its files that go.
    #[serde(flatten)]
    pub old: Sum,
}

/// What is too old, or why nothing is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AgePlan {
    /// Why nothing is looked for: nothing is set, or there is nothing to count from.
    pub off: Option<String>,
    /// The column that is asked.
    pub field: Option<String>,
    /// Rows of this moment (milliseconds since 1970) and before are too old.
    pub up_to_ms: Option<i64>,
    /// What goes at a time.
    pub level: Option<Level>,
    /// What goes, the first thousand partitions by name.
    pub partitions: Vec<OldPartition>,
    /// Partitions beyond those.
    pub more_partitions: u64,
    /// All that goes.
    pub old: Sum,
    /// Files that have rows of both kinds, and are written anew without those that are too old.
    pub mixed: Sum,
    /// The same, beyond what one run writes anew.
    pub left_for_later: Sum,
    /// How many of their rows went; of what is done only.
    pub mixed_rows_gone: Option<Rows>,
    /// Files that would go by themselves, and stay since others of their partitions do.
    pub held_by_partition: Sum,
    /// Files that are too old, in partitions that the table's filter (`icepress.partition-filter`) does not take in whole.
    pub filtered: Sum,
    /// Files of which nobody says how old their rows are: they stay.
    pub unknown: Sum,
    /// Delete files that went along, since nothing needed them then; of what is done only.
    pub delete_files: u64,
    /// The snapshot that was made; of what is done only.
    pub snapshot_id: Option<SnapshotId>,
    /// The commit that made it; `None` where an earlier call had made it.
    #[serde(skip)]
    pub committed: Option<Committed>,
}

impl AgePlan {
    fn off(why: impl Into<String>) -> Self {
        Self {
            off: Some(why.into()),
            ..Self::default()
        }
    }

    /// Whether nothing goes.
    pub fn is_empty(&self) -> bool {
        self.old.files == 0 && self.mixed.files == 0
    }
}

/// Says what [`apply`] would let go of. Writes nothing.
pub async fn plan(context: &CommitContext, table: &TableId) -> Result<AgePlan, UpkeepError> {
    let loaded = context.catalog.load(table).await?;
    let chosen = choose(&context.storage, &loaded, context.ambient.now()).await?;
    Ok(chosen.plan)
}

/// Lets go of what is too old, in one commit; none where nothing is. `process` is who does it: called again for the same one
/// after any failure, what it committed is found. Files are written anew with `engine`, under another name for each attempt of the
/// process.
pub async fn apply(
    context: &CommitContext,
    table: &TableId,
    process: &ProcessId,
    gatekeeper: &dyn Gatekeeper,
    (engine, attempt): (&RewriteContext, Attempt),
) -> Result<AgePlan, UpkeepError> {
    for number in 0..TRIES {
        // No two tries of a process write files of one name.
        let attempt = Attempt(attempt.0.saturating_mul(TRIES) + number);
        let tried = try_once(context, table, process, gatekeeper, (engine, attempt)).await?;
        if let Tried::Done(plan) = tried {
            return Ok(*plan);
        }
    }
    Err(UpkeepError::RaceLost {
        table: table.clone(),
        attempts: TRIES,
    })
}

/// What one try came to.
enum Tried {
    Done(Box<AgePlan>),
    /// Somebody changed what was written anew.
    Outrun,
}

async fn try_once(
    context: &CommitContext,
    table: &TableId,
    process: &ProcessId,
    gatekeeper: &dyn Gatekeeper,
    (engine, attempt): (&RewriteContext, Attempt),
) -> Result<Tried, UpkeepError> {
    let done = |plan| Tried::Done(Box::new(plan));
    let now = context.ambient.now();
    // So that a property that can't be understood is told as such, and nothing is begun where there is nothing to do.
    let loaded = context.catalog.load(table).await?;
    let first = choose(&context.storage, &loaded, now).await?;
    let Some(up_to) = first.plan.up_to_ms.filter(|_| !first.plan.is_empty()) else {
        return Ok(done(first.plan));
    };
    let rewritten = match first.old_rows.filter(|_| !first.mixed.is_empty()) {
        None => None,
        Some(old) => {
            let work = RowWork {
                engine,
                process,
                attempt,
                old,
            };
            work.rewrite(&loaded, &first.mixed).await?
        }
    };
    if first.paths.is_empty() && rewritten.is_none() {
        return Ok(done(first.plan));
    }
    let gone = rewritten.as_ref().map(|rewritten| {
        let groups = rewritten.groups.iter();
        let hidden = groups.map(|group| group.result.rows_deleted);
        hidden.sum::<Rows>()
    });
    let chooser = AgeChooser {
        storage: Arc::clone(&context.storage),
        now,
        last: Mutex::new(first.plan),
        base: Mutex::default(),
    };
    let more = [(AGED_OUT, up_to.to_string())];
    let removed = remove_rows(
        gatekeeper,
        context,
        table,
        process,
        &chooser,
        rewritten.as_ref(),
        &more,
    )
    .await;
    let plan = chooser.last.into_inner();
    let plan = plan.unwrap_or_else(PoisonError::into_inner);
    let base = chooser.base.into_inner();
    let base = base.unwrap_or_else(PoisonError::into_inner);
    match removed {
        Ok(outcome) => Ok(done(AgePlan {
            mixed_rows_gone: gone,
            committed: base.map(|base| Committed {
                base,
                location: outcome.location,
            }),
            delete_files: outcome.removed_delete_files,
            snapshot_id: Some(outcome.snapshot_id),
            ..plan
        })),
        Err(CommitFailure::NothingLeft { dropped, .. }) if !dropped.is_empty() => {
            let why = &dropped[0].reason;
            tracing::info!(%table, %why, "what was written without old rows is not what the table has any more");
            Ok(Tried::Outrun)
        }
        Err(CommitFailure::NothingLeft { .. }) => Ok(done(plan)),
        Err(failure) => Err(of_commit(failure)),
    }
}

fn of_commit(failure: CommitFailure) -> UpkeepError {
    match failure {
        CommitFailure::RaceLost {
            table, attempts, ..
        } => UpkeepError::RaceLost { table, attempts },
        CommitFailure::OutcomeUnknown { table, message } => {
            UpkeepError::OutcomeUnknown { table, message }
        }
        CommitFailure::HeldBack { table, reason } => UpkeepError::HeldBack { table, reason },
        CommitFailure::TableGone(table) => CatalogError::NoSuchTable(table).into(),
        CommitFailure::Catalog(error) => error.into(),
        CommitFailure::Table(error) => error.into(),
        CommitFailure::NothingLeft { table, .. } => {
            UpkeepError::refused(&table, "nothing is too old any more")
        }
    }
}

/// Chooses on each state of the table anew.
#[derive(Debug)]
struct AgeChooser {
    storage: Arc<dyn Storage>,
    now: TimestampMs,
    /// What the last try chose.
    last: Mutex<AgePlan>,
    /// The state that it chose on.
    base: Mutex<Option<MetadataLocation>>,
}

#[async_trait]
impl Chooser for AgeChooser {
    async fn choose(&self, loaded: &LoadedTable) -> Result<HashSet<String>, TableError> {
        let chosen = choose(&self.storage, loaded, self.now).await;
        let chosen = chosen.map_err(|error| match error {
            UpkeepError::Table(error) => error,
            other => TableError::Unsupported {
                table: loaded.table.clone(),
                message: other.to_string(),
            },
        })?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = chosen.plan;
        let base = Some(loaded.metadata_location.clone());
        *self.base.lock().unwrap_or_else(PoisonError::into_inner) = base;
        Ok(chosen.paths)
    }
}

struct Chosen {
    plan: AgePlan,
    /// Files that go whole.
    paths: HashSet<String>,
    /// Files that have rows of both kinds, and are written anew.
    mixed: HashSet<String>,
    /// Which rows of theirs go.
    old_rows: Option<OldRows>,
}

/// A partition in the making.
#[derive(Debug, Default)]
struct Tally {
    old: Sum,
    paths: Vec<String>,
    mixed: Vec<(String, Sum)>,
    has_others: bool,
}

async fn choose(
    storage: &Arc<dyn Storage>,
    loaded: &LoadedTable,
    now: TimestampMs,
) -> Result<Chosen, UpkeepError> {
    let metadata = &loaded.metadata;
    let refused = |message| UpkeepError::refused(&loaded.table, message);
    let nothing = |why: &str| Chosen {
        plan: AgePlan::off(why),
        paths: HashSet::new(),
        mixed: HashSet::new(),
        old_rows: None,
    };
    let Some(policy) = AgePolicy::of(metadata.properties()).map_err(refused)? else {
        return Ok(nothing("nothing says how old its rows may become"));
    };
    let filter = PartitionFilter::of_table(metadata).map_err(refused)?;
    let base = match policy.base {
        Base::Now => Some(now.get()),
        Base::LastCommit => last_commit(metadata),
    };
    let keep = i64::try_from(policy.keep.as_millis()).unwrap_or(i64::MAX);
    let cutoff = base.unwrap_or(i64::MIN).saturating_sub(keep);
    let column = AgeColumn::of(metadata, &policy, cutoff).map_err(refused)?;
    let old_rows = match policy.level {
        Level::Row => Some(column.old_rows().map_err(refused)?),
        Level::File | Level::Partition => None,
    };
    if base.is_none() {
        return Ok(nothing("no commit is known to count ages from"));
    }

    let mut tallies: Vec<Tally> = Vec::new();
    let mut unknown = Sum::default();
    let surveyed = survey_data_files(storage, loaded, column.id, |file| {
        let place = file.partition as usize;
        if tallies.len() <= place {
            tallies.resize_with(place + 1, Tally::default);
        }
        let tally = &mut tallies[place];
        let size = Sum {
            files: 1,
            rows: file.rows,
            bytes: file.bytes,
        };
        let spec = metadata.partition_spec_by_id(file.spec_id.get());
        match column.verdict(&file, spec.map(AsRef::as_ref)) {
            Verdict::Old => {
                tally.old.add(size);
                tally.paths.push(file.path.to_owned());
            }
            Verdict::Young | Verdict::Unknown
                if policy.level == Level::Row && column.has_old_rows(&file) =>
            {
                tally.mixed.push((file.path.to_owned(), size));
            }
            Verdict::Young => tally.has_others = true,
            Verdict::Unknown => {
                tally.has_others = true;
                unknown.add(size);
            }
        }
    });
    let surveyed: Surveyed = surveyed.await?;

    let mut plan = AgePlan {
        field: Some(policy.field.clone()),
        up_to_ms: Some(cutoff),
        level: Some(policy.level),
        unknown,
        ..AgePlan::default()
    };
    let (mut paths, mut mixed) = (HashSet::new(), HashSet::new());
    let mut named: BTreeMap<(String, SpecId), Sum> = BTreeMap::new();
    for (partition, tally) in surveyed.partitions.iter().zip(tallies) {
        if tally.old.files == 0 && tally.mixed.is_empty() {
            continue;
        }
        let takes_whole = |filter: &PartitionFilter| {
            filter.matches(metadata, partition.spec_id, &partition.value) == Matches::All
        };
        if !filter.as_ref().is_none_or(takes_whole) {
            plan.filtered.add(tally.old);
            tally
                .mixed
                .iter()
                .for_each(|(_, size)| plan.filtered.add(*size));
            continue;
        }
        for (path, size) in tally.mixed {
            // The first is taken however large it is.
            if plan.mixed.files > 0 && plan.mixed.bytes + size.bytes > MOST_BYTES {
                plan.left_for_later.add(size);
                continue;
            }
            plan.mixed.add(size);
            mixed.insert(path);
        }
        if tally.old.files == 0 {
            continue;
        }
        if policy.level == Level::Partition && tally.has_others {
            plan.held_by_partition.add(tally.old);
            continue;
        }
        plan.old.add(tally.old);
        paths.extend(tally.paths);
        let name = name_of(metadata, partition.spec_id, &partition.value);
        named
            .entry((name, partition.spec_id))
            .or_default()
            .add(tally.old);
    }
    plan.more_partitions = named.len().saturating_sub(NAMED) as u64;
    let listed = named.into_iter().take(NAMED);
    plan.partitions = listed
        .map(|((partition_name, spec_id), old)| OldPartition {
            spec_id,
            partition_name,
            old,
        })
        .collect();
    Ok(Chosen {
        plan,
        paths,
        mixed,
        old_rows,
    })
}

/// When the newest snapshot of the main branch was made that is nobody's upkeep.
fn last_commit(metadata: &Metadata) -> Option<i64> {
    let is_upkeep = |snapshot: &iceberg::spec::Snapshot| {
        let summary = snapshot.summary();
        let properties = &summary.additional_properties;
        let by_amoro = properties.get("snapshot.producer");
        summary.operation == Operation::Replace
            || properties.contains_key(PROCESS_ID)
            || by_amoro.is_some_and(|by| AMORO_UPKEEP.contains(&by.as_str()))
    };
    past::ancestors(metadata, metadata.current_snapshot_id())
        .find(|snapshot| !is_upkeep(snapshot))
        .map(|snapshot| snapshot.timestamp_ms())
}

fn name_of(metadata: &Metadata, spec_id: SpecId, value: &iceberg::spec::Struct) -> String {
    let Some(spec) = metadata.partition_spec_by_id(spec_id.get()) else {
        return String::new();
    };
    // The survey read the partition by the same type.
    let typed = partition_type(metadata, spec_id);
    typed.map_or_else(
        |_| String::new(),
        |typed| partition_name(spec, &typed, value),
    )
}
