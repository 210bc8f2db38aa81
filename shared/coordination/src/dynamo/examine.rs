//! Whether the state table is as it should be, and whether we may use it.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    config::{ConfigBag, Intercept, RuntimeComponents},
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    types::{IndexStatus, TableDescription, TableStatus, TimeToLiveStatus},
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::interceptors::{
        context::BeforeDeserializationInterceptorContextRef, dyn_dispatch_hint,
    },
};
use aws_smithy_types::{DateTime, date_time::Format};

use super::{
    DynamoStore,
    item::{Item, text},
    tables::DUE_INDEX,
};
use crate::{Examine, Finding};

/// Clocks that differ by more than this make leases end early or late.
const TOLERATED_SKEW_MS: i64 = 5_000;
/// Beyond this, requests are refused and two owners of a bucket are likely.
const WRONG_SKEW_MS: i64 = 30_000;

const APPLY: &str = "apply infra/ of this version";

/// Takes the time that the service puts into its answers.
#[derive(Debug, Default)]
struct ServiceClock(Arc<Mutex<Option<String>>>);

#[dyn_dispatch_hint]
impl Intercept for ServiceClock {
    fn name(&self) -> &'static str {
        "icepress-service-clock"
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date").map(str::to_owned);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date;
        Ok(())
    }
}

impl DynamoStore {
    /// A write whose condition can't hold: refused for the condition where it is permitted, and nothing is written.
    async fn can_write(&self, subject: &str) -> Finding {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(probe()))
            .condition_expression("attribute_exists(#pk) AND attribute_not_exists(#pk)")
            .expression_attribute_names("#pk", "pk")
            .send()
            .await;
        match put {
            Err(error) if error.code() == Some("ConditionalCheckFailedException") => {
                Finding::well(subject, "rows can be written")
            }
            Err(error) => {
                let error = self.failed("a row could not be written", error);
                Finding::wrong(
                    subject,
                    error.to_string(),
                    "give the role the policy of infra/",
                )
            }
            Ok(_) => Finding::wrong(
                subject,
                "conditions of writes are ignored",
                "use DynamoDB, or an emulator that honours conditions",
            ),
        }
    }

    async fn shape(&self, subject: &str) -> Vec<Finding> {
        let described = self
            .client
            .describe_table()
            .table_name(&self.table)
            .send()
            .await;
        match described {
            Ok(output) => output.table.map_or_else(Vec::new, |table| {
                vec![status(subject, &table), due_index(subject, &table)]
            }),
            Err(error) => vec![unseen(subject, "its keys and index", &error)],
        }
    }

    async fn time_to_live(&self, subject: &str) -> Finding {
        let described = self
            .client
            .describe_time_to_live()
            .table_name(&self.table)
            .send()
            .await;
        let description = match described {
            Ok(output) => output.time_to_live_description,
            Err(error) => return unseen(subject, "whether old rows go", &error),
        };
        let enabled = description.is_some_and(|ttl| {
            ttl.time_to_live_status == Some(TimeToLiveStatus::Enabled)
                && ttl.attribute_name.as_deref() == Some("ttl")
        });
        if enabled {
            Finding::well(subject, "old rows go by themselves")
        } else {
            Finding::doubt(subject, "old processes and tasks are kept for ever", APPLY)
        }
    }

    async fn backups(&self, subject: &str) -> Finding {
        let described = self
            .client
            .describe_continuous_backups()
            .table_name(&self.table)
            .send()
            .await;
        let recovery = match described {
            Ok(output) => output
                .continuous_backups_description
                .and_then(|backups| backups.point_in_time_recovery_description)
                .and_then(|recovery| recovery.point_in_time_recovery_status),
            Err(error) => return unseen(subject, "its backups", &error),
        };
        match recovery.as_ref().map(|status| status.as_str()) {
            Some("ENABLED") => Finding::well(subject, "can be brought back to any point in time"),
            _ => Finding::doubt(subject, "has no point-in-time recovery", APPLY),
        }
    }
}

#[async_trait]
impl Examine for DynamoStore {
    async fn examine(&self) -> Vec<Finding> {
        let subject = format!("state table {}", self.table);
        let service_clock = ServiceClock::default();
        let date = Arc::clone(&service_clock.0);
        let read = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(probe()))
            .customize()
            .interceptor(service_clock)
            .send()
            .await;
        if let Err(error) = read {
            let error = self.failed("a row could not be read", error);
            return vec![Finding::wrong(
                subject,
                error.to_string(),
                "name the right table, region and role",
            )];
        }
        let date = date.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut findings = vec![Finding::well(&subject, "rows can be read")];
        findings.push(self.can_write(&subject).await);
        findings.extend(self.shape(&subject).await);
        findings.push(self.time_to_live(&subject).await);
        findings.push(self.backups(&subject).await);
        findings.push(clock(date.as_deref(), self.ambient.now().get()));
        findings
    }
}

/// A key that no row has.
fn probe() -> Item {
    Item::from([
        ("pk".to_owned(), text("doctor")),
        ("sk".to_owned(), text("doctor")),
    ])
}

fn status(subject: &str, table: &TableDescription) -> Finding {
    match table.table_status() {
        Some(TableStatus::Active | TableStatus::Updating) => Finding::well(subject, "is active"),
        other => Finding::wrong(subject, format!("is {other:?}"), "wait until it is active"),
    }
}

fn due_index(subject: &str, table: &TableDescription) -> Finding {
    let index = table
        .global_secondary_indexes()
        .iter()
        .find(|index| index.index_name() == Some(DUE_INDEX));
    match index.map(|index| index.index_status()) {
        Some(Some(IndexStatus::Active | IndexStatus::Updating)) => {
            Finding::well(subject, format!("index {DUE_INDEX} is active"))
        }
        Some(status) => Finding::wrong(
            subject,
            format!("index {DUE_INDEX} is {status:?}"),
            "wait until it is active",
        ),
        None => Finding::wrong(subject, format!("has no index {DUE_INDEX}"), APPLY),
    }
}

fn unseen<E, R>(subject: &str, what: &str, error: &SdkError<E, R>) -> Finding
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let why = match error.code() {
        Some(code) => code.to_owned(),
        None => DisplayErrorContext(error).to_string(),
    };
    Finding::doubt(
        subject,
        format!("{what} could not be looked at ({why})"),
        "ask again with a role that may describe tables",
    )
}

/// Our clock beside the service's, which answers to the second.
fn clock(date: Option<&str>, now_ms: i64) -> Finding {
    const SUBJECT: &str = "clock";
    let theirs = date
        .and_then(|date| DateTime::from_str(date, Format::HttpDate).ok())
        .and_then(|date| date.to_millis().ok());
    let Some(theirs) = theirs else {
        return Finding::doubt(
            SUBJECT,
            "the service tells no time to compare with",
            "check it against a time server",
        );
    };
    let skew = now_ms - theirs;
    let seen = format!("{:.1} s from the service's", skew as f64 / 1e3);
    match skew.abs() {
        0..=TOLERATED_SKEW_MS => Finding::well(SUBJECT, seen),
        ..=WRONG_SKEW_MS => Finding::doubt(SUBJECT, seen, "set this machine's clock"),
        _ => Finding::wrong(SUBJECT, seen, "set this machine's clock"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Severity;

    #[test]
    fn a_clock_far_from_the_services_is_wrong() {
        let date = Some("Sun, 22 Nov 2026 09:00:00 GMT");
        let theirs = 1_795_338_000_000;
        let cases = [
            (0, Severity::Well),
            (-4_000, Severity::Well),
            (20_000, Severity::Doubt),
            (-600_000, Severity::Wrong),
        ];
        for (skew, severity) in cases {
            assert_eq!(clock(date, theirs + skew).severity, severity, "{skew}");
        }
        assert_eq!(clock(None, 0).severity, Severity::Doubt);
        assert_eq!(clock(Some("soon"), 0).severity, Severity::Doubt);
    }
}
