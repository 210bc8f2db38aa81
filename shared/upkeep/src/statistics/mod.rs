//! Statistics of partitions: counted from manifests, from the last ones on where there are some, written as a file of the
//! specification's format, and set by a commit of metadata alone. No data file is opened for them.
//!
//! And, of the columns that the table asks it of, how many distinct values they have ([`ndv`]), in the same commit.

mod commit;
mod file;
mod ndv;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes as Buffer;
use iceberg::spec::{PartitionStatisticsFile, Snapshot, StatisticsFile, StructType};
use icepress_catalog::{
    LoadedTable,
    metadata::{Metadata, metadata_folder},
};
use icepress_model::{Bytes, SnapshotId, TableId};
use icepress_storage::{PutMode, WriteOptions};
use icepress_table::{
    CommitContext, Gatekeeper, PartitionStats, TableError, partition_stats, unified_partition_type,
};
use serde::Serialize;

pub(crate) use self::commit::{Set, Sketches, Stored, set};
pub use self::ndv::{NDV_COLUMNS, NdvColumn, NdvPlan};
use crate::{Committed, UpkeepError};

/// What would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatisticsPlan {
    /// Whether there is anything to count of partitions.
    pub write: bool,
    /// Why, or why not, for people.
    pub reason: String,
    /// The snapshot that they would be of: the current one.
    pub snapshot_id: Option<SnapshotId>,
    /// The snapshot that there are statistics of, from which on it would be counted.
    pub since: Option<SnapshotId>,
    /// What would be counted of columns; `None` where the table asks for nothing.
    pub ndv: Option<NdvPlan>,
}

impl StatisticsPlan {
    /// Whether there is anything to do.
    pub fn is_due(&self) -> bool {
        self.write || self.ndv.as_ref().is_some_and(|ndv| ndv.write)
    }
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatisticsReport {
    /// What was decided.
    #[serde(flatten)]
    pub plan: StatisticsPlan,
    /// The file that was set; `None` where there was nothing to do.
    pub written: Option<WrittenStatistics>,
    /// The file of sketches that was set; `None` where there was nothing to do.
    pub sketches: Option<WrittenSketches>,
    /// The commit; `None` where there was nothing to do, or it is not known which state it made.
    #[serde(skip)]
    pub committed: Option<Committed>,
}

/// A statistics file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WrittenStatistics {
    /// Where it is.
    pub path: String,
    /// Its size.
    pub bytes: Bytes,
    /// Its rows.
    pub partitions: u64,
    /// Whether only what came since earlier statistics was counted.
    pub incremental: bool,
}

/// A file of sketches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WrittenSketches {
    /// Where it is.
    pub path: String,
    /// Its size.
    pub bytes: Bytes,
    /// Columns that the table asks for.
    pub columns: u64,
    /// Those of them that were counted from earlier sketches on.
    pub incremental: u64,
    /// How many distinct values each has, about, by name.
    pub ndv: BTreeMap<String, u64>,
}

/// What may be spent on reading data files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// Memory.
    pub memory_cap: Bytes,
    /// How long it may take; `None` for as long as it takes.
    pub time: Option<Duration>,
}

/// Says what [`make`] would count. Writes nothing.
pub async fn plan(context: &CommitContext, table: &TableId) -> Result<StatisticsPlan, UpkeepError> {
    let loaded = context.catalog.load(table).await?;
    outlook(&loaded.metadata).map_err(|message| UpkeepError::refused(table, message))
}

/// The same by the metadata alone, so that it can be asked at every look at a table. The error is a message for people: the
/// table's partitions can't be put into one, or what it asks for makes no sense.
pub fn outlook(metadata: &Metadata) -> Result<StatisticsPlan, String> {
    let unified = unified_partition_type(metadata).map_err(|error| error.to_string())?;
    Ok(StatisticsPlan {
        ndv: ndv::decide(metadata)?,
        ..decide(metadata, &unified)
    })
}

/// Statistics that are counted and stored, and that no table names yet.
#[derive(Debug)]
pub struct Made {
    report: StatisticsReport,
    stored: Stored,
    failed: Option<UpkeepError>,
}

/// Counts what each partition of the current snapshot holds, and how many distinct values the columns have that the table asks
/// it of, and writes it down. Does nothing where the metadata names such files already. That takes as long as it takes to read
/// data files; [`Made::set`] comes after.
pub async fn make(
    context: &CommitContext,
    table: &TableId,
    effort: Effort,
) -> Result<Made, UpkeepError> {
    let loaded = context.catalog.load(table).await?;
    let plan = outlook(&loaded.metadata).map_err(|message| UpkeepError::refused(table, message))?;
    let current = loaded.metadata.current_snapshot();
    let mut made = Made {
        stored: Stored {
            snapshot_id: current.map_or(-1, |snapshot| snapshot.snapshot_id()),
            partitions: None,
            sketches: None,
        },
        report: StatisticsReport {
            plan,
            written: None,
            sketches: None,
            committed: None,
        },
        failed: None,
    };
    let Some(snapshot) = current else {
        return Ok(made);
    };
    let plan = &made.report.plan;
    if let Some(ndv) = plan.ndv.as_ref().filter(|ndv| ndv.write) {
        match ndv::count(context, &loaded, snapshot, ndv, effort).await {
            Ok(counted) => {
                let (file, written) = store_sketches(context, &loaded, ndv, counted).await?;
                made.stored.sketches = Some(file);
                made.report.sketches = Some(written);
            }
            Err(error) => made.failed = Some(error),
        }
    }
    if made.report.plan.write {
        let since = made.report.plan.since;
        let (file, written) = store_partitions(context, &loaded, snapshot, since).await?;
        made.stored.partitions = Some(file);
        made.report.written = Some(written);
    }
    Ok(made)
}

impl Made {
    /// Has the table's metadata name the files.
    ///
    /// Where distinct values could not be counted, what was counted of partitions is set all the same, before the error is
    /// returned.
    pub async fn set(
        self,
        context: &CommitContext,
        table: &TableId,
        gatekeeper: &dyn Gatekeeper,
    ) -> Result<StatisticsReport, UpkeepError> {
        let Self {
            mut report,
            stored,
            failed,
        } = self;
        if stored.partitions.is_some() || stored.sketches.is_some() {
            match set(context, table, gatekeeper, &stored).await? {
                Set::Done(committed) => report.committed = committed,
                Set::NotWanted => (report.written, report.sketches) = (None, None),
            }
        }
        match failed {
            None => Ok(report),
            Some(error) => Err(error),
        }
    }
}

async fn store(
    context: &CommitContext,
    loaded: &LoadedTable,
    name: &str,
    content: Buffer,
) -> Result<String, UpkeepError> {
    let path = format!("{}/{name}", metadata_folder(&loaded.metadata));
    let properties = loaded.metadata.properties();
    let options = WriteOptions {
        storage_class: properties.get("s3.write.storage-class").cloned(),
        ..WriteOptions::default()
    };
    let storage = context.storage.as_ref();
    let put = storage.put(&path, content, PutMode::Overwrite, &options);
    put.await.map_err(|source| TableError::Storage {
        table: loaded.table.clone(),
        source,
    })?;
    Ok(path)
}

async fn store_partitions(
    context: &CommitContext,
    loaded: &LoadedTable,
    snapshot: &Snapshot,
    since: Option<SnapshotId>,
) -> Result<(PartitionStatisticsFile, WrittenStatistics), UpkeepError> {
    let unified = unified(loaded)?;
    let (rows, incremental) = count(context, loaded, snapshot, &unified, since).await?;
    let version = loaded.metadata.format_version();
    let content = file::encode(&rows, &unified, version)
        .map_err(|message| UpkeepError::refused(&loaded.table, message))?;
    let (id, bytes) = (snapshot.snapshot_id(), content.len() as u64);
    let name = format!("partition-stats-{id}-{}.parquet", context.ambient.uuid());
    let path = store(context, loaded, &name, content.into()).await?;
    let file = PartitionStatisticsFile {
        snapshot_id: id,
        statistics_path: path.clone(),
        file_size_in_bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
    };
    let written = WrittenStatistics {
        path,
        bytes: Bytes(bytes),
        partitions: rows.len() as u64,
        incremental,
    };
    Ok((file, written))
}

async fn store_sketches(
    context: &CommitContext,
    loaded: &LoadedTable,
    plan: &NdvPlan,
    counted: ndv::Counted,
) -> Result<(Sketches, WrittenSketches), UpkeepError> {
    let ndv::Counted {
        file,
        instead_of,
        snapshot_id,
        continued,
    } = counted;
    let bytes = file.content.len() as u64;
    // As Spark names them.
    let name = format!("{snapshot_id}-{}.stats", context.ambient.uuid());
    let path = store(context, loaded, &name, file.content).await?;
    let written = WrittenSketches {
        path: path.clone(),
        bytes: Bytes(bytes),
        columns: plan.columns.len() as u64,
        incremental: continued,
        ndv: ndv::by_name(plan, &file.blobs),
    };
    let file = StatisticsFile {
        snapshot_id,
        statistics_path: path,
        file_size_in_bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
        file_footer_size_in_bytes: file.footer,
        key_metadata: None,
        blob_metadata: file.blobs,
    };
    Ok((Sketches { file, instead_of }, written))
}

fn unified(loaded: &LoadedTable) -> Result<StructType, UpkeepError> {
    unified_partition_type(&loaded.metadata)
        .map_err(|error| UpkeepError::refused(&loaded.table, error.to_string()))
}

fn decide(metadata: &Metadata, unified: &StructType) -> StatisticsPlan {
    let current = metadata.current_snapshot();
    let snapshot_id = current.map(|snapshot| SnapshotId(snapshot.snapshot_id()));
    let nothing = |reason: &str| StatisticsPlan {
        write: false,
        reason: reason.to_owned(),
        snapshot_id,
        since: None,
        ndv: None,
    };
    if unified.fields().is_empty() {
        return nothing("the table has no partitions");
    }
    let Some(current) = current else {
        return nothing("the table has no snapshot");
    };
    let mut age = 0u64;
    let mut id = Some(current.snapshot_id());
    while let Some(snapshot) = id.and_then(|id| metadata.snapshot_by_id(id)) {
        let known = metadata.partition_statistics_for_snapshot(snapshot.snapshot_id());
        if let Some(known) = known {
            let since = SnapshotId(known.snapshot_id);
            return StatisticsPlan {
                write: age > 0,
                reason: match age {
                    0 => "there are statistics of the current snapshot".to_owned(),
                    _ => format!("the statistics that there are, are {age} snapshots old"),
                },
                snapshot_id,
                since: Some(since),
                ndv: None,
            };
        }
        age += 1;
        id = snapshot.parent_snapshot_id();
    }
    StatisticsPlan {
        write: true,
        ..nothing("there are no statistics of this snapshot or one before it")
    }
}

/// The rows, and whether they were counted from earlier ones on.
async fn count(
    context: &CommitContext,
    loaded: &LoadedTable,
    snapshot: &Snapshot,
    unified: &StructType,
    since: Option<SnapshotId>,
) -> Result<(Vec<PartitionStats>, bool), UpkeepError> {
    let table = &loaded.table;
    if let Some(since) = since {
        match earlier(context, loaded, unified, since).await {
            Ok(rows) => {
                let earlier = Some((since, rows.as_slice()));
                let counted = partition_stats(&context.storage, loaded, snapshot, earlier).await;
                match counted {
                    Ok(Some(rows)) => return Ok((rows, true)),
                    Ok(None) => {}
                    // An older snapshot's manifests may be gone.
                    Err(error) => tracing::info!(%table, %error, "all is counted anew"),
                }
            }
            Err(error) => tracing::info!(%table, %error, "earlier statistics can't be read"),
        }
    }
    let rows = partition_stats(&context.storage, loaded, snapshot, None).await?;
    let rows = rows.ok_or_else(|| {
        UpkeepError::refused(table, "a partition's files come to less than nothing")
    })?;
    Ok((rows, false))
}

async fn earlier(
    context: &CommitContext,
    loaded: &LoadedTable,
    unified: &StructType,
    since: SnapshotId,
) -> Result<Vec<PartitionStats>, String> {
    let known = loaded
        .metadata
        .partition_statistics_for_snapshot(since.get());
    let known = known.ok_or("they are gone")?;
    let content = context.storage.read(&known.statistics_path).await;
    file::decode(content.map_err(|error| error.to_string())?, unified)
}
