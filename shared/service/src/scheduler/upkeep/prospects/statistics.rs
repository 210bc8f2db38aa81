//! Statistics of partitions: due where the current snapshot has none, once a day at most. They save whoever plans queries what
//! nobody can weigh.

use icepress_catalog::metadata::Metadata;
use icepress_model::{Bytes, NanoDollars};
use icepress_upkeep::statistics::{StatisticsPlan, outlook};

use super::{Prospect, Read, Worth, cost_of};
use crate::Settings;

/// What a run would come to.
pub(super) fn prospect(
    settings: &Settings,
    metadata: &Metadata,
    read: &Read<'_>,
) -> Result<Prospect, String> {
    let plan = outlook(metadata)?;
    // From earlier ones on about as many manifests are read as there are snapshots since.
    let reads = match plan.since {
        Some(_) => read.manifests.min(20),
        None => read.manifests,
    };
    Ok(of_plan(plan, cost_of(settings, reads + 10, 8)))
}

pub(in crate::scheduler::upkeep) fn of_plan(plan: StatisticsPlan, costs: NanoDollars) -> Prospect {
    let worth = Worth {
        reason: plan.reason,
        saves_a_month: Some(NanoDollars::ZERO),
        costs,
        frees: Bytes::ZERO,
    };
    Prospect::Work {
        now: plan.write.then_some(worth),
        // They are of a snapshot: what asks for more of them is a commit, and that is looked at.
        next: None,
        next_after_commit: None,
        as_of: None,
        rest: None,
    }
}
