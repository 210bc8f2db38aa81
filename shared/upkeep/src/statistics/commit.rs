//! The commit that has a table's metadata name a statistics file. It says something of one snapshot and changes none, so it goes
//! with whatever others commit, as long as that snapshot is there.

use async_trait::async_trait;
use iceberg::{TableUpdate, spec::PartitionStatisticsFile};
use icepress_catalog::{LoadedTable, TableChange};
use icepress_model::TableId;
use icepress_table::{CommitContext, Gatekeeper};

use crate::{
    Committed, UpkeepError,
    swap::{self, Decider, Decision},
};

/// What a commit came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Set {
    /// The commit; `None` where it is not known which state it made.
    Done(Option<Committed>),
    /// The snapshot was expired meanwhile; the file is deleted again.
    SnapshotGone,
}

/// Sets `statistics`. Where that certainly failed the file is deleted again, as far as that is allowed.
pub(crate) async fn set(
    context: &CommitContext,
    table: &TableId,
    gatekeeper: &dyn Gatekeeper,
    statistics: &PartitionStatisticsFile,
) -> Result<Set, UpkeepError> {
    let outcome = try_to_set(context, table, gatekeeper, statistics).await;
    let is_certain = !matches!(
        outcome,
        Ok(Set::Done(_)) | Err(UpkeepError::OutcomeUnknown { .. })
    );
    if is_certain {
        let path = [statistics.statistics_path.clone()];
        for deleted in context.storage.delete(&path).await {
            if let Err(error) = deleted.result {
                tracing::warn!(%table, %error, "an unused statistics file is left behind");
            }
        }
    }
    outcome
}

async fn try_to_set(
    context: &CommitContext,
    table: &TableId,
    gatekeeper: &dyn Gatekeeper,
    statistics: &PartitionStatisticsFile,
) -> Result<Set, UpkeepError> {
    let (naming, committed) =
        swap::commit(context, table, gatekeeper, &ToBeNamed(statistics)).await?;
    Ok(match naming.is_of_a_snapshot {
        true => Set::Done(committed),
        false => Set::SnapshotGone,
    })
}

/// The file that a table is to name.
struct ToBeNamed<'a>(&'a PartitionStatisticsFile);

/// What becomes of one state of the table.
struct Naming {
    statistics: PartitionStatisticsFile,
    /// Whether the snapshot is there that they are of.
    is_of_a_snapshot: bool,
    change: TableChange,
}

#[async_trait]
impl Decider for ToBeNamed<'_> {
    type Decision = Naming;

    async fn decide(&self, loaded: &LoadedTable) -> Result<Naming, UpkeepError> {
        let Self(statistics) = *self;
        let snapshot = loaded.metadata.snapshot_by_id(statistics.snapshot_id);
        let is_named = names(loaded, statistics);
        let is_of_a_snapshot = is_named || snapshot.is_some();
        let updates = match is_of_a_snapshot && !is_named {
            true => vec![TableUpdate::SetPartitionStatistics {
                partition_statistics: statistics.clone(),
            }],
            false => Vec::new(),
        };
        Ok(Naming {
            statistics: statistics.clone(),
            is_of_a_snapshot,
            change: TableChange {
                requirements: vec![swap::same_table(&loaded.metadata)],
                updates,
            },
        })
    }
}

impl Decision for Naming {
    fn change(&self) -> TableChange {
        self.change.clone()
    }

    fn is_in(&self, now: &LoadedTable) -> bool {
        names(now, &self.statistics)
    }
}

fn names(loaded: &LoadedTable, statistics: &PartitionStatisticsFile) -> bool {
    let metadata = &loaded.metadata;
    let known = metadata.partition_statistics_for_snapshot(statistics.snapshot_id);
    known.is_some_and(|known| known.statistics_path == statistics.statistics_path)
}
