//! `icepress demo`: a warehouse with three real tables in a folder of its own, the whole loop over it, and the proof that
//! the rows are the same.
//!
//! What runs is what `icepress run --once` runs, on a catalog that it finds as it finds any PyIceberg user's.

mod customers;
mod dice;
mod events;
mod orders;
mod parquet_file;
mod result;
mod row_groups;
mod warehouse;
mod writer;

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Result;
use iceberg::spec::{Schema, UnboundPartitionSpec};
use icepress_model::{CatalogName, SnapshotId, TableId, ambient::Ambient};
use icepress_service::{embedded, tables};
use icepress_storage::{LocalStorage, Storage};

use crate::{
    arguments::{DemoArguments, GlobalArguments},
    environment::Environment,
    failure::{Ending, Failure},
    progress::Screen,
    render::{Output, counted},
    session::Session,
};
use dice::Dice;
use result::{DemoResult, DemoTable, WrittenOnly};
use warehouse::{Folder, Warehouse};

/// 2026-01-01 in days since 1970.
const DAY_ONE: i32 = 20_454;
/// January 2026 in months since 1970.
const MONTH_ONE: i32 = 672;
const MICROS_A_DAY: i64 = 86_400_000_000;

/// A table to be made.
#[derive(Debug)]
struct Definition {
    name: &'static str,
    story: &'static str,
    schema: Schema,
    spec: UnboundPartitionSpec,
}

/// A table as its writer left it.
#[derive(Debug)]
struct WrittenTable {
    table: TableId,
    story: &'static str,
    /// Its rows by the writer's own books.
    rows: u64,
    snapshot: SnapshotId,
    row_groups: u64,
}

/// What a table's history comes to, by the books of whoever wrote it.
#[derive(Debug, Clone, Copy)]
struct Written {
    live_rows: u64,
}

/// Makes the tables, runs, compares, and prints.
pub(crate) async fn demo(
    wanted: &DemoArguments,
    global: &GlobalArguments,
    environment: &Environment,
    screen: Screen,
    output: Output,
) -> Result<Ending, Failure> {
    let folder = match &wanted.warehouse {
        Some(named) => Folder::given(named)?,
        None => Folder::temporary(wanted.keep)?,
    };
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::new());
    let catalog = CatalogName(
        global
            .catalog
            .clone()
            .unwrap_or_else(|| "default".to_owned()),
    );
    let made = make_tables(
        &folder,
        wanted.seed,
        &catalog,
        Arc::clone(&storage),
        &screen,
    )
    .await
    .map_err(|error| Failure::Work(format!("the demo's tables: {error:#}")))?;

    if wanted.no_run {
        let result = WrittenOnly::new(&made, folder.path());
        output.print(&result, || result.to_text())?;
        return Ok(Ending::Well);
    }

    let (global, environment) = as_its_user(&folder, &catalog, global, environment);
    let session = Session::open(&global, &environment, screen, &[], false).await?;
    let report = embedded::run_once(&session.context, session.threads, &session.stop)
        .await
        .map_err(Failure::work)?;

    let mut demo_tables = Vec::with_capacity(made.len());
    for made in &made {
        let of_table = report.tables.iter().find(|seen| seen.table == made.table);
        let report = of_table.cloned().ok_or_else(|| {
            Failure::Work(format!("table {}: the run did not come to it", made.table))
        })?;
        demo_tables.push(compare(&session, made, report, &*storage).await?);
    }
    let result = DemoResult {
        tables: demo_tables,
        warehouse: folder.is_kept().then(|| folder.path().to_path_buf()),
    };
    output.print(&result, || result.to_text(&session.catalog))?;
    Ok(if result.is_well() {
        Ending::Well
    } else {
        Ending::SomeFailed
    })
}

/// The options and the environment of somebody who has PyIceberg's configuration in that folder, and no other.
fn as_its_user(
    folder: &Folder,
    catalog: &CatalogName,
    global: &GlobalArguments,
    environment: &Environment,
) -> (GlobalArguments, Environment) {
    let path = folder.path();
    let home = path.to_string_lossy().into_owned();
    let global = GlobalArguments {
        catalog: Some(catalog.to_string()),
        config: None,
        state_file: Some(path.join("state.db")),
        ..global.clone()
    };
    let environment = Environment {
        working_directory: path.to_path_buf(),
        log: environment.log.clone(),
        variables: BTreeMap::from([("PYICEBERG_HOME".to_owned(), home)]),
        ..Environment::default()
    };
    (global, environment)
}

async fn make_tables(
    folder: &Folder,
    seed: u64,
    catalog: &CatalogName,
    storage: Arc<dyn Storage>,
    screen: &Screen,
) -> Result<Vec<WrittenTable>> {
    let ambient = Ambient {
        random: Arc::new(Dice::new(!seed)),
        ..Ambient::system()
    };
    let warehouse =
        Warehouse::create(folder.path(), catalog, Arc::clone(&storage), ambient).await?;
    let dice = Dice::new(seed);
    let mut made = Vec::new();
    for definition in [
        events::definition()?,
        orders::definition()?,
        customers::definition()?,
    ] {
        let writer = warehouse.create_table(&definition).await?;
        let written = match definition.name {
            "events" => events::fill(&writer, &dice).await?,
            "orders" => orders::fill(&writer, &dice).await?,
            _ => customers::fill(&writer, &dice).await?,
        };
        let table = warehouse.load(&definition).await?;
        let files = row_groups::count(&table.metadata, &*storage).await?;
        screen.line(format!(
            "made {}: {}, {} in {}",
            table.table.name_in_catalog(),
            definition.story,
            counted(written.live_rows, "row"),
            counted(files.data_files, "data file"),
        ));
        made.push(WrittenTable {
            snapshot: SnapshotId(table.metadata.current_snapshot_id().unwrap_or_default()),
            table: table.table,
            story: definition.story,
            rows: written.live_rows,
            row_groups: files.row_groups,
        });
    }
    Ok(made)
}

/// How the table is after the run: its rows against those before it, and what the next plan would do.
async fn compare(
    session: &Session,
    made: &WrittenTable,
    report: embedded::TableReport,
    storage: &dyn Storage,
) -> Result<DemoTable, Failure> {
    let about = |failure: Failure| failure.about(format!("table {}", made.table));
    let catalog = session.context.catalogs.get(&made.table.catalog);
    let loaded = catalog
        .map_err(Failure::work)?
        .catalog
        .load(&made.table)
        .await
        .map_err(Failure::work)?;
    let now = SnapshotId(loaded.metadata.current_snapshot_id().unwrap_or_default());
    let verified = tables::verify(
        &session.context,
        &made.table,
        Some(now),
        Some(made.snapshot),
    )
    .await
    .map_err(|error| about(Failure::work(error)))?;
    let files = row_groups::count(&loaded.metadata, storage)
        .await
        .map_err(|error| about(Failure::work(error)))?;
    let next = tables::plan(&session.context, &made.table)
        .await
        .map_err(|error| about(Failure::work(error)))?;
    Ok(DemoTable {
        report,
        story: made.story,
        rows: made.rows,
        rows_before: verified.against.rows.get(),
        rows_after: verified.snapshot.rows.get(),
        same_rows: verified.same() && verified.snapshot.rows.get() == made.rows,
        row_groups_before: made.row_groups,
        row_groups_after: files.row_groups,
        groups_left: next.groups.len() as u64,
    })
}
