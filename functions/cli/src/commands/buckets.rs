//! `icepress buckets`: into how many buckets the tables are shared out, and `icepress buckets resize N`: another number,
//! while everything goes on.

use std::num::NonZeroU32;

use icepress_coordination::Layout;
use icepress_model::{BucketCount, TimestampMs};
use icepress_service::buckets::{self, BucketView, Moves, Overview, ResizeError};
use serde_json::{Value, json};

use crate::{
    failure::{Ending, Failure},
    render::{Output, counted, known::ago, table},
    session::Session,
};

/// Shows the layout and where each bucket stands.
pub(super) async fn show(session: &Session, output: Output) -> Result<Ending, Failure> {
    let context = &session.context;
    let overview = buckets::overview(context).await.map_err(Failure::work)?;
    let now = context.ambient.now();
    let document = json!({
        "buckets": overview.layout.buckets.0,
        "layout": overview.layout.generation.get(),
        "moving": overview.layout.is_moving(),
        "astray": overview.astray,
        "unreadable": overview.unreadable,
        "each": overview.buckets.iter().map(object).collect::<Vec<Value>>(),
    });
    output.print(&document, || text(&overview, now))?;
    Ok(Ending::Well)
}

fn object(view: &BucketView) -> Value {
    json!({
        "bucket": view.bucket.0,
        "stays": view.stays,
        "tables": view.tables,
        "due": view.due,
        "under_way": view.under_way,
        "owner": view.owner.as_ref().map(|owner| owner.as_str()),
        "last_swept_at": (view.last_swept_at.get() > 0).then_some(view.last_swept_at.get()),
    })
}

fn text(overview: &Overview, now: TimestampMs) -> String {
    let header = [
        "bucket",
        "tables",
        "due",
        "under way",
        "last swept",
        "held by",
    ];
    let rows = overview.buckets.iter().map(|view| {
        let swept = match view.last_swept_at.get() {
            0 => "never".to_owned(),
            _ => format!("{} ago", ago(now.since(view.last_swept_at))),
        };
        let owner = view.owner.as_ref().map_or("", |owner| owner.as_str());
        let bucket = match view.stays {
            true => view.bucket.to_string(),
            false => format!("{} (to be given up)", view.bucket),
        };
        vec![
            bucket,
            view.tables.to_string(),
            view.due.to_string(),
            view.under_way.to_string(),
            swept,
            owner.to_owned(),
        ]
    });
    let mut lines = vec![table(&header, &[1, 2, 3], rows.collect())];
    if overview.layout.is_moving() {
        lines.push(format!(
            "tables are moving to {}: every tick goes on with it, and so does `icepress buckets resize {}`",
            counted(u64::from(overview.layout.buckets.0.get()), "bucket"),
            overview.layout.buckets
        ));
    }
    if overview.astray > 0 {
        lines.push(format!(
            "{} in no bucket that is looked after: the next listing of their databases finds them",
            counted(overview.astray, "table")
        ));
    }
    if overview.unreadable > 0 {
        lines.push(format!(
            "{} of tables can't be read: see `icepress doctor`",
            counted(overview.unreadable, "row")
        ));
    }
    lines.join("\n")
}

/// Changes the number.
pub(super) async fn resize(
    session: &Session,
    number: NonZeroU32,
    output: Output,
) -> Result<Ending, Failure> {
    let context = &session.context;
    let resized = buckets::resize(context, BucketCount(number))
        .await
        .map_err(failure)?;
    let (before, after, moves) = (resized.before, resized.after, resized.moves);
    let document = json!({
        "before": before.buckets.0,
        "after": after.buckets.0,
        "layout": after.generation.get(),
        "moved": moves.moved,
        "under_way": moves.under_way,
        "unreadable": moves.unreadable,
        "settled": moves.is_settled,
    });
    output.print(&document, || described(&before, &after, &moves))?;
    Ok(Ending::Well)
}

fn failure(error: ResizeError) -> Failure {
    match &error {
        ResizeError::TooMany(_) => Failure::Use(error.to_string()),
        ResizeError::NoQueues { .. } => Failure::Use(format!(
            "{error}\nraise `buckets` in Terraform and apply it first; then ask again"
        )),
        ResizeError::Coordination(_) => Failure::work(error),
    }
}

fn described(before: &Layout, after: &Layout, moves: &Moves) -> String {
    let number = counted(u64::from(after.buckets.0.get()), "bucket");
    let mut lines = Vec::new();
    if before.generation == after.generation && !before.is_moving() {
        return format!("there are {number} already");
    }
    lines.push(format!(
        "{number}, and {} moved",
        counted(moves.moved, "table")
    ));
    if moves.under_way > 0 {
        lines.push(format!(
            "{} under way with tasks in queues to be given up: keep those until `icepress buckets` shows {number} only",
            counted(moves.under_way, "process").replace("processs", "processes")
        ));
    } else if after.swept() > after.buckets && moves.is_settled {
        lines.push(format!(
            "nothing is left in the others: lower `buckets` in Terraform to {} and apply it, where there is any",
            after.buckets
        ));
    }
    if moves.unreadable > 0 {
        lines.push(format!(
            "{} of tables can't be read and hold up the rest: see `icepress doctor`",
            counted(moves.unreadable, "row")
        ));
    }
    lines.join("\n")
}
