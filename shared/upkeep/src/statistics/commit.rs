//! The commit that has a table's metadata name statistics files. They say something of one snapshot and change none, so it goes
//! with whatever others commit, as long as that snapshot is there.

use async_trait::async_trait;
use iceberg::{
    TableUpdate,
    spec::{PartitionStatisticsFile, StatisticsFile},
};
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
    /// The snapshot was expired meanwhile, or somebody else had its statistics written; the files are deleted again.
    NotWanted,
}

/// Files that are stored and that nobody names yet, of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) snapshot_id: i64,
    pub(crate) partitions: Option<PartitionStatisticsFile>,
    pub(crate) sketches: Option<Sketches>,
}

/// A file of sketches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sketches {
    pub(crate) file: StatisticsFile,
    /// The file that it takes the place of: one that came later has what this one lacks.
    pub(crate) instead_of: Option<String>,
}

impl Stored {
    fn paths(&self) -> Vec<String> {
        let partitions = self.partitions.iter().map(|file| &file.statistics_path);
        let sketches = self.sketches.iter().map(|it| &it.file.statistics_path);
        partitions.chain(sketches).cloned().collect()
    }

    /// Whether a state of the table names them all.
    fn is_named_in(&self, loaded: &LoadedTable) -> bool {
        let (metadata, id) = (&loaded.metadata, self.snapshot_id);
        let partitions = metadata.partition_statistics_for_snapshot(id);
        let partitions = partitions.map(|file| &file.statistics_path);
        let sketches = metadata.statistics_for_snapshot(id);
        let sketches = sketches.map(|file| &file.statistics_path);
        let own = self.partitions.as_ref().map(|file| &file.statistics_path);
        let own_sketches = self.sketches.as_ref().map(|it| &it.file.statistics_path);
        (own.is_none() || partitions == own) && (own_sketches.is_none() || sketches == own_sketches)
    }

    /// Whether a state of the table has what they were made of.
    fn is_of(&self, loaded: &LoadedTable) -> bool {
        let metadata = &loaded.metadata;
        let named = metadata.statistics_for_snapshot(self.snapshot_id);
        let named = named.map(|file| &file.statistics_path);
        metadata.snapshot_by_id(self.snapshot_id).is_some()
            && (self.sketches.as_ref()).is_none_or(|it| it.instead_of.as_ref() == named)
    }
}

/// Sets what is `stored`. Where that certainly failed the files are deleted again, as far as that is allowed.
pub(crate) async fn set(
    context: &CommitContext,
    table: &TableId,
    gatekeeper: &dyn Gatekeeper,
    stored: &Stored,
) -> Result<Set, UpkeepError> {
    let outcome = try_to_set(context, table, gatekeeper, stored).await;
    let is_certain = !matches!(
        outcome,
        Ok(Set::Done(_)) | Err(UpkeepError::OutcomeUnknown { .. })
    );
    if is_certain {
        for deleted in context.storage.delete(&stored.paths()).await {
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
    stored: &Stored,
) -> Result<Set, UpkeepError> {
    let (naming, committed) = swap::commit(context, table, gatekeeper, &ToBeNamed(stored)).await?;
    Ok(match naming.is_wanted {
        true => Set::Done(committed),
        false => Set::NotWanted,
    })
}

/// The files that a table is to name.
struct ToBeNamed<'a>(&'a Stored);

/// What becomes of one state of the table.
struct Naming {
    stored: Stored,
    /// Whether the snapshot is there that they are of, as it was.
    is_wanted: bool,
    change: TableChange,
}

#[async_trait]
impl Decider for ToBeNamed<'_> {
    type Decision = Naming;

    async fn decide(&self, loaded: &LoadedTable) -> Result<Naming, UpkeepError> {
        let Self(stored) = *self;
        let is_named = stored.is_named_in(loaded);
        let is_wanted = is_named || stored.is_of(loaded);
        let mut updates = Vec::new();
        if is_wanted && !is_named {
            let partitions = stored.partitions.iter().cloned();
            updates.extend(partitions.map(|partition_statistics| {
                TableUpdate::SetPartitionStatistics {
                    partition_statistics,
                }
            }));
            let sketches = stored.sketches.iter().map(|it| it.file.clone());
            updates.extend(sketches.map(|statistics| TableUpdate::SetStatistics { statistics }));
        }
        Ok(Naming {
            stored: stored.clone(),
            is_wanted,
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
        self.stored.is_named_in(now)
    }
}
