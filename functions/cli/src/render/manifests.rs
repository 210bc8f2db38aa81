//! Manifests that were or would be written anew, for people.

use icepress_model::TableId;
use icepress_upkeep::manifests::{KindPlan, ManifestPlan, ManifestReport};

use super::{count, counted};

/// What was done.
pub(crate) fn of_report(table: &TableId, report: &ManifestReport) -> String {
    let mut text = match (report.rewritten, report.snapshot_id) {
        (Some(done), _) => format!(
            "{table}: {} written anew as {}, {} left alone\n",
            counted(done.replaced, "manifest"),
            count(done.created),
            count(done.kept)
        ),
        (None, Some(snapshot)) => format!("{table}: manifests were written anew by {snapshot}\n"),
        (None, None) => format!("{table}: no manifest is written anew\n"),
    };
    text.push_str(&of_kinds(&report.plan));
    text
}

/// What would be done.
pub(crate) fn of_plan(table: &TableId, plan: &ManifestPlan) -> String {
    let chosen = plan.kinds.iter().filter(|kind| kind.rewrite);
    let text = match chosen.map(|kind| kind.candidates).sum::<u64>() {
        0 => format!("{table}: no manifest would be written anew\n"),
        some => format!(
            "{table}: {} would be written anew\n",
            counted(some, "manifest")
        ),
    };
    text + &of_kinds(plan)
}

fn of_kinds(plan: &ManifestPlan) -> String {
    plan.kinds.iter().map(of_kind).collect()
}

fn of_kind(kind: &KindPlan) -> String {
    let content = match kind.content {
        icepress_table::ManifestContent::Data => "data files",
        icepress_table::ManifestContent::Deletes => "delete files",
    };
    let price = match kind.rewrite {
        true => format!(" ({})", kind.price),
        false => String::new(),
    };
    format!(
        "  {content}, spec {}: {} of {}; {}{price}\n",
        kind.spec_id,
        counted(kind.before.manifests, "manifest"),
        kind.before.bytes,
        kind.reason
    )
}
