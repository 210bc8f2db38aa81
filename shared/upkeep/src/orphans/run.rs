//! One search: what it stands on, the look at everything, and what is done about it.

use std::{collections::HashSet, time::Duration};

use icepress_catalog::LoadedTable;
use icepress_catalog::metadata::metadata_folder;
use icepress_model::{TableId, TimestampMs};
use icepress_storage::{Reach, one_spelling};
use icepress_table::CommitContext;

use super::{
    OrphanReport, OrphanRequest, OrphanScope, OrphanSurvey, Others, chain,
    inventory::Inventory,
    listing::Listing,
    live::LiveSet,
    source::Source,
    survey::{Surveyor, fingerprint},
};
use crate::{
    DeadFile, NO_INVENTORY, ORPHAN_FLOOR, OrphanPolicy, Surroundings, UpkeepError,
    dead::{Staying, mark_of},
    delete::{Judged, Sweep},
    expire::Progress,
    ledger::{Intent, PartWriter, Planned, Record},
    limits::Meter,
    places::{folders_of, places_of},
    quarantine::{Admission, Quarantine, release},
};

/// After so long a list that was never finished is for nothing: whoever wrote it is dead.
const FORSAKEN: Duration = Duration::from_secs(24 * 3600);

/// What becomes of a file that nothing refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is deleted.
    Goes,
    /// It is marked, to go later.
    IsMarked,
    /// A later run sees.
    Waits,
}

/// What a search stands on.
pub(super) struct Run<'a> {
    pub(super) context: &'a CommitContext,
    pub(super) others: Others<'a>,
    pub(super) request: &'a OrphanRequest,
    pub(super) loaded: LoadedTable,
    pub(super) live: LiveSet,
    /// Marks of metadata files that left the log.
    pub(super) old_metadata: HashSet<u64>,
    pub(super) now: TimestampMs,
    folders: Vec<String>,
    places: Reach,
    age: Duration,
    /// The inventory to go by.
    inventory: Option<String>,
    quarantine: Option<Quarantine>,
    surroundings: Surroundings,
    /// Fingerprints of what earlier runs found, sorted.
    earlier: Vec<u64>,
}

impl<'a> Run<'a> {
    /// Finds out what is needed, unless the table, or who lives around it, forbids the search.
    pub(super) async fn begin(
        context: &'a CommitContext,
        table: &TableId,
        others: Others<'a>,
        request: &'a OrphanRequest,
    ) -> Result<Self, UpkeepError> {
        let loaded = context.catalog.load(table).await?;
        let metadata = &loaded.metadata;
        let refused = |message: String| UpkeepError::refused(table, message);
        let policy = OrphanPolicy::of(metadata.properties()).map_err(refused)?;
        let age = request.older_than.unwrap_or(policy.age);
        if age < ORPHAN_FLOOR {
            return Err(refused(format!(
                "files younger than {} hours stay in any case, for whoever writes them may commit them yet: ask for an age \
                 of 24h or more",
                ORPHAN_FLOOR.as_secs() / 3600
            )));
        }
        let own = folders_of(metadata);
        if let Some(whole) = own.iter().find(|folder| is_whole_store(folder)) {
            return Err(refused(format!(
                "its folder {whole} is a whole bucket or disk: what else lies there can't be told from what failed writers left"
            )));
        }
        let surroundings = others.neighbours.around(&loaded, &own).await;
        if let Some(overlap) = surroundings.overlapping.first() {
            return Err(refused(format!(
                "its folder {} and {} of table {} are the same or lie in one another: what that table needs would look as if \
                 nobody did ({} such pairs)",
                overlap.ours,
                overlap.theirs,
                overlap.table,
                surroundings.overlapping.len()
            )));
        }
        if let Some(unplaced) = surroundings.unplaced.first().filter(|_| request.unattended) {
            return Err(refused(format!(
                "where other tables lie can't be told, and one of them may lie in its folders: {unplaced} ({} such; by hand it \
                 is searched all the same)",
                surroundings.unplaced.len()
            )));
        }
        let now = context.ambient.now();
        let quarantine = policy.quarantine.unwrap_or(request.quarantine);
        let quarantine = quarantine.then_some(Quarantine { age, now });
        let storage = context.storage.as_ref();
        let untagged = own.iter().find(|folder| !storage.has_tags(folder));
        if let Some(folder) = untagged.filter(|_| quarantine.is_some()) {
            return Err(refused(format!(
                "its files are to be marked before they go (orphans-quarantine), and what lies in {folder} can't have tags: only \
                 objects on S3 can; set icepress.maintain.orphans-quarantine to false"
            )));
        }
        let inventory = policy.inventory.or_else(|| request.inventory.clone());
        // No listing is short enough to be worth a search through an inventory but that of one folder.
        let inventory =
            inventory.filter(|it| it != NO_INVENTORY && request.scope == OrphanScope::All);
        let mut staying = Staying::of(&context.storage, &loaded, &[])?;
        let folders = match request.scope {
            OrphanScope::All => own,
            OrphanScope::OldMetadata => {
                // No manifest names a metadata file.
                staying.snapshots.clear();
                vec![metadata_folder(metadata)]
            }
        };
        let mut live = LiveSet::default();
        live.add(&staying).await?;
        let old_metadata = chain::older_than_the_log(storage, &loaded).await?;
        let places = places_of(table, metadata)?;
        let mut run = Self {
            context,
            others,
            request,
            live,
            old_metadata,
            now,
            folders,
            places,
            age,
            inventory,
            quarantine,
            surroundings,
            earlier: Vec::new(),
            loaded,
        };
        run.earlier = run.fingerprints().await?;
        Ok(run)
    }

    /// Looks at everything in the folders. What nothing refers to is told, and whether it may go now, and added to `sink`.
    pub(super) async fn look(
        &self,
        mut sink: Option<&mut PartWriter<'_>>,
        tell: &mut (dyn FnMut(&DeadFile, Step) + Send),
    ) -> Result<Surveyor<'_>, UpkeepError> {
        let table = &self.loaded.table;
        let mut surveyor = Surveyor::new(self);
        let mut source = self.source().await?;
        loop {
            let objects = source.next().await;
            let objects = objects.map_err(|source| UpkeepError::unreadable(table, source))?;
            let Some(objects) = objects else {
                break;
            };
            let mut found = Vec::new();
            for object in objects {
                if let Some(file) = surveyor.see(object).await? {
                    // Whoever writes down decides when everything is.
                    let step = match sink.is_some() {
                        true => Step::Waits,
                        false => self.step_of(&file).await?,
                    };
                    tell(&file, step);
                    found.push(file);
                }
            }
            if let Some(sink) = &mut sink {
                sink.add(&found).await?;
            }
        }
        let survey = &mut surveyor.survey;
        survey.folders.clone_from(&self.folders);
        survey.listing_requests = source.requests();
        survey.inventory = source.inventory();
        self.check_covered(survey)?;
        survey.needed = self.live.len();
        survey.age_ms = u64::try_from(self.age.as_millis()).unwrap_or(u64::MAX);
        survey.tables_asked = self.surroundings.asked;
        survey.unasked.clone_from(&self.surroundings.unasked);
        Ok(surveyor)
    }

    async fn source(&self) -> Result<Source<'_>, UpkeepError> {
        let storage = self.context.storage.as_ref();
        let Some(location) = &self.inventory else {
            return Ok(Source::Listing(Listing::of(storage, &self.folders)));
        };
        let inventory = Inventory::newest(storage, location, &self.folders, self.now).await;
        let inventory =
            inventory.map_err(|source| UpkeepError::unreadable(&self.loaded.table, source))?;
        Ok(Source::Inventory(Box::new(inventory)))
    }

    /// An inventory that has nothing of a table that was there when it was made is another prefix's.
    fn check_covered(&self, survey: &OrphanSurvey) -> Result<(), UpkeepError> {
        let Some(inventory) = &survey.inventory else {
            return Ok(());
        };
        let snapshots = self.loaded.metadata.snapshots();
        let first = snapshots.map(|snapshot| snapshot.timestamp_ms()).min();
        let was_there = first.is_some_and(|first| first < inventory.made_at.get());
        if survey.listed.files > 0 || !was_there {
            return Ok(());
        }
        Err(UpkeepError::refused(
            &self.loaded.table,
            format!(
                "the inventory {} has nothing that lies in its folders: it is made of another prefix of the bucket",
                inventory.manifest
            ),
        ))
    }

    async fn step_of(&self, file: &DeadFile) -> Result<Step, UpkeepError> {
        if !self.is_due(file) {
            return Ok(Step::Waits);
        }
        let Some(quarantine) = self.quarantine else {
            return Ok(Step::Goes);
        };
        let found = quarantine.look(self.context.storage.as_ref(), file).await;
        let found = found.map_err(|source| UpkeepError::unreadable(&self.loaded.table, source))?;
        Ok(match found {
            Admission::Over => Step::Goes,
            Admission::Outside => Step::IsMarked,
            Admission::Inside | Admission::Gone => Step::Waits,
        })
    }

    /// Takes the mark off what earlier runs wrote down, may have marked, and is needed again.
    async fn release_needed(&self, earlier: &[Record<'_>]) -> Result<u64, UpkeepError> {
        let mut released = 0;
        if self.quarantine.is_none() {
            return Ok(released);
        }
        for record in earlier {
            let Some(planned) = self.planned_of_ours(record).await? else {
                continue;
            };
            for part in 0..planned.parts {
                for file in record.part(part).await? {
                    if self.live.holds(mark_of(&file.path)) && self.places.holds(&file.path) {
                        let storage = self.context.storage.as_ref();
                        let had_mark = release(storage, &file.path).await;
                        let had_mark = had_mark.map_err(|source| {
                            UpkeepError::still_marked(&self.loaded.table, source)
                        })?;
                        released += u64::from(had_mark);
                    }
                }
            }
        }
        Ok(released)
    }

    /// Writes down what is found, and deletes of it what may go.
    pub(super) async fn remove(
        mut self,
        metadata_folder: &str,
        progress: Progress<'_>,
    ) -> Result<OrphanReport, UpkeepError> {
        let (context, table) = (self.context, self.loaded.table.clone());
        let (storage, ambient) = (context.storage.as_ref(), &context.ambient);
        let mut meter = Meter::start(self.request.limits, ambient);
        let ledger = self.request.scope.ledger();
        let earlier = Record::pending(storage, &table, metadata_folder, ledger).await?;
        // First: a lifecycle rule does not wait for a search that fails.
        let released = self.release_needed(&earlier).await?;
        let record = Record::new(storage, &table, metadata_folder, ledger, ambient);
        record.write_intent(&self.intent()).await?;
        let mut parts = PartWriter::new(&record);
        let survey = match self.look(Some(&mut parts), &mut |_, _| {}).await {
            Ok(surveyor) => surveyor.survey,
            Err(error) => {
                // Whatever can't be taken away now is taken for a dead run's list.
                if let Err(error) = record.remove().await {
                    tracing::warn!(%table, %error, "the list of an unfinished search stays behind");
                }
                return Err(error);
            }
        };
        let why = "nothing in the table's metadata refers to these files".to_owned();
        let planned = parts.finish(why, self.now).await?;
        for record in earlier {
            self.remove_if_over(&record).await?;
        }
        self.catch_up().await?;
        let judge = |file: &DeadFile| {
            if self.live.holds(mark_of(&file.path)) {
                Judged::Alive
            } else if !self.places.holds(&file.path) {
                Judged::Outside
            } else if self.is_due(file) {
                Judged::Dead
            } else {
                Judged::Waits
            }
        };
        let sweep = Sweep {
            storage,
            ambient,
            table: &table,
            judge: &judge,
            asks_again: survey.inventory.is_some(),
            quarantine: self.quarantine,
            progress,
        };
        let swept = sweep.run(&record, &planned, &mut meter).await?;
        if swept.is_whole && swept.waiting.is_empty() && swept.quarantined.is_empty() {
            record.remove().await?;
        }
        Ok(OrphanReport {
            survey,
            files: swept.deleted,
            quarantined: swept.quarantined,
            released: released + swept.released,
            waiting: swept.waiting,
            revived: swept.revived,
            unfinished: !swept.is_whole,
        })
    }

    /// The path in the table's folder that the location lies in.
    pub(super) fn below<'l>(&self, location: &'l str) -> &'l str {
        let folder = self
            .folders
            .iter()
            .find_map(|folder| location.strip_prefix(folder.as_str()));
        folder.unwrap_or(location).trim_start_matches('/')
    }

    fn is_due(&self, file: &DeadFile) -> bool {
        let modified = file.modified.unwrap_or(self.now);
        let is_old = modified + self.age <= self.now;
        file.at_once || (is_old && self.earlier.binary_search(&fingerprint(file)).is_ok())
    }

    /// What came into the table since it was loaded is needed now.
    async fn catch_up(&mut self) -> Result<(), UpkeepError> {
        let table = &self.loaded.table;
        let now = self.context.catalog.load(table).await?;
        if now.metadata.uuid() != self.loaded.metadata.uuid() {
            return Err(UpkeepError::refused(
                table,
                "it was dropped and made anew meanwhile: run again",
            ));
        }
        OrphanPolicy::of(now.metadata.properties())
            .map_err(|message| UpkeepError::refused(table, message))?;
        if now.metadata_location != self.loaded.metadata_location {
            let mut staying = Staying::of(&self.context.storage, &now, &[])?;
            if self.request.scope == OrphanScope::OldMetadata {
                staying.snapshots.clear();
            }
            self.live.add(&staying).await?;
        }
        Ok(())
    }

    fn intent(&self) -> Intent {
        Intent {
            version: Intent::VERSION,
            table: self.loaded.table.clone(),
            table_uuid: self.loaded.metadata.uuid().to_string(),
            base: self.loaded.metadata_location.clone(),
            made_at: self.now,
            snapshots: Vec::new(),
            statistics: Vec::new(),
        }
    }

    /// Of everything that earlier runs wrote down of this table.
    async fn fingerprints(&self) -> Result<Vec<u64>, UpkeepError> {
        let (storage, table) = (self.context.storage.as_ref(), &self.loaded.table);
        let folder = metadata_folder(&self.loaded.metadata);
        let ledger = self.request.scope.ledger();
        let mut marks = Vec::new();
        for record in Record::pending(storage, table, &folder, ledger).await? {
            let Some(planned) = self.planned_of_ours(&record).await? else {
                continue;
            };
            for part in 0..planned.parts {
                marks.extend(record.part(part).await?.iter().map(fingerprint));
            }
        }
        marks.sort_unstable();
        Ok(marks)
    }

    /// What a list of this table says of itself, where it is whole: one without an intent is being taken away.
    async fn planned_of_ours(&self, record: &Record<'_>) -> Result<Option<Planned>, UpkeepError> {
        let Some(intent) = record.intent().await? else {
            return Ok(None);
        };
        let is_ours = intent.version == Intent::VERSION
            && intent.table_uuid == self.loaded.metadata.uuid().to_string();
        match is_ours {
            true => record.planned().await,
            false => Ok(None),
        }
    }

    /// Takes an earlier list away, now that what it says stands in a newer one; not one that somebody may be writing.
    async fn remove_if_over(&self, record: &Record<'_>) -> Result<(), UpkeepError> {
        let is_over = match record.intent().await? {
            None => true,
            Some(intent) if intent.version != Intent::VERSION => false,
            Some(intent) => {
                record.planned().await?.is_some() || intent.made_at + FORSAKEN < self.now
            }
        };
        match is_over {
            true => record.remove().await,
            false => Ok(()),
        }
    }
}

/// Whether a folder is all that there is.
fn is_whole_store(folder: &str) -> bool {
    !one_spelling(folder).trim_end_matches('/').contains('/')
}
