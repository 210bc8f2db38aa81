//! `icepress explain TABLE`: why a table is as it is.

use icepress_model::TableId;
use icepress_service::{SetBy, tables};
use serde_json::json;

use crate::{
    failure::{Ending, Failure},
    render::{
        Output,
        known::{Known, Past},
        plan as show,
    },
    session::Session,
};

/// Prints plan, state and history of a table.
pub(super) async fn explain(
    session: &Session,
    table: &TableId,
    output: Output,
) -> Result<Ending, Failure> {
    let explained = tables::explain(&session.context, table)
        .await
        .map_err(|error| super::failure_of_table(&error))?;
    let location = explained
        .plan
        .base
        .as_ref()
        .map(|base| &base.metadata_location);
    let now = session.context.ambient.now();
    let mut known = match explained.unread.first() {
        Some(unread) => Known::unreadable(table, unread),
        None => Known::new(table, location, explained.row.as_ref(), now),
    };
    known.refresh(&explained.plan);
    let past: Vec<Past> = explained.processes.iter().map(Past::new).collect();
    let document = json!({
        "table": known,
        "plan": explained.plan,
        "processes": past,
        "mode": explained.ruling.mode,
        "mode_set_by": explained.ruling.set_by.to_string(),
        "unread": explained.unread,
        "sort_order": explained.sort_order,
        "sort_order_is_kept": explained.sort_order.is_none(),
    });
    output.print(&document, || {
        let mut text = show::of_plan(table, &explained.plan);
        if let Some(order) = &explained.sort_order {
            text.push_str(&format!(
                "sorted by {order}: not kept, a rewrite leaves rows in the order of its inputs\n"
            ));
        }
        for unread in &explained.unread {
            text.push_str(&format!("can't be read: {unread}\n"));
        }
        let ruling = &explained.ruling;
        if ruling.set_by != SetBy::Default {
            text.push_str(&format!("mode: {}, {}\n", ruling.mode, ruling.set_by));
        }
        text.push_str(&known.story(now));
        for process in &past {
            text.push_str(&process.line(now));
        }
        text
    })?;
    Ok(Ending::Well)
}
