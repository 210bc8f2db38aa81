//! What a catalog's tables cost a month for nothing, and which upkeep would free it. Writes nothing.
//!
//! Reckoned from metadata and listings alone, at list prices of S3 Intelligent-Tiering: no data file is asked for, so what
//! lies in a cheaper tier already can't be told, and is priced as if it did not.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use icepress_catalog::{CatalogError, LoadedTable};
use icepress_model::{Bytes, CatalogName, DatabaseId, NanoDollars, TableId};
use icepress_planner::KeepingPrices;
use icepress_storage::{lies_within, one_spelling};
use icepress_table::{TableError, open_snapshot, scan::SnapshotScan};
use icepress_upkeep::{
    Counted, Counts, ExpireRequest, OrphanRequest, Others, Progress, UpkeepError, plan_expire,
    plan_orphans, weigh_folder,
};
use serde::Serialize;
use thiserror::Error;

use super::{
    maintain::{BasesOfProcesses, commit_context},
    neighbours::TableMap,
    orphans::{Books, with_settings},
};
use crate::{Context, OpenCatalog};

/// Files below this share of the target are small.
const SMALL: f64 = 0.75;
/// What a table writes by default that says nothing (Iceberg's `write.target-file-size-bytes`).
const DEFAULT_TARGET: u64 = 512 << 20;
/// So long after it was written nobody has read a file, as far as can be told without asking for it.
const COLD_MS: i64 = 30 * 24 * 3_600_000;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WasteRequest {
    /// Whether folders are listed: for files that nothing refers to, and folders of no table.
    pub listings: bool,
}

/// Files that are kept for nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Waste {
    /// How many.
    pub files: u64,
    /// Their bytes, as far as they are known.
    pub bytes: Bytes,
    /// What they cost a month, or what they cost more than they would have to.
    pub dollars_a_month: f64,
}

impl Waste {
    fn of(counts: Counts, price: NanoDollars) -> Self {
        Self {
            files: counts.files,
            bytes: counts.bytes,
            dollars_a_month: price.dollars(),
        }
    }

    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes = Bytes(self.bytes.get().saturating_add(other.bytes.get()));
        self.dollars_a_month += other.dollars_a_month;
    }
}

/// Why files are kept for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WasteKind {
    /// Only snapshots need them that the table wants no longer.
    DeadSnapshots,
    /// Nothing refers to them.
    Orphans,
    /// There would be fewer of them.
    SmallFiles,
    /// Deletes that would be applied.
    DeleteFiles,
    /// Too small to become cheaper, and nobody has written there for a month.
    ColdSmallFiles,
}

impl WasteKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::DeadSnapshots,
        Self::Orphans,
        Self::SmallFiles,
        Self::DeleteFiles,
        Self::ColdSmallFiles,
    ];

    /// The kind of process that frees them.
    pub fn freed_by(self) -> &'static str {
        match self {
            Self::DeadSnapshots => "expire",
            Self::Orphans => "orphans",
            Self::SmallFiles | Self::DeleteFiles | Self::ColdSmallFiles => "rewrite",
        }
    }
}

/// The waste of one table.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TableWaste {
    /// By its reason.
    pub kinds: BTreeMap<WasteKind, Waste>,
    /// All of it.
    pub dollars_a_month: f64,
    /// What could not be told, and why.
    pub untold: Vec<String>,
}

/// A folder beside those of tables in which no table of any catalog at hand lies.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unowned {
    /// Where it is.
    pub folder: String,
    /// What is in it.
    #[serde(flatten)]
    pub waste: Waste,
}

/// The waste of a catalog.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CatalogWaste {
    /// Of each table.
    pub tables: BTreeMap<String, TableWaste>,
    /// By the kind of process that would free it, over all tables.
    pub freed_by: BTreeMap<&'static str, Waste>,
    /// Of all tables.
    pub dollars_a_month: f64,
    /// Folders of no table: to be looked into by people, and not counted above.
    pub unowned: Vec<Unowned>,
    /// Tables, databases and catalogs that could not be read, and why.
    pub unread: Vec<String>,
}

/// A table whose waste can't be told at all.
#[derive(Debug, Error)]
enum Untold {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Table(#[from] TableError),
}

/// Looks at all tables of a catalog, one after another.
pub async fn look(
    context: &Context,
    catalog: &CatalogName,
    request: WasteRequest,
    progress: Progress<'_>,
) -> Result<CatalogWaste, CatalogError> {
    let open = context.catalogs.get(catalog)?;
    let mut found = CatalogWaste::default();
    // Where nothing is listed nobody's neighbours matter.
    let map = match request.listings {
        true => TableMap::of(context).await,
        false => TableMap::default(),
    };
    found.unread.extend(map.unasked.iter().cloned());
    let tables = tables_of(open, &mut found.unread).await?;
    for (number, table) in tables.iter().enumerate() {
        progress(number as u64, tables.len() as u64);
        match table_waste(context, open, table, request, &map).await {
            Ok(waste) => {
                for (kind, waste) in &waste.kinds {
                    found
                        .freed_by
                        .entry(kind.freed_by())
                        .or_default()
                        .add(*waste);
                }
                found.dollars_a_month += waste.dollars_a_month;
                found.tables.insert(table.to_string(), waste);
            }
            Err(Untold::Catalog(CatalogError::NoSuchTable(_))) => {}
            Err(error) => {
                let why = format!("table {table}: {error}");
                if !found.unread.contains(&why) {
                    found.unread.push(why);
                }
            }
        }
    }
    if request.listings {
        unowned_folders(open, catalog, &map, &mut found).await;
    }
    Ok(found)
}

async fn tables_of(
    open: &OpenCatalog,
    unread: &mut Vec<String>,
) -> Result<BTreeSet<TableId>, CatalogError> {
    let mut tables = BTreeSet::new();
    for namespace in open.catalog.list_namespaces().await? {
        let database = DatabaseId {
            catalog: open.catalog.name().clone(),
            namespace,
        };
        let mut next: Option<String> = None;
        loop {
            match open.catalog.list_tables(&database, next.as_deref()).await {
                Ok(page) => {
                    tables.extend(page.tables.into_iter().map(|listed| listed.table));
                    next = page.next;
                }
                Err(error) => {
                    let why = format!("database {database}: {error}");
                    if !unread.contains(&why) {
                        unread.push(why);
                    }
                    next = None;
                }
            }
            if next.is_none() {
                break;
            }
        }
    }
    Ok(tables)
}

async fn table_waste(
    context: &Context,
    open: &OpenCatalog,
    table: &TableId,
    request: WasteRequest,
    map: &TableMap,
) -> Result<TableWaste, Untold> {
    let prices = KeepingPrices::default();
    let storage = open.storage_of(table).await?;
    let loaded = open.catalog.load(table).await?;
    let scan = open_snapshot(storage.as_ref(), table, &loaded.metadata).await?;
    let now = context.ambient.now().get();
    let mut waste = TableWaste {
        kinds: of_live_files(&loaded, &scan, now, &prices),
        ..TableWaste::default()
    };
    let commit = commit_context(context, table).await?;
    let pins = BasesOfProcesses { context };
    let expiry = plan_expire(&commit, table, &pins, &ExpireRequest::default()).await;
    waste.add(
        WasteKind::DeadSnapshots,
        expiry.map(|plan| plan.files),
        &prices,
    );
    if request.listings {
        let attempts = Books { context };
        let others = Others {
            neighbours: map,
            attempts: &attempts,
        };
        let request = with_settings(context, table, &OrphanRequest::default());
        let search = plan_orphans(&commit, table, others, &request).await;
        waste.add(
            WasteKind::Orphans,
            search.map(|plan| plan.survey.unreferenced),
            &prices,
        );
    }
    waste.kinds.retain(|_, waste| waste.files > 0);
    waste.dollars_a_month = waste.kinds.values().map(|it| it.dollars_a_month).sum();
    Ok(waste)
}

impl TableWaste {
    fn add(
        &mut self,
        kind: WasteKind,
        found: Result<Counted, UpkeepError>,
        prices: &KeepingPrices,
    ) {
        match found {
            Ok(files) => {
                let mut all = Counts::default();
                for counts in files.values() {
                    all.files += counts.files;
                    all.bytes = Bytes(all.bytes.get().saturating_add(counts.bytes.get()));
                }
                let price = prices.of_objects(all.files, all.bytes);
                self.kinds.insert(kind, Waste::of(all, price));
            }
            Err(error) => self.untold.push(error.to_string()),
        }
    }
}

/// What a rewrite would free of the current snapshot's files.
fn of_live_files(
    loaded: &LoadedTable,
    scan: &SnapshotScan,
    now: i64,
    prices: &KeepingPrices,
) -> BTreeMap<WasteKind, Waste> {
    let metadata = &loaded.metadata;
    let target = metadata.properties().get("write.target-file-size-bytes");
    let target = target
        .and_then(|it| it.trim().parse().ok())
        .unwrap_or(DEFAULT_TARGET);
    let target = target.max(1);
    // What is of no snapshot that is there any more is older than all that are.
    let written: HashMap<i64, i64> = metadata
        .snapshots()
        .map(|it| (it.sequence_number(), it.timestamp_ms()))
        .collect();
    let is_cold = |sequence: i64| {
        written
            .get(&sequence)
            .is_none_or(|time| now - time >= COLD_MS)
    };
    let mut by_partition: HashMap<u32, Counts> = HashMap::new();
    let (mut cold, mut deletes) = (Counts::default(), Counts::default());
    let add = |counts: &mut Counts, size: Bytes| {
        counts.files += 1;
        counts.bytes = Bytes(counts.bytes.get().saturating_add(size.get()));
    };
    for file in scan.data_files() {
        if (file.size.get() as f64) < target as f64 * SMALL {
            add(by_partition.entry(file.partition).or_default(), file.size);
        }
        if file.size < KeepingPrices::SMALLEST_TIERED && is_cold(file.sequence_number.get()) {
            add(&mut cold, file.size);
        }
    }
    for file in scan.delete_files() {
        add(&mut deletes, file.size);
    }
    let mut small = Counts::default();
    for counts in by_partition.values() {
        let left = counts.bytes.get().div_ceil(target).max(1);
        small.files += counts.files.saturating_sub(left);
        if counts.files > left {
            small.bytes = Bytes(small.bytes.get().saturating_add(counts.bytes.get()));
        }
    }
    BTreeMap::from([
        (
            WasteKind::SmallFiles,
            Waste::of(small, prices.of_watching(small.files)),
        ),
        (
            WasteKind::DeleteFiles,
            Waste::of(deletes, prices.of_objects(deletes.files, deletes.bytes)),
        ),
        (
            WasteKind::ColdSmallFiles,
            Waste::of(cold, prices.of_never_tiering(cold.bytes)),
        ),
    ])
}

/// Folders beside those of the catalog's tables in which none lies.
async fn unowned_folders(
    open: &OpenCatalog,
    catalog: &CatalogName,
    map: &TableMap,
    found: &mut CatalogWaste,
) {
    let prices = KeepingPrices::default();
    let own = map.tables.iter().filter(|it| it.table.catalog == *catalog);
    let parents: BTreeSet<&str> = own
        .flat_map(|it| &it.folders)
        .filter_map(|folder| folder.rsplit_once('/'))
        .map(|(parent, _)| parent)
        // A whole bucket holds what is nobody's business here.
        .filter(|parent| one_spelling(parent).trim_end_matches('/').contains('/'))
        .collect();
    let everywhere = || map.tables.iter().flat_map(|it| &it.folders);
    for parent in parents {
        let folders = match open.storage.folders(parent).await {
            Ok(folders) => folders,
            Err(error) => {
                found.unread.push(format!("folder {parent}: {error}"));
                continue;
            }
        };
        for name in folders {
            let folder = format!("{parent}/{name}");
            let is_owned = everywhere()
                .any(|place| lies_within(place, &folder) || lies_within(&folder, place));
            if is_owned {
                continue;
            }
            match weigh_folder(open.storage.as_ref(), &folder).await {
                Ok(counts) if counts.files > 0 => found.unowned.push(Unowned {
                    waste: Waste::of(counts, prices.of_objects(counts.files, counts.bytes)),
                    folder,
                }),
                Ok(_) => {}
                Err(error) => found.unread.push(format!("folder {folder}: {error}")),
            }
        }
    }
}
