//! What is done of each kind, and what is told of it.

use icepress_coordination::TaskRow;
use icepress_model::{Bytes, MetadataLocation};
use icepress_table::{CommitContext, Gatekeeper as _};
use icepress_upkeep::{
    Committed, Counted, OrphanRequest, Others, UpkeepError, ages, expire, manifests,
    remove_orphans,
    statistics::{self, Effort},
    tags,
};

use super::{Done, TaskDoor, limits_of_a_run};
use crate::{
    Context, Deadline,
    people::{
        maintain::{BasesOfProcesses, engine_of},
        neighbours::AllTables,
        orphans::{Books, with_settings},
    },
    scheduler::upkeep::{UpkeepTask, expire_request},
};

/// One task, and what it is done with.
pub(super) struct Work<'a> {
    pub(super) context: &'a Context,
    pub(super) commit: CommitContext,
    pub(super) task: &'a UpkeepTask,
    pub(super) row: &'a TaskRow,
    pub(super) work_until: Deadline,
}

impl Work<'_> {
    fn door(&self) -> TaskDoor<'_> {
        TaskDoor::new(self.context, &self.task.maintain, self.row)
    }

    /// The state that a commit made; `None` where it was made on another than was looked at: what is in between nobody would
    /// look at, since the census knows our own.
    fn state_after(&self, committed: Option<Committed>) -> Option<MetadataLocation> {
        let committed = committed.filter(|made| made.base == self.task.base);
        committed.map(|made| made.location)
    }

    pub(super) async fn expire(&self) -> Result<Done, UpkeepError> {
        let limits = limits_of_a_run(self.context, self.work_until);
        let request = expire_request(&self.context.settings, limits);
        let (door, table) = (self.door(), &self.task.maintain);
        let pins = BasesOfProcesses {
            context: self.context,
        };
        // A signal waits for a commit that is in the middle.
        let inside = self.context.commits.enter().await;
        let expired = expire(&self.commit, table, &pins, &door, &request, &|_, _| {}).await;
        drop(inside);
        let report = expired?;
        let (snapshots, (files, bytes)) = (report.snapshots.len(), sum_of(&report.files));
        let mut did = format!("expired {snapshots} snapshots, deleted {files} files of {bytes}");
        if !report.refs.is_empty() {
            did.push_str(&format!(", took away {}", report.refs.join(", ")));
        }
        if report.revived.files > 0 {
            let revived = report.revived.files;
            did.push_str(&format!(", kept {revived} that are needed again"));
        }
        if report.versions > 0 {
            let versions = report.versions;
            did.push_str(&format!(
                ", had {versions} old versions of its entry forgotten"
            ));
        }
        Ok(Done {
            location: self.state_after(report.committed),
            did,
            unfinished: report.unfinished,
        })
    }

    pub(super) async fn tag(&self) -> Result<Done, UpkeepError> {
        let door = self.door();
        let inside = self.context.commits.enter().await;
        let tagged = tags::apply(&self.commit, &self.task.maintain, &door).await;
        drop(inside);
        let report = tagged?;
        let created: Vec<&str> = report
            .plan
            .created
            .iter()
            .map(|it| it.name.as_str())
            .collect();
        let removed = &report.plan.removed;
        let mut did = Vec::new();
        if !created.is_empty() {
            did.push(format!("tagged {}", created.join(", ")));
        }
        if !removed.is_empty() {
            did.push(format!(
                "took away {}, whose time is over",
                removed.join(", ")
            ));
        }
        Ok(Done {
            location: self.state_after(report.committed),
            did: said(did, "every recovery point is there already"),
            unfinished: false,
        })
    }

    pub(super) async fn age_out(&self) -> Result<Done, UpkeepError> {
        let (door, table) = (self.door(), &self.task.maintain);
        let process = &self.row.task.process;
        let inside = self.context.commits.enter().await;
        let engine = engine_of(self.context, &self.commit);
        let work = (&engine, self.row.attempt);
        let aged = ages::apply(&self.commit, table, process, &door, work).await;
        drop(inside);
        let plan = aged?;
        let (files, rows, bytes) = (plan.old.files, plan.old.rows.get(), plan.old.bytes);
        let partitions = plan.partitions.len() as u64 + plan.more_partitions;
        let mut did = match (&plan.off, plan.snapshot_id) {
            (Some(off), _) => format!("no row gets too old: {off}"),
            (None, None) => "no file has rows all of which are too old".to_owned(),
            (None, Some(_)) => format!(
                "let go of {files} files with {rows} rows, {bytes}, in {partitions} partitions: they were too old"
            ),
        };
        if let Some(gone) = plan.mixed_rows_gone {
            let mixed = plan.mixed.files;
            did.push_str(&format!(
                "; wrote {mixed} files anew without the {gone} rows of them that were deleted or too old"
            ));
        }
        Ok(Done {
            location: self.state_after(plan.committed),
            did,
            unfinished: plan.left_for_later.files > 0,
        })
    }

    pub(super) async fn rewrite_manifests(&self) -> Result<Done, UpkeepError> {
        let (door, table) = (self.door(), &self.task.maintain);
        let process = &self.row.task.process;
        let inside = self.context.commits.enter().await;
        let rewritten = manifests::rewrite(&self.commit, table, process, &door).await;
        drop(inside);
        let report = rewritten?;
        let did = match (&report.rewritten, report.snapshot_id) {
            (Some(written), _) => format!(
                "wrote {} manifests anew as {}, left {} alone",
                written.replaced, written.created, written.kept
            ),
            (None, Some(_)) => "wrote manifests anew".to_owned(),
            (None, None) => "no manifest is worth writing anew".to_owned(),
        };
        Ok(Done {
            location: self.state_after(report.committed),
            did,
            unfinished: false,
        })
    }

    pub(super) async fn count_partitions(&self) -> Result<Done, UpkeepError> {
        let door = self.door();
        let table = &self.task.maintain;
        let effort = Effort {
            memory_cap: self.context.settings.memory_cap,
            time: limits_of_a_run(self.context, self.work_until).time,
        };
        let made = statistics::make(&self.commit, table, effort).await?;
        let inside = self.context.commits.enter().await;
        let counted = made.set(&self.commit, table, &door).await;
        drop(inside);
        let report = counted?;
        let mut did = Vec::new();
        if let Some(written) = &report.written {
            let how = match written.incremental {
                true => "from the last statistics on",
                false => "from all manifests",
            };
            did.push(format!("counted {} partitions, {how}", written.partitions));
        }
        if let Some(written) = &report.sketches {
            did.push(format!(
                "counted distinct values of {} columns, {} of them from the last sketches on",
                written.columns, written.incremental
            ));
        }
        let nothing = format!("counted no partitions: {}", report.plan.reason);
        let did = said(did, &nothing);
        Ok(Done {
            location: self.state_after(report.committed),
            did,
            unfinished: false,
        })
    }

    pub(super) async fn remove_orphans(&self) -> Result<Done, UpkeepError> {
        let (context, table) = (self.context, &self.task.maintain);
        // There is no commit to be held back: whoever blocks the table is asked before anything is looked at.
        if let Some(reason) = self.door().objection().await {
            let table = table.clone();
            return Err(UpkeepError::HeldBack { table, reason });
        }
        let request = OrphanRequest {
            limits: limits_of_a_run(context, self.work_until),
            unattended: true,
            ..OrphanRequest::default()
        };
        let request = with_settings(context, table, &request);
        let (neighbours, attempts) = (AllTables { context }, Books { context });
        let others = Others {
            neighbours: &neighbours,
            attempts: &attempts,
        };
        let removed = remove_orphans(&self.commit, table, others, &request, &|_, _| {}).await;
        let report = removed?;
        let [(deleted, bytes), (waiting, _)] = [&report.files, &report.waiting].map(sum_of);
        let listed = report.survey.listed.files;
        let seen = match &report.survey.inventory {
            None => "listed",
            Some(_) => "was told by an inventory of",
        };
        let mut did =
            format!("{seen} {listed} files, deleted {deleted} of {bytes} that nothing refers to");
        let (marked, _) = sum_of(&report.quarantined);
        if marked > 0 {
            did.push_str(&format!(", marked {marked} that a later run deletes"));
        }
        if report.released > 0 {
            let released = report.released;
            did.push_str(&format!(
                ", took the mark off {released} that are needed again"
            ));
        }
        if waiting > 0 {
            did.push_str(&format!(
                ", wrote down {waiting} that a later run deletes if it finds them again"
            ));
        }
        if report.revived.files > 0 {
            let revived = report.revived.files;
            did.push_str(&format!(
                ", kept {revived} that came into the table meanwhile"
            ));
        }
        Ok(Done {
            location: None,
            did,
            unfinished: report.unfinished,
        })
    }
}

/// How many files there are of all kinds, and what they take.
fn sum_of(counted: &Counted) -> (u64, Bytes) {
    let files = counted.values().map(|counts| counts.files).sum();
    (files, counted.values().map(|counts| counts.bytes).sum())
}

/// What was done in one line; `nothing` where it was nothing.
fn said(did: Vec<String>, nothing: &str) -> String {
    match did.is_empty() {
        true => nothing.to_owned(),
        false => did.join("; "),
    }
}
