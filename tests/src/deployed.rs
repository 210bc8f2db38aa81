//! A deployed Icepress with many settled tables, whose requests to AWS are counted: Glue, S3 and SQS are moto's, with the
//! very adapters that functions use.
//!
//! The state is in the simulated DynamoDB, in the same process, which the conformance suite holds to what the real one
//! promises: moto copies a whole table for each transaction, so that ten thousand tables would take it days.

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
use icepress_catalog::{config::CatalogProperties, metadata::stage_new_table};
use icepress_coordination::{DynamoStore, create_state_table};
use icepress_model::{
    BucketCount, CatalogName, Namespace, SpecId, TableId, WorkerId, ambient::Ambient,
};
use icepress_service::{
    Context, Deadline, Handled, LogObserver, handle,
    open::{self, CloudEnvironment},
    tick,
};
use icepress_simulation::{connector::Aws, dynamo::Dynamo, network::Network, sqs::Sqs};
use icepress_storage::{
    AwsEnvironment, PutMode, Reach, RequestTotals, S3Options, StorageRouter, WriteOptions,
    conformance::emulator::{Emulator, EmulatorKind},
};
use icepress_table::{CommitContext, CommitPolicy};
use icepress_writer::{AddedFile, append_files};

use crate::{Row, write_rows};

const BUCKETS: NonZeroU32 = NonZeroU32::new(8).unwrap();
/// Databases that the tables are spread over.
pub const DATABASES: usize = 10;
const LAKE: &str = "lake";
const STATE: &str = "icepress-state";
/// Small files that a changed table gets: enough to be worth a rewrite.
const NEW_FILES: i64 = 6;
/// Requests of the set-up under way at once.
const AT_ONCE: usize = 8;
/// Tables that Glue gives at a time.
const GLUE_PAGE: usize = 100;

/// What may fail here fails for many reasons, all of them to be printed.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// The emulator, what is deployed on it, and who counts.
#[derive(Debug)]
pub struct World {
    context: Context,
    aws: AwsEnvironment,
    /// For files that nobody should count.
    aside: Arc<StorageRouter>,
    glue: aws_sdk_glue::Client,
    tables: Vec<TableId>,
    _emulator: Emulator,
}

impl World {
    /// So many empty tables, all of them looked at and settled.
    pub async fn new(tables: usize) -> Outcome<Self> {
        let emulator = Emulator::start(EmulatorKind::Moto).ok_or("run tests/venv first")?;
        let config = emulator.config().await;
        let ambient = Ambient::system();
        prepare(&config).await?;
        let aside = StorageRouter::new(
            emulator.environment().await,
            S3Options::default(),
            Reach::s3(),
            ambient.clone(),
        );
        let aside = Arc::new(aside);
        let aws = emulator.environment().await;
        let environment = CloudEnvironment {
            state_table: STATE.to_owned(),
            buckets: BucketCount(BUCKETS),
            queue_url_template: format!("{}/123456789012/tasks-{{bucket}}", emulator.endpoint()),
            errands_url: None,
            cleaner_url: None,
            maintain: Default::default(),
            modes: Default::default(),
            payload_location: format!("s3://{LAKE}/icepress"),
            catalogs: BTreeMap::from([(
                CatalogName::from("glue"),
                CatalogProperties::of(
                    CatalogName::from("glue"),
                    [("type".to_owned(), "glue".to_owned())],
                ),
            )]),
            memory_mebibytes: None,
            times: Default::default(),
            optimizer_memory_mebibytes: None,
            optimizer_limit: None,
            plan: icepress_planner::PlanDefaults::default(),
            limits: Default::default(),
            deployment: None,
        };
        let observer = Arc::new(LogObserver);
        let worker = WorkerId::from("bench");
        let opened = open::cloud(environment, &aws, worker, ambient.clone(), observer).await?;
        let store = simulated_state(&aws, &ambient).await?;
        let context = Context {
            store: Arc::new(store),
            ..opened
        };
        let mut world = Self {
            context,
            aws,
            aside,
            glue: aws_sdk_glue::Client::new(&config),
            tables: Vec::new(),
            _emulator: emulator,
        };
        world.add(tables).await?;
        Ok(world)
    }

    /// So many empty tables more, and all of them looked at and settled.
    pub async fn add(&mut self, tables: usize) -> Outcome<()> {
        let known = self.tables.len();
        self.tables.extend((known..known + tables).map(table));
        let (glue, aside, ambient) = (&self.glue, &self.aside, &self.context.ambient);
        futures::stream::iter(&self.tables[known..])
            .map(Ok)
            .try_for_each_concurrent(AT_ONCE, |table| make_table(glue, aside, ambient, table))
            .await?;
        // The first round looks at every new table, the second notes that nothing moved.
        self.round().await?;
        self.round().await?;
        Ok(())
    }

    /// How many tables it knows anything of.
    pub async fn known(&self) -> Outcome<usize> {
        Ok(self.context.store.tables().await?.len())
    }

    /// A foreign writer appends small files to some tables.
    pub async fn append_to(&self, tables: Range<usize>) -> Outcome<()> {
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
    pub async fn round(&self) -> Outcome<RequestTotals> {
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
        Ok(requests)
    }

    /// The same as Glue would have it, which gives at most a hundred tables at a time where moto gives all of a database.
    pub async fn round_by_pages(&self) -> Outcome<RequestTotals> {
        let mut requests = self.round().await?;
        if let Some(listings) = requests.get_mut("Glue.GetTables") {
            let pages = self.tables.len().div_ceil(GLUE_PAGE) as u64;
            *listings = (*listings).max(pages);
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

/// An empty state, whose requests count among those of `aws`.
async fn simulated_state(aws: &AwsEnvironment, ambient: &Ambient) -> Outcome<DynamoStore> {
    let network = Network::direct();
    let dynamo = Dynamo::new(Arc::clone(&ambient.clock), Arc::clone(&network));
    let sqs = Sqs::new(Arc::clone(&ambient.clock), Arc::clone(&network));
    let client = Aws::new(&dynamo, &sqs, &network, "functions").dynamodb_client(&ambient.clock);
    create_state_table(&client, STATE, ambient).await?;
    let counted = client.config().to_builder();
    let counted = counted.interceptor(aws.ledger().clone()).build();
    let client = aws_sdk_dynamodb::Client::from_conf(counted);
    Ok(DynamoStore::new(client, STATE, ambient.clone()))
}

/// The bucket, the queues and the databases.
async fn prepare(config: &SdkConfig) -> Outcome<()> {
    let s3 = aws_sdk_s3::config::Builder::from(config).force_path_style(true);
    aws_sdk_s3::Client::from_conf(s3.build())
        .create_bucket()
        .bucket(LAKE)
        .send()
        .await?;
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
