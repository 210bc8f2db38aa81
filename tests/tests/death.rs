//! A worker that is killed at any of its writes: whoever comes next ends what was begun, and nothing is lost or doubled.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use icepress_coordination::StateStore;
use icepress_model::ProcessOutcome;
use icepress_service::{
    Context, Event,
    embedded::{Stop, run_once},
};
use icepress_tests::{DyingStore, Lab, settings_for_tests};

/// One worker is killed at its write number `writes`, the next one works undisturbed. Says whether the first came so far.
async fn dies_at(writes: u32, last_acts: bool) -> bool {
    let lab = Lab::new(u64::from(writes)).await;
    let table = lab.create_table("t", &[]).await;
    lab.append_numbered(&table, &["eu"], 6, 5, 0).await;
    let before = lab.rows(&table).await.0;

    let first = lab.worker(settings_for_tests("first"));
    let store = DyingStore::around(Arc::clone(&first.store), writes, last_acts);
    let first = Context {
        store: Arc::clone(&store) as Arc<dyn StateStore>,
        ..first
    };
    let came_to_an_end = run_once(&first, 1, &Stop::default()).await.is_ok();
    assert_eq!(came_to_an_end, !store.is_dead());

    // All that the dead one held is over.
    lab.clock.advance(Duration::from_secs(3600));
    let next = lab.worker(settings_for_tests("next"));
    run_once(&next, 1, &Stop::default()).await.unwrap();
    let (rows, files) = lab.rows(&table).await;
    assert_eq!(rows, before, "killed at write {writes}");
    assert_eq!(files.len(), 1, "killed at write {writes}: {files:?}");
    let ended: Vec<ProcessOutcome> = lab
        .take_events()
        .into_iter()
        .filter_map(|event| match event {
            Event::ProcessEnded { outcome, .. } => Some(outcome),
            _ => None,
        })
        .collect();
    let all_committed = ended
        .iter()
        .all(|outcome| matches!(outcome, ProcessOutcome::Committed { .. }));
    assert!(all_committed, "killed at write {writes}: {ended:?}");
    let processes = next.store.processes_of(&table, 10).await.unwrap();
    assert_eq!(processes.len(), 1, "killed at write {writes}: planned once");
    !came_to_an_end
}

/// Kills a worker at each of its writes in turn; says how many there were.
async fn dies_everywhere(last_acts: bool) -> u32 {
    let mut writes = 0;
    while dies_at(writes, last_acts).await {
        writes += 1;
    }
    writes
}

#[tokio::test(flavor = "multi_thread")]
async fn b09_a_worker_killed_before_any_of_its_writes_is_succeeded() {
    let writes = dies_everywhere(false).await;
    assert!(
        writes >= 8,
        "lease, mark, digest, start, claim, report, …: {writes}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn b09_a_worker_killed_after_any_of_its_writes_is_succeeded() {
    let writes = dies_everywhere(true).await;
    assert!(
        writes >= 8,
        "lease, mark, digest, start, claim, report, …: {writes}"
    );
}
