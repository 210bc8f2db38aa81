//! What of a table is left alone, whatever it looks like: all of it, or what its filter has nothing of.

use iceberg::spec::TableMetadata;
use icepress_model::LeftAloneReason;
use icepress_table::{
    filter::{Matches, PartitionFilter},
    scan::{PartitionEntry, SnapshotScan},
};

use super::{PlanError, count_files};
use crate::partition::PartitionView;

/// What of the table is left alone, whatever it looks like.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// Why all of it is.
    pub(super) whole_table: Option<LeftAloneReason>,
    filter: Option<String>,
    /// By partition number, whether the filter has nothing of it.
    filtered: Vec<bool>,
}

impl Scope {
    pub(super) fn new(
        scan: &SnapshotScan,
        metadata: &TableMetadata,
        whole_table: Option<LeftAloneReason>,
    ) -> Result<Self, PlanError> {
        let filter = PartitionFilter::of_table(metadata);
        let filter = filter.map_err(|message| PlanError::Filter {
            table: scan.table().clone(),
            message,
        })?;
        let Some(filter) = filter else {
            return Ok(Self {
                whole_table,
                ..Self::default()
            });
        };
        // Work that changes no row takes what may match, as readers do.
        let is_out = |partition: &PartitionEntry| {
            filter.matches(metadata, partition.spec_id, &partition.value) == Matches::No
        };
        Ok(Self {
            whole_table,
            filtered: scan.partitions().iter().map(is_out).collect(),
            filter: Some(filter.text().to_owned()),
        })
    }

    /// Why a partition is left alone.
    pub(super) fn reason(&self, number: u32) -> Option<LeftAloneReason> {
        let is_out = self.filtered.get(number as usize).copied();
        let filter = self.filter.as_ref().filter(|_| is_out == Some(true));
        let filter = filter.map(|filter| LeftAloneReason::Filtered {
            filter: filter.clone(),
        });
        self.whole_table.clone().or(filter)
    }

    /// Takes the groups out of partitions that are left alone. Whether there were any.
    pub(super) fn take_out(&self, views: &mut [PartitionView]) -> bool {
        let mut any = false;
        for view in views {
            if self.reason(view.number).is_none() {
                continue;
            }
            let grouped = std::mem::take(&mut view.groups);
            any |= !grouped.is_empty();
            view.rest_files += count_files(&grouped);
            view.rest_bytes += grouped.iter().map(|group| group.bytes).sum::<u64>();
        }
        any
    }
}
