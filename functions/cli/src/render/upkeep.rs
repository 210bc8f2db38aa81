//! What upkeep does or would do, for people.

use icepress_model::TableId;
use icepress_upkeep::{
    Counted, Counts, ExpirePlan, ExpireReport, FileKind, OrphanPlan, OrphanReport, OrphanSurvey,
    Spared,
};

use super::{count, counted};

/// What was done.
pub(crate) fn of_report(table: &TableId, report: &ExpireReport) -> String {
    let mut text = format!(
        "{table}: {} expired, {} left\n",
        counted(report.snapshots.len() as u64, "snapshot"),
        count(report.snapshots_kept)
    );
    text.push_str(&of_files("deleted", &report.files));
    text.push_str(&of_rest(&report.refs, &report.spared, report.outside));
    if report.revived.files > 0 {
        text.push_str(&format!(
            "  {} had been written down as dead, are needed again, and stay\n",
            counted(report.revived.files, "file")
        ));
    }
    if report.unfinished {
        text.push_str("  a limit was reached: the next run goes on from here\n");
    }
    text
}

/// What would be done.
pub(crate) fn of_plan(table: &TableId, plan: &ExpirePlan) -> String {
    let mut text = format!(
        "{table}: {} would be expired, {} would be left\n",
        counted(plan.snapshots.len() as u64, "snapshot"),
        count(plan.snapshots_kept)
    );
    text.push_str(&of_files("would be deleted", &plan.files));
    text.push_str(&of_rest(&plan.refs, &plan.spared, plan.outside));
    if plan.unfinished {
        text.push_str("  an earlier run left files to delete, which come first\n");
    }
    text
}

/// What became of files that nothing refers to.
pub(crate) fn of_orphans(table: &TableId, report: &OrphanReport) -> String {
    let mut text = of_survey(table, &report.survey);
    text.push_str(&of_files("deleted", &report.files));
    text.push_str(&of_files("written down for a later run", &report.waiting));
    if report.revived.files > 0 {
        text.push_str(&format!(
            "  {} came into the table meanwhile, and stay\n",
            counted(report.revived.files, "file")
        ));
    }
    if report.unfinished {
        text.push_str("  a limit was reached: the next run goes on from here\n");
    }
    text
}

/// What would become of them.
pub(crate) fn of_orphan_plan(table: &TableId, plan: &OrphanPlan) -> String {
    let mut text = of_survey(table, &plan.survey);
    text.push_str(&of_files("would be deleted", &plan.files));
    text.push_str(&of_files(
        "would be written down for a later run",
        &plan.waiting,
    ));
    for example in &plan.survey.examples {
        text.push_str(&format!("    {example}\n"));
    }
    text
}

fn of_survey(table: &TableId, survey: &OrphanSurvey) -> String {
    let unreferenced: u64 = survey
        .unreferenced
        .values()
        .map(|counts| counts.files)
        .sum();
    let mut text = format!(
        "{table}: {} in {}, {} that nothing refers to\n",
        counted(survey.listed.files, "file"),
        survey.folders.join(", "),
        count(unreferenced),
    );
    let kept = [
        (
            survey.young,
            "may be committed yet, being younger than a day",
        ),
        (survey.in_use, "are of a writer that is at work"),
        (survey.hidden, "are hidden (_ or . before their name)"),
        (
            survey.old_metadata,
            "are metadata files that left the log (write.metadata.delete-after-commit.enabled is not set)",
        ),
    ];
    for (counts, why) in kept {
        if counts.files > 0 {
            let files = counted(counts.files, "file");
            text.push_str(&format!("  {files} ({}) stay: they {why}\n", counts.bytes));
        }
    }
    for unasked in &survey.unasked {
        text.push_str(&format!("  not asked where it lies: {unasked}\n"));
    }
    text
}

fn of_files(what: &str, files: &Counted) -> String {
    let lines = files.iter().map(|(kind, counts)| {
        let name = match kind {
            FileKind::Data => "data file",
            FileKind::Delete => "delete file",
            FileKind::Statistics => "statistics file",
            FileKind::Manifest => "manifest",
            FileKind::ManifestList => "manifest list",
            FileKind::Metadata => "metadata file",
            FileKind::Other => "other file",
        };
        let size = match counts.bytes.get() {
            0 => String::new(),
            _ => format!(" ({})", counts.bytes),
        };
        format!("  {what}: {}{size}\n", counted(counts.files, name))
    });
    lines.collect()
}

fn of_rest(refs: &[String], spared: &[Spared], outside: Counts) -> String {
    let mut text = String::new();
    if !refs.is_empty() {
        text.push_str(&format!(
            "  branches and tags past their age: {}\n",
            refs.join(", ")
        ));
    }
    for spared in spared {
        text.push_str(&format!(
            "  snapshot {} stays: {}\n",
            spared.snapshot_id, spared.why
        ));
    }
    if outside.files > 0 {
        text.push_str(&format!(
            "  {} that nobody needs lie outside the table's own folders, and stay\n",
            counted(outside.files, "file")
        ));
    }
    text
}
