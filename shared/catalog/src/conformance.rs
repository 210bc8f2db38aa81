//! What every adapter of [`Catalog`] must do, as one suite that is run on each of them.
//!
//! The adapter brings a [`Bench`]: a fresh catalog and the means to act as others do, behind the adapter's back. Panics,
//! as a test does, where the adapter fails.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes as Buffer;
use iceberg::{
    TableCreation, TableRequirement, TableUpdate,
    spec::{
        NestedField, Operation, PrimitiveType, Schema, Snapshot, SnapshotReference,
        SnapshotRetention, Summary, Type,
    },
};
use icepress_model::{DatabaseId, MetadataLocation, Namespace, TableId, ambient::Ambient};
use icepress_storage::{PutMode, Storage, WriteOptions};

use crate::{
    Catalog, CatalogError, CommitError, LoadedTable, Located, TableChange,
    metadata::{StagedMetadata, read_metadata, stage_new_table},
};

mod outcomes;

pub use outcomes::{Forbidden, Lost, Meaningless};

/// A fresh catalog, and what others can do to it.
#[async_trait]
pub trait Bench: Send + Sync {
    /// The adapter.
    fn catalog(&self) -> Arc<dyn Catalog>;
    /// Where the tables' files lie.
    fn storage(&self) -> Arc<dyn Storage>;
    /// A folder for tables, without a slash at its end.
    fn warehouse(&self) -> String;
    /// Makes an entry for a table, as another client would, with things in it that are not ours.
    async fn register(&self, table: &TableId, location: &MetadataLocation);
    /// Moves the entry to another metadata file, as another client would.
    async fn point_to(&self, table: &TableId, location: &MetadataLocation);
    /// Where the catalog keeps what was registered, or moved to, at `location`: some take a copy under a name of their own.
    fn place_of(&self, location: &MetadataLocation) -> MetadataLocation {
        location.clone()
    }
    /// Drops the entry.
    async fn drop_table(&self, table: &TableId);
    /// Makes entries in a namespace that are no Iceberg tables; returns their names.
    async fn add_others(&self, namespace: &Namespace) -> Vec<String>;
    /// Everything in the entry that a commit must leave as it is, as text; and the previous metadata location.
    async fn entry(&self, table: &TableId) -> (String, Option<String>);

    /// Whether the catalog keeps a pointer to a metadata file that its clients write, which any of them may point
    /// anywhere; `false` where a server reads and makes the metadata itself.
    fn keeps_a_pointer(&self) -> bool {
        true
    }

    /// Whether the metadata keeps a log of earlier metadata files, as all catalogs' should.
    fn keeps_a_log(&self) -> bool {
        true
    }

    /// Gives the table another name, as another client would.
    async fn rename_table(&self, from: &TableId, to: &TableId, location: &MetadataLocation) {
        self.drop_table(from).await;
        self.register(to, location).await;
    }

    /// The catalog as somebody has it who is refused that much of the table from now on.
    async fn forbid(
        &self,
        table: &TableId,
        what: Forbidden,
    ) -> Result<Arc<dyn Catalog>, Meaningless>;

    /// The request that makes the next commit, or its answer, is lost on its way, once.
    async fn lose(&self, what: Lost) -> Result<(), Meaningless>;
}

/// Runs the whole suite.
pub async fn check_all(bench: &dyn Bench) {
    a_commit_moves_the_table(bench).await;
    of_two_commits_on_one_base_one_wins(bench).await;
    no_increment_is_lost(bench).await;
    a_foreign_commit_is_never_overwritten(bench).await;
    a_dropped_table_is_told_apart(bench).await;
    a_renamed_table_is_gone_under_its_old_name(bench).await;
    outcomes::a_refusal_says_so(bench).await;
    outcomes::a_lost_answer_is_found_out(bench).await;
    outcomes::a_lost_request_is_not_taken_for_another_s_commit(bench).await;
    a_requirement_that_fails_is_a_conflict(bench).await;
    listings_have_iceberg_tables_only(bench).await;
    if bench.keeps_a_pointer() {
        bad_metadata_names_its_file(bench).await;
    }
}

fn id(bench: &dyn Bench, name: &str) -> TableId {
    TableId {
        catalog: bench.catalog().name().clone(),
        namespace: Namespace::from_dotted("conformance"),
        name: name.to_owned(),
    }
}

async fn staged(bench: &dyn Bench, table: &TableId) -> StagedMetadata {
    let field = NestedField::optional(1, "id", Type::Primitive(PrimitiveType::Long));
    let creation = TableCreation::builder()
        .name(table.name.clone())
        .location(format!("{}/{}", bench.warehouse(), table.name))
        .schema(
            Schema::builder()
                .with_fields([Arc::new(field)])
                .build()
                .expect("a schema of one column is valid"),
        )
        .build();
    stage_new_table(&*bench.storage(), &Ambient::system(), table, creation)
        .await
        .expect("the warehouse can be written")
}

async fn make(bench: &dyn Bench, name: &str) -> LoadedTable {
    let table = id(bench, name);
    let staged = staged(bench, &table).await;
    bench.register(&table, &staged.location).await;
    let loaded = bench
        .catalog()
        .load(&table)
        .await
        .expect("it is registered");
    if bench.keeps_a_pointer() {
        assert_eq!(loaded.metadata_location, bench.place_of(&staged.location));
        assert_eq!(loaded.metadata, staged.metadata);
    }
    loaded
}

/// A snapshot that says `value` under `key`: a change that every kind of catalog compares.
pub fn say(base: &LoadedTable, key: &str, value: impl ToString) -> TableChange {
    let ambient = Ambient::system();
    let metadata = &base.metadata;
    let snapshot_id = ambient.snapshot_id();
    let snapshot = Snapshot::builder()
        .with_snapshot_id(snapshot_id)
        .with_parent_snapshot_id(metadata.current_snapshot_id())
        .with_sequence_number(metadata.next_sequence_number())
        .with_timestamp_ms(ambient.now().get().max(metadata.last_updated_ms()))
        .with_manifest_list(format!(
            "{}/metadata/nobody-reads-it.avro",
            metadata.location()
        ))
        .with_summary(Summary {
            operation: Operation::Append,
            additional_properties: HashMap::from([(key.to_owned(), value.to_string())]),
        })
        .with_schema_id(metadata.current_schema_id())
        .build();
    let reference = SnapshotReference {
        snapshot_id,
        retention: SnapshotRetention::Branch {
            min_snapshots_to_keep: None,
            max_snapshot_age_ms: None,
            max_ref_age_ms: None,
        },
    };
    TableChange {
        requirements: Vec::new(),
        updates: vec![
            TableUpdate::AddSnapshot { snapshot },
            TableUpdate::SetSnapshotRef {
                ref_name: "main".to_owned(),
                reference,
            },
        ],
    }
}

/// What the table's current snapshot says.
pub fn said(table: &LoadedTable, key: &str) -> Option<String> {
    let snapshot = table.metadata.current_snapshot()?;
    snapshot.summary().additional_properties.get(key).cloned()
}

fn log(table: &LoadedTable) -> Vec<&str> {
    let log = table.metadata.metadata_log().iter();
    log.map(|entry| entry.metadata_file.as_str()).collect()
}

async fn a_commit_moves_the_table(bench: &dyn Bench) {
    let catalog = bench.catalog();
    let base = make(bench, "moves").await;
    let (foreign, _) = bench.entry(&base.table).await;
    let committed = catalog
        .commit(&base, say(&base, "a", 1))
        .await
        .expect("nobody else is there");
    assert_ne!(committed.metadata_location, base.metadata_location);
    assert_eq!(said(&committed, "a").as_deref(), Some("1"));

    let loaded = catalog.load(&base.table).await.expect("it is there");
    assert_eq!(loaded.metadata_location, committed.metadata_location);
    assert_eq!(loaded.metadata, committed.metadata);
    if bench.keeps_a_log() {
        assert_eq!(log(&loaded).last(), Some(&base.metadata_location.as_str()));
    }
    if bench.keeps_a_pointer() {
        assert_eq!(log(&loaded), [base.metadata_location.as_str()]);
    }
    let (foreign_now, previous) = bench.entry(&base.table).await;
    assert_eq!(foreign_now, foreign, "what is not ours must stay as it is");
    if bench.keeps_a_log() {
        assert_eq!(previous.as_deref(), Some(base.metadata_location.as_str()));
    }

    // What a commit returns is as good a base as a fresh load.
    let again = catalog
        .commit(&committed, say(&committed, "a", 2))
        .await
        .expect("nobody else is there");
    assert_eq!(said(&again, "a").as_deref(), Some("2"));
    let (foreign_now, previous) = bench.entry(&base.table).await;
    assert_eq!(foreign_now, foreign, "what is not ours must stay as it is");
    if bench.keeps_a_log() {
        let before = committed.metadata_location.as_str();
        assert_eq!(previous.as_deref(), Some(before));
    }
}

async fn of_two_commits_on_one_base_one_wins(bench: &dyn Bench) {
    let catalog = bench.catalog();
    let base = make(bench, "two").await;
    let winner = catalog
        .commit(&base, say(&base, "winner", "first"))
        .await
        .expect("the first");
    let files = metadata_files(bench, &base.table).await;
    let error = catalog
        .commit(&base, say(&base, "winner", "second"))
        .await
        .expect_err("the second");
    assert!(
        matches!(&error, CommitError::Conflict(table) if *table == base.table),
        "{error}"
    );
    let loaded = catalog.load(&base.table).await.expect("it is there");
    assert_eq!(loaded.metadata_location, winner.metadata_location);
    assert_eq!(said(&loaded, "winner").as_deref(), Some("first"));
    assert_eq!(
        metadata_files(bench, &base.table).await,
        files,
        "the loser's file is taken away"
    );
}

async fn metadata_files(bench: &dyn Bench, table: &TableId) -> Vec<String> {
    let folder = format!("{}/{}/metadata/", bench.warehouse(), table.name);
    let page = bench
        .storage()
        .list(&folder, None)
        .await
        .expect("listing works");
    page.objects
        .into_iter()
        .map(|object| object.location)
        .collect()
}

async fn no_increment_is_lost(bench: &dyn Bench) {
    const WRITERS: u64 = 4;
    const TURNS: u64 = 5;
    let base = make(bench, "counter").await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (catalog, table) = (bench.catalog(), base.table.clone());
            tokio::spawn(async move {
                for _ in 0..TURNS {
                    increment(&*catalog, &table).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("no writer fails");
    }
    let loaded = bench
        .catalog()
        .load(&base.table)
        .await
        .expect("it is there");
    assert_eq!(said(&loaded, "count"), Some((WRITERS * TURNS).to_string()));
    assert_eq!(loaded.metadata.snapshots().len() as u64, WRITERS * TURNS);
}

async fn increment(catalog: &dyn Catalog, table: &TableId) {
    loop {
        let base = catalog.load(table).await.expect("it is there");
        let count: u64 = said(&base, "count").map_or(0, |count| count.parse().expect("a number"));
        match catalog.commit(&base, say(&base, "count", count + 1)).await {
            Ok(_) => return,
            Err(CommitError::Conflict(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn a_foreign_commit_is_never_overwritten(bench: &dyn Bench) {
    let catalog = bench.catalog();
    let base = make(bench, "foreign").await;
    let foreign = staged(bench, &base.table).await;
    bench.point_to(&base.table, &foreign.location).await;
    let error = catalog
        .commit(&base, say(&base, "a", 1))
        .await
        .expect_err("it moved");
    assert!(matches!(error, CommitError::Conflict(_)), "{error}");
    let loaded = catalog.load(&base.table).await.expect("it is there");
    assert_eq!(loaded.metadata.uuid(), foreign.metadata.uuid());
    if bench.keeps_a_pointer() {
        assert_eq!(loaded.metadata_location, bench.place_of(&foreign.location));
    }
}

async fn a_dropped_table_is_told_apart(bench: &dyn Bench) {
    let catalog = bench.catalog();
    let base = make(bench, "dropped").await;
    bench.drop_table(&base.table).await;
    let error = catalog.load(&base.table).await.expect_err("it is gone");
    assert!(
        matches!(&error, CatalogError::NoSuchTable(table) if *table == base.table),
        "{error}"
    );
    let error = catalog
        .commit(&base, say(&base, "a", 1))
        .await
        .expect_err("it is gone");
    assert!(
        matches!(&error, CommitError::NoSuchTable(table) if *table == base.table),
        "{error}"
    );

    // Of the same name, but another table.
    let again = staged(bench, &base.table).await;
    bench.register(&base.table, &again.location).await;
    let error = catalog
        .commit(&base, say(&base, "a", 1))
        .await
        .expect_err("it is another");
    assert!(matches!(error, CommitError::Conflict(_)), "{error}");
    let loaded = catalog.load(&base.table).await.expect("the new one");
    assert_eq!(loaded.metadata.uuid(), again.metadata.uuid());
    assert_eq!(loaded.metadata.current_snapshot_id(), None);
}

async fn a_renamed_table_is_gone_under_its_old_name(bench: &dyn Bench) {
    let catalog = bench.catalog();
    let base = make(bench, "old_name").await;
    let renamed = id(bench, "new_name");
    bench
        .rename_table(&base.table, &renamed, &base.metadata_location)
        .await;
    let error = catalog.load(&base.table).await.expect_err("it has moved");
    assert!(matches!(error, CatalogError::NoSuchTable(_)), "{error}");
    let error = catalog
        .locate(&base.table, None)
        .await
        .expect_err("it has moved");
    assert!(matches!(error, CatalogError::NoSuchTable(_)), "{error}");
    let error = catalog
        .commit(&base, say(&base, "a", 1))
        .await
        .expect_err("it has moved");
    assert!(matches!(error, CommitError::NoSuchTable(_)), "{error}");

    let loaded = catalog.load(&renamed).await.expect("the same table");
    assert_eq!(loaded.metadata.uuid(), base.metadata.uuid());
    assert_eq!(loaded.metadata.current_snapshot_id(), None);
    let committed = catalog
        .commit(&loaded, say(&loaded, "a", 1))
        .await
        .expect("nobody else is there");
    assert_lies_at(&*catalog, &renamed, &committed.metadata_location).await;
}

async fn a_requirement_that_fails_is_a_conflict(bench: &dyn Bench) {
    let base = make(bench, "required").await;
    let mut change = say(&base, "a", 1);
    change
        .requirements
        .push(TableRequirement::RefSnapshotIdMatch {
            r#ref: "main".to_owned(),
            snapshot_id: Some(1),
        });
    let error = bench
        .catalog()
        .commit(&base, change)
        .await
        .expect_err("there is no snapshot");
    assert!(matches!(error, CommitError::Conflict(_)), "{error}");
    let mut change = say(&base, "a", 1);
    change.requirements.push(TableRequirement::UuidMatch {
        uuid: base.metadata.uuid(),
    });
    bench
        .catalog()
        .commit(&base, change)
        .await
        .expect("it is the same table");
}

async fn listings_have_iceberg_tables_only(bench: &dyn Bench) {
    let catalog = bench.catalog();
    let first = make(bench, "listed").await;
    let others = bench.add_others(&first.table.namespace).await;
    let database = DatabaseId {
        catalog: catalog.name().clone(),
        namespace: first.table.namespace.clone(),
    };
    let namespaces = catalog.list_namespaces().await.expect("listing works");
    assert!(namespaces.contains(&database.namespace), "{namespaces:?}");

    let mut tables = Vec::new();
    let mut next = None;
    loop {
        let page = catalog
            .list_tables(&database, next.as_deref())
            .await
            .expect("listing works");
        tables.extend(page.tables);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    let listed = tables
        .iter()
        .find(|listed| listed.table == first.table)
        .expect("it is in the listing");
    if let Some(location) = &listed.metadata_location {
        assert_eq!(*location, first.metadata_location);
    }
    assert_lies_at(&*catalog, &first.table, &first.metadata_location).await;
    for other in others {
        assert!(
            tables.iter().all(|listed| listed.table.name != other),
            "{other}"
        );
        let error = catalog
            .load(&id(bench, &other))
            .await
            .expect_err("it is no table");
        // Where views have names of their own there is no table of the view's name.
        let is_right = match error {
            CatalogError::NotIceberg(_) => true,
            CatalogError::NoSuchTable(_) => !bench.keeps_a_pointer(),
            _ => false,
        };
        assert!(is_right, "{error}");
    }
    let nowhere = DatabaseId {
        catalog: catalog.name().clone(),
        namespace: Namespace::from_dotted("nowhere"),
    };
    let page = catalog
        .list_tables(&nowhere, None)
        .await
        .expect("an empty listing");
    assert!(page.tables.is_empty());
}

async fn bad_metadata_names_its_file(bench: &dyn Bench) {
    let table = id(bench, "bad");
    let good = staged(bench, &table).await;
    bench.register(&table, &good.location).await;
    for (name, content, said) in [
        (
            "cut",
            &b"{\"format-version\": 2, \"table"[..],
            "not valid JSON",
        ),
        (
            "future",
            b"{\"format-version\": 9}",
            "its format version is 9",
        ),
        ("other", b"{}", "it has no format-version"),
        ("half", b"\x1f\x8b\x08\x00", "gzip"),
    ] {
        let location = MetadataLocation(format!("{}/bad/metadata/{name}.json", bench.warehouse()));
        bench
            .storage()
            .put(
                location.as_str(),
                Buffer::from_static(content),
                PutMode::Overwrite,
                &WriteOptions::default(),
            )
            .await
            .expect("written");
        bench.point_to(&table, &location).await;
        let error = bench
            .catalog()
            .load(&table)
            .await
            .expect_err("it can't be read");
        let message = error.to_string();
        assert!(
            matches!(error, CatalogError::MetadataInvalid { .. }),
            "{message}"
        );
        assert!(
            message.contains(bench.place_of(&location).as_str()) && message.contains(said),
            "{message}"
        );
        assert!(
            read_metadata(&*bench.storage(), &table, &location)
                .await
                .is_err()
        );
    }
    let missing = MetadataLocation(format!("{}/bad/metadata/missing.json", bench.warehouse()));
    bench.point_to(&table, &missing).await;
    let error = bench
        .catalog()
        .load(&table)
        .await
        .expect_err("it can't be read");
    assert!(
        matches!(error, CatalogError::MetadataUnreadable { .. }),
        "{error}"
    );
    let missing = bench.place_of(&missing);
    assert!(error.to_string().contains(missing.as_str()), "{error}");
}

/// The table is located there; and asked with what the catalog calls that state, it may say that nothing changed.
async fn assert_lies_at(catalog: &dyn Catalog, table: &TableId, expected: &MetadataLocation) {
    let located = catalog.locate(table, None).await.expect("it is there");
    let Located::At { location, tag } = located.clone() else {
        panic!("nothing was said to be seen: {located:?}")
    };
    assert_eq!(location, *expected);
    let again = catalog.locate(table, tag.as_deref()).await;
    let again = again.expect("it is there");
    assert!(again == located || (again == Located::AsSeen && tag.is_some()));
}
