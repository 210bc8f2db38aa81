//! What foreign writers do to a table's history, in a world in which upkeep of every kind is at work: branches and tags come and
//! go, the main branch is set back, snapshots are staged and published, files come back by the path that they had, statistics
//! are written, and files that never come into any table.

use std::collections::BTreeSet;

use iceberg::{
    TableUpdate,
    spec::{
        FormatVersion, MAIN_BRANCH, Operation, SnapshotReference, SnapshotRetention, StatisticsFile,
    },
};
use icepress_catalog::LoadedTable;
use icepress_storage::{PutMode, Storage as _, WriteOptions};

use super::{Done, GaveUp, Tended, Work, Writer, commit::Onto};
use crate::{reader::Identity, rows::Row};

/// How many files that were taken out are remembered.
const REMEMBERED: usize = 8;

impl Writer {
    /// Rests while nobody begins anything.
    pub(super) async fn sleep_through_the_night(&self) {
        let night = self.tended.as_ref().map(|tended| tended.night);
        let left = night.and_then(|night| night.left(self.engine.now()));
        if let Some(left) = left {
            let more = self
                .engine
                .duration_up_to(std::time::Duration::from_secs(20));
            self.engine.sleep(left + more).await;
        }
    }

    /// Something that changes a table's history, and not what is read of it but by a way back.
    pub(super) async fn change_history(&mut self, base: &LoadedTable) -> Done {
        // Version 1 knows no branches but the main one.
        let is_old = base.metadata.format_version() == FormatVersion::V1;
        match self.engine.below(100) {
            0..16 => self.set_back(base).await,
            16..32 => self.take_in_again(base).await,
            32..44 => self.write_statistics(base).await,
            44..54 => self.forget_a_file(base).await,
            _ if is_old => self.append(base).await,
            54..66 => self.set_ref(base).await,
            66..70 => self.remove_ref(base).await,
            70..84 => self.append_to_branch(base).await,
            84..92 => self.append_onto(base, Onto::Staged).await,
            _ => self.publish(base).await,
        }
    }

    /// The main branch back to an earlier snapshot of its own.
    async fn set_back(&mut self, base: &LoadedTable) -> Done {
        let metadata = &base.metadata;
        let mut line = Vec::new();
        let mut next = metadata.current_snapshot();
        while let Some(snapshot) = next.filter(|_| line.len() < 4) {
            line.push(snapshot.snapshot_id());
            let parent = snapshot.parent_snapshot_id();
            next = parent.and_then(|parent| metadata.snapshot_by_id(parent));
        }
        if line.len() < 2 {
            return Ok(());
        }
        let to = line[1 + self.engine.below(line.len() as u64 - 1) as usize];
        self.move_main(base, to).await
    }

    async fn move_main(&self, base: &LoadedTable, to: i64) -> Done {
        let reference = SnapshotReference::new(to, SnapshotRetention::branch(None, None, None));
        self.set(base, MAIN_BRANCH.to_owned(), reference).await
    }

    async fn set(
        &self,
        base: &LoadedTable,
        ref_name: String,
        reference: SnapshotReference,
    ) -> Done {
        let update = TableUpdate::SetSnapshotRef {
            ref_name,
            reference,
        };
        self.change(base, vec![update]).await?;
        Ok(())
    }

    /// A new branch or tag, of any snapshot.
    async fn set_ref(&mut self, base: &LoadedTable) -> Done {
        let mut snapshots: Vec<i64> = base
            .metadata
            .snapshots()
            .map(|it| it.snapshot_id())
            .collect();
        snapshots.sort_unstable();
        let snapshot = snapshots[self.engine.below(snapshots.len() as u64) as usize];
        let number = self.engine.below(100);
        let (name, retention) = match self.engine.below(2) {
            0 => {
                let least = (self.engine.below(2) == 0).then(|| 1 + self.engine.below(3) as i32);
                let retention = SnapshotRetention::branch(least, None, None);
                (format!("work-{number}"), retention)
            }
            _ => {
                let age = (self.engine.below(2) == 0).then_some(2 * 24 * 3_600_000);
                let retention = SnapshotRetention::Tag {
                    max_ref_age_ms: age,
                };
                (format!("release-{number}"), retention)
            }
        };
        // One of that name may be of the other kind.
        if base.metadata.refs().map_err(GaveUp)?.contains_key(&name) {
            return Ok(());
        }
        self.set(base, name, SnapshotReference::new(snapshot, retention))
            .await
    }

    /// Branches and tags but the main branch, and those that Icepress made.
    fn own_refs(&self, base: &LoadedTable) -> Result<Vec<(String, SnapshotReference)>, GaveUp> {
        let refs = base.metadata.refs().map_err(GaveUp)?;
        let is_own = |name: &str| name.starts_with("work-") || name.starts_with("release-");
        Ok(refs.into_iter().filter(|(name, _)| is_own(name)).collect())
    }

    async fn remove_ref(&mut self, base: &LoadedTable) -> Done {
        let refs = self.own_refs(base)?;
        if refs.is_empty() {
            return Ok(());
        }
        let ref_name = refs[self.engine.below(refs.len() as u64) as usize]
            .0
            .clone();
        self.change(base, vec![TableUpdate::RemoveSnapshotRef { ref_name }])
            .await?;
        Ok(())
    }

    async fn append_to_branch(&mut self, base: &LoadedTable) -> Done {
        let mut branches = self.own_refs(base)?;
        branches.retain(|(_, reference)| reference.is_branch());
        if branches.is_empty() {
            return self.set_ref(base).await;
        }
        let index = self.engine.below(branches.len() as u64) as usize;
        let (name, head) = branches.swap_remove(index);
        self.append_onto(base, Onto::Branch(name, head)).await
    }

    /// New rows, of ids that no row ever had, elsewhere than on the main branch.
    async fn append_onto(&mut self, base: &LoadedTable, onto: Onto) -> Done {
        let region = self.region();
        let count = 1 + self.engine.below(self.rows_per_file);
        let rows: Vec<Row> = (0..count)
            .map(|_| {
                self.next_id += 1;
                Row {
                    id: self.next_id,
                    region: region.clone(),
                    note: None,
                }
            })
            .collect();
        let mut work = Work::default();
        work.added.push(self.write_rows(base, &rows, None).await?);
        work.change.added = rows;
        self.commit_onto(base, work, Operation::Append, onto).await
    }

    /// Has the main branch follow a snapshot that was made on top of it.
    async fn publish(&mut self, base: &LoadedTable) -> Done {
        let current = base.metadata.current_snapshot_id();
        let snapshots = base.metadata.snapshots();
        let mut ahead: Vec<i64> = snapshots
            .filter(|snapshot| snapshot.parent_snapshot_id() == current)
            // Those that were on the main branch once are behind it now.
            .filter(|snapshot| {
                let log = base.metadata.history().iter();
                log.into_iter()
                    .all(|entry| entry.snapshot_id != snapshot.snapshot_id())
            })
            .map(|snapshot| snapshot.snapshot_id())
            .collect();
        ahead.sort_unstable();
        match ahead.first() {
            Some(first) => self.move_main(base, *first).await,
            None => self.append_onto(base, Onto::Staged).await,
        }
    }

    pub(super) fn remember_taken_out(
        &mut self,
        base: &LoadedTable,
        removed: &BTreeSet<Identity>,
    ) -> Result<(), GaveUp> {
        if self.tended.is_none() {
            return Ok(());
        }
        let live = self.oracle.reader().live(&base.metadata).map_err(GaveUp)?;
        let gone = live
            .into_iter()
            .filter(|live| removed.contains(&live.identity()))
            .map(|live| live.file);
        if let Some(Tended { taken_out, .. }) = &mut self.tended {
            taken_out.extend(gone);
            let most = taken_out.len().saturating_sub(REMEMBERED);
            taken_out.drain(..most);
        }
        Ok(())
    }

    /// A file comes back by the path that it had, as far as some snapshot has it still.
    async fn take_in_again(&mut self, base: &LoadedTable) -> Done {
        // From version 3 on its rows would be others by their lineage.
        if base.metadata.format_version() >= FormatVersion::V3 {
            return self.append(base).await;
        }
        let live = self.live_rows(base)?;
        let ids: BTreeSet<i64> = live.values().flatten().map(|live| live.row.id).collect();
        let needed = self
            .oracle
            .reader()
            .needed(&base.metadata)
            .map_err(GaveUp)?;
        let candidates = self.tended.iter().flat_map(|tended| &tended.taken_out);
        let found = candidates
            .filter(|file| !live.contains_key(file.file_path()))
            .filter(|file| needed.contains(&*crate::storage::one_scheme(file.file_path())))
            .find_map(|file| {
                let rows = self.oracle.reader().stored(file.file_path())?;
                let is_free = rows.iter().all(|row| !ids.contains(&row.id));
                is_free.then(|| (file.clone(), rows))
            });
        let Some((file, rows)) = found else {
            return self.overwrite(base).await;
        };
        self.engine.note(format_args!(
            "{} takes {} in again",
            self.name,
            file.file_path()
        ));
        let mut work = Work::default();
        work.added.push(file);
        work.change.added = rows;
        self.commit(base, work, Operation::Append).await
    }

    /// Statistics of the current snapshot, in the place of earlier ones.
    async fn write_statistics(&mut self, base: &LoadedTable) -> Done {
        let Some(snapshot_id) = base.metadata.current_snapshot_id() else {
            return Ok(());
        };
        let path = self
            .put(base, "statistics", "stats", "statistics".into())
            .await?;
        let statistics = StatisticsFile {
            snapshot_id,
            statistics_path: path,
            file_size_in_bytes: 10,
            file_footer_size_in_bytes: 4,
            key_metadata: None,
            blob_metadata: Vec::new(),
        };
        self.change(base, vec![TableUpdate::SetStatistics { statistics }])
            .await?;
        Ok(())
    }

    /// What a writer that died leaves, under names of all kinds.
    async fn forget_a_file(&mut self, base: &LoadedTable) -> Done {
        let uuid = self.ambient.uuid();
        let name = match self.engine.below(4) {
            0 => format!("data/{uuid}.parquet"),
            1 => format!("data/deep/er/{uuid} with%20more.parquet"),
            2 => format!("metadata/{uuid}-m0.avro"),
            _ => format!("metadata/snap-1-{uuid}.avro"),
        };
        let location = format!("{}/{name}", base.metadata.location());
        self.oracle.foreign_file(&location);
        let options = WriteOptions::default();
        self.storage
            .put(&location, "forgotten".into(), PutMode::CreateOnly, &options)
            .await?;
        Ok(())
    }
}
