//! What upkeep does or would do, for people.

use icepress_model::TableId;
use icepress_upkeep::{
    Counted, Counts, ExpirePlan, ExpireReport, FileKind, OrphanPlan, OrphanReport, OrphanSurvey,
    Spared,
    ages::{AgePlan, Level, Sum},
    tags::TagPlan,
};
use jiff::Timestamp;

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
    if report.versions > 0 {
        text.push_str(&format!(
            "  the catalog forgot {} of its entry\n",
            counted(report.versions, "old version")
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
    text.push_str(&of_files(
        "marked, for a later run to delete",
        &report.quarantined,
    ));
    text.push_str(&of_files("written down for a later run", &report.waiting));
    if report.released > 0 {
        text.push_str(&format!(
            "  {} needed again: the mark is off\n",
            counted(report.released, "file")
        ));
    }
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
        "would be marked, for a later run to delete",
        &plan.quarantined,
    ));
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
    if let Some(inventory) = &survey.inventory {
        text.push_str(&format!("  as the inventory {} says\n", inventory.manifest));
    }
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

/// Which tags were or would be made and removed.
pub(crate) fn of_tags(table: &TableId, plan: &TagPlan, done: bool) -> String {
    let verb = if done { "were" } else { "would be" };
    let mut text = format!(
        "{table}: {} {verb} made, {} {verb} removed\n",
        counted(plan.created.len() as u64, "tag"),
        count(plan.removed.len() as u64)
    );
    for tag in &plan.created {
        let until = tag
            .until_ms
            .and_then(|until| Timestamp::from_millisecond(until).ok());
        let until = until.map_or_else(|| "for ever".to_owned(), |until| format!("until {until}"));
        text.push_str(&format!(
            "  {}: snapshot {}, kept {until}\n",
            tag.name, tag.snapshot_id
        ));
    }
    for name in &plan.removed {
        text.push_str(&format!("  {name}: its time is over\n"));
    }
    for skipped in &plan.skipped {
        text.push_str(&format!("  {}: not now: {}\n", skipped.name, skipped.why));
    }
    text
}

/// What was or would be let go of, since it is too old.
pub(crate) fn of_ages(table: &TableId, plan: &AgePlan, done: bool) -> String {
    if let Some(off) = &plan.off {
        return format!("{table}: no row gets too old: {off}\n");
    }
    let verb = if done { "went" } else { "would go" };
    let size = |sum: &Sum| {
        format!(
            "{} with {} rows ({})",
            counted(sum.files, "data file"),
            count(sum.rows.get()),
            sum.bytes
        )
    };
    let mut text = format!("{table}: {} {verb}", size(&plan.old));
    let up_to = plan
        .up_to_ms
        .and_then(|up_to| Timestamp::from_millisecond(up_to).ok());
    if let Some((field, up_to)) = plan.field.as_ref().zip(up_to) {
        text.push_str(&format!(", whose every {field} is of {up_to} or before"));
    }
    text.push('\n');
    for partition in plan.partitions.iter().take(20) {
        let name = match partition.partition_name.as_str() {
            "" => "the whole table",
            name => name,
        };
        text.push_str(&format!("  {name}: {}\n", size(&partition.old)));
    }
    let unnamed = plan.partitions.len().saturating_sub(20) as u64 + plan.more_partitions;
    if unnamed > 0 {
        text.push_str(&format!("  and {} more\n", counted(unnamed, "partition")));
    }
    if plan.mixed.files > 0 {
        let verb = if done { "were" } else { "would be" };
        let gone = match plan.mixed_rows_gone {
            Some(rows) => format!("; {} rows are gone", count(rows.get())),
            None => String::new(),
        };
        text.push_str(&format!(
            "  {} have older rows beside others: they {verb} written anew without those{gone}\n",
            size(&plan.mixed)
        ));
    }
    if plan.left_for_later.files > 0 {
        text.push_str(&format!(
            "  {} more are left for the next run\n",
            size(&plan.left_for_later)
        ));
    }
    if plan.delete_files > 0 {
        let deletes = counted(plan.delete_files, "delete file");
        text.push_str(&format!(
            "  with them {deletes} that nothing needed any more\n"
        ));
    }
    if plan.held_by_partition.files > 0 && plan.level == Some(Level::Partition) {
        text.push_str(&format!(
            "  {} are as old, and stay since not all of their partitions is\n",
            size(&plan.held_by_partition)
        ));
    }
    if plan.filtered.files > 0 {
        text.push_str(&format!(
            "  {} are as old, and stay since icepress.partition-filter does not take their partitions in whole\n",
            size(&plan.filtered)
        ));
    }
    if plan.unknown.files > 0 {
        text.push_str(&format!(
            "  of {} nobody says how old their rows are: they stay\n",
            size(&plan.unknown)
        ));
    }
    text
}
