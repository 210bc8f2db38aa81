//! Manifests: due when planning pays for it, by what the look at the table has read anyway.

use icepress_catalog::metadata::Metadata;
use icepress_model::{Bytes, NanoDollars};
use icepress_upkeep::manifests::{ManifestPlan, outlook};

use super::{Prospect, Read, Worth, cost_of};
use crate::Settings;

/// What a run would come to.
pub(super) fn prospect(
    settings: &Settings,
    metadata: &Metadata,
    read: &Read<'_>,
) -> Result<Prospect, String> {
    let plan = match read.layout {
        Some(layout) => outlook(metadata, layout)?,
        None => ManifestPlan::default(),
    };
    // Beside what is written anew every manifest is read once to decide.
    Ok(of_plan(&plan, cost_of(settings, read.manifests + 10, 6)))
}

pub(in crate::scheduler::upkeep) fn of_plan(plan: &ManifestPlan, costs: NanoDollars) -> Prospect {
    let kinds = || plan.kinds.iter().filter(|kind| kind.rewrite);
    let reasons: Vec<&str> = kinds().map(|kind| kind.reason.as_str()).collect();
    let worth = Worth {
        reason: reasons.join("; "),
        // By plannings it is weighed already.
        saves_a_month: None,
        costs: kinds().fold(costs, |sum, kind| sum + kind.price),
        frees: Bytes::ZERO,
    };
    Prospect::Work {
        now: kinds().next().is_some().then_some(worth),
        // Manifests come by commits alone.
        next: None,
        next_after_commit: None,
        as_of: None,
        rest: None,
    }
}
