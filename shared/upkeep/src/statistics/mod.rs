//! Statistics of partitions: counted from manifests, from the last ones on where there are some, written as a file of the
//! specification's format, and set by a commit of metadata alone. No data file is opened.

mod commit;
mod file;

use bytes::Bytes as Buffer;
use iceberg::spec::{PartitionStatisticsFile, Snapshot, StructType};
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

pub(crate) use self::commit::{Set, set};
use crate::{Committed, UpkeepError};

/// What would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatisticsPlan {
    /// Whether there is anything to do.
    pub write: bool,
    /// Why, or why not, for people.
    pub reason: String,
    /// The snapshot that they would be of: the current one.
    pub snapshot_id: Option<SnapshotId>,
    /// The snapshot that there are statistics of, from which on it would be counted.
    pub since: Option<SnapshotId>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatisticsReport {
    /// What was decided.
    #[serde(flatten)]
    pub plan: StatisticsPlan,
    /// The file that was set; `None` where there was nothing to do.
    pub written: Option<WrittenStatistics>,
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

/// Says what [`write`] would do. Writes nothing.
pub async fn plan(context: &CommitContext, table: &TableId) -> Result<StatisticsPlan, UpkeepError> {
    let loaded = context.catalog.load(table).await?;
    outlook(&loaded.metadata).map_err(|message| UpkeepError::refused(table, message))
}

/// The same by the metadata alone, so that it can be asked at every look at a table. The error is a message for people: the
/// table's partitions can't be put into one.
pub fn outlook(metadata: &Metadata) -> Result<StatisticsPlan, String> {
    let unified = unified_partition_type(metadata).map_err(|error| error.to_string())?;
    Ok(decide(metadata, &unified))
}

/// Counts what each partition of the current snapshot holds, writes it down, and has the table's metadata name the file. Does
/// nothing where the metadata names one already.
pub async fn write(
    context: &CommitContext,
    table: &TableId,
    gatekeeper: &dyn Gatekeeper,
) -> Result<StatisticsReport, UpkeepError> {
    let loaded = context.catalog.load(table).await?;
    let unified = unified(&loaded)?;
    let plan = decide(&loaded.metadata, &unified);
    let snapshot = loaded.metadata.current_snapshot();
    let (true, Some(snapshot)) = (plan.write, snapshot) else {
        return Ok(StatisticsReport {
            plan,
            written: None,
            committed: None,
        });
    };
    let (rows, incremental) = count(context, &loaded, snapshot, &unified, plan.since).await?;
    let version = loaded.metadata.format_version();
    let content = file::encode(&rows, &unified, version)
        .map_err(|message| UpkeepError::refused(table, message))?;
    let bytes = content.len() as u64;
    let folder = metadata_folder(&loaded.metadata);
    let id = snapshot.snapshot_id();
    let path = format!(
        "{folder}/partition-stats-{id}-{}.parquet",
        context.ambient.uuid()
    );
    let options = WriteOptions {
        storage_class: loaded
            .metadata
            .properties()
            .get("s3.write.storage-class")
            .cloned(),
        ..WriteOptions::default()
    };
    let storage = context.storage.as_ref();
    let put = storage.put(&path, Buffer::from(content), PutMode::Overwrite, &options);
    put.await.map_err(|source| TableError::Storage {
        table: table.clone(),
        source,
    })?;
    let statistics = PartitionStatisticsFile {
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
    let (written, committed) = match set(context, table, gatekeeper, &statistics).await? {
        Set::Done(committed) => (Some(written), committed),
        Set::SnapshotGone => (None, None),
    };
    Ok(StatisticsReport {
        plan,
        written,
        committed,
    })
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
