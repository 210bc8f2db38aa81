//! What is to become of an object in a table's folders.

use std::collections::{HashMap, HashSet};

use icepress_catalog::metadata::{glimpse, wants_deletion};
use icepress_model::{MetadataLocation, ProcessId, TimestampMs};
use icepress_storage::{ListedObject, StorageErrorKind};
use xxhash_rust::xxh3::Xxh3;

use super::{
    OrphanScope, OrphanSurvey,
    names::{
        OwnName, is_folder_mark, is_hidden, is_ledger, is_metadata_file, is_version_hint, kind_of,
        own_name,
    },
    run::Run,
};
use crate::{Counts, DeadFile, Fate, ORPHAN_FLOOR, UpkeepError, dead::mark_of};

/// What a Flink job writes into the summaries of its snapshots. Manifests of checkpoints that are not committed yet begin with
/// it, and stay for as long as the job does.
const FLINK_JOB: &str = "flink.job-id";
/// No request is under way for an hour: what a dead attempt of ours wrote is certainly not written any more.
const SETTLED_MS: i64 = 3_600_000;
/// How many of what was found are named.
const EXAMPLES: usize = 20;

/// Looks at objects one after another.
pub(super) struct Surveyor<'a> {
    run: &'a Run<'a>,
    pub(super) survey: OrphanSurvey,
    partition_fields: HashSet<String>,
    flink_jobs: HashSet<String>,
    fates: HashMap<ProcessId, Fate>,
    wants_old_metadata_deleted: bool,
}

/// A file among those that nothing refers to.
enum Found {
    /// Nothing refers to it.
    Unreferenced {
        at_once: bool,
    },
    Young,
    InUse,
    Hidden,
    OldMetadata,
    /// The table's, ours, or nothing at all.
    Passed,
}

impl<'a> Surveyor<'a> {
    pub(super) fn new(run: &'a Run<'a>) -> Self {
        let metadata = &run.loaded.metadata;
        let specs = metadata.partition_specs_iter();
        let fields = specs.flat_map(|spec| spec.fields().iter().map(|field| field.name.clone()));
        let jobs = metadata.snapshots().filter_map(|snapshot| {
            let summary = &snapshot.summary().additional_properties;
            summary
                .get(FLINK_JOB)
                .filter(|job| !job.is_empty())
                .cloned()
        });
        Self {
            partition_fields: fields.collect(),
            flink_jobs: jobs.collect(),
            fates: HashMap::new(),
            wants_old_metadata_deleted: wants_deletion(metadata.properties()),
            survey: OrphanSurvey::default(),
            run,
        }
    }

    /// Counts the object; returns it where nothing refers to it.
    pub(super) async fn see(
        &mut self,
        object: ListedObject,
    ) -> Result<Option<DeadFile>, UpkeepError> {
        let found = self.judge(&object).await?;
        let file = DeadFile {
            kind: kind_of(&object.location),
            bytes: object.size,
            last_snapshot: None,
            modified: Some(object.modified),
            at_once: matches!(found, Found::Unreferenced { at_once: true }),
            path: object.location,
        };
        let survey = &mut self.survey;
        survey.listed.add(&file);
        let counts: &mut Counts = match found {
            Found::Passed => return Ok(None),
            Found::Young => &mut survey.young,
            Found::InUse => &mut survey.in_use,
            Found::Hidden => &mut survey.hidden,
            Found::OldMetadata => &mut survey.old_metadata,
            Found::Unreferenced { .. } => {
                survey.unreferenced.entry(file.kind).or_default().add(&file);
                if survey.examples.len() < EXAMPLES {
                    survey.examples.push(file.path.clone());
                }
                return Ok(Some(file));
            }
        };
        counts.add(&file);
        Ok(None)
    }

    async fn judge(&mut self, object: &ListedObject) -> Result<Found, UpkeepError> {
        let location = object.location.as_str();
        let is_of_scope = match self.run.request.scope {
            OrphanScope::All => true,
            OrphanScope::OldMetadata => is_metadata_file(location),
        };
        if !is_of_scope {
            return Ok(Found::Passed);
        }
        let mark = mark_of(location);
        if self.run.live.holds(mark) {
            return Ok(Found::Passed);
        }
        let below = self.run.below(location);
        if is_ledger(below) || is_folder_mark(below) || is_version_hint(below) {
            return Ok(Found::Passed);
        }
        if is_hidden(below, &self.partition_fields) {
            return Ok(Found::Hidden);
        }
        if is_metadata_file(location) {
            if self.run.old_metadata.contains(&mark) {
                if !self.wants_old_metadata_deleted {
                    return Ok(Found::OldMetadata);
                }
            } else {
                self.refuse_foreign(location).await?;
            }
        }
        let name = location.rsplit('/').next().unwrap_or(location);
        if self
            .flink_jobs
            .iter()
            .any(|job| name.starts_with(job.as_str()))
        {
            return Ok(Found::InUse);
        }
        let now = self.run.now;
        // A store that does not say when is not asked to be believed.
        let is_known = object.modified.get() > 0;
        let age = now.get().saturating_sub(object.modified.get());
        if let Some(own) = own_name(location) {
            let newest = match self.fate(&own.process).await? {
                Fate::Unknown => None,
                Fate::Over => Some(false),
                Fate::UnderWay(attempts) => Some(is_current(attempts, &own)),
            };
            match newest {
                Some(true) => return Ok(Found::InUse),
                Some(false) if is_known && age >= SETTLED_MS => {
                    return Ok(Found::Unreferenced { at_once: true });
                }
                _ => {}
            }
        }
        let floor = i64::try_from(ORPHAN_FLOOR.as_millis()).unwrap_or(i64::MAX);
        if !is_known || age < floor {
            return Ok(Found::Young);
        }
        Ok(Found::Unreferenced { at_once: false })
    }

    async fn fate(&mut self, process: &ProcessId) -> Result<&Fate, UpkeepError> {
        let table = &self.run.loaded.table;
        if !self.fates.contains_key(process) {
            let fate = self.run.others.attempts.fate(table, process).await;
            let fate = fate.map_err(|message| UpkeepError::AttemptsUnknown {
                table: table.clone(),
                message,
            })?;
            self.fates.insert(process.clone(), fate);
        }
        Ok(self.fates.get(process).unwrap_or(&Fate::Unknown))
    }

    /// Refuses a table in whose folders another one's metadata lies: whatever that one refers to would look unneeded.
    async fn refuse_foreign(&self, location: &str) -> Result<(), UpkeepError> {
        let table = &self.run.loaded.table;
        let file = MetadataLocation::from(location);
        let found = match glimpse(self.run.context.storage.as_ref(), &file).await {
            Err(error) if error.kind == StorageErrorKind::NotFound => return Ok(()),
            found => found.map_err(|source| UpkeepError::unreadable(table, source))?,
        };
        let Some(uuid) = found.and_then(|found| found.table_uuid) else {
            return Ok(());
        };
        let own = self.run.loaded.metadata.uuid().to_string();
        let dropped = &self.run.request.dropped;
        let is_known = dropped.iter().any(|it| it.eq_ignore_ascii_case(&uuid));
        if uuid.eq_ignore_ascii_case(&own) || is_known {
            return Ok(());
        }
        Err(UpkeepError::refused(
            table,
            format!(
                "its folders hold metadata of another table, of UUID {uuid} ({location}; its own is {own}): what that one \
                 needs would look as if nobody did. If that table is dropped and nothing of it is needed, name it with \
                 --dropped {uuid}"
            ),
        ))
    }
}

/// Whether the attempt may still report.
fn is_current(newest: &[icepress_model::Attempt], own: &OwnName) -> bool {
    newest
        .get(own.index)
        .is_none_or(|newest| own.attempt >= *newest)
}

/// What stands for a file as it was found: one that was written anew since is another.
pub(super) fn fingerprint(file: &DeadFile) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&file.modified.map_or(0, TimestampMs::get).to_le_bytes());
    hash.update(&file.bytes.get().to_le_bytes());
    hash.update(file.path.as_bytes());
    hash.digest()
}
