//! `icepress processes`: what is under way, and what it waits for.

use icepress_service::processes::{self, UnderWay, Work};
use serde_json::{Value, json};

use crate::{
    arguments::ProcessesArguments,
    failure::{Ending, Failure},
    render::{Output, count, known::ago, table},
    session::Session,
};

/// Lists the processes under way, of one table or of all.
pub(super) async fn processes(
    session: &Session,
    wanted: &ProcessesArguments,
    output: Output,
) -> Result<Ending, Failure> {
    let most = match wanted.limit {
        0 => usize::MAX,
        limit => limit,
    };
    let found = processes::under_way(&session.context, session.tables.first(), most)
        .await
        .map_err(Failure::work)?;
    let document: Vec<Value> = found.work.iter().map(object).collect();
    let unread = unread(&found);
    output.print(
        &json!({ "processes": document, "more": found.more, "unread": unread }),
        || {
            let mut lines = Vec::new();
            if found.work.is_empty() && unread.is_empty() {
                lines.push("no process is under way".to_owned());
            }
            if !found.work.is_empty() {
                let header = ["process", "kind", "table", "age", "open tasks", "waits for"];
                lines.push(table(
                    &header,
                    &[3, 4],
                    found.work.iter().map(cells).collect(),
                ));
            }
            lines.extend(unread.iter().map(|row| format!("can't be read: {row}")));
            if found.more > 0 {
                let more = count(found.more);
                lines.push(format!(
                    "{more} younger ones: --limit shows more, or all with 0"
                ));
            }
            lines.join("\n")
        },
    )?;
    Ok(Ending::Well)
}

fn unread(found: &UnderWay) -> Vec<String> {
    let mut unread = found.unread.clone();
    if found.more_unread > 0 {
        unread.push(format!("and {} more", found.more_unread));
    }
    unread
}

fn object(work: &Work) -> Value {
    json!({
        "process": work.process.as_str(),
        "kind": work.kind,
        "table": work.table.to_string(),
        "started_at": work.started_at.get(),
        "tasks": work.tasks,
        "waits_for": work.waits_for,
    })
}

fn cells(work: &Work) -> Vec<String> {
    vec![
        work.process.to_string(),
        work.kind.to_string(),
        work.table.to_string(),
        ago(work.age),
        format!("{} of {}", work.open_tasks, work.all_tasks),
        work.waits_for.clone(),
    ]
}
