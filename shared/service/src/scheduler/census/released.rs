//! Tables that were only observed, and are not any more: they are marked, for nobody else would look at them before they change.
//!
//! Rows of observed tables are at rest, and what is configured stands nowhere but in whoever runs. So the digest of each
//! database notes under which modes it was made, and a census under others reads the database's rows once. That is before
//! the digest is written: whoever dies in between leaves it to the next.

use std::collections::BTreeSet;

use icepress_coordination::{CoordinationError, KeyRange, Layout, Listing};
use icepress_model::{BucketId, DatabaseId, Scope, TableId};

use super::{MOST_UNMARKED, mark_if_known};
use crate::{Context, Event, scheduler::observed};

/// Marks them; says in which buckets, and whether the store took all of the marks.
pub(super) async fn mark(
    context: &Context,
    layout: &Layout,
    database: &DatabaseId,
) -> Result<(BTreeSet<BucketId>, bool), CoordinationError> {
    let (mut marked, mut refused) = (BTreeSet::new(), 0);
    for table in released(context, database).await? {
        match mark_if_known(context, layout, &table).await {
            Ok(true) => {
                marked.insert(layout.home_of(&table).bucket);
            }
            // Forgotten meanwhile.
            Ok(false) => {}
            Err(error) if refused < MOST_UNMARKED => {
                refused += 1;
                context.tell(Event::TableFailed {
                    message: format!("table {table}, which is not only observed any more: {error}"),
                    table,
                });
            }
            Err(error) => return Err(error),
        }
    }
    Ok((marked, refused == 0))
}

/// Tables of the database itself. A row that can't be read is told by the sweep of its bucket.
async fn released(
    context: &Context,
    database: &DatabaseId,
) -> Result<Vec<TableId>, CoordinationError> {
    let scope = Scope::Database(database.clone());
    let range = KeyRange::new(Some(&scope), None);
    let mut rows = Listing::new(&context.store, &range, None);
    let mut released = Vec::new();
    while let Some(listed) = rows.next().await? {
        let Ok(row) = listed.row else { continue };
        if row.table.database() == *database && observed::is_released(context, &row) {
            released.push(row.table);
        }
    }
    Ok(released)
}
