//! Limits, held against every commit and every write: nobody commits where a blocker was promised to keep Icepress away,
//! no process starts where it may not, and the books of quotas are right to the byte.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use icepress_coordination::{
    InspectedRow, ProcessRow,
    limits::{Held, Limits, Quota, QuotaRow},
};
use icepress_model::{Bytes, NanoDollars, ProcessId, Scope, TableId, TimestampMs};

use super::{Oracle, protocol};
use crate::{
    ambient::START,
    catalog::Moved,
    dynamo::{Dynamo, Item, ItemKey},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

type Items = BTreeMap<ItemKey, Item>;

/// What a world is held against.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Quotas and windows.
    pub limits: Limits,
    /// By how much clocks may disagree for what is promised of blockers.
    pub guard: Duration,
    /// How wrong clocks are, at most, either way.
    pub skew: Duration,
    /// The longest that a scheduler is at work.
    pub scheduler_limit: Duration,
    /// Whether Java's writers move pointers blindly under the lock.
    pub blind: bool,
    /// Whether upkeep of every kind is at work.
    pub is_tended: bool,
}

/// Whether a process only looks at its table, for a scheduler that can't: such a one takes nothing of any quota, and may be at
/// work at any hour, as schedulers are that look. What is made of it asks for both.
fn only_looks(process: &ProcessRow) -> bool {
    let header: Result<serde_json::Value, _> = serde_json::from_str(&process.header);
    header.is_ok_and(|header| header.get("evaluation").is_some()) && process.tasks == 1
}

/// A blocker whose owner was told that it stands.
#[derive(Debug, Clone)]
pub struct Ban {
    /// What is blocked.
    pub scope: Scope,
    /// By whom.
    pub owner: String,
    /// When its owner was told, since the start of the world.
    pub from: Duration,
    /// When it ends, by its owner's clock.
    pub expires_at: TimestampMs,
    /// How far its owner's clock is ahead.
    pub skew_ms: i64,
    /// Commits that its owner was told of, and when they are over at the latest.
    pub under_way: BTreeMap<ProcessId, TimestampMs>,
}

/// What the oracle remembers of limits.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    pub(super) rules: Rules,
    bans: BTreeMap<u64, Ban>,
    next_ban: u64,
    /// Owners whose blocker was taken away.
    unbanned: BTreeSet<String>,
    /// What each process held last of each quota, whether or not it holds it still.
    ledger: BTreeMap<(Scope, ProcessId), Held>,
}

impl Oracle {
    /// Sets what the world is held against.
    pub fn set_rules(&self, rules: Rules) {
        self.state().limits.rules = rules;
    }

    /// Sets other limits than the world began with.
    pub fn set_limits(&self, limits: Limits) {
        self.state().limits.rules.limits = limits;
    }

    /// Says that somebody was told that a blocker stands.
    pub fn banned(&self, ban: Ban) -> u64 {
        let remembered = &mut self.state().limits;
        remembered.next_ban += 1;
        let number = remembered.next_ban;
        if !remembered.unbanned.contains(&ban.owner) {
            remembered.bans.insert(number, ban);
        }
        number
    }

    /// Says that its owner was told that nothing is under way any more.
    pub fn settled(&self, ban: u64) {
        let now = self.engine.now();
        if let Some(ban) = self.state().limits.bans.get_mut(&ban) {
            ban.from = now;
            ban.under_way.clear();
        }
    }

    /// Says that somebody is about to take an owner's blocker away, which may not even stand yet.
    pub fn unbanned(&self, owner: &str) {
        let remembered = &mut self.state().limits;
        remembered.bans.retain(|_, ban| ban.owner != owner);
        remembered.unbanned.insert(owner.to_owned());
    }
}

impl Remembered {
    /// Blockers that keep Icepress from a table at `now` (the true time), as far as that is promised: until its end by the
    /// owner's clock, with clocks that disagree by no more than the guard.
    fn bans_of(&self, table: &TableId, now: TimestampMs) -> impl Iterator<Item = &Ban> {
        let Rules { guard, skew, .. } = &self.rules;
        let is_promised = 2 * *skew <= *guard;
        let for_all = *guard - (*skew).min(*guard);
        self.bans.values().filter(move |ban| {
            let own_end = TimestampMs(ban.expires_at.get() - ban.skew_ms);
            let end = own_end.min(ban.expires_at + for_all);
            is_promised && ban.scope.covers(table) && now <= end
        })
    }

    /// A commit of a process. What was sent before somebody was told of a blocker may come after it.
    pub(super) fn judge_commit(
        &self,
        moved: &Moved<'_>,
        process: &str,
        now: Duration,
    ) -> Result<(), String> {
        let sent = START + moved.sent;
        for ban in self.bans_of(moved.table, START + now) {
            if moved.sent <= ban.from {
                continue;
            }
            let told = ban
                .under_way
                .iter()
                .find(|(known, _)| known.as_str() == process);
            match told {
                Some((_, until)) if sent <= *until + self.rules.skew => {}
                Some((_, until)) => {
                    return Err(format!(
                        "process {process} sent its commit at {sent}, and should have been over at {until}: {ban:?}"
                    ));
                }
                None => {
                    return Err(format!(
                        "process {process} sent its commit at {sent}, and is blocked: {ban:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// A process that starts: where its table was not blocked, and in a window, when its planner began at the latest; and
    /// with no more tasks under way than there may be.
    pub(super) fn judge_start(
        &self,
        row: &ProcessRow,
        under_way: &[ProcessRow],
    ) -> Result<(), String> {
        let Rules {
            skew,
            scheduler_limit,
            limits,
            ..
        } = &self.rules;
        let process = &row.process;
        for ban in self.bans_of(&row.table, row.created_at) {
            if row.created_at > START + ban.from + *scheduler_limit + *skew {
                return Err(format!("process {process} starts, and is blocked: {ban:?}"));
            }
        }
        if only_looks(row) {
            return Ok(());
        }
        let of_table = limits.configured(&row.table);
        let looked = row.created_at - *scheduler_limit;
        let opens = of_table
            .window
            .as_ref()
            .map(|window| window.next_opening(looked));
        if opens.is_some_and(|opens| opens.is_none_or(|opens| opens > row.created_at)) {
            return Err(format!("process {process} starts outside of its window"));
        }
        for (scope, quota) in &of_table.quotas {
            let Some(most) = quota.tasks else {
                continue;
            };
            let rewrites = under_way.iter().filter(|other| !only_looks(other));
            let of_scope = rewrites.filter(|other| scope.covers(&other.table));
            // One whose tasks were done days ago, and whose commit never came to an end, keeps nothing from others (case C56).
            let tasks_of = |other: &ProcessRow| match other.created_at + DAY < row.created_at {
                true => other.open_tasks,
                false => other.tasks,
            };
            let tasks: u32 = of_scope.map(tasks_of).sum();
            if tasks > most {
                return Err(format!(
                    "{scope} has {tasks} tasks under way, and may have {most}"
                ));
            }
        }
        Ok(())
    }

    fn quota_of(&self, scope: &Scope, any_table: Option<&TableId>) -> Option<Quota> {
        let configured = self.rules.limits.configured(any_table?);
        let found = configured.quotas.into_iter().find(|(of, _)| of == scope);
        found.map(|(_, quota)| quota)
    }

    /// A quota's row as it was written.
    pub(super) fn judge_quota(
        &mut self,
        items: &Items,
        before: Option<&QuotaRow>,
        after: &QuotaRow,
    ) -> Result<(), String> {
        let scope = &after.scope;
        let under_way = protocol::under_way(items);
        books(after, &under_way)?;
        for (process, held) in &after.held {
            self.ledger.insert((scope.clone(), process.clone()), *held);
        }
        let of_scope = || {
            let known = self.ledger.iter();
            known
                .filter(|((of, _), _)| of == scope)
                .map(|(_, held)| held)
        };
        let bytes: Bytes = of_scope()
            .filter(|held| held.since >= after.day)
            .map(|held| held.usage.bytes)
            .sum();
        let cost: u64 = of_scope()
            .filter(|held| held.since >= after.month)
            .map(|held| held.usage.cost.get())
            .sum();
        let (of_day, of_month) = (
            after.bytes_of_day(after.day),
            after.cost_of_month(after.month),
        );
        if (of_day, of_month) != (bytes, NanoDollars(cost)) {
            return Err(format!(
                "{scope}: {of_day} and {of_month} are booked, but {bytes} and {} were taken",
                NanoDollars(cost)
            ));
        }
        let began = after
            .held
            .keys()
            .find(|process| before.is_none_or(|before| !before.held.contains_key(*process)));
        let of_process =
            began.and_then(|process| under_way.iter().find(|row| row.process == *process));
        let quota = self.quota_of(scope, of_process.map(|row| &row.table));
        let Some(quota) = quota else {
            return Ok(());
        };
        let is_over = quota.tasks.is_some_and(|most| after.tasks() > most)
            || quota.bytes_a_day.is_some_and(|most| of_day > most)
            || quota.cost_a_month.is_some_and(|most| of_month > most);
        if is_over {
            return Err(format!(
                "{began:?} started over the quota {quota:?}: {after:?}"
            ));
        }
        Ok(())
    }
}

/// Whoever holds something of a quota is under way, and whoever is under way holds what it should: or nothing, once no task of
/// it is open and only its end is missing, which a store may refuse for long.
pub(super) fn books(row: &QuotaRow, under_way: &[ProcessRow]) -> Result<(), String> {
    let of_scope = under_way
        .iter()
        .filter(|process| process.quotas.contains(&row.scope))
        .filter(|process| process.open_tasks > 0 || row.held.contains_key(&process.process));
    let expected: BTreeMap<&ProcessId, u32> = of_scope
        .map(|process| (&process.process, process.tasks))
        .collect();
    let held: BTreeMap<&ProcessId, u32> = row
        .held
        .iter()
        .map(|(process, held)| (process, held.usage.tasks))
        .collect();
    if held == expected {
        return Ok(());
    }
    Err(format!(
        "{}: {held:?} is held, and {expected:?} is under way",
        row.scope
    ))
}

/// Whether nothing is held of any quota, as it must be once everything has ended.
pub fn nothing_held(dynamo: &Dynamo, table: &str) -> Result<(), String> {
    for item in dynamo.items(table).values() {
        if let Ok(InspectedRow::Quota(row)) = protocol::read(item)
            && !row.held.is_empty()
        {
            return Err(format!("something of a quota is held: {row:?}"));
        }
    }
    Ok(())
}
