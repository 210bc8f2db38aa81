//! Rules of what runs: `VersionStore::note_version`.

use std::{collections::BTreeSet, sync::Arc};

use futures::future::join_all;

use super::*;
use crate::{Component, RunningVersion};

fn noted(component: Component, version: &str, first: u64, last: u64) -> RunningVersion {
    RunningVersion {
        component,
        version: version.to_owned(),
        first_at: at(first),
        last_at: at(last),
    }
}

pub(super) async fn what_runs_is_noted_once_in_a_while_and_goes_with_time(
    world: Arc<dyn StoreWorld>,
) {
    use Component::{Optimizer, Run, Scheduler};
    const HOUR: u64 = 3_600;
    let store = world.store().await;
    assert_eq!(store.versions(NOW).await.unwrap(), []);
    let note = async |component, version: &str, when| {
        store
            .note_version(component, version, at(when))
            .await
            .unwrap();
    };
    note(Scheduler, "0.1.0+a#b", 0).await;
    note(Optimizer, "0.1.0+a#b", 5).await;
    // Soon again says nothing new; a clock that is behind says nothing either.
    note(Scheduler, "0.1.0+a#b", 60).await;
    note(Optimizer, "0.1.0+a#b", 1).await;
    let first = [
        noted(Optimizer, "0.1.0+a#b", 5, 5),
        noted(Scheduler, "0.1.0+a#b", 0, 0),
    ];
    let other = world.store().await;
    assert_eq!(other.versions(at(60)).await.unwrap(), first);

    note(Scheduler, "0.1.0+a#b", HOUR).await;
    note(Scheduler, "0.2.0", 2 * HOUR).await;
    note(Run, "0.2.0", 2 * HOUR).await;
    let all = [
        noted(Scheduler, "0.2.0", 2 * HOUR, 2 * HOUR),
        noted(Run, "0.2.0", 2 * HOUR, 2 * HOUR),
        noted(Scheduler, "0.1.0+a#b", 0, HOUR),
        noted(Optimizer, "0.1.0+a#b", 5, 5),
    ];
    assert_eq!(other.versions(at(2 * HOUR)).await.unwrap(), all);

    // Longer than any world keeps what is over.
    let late = 200 * 365 * 24 * HOUR;
    assert_eq!(other.versions(at(late)).await.unwrap(), []);
}

pub(super) async fn of_many_that_start_together_one_note_is_made(world: Arc<dyn StoreWorld>) {
    let mut stores = Vec::new();
    for _ in 0..8 {
        stores.push(world.store().await);
    }
    let starting = stores.iter().zip(0..).map(|(store, second)| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let note = store.note_version(Component::Optimizer, "0.1.0", at(second));
            note.await.unwrap();
        })
    });
    for started in join_all(starting).await {
        started.unwrap();
    }
    let rows = stores[0].versions(at(60)).await.unwrap();
    assert_eq!(rows.len(), 1);
    let times = BTreeSet::from([rows[0].first_at, rows[0].last_at]);
    assert_eq!(times.len(), 1, "noted once: {rows:?}");
}
