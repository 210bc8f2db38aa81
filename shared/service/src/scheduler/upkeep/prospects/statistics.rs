//! Statistics: of partitions due where the current snapshot has none, of columns where it has no sketches of those that the
//! table asks for; once a day at most. They save whoever plans queries what nobody can weigh.

use icepress_catalog::metadata::Metadata;
use icepress_model::{Bytes, NanoDollars};
use icepress_table::scan::FileFormat;
use icepress_upkeep::statistics::{NdvPlan, StatisticsPlan, outlook};

use super::{Prospect, RECKONED, Read, Worth};
use crate::Settings;

/// What a row group takes that Iceberg's writers make.
const ROW_GROUP: u64 = 128 << 20;

/// What a run would come to.
pub(super) fn prospect(
    settings: &Settings,
    metadata: &Metadata,
    read: &Read<'_>,
) -> Result<Prospect, String> {
    let mut plan = outlook(metadata)?;
    // What can't be read now can't be read tomorrow: whoever asks by hand is told which file it is.
    let mut files = read.scan.data_files().iter();
    let can_be_read = files.all(|file| file.format == FileFormat::Parquet && !file.encrypted);
    if let Some(ndv) = &mut plan.ndv {
        ndv.write &= can_be_read;
    }
    // From earlier ones on about as many manifests are read as there are snapshots since.
    let reads = match plan.since {
        Some(_) => read.manifests.min(20),
        None => read.manifests,
    };
    let costs = cost_of(settings, &plan, reads);
    Ok(of_plan(plan, costs))
}

pub(in crate::scheduler::upkeep) fn cost_of(
    settings: &Settings,
    plan: &StatisticsPlan,
    manifests: u64,
) -> NanoDollars {
    let (mut reads, mut took) = (manifests + 10, RECKONED);
    if let Some(ndv) = plan.ndv.as_ref().filter(|ndv| ndv.write) {
        // Of each file its end, and the columns: a request for each row group of the usual size.
        let row_groups = ndv.bytes.get() / ROW_GROUP;
        reads += manifests + 2 * ndv.files + row_groups;
        let seconds = share_read(ndv) / settings.reckoned_throughput.get().max(1) as f64;
        took += std::time::Duration::from_secs_f64(seconds);
    }
    let prices = &settings.prices;
    prices.of_task(reads, 9, took, settings.billed_memory)
}

/// Bytes that are read of data files, if columns are of one size.
fn share_read(ndv: &NdvPlan) -> f64 {
    let share = ndv.columns.len() as f64 / ndv.all_columns.max(1) as f64;
    ndv.bytes.get() as f64 * share.min(1.0)
}

pub(in crate::scheduler::upkeep) fn of_plan(plan: StatisticsPlan, costs: NanoDollars) -> Prospect {
    let is_due = plan.is_due();
    let reason = match plan.ndv {
        Some(ndv) if ndv.write && plan.write => {
            format!("{}; distinct values: {}", plan.reason, ndv.reason)
        }
        Some(ndv) if ndv.write => format!("distinct values: {}", ndv.reason),
        _ => plan.reason,
    };
    let worth = Worth {
        reason,
        saves_a_month: Some(NanoDollars::ZERO),
        costs,
        frees: Bytes::ZERO,
    };
    Prospect::Work {
        now: is_due.then_some(worth),
        // They are of a snapshot: what asks for more of them is a commit, and that is looked at.
        next: None,
        next_after_commit: None,
        as_of: None,
        rest: None,
    }
}
