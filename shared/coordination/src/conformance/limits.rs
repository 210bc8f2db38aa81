//! Rules of blockers and quotas: what `icepress_protocol::limits` has the reasons for.

use std::sync::Arc;

use futures::future::join_all;
use icepress_model::{Bytes, NanoDollars, Scope};

use super::*;
use crate::{
    CancelOutcome, ProcessState, ReportOutcome,
    conformance::processes::end,
    limits::{Blocker, Quota, QuotaRow, Reservation, Resource, Usage, blocking},
};

fn catalog() -> Scope {
    Scope::Catalog(database().catalog)
}

fn blocker(scope: Scope, owner: &str, until: u64) -> Blocker {
    Blocker {
        scope,
        owner: owner.to_owned(),
        reason: "a job of many hours".to_owned(),
        created_at: NOW,
        expires_at: at(until),
    }
}

/// Blockers in the order of their owners.
async fn blockers(store: &dyn StateStore) -> Vec<Blocker> {
    let mut all = store.blockers(&database().catalog).await.unwrap();
    all.sort_by(|a, b| (&a.owner, &a.scope).cmp(&(&b.owner, &b.scope)));
    all
}

pub(super) async fn a_blocker_stands_until_its_owner_takes_it_away(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    assert_eq!(blockers(&*store).await, []);
    let odd = Scope::Table(table("or/de#rs %"));
    let all = [
        blocker(catalog(), "a", 60),
        blocker(Scope::Database(database()), "b", 60),
        blocker(odd.clone(), "b", 30),
        blocker(odd.clone(), "c#d", 90),
    ];
    for blocker in &all {
        store.block(blocker).await.unwrap();
    }
    let other = world.store().await;
    assert_eq!(blockers(&*other).await, all);
    // Catalogs are apart, also one whose name begins the same.
    let pond = Scope::Catalog("lake2".into());
    store.block(&blocker(pond, "a", 60)).await.unwrap();
    assert_eq!(blockers(&*other).await, all);

    // The owner's new one takes the place of the old one.
    let longer = blocker(odd.clone(), "b", 600);
    other.block(&longer).await.unwrap();
    let stands = blockers(&*store).await;
    assert_eq!(stands[2], longer);
    assert_eq!(stands.len(), 4);

    assert!(!store.unblock(&odd, "a").await.unwrap(), "it is not a's");
    assert!(store.unblock(&odd, "b").await.unwrap());
    assert!(!store.unblock(&odd, "b").await.unwrap(), "it is gone");
    let owners: Vec<String> = blockers(&*other)
        .await
        .into_iter()
        .map(|blocker| blocker.owner)
        .collect();
    assert_eq!(owners, ["a", "b", "c#d"]);
}

/// Whoever commits and whoever blocks write first and look then. So they can't both see nothing.
pub(super) async fn a_block_and_a_commit_do_not_miss_each_other(world: Arc<dyn StoreWorld>) {
    let first = world.store().await;
    let held = lease(&*first, "scheduler").await;
    for round in 0..6u32 {
        let process = format!("p{round}");
        let table = table(&format!("t{round}"));
        marked(&*first, &table, "m1", NOW).await;
        let seen = row(&*first, &table).await;
        let new = new_process(&process, &table, "m1");
        first.start_process(&held, &seen, &new, &[]).await.unwrap();
        let committer = world.store().await;
        let engine = world.store().await;
        let commits = async {
            let claim = committer
                .claim_commit(&process.as_str().into(), &worker("c"), at(1), at(60))
                .await
                .unwrap();
            assert!(claim.is_some());
            let all = committer.blockers(&table.catalog).await.unwrap();
            blocking(&all, &table, at(1), GUARD).is_some()
        };
        let blocks = async {
            let blocker = blocker(Scope::Table(table.clone()), "engine", 600);
            engine.block(&blocker).await.unwrap();
            let process = engine.process(&process.as_str().into()).await.unwrap();
            matches!(process.unwrap().state, ProcessState::Committing { .. })
        };
        let (is_held_back, is_told) = match round % 3 {
            0 => tokio::join!(commits, blocks),
            1 => {
                let is_held_back = commits.await;
                (is_held_back, blocks.await)
            }
            _ => {
                let is_told = blocks.await;
                (commits.await, is_told)
            }
        };
        assert!(is_held_back || is_told, "round {round}: both saw nothing");
        assert!(round % 3 != 1 || is_told, "round {round}");
        assert!(round % 3 != 2 || is_held_back, "round {round}");
    }
}

pub(super) async fn only_the_newest_claim_on_a_commit_is_prolonged(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "scheduler").await;
    marked(&*store, &table("orders"), "m1", NOW).await;
    let seen = row(&*store, &table("orders")).await;
    let new = new_process("p", &table("orders"), "m1");
    store.start_process(&held, &seen, &new, &[]).await.unwrap();
    let id: ProcessId = "p".into();
    let claim = async |name: &str, now: TimestampMs| {
        let claimed = store.claim_commit(&id, &worker(name), now, now + TTL).await;
        claimed.unwrap()
    };
    let first = claim("a", NOW).await.unwrap();
    store.extend_commit(&first, at(120)).await.unwrap();
    assert_eq!(claim("b", at(119)).await, None, "it holds for longer");
    store.extend_commit(&first, at(60)).await.unwrap();
    assert_eq!(claim("b", at(119)).await, None, "and never for less");
    let second = claim("b", at(121)).await.unwrap();
    assert_fenced(store.extend_commit(&first, at(300)).await, "an old claim");
    store.extend_commit(&second, at(300)).await.unwrap();
    let outcome = icepress_model::ProcessOutcome::Abandoned {
        reason: "tested".to_owned(),
    };
    store
        .end_process(&second, &outcome, None, None, 0)
        .await
        .unwrap();
    assert_fenced(store.extend_commit(&second, at(400)).await, "an ended one");
}

fn quota(tasks: u32) -> Quota {
    Quota {
        tasks: Some(tasks),
        bytes_a_day: Some(Bytes(1_000)),
        cost_a_month: Some(NanoDollars(1_000)),
    }
}

fn usage(tasks: u32, bytes: u64, cost: u64) -> Usage {
    Usage {
        tasks,
        bytes: Bytes(bytes),
        cost: NanoDollars(cost),
    }
}

async fn start(
    store: &dyn StateStore,
    lease: &Lease,
    id: &str,
    name: &str,
    of: &[(Scope, Quota)],
    usage: Usage,
) -> StartOutcome {
    let table = table(name);
    store
        .mark_due(HOME, &table, &location(id), NOW)
        .await
        .unwrap();
    let seen = row(store, &table).await;
    let process = NewProcess {
        reservation: Some(Reservation {
            of: of.to_vec(),
            usage,
        }),
        ..new_process(id, &table, id)
    };
    store
        .start_process(lease, &seen, &process, &[])
        .await
        .unwrap()
}

async fn quota_row(store: &dyn StateStore, scope: &Scope) -> QuotaRow {
    let rows = store.quotas(std::slice::from_ref(scope)).await.unwrap();
    let [row] = rows.try_into().unwrap();
    assert_eq!(row.scope, *scope);
    row
}

pub(super) async fn what_a_process_takes_is_held_until_its_end_and_booked_once(
    world: Arc<dyn StoreWorld>,
) {
    let store = world.store().await;
    let held = lease(&*store, "scheduler").await;
    let of = [
        (catalog(), quota(5)),
        (Scope::Table(table("orders")), quota(3)),
    ];
    let started = start(&*store, &held, "p1", "orders", &of, usage(3, 400, 700)).await;
    assert_eq!(started, StartOutcome::Started);
    for (scope, _) in &of {
        let row = quota_row(&*store, scope).await;
        assert_eq!((row.tasks(), row.bytes_of_day(NOW)), (3, Bytes(400)));
    }

    // The same catalog, another table: two tasks and 300 are left of it, whichever table asks.
    let of_news = [(catalog(), quota(5))];
    for (wanted, resource) in [
        (usage(3, 1, 1), Resource::Tasks),
        (usage(1, 601, 1), Resource::Bytes),
        (usage(1, 1, 301), Resource::Cost),
    ] {
        let outcome = start(&*store, &held, "p2", "news", &of_news, wanted).await;
        let StartOutcome::OverQuota(shortage) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!((shortage.scope, shortage.resource), (catalog(), resource));
    }
    assert_eq!(store.process(&"p2".into()).await.unwrap(), None);
    assert_eq!(row(&*store, &table("news")).await.active_process, None);
    let started = start(&*store, &held, "p2", "news", &of_news, usage(2, 600, 300)).await;
    assert_eq!(started, StartOutcome::Started);

    // It took less than was thought; that is said twice.
    for _ in 0..2 {
        let took = usage(3, 350, 500);
        store.correct_usage(&"p1".into(), took).await.unwrap();
    }
    end(&*store, "p1", Some("m2"), None).await;
    let took = usage(9, 9, 9);
    store.correct_usage(&"p1".into(), took).await.unwrap();
    for (scope, tasks, bytes, cost) in [(&of[0].0, 2, 950, 800), (&of[1].0, 0, 350, 500)] {
        let row = quota_row(&*store, scope).await;
        assert_eq!(row.tasks(), tasks);
        assert_eq!(row.bytes_of_day(NOW), Bytes(bytes));
        assert_eq!(row.cost_of_month(NOW), NanoDollars(cost));
    }
    let cancelled = store.cancel_process(&"p2".into(), "by hand").await.unwrap();
    assert_eq!(cancelled, CancelOutcome::Cancelled);
    let after = quota_row(&*store, &catalog()).await;
    assert_eq!((after.held.len(), after.booked_bytes), (0, Bytes(950)));
    assert!(
        !store
            .free_reservation(&catalog(), &"p2".into())
            .await
            .unwrap()
    );
}

/// A process can't end whose table's row is refused: it holds no quota for that.
pub(super) async fn what_a_process_holds_is_let_go_of_once_none_of_its_tasks_is_open(
    world: Arc<dyn StoreWorld>,
) {
    let store = world.store().await;
    let held = lease(&*store, "scheduler").await;
    marked(&*store, &table("orders"), "m1", NOW).await;
    let seen = row(&*store, &table("orders")).await;
    let process = NewProcess {
        reservation: Some(Reservation {
            of: vec![(catalog(), quota(5))],
            usage: usage(3, 400, 500),
        }),
        ..new_process("p1", &table("orders"), "m1")
    };
    let tasks = new_tasks(1);
    let started = store.start_process(&held, &seen, &process, &tasks);
    assert_eq!(started.await.unwrap(), StartOutcome::Started);
    let (scope, id) = (catalog(), ProcessId::from("p1"));
    let free = async || store.free_reservation(&scope, &id).await.unwrap();
    assert!(!free().await, "its task is open");
    let task = task("p1", 0);
    let attempt = claimed(&*store, &task, "w", NOW).await.attempt;
    assert!(!free().await, "its task is at work");
    let report = store.report_task(&task, attempt, Ok(result("r")));
    assert_eq!(
        report.await.unwrap(),
        ReportOutcome::Accepted { open_tasks: 0 }
    );
    assert!(free().await);
    assert!(!free().await, "it holds nothing any more");
    for _ in 0..2 {
        let left = quota_row(&*store, &catalog()).await;
        assert_eq!((left.held.len(), left.booked_bytes), (0, Bytes(400)));
        // Nothing is booked twice at its end.
        if store.process(&"p1".into()).await.unwrap().unwrap().state == ProcessState::Running {
            end(&*store, "p1", Some("m2"), None).await;
        }
    }
}

pub(super) async fn of_eight_that_start_no_more_do_than_the_quota_allows(
    world: Arc<dyn StoreWorld>,
) {
    let store = world.store().await;
    let held = lease(&*store, "scheduler").await;
    let starts = (0..8).map(|number| {
        let (world, held) = (Arc::clone(&world), held.clone());
        async move {
            let store = world.store().await;
            let of = [(catalog(), quota(3))];
            let (id, name) = (format!("p{number}"), format!("t{number}"));
            start(&*store, &held, &id, &name, &of, usage(1, 1, 1)).await
        }
    });
    let outcomes = join_all(starts).await;
    let started = outcomes
        .iter()
        .filter(|outcome| **outcome == StartOutcome::Started)
        .count();
    assert_eq!(started, 3, "{outcomes:?}");
    assert_eq!(quota_row(&*store, &catalog()).await.tasks(), 3);
}
