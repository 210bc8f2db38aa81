//! What a command works with: the configured catalog, the state file, and the service on top of them.

use std::{sync::Arc, time::Duration};

use icepress_catalog::{
    CatalogError,
    config::{Configuration, ConfigurationError, Sources, load_configuration},
};
use icepress_model::{CatalogName, TableId, WorkerId, ambient::Ambient};
use icepress_service::{Context, Observer, Settings, embedded::Stop, open, open::OpenError};

use crate::{
    arguments::GlobalArguments,
    environment::Environment,
    failure::Failure,
    names,
    progress::{Reporter, Screen},
    stop,
};

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
}

impl Session {
    /// Reads the configuration and opens state and catalogs: the chosen one, and those that table names begin with.
    pub(crate) async fn open(
        global: &GlobalArguments,
        environment: &Environment,
        screen: Screen,
        names: &[&str],
    ) -> Result<Self, Failure> {
        let mut configuration = read_configuration(global, environment)?;
        for warning in &configuration.warnings {
            screen.line(format!("warning: {warning}"));
        }
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
        configuration.catalogs.retain(|name, _| {
            *name == catalog || tables.iter().any(|table| table.catalog == *name)
        });

        let state_file = environment.state_file(global.state.as_deref())?;
        let stop = Stop::default();
        stop::on_signals(&stop, &screen)?;
        let ambient = Ambient::system();
        let observer = Reporter::start(screen.clone(), global.verbose, &ambient);
        let observer: Arc<dyn Observer> = observer;
        let worker = WorkerId(format!("icepress-{}", ambient.uuid().simple()));
        let settings = Settings {
            memory_cap: global.memory,
            ..Settings::embedded(worker)
        };
        let catalogs = configuration.catalogs.values();
        let context = open::embedded(&state_file, catalogs, settings, ambient, observer)
            .await
            .map_err(failure_to_open)?;
        Ok(Self {
            context,
            catalog,
            tables,
            threads: global.threads(),
            json: global.json,
            stop,
            screen,
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
        OpenError::Catalog(CatalogError::Unavailable { .. }) => Failure::work(error),
        error => Failure::Use(error.to_string()),
    }
}

fn wrong_configuration(error: ConfigurationError) -> Failure {
    Failure::Use(error.to_string())
}
