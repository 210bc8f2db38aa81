//! Tables that were listed and have no row: a census wrote down their names, and nothing else is known of them.

use futures::{StreamExt as _, stream};
use icepress_coordination::{CoordinationError, Finding};
use icepress_model::DatabaseId;

use super::LISTED;
use crate::{
    Context,
    scheduler::census::announced::{Rowless, without_rows},
};

/// Databases that are looked at at the same time.
const LOOKS_AT_ONCE: usize = 16;

/// What there is to tell, and why not all of it can be told.
pub(super) async fn findings(context: &Context) -> Vec<Result<Vec<Finding>, CoordinationError>> {
    let mut findings = Vec::new();
    let (mut more, mut failure) = (0, None);
    for open in context.catalogs.iter() {
        let catalog = open.catalog.name();
        // One that can't be asked is told of by itself.
        let namespaces = open.catalog.list_namespaces().await.unwrap_or_default();
        let looks = namespaces.into_iter().map(async |namespace| {
            let database = DatabaseId {
                catalog: catalog.clone(),
                namespace,
            };
            let digest = context.store.digest(&database).await?;
            without_rows(context, &database, &digest).await
        });
        let mut looks = stream::iter(looks).buffered(LOOKS_AT_ONCE);
        while let Some(look) = looks.next().await {
            match look {
                Ok(rowless) => {
                    let room = LISTED.saturating_sub(findings.len());
                    more += rowless.len().saturating_sub(room);
                    findings.extend(rowless.into_iter().take(room).map(of));
                }
                Err(error) => drop(failure.get_or_insert(error)),
            }
        }
    }
    if more > 0 {
        findings.push(Finding::wrong(
            "tables",
            format!("{more} more were listed and have no row"),
            "mend what is wrong with those above, then ask again",
        ));
    }
    let failure = failure.map(Err);
    std::iter::once(Ok(findings)).chain(failure).collect()
}

fn of(rowless: Rowless) -> Finding {
    let table = rowless.table;
    let seen = match rowless.unreadable {
        Some(error) => format!("was listed, and its row can't be read: {error}"),
        None => "was listed, and has no row: the state store did not take it, or the scheduler ended before".to_owned(),
    };
    Finding::wrong(
        format!("table {table}"),
        seen,
        format!(
            "see what the scheduler's log says of table {table}; every census tries it again, and the other tables do not wait \
             for it"
        ),
    )
}
