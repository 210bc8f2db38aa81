//! What every state store and every queue must do, as one suite that is run on each of them.
//!
//! A rule is a function that panics, as a test does, where the adapter fails. It gets a world of its own: an empty
//! store that several callers can share, or an empty queue. Names that begin with `b01` to `b11` are the cases of the
//! field.
#![allow(
    clippy::unwrap_used,
    reason = "these are assertions: they panic where an adapter fails"
)]

mod layout;
mod leases;
mod limits;
mod listing;
mod processes;
mod queue;
mod tables;
mod tasks;
mod versions;

use std::{fmt::Debug, future::Future, num::NonZeroU32, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use icepress_model::{
    BucketCount, BucketId, CatalogName, DatabaseId, Generation, MetadataLocation, Namespace,
    ProcessId, ProcessKind, TableId, TaskId, TimestampMs, WorkerId,
};

use crate::{
    ClaimOutcome, Conclusion, CoordinationError, Home, Lease, MarkOutcome, NewProcess, NewTask,
    Payload, StartOutcome, StateStore, TableRow, TaskQueue, TaskRow, invariants,
};

/// An empty store, and what a rule has to do to it beside the port.
#[async_trait]
pub trait StoreWorld: Send + Sync + Debug {
    /// The store. Where there can be several connections to it, each call opens another.
    async fn store(&self) -> Arc<dyn StateStore>;

    /// Makes the row of a table unreadable, as a bug or a person might (case B11).
    async fn damage_table(&self, table: &TableId);

    /// The same with the row of a bucket.
    async fn damage_bucket(&self, bucket: BucketId);

    /// Whether answers of the store get lost on their way, so that a write may be done twice.
    fn loses_answers(&self) -> bool {
        false
    }
}

/// Empty queues whose messages die at the third receive, and time for them.
#[async_trait]
pub trait QueueWorld: Send + Sync + Debug {
    /// The queues.
    async fn queue(&self) -> Arc<dyn TaskQueue>;

    /// Lets that much time pass, for the queues.
    async fn pass(&self, time: Duration);
}

/// How often a message is received in a [`QueueWorld`] before it dies.
pub const MAX_RECEIVES: u32 = 2;

/// A rule that has been started.
pub type Checked = Pin<Box<dyn Future<Output = ()> + Send>>;
/// A rule for stores, with its name.
pub type StoreRule = (&'static str, fn(Arc<dyn StoreWorld>) -> Checked);
/// A rule for queues, with its name.
pub type QueueRule = (&'static str, fn(Arc<dyn QueueWorld>) -> Checked);

/// Hands the names of all rules for stores to another macro.
macro_rules! store_rules {
    ($callback:ident) => {
        $callback! {
            leases::a_lease_is_taken_renewed_and_released,
            leases::b01_every_lease_ends_after_its_guard,
            leases::b02_only_the_owner_renews,
            leases::b07_an_old_epoch_writes_nothing,
            leases::b05_b08_nothing_is_lost_when_a_bucket_moves,
            leases::b11_one_unreadable_bucket_hides_no_other,
            leases::of_eight_takers_exactly_one_wins,
            leases::all_buckets_are_listed_in_order,
            leases::a_digest_of_twenty_thousand_tables_comes_back,
            layout::a_store_is_laid_out_once,
            layout::former_buckets_are_kept_until_everything_has_moved,
            layout::a_table_moves_with_all_that_is_known_of_it,
            layout::only_the_owner_of_its_new_bucket_plans_a_moved_table,
            layout::a_process_under_way_ends_where_its_table_is,
            layout::a_mark_moves_a_table_forwards_and_never_back,
            layout::a_digest_of_an_old_layout_is_refused,
            layout::of_eight_movers_exactly_one_moves,
            layout::every_table_is_listed_once,
            listing::tables_are_listed_by_name_from_any_of_them_on,
            listing::tables_that_are_watched_are_found_without_those_at_rest,
            listing::a_catalog_or_database_is_listed_alone,
            listing::b11_an_unreadable_row_stands_in_its_place,
            tables::a_table_is_marked_once_for_a_state,
            tables::b05_a_table_is_found_by_the_hash_of_its_name,
            tables::our_own_commit_marks_nothing,
            tables::a_mark_does_not_shorten_the_pause_of_a_table_that_failed,
            tables::a_mark_waits_out_the_pause_of_a_process_that_failed,
            tables::a_person_can_mark_what_was_evaluated,
            tables::c57_an_evaluation_that_begins_is_noted_until_it_is_concluded,
            tables::due_tables_come_longest_due_first,
            tables::a_conclusion_clears_only_the_marks_it_saw,
            tables::a_table_that_could_not_be_loaded_keeps_its_mark,
            tables::b11_one_unreadable_row_hides_no_other,
            tables::a_forgotten_table_has_no_row,
            tables::a_table_marked_again_is_not_forgotten,
            tables::odd_names_are_kept_apart,
            tables::racing_marks_are_all_counted,
            processes::a_process_of_300_tasks_starts_whole,
            processes::a_table_has_one_process_at_a_time,
            processes::starting_again_after_a_lost_answer_changes_nothing,
            processes::a_mark_during_a_process_waits_for_its_end,
            processes::a_mark_of_our_own_commit_is_dropped_at_the_end,
            processes::a_foreign_mark_under_our_own_survives_the_end,
            processes::a_mark_between_looking_and_starting_survives_the_end,
            processes::a_look_at_a_process_under_way_clears_no_mark,
            processes::the_commit_is_claimed_by_one_at_a_time,
            processes::a_commit_given_back_is_free_at_once,
            processes::only_the_newest_claim_ends_a_process,
            processes::b09_the_next_owner_finds_and_commits_what_was_finished,
            processes::processes_are_listed_newest_first,
            processes::a_cancelled_process_frees_its_table_and_takes_no_result,
            processes::a_process_that_is_being_committed_is_not_cancelled,
            processes::a_sound_store_is_found_well,
            limits::a_blocker_stands_until_its_owner_takes_it_away,
            limits::a_block_and_a_commit_do_not_miss_each_other,
            limits::only_the_newest_claim_on_a_commit_is_prolonged,
            limits::what_a_process_takes_is_held_until_its_end_and_booked_once,
            limits::what_a_process_holds_is_let_go_of_once_none_of_its_tasks_is_open,
            limits::of_eight_that_start_no_more_do_than_the_quota_allows,
            versions::what_runs_is_noted_once_in_a_while_and_goes_with_time,
            versions::of_many_that_start_together_one_note_is_made,
            tasks::a_task_goes_through_claim_and_report,
            tasks::a_task_past_its_deadline_is_claimed_anew,
            tasks::b10_late_and_doubled_reports_are_stale,
            tasks::a_task_given_back_is_claimed_at_once,
            tasks::c56_a_task_that_waits_uses_up_no_try_and_no_message,
            tasks::a_task_without_a_process_is_gone,
            tasks::of_eight_claimers_exactly_one_wins,
            tasks::of_eight_reporters_exactly_one_sees_zero,
        }
    };
}

/// Hands the names of all rules for queues to another macro.
macro_rules! queue_rules {
    ($callback:ident) => {
        $callback! {
            queue::a_message_is_seen_by_one_until_it_is_deleted,
            queue::an_unacknowledged_message_comes_again_and_is_counted,
            queue::a_message_given_back_is_seen_at_once,
            queue::a_longer_visibility_keeps_a_message_away,
            queue::an_old_receipt_deletes_nothing,
            queue::messages_die_and_can_be_redriven,
            queue::a_queue_tells_how_much_lies_in_it,
            queue::twenty_five_messages_are_sent_in_order_of_results,
            queue::queues_of_buckets_are_apart,
            queue::a_long_table_name_is_sent,
        }
    };
}

macro_rules! list {
    ($($module:ident::$rule:ident),* $(,)?) => {
        &[$((stringify!($rule), |world| Box::pin($module::$rule(world)))),*]
    };
}

#[cfg(test)]
pub(crate) use {queue_rules, store_rules};

/// All rules for stores.
pub const STORE_RULES: &[StoreRule] = store_rules!(list);
/// All rules for queues.
pub const QUEUE_RULES: &[QueueRule] = queue_rules!(list);

/// Checks the rule for stores of that name.
pub async fn check_store(name: &str, world: Arc<dyn StoreWorld>) {
    let rule = STORE_RULES.iter().find(|rule| rule.0 == name);
    rule.expect("there is a rule of that name").1(world).await;
}

/// Checks the rule for queues of that name.
pub async fn check_queue(name: &str, world: Arc<dyn QueueWorld>) {
    let rule = QUEUE_RULES.iter().find(|rule| rule.0 == name);
    rule.expect("there is a rule of that name").1(world).await;
}

// --- what the rules are written with ---

const TTL: Duration = Duration::from_secs(60);
const GUARD: Duration = Duration::from_secs(30);
const NOW: TimestampMs = TimestampMs(1_760_000_000_000);
const BUCKET: BucketId = BucketId(7);
/// Of a store that was never laid out.
const LAYOUT: Generation = Generation(0);
const HOME: Home = home(BUCKET.0, LAYOUT.0);

const fn home(bucket: u32, layout: u64) -> Home {
    Home {
        bucket: BucketId(bucket),
        layout: Generation(layout),
    }
}

fn at(seconds: u64) -> TimestampMs {
    NOW + Duration::from_secs(seconds)
}

fn worker(name: &str) -> WorkerId {
    WorkerId::from(name)
}

fn database() -> DatabaseId {
    DatabaseId {
        catalog: CatalogName::from("lake"),
        namespace: Namespace::from_dotted("sales.eu"),
    }
}

fn table(name: &str) -> TableId {
    TableId {
        catalog: database().catalog,
        namespace: database().namespace,
        name: name.to_owned(),
    }
}

fn location(name: &str) -> MetadataLocation {
    MetadataLocation(format!(
        "s3://lake/sales/orders/metadata/{name}.metadata.json"
    ))
}

fn conclusion(evaluated: Option<&str>, next_due_at: Option<TimestampMs>) -> Conclusion {
    Conclusion {
        evaluated_location: evaluated.map(location),
        text: r#"{"reason":"tested"}"#.to_owned(),
        next_due_at,
        failures: 0,
    }
}

fn new_process(id: &str, table: &TableId, evaluated: &str) -> NewProcess {
    NewProcess {
        process: ProcessId::from(id),
        // None that a row without a kind would be taken for.
        kind: ProcessKind::Tags,
        table: table.clone(),
        created_at: NOW,
        header: format!("{{\"base\":\"{evaluated}\"}}"),
        check_at: at(600),
        reservation: None,
        conclusion: conclusion(Some(evaluated), None),
    }
}

fn new_tasks(count: usize) -> Vec<NewTask> {
    (0..count)
        .map(|number| NewTask {
            payload: Payload::Inline(format!("{{\"group\":{number}}}")),
        })
        .collect()
}

fn task(process: &str, index: u32) -> TaskId {
    TaskId {
        process: ProcessId::from(process),
        index,
    }
}

fn result(name: &str) -> Payload {
    Payload::Stored(format!("s3://lake/results/{name}.json"))
}

async fn lease(store: &dyn StateStore, owner: &str) -> Lease {
    store
        .take_lease(BUCKET, &worker(owner), NOW, TTL, GUARD)
        .await
        .unwrap()
        .expect("nobody holds the bucket")
}

async fn marked(store: &dyn StateStore, table: &TableId, name: &str, due_at: TimestampMs) {
    let outcome = store
        .mark_due(HOME, table, &location(name), due_at)
        .await
        .unwrap();
    assert_eq!(outcome, MarkOutcome::Marked, "{table} for {name}");
}

/// The row of a table, which keeps the invariants.
async fn row(store: &dyn StateStore, table: &TableId) -> TableRow {
    let row = store
        .table(table)
        .await
        .unwrap()
        .expect("the table has a row");
    assert_eq!(invariants::table_row(&row), Ok(()));
    row
}

/// A table marked for `m1` with a process under way on it.
async fn started(store: &dyn StateStore, lease: &Lease, process: &str, tasks: usize) -> TableId {
    let table = table("orders");
    marked(store, &table, "m1", NOW).await;
    let seen = row(store, &table).await;
    let outcome = store
        .start_process(
            lease,
            &seen,
            &new_process(process, &table, "m1"),
            &new_tasks(tasks),
        )
        .await
        .unwrap();
    assert_eq!(outcome, StartOutcome::Started);
    assert_consistent(store, &table, process).await;
    table
}

async fn claimed(store: &dyn StateStore, task: &TaskId, name: &str, now: TimestampMs) -> TaskRow {
    let outcome = store
        .claim_task(task, &worker(name), now, now + TTL)
        .await
        .unwrap();
    match outcome {
        ClaimOutcome::Claimed(row) => row,
        other => panic!("task {task} should be free: {other:?}"),
    }
}

/// What the rows of a table and its processes must say of each other, always.
async fn assert_consistent(store: &dyn StateStore, table: &TableId, process: &str) {
    let table_row = store.table(table).await.unwrap();
    let processes = store.processes_of(table, 100).await.unwrap();
    assert_eq!(
        invariants::one_process(table_row.as_ref(), &processes),
        Ok(())
    );
    let process_row = store
        .process(&ProcessId::from(process))
        .await
        .unwrap()
        .expect("the process has a row");
    let tasks = store.tasks(&ProcessId::from(process)).await.unwrap();
    assert_eq!(invariants::process_row(&process_row), Ok(()));
    assert_eq!(invariants::open_tasks(&process_row, &tasks), Ok(()));
}

fn assert_fenced<T: Debug>(outcome: Result<T, CoordinationError>, what: &str) {
    assert!(
        matches!(outcome, Err(CoordinationError::Fenced(_))),
        "{what} should be fenced: {outcome:?}"
    );
}

fn buckets(count: u32) -> BucketCount {
    BucketCount(NonZeroU32::new(count).unwrap())
}
