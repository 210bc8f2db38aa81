//! What becomes of a swap, and of its file.

use super::*;
use crate::metadata::{StagedMetadata, outcome_by_looking};

async fn staged_on(base: &LoadedTable, value: &str) -> StagedMetadata {
    let change = TableChange {
        requirements: Vec::new(),
        updates: properties(&[("by", value)]),
    };
    stage_metadata(&LocalStorage::new(), &Ambient::system(), base, change)
        .await
        .unwrap()
}

fn as_loaded(staged: &StagedMetadata) -> LoadedTable {
    LoadedTable {
        table: table(),
        metadata_location: staged.location.clone(),
        metadata: Arc::clone(&staged.metadata),
        token: CommitToken::default(),
    }
}

fn is_unknown(outcome: Result<(), CommitError>) -> bool {
    matches!(outcome, Err(CommitError::OutcomeUnknown { .. }))
}

#[tokio::test]
async fn c25_where_the_table_is_now_tells_what_became_of_a_swap() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display().to_string();
    let base = new_table(&Ambient::system(), &root, &[]).await;
    let ours = staged_on(&base, "us").await;
    let theirs = staged_on(&base, "them").await;
    let after_ours = staged_on(&as_loaded(&ours), "them, later").await;
    let another = new_table(&Ambient::system(), &format!("{root}/another"), &[]).await;

    let storage = LocalStorage::new();
    let look = |now: Result<&MetadataLocation, CatalogError>| {
        let (storage, base, ours, now) = (&storage, &base, &ours, now.cloned());
        async move { outcome_by_looking(storage, base, ours, now, "a time-out").await }
    };
    look(Ok(&ours.location)).await.unwrap();
    look(Ok(&after_ours.location)).await.unwrap();
    let lost = look(Ok(&theirs.location)).await;
    assert!(matches!(lost, Err(CommitError::Conflict(_))), "{lost:?}");
    assert!(is_unknown(look(Ok(&base.metadata_location)).await));
    assert!(is_unknown(look(Ok(&another.metadata_location)).await));
    let nowhere = MetadataLocation(format!("{root}/nowhere.metadata.json"));
    assert!(is_unknown(look(Ok(&nowhere)).await));
    // Under another name it may be what we made it.
    let gone = look(Err(CatalogError::NoSuchTable(table()))).await;
    assert!(is_unknown(gone));
}

#[tokio::test]
async fn c25_the_file_of_a_swap_of_which_nobody_knows_stays() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display().to_string();
    let base = new_table(&Ambient::system(), &root, &[]).await;
    let storage = LocalStorage::new();
    let is_there =
        async |location: &MetadataLocation| storage.read(location.as_str()).await.is_ok();

    let unknown = CommitError::OutcomeUnknown {
        table: table(),
        message: "a time-out".to_owned(),
    };
    for (swapped, stays) in [
        (Ok(()), true),
        (Err(unknown), true),
        (Err(CommitError::Conflict(table())), false),
        (Err(CommitError::NoSuchTable(table())), false),
    ] {
        let staged = staged_on(&base, "us").await;
        let location = staged.location.clone();
        let said = format!("{swapped:?}");
        let is_in = swapped.is_ok();
        let settled = staged.settle(&storage, &base, swapped).await;
        assert_eq!(is_there(&location).await, stays, "{said}");
        assert_eq!(settled.is_ok(), is_in);
        if let Ok(loaded) = settled {
            assert_eq!(loaded.metadata_location, location);
        }
    }
}
