//! `icepress processes`: what is under way, and what it waits for.

use icepress_service::processes::{self, Work};
use serde_json::{Value, json};

use crate::{
    failure::{Ending, Failure},
    render::{Output, known::ago, table},
    session::Session,
};

/// Lists the processes under way, of one table or of all.
pub(super) async fn processes(session: &Session, output: Output) -> Result<Ending, Failure> {
    let under_way = processes::under_way(&session.context, session.tables.first())
        .await
        .map_err(Failure::work)?;
    let document: Vec<Value> = under_way.iter().map(object).collect();
    output.print(&json!({ "processes": document }), || {
        if under_way.is_empty() {
            return "no process is under way".to_owned();
        }
        let header = ["process", "table", "age", "open tasks", "waits for"];
        table(&header, &[2, 3], under_way.iter().map(cells).collect())
    })?;
    Ok(Ending::Well)
}

fn object(work: &Work) -> Value {
    json!({
        "process": work.process.as_str(),
        "table": work.table.to_string(),
        "started_at": work.started_at.get(),
        "tasks": work.tasks,
        "waits_for": work.waits_for,
    })
}

fn cells(work: &Work) -> Vec<String> {
    vec![
        work.process.to_string(),
        work.table.to_string(),
        ago(work.age),
        format!("{} of {}", work.open_tasks, work.all_tasks),
        work.waits_for.clone(),
    ]
}
