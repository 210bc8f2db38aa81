//! A task that looks at a table in a scheduler's place: it plans, and the plan is its result. It writes nothing of the
//! table's, and starts nothing.

use icepress_coordination::CoordinationError;
use icepress_model::{RewriteFailure, RewriteFailureKind};

use super::settle::{Claimed, Worked, has_all_time, keep_claim};
use crate::{
    Deadline,
    scheduler::{
        elsewhere::{self, Finding},
        failure::Failure,
        handover::EvaluateTask,
    },
};

/// Looks at the table while the claim is prolonged. What is found out stands in the task's result, failures too: whoever holds
/// the table's bucket concludes them. The task itself fails where it came to no end.
pub(super) async fn evaluate(
    claimed: &Claimed<'_>,
    task: &EvaluateTask,
    work_until: Deadline,
) -> Result<Worked, CoordinationError> {
    let Claimed { context, row, .. } = claimed;
    let has_all = has_all_time(context, work_until);
    let looking = elsewhere::look(context, task, &row.task.process);
    tokio::pin!(looking);
    let too_late = work_until.passed(&context.ambient);
    tokio::pin!(too_late);
    let fenced = keep_claim(context, &row.task, row.attempt);
    tokio::pin!(fenced);
    let looked = tokio::select! {
        biased;
        looked = &mut looking => looked,
        error = &mut fenced => return Err(error),
        () = &mut too_late => {
            let is_last = row.tries() >= context.settings.task_attempts;
            let failure = RewriteFailure {
                kind: match has_all || is_last {
                    true => RewriteFailureKind::OverTime,
                    false => RewriteFailureKind::Transient,
                },
                message: format!(
                    "table {}: an optimizer was not done with looking at it when its time was up: give optimizers more of it, \
                     or expire snapshots and rewrite manifests",
                    task.evaluate
                ),
            };
            return claimed.fail(failure).await;
        }
    };
    let finding = match looked {
        Ok(planned) => Finding::Plan(Box::new(planned)),
        Err(error) => Finding::Failure(Failure::of(&error)),
    };
    let name = format!("results/{}-evaluation-{}", row.task.process, row.attempt);
    match claimed.keep(&name, &finding).await? {
        Ok(kept) => Ok(Worked::Reported(claimed.report(Ok(kept)).await?)),
        Err(failure) => claimed.fail(failure).await,
    }
}
