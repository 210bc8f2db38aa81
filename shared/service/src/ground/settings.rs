//! What can be tuned about how Icepress works, with the reason for each default.

mod times;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use icepress_coordination::limits::Limits;
use icepress_model::{BucketCount, Bytes, Pace, TableId, WorkerId};
use icepress_planner::{InvalidProperty, PlanDefaults, PlanOptions, Prices, VerifyRows};
use icepress_storage::TimeLimits;
use icepress_table::CommitPolicy;
pub use times::Times;

use super::{maintain::MaintainDefaults, mode::Modes};

/// How a scheduler or an optimizer works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who this is, in leases and claims. Unique for each function instance or process.
    pub worker: WorkerId,
    /// Into how many buckets a new store is laid out. What an old one is laid out into, it says itself.
    pub buckets: BucketCount,
    /// How long a bucket's lease lasts without renewal.
    pub lease_ttl: Duration,
    /// How long after a lease's end others wait, for clocks that disagree.
    pub lease_guard: Duration,
    /// A bucket in which nothing happens is swept under a lease at least this often, so that its row shows that
    /// somebody looks after it, and those that were looked at longest ago come first.
    pub longest_rest: Duration,
    /// How long a claim on a task lasts without renewal. It is renewed at a third of this while work goes on, so it
    /// only bounds how long the work of a dead optimizer waits.
    pub claim_ttl: Duration,
    /// How long a claim on a commit lasts.
    pub commit_ttl: Duration,
    /// When the owner of a bucket looks whether a process got stuck, after its start and again and again.
    pub check_interval: Duration,
    /// Tries at one group that may end in a passing failure before the group fails.
    pub task_attempts: u32,
    /// Claims of one task, by workers that died or gave it back, before its group fails.
    pub claims_of_task: u32,
    /// Claims of one process's commit before the process fails, once [`Settings::commit_patience`] is over.
    pub commit_claims: u32,
    /// How long after its start a process is given up whose commit does not come about, and no sooner: what was
    /// rewritten is as good at a later try.
    pub commit_patience: Duration,
    /// The wait after a table's first failure; doubles with each further one.
    pub first_backoff: Duration,
    /// The longest wait after failures. A table is never suspended for good.
    pub longest_backoff: Duration,
    /// How long a tick works by itself before it hands the rest to others, where there are any: what a small deployment
    /// has to do ends sooner, and costs no further run.
    pub own_share: Duration,
    /// A database of more tables than this is listed in a run of its own, where there is anybody to hand it to.
    pub long_listing: u64,
    /// A listing that takes longer is noted as begun, for who dies of it.
    pub note_listing_after: Duration,
    /// How many tables of a bucket are evaluated at once.
    pub evaluations_at_once: usize,
    /// Due tables taken from the store at a time, the longest due first; they are worked on in the order of their
    /// priorities.
    pub due_page: usize,
    /// When a table is looked at again whose quota's tasks are all under way.
    pub slot_wait: Duration,
    /// Quotas, maintenance windows and priorities of catalogs, databases and tables.
    pub limits: Arc<Limits>,
    /// Whether a person asked for the very tables: windows are open to them, and quotas no reason to wait.
    pub by_hand: bool,
    /// What rewriting costs, for quotas in dollars.
    pub prices: Prices,
    /// The memory that is paid for while a group is rewritten, for quotas in dollars.
    pub billed_memory: Bytes,
    /// Plans and results larger than this go to [`Settings::payload_location`].
    pub payload_limit: Bytes,
    /// Where large plans and results go; `None` keeps them in the state store whatever their size.
    pub payload_location: Option<String>,
    /// How much memory plans that are made side by side may take. One that takes more is handed over to an optimizer, where
    /// [`Settings::hands_over`] says so, and else made alone.
    pub plan_memory: Bytes,
    /// Whether optimizers have a memory and a time of their own, so that they may get to the end of what nobody here does.
    pub hands_over: bool,
    /// How much memory one group's rewrite may take.
    pub memory_cap: Bytes,
    /// How long one invocation lasts at the most; `None` where there is no limit.
    pub invocation_limit: Option<Duration>,
    /// How long one invocation of an optimizer lasts, for whoever plans what it is to do; `None` where there is no limit,
    /// or it is not known.
    pub optimizer_limit: Option<Duration>,
    /// What is kept free before the invocation's end: reporting and committing take a while.
    pub deadline_margin: Duration,
    /// Input bytes a second that a rewrite is reckoned with when it is asked whether a group can end in time, where no
    /// group of the table was measured.
    pub reckoned_throughput: Bytes,
    /// Whether whoever this is may delete: then it does the tasks that do; files of a group that certainly failed go at once, and metadata files that leave a table's log
    /// where the table wants it. Off in the cloud but for the cleaner, whose role alone may: of the others the
    /// former wait for orphan removal, and the latter stay in the log.
    pub may_delete: bool,
    /// Which upkeep is done by itself beside rewrites.
    pub maintain: Arc<MaintainDefaults>,
    /// Which tables are only observed: nothing is begun for them by itself.
    pub modes: Arc<Modes>,
    /// The rest of a table between two runs of one kind of upkeep that are worth their price. Where one costs more than it saves
    /// in a month, it is a day for each hour of this.
    pub upkeep_rest: Duration,
    /// Snapshots younger than this never expire by themselves: readers that loaded the table when they were current may still be
    /// at work.
    pub expire_floor: Duration,
    /// How long one run of upkeep begins new deletions: a table has one process at a time, and others wait.
    pub longest_upkeep: Duration,
    /// How plans are made where neither a table's properties nor [`Settings::plan_defaults`] say otherwise.
    pub plan: PlanOptions,
    /// How plans are made of the tables of a catalog or database, where their properties don't say otherwise.
    pub plan_defaults: Arc<PlanDefaults>,
    /// How hard commits try.
    pub commit: CommitPolicy,
    /// How long requests to AWS, REST servers and databases may take.
    pub requests: TimeLimits,
}

impl Settings {
    /// For one process on one machine: clocks agree, so leases are short and the work of a killed run is taken up
    /// within seconds.
    pub fn embedded(worker: WorkerId) -> Self {
        Self {
            worker,
            buckets: BucketCount(NonZeroU32::MIN.saturating_add(7)),
            lease_ttl: Duration::from_secs(20),
            lease_guard: Duration::from_secs(1),
            longest_rest: Duration::from_secs(900),
            claim_ttl: Duration::from_secs(30),
            commit_ttl: Duration::from_secs(60),
            check_interval: Duration::from_secs(30),
            task_attempts: 3,
            claims_of_task: 6,
            commit_claims: 5,
            commit_patience: Duration::from_secs(3600),
            first_backoff: Duration::from_secs(60),
            longest_backoff: Duration::from_secs(6 * 3600),
            own_share: Duration::from_secs(2),
            long_listing: 2_000,
            note_listing_after: Duration::from_secs(5),
            evaluations_at_once: 2,
            due_page: 1_000,
            slot_wait: Duration::from_secs(2),
            limits: Arc::default(),
            by_hand: false,
            prices: Prices::default(),
            billed_memory: Bytes::mebibytes(2_048),
            payload_limit: Bytes(64 << 10),
            payload_location: None,
            plan_memory: Bytes::mebibytes(1_024),
            hands_over: false,
            memory_cap: Bytes::mebibytes(512),
            invocation_limit: None,
            optimizer_limit: None,
            deadline_margin: Duration::from_secs(5),
            reckoned_throughput: Bytes::mebibytes(12),
            may_delete: true,
            maintain: Arc::default(),
            modes: Arc::default(),
            upkeep_rest: Duration::from_secs(3600),
            expire_floor: icepress_upkeep::FLOOR,
            longest_upkeep: Duration::from_secs(600),
            plan: PlanOptions::default(),
            plan_defaults: Arc::default(),
            commit: CommitPolicy::default(),
            requests: TimeLimits::default(),
        }
    }

    /// For functions: clocks may disagree, and an invocation has an end.
    pub fn cloud(worker: WorkerId, buckets: BucketCount, payload_location: String) -> Self {
        Self {
            buckets,
            lease_ttl: Duration::from_secs(120),
            lease_guard: Duration::from_secs(30),
            claim_ttl: Duration::from_secs(180),
            commit_ttl: Duration::from_secs(180),
            check_interval: Duration::from_secs(300),
            own_share: Duration::from_secs(20),
            evaluations_at_once: 4,
            slot_wait: Duration::from_secs(60),
            payload_location: Some(payload_location),
            plan_memory: share_for_plans(512),
            hands_over: true,
            memory_cap: Bytes::mebibytes(2048),
            deadline_margin: Duration::from_secs(20),
            may_delete: false,
            ..Self::embedded(worker)
        }
    }

    /// The wait after so many failures in a row, before jitter.
    pub fn backoff(&self, failures: u32) -> Duration {
        self.doubled(self.first_backoff, failures)
    }

    /// The wait after the last of so many failures in a row was a race lost to another writer, before jitter: far
    /// shorter, since the next race may be won, and a writer that never rests must not keep upkeep away (case C05).
    pub fn backoff_after_loss(&self, failures: u32) -> Duration {
        const FIRST: Duration = Duration::from_secs(2);
        self.doubled(FIRST, failures)
    }

    fn doubled(&self, first: Duration, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        first
            .saturating_mul(1 << doublings)
            .min(self.longest_backoff)
    }

    /// How plans are made of a table whose properties say nothing.
    pub fn plan_of(&self, table: &TableId) -> Result<PlanOptions, InvalidProperty> {
        self.plan_defaults.of(&self.plan, table)
    }

    /// Takes over how much memory there is where this runs.
    pub fn with_memory(mut self, memory_mebibytes: Option<u64>) -> Self {
        if let Some(memory) = memory_mebibytes {
            self.plan_memory = share_for_plans(memory);
        }
        self
    }

    /// Takes over how much memory and time an optimizer's invocation has.
    pub fn with_optimizer(
        mut self,
        memory_mebibytes: Option<u64>,
        limit: Option<Duration>,
    ) -> Self {
        if let Some(memory) = memory_mebibytes {
            self.memory_cap = share_for_rewrite(memory);
            self.billed_memory = Bytes::mebibytes(memory);
            self.reckoned_throughput = throughput_with(self.reckoned_throughput, memory);
        }
        self.optimizer_limit = limit.or(self.optimizer_limit);
        self
    }

    /// How long a rewrite of so many input bytes is reckoned to take.
    pub fn reckoned_time(&self, input: Bytes) -> Duration {
        self.time_at(None, input)
    }

    /// The same for a table of which groups were measured.
    pub fn time_at(&self, pace: Option<Pace>, input: Bytes) -> Duration {
        let seconds = input.get() as f64 / self.throughput_at(pace) as f64;
        START + Duration::from_secs_f64(seconds)
    }

    /// The most bytes of a group that an optimizer gets through in one invocation, reckoned so that it does not refuse it;
    /// `None` where nothing limits it.
    pub fn largest_group(&self, pace: Option<Pace>, verify_rows: VerifyRows) -> Option<Bytes> {
        let work = self
            .optimizer_limit?
            .saturating_sub(self.deadline_margin + START);
        // To compare all rows takes no longer than to write them.
        let passes = if verify_rows == VerifyRows::All {
            2.0
        } else {
            1.0
        };
        let bytes = work.as_secs_f64() * self.throughput_at(pace) as f64 / passes;
        Some(Bytes((bytes * NEARLY) as u64).max(Bytes(1)))
    }

    /// Bytes a second: what was measured, but for what nobody would believe.
    fn throughput_at(&self, pace: Option<Pace>) -> u64 {
        const DOUBT: u64 = 16;
        let reckoned = self.reckoned_throughput.get().max(1);
        let measured = pace.and_then(Pace::bytes_a_second);
        measured.map_or(reckoned, |measured| {
            let most = reckoned.saturating_mul(DOUBT);
            measured.get().clamp((reckoned / DOUBT).max(1), most)
        })
    }
}

/// What every rewrite takes, however small.
const START: Duration = Duration::from_secs(5);
/// Of the time there is so much is planned with: what one worker refuses another need not have planned.
const NEARLY: f64 = 0.9;

/// What of a function's memory plans may take: the rest is for the program, the SDKs and a commit that is made beside them.
fn share_for_plans(memory_mebibytes: u64) -> Bytes {
    const OTHERS: u64 = 128;
    Bytes::mebibytes(memory_mebibytes.saturating_sub(OTHERS).max(32) * 3 / 4)
}

/// What of a function's memory one group may take: the rest is for the program, the SDKs and the metadata.
fn share_for_rewrite(memory_mebibytes: u64) -> Bytes {
    const OTHERS: u64 = 192;
    Bytes::mebibytes(memory_mebibytes.saturating_sub(OTHERS) * 3 / 4)
}

/// What a function of so much memory gets through of `full` bytes a second: Lambda gives it a whole processor from 1,769
/// MB on, and below that a share.
fn throughput_with(full: Bytes, memory_mebibytes: u64) -> Bytes {
    const WHOLE_PROCESSOR: u64 = 1_769;
    let share = memory_mebibytes.min(WHOLE_PROCESSOR);
    Bytes(full.get().saturating_mul(share) / WHOLE_PROCESSOR)
}

#[cfg(test)]
mod tests;
