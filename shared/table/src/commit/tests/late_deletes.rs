//! Deletes that came after the plan under a number from before it.

use iceberg::spec::FormatVersion;

use super::world::{Foreign, World, data, equality_deletes};
use crate::commit::CommitFailure;

/// Rows that a reader sees: those of live data files without those that position deletes name in them. (Equality deletes
/// hide a row of `a` each, where `a` is older.)
async fn visible(world: &World, hidden: &[(&str, &str, u64)]) -> u64 {
    let (data, deletes) = world.live().await;
    let mut rows: u64 = data.iter().map(|file| file.rows).sum();
    for (delete, about, count) in hidden {
        let is_live = deletes.iter().any(|file| file.path == *delete);
        let applies = data.iter().any(|file| file.path == *about);
        if is_live && applies {
            rows -= count;
        }
    }
    rows
}

/// An equality delete that comes after the plan applies to the outputs, which have the number that the plan began with. Once
/// another compactor has made position deletes of it, it applies to the inputs alone: the row would be back with the outputs.
#[tokio::test]
async fn c03_an_equality_delete_that_became_position_deletes_at_a_lower_number_is_not_lost() {
    for in_two_steps in [false, true] {
        let world = World::new(FormatVersion::V2);
        world
            .append(&[data("a", "eu", 10), data("b", "us", 5)])
            .await;
        let known = world.position_deletes("known", "eu", &[("a", 3)]);
        world.delete(&[{ known }.build().unwrap()]).await;
        let base = world.base();
        let start = base.starting_sequence_number.get();
        let group = world.group(0, &["a"], &[data("o", "eu", 9)]).await;
        world.delete(&[equality_deletes("keys", "eu", 1)]).await;
        let positions = world.position_deletes("converted", "eu", &[("a", 0), ("a", 3)]);
        let converted = |removed: &[&str]| Foreign {
            deletes: vec![{ positions.clone() }.build().unwrap()],
            removed: removed.iter().map(|path| (*path).to_owned()).collect(),
            sequence_number: Some(start),
            is_replace: true,
            ..Foreign::default()
        };
        if in_two_steps {
            world.commit(converted(&["known"])).await;
            let gone = Foreign {
                removed: vec!["keys".to_owned()],
                is_replace: true,
                ..Foreign::default()
            };
            world.commit(gone).await;
        } else {
            world.commit(converted(&["known", "keys"])).await;
        }
        let hidden = [("converted", "a", 2)];
        assert_eq!(visible(&world, &hidden).await, 13);
        let refused = world.run(&base, vec![group]).await;
        assert_eq!(visible(&world, &hidden).await, 13);
        let Err(failure @ CommitFailure::NothingLeft { .. }) = refused else {
            panic!("{refused:?}");
        };
        let failure = failure.to_string();
        assert!(
            failure.contains("converted deletes rows of a and came after the plan"),
            "{failure}"
        );
    }
}
