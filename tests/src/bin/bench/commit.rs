//! `commit`: the commit of one group of one file. On SQLite and local files, milliseconds from the call to the answer,
//! the median of fifty fresh tables; on the Glue and S3 of an emulator, the requests by kind.

use std::{error::Error, sync::Arc, time::Instant};

use aws_sdk_glue::types::{DatabaseInput, StorageDescriptor, TableInput};
use iceberg::{
    TableCreation,
    spec::{
        DataContentType, DataFileBuilder, DataFileFormat, NestedField, PrimitiveType, Schema, Type,
    },
};
use icepress_catalog::{
    Catalog, LoadedTable, config::CatalogProperties, metadata::stage_new_table,
};
use icepress_catalog_glue::GlueCatalog;
use icepress_model::{
    Attempt, Bytes, CatalogName, GroupTask, MergePages, MetadataLocation, ProcessId, SpecId,
    TableId, ambient::Ambient,
};
use icepress_planner::{PlanOptions, plan_table};
use icepress_rewrite::{RewriteContext, rewrite_group};
use icepress_storage::{
    AwsEnvironment, PutMode, RequestTotals, S3Options, S3Storage, Storage, WriteOptions,
    conformance::emulator::{Emulator, EmulatorKind},
};
use icepress_table::{CommitContext, CommitPolicy, FinishedGroup, commit_groups, open_snapshot};
use icepress_tests::{Lab, Row, write_rows};
use icepress_writer::{AddedFile, append_files};

const TABLES: u32 = 51;
const DATABASE: &str = "bench";
const REGION: &str = "eu";
const ROWS: i64 = 1_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Measures both, and prints the line.
pub(crate) fn run() -> Outcome<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let mut milliseconds = runtime.block_on(on_sqlite())?;
    milliseconds.sort_by(f64::total_cmp);
    let median = milliseconds[milliseconds.len() / 2];
    let slowest = milliseconds[milliseconds.len() - 1];
    let requests = match runtime.block_on(on_glue())? {
        None => "not counted: there is no Python environment, run tests/venv".to_owned(),
        Some(counts) => {
            let counts = counts.iter().map(|(kind, count)| format!("{kind}={count}"));
            counts.collect::<Vec<_>>().join(" ")
        }
    };
    println!(
        "commit sqlite_ms={median:.1} sqlite_ms_slowest={slowest:.1} glue_requests: {requests}"
    );
    Ok(())
}

/// A group of one file, rewritten and ready to commit.
struct Ready {
    context: CommitContext,
    process: ProcessId,
    base: icepress_model::BaseState,
    group: FinishedGroup,
}

async fn ready(
    catalog: Arc<dyn Catalog>,
    storage: Arc<dyn Storage>,
    ambient: &Ambient,
    table: &TableId,
) -> Outcome<Ready> {
    let loaded: LoadedTable = catalog.load(table).await?;
    let scan = open_snapshot(&*storage, table, &loaded.metadata).await?;
    let options = PlanOptions {
        force: true,
        ..PlanOptions::default()
    };
    let plan = plan_table(&scan, &loaded.metadata, &loaded.metadata_location, &options)?;
    let (Some(base), [group]) = (plan.base, plan.groups.as_slice()) else {
        return Err("the plan is not one group".into());
    };
    let process = ProcessId::from_uuid(ambient.uuid());
    let task = GroupTask {
        table: table.clone(),
        process: process.clone(),
        index: 0,
        base: base.clone(),
        group: group.clone(),
        pace: None,
    };
    let engine = RewriteContext {
        storage: Arc::clone(&storage),
        ambient: ambient.clone(),
        memory_cap: Bytes::mebibytes(256),
        merge_pages: MergePages::default(),
        progress: Arc::default(),
    };
    let result = rewrite_group(&engine, &loaded.metadata, &task, Attempt(1))
        .await
        .map_err(|failure| failure.message)?;
    Ok(Ready {
        context: CommitContext {
            catalog,
            storage,
            ambient: ambient.clone(),
            policy: CommitPolicy::default(),
        },
        process,
        base,
        group: FinishedGroup {
            index: 0,
            group: group.clone(),
            result,
        },
    })
}

async fn commit(ready: Ready, table: &TableId) -> Outcome<()> {
    let Ready {
        context,
        process,
        base,
        group,
    } = ready;
    let outcome = commit_groups(&context, table, &process, &base, vec![group]).await?;
    if outcome.committed != [0] {
        return Err("the group was not committed".into());
    }
    Ok(())
}

async fn on_sqlite() -> Outcome<Vec<f64>> {
    let lab = Lab::new(1).await;
    let mut milliseconds = Vec::new();
    for number in 0..TABLES {
        let table = lab.create_table(&format!("t{number}"), &[]).await;
        lab.append_numbered(&table, &[REGION], 1, ROWS, 0).await;
        let catalog = Arc::clone(&lab.catalog) as Arc<dyn Catalog>;
        let ready = ready(catalog, Arc::clone(&lab.storage), &lab.ambient, &table).await?;
        #[allow(
            clippy::disallowed_methods,
            reason = "a bench measures the time that passes for whoever waits"
        )]
        let begun = Instant::now();
        commit(ready, &table).await?;
        milliseconds.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(milliseconds)
}

/// Requests of a commit by kind; `None` where the emulator can't be started.
async fn on_glue() -> Outcome<Option<RequestTotals>> {
    let Some(emulator) = Emulator::start(EmulatorKind::MiniStack) else {
        return Ok(None);
    };
    let config = emulator.config().await;
    let aws = AwsEnvironment::from_config(config.clone());
    let ambient = Ambient::system();
    let s3 = S3Storage::connect(&aws, S3Options::default(), ambient.clone()).await;
    let storage: Arc<dyn Storage> = Arc::new(s3);

    aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(&config)
            .force_path_style(true)
            .build(),
    )
    .create_bucket()
    .bucket(DATABASE)
    .send()
    .await?;
    let table: TableId = format!("glue.{DATABASE}.t").parse()?;
    let location = new_table(&*storage, &ambient, &table).await?;
    register(&aws_sdk_glue::Client::new(&config), &location).await?;
    let nothing_set = std::iter::empty::<(String, String)>();
    let properties = CatalogProperties::of(CatalogName::from("glue"), nothing_set);
    let catalog =
        GlueCatalog::connect(&properties, &aws, Arc::clone(&storage), ambient.clone()).await?;
    let catalog: Arc<dyn Catalog> = Arc::new(catalog);
    append(&catalog, &storage, &ambient, &table).await?;
    let ready = ready(catalog, storage, &ambient, &table).await?;
    let before = aws.ledger().totals();
    commit(ready, &table).await?;
    Ok(Some(aws.ledger().since(&before)))
}

async fn new_table(
    storage: &dyn Storage,
    ambient: &Ambient,
    table: &TableId,
) -> Outcome<MetadataLocation> {
    let text = |id, name: &str| {
        NestedField::optional(id, name, Type::Primitive(PrimitiveType::String)).into()
    };
    let schema = Schema::builder()
        .with_fields([
            NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)).into(),
            text(2, "region"),
            text(3, "note"),
        ])
        .build()?;
    let creation = TableCreation::builder()
        .name(table.name.clone())
        .location(format!("s3://{DATABASE}/t"))
        .schema(schema)
        .build();
    let staged = stage_new_table(storage, ambient, table, creation).await?;
    Ok(staged.location)
}

async fn register(glue: &aws_sdk_glue::Client, location: &MetadataLocation) -> Outcome<()> {
    let database = DatabaseInput::builder().name(DATABASE).build()?;
    glue.create_database()
        .database_input(database)
        .send()
        .await?;
    let input = TableInput::builder()
        .name("t")
        .table_type("EXTERNAL_TABLE")
        .storage_descriptor(StorageDescriptor::builder().build())
        .parameters("table_type", "ICEBERG")
        .parameters("metadata_location", location.as_str())
        .build()?;
    glue.create_table()
        .database_name(DATABASE)
        .table_input(input)
        .send()
        .await?;
    Ok(())
}

/// One file, as a foreign writer appends it.
async fn append(
    catalog: &Arc<dyn Catalog>,
    storage: &Arc<dyn Storage>,
    ambient: &Ambient,
    table: &TableId,
) -> Outcome<()> {
    let rows: Vec<Row> = (0..ROWS).map(|id| Row::numbered(id, REGION)).collect();
    let content = write_rows(&rows);
    let path = format!("s3://{DATABASE}/t/data/one.parquet");
    let file = DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(path.clone())
        .file_format(DataFileFormat::Parquet)
        .record_count(rows.len() as u64)
        .file_size_in_bytes(content.len() as u64)
        .partition_spec_id(0)
        .build()?;
    let options = WriteOptions::default();
    storage
        .put(&path, content, PutMode::CreateOnly, &options)
        .await?;
    let context = CommitContext {
        catalog: Arc::clone(catalog),
        storage: Arc::clone(storage),
        ambient: ambient.clone(),
        policy: CommitPolicy::default(),
    };
    let added = AddedFile {
        spec_id: SpecId(0),
        file,
    };
    append_files(&context, table, &[added]).await?;
    Ok(())
}
