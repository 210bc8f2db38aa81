//! Deleting what is written down: in batches, several at a time, within limits, and ticked off as it goes.

use std::{collections::BTreeMap, time::Duration};

use futures::{FutureExt as _, StreamExt as _, stream};
use icepress_model::{TableId, TimestampMs, ambient::Ambient};
use icepress_storage::{Storage, StorageError, StorageErrorKind};

use crate::{
    Counted, DeadFile, UpkeepError,
    expire::{Counts, Progress},
    ledger::{Done, Planned, Record},
    limits::Meter,
    quarantine::{Admission, Quarantine, release},
};

/// What S3 deletes with one request.
const BATCH: usize = 1000;
/// Batches under way at a time: after so many the ledger is told.
const BATCHES_AT_ONCE: usize = 4;
/// How often a batch is tried again of which the store says that it is too much, beyond the storage's own tries.
const MORE_TRIES: u32 = 6;
/// Files that are asked for at a time before they go.
const ASKED_AT_ONCE: usize = 32;
/// The first wait before that, which doubles.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// So many refusals are written down to be tried again. More are no mishap but a reason to stop.
const MOST_REFUSED: usize = 1000;

/// Deletes the files of one record.
pub(crate) struct Sweep<'a> {
    pub(crate) storage: &'a dyn Storage,
    pub(crate) ambient: &'a Ambient,
    pub(crate) table: &'a TableId,
    /// What is to become of each file, as things are now.
    pub(crate) judge: &'a (dyn Fn(&DeadFile) -> Judged + Sync),
    /// Whether files may have changed since they were seen: each is asked for once more.
    pub(crate) asks_again: bool,
    /// Whether files are marked before they go.
    pub(crate) quarantine: Option<Quarantine>,
    pub(crate) progress: Progress<'a>,
}

/// What is to become of a file that was written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It goes.
    Dead,
    /// It came to life again and stays.
    Alive,
    /// It lies outside the table's places and stays.
    Outside,
    /// It is not old enough, or was not found often enough yet.
    Waits,
}

/// What a sweep did.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    pub(crate) deleted: Counted,
    /// What lies outside the table's places and stays.
    pub(crate) outside: Counts,
    /// What came to life again and stays.
    pub(crate) revived: Counts,
    /// What was marked, to be deleted by a later run.
    pub(crate) quarantined: Counted,
    /// What is marked no longer.
    pub(crate) released: u64,
    /// What is left for a later run by its age, or for being marked.
    pub(crate) waiting: Counted,
    /// Whether everything was gone through.
    pub(crate) is_whole: bool,
}

impl Sweep<'_> {
    /// Goes on where the record's last run ended, as far as `meter` allows.
    pub(crate) async fn run(
        &self,
        record: &Record<'_>,
        planned: &Planned,
        meter: &mut Meter<'_>,
    ) -> Result<Swept, UpkeepError> {
        let mut swept = Swept::default();
        let mut done = record.done().await?;
        let mut first_refusal = None;
        let mut gone_through = 0;
        let again = std::mem::take(&mut done.refused);
        if !again.is_empty() {
            let allowed = meter.room(again.len());
            let later = again[allowed..].to_vec();
            self.wave(
                &again[..allowed],
                &mut done,
                &mut swept,
                meter,
                &mut first_refusal,
            )
            .await?;
            done.refused.extend(later);
            record.write_done(&done).await?;
        }
        while done.part < planned.parts {
            let files = record.part(done.part).await?;
            while done.lines < files.len() {
                let left = &files[done.lines.min(files.len())..];
                let wave = meter.room(left.len().min(BATCH * BATCHES_AT_ONCE));
                if wave == 0 {
                    return Ok(swept);
                }
                let any = self
                    .wave(
                        &left[..wave],
                        &mut done,
                        &mut swept,
                        meter,
                        &mut first_refusal,
                    )
                    .await?;
                done.lines += wave;
                gone_through += wave as u64;
                if any {
                    record.write_done(&done).await?;
                }
                (self.progress)(gone_through, planned.files);
                if done.refused.len() > MOST_REFUSED {
                    return Err(self.not_deleted(&done, first_refusal));
                }
            }
            done.part += 1;
            done.lines = 0;
            record.write_done(&done).await?;
        }
        if !done.refused.is_empty() && first_refusal.is_some() {
            return Err(self.not_deleted(&done, first_refusal));
        }
        swept.is_whole = done.refused.is_empty();
        Ok(swept)
    }

    fn not_deleted(&self, done: &Done, first: Option<StorageError>) -> UpkeepError {
        UpkeepError::NotDeleted {
            table: self.table.clone(),
            files: done.refused.len() as u64,
            source: first.unwrap_or(StorageError {
                kind: StorageErrorKind::Other,
                action: "delete",
                location: self.table.to_string(),
                source: None,
            }),
        }
    }

    /// Returns whether anything was to go.
    async fn wave(
        &self,
        files: &[DeadFile],
        done: &mut Done,
        swept: &mut Swept,
        meter: &mut Meter<'_>,
        first_refusal: &mut Option<StorageError>,
    ) -> Result<bool, UpkeepError> {
        let mut dead = Vec::with_capacity(files.len());
        for file in files {
            match (self.judge)(file) {
                Judged::Dead => dead.push(file.clone()),
                Judged::Alive => {
                    swept.revived.add(file);
                    if self.quarantine.is_some() {
                        let had_mark = release(self.storage, &file.path).await;
                        let had_mark = had_mark
                            .map_err(|source| UpkeepError::still_marked(self.table, source))?;
                        swept.released += u64::from(had_mark);
                    }
                }
                Judged::Outside => swept.outside.add(file),
                Judged::Waits => swept.waiting.entry(file.kind).or_default().add(file),
            }
        }
        if self.asks_again {
            dead = self.unchanged(dead, swept).await?;
        }
        if let Some(quarantine) = self.quarantine {
            dead = self
                .marked(quarantine, dead, swept, done, first_refusal)
                .await;
        }
        if dead.is_empty() {
            return Ok(false);
        }
        let batches: Vec<_> = dead
            .chunks(BATCH)
            .map(|batch| self.batch(batch).boxed())
            .collect();
        let outcomes: Vec<Vec<(DeadFile, StorageError)>> = stream::iter(batches)
            .buffer_unordered(BATCHES_AT_ONCE)
            .collect()
            .await;
        let refused: BTreeMap<String, (DeadFile, StorageError)> = outcomes
            .into_iter()
            .flatten()
            .map(|(file, error)| (file.path.clone(), (file, error)))
            .collect();
        for file in &dead {
            if !refused.contains_key(&file.path) {
                swept.deleted.entry(file.kind).or_default().add(file);
                meter.add(1, file.bytes.get());
            }
        }
        for (file, error) in refused.into_values() {
            first_refusal.get_or_insert(error);
            done.refused.push(file);
        }
        Ok(true)
    }

    /// Those that are as they were seen.
    async fn unchanged(
        &self,
        files: Vec<DeadFile>,
        swept: &mut Swept,
    ) -> Result<Vec<DeadFile>, UpkeepError> {
        let asked = stream::iter(files).map(|file| async move {
            let info = self.storage.info(&file.path).await;
            (file, info)
        });
        let mut asked = asked.buffered(ASKED_AT_ONCE);
        let mut same = Vec::new();
        while let Some((file, info)) = asked.next().await {
            let info = match info {
                Err(error) if error.kind == StorageErrorKind::NotFound => continue,
                info => info.map_err(|source| UpkeepError::unreadable(self.table, source))?,
            };
            // Headers know whole seconds.
            let seconds = |time: TimestampMs| time.get().div_euclid(1000);
            let is_same = info.size == file.bytes
                && file.modified.map(seconds) == Some(seconds(info.modified));
            match is_same {
                true => same.push(file),
                false => swept.waiting.entry(file.kind).or_default().add(&file),
            }
        }
        Ok(same)
    }

    /// Marks those that are not; returns those that were for long enough.
    async fn marked(
        &self,
        quarantine: Quarantine,
        files: Vec<DeadFile>,
        swept: &mut Swept,
        done: &mut Done,
        first_refusal: &mut Option<StorageError>,
    ) -> Vec<DeadFile> {
        let asked = stream::iter(files).map(|file| async move {
            let admission = quarantine.admit(self.storage, &file).await;
            (file, admission)
        });
        let mut asked = asked.buffered(ASKED_AT_ONCE);
        let mut over = Vec::new();
        while let Some((file, admission)) = asked.next().await {
            let counted = match admission {
                Ok(Admission::Over) => {
                    over.push(file);
                    continue;
                }
                Ok(Admission::Gone) => continue,
                Ok(Admission::Outside) => &mut swept.quarantined,
                Ok(Admission::Inside) => &mut swept.waiting,
                Err(error) => {
                    first_refusal.get_or_insert(error);
                    done.refused.push(file);
                    continue;
                }
            };
            counted.entry(file.kind).or_default().add(&file);
        }
        over
    }

    /// Deletes one batch; returns what was refused. What the store is too busy for is tried again, ever more slowly.
    async fn batch(&self, files: &[DeadFile]) -> Vec<(DeadFile, StorageError)> {
        let mut open: Vec<DeadFile> = files.to_vec();
        let mut refused = Vec::new();
        for attempt in 0..=MORE_TRIES {
            if attempt > 0 {
                let wait = FIRST_WAIT * (1 << (attempt - 1));
                self.ambient
                    .clock
                    .sleep(wait + self.ambient.jitter(wait))
                    .await;
            }
            let locations: Vec<String> = open.iter().map(|file| file.path.clone()).collect();
            let mut busy = Vec::new();
            let outcomes = self.storage.delete(&locations).await;
            for (file, outcome) in open.into_iter().zip(outcomes) {
                match outcome.result {
                    Ok(()) => {}
                    Err(error)
                        if error.kind == StorageErrorKind::Throttled && attempt < MORE_TRIES =>
                    {
                        busy.push(file);
                    }
                    Err(error) => refused.push((file, error)),
                }
            }
            open = busy;
            if open.is_empty() {
                break;
            }
        }
        refused
    }
}
