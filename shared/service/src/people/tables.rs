//! What people ask about one table, or have done to it: list, plan, compact, explain, verify.

mod list;
mod verify;

use iceberg::spec::{TableMetadata, Transform};
use icepress_catalog::CatalogError;
use icepress_coordination::{CoordinationError, Lease, ProcessRow, ProcessState, TableRow};
use icepress_model::{BucketId, ProcessId, ProcessKind, ProcessOutcome, TableId, TablePlan};
use icepress_planner::{PlanError, PlanOptions};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use thiserror::Error;

use crate::{
    Context, Deadline, EvaluateError, Ruling, Settings, Waiting,
    embedded::{Collector, Stop, TableReport, optimize_all},
    scheduler::{
        evaluate,
        limits::Blockers,
        sweep,
        visit::{Depth, Visit},
    },
};
pub use list::{KnownTable, KnownTables, Wanted};
pub use verify::{Verification, VerifyError, verify};

/// What failed.
#[derive(Debug, Error)]
pub enum TableError {
    /// The table could not be looked at.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The state store or a queue failed.
    #[error(transparent)]
    Coordination(#[from] CoordinationError),
    /// Another scheduler holds the table's bucket and did not let go in time.
    #[error("table {0}: its bucket is held by another scheduler; try again later")]
    BucketHeld(TableId),
}

impl From<CatalogError> for TableError {
    fn from(error: CatalogError) -> Self {
        Self::Evaluate(EvaluateError::Catalog(error))
    }
}

/// The plan that a run would make now. Nothing is written.
pub async fn plan(context: &Context, table: &TableId) -> Result<TablePlan, EvaluateError> {
    let (_, plan) = evaluate::evaluate(context, table).await?;
    Ok(plan)
}

/// The mode of a table, and who set it: by its own properties as they are now.
pub async fn ruling(context: &Context, table: &TableId) -> Result<Ruling, EvaluateError> {
    let loaded = evaluate::load(context, table).await?;
    let ruling = context
        .settings
        .modes
        .of(table, loaded.metadata.properties());
    Ok(ruling.map_err(PlanError::from)?)
}

/// Why a table is as it is.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The plan that a run would make now, with a reason for each partition.
    pub plan: TablePlan,
    /// What is known of the table.
    pub row: Option<TableRow>,
    /// What of the state could not be read: the rest stands without it.
    pub unread: Vec<String>,
    /// Its last processes, newest first.
    pub processes: Vec<ProcessRow>,
    /// Whether it is only observed, and who set that.
    pub ruling: Ruling,
    /// The order that the table wants its rows in, which a rewrite does not make; `None` where it wants none.
    pub sort_order: Option<String>,
}

/// Processes that an explanation shows.
const EXPLAINED_PROCESSES: usize = 10;

/// Plan, state and history of a table. Nothing is written.
pub async fn explain(context: &Context, table: &TableId) -> Result<Explanation, TableError> {
    let (loaded, plan) = evaluate::evaluate(context, table).await?;
    let properties = loaded.metadata.properties();
    let ruling = context.settings.modes.of(table, properties);
    let ruling = ruling.map_err(|error| EvaluateError::from(PlanError::from(error)))?;
    let mut unread = Vec::new();
    let row = context.store.table(table).await.unwrap_or_else(|error| {
        unread.push(format!("what is known of table {table}: {error}"));
        None
    });
    let processes = context.store.processes_of(table, EXPLAINED_PROCESSES).await;
    let processes = processes.unwrap_or_else(|error| {
        unread.push(format!("processes of table {table}: {error}"));
        Vec::new()
    });
    Ok(Explanation {
        plan,
        ruling,
        sort_order: sort_order(&loaded.metadata),
        row,
        unread,
        processes,
    })
}

/// The table's own sort order, in the words of its fields.
fn sort_order(metadata: &TableMetadata) -> Option<String> {
    let order = metadata.default_sort_order();
    let schema = metadata.current_schema();
    let fields: Vec<String> = order
        .fields
        .iter()
        .map(|field| {
            let name = schema.name_by_field_id(field.source_id);
            let name = name.map_or_else(|| format!("field {}", field.source_id), str::to_owned);
            match field.transform {
                Transform::Identity => format!("{name} {}", field.direction),
                transform => format!("{transform}({name}) {}", field.direction),
            }
        })
        .collect();
    (!fields.is_empty()).then(|| fields.join(", "))
}

/// Compacts one table now, whether it is due or not. With `all_files`, files of a good size are rewritten too.
pub async fn compact(
    context: &Context,
    table: &TableId,
    all_files: bool,
    optimizers: usize,
    stop: &Stop,
) -> Result<TableReport, TableError> {
    let (context, collector) = Collector::beside(&with_all_files(context, all_files));
    // Wrong names and unreadable tables are told at once, before anything is written.
    evaluate::evaluate(&context, table).await?;

    let home = context.layout().await?.home_of(table);
    context
        .store
        .force_due(home, table, context.ambient.now())
        .await?;
    let mut begun = begin(&context, table).await?;
    while let Some(process) = begun.process {
        if begun.waits {
            break;
        }
        optimize_all(&context, optimizers, stop).await?;
        if stop.requested() {
            break;
        }
        match stands(&context, &process).await? {
            Stands::Answered => break,
            Stands::Elsewhere => begun = begin(&context, table).await?,
            Stands::UnderWay => {
                context
                    .ambient
                    .clock
                    .sleep(Duration::from_millis(200))
                    .await;
                begun = begin(&context, table).await?;
                begun.process = begun.process.or(Some(process));
            }
        }
    }
    let report = collector.report(&context).await;
    let of_table = report.tables.into_iter().find(|seen| seen.table == *table);
    of_table.ok_or_else(|| TableError::BucketHeld(table.clone()))
}

fn with_all_files(context: &Context, all_files: bool) -> Context {
    let settings = Settings {
        plan: PlanOptions {
            force: all_files,
            ..context.settings.plan.clone()
        },
        ..(*context.settings).clone()
    };
    Context {
        settings: Arc::new(settings),
        ..context.clone()
    }
}

/// What a look at a table leads to.
#[derive(Debug, Default)]
struct Begun {
    /// The process under way.
    process: Option<ProcessId>,
    /// Whether the table waits for something that the process is no part of.
    waits: bool,
}

/// Under the lease of the table's bucket, looks at the table: starts a process, or looks after the one under way.
async fn begin(context: &Context, table: &TableId) -> Result<Begun, TableError> {
    let lease = wait_for_lease(context, table).await?;
    let looked = look(context, &lease, table).await;
    context.store.release_lease(&lease, None).await?;
    Ok(looked?)
}

async fn look(
    context: &Context,
    lease: &Lease,
    table: &TableId,
) -> Result<Begun, CoordinationError> {
    if let Some(row) = context.store.table(table).await? {
        let catalogs = BTreeSet::from([table.catalog.clone()]);
        let blockers = Blockers::of(context, catalogs).await?;
        let visit = Visit {
            lease,
            blockers: &blockers,
            depth: &Depth::default(),
            deadline: Deadline::NONE,
            alone: true,
        };
        sweep::look_at(context, &visit, &row).await?;
    }
    let row = context.store.table(table).await?;
    Ok(row.map_or_else(Begun::default, |row| Begun {
        waits: Waiting::of(&row).is_some(),
        process: row.active_process,
    }))
}

/// Takes the bucket that the table is in, once it is free.
async fn wait_for_lease(context: &Context, table: &TableId) -> Result<Lease, TableError> {
    const BETWEEN: Duration = Duration::from_millis(250);
    let settings = &context.settings;
    let patience = settings.lease_ttl + settings.lease_guard + BETWEEN;
    let give_up = context.ambient.clock.monotonic() + patience;
    loop {
        let bucket = bucket_of(context, table).await?;
        let lease = context
            .store
            .take_lease(
                bucket,
                &settings.worker,
                context.ambient.now(),
                settings.lease_ttl,
                settings.lease_guard,
            )
            .await?;
        if let Some(lease) = lease {
            if bucket_of(context, table).await? == bucket {
                return Ok(lease);
            }
            // It moved in between.
            context.store.release_lease(&lease, None).await?;
            continue;
        }
        if context.ambient.clock.monotonic() > give_up {
            return Err(TableError::BucketHeld(table.clone()));
        }
        context.ambient.clock.sleep(BETWEEN).await;
    }
}

async fn bucket_of(context: &Context, table: &TableId) -> Result<BucketId, CoordinationError> {
    match context.store.table(table).await? {
        Some(row) => Ok(row.bucket),
        None => Ok(context.layout().await?.home_of(table).bucket),
    }
}

/// Where a process stands that somebody waits for who wants a rewrite.
enum Stands {
    /// It has ended.
    Answered,
    /// It has ended, and was none that answers the wish: it only looked at the table, or is of another kind.
    Elsewhere,
    UnderWay,
}

async fn stands(context: &Context, process: &ProcessId) -> Result<Stands, CoordinationError> {
    let Some(row) = context.store.process(process).await? else {
        return Ok(Stands::Answered);
    };
    Ok(match row.state {
        ProcessState::Ended(ProcessOutcome::Evaluated) => Stands::Elsewhere,
        ProcessState::Ended(_) if row.kind != ProcessKind::Rewrite => Stands::Elsewhere,
        ProcessState::Ended(_) => Stands::Answered,
        ProcessState::Running | ProcessState::Committing { .. } => Stands::UnderWay,
    })
}
