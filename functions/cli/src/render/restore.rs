//! What a restore does or would do, for people.

use icepress_model::TableId;
use icepress_upkeep::restore::{Amount, CommitSeen, Difference, RestorePlan, SchemaSeen};
use jiff::Timestamp;

use super::{count, counted};

/// Commits that are listed, of each side.
const LISTED: usize = 20;

/// What is or would be done.
pub(crate) fn of_restore(table: &TableId, plan: &RestorePlan, done: bool) -> String {
    let (branch, to) = (&plan.branch, &plan.to);
    if plan.is_empty() {
        return format!(
            "{table}: {branch} is at snapshot {} already: nothing to do\n",
            to.snapshot_id
        );
    }
    let verb = if done { "was set" } else { "would be set" };
    let mut text = format!(
        "{table}: {branch} {verb} back to snapshot {} of {} ({})\n",
        to.snapshot_id,
        moment(to.timestamp_ms),
        plan.found
    );
    text.push_str(&of_commits("undone", &plan.undone));
    text.push_str(&of_commits("brought back", &plan.returned));
    if plan.more_expired {
        text.push_str("  and what lies between, whose snapshots are expired\n");
    }
    text.push_str(&match &plan.difference {
        Some(difference) => of_difference(difference),
        None => "  which rows come and go can't be told: manifests are gone\n".to_owned(),
    });
    if let Some(schema) = &plan.schema {
        text.push_str(&of_schema(schema));
    }
    if plan.missing.files > 0 {
        text.push_str(&format!(
            "  MISSING: {} that the snapshot needs:\n",
            counted(plan.missing.files, "file")
        ));
        for named in &plan.missing.named {
            text.push_str(&format!("    {named}\n"));
        }
        let unnamed = plan.missing.files - plan.missing.named.len() as u64;
        if unnamed > 0 {
            text.push_str(&format!("    and {} more\n", count(unnamed)));
        }
        text.push_str("  With files missing nothing is restored: choose another state\n");
        return text;
    }
    text.push_str(&format!(
        "  {} that it needs are there\n",
        counted(plan.missing.checked, "file")
    ));
    if done {
        text.push_str(&of_undoing(table, plan));
    } else if let Some((tag, until)) = plan.kept_as.as_ref().zip(plan.kept_until_ms) {
        text.push_str(&format!(
            "  what is left would be kept as tag {tag} until {}\n",
            moment(until)
        ));
    }
    text
}

/// How what was done can be undone.
pub(crate) fn of_undoing(table: &TableId, plan: &RestorePlan) -> String {
    let Some((tag, until)) = plan.kept_as.as_ref().zip(plan.kept_until_ms) else {
        return of_restore(table, plan, true);
    };
    let branch = match plan.branch.as_str() {
        "main" => String::new(),
        branch => format!(" --branch {branch}"),
    };
    let schema = plan.schema.as_ref();
    let schema = schema.filter(|schema| schema.restored_id != schema.current_id);
    let schema = schema.map(|schema| format!(" --schema {}", schema.current_id));
    format!(
        "{table}: {} is at snapshot {}\n  to undo this, until {}: icepress restore {table} --to {tag}{branch}{}\n",
        plan.branch,
        plan.to.snapshot_id,
        moment(until),
        schema.unwrap_or_default(),
    )
}

fn of_commits(what: &str, commits: &[CommitSeen]) -> String {
    if commits.is_empty() {
        return String::new();
    }
    let mut text = format!("  {what}: {}\n", counted(commits.len() as u64, "commit"));
    for commit in commits.iter().take(LISTED) {
        let rows = match (commit.added_rows, commit.deleted_rows) {
            (None, None) => String::new(),
            (added, deleted) => format!(
                ", {} rows added and {} taken out with their files",
                count(added.unwrap_or(0)),
                count(deleted.unwrap_or(0))
            ),
        };
        let by = commit.by.as_ref().map(|by| format!(", by {by}"));
        text.push_str(&format!(
            "    {} {} {}{rows}{}\n",
            moment(commit.timestamp_ms),
            commit.snapshot_id,
            commit.operation,
            by.unwrap_or_default()
        ));
    }
    if commits.len() > LISTED {
        let more = (commits.len() - LISTED) as u64;
        text.push_str(&format!("    and {} before them\n", count(more)));
    }
    text
}

fn of_difference(difference: &Difference) -> String {
    let line = |what: &str, amount: &Amount, file: &str, unit: &str| match amount.files {
        0 => String::new(),
        files => format!(
            "  {what}: {} with {} {unit} ({})\n",
            counted(files, file),
            count(amount.rows.get()),
            amount.bytes
        ),
    };
    let Difference {
        data_back,
        data_gone,
        deletes_back,
        deletes_gone,
    } = difference;
    let text = [
        line("come back", data_back, "data file", "rows"),
        line("go", data_gone, "data file", "rows"),
        line("apply again", deletes_back, "delete file", "deletes"),
        line("apply no longer", deletes_gone, "delete file", "deletes"),
    ];
    let text = text.concat();
    if text.is_empty() {
        return "  the same files: no row comes or goes\n".to_owned();
    }
    text
}

fn of_schema(schema: &SchemaSeen) -> String {
    let mut text = format!(
        "  the schema has changed since: {} then, {} now",
        schema.snapshot_id, schema.current_id
    );
    let list = |what: &str, columns: &[String]| match columns {
        [] => String::new(),
        columns => format!("; {what} {}", columns.join(", ")),
    };
    text.push_str(&list("came since:", &schema.added));
    text.push_str(&list("gone since:", &schema.lacking));
    let restored = match schema.restored_id == schema.current_id {
        true if schema.snapshot_id == schema.current_id => "; it stays",
        true => "; it stays (--schema snapshot sets it back, too)",
        false => "; it is set back, too",
    };
    text.push_str(restored);
    text.push('\n');
    text
}

fn moment(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map_or_else(
        |_| millis.to_string(),
        |moment| moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}
