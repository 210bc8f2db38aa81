//! Random histories: whatever writers did, what is left refers to files that are there, and nothing else is there.

use std::time::Duration;

use iceberg::spec::{FormatVersion, SnapshotRetention};
use proptest::prelude::*;

use super::world::{HOUR, World, branch, tag};
use crate::{ExpireRequest, Limits, NoPins};

/// Numbers pick from what there is.
#[derive(Debug, Clone)]
enum Step {
    Append,
    Replace(Vec<u8>),
    DeleteRows,
    /// A file that was taken out once comes back under its old path.
    AddAgain(u8),
    Branch(u8, u8, Option<i32>),
    Tag(u8, u8, bool),
    RollBack(u8),
    Statistics(u8),
    Expire {
        hours: u8,
        most: Option<u8>,
    },
    /// An expiry that dies after so many requests.
    Die(u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    let picks = proptest::collection::vec(any::<u8>(), 1..3);
    prop_oneof![
        4 => Just(Step::Append),
        3 => picks.prop_map(Step::Replace),
        1 => Just(Step::DeleteRows),
        2 => any::<u8>().prop_map(Step::AddAgain),
        2 => (0..3u8, any::<u8>(), proptest::option::of(1..4i32))
            .prop_map(|(name, at, least)| Step::Branch(name, at, least)),
        2 => (0..3u8, any::<u8>(), any::<bool>()).prop_map(|(name, at, short)| Step::Tag(name, at, short)),
        1 => any::<u8>().prop_map(Step::RollBack),
        1 => any::<u8>().prop_map(Step::Statistics),
        2 => (0..12u8, proptest::option::of(1..6u8)).prop_map(|(hours, most)| Step::Expire { hours, most }),
        1 => (0..40u8).prop_map(Step::Die),
    ]
}

fn request(hours: u8, most: Option<u8>) -> ExpireRequest {
    ExpireRequest {
        older_than: Some(HOUR * u32::from(hours)),
        floor: Duration::ZERO,
        limits: Limits {
            files: most.map(u64::from),
            ..Limits::default()
        },
    }
}

async fn take(world: &World, step: &Step, known: &mut Vec<String>) {
    let ids: Vec<i64> = world.ids().await.into_iter().collect();
    let pick = |at: u8| ids[usize::from(at) % ids.len()];
    match step {
        _ if ids.is_empty() => known.push(world.append().await),
        Step::Append => known.push(world.append().await),
        Step::Replace(picks) => {
            let mut live = live_data(world).await;
            live.dedup();
            let mut chosen: Vec<String> = Vec::new();
            for at in picks {
                if !live.is_empty() {
                    chosen.push(live.remove(usize::from(*at) % live.len()));
                }
            }
            let chosen: Vec<&str> = chosen.iter().map(String::as_str).collect();
            known.push(world.replace(&chosen).await);
        }
        Step::DeleteRows => drop(world.delete_rows().await),
        Step::AddAgain(at) => {
            let live = live_data(world).await;
            let back: Vec<&String> = known.iter().filter(|path| !live.contains(path)).collect();
            if let Some(path) = back.get(usize::from(*at) % back.len().max(1)) {
                let file = world.file_at(path, iceberg::spec::DataContentType::Data);
                world.append_file(file).await;
            }
        }
        Step::Branch(name, at, least) => {
            let retention = match least {
                Some(least) => SnapshotRetention::branch(Some(*least), None, None),
                None => branch(),
            };
            world
                .set_ref(&format!("b{name}"), pick(*at), retention)
                .await;
        }
        Step::Tag(name, at, short) => {
            let retention = match short {
                true => SnapshotRetention::Tag {
                    max_ref_age_ms: Some(HOUR.as_millis() as i64),
                },
                false => tag(),
            };
            world
                .set_ref(&format!("t{name}"), pick(*at), retention)
                .await;
        }
        Step::RollBack(at) => world.roll_back_to(pick(*at)).await,
        Step::Statistics(at) => drop(world.statistics(pick(*at)).await),
        Step::Expire { hours, most } => {
            let asked = request(*hours, *most);
            world.expire_with(&asked, &NoPins).await.unwrap();
        }
        Step::Die(fuse) => {
            world.storage.set_fuse(Some(u32::from(*fuse)));
            let _ = world.expire_with(&request(0, None), &NoPins).await;
            world.storage.set_fuse(None);
        }
    }
    world.assert_whole().await;
}

/// Live data files of the main branch.
async fn live_data(world: &World) -> Vec<String> {
    let loaded = world.loaded().await;
    let scan =
        icepress_table::open_snapshot(world.storage.as_ref(), &world.table, &loaded.metadata);
    let scan = scan.await.unwrap();
    let files = scan.data_files().iter();
    let mut paths: Vec<String> = files.map(|file| scan.path_of(file)).collect();
    paths.sort();
    paths
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn c31_random_histories_keep_all_that_is_needed_and_nothing_else(
        version in 1..4u8,
        steps in proptest::collection::vec(any_step(), 4..24),
    ) {
        let version = match version {
            1 => FormatVersion::V1,
            2 => FormatVersion::V2,
            _ => FormatVersion::V3,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::with(version, &[]);
            let mut known = Vec::new();
            for step in &steps {
                if version == FormatVersion::V1 && matches!(step, Step::DeleteRows) {
                    continue;
                }
                take(&world, step, &mut known).await;
            }
            // What dead attempts left is settled after an hour; what came back before is then dead for good or lives.
            world.clock.advance(2 * HOUR);
            world.expire_all().await.unwrap();
            world.assert_tidy().await;
        });
    }
}
