//! What a command works with: the configured catalog, the state file, and the service on top of them.

use std::{path::PathBuf, sync::Arc, time::Duration};

use icepress_catalog::{
    CatalogError,
    config::{CatalogKind, Configuration, ConfigurationError, Sources, load_configuration},
};
use icepress_model::{
    CatalogName, DatabaseId, Namespace, Scope, TableId, WorkerId, ambient::Ambient,
};
use icepress_service::{
    CommitGate, Context, FileSettings, Observer, Settings, Times,
    embedded::Stop,
    open::{self, CloudEnvironment, OpenError},
};
use icepress_storage::AwsEnvironment;

use crate::{
    arguments::GlobalArguments,
    environment::Environment,
    failure::Failure,
    names,
    progress::{Reporter, Screen},
    stop,
};

/// Iceberg's own name for the property that turns commit locks on.
const LOCK: &str = "lock-impl";

/// Everything that a command needs.
#[derive(Debug)]
pub(crate) struct Session {
    /// The service.
    pub(crate) context: Context,
    /// The chosen catalog.
    pub(crate) catalog: CatalogName,
    /// The tables that were named, in that order.
    pub(crate) tables: Vec<TableId>,
    /// Groups to rewrite at the same time.
    pub(crate) threads: usize,
    /// Whether JSON was asked for.
    pub(crate) json: bool,
    /// Set by SIGINT and SIGTERM.
    pub(crate) stop: Stop,
    /// Where people are told things.
    pub(crate) screen: Screen,
    /// What is odd about the configuration.
    pub(crate) warnings: Vec<String>,
    /// Catalogs that others may write under a commit lock, and we do not.
    pub(crate) unlocked: Vec<CatalogName>,
}

/// Where state and catalogs are.
enum Deployment {
    /// On this machine: a state file, and catalogs from the person's configuration.
    Here(PathBuf),
    /// Where the functions are deployed.
    Deployed(Box<CloudEnvironment>),
}

impl Session {
    /// The chosen catalog, or one of its databases.
    pub(crate) fn scope(&self, database: Option<&str>) -> Scope {
        let catalog = self.catalog.clone();
        match database {
            Some(database) => Scope::Database(DatabaseId {
                catalog,
                namespace: Namespace::from_dotted(database),
            }),
            None => Scope::Catalog(catalog),
        }
    }

    /// Reads the configuration and opens state and catalogs: the chosen one, and those that table names begin with; where the
    /// command looks around, the others too, as far as they can be opened.
    pub(crate) async fn open(
        global: &GlobalArguments,
        environment: &Environment,
        screen: Screen,
        names: &[&str],
        looks_around: bool,
    ) -> Result<Self, Failure> {
        let (mut configuration, place) = if global.deployed {
            let deployed = CloudEnvironment::read(&environment.variables)
                .map_err(|error| Failure::Use(format!("--deployed: {error}")))?;
            (
                deployed.configuration(),
                Deployment::Deployed(Box::new(deployed)),
            )
        } else {
            let state_file = environment.state_file(global.state_file.as_deref())?;
            (
                read_configuration(global, environment)?,
                Deployment::Here(state_file),
            )
        };
        for warning in &configuration.warnings {
            screen.line(format!("warning: {warning}"));
        }
        let file = FileSettings::read(&configuration).map_err(wrong_configuration)?;
        let asked_for = global.catalog.as_deref();
        let catalog = configuration
            .catalog(asked_for.unwrap_or(configuration.default_catalog.as_str()))
            .map_err(wrong_configuration)?
            .name()
            .clone();
        let tables = names
            .iter()
            .map(|name| {
                names::table(name, &catalog, |first| {
                    configuration.catalogs.contains_key(first)
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        // The others need not even be reachable.
        let all = configuration.catalogs.clone();
        configuration.catalogs.retain(|name, _| {
            *name == catalog || tables.iter().any(|table| table.catalog == *name)
        });

        let stop = Stop::default();
        let commits = CommitGate::default();
        stop::on_signals(&stop, &commits, &screen)?;
        let ambient = Ambient::system();
        let observer: Arc<dyn Observer> = Reporter::start(screen.clone(), global.verbose, &ambient);
        let worker = WorkerId(format!("icepress-{}", ambient.uuid().simple()));
        let catalogs = configuration.catalogs.values();
        let unlocked = catalogs
            .clone()
            .filter(|properties| {
                matches!(
                    properties.kind(),
                    Ok(CatalogKind::Glue | CatalogKind::Hadoop)
                ) && properties.get(LOCK).is_none()
            })
            .map(|properties| properties.name().clone())
            .collect();
        let opened = match place {
            Deployment::Here(state_file) => {
                let mut settings = Settings::embedded(worker);
                Times::read(&environment.variables)
                    .map_err(|error| Failure::Use(error.to_string()))?
                    .apply(&mut settings);
                settings.limits = Arc::new(file.limits);
                settings.plan_defaults = Arc::new(file.plan);
                settings.maintain = Arc::new(file.maintain);
                settings.modes = Arc::new(file.mode);
                open::embedded(&state_file, catalogs, settings, ambient, observer).await
            }
            Deployment::Deployed(deployed) => {
                let aws = AwsEnvironment::new();
                open::cloud(*deployed, &aws, worker, ambient, observer).await
            }
        };
        let mut context = opened.map_err(failure_to_open)?;
        if looks_around && !global.deployed {
            let others = all
                .values()
                .filter(|it| !configuration.catalogs.contains_key(it.name()));
            open::look_around(&mut context, others).await;
        }
        context.commits = commits;
        let settings = Arc::make_mut(&mut context.settings);
        settings.memory_cap = global.memory;
        settings.plan.verify_rows = global.verify_rows;
        Ok(Self {
            context,
            catalog,
            tables,
            threads: global.threads(),
            json: global.json,
            stop,
            screen,
            warnings: configuration.warnings,
            unlocked,
        })
    }

    /// The table that was named, for commands that take one.
    pub(crate) fn table(&self) -> Result<&TableId, Failure> {
        self.tables
            .first()
            .ok_or_else(|| Failure::Use("no table was named".to_owned()))
    }

    /// Waits, but not after somebody asked for the end.
    pub(crate) async fn rest(&self, time: Duration) {
        const GLANCE: Duration = Duration::from_millis(200);
        let clock = &self.context.ambient.clock;
        let until = clock.monotonic() + time;
        while !self.stop.requested() && clock.monotonic() < until {
            clock.sleep(GLANCE).await;
        }
    }
}

fn read_configuration(
    global: &GlobalArguments,
    environment: &Environment,
) -> Result<Configuration, Failure> {
    let sources = Sources::read(
        environment.variables.clone(),
        &environment.working_directory,
        global.config.as_deref(),
    )
    .map_err(wrong_configuration)?;
    load_configuration(&sources).map_err(wrong_configuration)
}

/// Catalogs that can't be reached may be tomorrow; the rest is for the person to change.
fn failure_to_open(error: OpenError) -> Failure {
    match error {
        OpenError::Catalog(CatalogError::Throttled { .. } | CatalogError::Unavailable { .. }) => {
            Failure::work(error)
        }
        error => Failure::Use(error.to_string()),
    }
}

fn wrong_configuration(error: ConfigurationError) -> Failure {
    Failure::Use(error.to_string())
}
