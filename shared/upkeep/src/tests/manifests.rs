//! Manifests written anew: decision and commit together.

use iceberg::spec::FormatVersion;
use icepress_model::ProcessId;
use icepress_table::NoObjection;

use super::world::World;
use crate::manifests::{plan, rewrite};

#[tokio::test]
async fn a_table_of_many_commits_gets_one_manifest_and_keeps_its_files() {
    let world = World::new();
    for _ in 0..20 {
        world.append().await;
    }
    let before = world.loaded().await;
    let planned = plan(&world.context, &world.table).await.unwrap();
    assert_eq!(planned.kinds[0].before.manifests, 20);
    assert_eq!(
        world.loaded().await.metadata_location,
        before.metadata_location
    );
    let process = ProcessId::from("p");
    let report = rewrite(&world.context, &world.table, &process, &NoObjection);
    let report = report.await.unwrap();
    let rewritten = report.rewritten.unwrap();
    assert_eq!(
        (rewritten.replaced, rewritten.created, rewritten.entries),
        (20, 1, 20)
    );
    assert_eq!(
        world.loaded().await.metadata.current_snapshot_id(),
        report.snapshot_id.map(|id| id.get())
    );
    world.assert_whole().await;

    let process = ProcessId::from("q");
    let again = rewrite(&world.context, &world.table, &process, &NoObjection);
    let again = again.await.unwrap();
    assert_eq!((again.snapshot_id, again.rewritten), (None, None));
    assert_eq!(again.plan.kinds[0].before.manifests, 1);
}

#[tokio::test]
async fn a_property_that_is_no_number_is_refused() {
    let properties = [("commit.manifest.min-count-to-merge", "many")];
    let world = World::with(FormatVersion::V2, &properties);
    world.append().await;
    let error = plan(&world.context, &world.table).await.unwrap_err();
    assert!(
        error.to_string().contains("min-count-to-merge = many"),
        "{error}"
    );
}
