//! Commits that take longer than they may: a catalog that waits for its lock, a process that stood still.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use iceberg::spec::FormatVersion;
use icepress_model::ambient::Clock as _;

use super::{
    memory::{Fault, TestClock},
    world::{World, data},
};
use crate::commit::{CommitFailure, Gatekeeper, commit_groups_unless};

/// Lets a swap be sent for so long after it was asked.
#[derive(Debug)]
struct For(Arc<TestClock>, Duration);

#[async_trait]
impl Gatekeeper for For {
    async fn objection(&self) -> Option<String> {
        None
    }

    fn sent_until(&self) -> Option<Duration> {
        Some(self.0.monotonic() + self.1)
    }
}

#[tokio::test]
async fn nothing_is_swapped_after_the_time_that_a_commit_may_take() {
    for (wait, is_in) in [(9, true), (11, false)] {
        let world = World::new(FormatVersion::V2);
        world.append(&[data("a", "eu", 10)]).await;
        let base = world.base();
        let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
        let slow = Fault::Slow(Arc::clone(&world.clock), Duration::from_secs(wait));
        world.catalog.will(slow);
        let door = For(Arc::clone(&world.clock), Duration::from_secs(10));
        let groups = vec![group];
        let committed = commit_groups_unless(
            &door,
            &world.context,
            &world.table,
            &world.process,
            &base,
            groups,
        );
        let committed = committed.await;
        let paths = world.data_paths().await;
        if is_in {
            committed.unwrap();
            assert_eq!(paths, ["o"]);
            continue;
        }
        // A catalog that was told something may act yet: nothing is deleted.
        assert!(
            matches!(committed, Err(CommitFailure::OutcomeUnknown { .. })),
            "{committed:?}"
        );
        assert_eq!(paths, ["a"]);
    }
}
