//! A look at a table that failed, and what is concluded of the table then.

use icepress_catalog::CatalogError;
use icepress_coordination::{Conclusion, CoordinationError, Lease, TableRow};
use icepress_table::TableError;
use serde::{Deserialize, Serialize};

use super::{
    evaluate::{self, EvaluateError},
    visit::wait,
    waiting::Obstacle,
};
use crate::{Context, Event};

/// Why a table could not be looked at: what is to be concluded of it, whoever looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Failure {
    kind: FailureKind,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FailureKind {
    /// Its catalog has no such table.
    Gone,
    /// It is none that we maintain.
    Refused,
    /// Somebody asked for fewer requests.
    Throttled,
    /// Anything else: it is tried again.
    Failed,
}

impl Failure {
    /// Whether its catalog has no such table.
    pub(super) fn is_gone(&self) -> bool {
        self.kind == FailureKind::Gone
    }

    /// What an error comes to.
    pub(crate) fn of(error: &EvaluateError) -> Self {
        let kind = match error {
            error if error.is_throttling() => FailureKind::Throttled,
            EvaluateError::Catalog(CatalogError::NoSuchTable(_)) => FailureKind::Gone,
            EvaluateError::Table(TableError::Unsupported { .. })
            | EvaluateError::Catalog(
                CatalogError::NotIceberg(_) | CatalogError::Unsupported { .. },
            ) => FailureKind::Refused,
            EvaluateError::Catalog(_)
            | EvaluateError::Table(_)
            | EvaluateError::Plan(_)
            | EvaluateError::Limit(_)
            | EvaluateError::TooLarge { .. }
            | EvaluateError::Crowded { .. }
            | EvaluateError::NotKept { .. } => FailureKind::Failed,
        };
        Self {
            kind,
            message: error.to_string(),
        }
    }
}

pub(super) async fn conclude_failure(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
    failure: Failure,
) -> Result<(), CoordinationError> {
    let Failure { kind, message } = failure;
    let of_table = |message: &str| Event::TableFailed {
        table: row.table.clone(),
        message: message.to_owned(),
    };
    let conclusion = match kind {
        FailureKind::Throttled => {
            let obstacle = Obstacle::throttled(context, row, message);
            return wait(context, lease, row, &obstacle).await;
        }
        FailureKind::Gone if row.due_location.is_none() => {
            // The census forced this look because two complete listings lacked the table.
            context.store.forget_table(lease, row).await?;
            return Ok(());
        }
        FailureKind::Gone => {
            context.tell(of_table(&message));
            Conclusion {
                evaluated_location: row.due_location.clone(),
                text: evaluate::conclusion_of_failure(&message),
                next_due_at: None,
                failures: 0,
            }
        }
        FailureKind::Refused => {
            context.tell(Event::Refused {
                table: row.table.clone(),
                reason: message.clone(),
            });
            Conclusion {
                evaluated_location: row.due_location.clone(),
                text: evaluate::conclusion_of_refusal(&message),
                next_due_at: None,
                failures: 0,
            }
        }
        FailureKind::Failed => {
            context.tell(of_table(&message));
            let failures = row.failures.saturating_add(1);
            let wait = context.settings.backoff(failures);
            Conclusion {
                evaluated_location: None,
                text: evaluate::conclusion_of_failure(&message),
                next_due_at: Some(context.ambient.now() + wait + context.ambient.jitter(wait / 4)),
                failures,
            }
        }
    };
    context.store.conclude(lease, row, &conclusion).await
}
