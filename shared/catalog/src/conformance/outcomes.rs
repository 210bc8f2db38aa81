//! Commits that come to a bad end on their way: refused, or nobody knows.

use icepress_storage::conformance::proxy::Mishap;

use super::{Bench, make, metadata_files, said, say};
use crate::{Catalog, CatalogError, CommitError};

/// What is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbidden {
    /// To commit. The table can be loaded: the role of somebody who may only read.
    Commits,
    /// To load the table, and to commit to it.
    Everything,
}

/// What is lost on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The request never arrives.
    Request,
    /// The request is carried out, and nobody hears of it.
    Answer,
}

/// What a proxy does for it.
impl From<Lost> for Mishap {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Request => Self::RequestLost,
            Lost::Answer => Self::AnswerLost,
        }
    }
}

/// Why a kind of trouble does not exist where the catalog lives. Printed, so that what was not tried is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaningless(pub &'static str);

pub(super) async fn a_refusal_says_so(bench: &dyn Bench) {
    for (name, what) in [
        ("read_only", Forbidden::Commits),
        ("refused", Forbidden::Everything),
    ] {
        let base = make(bench, name).await;
        let files = metadata_files(bench, &base.table).await;
        let catalog = match bench.forbid(&base.table, what).await {
            Ok(catalog) => catalog,
            Err(why) => {
                not_tried(&*bench.catalog(), what, why);
                continue;
            }
        };
        match (what, catalog.load(&base.table).await) {
            (Forbidden::Commits, loaded) => {
                let loaded = loaded.expect("only commits are refused");
                assert_eq!(loaded.metadata_location, base.metadata_location);
            }
            (Forbidden::Everything, refused) => says_so(
                &*catalog,
                &refused.expect_err("loading the table is refused"),
            ),
        }
        match catalog.commit(&base, say(&base, "a", 1)).await {
            Err(CommitError::Refused(error)) => says_so(&*catalog, &error),
            Err(error) => panic!("{what:?}: {error}"),
            Ok(_) => panic!("{what:?}: it was committed"),
        }
        if what == Forbidden::Commits {
            let loaded = catalog.load(&base.table).await.expect("as before");
            assert_eq!(loaded.metadata_location, base.metadata_location);
            assert_eq!(loaded.metadata, base.metadata);
            assert_eq!(
                metadata_files(bench, &base.table).await,
                files,
                "what was refused is taken away"
            );
        }
    }
}

fn says_so(catalog: &dyn Catalog, error: &CatalogError) {
    assert!(
        matches!(error, CatalogError::PermissionDenied { .. }),
        "{error}"
    );
    let message = error.to_string();
    assert!(message.contains(catalog.name().as_str()), "{message}");
}

/// Case C25. The commit is found, or said to be unknown; it is never called lost, and stays where it is.
pub(super) async fn a_lost_answer_is_found_out(bench: &dyn Bench) {
    let catalog = bench.catalog();
    let base = make(bench, "lost_answer").await;
    if let Err(why) = bench.lose(Lost::Answer).await {
        return not_tried(&*catalog, Lost::Answer, why);
    }
    match catalog.commit(&base, say(&base, "a", 1)).await {
        Ok(committed) => assert_eq!(said(&committed, "a").as_deref(), Some("1")),
        Err(CommitError::OutcomeUnknown { .. }) => {}
        Err(error) => panic!("it took effect: {error}"),
    }
    let loaded = catalog.load(&base.table).await.expect("it is there");
    assert_eq!(said(&loaded, "a").as_deref(), Some("1"));
    assert_eq!(loaded.metadata.snapshots().len(), 1, "once only");
    assert!(catalog.is_overtaken(&base, &loaded));
    assert!(!catalog.is_overtaken(&loaded, &loaded));
}

/// Case C25. It is tried again, or said to be unknown, and then nothing is deleted: as far as we know it may be in.
/// Nobody else was there who could have won.
pub(super) async fn a_lost_request_is_not_taken_for_another_s_commit(bench: &dyn Bench) {
    let catalog = bench.catalog();
    let base = make(bench, "lost_request").await;
    let files = metadata_files(bench, &base.table).await.len();
    if let Err(why) = bench.lose(Lost::Request).await {
        return not_tried(&*catalog, Lost::Request, why);
    }
    let outcome = catalog.commit(&base, say(&base, "a", 1)).await;
    let loaded = catalog.load(&base.table).await.expect("it is there");
    match outcome {
        Ok(committed) => {
            assert_eq!(loaded.metadata_location, committed.metadata_location);
            assert_eq!(loaded.metadata.snapshots().len(), 1, "once only");
        }
        Err(CommitError::OutcomeUnknown { .. }) => {
            assert_eq!(loaded.metadata, base.metadata);
            assert!(!catalog.is_overtaken(&base, &loaded));
            if bench.keeps_a_pointer() {
                let now = metadata_files(bench, &base.table).await.len();
                assert_eq!(now, files + 1, "what may be in stays");
            }
        }
        Err(error) => panic!("nobody can know that: {error}"),
    }
    // And the table goes on.
    let committed = catalog
        .commit(&loaded, say(&loaded, "a", 2))
        .await
        .expect("nobody else is there");
    assert_eq!(said(&committed, "a").as_deref(), Some("2"));
}

fn not_tried(catalog: &dyn Catalog, what: impl std::fmt::Debug, why: Meaningless) {
    println!("{}: {what:?} is not tried: {}", catalog.name(), why.0);
}
