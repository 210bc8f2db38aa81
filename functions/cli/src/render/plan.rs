//! A plan for people: what would be rewritten and why, and why the rest would not.

use icepress_model::{
    Bytes, Group, GroupReason, LeftAlone, PlanSetting, PlanTotals, TableId, TablePlan, Tier,
};

use super::{count, counted, report::health, table};

/// Lines of each list that are shown; the rest is counted, and is in the JSON.
const SHOWN: usize = 40;

/// The plan of a table.
pub(crate) fn of_plan(name: &TableId, plan: &TablePlan) -> String {
    let mut text = format!(
        "{name}: {}\nhealth {} of 100 (Amoro's score {})\n",
        of_totals(&plan.totals),
        health(plan.health.score),
        health(plan.health.amoro_score),
    );
    if plan.base.is_none() {
        text.push_str("the table has no snapshot yet\n");
        return text;
    }
    text.push_str(&of_groups(&plan.groups));
    text.push_str(&of_left_alone(&plan.left_alone));
    if plan.follow_up {
        text.push_str("another plan follows after this one\n");
    }
    text.push_str(&of_settings(&plan.settings));
    text
}

/// By what it was planned, where that is not the default.
fn of_settings(settings: &[PlanSetting]) -> String {
    if settings.is_empty() {
        return String::new();
    }
    let header = ["setting", "value", "set by"];
    let cells = |setting: &PlanSetting| {
        vec![
            setting.name.clone(),
            setting.value.clone(),
            setting.set_by.clone(),
        ]
    };
    let rows = settings.iter().map(cells).collect();
    format!("not as by default:\n{}\n", table(&header, &[1], rows))
}

fn of_totals(totals: &PlanTotals) -> String {
    let mut text = format!(
        "{}, {}, {}",
        counted(totals.data_files, "data file"),
        totals.data_bytes,
        counted(totals.rows.get(), "row"),
    );
    if totals.delete_files > 0 {
        text.push_str(&format!(
            ", {} ({})",
            counted(totals.delete_files, "delete file"),
            totals.delete_bytes
        ));
    }
    text.push_str(&format!(" in {}", counted(totals.partitions, "partition")));
    text
}

fn of_groups(groups: &[Group]) -> String {
    if groups.is_empty() {
        return "nothing to rewrite\n".to_owned();
    }
    let of_tier = |tier: Tier| groups.iter().filter(move |group| group.tier == tier);
    let files = |tier| -> u64 { of_tier(tier).map(|group| group.inputs.len() as u64).sum() };
    let bytes: Bytes = of_tier(Tier::Full).map(Group::input_bytes).sum();
    let outputs: u64 = of_tier(Tier::Full).map(Group::expected_outputs).sum();
    let mut what = Vec::new();
    if files(Tier::Full) > 0 {
        what.push(format!(
            "{} ({bytes}) in {} into about {}",
            counted(files(Tier::Full), "file"),
            counted(of_tier(Tier::Full).count() as u64, "group"),
            counted(outputs, "file"),
        ));
    }
    if files(Tier::Light) > 0 {
        what.push(format!(
            "the delete files of {}",
            counted(files(Tier::Light), "data file"),
        ));
    }
    let dangling: u64 = of_tier(Tier::Dangling)
        .map(|group| group.deletes.len() as u64)
        .sum();
    if dangling > 0 {
        what.push(format!(
            "the table without {} that no data file can match",
            counted(dangling, "delete file"),
        ));
    }
    let header = [
        "partition",
        "files",
        "bytes",
        "delete files",
        "into files",
        "because of",
    ];
    let rows = groups.iter().take(SHOWN).map(cells_of_group).collect();
    format!(
        "to rewrite: {}\n{}\n{}",
        what.join(", and "),
        table(&header, &[1, 2, 3, 4], rows),
        and_more(groups.len(), "group"),
    )
}

fn cells_of_group(group: &Group) -> Vec<String> {
    vec![
        partition(&group.partition_name),
        count(group.inputs.len() as u64),
        group.input_bytes().to_string(),
        count(group.deletes.len() as u64),
        count(group.expected_outputs()),
        because(group).to_owned(),
    ]
}

fn because(group: &Group) -> &'static str {
    if group.tier == Tier::Light {
        return "few rows of large files are deleted: the delete files are rewritten, the data files stay";
    }
    match group.reason {
        GroupReason::EnoughFiles => "enough files of the wrong size",
        GroupReason::EnoughContent => "enough bytes in files of the wrong size",
        GroupReason::TooLarge => "a file that is too large",
        GroupReason::Deletes => "deletes",
        GroupReason::Forced => "all files were asked for",
        GroupReason::Dangling => "no data file can match these delete files",
    }
}

fn of_left_alone(left_alone: &[LeftAlone]) -> String {
    if left_alone.is_empty() {
        return String::new();
    }
    let header = ["partition", "files", "bytes", "because"];
    let rows = left_alone.iter().take(SHOWN).map(|left| {
        vec![
            partition(&left.partition_name),
            count(left.files),
            left.bytes.to_string(),
            left.reason.to_string(),
        ]
    });
    format!(
        "left alone: {}\n{}\n{}",
        counted(left_alone.len() as u64, "partition"),
        table(&header, &[1, 2], rows.collect()),
        and_more(left_alone.len(), "partition"),
    )
}

fn partition(name: &str) -> String {
    if name.is_empty() {
        "(whole table)".to_owned()
    } else {
        name.to_owned()
    }
}

fn and_more(listed: usize, what: &str) -> String {
    match listed.checked_sub(SHOWN) {
        None | Some(0) => String::new(),
        Some(rest) => format!("and {} more\n", counted(rest as u64, what)),
    }
}
