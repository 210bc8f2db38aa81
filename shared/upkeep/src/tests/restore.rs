//! A table that was spoilt, and the way back.

use std::time::Duration;

use iceberg::{
    TableUpdate,
    spec::{
        FormatVersion, MAIN_BRANCH, NestedField, PrimitiveType, Schema, SnapshotRetention, Type,
    },
};
use icepress_model::SnapshotId;
use icepress_table::NoObjection;

use super::world::{DAY, Event, HOUR, World, branch, set_ref, tag};
use crate::{
    UpkeepError,
    restore::{self, RestorePlan, RestoreRequest, SchemaChoice},
};

async fn plan(world: &World, request: &RestoreRequest) -> RestorePlan {
    let plan = restore::plan(&world.context, &world.table, request, &|_, _| {});
    plan.await.unwrap()
}

async fn apply(world: &World, request: &RestoreRequest) -> Result<RestorePlan, UpkeepError> {
    let (context, table) = (&world.context, &world.table);
    restore::apply(context, table, request, None, &NoObjection, &|_, _| {}).await
}

/// Restores, and holds what was done against what was shown.
async fn restore(world: &World, to: impl Into<String>) -> RestorePlan {
    let request = RestoreRequest::to(to);
    let shown = plan(world, &request).await;
    let done = apply(world, &request).await.unwrap();
    assert_eq!(done, shown);
    done
}

/// A table of three good appends that a writer then replaced by one file of nothing: its good snapshot, and the spoilt one.
async fn spoilt() -> (World, i64, i64) {
    let world = World::new();
    let mut paths = Vec::new();
    for _ in 0..3 {
        paths.push(world.append().await);
    }
    let good = world.current().await;
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    world.replace(&paths[..2]).await;
    world.delete_rows().await;
    let spoilt = world.current().await;
    (world, good, spoilt)
}

#[tokio::test]
async fn a_spoilt_table_is_shown_set_back_and_set_back_again() {
    let (world, good, spoilt) = spoilt().await;
    let files = world.storage.there();
    let done = restore(&world, good.to_string()).await;
    assert_eq!(world.current().await, good);
    assert_eq!(world.storage.there(), files, "no file comes or goes");
    assert_eq!(done.undone.len(), 2);
    assert_eq!(done.undone[0].snapshot_id.get(), spoilt);
    assert_eq!(done.undone[1].operation, "overwrite");
    assert!(done.returned.is_empty() && !done.more_expired);
    let difference = done.difference.unwrap();
    let counted = |amount: restore::Amount| (amount.files, amount.rows.get());
    assert_eq!(counted(difference.data_back), (2, 20));
    assert_eq!(counted(difference.data_gone), (1, 10));
    assert_eq!(counted(difference.deletes_gone), (1, 10));
    assert_eq!(counted(difference.deletes_back), (0, 0));
    assert_eq!(done.missing.files, 0);
    // Two manifests at the least, and three data files.
    assert!(done.missing.checked >= 5, "{done:?}");

    // Undone by the tag.
    let kept = done.kept_as.unwrap();
    let undone = restore(&world, kept.as_str()).await;
    assert_eq!(world.current().await, spoilt);
    assert_eq!(undone.found, format!("tag {kept}"));
    assert!(undone.undone.is_empty());
    assert_eq!(undone.returned.len(), 2);
    world.assert_tidy().await;
}

#[tokio::test]
async fn what_is_there_already_takes_no_commit() {
    let (world, _, spoilt) = spoilt().await;
    let before = world.loaded().await.metadata_location;
    let done = restore(&world, spoilt.to_string()).await;
    assert!(done.is_empty() && done.undone.is_empty(), "{done:?}");
    assert_eq!(world.loaded().await.metadata_location, before);
}

#[tokio::test]
async fn a_moment_is_what_readers_saw_then() {
    let (world, good, spoilt) = spoilt().await;
    let made_at = |id: i64| {
        let world = &world;
        async move {
            let loaded = world.loaded().await;
            let snapshot = loaded.metadata.snapshot_by_id(id).unwrap();
            jiff::Timestamp::from_millisecond(snapshot.timestamp_ms()).unwrap()
        }
    };
    world.clock.advance(HOUR);
    let after_good = made_at(good).await + Duration::from_secs(60);
    let done = restore(&world, after_good.to_string()).await;
    assert_eq!(world.current().await, good);
    assert_eq!(done.to.snapshot_id, SnapshotId(good));
    // At the moment of the spoilt one it was that.
    restore(&world, made_at(spoilt).await.to_string()).await;
    assert_eq!(world.current().await, spoilt);
    let error = apply(&world, &RestoreRequest::to("1999-01-01"))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("the oldest state that is left"),
        "{error}"
    );
}

#[tokio::test]
async fn the_state_that_is_left_stays_for_its_time_and_no_longer() {
    let (world, good, spoilt) = spoilt().await;
    let request = RestoreRequest {
        keep: 2 * DAY,
        ..RestoreRequest::to(good.to_string())
    };
    apply(&world, &request).await.unwrap();
    world.expire_all().await.unwrap();
    assert!(world.ids().await.contains(&spoilt));
    world.clock.advance(DAY);
    world.expire_all().await.unwrap();
    assert!(world.ids().await.contains(&spoilt));
    world.clock.advance(DAY + HOUR);
    world.expire_all().await.unwrap();
    assert_eq!(world.ids().await, [good].into());
    world.assert_tidy().await;
}

#[tokio::test]
async fn with_any_file_missing_nothing_is_restored() {
    let (world, good, spoilt) = spoilt().await;
    let all = world.storage.there();
    let needed: Vec<&String> = all
        .iter()
        .filter(|path| path.contains("/data/f-00"))
        .collect();
    let request = RestoreRequest::to(good.to_string());
    let mut victims: Vec<String> = needed.iter().take(3).map(|it| (*it).clone()).collect();
    let loaded = world.loaded().await;
    let list = loaded
        .metadata
        .snapshot_by_id(good)
        .unwrap()
        .manifest_list();
    victims.push(list.to_owned());
    let manifests = iceberg::spec::ManifestList::parse_with_version(
        &world.storage.get(list).unwrap(),
        loaded.metadata.format_version(),
    );
    let manifests = manifests.unwrap();
    victims.push(manifests.entries()[0].manifest_path.clone());
    for victim in victims {
        let content = world.storage.remove(&victim).unwrap();
        let shown = plan(&world, &request).await;
        assert_eq!(shown.missing.files, 1, "{victim}");
        assert!(shown.missing.named[0].starts_with(&victim), "{shown:?}");
        let error = apply(&world, &request).await.unwrap_err();
        assert!(matches!(error, UpkeepError::Refused { .. }), "{error}");
        assert!(error.to_string().contains(&victim), "{error}");
        assert_eq!(world.current().await, spoilt);
        world.storage.insert(&victim, content.to_vec());
    }
    apply(&world, &request).await.unwrap();
}

#[tokio::test]
async fn a_table_whose_own_files_are_gone_can_still_go_back() {
    let (world, good, spoilt) = spoilt().await;
    let loaded = world.loaded().await;
    let list = loaded
        .metadata
        .snapshot_by_id(spoilt)
        .unwrap()
        .manifest_list();
    world.storage.remove(list);
    let done = restore(&world, good.to_string()).await;
    assert_eq!(done.difference, None);
    assert_eq!(world.current().await, good);
}

#[tokio::test]
async fn what_expiry_took_is_told() {
    let (world, good, spoilt) = spoilt().await;
    world.expire_all().await.unwrap();
    let error = apply(&world, &RestoreRequest::to(good.to_string())).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains(&format!("no snapshot {good}")), "{error}");
    assert_eq!(world.current().await, spoilt);
    for to in ["no-such-tag", "", "yesterday"] {
        let error = apply(&world, &RestoreRequest::to(to)).await.unwrap_err();
        assert!(error.to_string().contains(MAIN_BRANCH), "{error}");
    }
}

#[tokio::test]
async fn branches_are_set_back_alone_and_keep_their_words() {
    let (world, good, spoilt) = spoilt().await;
    let own = SnapshotRetention::branch(Some(3), Some(1), Some(i64::MAX));
    world.set_ref("side", spoilt, own.clone()).await;
    world.set_ref("good", good, tag()).await;
    let request = RestoreRequest {
        branch: "side".to_owned(),
        ..RestoreRequest::to("good")
    };
    apply(&world, &request).await.unwrap();
    let refs = world.loaded().await.metadata.refs().unwrap();
    assert_eq!(refs["side"].snapshot_id, good);
    assert_eq!(refs["side"].retention, own);
    assert_eq!(world.current().await, spoilt);
    for name in ["good", "nowhere"] {
        let request = RestoreRequest {
            branch: name.to_owned(),
            ..RestoreRequest::to(good.to_string())
        };
        let error = apply(&world, &request).await.unwrap_err().to_string();
        assert!(error.contains(&format!("no branch '{name}'")), "{error}");
    }
}

#[tokio::test]
async fn main_keeps_its_words_too() {
    let (world, good, spoilt) = spoilt().await;
    let own = SnapshotRetention::branch(Some(7), None, None);
    world.set_ref(MAIN_BRANCH, spoilt, own.clone()).await;
    restore(&world, good.to_string()).await;
    let refs = world.loaded().await.metadata.refs().unwrap();
    assert_eq!(refs[MAIN_BRANCH].retention, own);
}

#[tokio::test]
async fn whoever_committed_since_it_was_shown_is_not_undone_unseen() {
    let (world, good, spoilt) = spoilt().await;
    let request = RestoreRequest::to(good.to_string());
    world.append().await;
    let since = world.current().await;
    let (context, table) = (&world.context, &world.table);
    let seen = Some(SnapshotId(spoilt));
    let error = restore::apply(context, table, &request, seen, &NoObjection, &|_, _| {}).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("look again"), "{error}");
    assert_eq!(world.current().await, since);
}

#[tokio::test]
async fn lost_races_and_answers_leave_one_restore() {
    for event in [0, 1, 2] {
        let (world, good, spoilt) = spoilt().await;
        let event = match event {
            0 => Event::AnswerLost,
            1 => Event::RequestLost,
            _ => Event::Rival(icepress_catalog::TableChange {
                requirements: Vec::new(),
                updates: vec![set_ref("rival", spoilt, branch())],
            }),
        };
        world.catalog.events.lock().unwrap().push(event);
        let request = RestoreRequest::to(good.to_string());
        if let Err(error) = apply(&world, &request).await {
            assert!(
                matches!(error, UpkeepError::OutcomeUnknown { .. }),
                "{error}"
            );
            apply(&world, &request).await.unwrap();
        }
        assert_eq!(world.current().await, good);
        let refs = world.loaded().await.metadata.refs().unwrap();
        let kept = refs
            .iter()
            .filter(|(name, _)| name.starts_with("icepress-before-restore-"));
        let kept: Vec<i64> = kept.map(|(_, it)| it.snapshot_id).collect();
        assert_eq!(kept, [spoilt]);
    }
}

/// The table's schema with one more column.
async fn add_column(world: &World) -> i32 {
    let current = world.loaded().await.metadata.current_schema().schema_id();
    let schema = Schema::builder()
        .with_schema_id(current + 1)
        .with_fields(vec![
            NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)).into(),
            NestedField::optional(2, "note", Type::Primitive(PrimitiveType::String)).into(),
        ])
        .build()
        .unwrap();
    world
        .update(vec![
            TableUpdate::AddSchema { schema },
            TableUpdate::SetCurrentSchema { schema_id: -1 },
        ])
        .await;
    world.loaded().await.metadata.current_schema().schema_id()
}

#[tokio::test]
async fn the_schema_stays_unless_it_is_asked_for_and_can_be_undone_too() {
    let world = World::new();
    world.append().await;
    let good = world.current().await;
    let added = add_column(&world).await;
    world.append().await;
    let done = restore(&world, good.to_string()).await;
    let seen = done.schema.unwrap();
    assert_eq!(
        (seen.current_id, seen.snapshot_id, seen.restored_id),
        (added, 0, added)
    );
    assert_eq!(seen.added, ["note"]);
    assert!(seen.lacking.is_empty());
    let schema_of =
        |loaded: &icepress_catalog::LoadedTable| loaded.metadata.current_schema().schema_id();
    assert_eq!(schema_of(&world.loaded().await), added);
    let with_schema = RestoreRequest {
        schema: SchemaChoice::OfSnapshot,
        ..RestoreRequest::to(good.to_string())
    };
    let done = apply(&world, &with_schema).await.unwrap();
    assert_eq!(schema_of(&world.loaded().await), 0);
    let undo = RestoreRequest {
        schema: SchemaChoice::Id(added),
        ..RestoreRequest::to(done.kept_as.unwrap())
    };
    apply(&world, &undo).await.unwrap();
    assert_eq!(schema_of(&world.loaded().await), added);
    let unknown = RestoreRequest {
        schema: SchemaChoice::Id(77),
        ..with_schema
    };
    let error = apply(&world, &unknown).await.unwrap_err().to_string();
    assert!(error.contains("no schema 77"), "{error}");
}

#[tokio::test]
async fn tables_of_version_1_go_back_too() {
    let world = World::with(FormatVersion::V1, &[]);
    world.append().await;
    let good = world.current().await;
    world.append().await;
    let spoilt = world.current().await;
    let done = restore(&world, good.to_string()).await;
    assert_eq!(world.current().await, good);
    restore(&world, done.kept_as.unwrap()).await;
    assert_eq!(world.current().await, spoilt);
}
