//! What is too old, and when the next will be, as far as partitions tell: nothing is read for it, so that it can be asked at
//! every look at a table.
//!
//! Of files whose partitions don't tell, their statistics may; whoever looks at a table to plan does not keep these. How many
//! there are is told, and it is for a run to ask them.

use icepress_catalog::metadata::Metadata;
use icepress_model::TimestampMs;
use icepress_table::{
    filter::{Matches, PartitionFilter},
    scan::SnapshotScan,
};

use super::{
    Base, Level, Sum,
    column::{AgeColumn, PartitionAge},
    last_commit,
    policy::AgePolicy,
};

/// What there is of rows that are too old, now or later.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AgeOutlook {
    /// Partitions that are too old by their values.
    pub partitions: u64,
    /// What is in them.
    pub old: Sum,
    /// Files of which their statistics alone may say how old their rows are.
    pub untold: Sum,
    /// When the next partition will be too old, if nobody writes. `None` where ages count from the last commit: nothing gets
    /// older then.
    pub next: Option<TimestampMs>,
    /// Since when nothing has become older but by a commit of somebody; `None` where everything does all the time.
    pub as_of: Option<TimestampMs>,
}

/// Says what [`apply`](super::apply) would let go of, as far as partitions tell. `None` where nothing gets too old. The error is a
/// message for people: what the table says of it can't be read.
pub fn outlook(
    metadata: &Metadata,
    scan: &SnapshotScan,
    now: TimestampMs,
) -> Result<Option<AgeOutlook>, String> {
    let Some(policy) = AgePolicy::of(metadata.properties())? else {
        return Ok(None);
    };
    let filter = PartitionFilter::of_table(metadata)?;
    let keep = i64::try_from(policy.keep.as_millis()).unwrap_or(i64::MAX);
    let base = match policy.base {
        Base::Now => Some(now.get()),
        Base::LastCommit => last_commit(metadata),
    };
    let cutoff = base.unwrap_or(i64::MIN).saturating_sub(keep);
    let column = AgeColumn::of(metadata, &policy, cutoff)?;
    let Some(base) = base else {
        return Ok(None);
    };

    let mut sums = vec![Sum::default(); scan.partitions().len()];
    for file in scan.data_files() {
        sums[file.partition as usize].add(Sum {
            files: 1,
            rows: file.rows,
            bytes: file.size,
        });
    }
    let mut outlook = AgeOutlook {
        as_of: (policy.base == Base::LastCommit).then_some(TimestampMs(base)),
        ..AgeOutlook::default()
    };
    for (partition, sum) in scan.partitions().iter().zip(sums) {
        let takes_whole = |filter: &PartitionFilter| {
            filter.matches(metadata, partition.spec_id, &partition.value) == Matches::All
        };
        if sum.files == 0 || !filter.as_ref().is_none_or(takes_whole) {
            continue;
        }
        let spec = metadata.partition_spec_by_id(partition.spec_id.get());
        let told = spec.map(|spec| column.told_by_partition(spec, &partition.value));
        match told.unwrap_or(PartitionAge::Nothing) {
            PartitionAge::Span(span) if span.old_from <= cutoff => {
                outlook.partitions += 1;
                outlook.old.add(sum);
            }
            PartitionAge::Span(span) => {
                // Some of its files may be older than the youngest.
                if policy.level != Level::Partition && span.begins <= cutoff {
                    outlook.untold.add(sum);
                }
                if policy.base == Base::Now {
                    let at = TimestampMs(span.old_from.saturating_add(keep));
                    outlook.next = Some(outlook.next.map_or(at, |next| next.min(at)));
                }
            }
            PartitionAge::Ageless => {}
            PartitionAge::Nothing => outlook.untold.add(sum),
        }
    }
    Ok(Some(outlook))
}
