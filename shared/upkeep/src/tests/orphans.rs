//! Files that nothing refers to, found by listing.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use iceberg::{TableUpdate, spec::DataContentType};
use icepress_catalog::LoadedTable;
use icepress_model::{Attempt, ProcessId, TableId, TimestampMs};

use super::world::{DAY, HOUR, LOCATION, World, branch, tag};
use crate::{
    Attempts, Counted, Fate, FileKind, Limits, Neighbours, NoAttempts, NoNeighbours, ORPHAN_FLOOR,
    OrphanPlan, OrphanReport, OrphanRequest, OrphanScope, Others, Overlap, Surroundings,
    UpkeepError, plan_orphans, remove_orphans,
};

pub(super) const NOBODY: Others<'_> = Others {
    neighbours: &NoNeighbours,
    attempts: &NoAttempts,
};

pub(super) async fn plan(world: &World, request: &OrphanRequest) -> OrphanPlan {
    plan_orphans(&world.context, &world.table, NOBODY, request)
        .await
        .unwrap()
}

pub(super) async fn remove_with(
    world: &World,
    others: Others<'_>,
    request: &OrphanRequest,
) -> Result<OrphanReport, UpkeepError> {
    remove_orphans(&world.context, &world.table, others, request, &|_, _| {}).await
}

pub(super) async fn remove(world: &World) -> OrphanReport {
    remove_with(world, NOBODY, &OrphanRequest::default())
        .await
        .unwrap()
}

pub(super) fn files(counted: &Counted) -> u64 {
    counted.values().map(|counts| counts.files).sum()
}

/// A file of `LOCATION` that nothing refers to, old.
pub(super) fn stray(world: &World, below: &str) -> String {
    let location = format!("{LOCATION}/{below}");
    world.storage.insert(&location, vec![0; 50]);
    location
}

pub(super) fn is_there(world: &World, location: &str) -> bool {
    world.storage.get(location).is_some()
}

/// A table with whatever keeps files alive, and old files that nothing refers to.
pub(super) async fn littered() -> (World, Vec<String>) {
    let world = World::new();
    let first = world.append().await;
    let _ = world.statistics(world.current().await).await;
    world.set_ref("release", world.current().await, tag()).await;
    let deletes = world.delete_rows().await;
    world.append().await;
    world
        .set_ref("audit", world.current().await, branch())
        .await;
    let third = world.replace(&[&first, &deletes]).await;
    world.append().await;
    world.replace(&[&third]).await;
    let strays = [
        "data/left.parquet",
        "data/day=1/left.parquet",
        "data/left-deletes.parquet",
        "metadata/left-m0.avro",
        "metadata/snap-1-1-left.avro",
        "metadata/left.stats",
        "notes.txt",
    ];
    let strays = strays.map(|below| stray(&world, below)).to_vec();
    (world, strays)
}

#[tokio::test]
async fn what_nothing_refers_to_goes_at_the_second_look() {
    let (world, strays) = littered().await;
    let before = plan(&world, &OrphanRequest::default()).await;
    assert_eq!((files(&before.files), files(&before.waiting)), (0, 7));
    assert_eq!(before.survey.examples.len(), 7);
    let first = remove(&world).await;
    assert_eq!((files(&first.files), files(&first.waiting)), (0, 7));
    assert!(strays.iter().all(|stray| is_there(&world, stray)));

    let between = plan(&world, &OrphanRequest::default()).await;
    assert_eq!((files(&between.files), files(&between.waiting)), (7, 0));
    let second = remove(&world).await;
    assert_eq!(second.files, between.files, "what is planned is done");
    assert_eq!(second.files[&FileKind::ManifestList].files, 1);
    assert_eq!(second.files[&FileKind::Delete].files, 1);
    world.assert_tidy().await;
    let third = remove(&world).await;
    assert!(third.files.is_empty() && third.waiting.is_empty());
}

#[tokio::test]
async fn c34_c31_whatever_any_snapshot_or_statistic_needs_stays() {
    let (world, strays) = littered().await;
    for _ in 0..2 {
        remove(&world).await;
    }
    assert!(strays.iter().all(|stray| !is_there(&world, stray)));
    // All metadata files are in the log.
    assert_eq!(
        world.storage.metadata_files().len(),
        1 + world.loaded().await.metadata.metadata_log().len()
    );
    world.assert_tidy().await;
}

#[tokio::test]
async fn whoever_dies_at_any_point_loses_nothing_and_goes_on() {
    let mut deaths = 0;
    for fuse in 0.. {
        let (world, strays) = littered().await;
        remove(&world).await;
        world.storage.set_fuse(Some(fuse));
        let ended = remove_with(&world, NOBODY, &OrphanRequest::default()).await;
        world.storage.set_fuse(None);
        world.assert_whole().await;
        // A list that nobody finished is thrown away a day later.
        world.clock.advance(DAY + HOUR);
        for _ in 0..2 {
            remove(&world).await;
        }
        assert!(
            strays.iter().all(|stray| !is_there(&world, stray)),
            "fuse {fuse}"
        );
        world.assert_tidy().await;
        if ended.is_ok() {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 30, "{deaths} deaths");
}

#[tokio::test]
async fn c35_young_files_stay_and_a_day_is_the_least() {
    let (world, _) = littered().await;
    let now = world.context.ambient.now();
    let (young, middling) = (
        stray(&world, "data/young.parquet"),
        stray(&world, "data/two-days.parquet"),
    );
    world.storage.set_modified(&young, now - HOUR);
    world.storage.set_modified(&middling, now - 2 * DAY);
    for _ in 0..3 {
        let report = remove(&world).await;
        assert_eq!(report.survey.young.files, 1);
    }
    assert!(is_there(&world, &young) && is_there(&world, &middling));
    let asked = |age| OrphanRequest {
        older_than: Some(age),
        ..OrphanRequest::default()
    };
    let error = remove_with(&world, NOBODY, &asked(ORPHAN_FLOOR - HOUR))
        .await
        .unwrap_err();
    assert!(matches!(error, UpkeepError::Refused { .. }), "{error}");
    remove_with(&world, NOBODY, &asked(ORPHAN_FLOOR))
        .await
        .unwrap();
    assert!(is_there(&world, &young) && !is_there(&world, &middling));
    // A store that does not say when.
    let silent = stray(&world, "data/silent.parquet");
    world.storage.set_modified(&silent, TimestampMs(0));
    for _ in 0..3 {
        remove(&world).await;
    }
    assert!(is_there(&world, &silent));
}

#[tokio::test]
async fn a_file_that_was_written_anew_is_a_new_one() {
    let (world, strays) = littered().await;
    remove(&world).await;
    let now = world.context.ambient.now();
    world.storage.set_modified(&strays[0], now - 4 * DAY);
    let report = remove(&world).await;
    assert_eq!((files(&report.files), files(&report.waiting)), (6, 1));
    assert!(is_there(&world, &strays[0]));
}

#[tokio::test]
async fn c33_what_is_needed_in_another_spelling_stays() {
    let world = World::new();
    let alike = [
        ("data/a.parquet", "s3a://lake/t/data/a.parquet"),
        ("data/b.parquet", "s3n://lake/t//data/b.parquet"),
        ("data/p=%2F/c.parquet", "s3://lake/t/data/p=//c.parquet"),
        ("data/p=a b/d.parquet", "s3://lake/t/data/p=a%20b/d.parquet"),
    ];
    for (below, spelled) in alike {
        stray(&world, below);
        world
            .append_file(world.file_at(spelled, DataContentType::Data))
            .await;
    }
    for _ in 0..2 {
        remove(&world).await;
    }
    for (below, _) in alike {
        assert!(is_there(&world, &format!("{LOCATION}/{below}")), "{below}");
    }
}

#[tokio::test]
async fn c35_what_is_hidden_and_what_is_no_file_stays() {
    let world = World::new();
    world.append().await;
    let kept = [
        "_SUCCESS",
        "data/.hive-staging/x.parquet",
        "data/",
        "data_$folder$",
        "metadata/version-hint.text",
    ]
    .map(|below| stray(&world, below));
    for _ in 0..2 {
        assert_eq!(remove(&world).await.survey.hidden.files, 2);
    }
    assert!(kept.iter().all(|kept| is_there(&world, kept)));
}

#[tokio::test]
async fn c35_tables_that_forbid_it_are_refused() {
    for (key, value) in [
        ("gc.enabled", "false"),
        ("clean-orphan-file.enabled", "false"),
        ("clean-orphan-file.min-existing-time-minutes", "soon"),
    ] {
        let world = World::with(iceberg::spec::FormatVersion::V2, &[(key, value)]);
        world.append().await;
        let error = remove_with(&world, NOBODY, &OrphanRequest::default())
            .await
            .unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
}

#[tokio::test]
async fn amoro_s_age_counts_as_it_is() {
    let minutes = [("clean-orphan-file.min-existing-time-minutes", "2880")];
    let world = World::with(iceberg::spec::FormatVersion::V2, &minutes);
    world.append().await;
    let old = stray(&world, "data/x.parquet");
    world
        .storage
        .set_modified(&old, world.context.ambient.now() - (2 * DAY + HOUR));
    for _ in 0..2 {
        remove(&world).await;
    }
    assert!(!is_there(&world, &old));
}

#[tokio::test]
async fn c29_what_cannot_be_read_stops_it_and_leaves_no_list() {
    let (world, strays) = littered().await;
    remove(&world).await;
    let live = world.referenced().await;
    let manifest = live.iter().find(|path| path.ends_with("-m0.avro")).unwrap();
    let content = world.storage.get(manifest).unwrap();
    for broken in [None, Some(content[..content.len() / 2].to_vec())] {
        match broken {
            None => drop(world.storage.remove(manifest)),
            Some(cut) => world.storage.insert(manifest, cut),
        }
        let error = remove_with(&world, NOBODY, &OrphanRequest::default())
            .await
            .unwrap_err();
        assert!(matches!(error, UpkeepError::Table(_)), "{error}");
        assert!(strays.iter().all(|stray| is_there(&world, stray)));
    }
    world.storage.insert(manifest, content.to_vec());
    remove(&world).await;
    world.assert_tidy().await;
}

/// Somebody lives next door.
#[derive(Debug)]
struct NextDoor(&'static str);

#[async_trait]
impl Neighbours for NextDoor {
    async fn around(&self, _: &LoadedTable, folders: &[String]) -> Surroundings {
        let table: TableId = "other.ns.theirs".parse().unwrap();
        let theirs = [self.0.to_owned()];
        let overlapping: Option<Overlap> = crate::overlap_of(folders, &table, &theirs);
        Surroundings {
            overlapping: overlapping.into_iter().collect(),
            asked: 1,
            unasked: vec!["catalog dark: it did not answer".to_owned()],
            unplaced: vec!["catalog dark: it did not answer".to_owned()],
        }
    }
}

#[tokio::test]
async fn c32_shared_and_nested_folders_are_refused_with_both_tables_named() {
    let (world, strays) = littered().await;
    remove(&world).await;
    for theirs in [
        "s3a://lake/t",
        "s3://lake",
        "s3://lake/t/data/",
        "s3://lake//t/x/y",
    ] {
        let others = Others {
            neighbours: &NextDoor(theirs),
            attempts: &NoAttempts,
        };
        let error = remove_with(&world, others, &OrphanRequest::default())
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("other.ns.theirs") && text.contains("c.ns.t"),
            "{text}"
        );
    }
    assert!(strays.iter().all(|stray| is_there(&world, stray)));
    let others = Others {
        neighbours: &NextDoor("s3://lake/t2"),
        attempts: &NoAttempts,
    };
    let unattended = OrphanRequest {
        unattended: true,
        ..OrphanRequest::default()
    };
    let error = remove_with(&world, others, &unattended).await.unwrap_err();
    assert!(error.to_string().contains("catalog dark"), "{error}");
    assert!(strays.iter().all(|stray| is_there(&world, stray)));
    let report = remove_with(&world, others, &OrphanRequest::default())
        .await
        .unwrap();
    assert_eq!(
        (report.survey.tables_asked, report.survey.unasked.len()),
        (1, 1)
    );
    world.assert_tidy().await;
}

#[tokio::test]
async fn c32_metadata_of_another_table_is_a_reason_to_refuse() {
    let (world, strays) = littered().await;
    remove(&world).await;
    let uuid = "9c12d441-03fe-4693-9a96-a0705ddf69c1";
    let theirs = format!("{LOCATION}/below/metadata/00000-x.metadata.json");
    let json = format!(r#"{{"table-uuid": "{uuid}", "location": "{LOCATION}/below"}}"#);
    world.storage.insert(&theirs, json.into_bytes());
    let before = world.storage.there();
    let error = remove_with(&world, NOBODY, &OrphanRequest::default())
        .await
        .unwrap_err();
    assert!(error.to_string().contains(uuid), "{error}");
    assert_eq!(before, world.storage.there(), "no list stays behind");
    let dropped = OrphanRequest {
        dropped: vec![uuid.to_uppercase()],
        ..OrphanRequest::default()
    };
    remove_with(&world, NOBODY, &dropped).await.unwrap();
    assert!(strays.iter().all(|stray| !is_there(&world, stray)));
    remove_with(&world, NOBODY, &dropped).await.unwrap();
    assert!(!is_there(&world, &theirs));
}

#[tokio::test]
async fn a_whole_bucket_is_refused() {
    let world = World::new();
    world.append().await;
    let location = "s3://lake/".to_owned();
    world
        .update(vec![TableUpdate::SetLocation { location }])
        .await;
    let error = remove_with(&world, NOBODY, &OrphanRequest::default())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("whole bucket"), "{error}");
}

const OVER: &str = "0123456789abcdef0123456789abcde0";
const RUNS: &str = "0123456789abcdef0123456789abcde1";

/// One process that is over, and one that runs, with the second attempt at its only task.
#[derive(Debug)]
struct Books;

#[async_trait]
impl Attempts for Books {
    async fn fate(&self, _: &TableId, process: &ProcessId) -> Result<Fate, String> {
        Ok(match process.as_str() {
            OVER => Fate::Over,
            RUNS => Fate::UnderWay(vec![Attempt(2)]),
            _ => Fate::Unknown,
        })
    }
}

#[tokio::test]
async fn c28_what_dead_attempts_of_ours_left_goes_at_once() {
    let world = World::new();
    // One of a process that is over, and that the table needs.
    let live = world.file_at(
        &format!("{LOCATION}/data/00001-1-{OVER}-00001.parquet"),
        DataContentType::Data,
    );
    let live = world.append_file(live).await;
    let file = |attempt: u32, process: &str, age: Duration| {
        let location = stray(
            &world,
            &format!("data/00000-{attempt}-{process}-00001.parquet"),
        );
        world
            .storage
            .set_modified(&location, world.context.ambient.now() - age);
        location
    };
    let gone = [file(1, OVER, 2 * HOUR), file(1, RUNS, 2 * HOUR)];
    let unknown = "0123456789abcdef0123456789abcde2";
    let kept = [
        file(2, RUNS, 5 * DAY),
        file(3, RUNS, 5 * DAY),
        file(2, OVER, HOUR / 2),
        file(1, unknown, 2 * HOUR),
    ];
    let others = Others {
        neighbours: &NoNeighbours,
        attempts: &Books,
    };
    let report = remove_with(&world, others, &OrphanRequest::default())
        .await
        .unwrap();
    assert_eq!(files(&report.files), 2);
    assert_eq!(report.survey.in_use.files, 2);
    assert!(gone.iter().all(|gone| !is_there(&world, gone)));
    assert!(
        kept.iter()
            .chain([&live])
            .all(|kept| is_there(&world, kept))
    );
}

/// Commits a file just when somebody asks what became of it.
#[derive(Debug)]
struct LateCommit(Arc<std::sync::Mutex<Option<(World, String)>>>);

#[async_trait]
impl Attempts for LateCommit {
    async fn fate(&self, _: &TableId, _: &ProcessId) -> Result<Fate, String> {
        let taken = self.0.lock().unwrap().take();
        if let Some((world, path)) = taken {
            let writing = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                let file = world.file_at(&path, DataContentType::Data);
                runtime.block_on(world.append_file(file));
            });
            writing.join().unwrap();
        }
        Ok(Fate::Unknown)
    }
}

#[tokio::test]
async fn what_is_committed_while_folders_are_listed_stays() {
    let (world, strays) = littered().await;
    let path = stray(
        &world,
        "data/00000-1-0123456789abcdef0123456789abcdef-00001.parquet",
    );
    remove(&world).await;
    let late = LateCommit(Arc::new(std::sync::Mutex::new(Some((
        world.another_handle(),
        path.clone(),
    )))));
    let others = Others {
        neighbours: &NoNeighbours,
        attempts: &late,
    };
    let report = remove_with(&world, others, &OrphanRequest::default())
        .await
        .unwrap();
    assert_eq!((files(&report.files), report.revived.files), (7, 1));
    assert!(is_there(&world, &path));
    assert!(strays.iter().all(|stray| !is_there(&world, stray)));
    world.assert_whole().await;
}

#[tokio::test]
async fn a_run_keeps_to_its_limits_and_the_next_goes_on() {
    let (world, strays) = littered().await;
    let some = OrphanRequest {
        limits: Limits {
            files: Some(3),
            ..Limits::default()
        },
        ..OrphanRequest::default()
    };
    let mut deleted = Vec::new();
    for _ in 0..4 {
        deleted.push(files(
            &remove_with(&world, NOBODY, &some).await.unwrap().files,
        ));
    }
    assert_eq!(deleted, [0, 3, 3, 1]);
    assert!(strays.iter().all(|stray| !is_there(&world, stray)));
    world.assert_tidy().await;
}

/// A table whose log has three entries, and which had many more.
async fn long_lived(wants_deletion: &str) -> World {
    let properties = [
        ("write.metadata.previous-versions-max", "3"),
        ("write.metadata.delete-after-commit.enabled", "false"),
    ];
    let world = World::with(iceberg::spec::FormatVersion::V2, &properties);
    for _ in 0..12 {
        world.append().await;
    }
    let wants = (
        "write.metadata.delete-after-commit.enabled".to_owned(),
        wants_deletion.to_owned(),
    );
    let updates = [wants].into_iter().collect();
    world
        .update(vec![TableUpdate::SetProperties { updates }])
        .await;
    world
}

#[tokio::test]
async fn old_metadata_files_go_where_the_table_wants_it_and_only_there() {
    let scopes = [OrphanScope::All, OrphanScope::OldMetadata];
    for (scope, wants) in scopes
        .into_iter()
        .flat_map(|scope| [(scope, "true"), (scope, "false")])
    {
        let world = long_lived(wants).await;
        let failed = stray(&world, "metadata/00002-failed.metadata.json");
        let data = stray(&world, "data/left.parquet");
        let before = world.storage.metadata_files().len();
        let request = OrphanRequest {
            scope,
            ..OrphanRequest::default()
        };
        let first = remove_with(&world, NOBODY, &request).await.unwrap();
        let second = remove_with(&world, NOBODY, &request).await.unwrap();
        let after = world.storage.metadata_files();
        assert!(!after.contains(&failed), "what failed commits left");
        assert_eq!(is_there(&world, &data), scope == OrphanScope::OldMetadata);
        let left = first.survey.old_metadata.files;
        match wants {
            "true" => assert_eq!((after.len(), left), (4, 0), "three and the current one"),
            _ => assert_eq!((after.len(), left as usize), (before - 1, before - 1 - 4)),
        }
        assert_eq!(
            second.files[&FileKind::Metadata].files as usize,
            before - after.len()
        );
        world.assert_whole().await;
    }
}

#[tokio::test]
async fn what_a_flink_job_has_not_committed_yet_stays() {
    let (world, strays) = littered().await;
    let job = "6e0a3e1d5cf04c6f8c0f2f4c1a9b7d35";
    world
        .edit_metadata(|json| {
            let snapshots = json["snapshots"].as_array_mut().unwrap();
            snapshots[0]["summary"]["flink.job-id"] = job.into();
        })
        .await;
    let pending = stray(
        &world,
        &format!("metadata/{job}-a1b2-00001-0-17-00001.avro"),
    );
    let others = stray(&world, "metadata/7f0a3e1d5cf04c6f8c0f2f4c1a9b7d35-m1.avro");
    let reports = [remove(&world).await, remove(&world).await];
    assert_eq!(reports[1].survey.in_use.files, 1);
    assert!(is_there(&world, &pending) && !is_there(&world, &others));
    assert!(strays.iter().all(|stray| !is_there(&world, stray)));
}
