//! A deployed Icepress on moto: many settled tables in Glue, the state in DynamoDB, queues in SQS, files in S3.

use std::{
    collections::BTreeMap, error::Error, num::NonZeroU32, ops::Range, sync::Arc, time::Duration,
};

use aws_config::SdkConfig;
use aws_sdk_glue::types::{DatabaseInput, StorageDescriptor, TableInput};
use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::{
    TableCreation,
    spec::{
        DataContentType, DataFileBuilder, DataFileFormat, NestedField, PrimitiveType, Schema,
        Struct, Type,
    },
};
use icepress_catalog::metadata::stage_new_table;
use icepress_coordination::create_state_table;
use icepress_model::{
    BucketCount, CatalogName, Namespace, SpecId, TableId, WorkerId, ambient::Ambient,
};
use icepress_service::{
    Context, Deadline, Handled, LogObserver, handle,
    open::{self, CloudEnvironment},
    tick,
};
use icepress_storage::{
    AwsEnvironment, PutMode, RequestTotals, S3Options, StorageRouter, WriteOptions,
    conformance::emulator::{Emulator, EmulatorKind},
};
use icepress_table::{
    CommitContext, CommitPolicy,
    append::{AddedFile, append_files},
};
use icepress_tests::{Row, write_rows};

const BUCKETS: NonZeroU32 = NonZeroU32::new(8).unwrap();
const DATABASES: usize = 10;
const LAKE: &str = "lake";
const STATE: &str = "icepress-state";
/// Small files that a changed table gets: enough to be worth a rewrite.
const NEW_FILES: i64 = 6;
/// Requests of the set-up under way at once.
const AT_ONCE: usize = 8;
/// Tables that Glue gives at a time.
const GLUE_PAGE: usize = 100;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The emulator, what is deployed on it, and who counts.
pub(super) struct World {
    context: Context,
    aws: AwsEnvironment,
    /// For files that nobody should count.
    aside: Arc<StorageRouter>,
    tables: Vec<TableId>,
    _emulator: Emulator,
}

impl World {
    /// So many empty tables, all of them looked at and settled.
    pub(super) async fn new(tables: usize) -> Outcome<Self> {
        let emulator = Emulator::start(EmulatorKind::Moto).ok_or("run tests/venv first")?;
        let config = emulator.config().await;
        let ambient = Ambient::system();
        prepare(&config, &ambient).await?;
        let aside = StorageRouter::new(
            emulator.environment().await,
            S3Options::default(),
            ambient.clone(),
        );
        let aside = Arc::new(aside);
        let tables: Vec<TableId> = (0..tables).map(table).collect();
        let glue = aws_sdk_glue::Client::new(&config);
        futures::stream::iter(&tables)
            .map(Ok)
            .try_for_each_concurrent(AT_ONCE, |table| make_table(&glue, &aside, &ambient, table))
            .await?;

        let aws = emulator.environment().await;
        let environment = CloudEnvironment {
            state_table: STATE.to_owned(),
            buckets: BucketCount(BUCKETS),
            queue_url_template: format!("{}/123456789012/tasks-{{bucket}}", emulator.endpoint()),
            payload_location: format!("s3://{LAKE}/icepress"),
            catalogs: BTreeMap::from([(
                "glue".to_owned(),
                BTreeMap::from([("type".to_owned(), "glue".to_owned())]),
            )]),
            memory_mebibytes: None,
            times: Default::default(),
            limits: Default::default(),
        };
        let observer = Arc::new(LogObserver);
        let worker = WorkerId::from("bench");
        let context = open::cloud(environment, &aws, worker, ambient, observer).await?;
        let world = Self {
            context,
            aws,
            aside,
            tables,
            _emulator: emulator,
        };
        // The first round looks at every table, the second notes that nothing moved.
        world.round().await?;
        world.round().await?;
        Ok(world)
    }

    /// A foreign writer appends small files to some tables.
    pub(super) async fn append_to(&self, tables: Range<usize>) -> Outcome<()> {
        let writer = CommitContext {
            catalog: Arc::clone(&self.context.catalogs.get(&"glue".into())?.catalog),
            storage: Arc::clone(&self.aside) as Arc<dyn icepress_storage::Storage>,
            ambient: self.context.ambient.clone(),
            policy: CommitPolicy::default(),
        };
        for table in &self.tables[tables] {
            let mut added = Vec::new();
            for number in 0..NEW_FILES {
                let content = write_rows(&[Row::numbered(number, "eu")]);
                let path = format!("{}/data/{number}.parquet", location(table));
                let size = content.len() as u64;
                let (mode, options) = (PutMode::CreateOnly, WriteOptions::default());
                icepress_storage::Storage::put(&*self.aside, &path, content, mode, &options)
                    .await?;
                let file = DataFileBuilder::default()
                    .content(DataContentType::Data)
                    .file_path(path)
                    .file_format(DataFileFormat::Parquet)
                    .partition(Struct::empty())
                    .record_count(1)
                    .file_size_in_bytes(size)
                    .partition_spec_id(0)
                    .build()?;
                added.push(AddedFile {
                    spec_id: SpecId(0),
                    file,
                });
            }
            append_files(&writer, table, &added).await?;
        }
        Ok(())
    }

    /// One tick, and all the work that it queued; the requests of both.
    pub(super) async fn round(&self) -> Outcome<RequestTotals> {
        let before = self.aws.ledger().totals();
        tick(&self.context, Deadline::NONE).await?;
        for bucket in self.context.settings.buckets.all() {
            loop {
                let visibility = self.context.settings.claim_ttl;
                let queue = &self.context.queue;
                let received = queue
                    .receive(bucket, 10, Duration::ZERO, visibility)
                    .await?;
                if received.is_empty() {
                    break;
                }
                for received in received {
                    match handle(&self.context, &received.message, Deadline::NONE).await? {
                        Handled::Done => queue.delete(&received).await?,
                        Handled::Again(_) => return Err("a task was given back".into()),
                    }
                }
            }
        }
        let mut requests = self.aws.ledger().since(&before);
        // The mapping's own polls, here and on AWS.
        requests.remove("SQS.ReceiveMessage");
        let listed = requests.get("Glue.GetTables").copied().unwrap_or(0);
        if listed > 0 {
            let pages = self.tables.len().div_ceil(GLUE_PAGE) as u64;
            requests.insert("Glue.GetTables".to_owned(), listed.max(pages));
        }
        Ok(requests)
    }
}

fn table(number: usize) -> TableId {
    TableId {
        catalog: CatalogName::from("glue"),
        namespace: Namespace::from_dotted(&format!("db{}", number % DATABASES)),
        name: format!("t{number:05}"),
    }
}

fn location(table: &TableId) -> String {
    format!("s3://{LAKE}/{}/{}", table.namespace, table.name)
}

/// The bucket, the state table, the queues and the databases.
async fn prepare(config: &SdkConfig, ambient: &Ambient) -> Outcome<()> {
    let s3 = aws_sdk_s3::config::Builder::from(config).force_path_style(true);
    aws_sdk_s3::Client::from_conf(s3.build())
        .create_bucket()
        .bucket(LAKE)
        .send()
        .await?;
    create_state_table(&aws_sdk_dynamodb::Client::new(config), STATE, ambient).await?;
    let sqs = aws_sdk_sqs::Client::new(config);
    for bucket in 0..BUCKETS.get() {
        for name in [format!("tasks-{bucket}"), format!("tasks-{bucket}-dlq")] {
            sqs.create_queue().queue_name(name).send().await?;
        }
    }
    let glue = aws_sdk_glue::Client::new(config);
    for number in 0..DATABASES {
        let input = DatabaseInput::builder()
            .name(format!("db{number}"))
            .build()?;
        glue.create_database().database_input(input).send().await?;
    }
    Ok(())
}

async fn make_table(
    glue: &aws_sdk_glue::Client,
    storage: &StorageRouter,
    ambient: &Ambient,
    table: &TableId,
) -> Outcome<()> {
    let text =
        |id, name: &str| NestedField::optional(id, name, Type::Primitive(PrimitiveType::String));
    let schema = Schema::builder()
        .with_fields([
            NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)).into(),
            text(2, "region").into(),
            text(3, "note").into(),
        ])
        .build()?;
    let creation = TableCreation::builder()
        .name(table.name.clone())
        .location(location(table))
        .schema(schema)
        .build();
    let staged = stage_new_table(storage, ambient, table, creation).await?;
    let input = TableInput::builder()
        .name(&table.name)
        .table_type("EXTERNAL_TABLE")
        .storage_descriptor(
            StorageDescriptor::builder()
                .location(location(table))
                .build(),
        )
        .parameters("table_type", "ICEBERG")
        .parameters("metadata_location", staged.location.as_str())
        .build()?;
    glue.create_table()
        .database_name(table.namespace.to_string())
        .table_input(input)
        .send()
        .await?;
    Ok(())
}
