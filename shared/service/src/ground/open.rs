//! Putting a [`Context`] together: on AWS from a function's environment, on a laptop from a state file and catalogs.

mod environment;

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use icepress_catalog::{
    Catalog, CatalogError, DynamoDbCatalog, HadoopCatalog, SqlCatalog,
    config::{CatalogKind, CatalogProperties, ConfigurationError},
};
use icepress_catalog_glue::GlueCatalog;
use icepress_catalog_rest::{HttpClient, RestCatalog, Secrets};
use icepress_coordination::{
    CoordinationError, DynamoStore, Errands, SqliteFile, SqliteOptions, SqsErrands, SqsQueue,
    TaskQueue,
};
use icepress_model::{WorkerId, ambient::Ambient};
use icepress_storage::{AwsEnvironment, Reach, S3Options, Storage, StorageRouter};
use thiserror::Error;

use crate::{
    Catalogs, CommitGate, Context, Deadline, ListedHere, Observer, OpenCatalog, PlacedHere,
    PlanRoom, Settings, TakenOut,
};
pub use environment::{CloudEnvironment, EnvironmentError};

/// What failed at start.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The configuration of a catalog is wrong.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// A catalog can't be opened.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The state store or the queues can't be opened.
    #[error(transparent)]
    Coordination(#[from] CoordinationError),
}

/// The environment's variables, read once. Values that are not Unicode are left out.
pub fn variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Logs as JSON lines on standard output, as functions do; `RUST_LOG` chooses what.
pub fn start_logging() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_current_span(false)
        .init();
}

/// The deadline of a Lambda invocation, which comes as milliseconds of the wall clock.
pub fn deadline_of(context: &Context, deadline_ms: u64) -> Deadline {
    let now = u64::try_from(context.ambient.now().get()).unwrap_or(0);
    Deadline::after(
        &context.ambient,
        Duration::from_millis(deadline_ms.saturating_sub(now)),
    )
}

/// The name of a function's instance, which no other has.
pub fn function_worker(ambient: &Ambient) -> WorkerId {
    WorkerId(format!("function-{}", ambient.uuid().simple()))
}

/// On AWS: DynamoDB, SQS, S3 and the configured catalogs, with credentials of whoever calls. All requests are counted in
/// the ledger of `aws`. Deletes nothing: the functions' roles may not.
pub async fn cloud(
    environment: CloudEnvironment,
    aws: &AwsEnvironment,
    worker: WorkerId,
    ambient: Ambient,
    observer: Arc<dyn Observer>,
) -> Result<Context, OpenError> {
    in_cloud(environment, aws, worker, ambient, observer, false).await
}

/// The same for the one function whose role may delete.
pub async fn cloud_to_clean(
    environment: CloudEnvironment,
    aws: &AwsEnvironment,
    worker: WorkerId,
    ambient: Ambient,
    observer: Arc<dyn Observer>,
) -> Result<Context, OpenError> {
    in_cloud(environment, aws, worker, ambient, observer, true).await
}

async fn in_cloud(
    environment: CloudEnvironment,
    aws: &AwsEnvironment,
    worker: WorkerId,
    ambient: Ambient,
    observer: Arc<dyn Observer>,
    may_delete: bool,
) -> Result<Context, OpenError> {
    let configured = environment.configuration().catalogs;
    let mut settings = Settings::cloud(worker, environment.buckets, environment.payload_location);
    settings.limits = Arc::new(environment.limits);
    settings.plan_defaults = Arc::new(environment.plan);
    settings.maintain = Arc::new(environment.maintain);
    settings.modes = Arc::new(environment.modes);
    settings.may_delete = may_delete;
    let memory = environment.optimizer_memory_mebibytes;
    settings = settings
        .with_memory(environment.memory_mebibytes)
        .with_optimizer(memory, environment.optimizer_limit);
    environment.times.apply(&mut settings);
    let aws = &aws.clone().with_limits(settings.requests);
    let payloads = StorageRouter::new(
        aws.clone(),
        S3Options::default(),
        Reach::s3(),
        ambient.clone(),
    );
    let store = DynamoStore::new(
        aws_sdk_dynamodb::Client::from_conf(
            aws_sdk_dynamodb::config::Builder::from(aws.config().await)
                .interceptor(aws.ledger().clone())
                .build(),
        ),
        environment.state_table,
        ambient.clone(),
    );
    let sqs = aws_sdk_sqs::Client::from_conf(
        aws_sdk_sqs::config::Builder::from(aws.config().await)
            .interceptor(aws.ledger().clone())
            .build(),
    );
    let queue = SqsQueue::new(sqs.clone(), environment.queue_url_template);
    let cleaners = environment
        .cleaner_url
        .map(|url| Arc::new(SqsQueue::one_for_all(sqs.clone(), url)) as Arc<dyn TaskQueue>);
    let errands = environment
        .errands_url
        .map(|url| Arc::new(SqsErrands::new(sqs, url)) as Arc<dyn Errands>);
    let ground = Ground::of(Disk::None, &settings);
    let catalogs = open_all(configured.values(), aws, ground, &ambient).await?;
    Ok(Context {
        ambient,
        store: Arc::new(store),
        queue: Arc::new(queue),
        cleaners,
        errands,
        catalogs,
        payloads: Arc::new(payloads),
        settings: Arc::new(settings),
        observer,
        commits: CommitGate::default(),
        plans: PlanRoom::default(),
        listed: ListedHere::default(),
        taken: TakenOut::default(),
        placed: PlacedHere::default(),
    })
}

/// On one machine: state and queues in one SQLite file.
pub async fn embedded<'a>(
    state_file: &Path,
    configured: impl IntoIterator<Item = &'a CatalogProperties>,
    settings: Settings,
    ambient: Ambient,
    observer: Arc<dyn Observer>,
) -> Result<Context, OpenError> {
    let file = SqliteFile::open(state_file, SqliteOptions::default(), ambient.clone()).await?;
    let aws = AwsEnvironment::new().with_limits(settings.requests);
    let payloads = StorageRouter::new(
        aws.clone(),
        S3Options::default(),
        Reach::local(),
        ambient.clone(),
    );
    let ground = Ground::of(Disk::Here, &settings);
    let catalogs = open_all(configured, &aws, ground, &ambient).await?;
    Ok(Context {
        ambient,
        store: Arc::new(file.store()),
        queue: Arc::new(file.queue()),
        // Who works here may delete.
        cleaners: Some(Arc::new(file.queue())),
        errands: None,
        catalogs,
        payloads: Arc::new(payloads),
        settings: Arc::new(settings),
        observer,
        commits: CommitGate::default(),
        plans: PlanRoom::default(),
        listed: ListedHere::default(),
        taken: TakenOut::default(),
        placed: PlacedHere::default(),
    })
}

/// Opens more catalogs for who only wants to look around from one machine. One that can't be opened keeps none of the others,
/// and is named among those that could not be.
pub async fn look_around<'a>(
    context: &mut Context,
    configured: impl IntoIterator<Item = &'a CatalogProperties>,
) {
    let aws = AwsEnvironment::new().with_limits(context.settings.requests);
    let ground = Ground::of(Disk::Here, &context.settings);
    for properties in configured {
        let opened = open_all([properties], &aws, ground, &context.ambient).await;
        let name = properties.name();
        let opened = opened
            .map_err(|error| error.to_string())
            .and_then(|catalogs| {
                catalogs
                    .get(name)
                    .cloned()
                    .map_err(|error| error.to_string())
            });
        context.catalogs.add(name.clone(), opened);
    }
}

/// What catalogs are opened on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ground {
    disk: Disk,
    /// [`Settings::may_delete`].
    may_delete: bool,
}

impl Ground {
    fn of(disk: Disk, settings: &Settings) -> Self {
        Self {
            disk,
            may_delete: settings.may_delete,
        }
    }
}

/// Whether there is a local disk that a catalog may have its files on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    /// This machine's.
    Here,
    /// A function has one, which goes with it, and on which lies what is nobody's business.
    None,
}

async fn open_all<'a>(
    configured: impl IntoIterator<Item = &'a CatalogProperties>,
    aws: &AwsEnvironment,
    ground: Ground,
    ambient: &Ambient,
) -> Result<Catalogs, OpenError> {
    let mut open = Vec::new();
    let http = HttpClient::new(*aws.limits());
    let secrets = Secrets {
        http: &http,
        aws,
        ambient,
    };
    for properties in configured {
        let properties = secrets.resolve(properties).await?;
        open.push(open_catalog(&properties, aws, &http, ground, ambient).await?);
    }
    Ok(Catalogs::new(open))
}

/// Opens one catalog by its `type`, with a storage of its own.
async fn open_catalog(
    properties: &CatalogProperties,
    aws: &AwsEnvironment,
    http: &HttpClient,
    ground: Ground,
    ambient: &Ambient,
) -> Result<OpenCatalog, OpenError> {
    // All of the catalog's AWS is reached as one caller, but for its tables' files where they have keys of their own.
    let aws = aws.with_keys(properties.client_keys()?);
    let aws = match properties.assumed_role()? {
        None => aws,
        Some(role) => aws.assuming(role),
    };
    let aws = &aws;
    let for_files = aws.with_keys(properties.file_keys()?);
    // The one place that says where this catalog's files may lie: all that is opened for it is opened within this.
    let reach = properties.reach(ground.disk == Disk::Here)?;
    let (options, within) = (properties.s3_options()?, reach.clone());
    let router = StorageRouter::new(for_files, options, within, ambient.clone());
    let storage: Arc<dyn Storage> = Arc::new(router.that_deletes(ground.may_delete));
    let catalog: Arc<dyn Catalog> = match properties.kind()? {
        CatalogKind::Sql => Arc::new(
            SqlCatalog::connect(
                properties,
                Arc::clone(&storage),
                aws.limits(),
                ambient.clone(),
            )
            .await?,
        ),
        CatalogKind::DynamoDb => Arc::new(
            DynamoDbCatalog::connect(properties, aws, Arc::clone(&storage), ambient.clone()).await,
        ),
        CatalogKind::Hadoop => {
            let connected =
                HadoopCatalog::connect(properties, aws, Arc::clone(&storage), ambient.clone());
            Arc::new(connected.await?)
        }
        CatalogKind::Glue => {
            let connected =
                GlueCatalog::connect(properties, aws, Arc::clone(&storage), ambient.clone());
            Arc::new(connected.await?)
        }
        CatalogKind::Rest => Arc::new(RestCatalog::connect(
            properties,
            aws,
            http,
            reach,
            ambient.clone(),
        )?),
    };
    Ok(OpenCatalog { catalog, storage })
}

#[cfg(test)]
mod tests;
