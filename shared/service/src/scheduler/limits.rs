//! Limits at work: what keeps a table that is due from being worked on now, what a process reserves of its quotas, and
//! whether a commit may be made although somebody blocks.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use icepress_coordination::{
    CommitClaim, CoordinationError, TableRow, TaskRow,
    limits::{
        Allowance, Blocker, InvalidLimit, Quota, QuotaRow, Reservation, Resource, Shortage,
        TableLimits, Usage, blocking, in_order,
    },
};
use icepress_model::{
    Bytes, CatalogName, Group, NanoDollars, ProcessId, Scope, TableId, TimestampMs,
};
use icepress_table::{FinishedGroup, Gatekeeper};

use crate::{
    Context, Mode,
    scheduler::waiting::{Obstacle, WaitsFor, priority_of},
};

/// Reservations that are looked at, of a quota that has no task left, for processes that are gone.
const LEAKS_LOOKED_FOR: usize = 20;
/// How long a process may hold something before it is asked whether it is there at all.
const LONG_HELD: Duration = Duration::from_secs(24 * 60 * 60);

/// The blockers of some catalogs, each asked once for all of its tables.
#[derive(Debug, Default)]
pub(crate) struct Blockers(BTreeMap<CatalogName, Vec<Blocker>>);

impl Blockers {
    pub(crate) async fn of(
        context: &Context,
        catalogs: BTreeSet<CatalogName>,
    ) -> Result<Self, CoordinationError> {
        let mut known = BTreeMap::new();
        for catalog in catalogs {
            let blockers = context.store.blockers(&catalog).await?;
            known.insert(catalog, blockers);
        }
        Ok(Self(known))
    }

    /// What blocks a table.
    pub(crate) fn obstacle(&self, context: &Context, table: &TableId) -> Option<Obstacle> {
        let of_catalog = self.0.get(&table.catalog).into_iter().flatten();
        let guard = context.settings.lease_guard;
        let blocker = blocking(of_catalog, table, context.ambient.now(), guard)?;
        Some(Obstacle {
            waits_for: WaitsFor::Blocker,
            reason: reason_of(blocker),
            quota_of: None,
            until: Some(blocker.expires_at + guard),
        })
    }
}

/// One line about a blocker.
pub(crate) fn reason_of(blocker: &Blocker) -> String {
    let Blocker { owner, reason, .. } = blocker;
    format!("{owner} blocks {}: {reason}", blocker.scope)
}

/// What blocks a table now, as the store has it.
pub(crate) async fn blocked(
    context: &Context,
    table: &TableId,
) -> Result<Option<Obstacle>, CoordinationError> {
    let catalogs = BTreeSet::from([table.catalog.clone()]);
    let blockers = Blockers::of(context, catalogs).await?;
    Ok(blockers.obstacle(context, table))
}

/// Due tables in the order of their turns.
pub(crate) fn by_turns(context: &Context, due: Vec<TableRow>) -> Vec<TableRow> {
    in_order(due, |row| {
        let since = crate::Waiting::of(row).map(|waits| waits.since);
        let priority = priority_of(row)
            .unwrap_or_else(|| context.settings.limits.configured(&row.table).priority);
        (priority, since.or(row.due_at).unwrap_or_default())
    })
}

/// What a table may take now.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) priority: i32,
    quotas: Vec<(QuotaRow, Quota)>,
}

/// Looks whether a table may be worked on now, and how much of it: its window, and what is left of its quotas. A person
/// who asks for one table is let in at any hour, and pays from the quotas whatever is left of them; of a table that is only
/// observed all is planned at any hour. `properties` are the table's.
pub(crate) async fn room(
    context: &Context,
    table: &TableId,
    properties: &HashMap<String, String>,
    mode: Mode,
) -> Result<Result<Room, Obstacle>, RoomError> {
    let now = context.ambient.now();
    let is_open = context.settings.by_hand || mode == Mode::Observe;
    let TableLimits {
        priority,
        window,
        quotas,
    } = context.settings.limits.of(table, properties)?;
    if let Some(window) = window.filter(|window| !is_open && !window.is_open(now)) {
        return Ok(Err(Obstacle {
            waits_for: WaitsFor::Window,
            reason: format!("it is outside its maintenance window {window}"),
            quota_of: None,
            until: window.next_opening(now),
        }));
    }
    if quotas.is_empty() {
        let quotas = Vec::new();
        return Ok(Ok(Room { priority, quotas }));
    }
    let scopes: Vec<Scope> = quotas.iter().map(|(scope, _)| scope.clone()).collect();
    let rows = context.store.quotas(&scopes).await?;
    let quotas = rows.into_iter().zip(quotas).map(|(row, (_, quota))| {
        let none = Quota::default();
        (row, if is_open { none } else { quota })
    });
    let room = Room {
        priority,
        quotas: quotas.collect(),
    };
    // Whether there is anything left at all is known before the plan is made.
    let least = Usage {
        tasks: 1,
        bytes: Bytes(1),
        cost: NanoDollars(1),
    };
    match room.shortage(least, now) {
        None => Ok(Ok(room)),
        Some(shortage) => {
            free_leaks(context, &room, &shortage).await?;
            Ok(Err(obstacle_of(shortage)))
        }
    }
}

/// What failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoomError {
    /// One of the table's properties makes no sense.
    #[error(transparent)]
    Limit(#[from] InvalidLimit),
    /// The store failed.
    #[error(transparent)]
    Coordination(#[from] CoordinationError),
}

/// Lets go of what processes hold of an exhausted quota that are gone.
async fn free_leaks(
    context: &Context,
    room: &Room,
    shortage: &Shortage,
) -> Result<(), CoordinationError> {
    let now = context.ambient.now();
    let of_scope = room
        .quotas
        .iter()
        .find(|(row, _)| row.scope == shortage.scope);
    let held = of_scope.into_iter().flat_map(|(row, _)| &row.held);
    let long_held = held.filter(|(_, held)| now.since(held.since) > LONG_HELD);
    let suspects: Vec<ProcessId> = long_held
        .map(|(process, _)| process.clone())
        .take(LEAKS_LOOKED_FOR)
        .collect();
    for process in suspects {
        let freed = context
            .store
            .free_reservation(&shortage.scope, &process)
            .await?;
        if freed {
            context.tell(crate::Event::Notice { about: crate::About::process(&process),
                message: format!(
                    "{} held something of its quota for process {process}, which is gone or has nothing left to do",
                    shortage.scope
                ),
            });
        }
    }
    Ok(())
}

pub(crate) fn obstacle_of(shortage: Shortage) -> Obstacle {
    Obstacle {
        waits_for: match shortage.resource {
            Resource::Tasks | Resource::Processes => WaitsFor::Tasks,
            Resource::Bytes | Resource::Cost => WaitsFor::Quota,
        },
        reason: shortage.reason,
        quota_of: Some(shortage.scope),
        until: shortage.until,
    }
}

impl Room {
    fn shortage(&self, usage: Usage, now: TimestampMs) -> Option<Shortage> {
        self.quotas
            .iter()
            .find_map(|(row, quota)| row.shortage(quota, usage, now))
    }

    fn left(&self, now: TimestampMs) -> Allowance {
        let left = self.quotas.iter().map(|(row, quota)| row.left(quota, now));
        left.fold(Allowance::default(), Allowance::and)
    }

    /// Whether groups may be rewritten together.
    pub(crate) fn allows(&self, context: &Context, groups: &[Group]) -> bool {
        let now = context.ambient.now();
        self.quotas.is_empty() || self.left(now).allows(reckoned(context, groups))
    }

    /// Why not even the smallest of these groups may be rewritten.
    pub(crate) fn obstacle(&self, context: &Context, groups: &[Group]) -> Option<Obstacle> {
        let usages = groups
            .iter()
            .map(|group| reckoned(context, std::slice::from_ref(group)));
        let least = usages.min_by_key(|usage| (usage.bytes, usage.cost))?;
        let shortage = self.shortage(least, context.ambient.now())?;
        Some(obstacle_of(shortage))
    }

    /// What a process that takes so much has to reserve.
    pub(crate) fn reservation_of(&self, usage: Usage) -> Option<Reservation> {
        let of = self
            .quotas
            .iter()
            .map(|(row, quota)| (row.scope.clone(), *quota));
        (!self.quotas.is_empty()).then(|| Reservation {
            of: of.collect(),
            usage,
        })
    }

    /// What a process of these groups has to reserve.
    pub(crate) fn reservation(&self, context: &Context, groups: &[Group]) -> Option<Reservation> {
        self.reservation_of(reckoned(context, groups))
    }
}

/// What rewriting groups is reckoned to take: time as whoever asks whether they end in time reckons it, which is long.
pub(super) fn reckoned(context: &Context, groups: &[Group]) -> Usage {
    let settings = &context.settings;
    let of_group = |group: &Group| {
        let bytes = group.bytes_to_read();
        let took = settings.reckoned_time(bytes);
        Usage {
            tasks: 1,
            bytes,
            cost: settings
                .prices
                .of_group(group, took, settings.billed_memory),
        }
    };
    groups
        .iter()
        .map(of_group)
        .fold(Usage::default(), Usage::plus)
}

/// What the tasks of a process did take, as far as it was measured: of each finished one the time of the attempt that
/// finished it. Attempts that were lost, and tasks that failed, count as they were reckoned.
pub(crate) fn taken(
    context: &Context,
    reserved: Usage,
    tasks: &[TaskRow],
    finished: &[FinishedGroup],
) -> Usage {
    let settings = &context.settings;
    let results: HashMap<u32, &FinishedGroup> =
        finished.iter().map(|group| (group.index, group)).collect();
    let average = |total: u64| total / u64::from(reserved.tasks.max(1));
    let mut usage = Usage {
        tasks: reserved.tasks,
        ..Usage::default()
    };
    for task in tasks {
        let attempts = u64::from(task.attempt.get());
        let (one, last) = match results.get(&task.task.index) {
            Some(done) => {
                let one = reckoned(context, std::slice::from_ref(&done.group));
                let took = Duration::from_millis(done.result.seen.took_ms);
                let memory = settings.billed_memory;
                let cost = settings.prices.of_group(&done.group, took, memory);
                (one, Usage { cost, ..one })
            }
            None => {
                let one = Usage {
                    tasks: 1,
                    bytes: Bytes(average(reserved.bytes.get())),
                    cost: NanoDollars(average(reserved.cost.get())),
                };
                (one, one)
            }
        };
        let lost = attempts.saturating_sub(1);
        let times = |amount: u64| amount.saturating_mul(lost);
        if attempts > 0 {
            usage = usage.plus(Usage { tasks: 0, ..last }).plus(Usage {
                tasks: 0,
                bytes: Bytes(times(one.bytes.get())),
                cost: NanoDollars(times(one.cost.get())),
            });
        }
    }
    usage
}

/// Lets a process commit only while its claim on the commit holds and nobody blocks its table.
#[derive(Debug)]
pub(crate) struct CommitDoor<'a> {
    context: &'a Context,
    claim: &'a CommitClaim,
    /// Why the store could not be asked, if that was the objection.
    failure: Mutex<Option<CoordinationError>>,
    /// When the claim ends, on the monotonic clock.
    claimed_until: Mutex<Duration>,
}

impl<'a> CommitDoor<'a> {
    pub(crate) fn new(context: &'a Context, claim: &'a CommitClaim) -> Self {
        Self {
            context,
            claim,
            failure: Mutex::default(),
            claimed_until: Mutex::default(),
        }
    }

    /// The store's failure that kept the door shut, if it was one.
    pub(crate) fn into_failure(self) -> Option<CoordinationError> {
        self.failure
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn obstacle(&self) -> Result<Option<Obstacle>, CoordinationError> {
        let (ambient, ttl) = (&self.context.ambient, self.context.settings.commit_ttl);
        let (until, end) = (ambient.now() + ttl, ambient.clock.monotonic() + ttl);
        self.context.store.extend_commit(self.claim, until).await?;
        *self
            .claimed_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = end;
        blocked(self.context, &self.claim.process.table).await
    }
}

#[async_trait]
impl Gatekeeper for CommitDoor<'_> {
    /// The claim is written first and the blockers are read then; a blocker is written first and claims are read then. So
    /// one sees the other.
    async fn objection(&self) -> Option<String> {
        match self.obstacle().await {
            Ok(obstacle) => obstacle.map(|obstacle| obstacle.reason),
            Err(error) => {
                let reason = error.to_string();
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Some(reason)
            }
        }
    }

    /// As long as the claim lasts: whoever blocks is told of a commit under way until then, and not longer.
    fn sent_until(&self) -> Option<Duration> {
        let end = self.claimed_until.lock();
        Some(*end.unwrap_or_else(PoisonError::into_inner))
    }
}
