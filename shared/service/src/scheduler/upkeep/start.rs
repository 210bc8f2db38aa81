//! The start of a process of upkeep: what is due is written down, and its one task is sent to whoever may do it.

use icepress_coordination::{
    Conclusion, CoordinationError, Lease, NewProcess, NewTask, Payload, StartOutcome, TableRow,
    limits::Usage,
};
use icepress_model::{MetadataLocation, ProcessId, SnapshotId, TableId, TaskId};
use serde::{Deserialize, Serialize};

use super::{Due, Memory, READS};
use crate::{
    Context, Event,
    scheduler::{
        limits::{self, Room},
        send::send,
        visit::wait,
    },
};

/// What stands in the row of a process of upkeep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UpkeepHeader {
    /// Why it was begun.
    pub(crate) due: Due,
    /// The state that it was decided on.
    pub(crate) base: MetadataLocation,
    /// The snapshot that it works on, which must stay as long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot_id: Option<SnapshotId>,
    /// The table's failures in a row when it began. Upkeep adds none: a table that can't be tidied is rewritten all the same.
    pub(crate) failures: u32,
    /// When each kind was done last.
    #[serde(default)]
    pub(crate) upkeep: Memory,
    /// The table's last rewrite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_rewrite: Option<ProcessId>,
}

/// What its task carries beside its kind, which stands in the row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpkeepTask {
    /// The table.
    pub(crate) maintain: TableId,
    /// The state that it was decided on: whoever commits on another says so.
    pub(crate) base: MetadataLocation,
}

/// What a process of upkeep is begun on.
pub(in crate::scheduler) struct Beginning {
    pub(in crate::scheduler) due: Due,
    pub(in crate::scheduler) base: MetadataLocation,
    pub(in crate::scheduler) snapshot_id: Option<SnapshotId>,
    pub(in crate::scheduler) memory: Memory,
    pub(in crate::scheduler) last_rewrite: Option<ProcessId>,
    pub(in crate::scheduler) conclusion: Conclusion,
}

/// Starts a process of the kind that is due, and sends its task.
pub(in crate::scheduler) async fn start(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
    room: &Room,
    beginning: Beginning,
) -> Result<(), CoordinationError> {
    let Beginning {
        due,
        base,
        snapshot_id,
        memory,
        last_rewrite,
        conclusion,
    } = beginning;
    let now = context.ambient.now();
    let kind = due.kind;
    let process = ProcessId::from_uuid(context.ambient.uuid());
    let reason = due.worth.reason.clone();
    let usage = Usage {
        tasks: 1,
        bytes: READS,
        cost: due.worth.costs,
    };
    let header = UpkeepHeader {
        snapshot_id: super::needs_snapshot(kind, snapshot_id),
        due,
        base: base.clone(),
        failures: row.failures,
        upkeep: memory,
        last_rewrite,
    };
    let task = UpkeepTask {
        maintain: row.table.clone(),
        base,
    };
    let new_process = NewProcess {
        process: process.clone(),
        kind,
        table: row.table.clone(),
        created_at: now,
        header: serde_json::to_string(&header).expect("a header has string keys only"),
        check_at: now + context.settings.check_interval,
        reservation: room.reservation_of(usage),
        conclusion,
    };
    let task = NewTask {
        payload: Payload::Inline(
            serde_json::to_string(&task).expect("names always have a JSON form"),
        ),
    };
    let started = context
        .store
        .start_process(lease, row, &new_process, &[task])
        .await?;
    match started {
        StartOutcome::Started => {}
        StartOutcome::AlreadyActive(_) => return Ok(()),
        // Another table of the same quota was faster.
        StartOutcome::OverQuota(shortage) => {
            let obstacle = limits::obstacle_of(shortage);
            return wait(context, lease, row, &obstacle).await;
        }
    }
    context.tell(Event::UpkeepBegun {
        table: row.table.clone(),
        process: process.clone(),
        kind,
        reason,
    });
    let task = TaskId { process, index: 0 };
    send(context, lease, (&row.table, kind), lease.epoch, &[task]).await
}
