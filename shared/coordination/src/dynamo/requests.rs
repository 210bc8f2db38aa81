//! Single requests to DynamoDB: counted, repeated where only part of them was done, and with errors in our words.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::{
        put_item::PutItemError, query::builders::QueryFluentBuilder,
        transact_write_items::TransactWriteItemsError,
    },
    types::{
        AttributeValue, ConditionCheck, Delete, KeysAndAttributes, Put,
        ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update, WriteRequest,
    },
};

use super::{
    DynamoStore, Result,
    item::{Item, Key, number, text},
};
use crate::{
    CoordinationError, Lease,
    encoding::{self, Fields as _},
};

/// How often a write is tried anew because others wrote the same row in between.
const RACES: u32 = 60;

/// The longest wait between two such tries. Ours are short, so those that lose meet a free row soon.
const LONGEST_WAIT: Duration = Duration::from_millis(400);

/// What stands in the store under a key, to be written anew.
#[derive(Debug, Clone)]
pub(super) struct Stored<T> {
    pub(super) row: T,
    /// The number that a write of it has to compare; 0 where there is no row.
    pub(super) rev: i64,
    /// When the row may go, in seconds since 1970.
    pub(super) ttl: Option<i64>,
}

/// Which of a transaction's conditions failed, by the position of its action.
#[derive(Debug)]
pub(super) struct Cancelled(Vec<bool>);

impl Cancelled {
    pub(super) fn failed(&self, action: usize) -> bool {
        self.0.get(action).copied().unwrap_or(false)
    }
}

/// Why a write was tried anew: counts the tries and waits between them.
pub(super) struct Race<'a> {
    store: &'a DynamoStore,
    what: String,
    tries: u32,
}

impl Race<'_> {
    /// Waits before the next try; `Unavailable` after too many.
    pub(super) async fn lost(&mut self) -> Result<()> {
        self.tries += 1;
        if self.tries >= RACES {
            return Err(CoordinationError::Unavailable {
                store: "DynamoDB".to_owned(),
                message: format!(
                    "{}: {} tries met somebody else's write",
                    self.what, self.tries
                ),
                source: None,
            });
        }
        let longest = Duration::from_millis(10 << self.tries.min(6)).min(LONGEST_WAIT);
        let wait = self.store.ambient.jitter(longest);
        self.store.ambient.clock.sleep(wait).await;
        Ok(())
    }
}

impl DynamoStore {
    pub(super) fn race(&self, what: impl Into<String>) -> Race<'_> {
        Race {
            store: self,
            what: what.into(),
            tries: 0,
        }
    }

    /// An error of the client in our words.
    pub(super) fn failed<E, R>(&self, what: &str, error: SdkError<E, R>) -> CoordinationError
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let store = "DynamoDB".to_owned();
        let code = error.code().unwrap_or_default().to_owned();
        let said = error.message().unwrap_or_default().to_owned();
        let table = &self.table;
        let configuration = |message| CoordinationError::Configuration {
            store: "DynamoDB".to_owned(),
            message,
        };
        match code.as_str() {
            "ResourceNotFoundException" => configuration(format!(
                "there is no table '{table}' in this account and region: apply infra/, or name another one"
            )),
            "AccessDeniedException" => configuration(format!(
                "no permission for table '{table}' ({said}): see the policies in infra/"
            )),
            "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "ExpiredTokenException"
            | "MissingAuthenticationTokenException" => configuration(format!(
                "the credentials are not accepted ({said}): renew them"
            )),
            "ValidationException" if said.contains("index") || said.contains("schema") => {
                configuration(format!(
                    "{what}: table '{table}' does not fit this program ({said}): apply infra/ of this version"
                ))
            }
            "ThrottlingException"
            | "ProvisionedThroughputExceededException"
            | "RequestLimitExceeded" => CoordinationError::Throttled {
                store,
                message: format!("{what} ({said})"),
            },
            _ => CoordinationError::Unavailable {
                store,
                message: format!("{what}: {}", DisplayErrorContext(&error)),
                source: Some(Box::new(error)),
            },
        }
    }

    pub(super) async fn get(&self, key: &Key) -> Result<Option<Item>> {
        encoding::check_key(&key.sk)?;
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key.item()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| self.failed(&format!("row {key} could not be read"), error))?;
        Ok(output.item)
    }

    /// Reads a row with what its next write has to compare.
    pub(super) async fn get_stored<T>(
        &self,
        key: &Key,
        decode: impl FnOnce(&Item) -> std::result::Result<T, String>,
    ) -> Result<Stored<Option<T>>> {
        let Some(item) = self.get(key).await? else {
            return Ok(Stored {
                row: None,
                rev: 0,
                ttl: None,
            });
        };
        let decoded = || {
            Ok(Stored {
                row: Some(decode(&item)?),
                rev: item.number("rev")?.ok_or("'rev' is missing")?,
                ttl: item.number("ttl")?,
            })
        };
        decoded().map_err(|message: String| unreadable(key, message))
    }

    /// A consistent query of the rows of one `pk`.
    pub(super) fn query_of(&self, pk: &str) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("#pk = :pk")
            .expression_attribute_names("#pk", "pk")
            .expression_attribute_values(":pk", text(pk))
    }

    /// The same of those whose `#sk` is as `condition` says.
    pub(super) fn query_where(&self, pk: &str, condition: &str) -> QueryFluentBuilder {
        self.query_of(pk)
            .key_condition_expression(format!("#pk = :pk AND {condition}"))
            .expression_attribute_names("#sk", "sk")
    }

    /// All that a query finds, page by page.
    pub(super) async fn all_of(&self, what: &str, query: QueryFluentBuilder) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        let mut from = None;
        loop {
            let page = query.clone().set_exclusive_start_key(from).send().await;
            let page = page.map_err(|error| self.failed(what, error))?;
            items.extend(page.items.unwrap_or_default());
            from = page.last_evaluated_key.filter(|key| !key.is_empty());
            if from.is_none() {
                return Ok(items);
            }
        }
    }

    /// All rows of one `pk`, of which `sk` begins with a prefix; consistent page by page.
    pub(super) async fn query(&self, pk: &str, sk_prefix: &str) -> Result<Vec<Item>> {
        let query = match sk_prefix {
            "" => self.query_of(pk),
            _ => self
                .query_where(pk, "begins_with(#sk, :sk)")
                .expression_attribute_values(":sk", text(sk_prefix)),
        };
        self.all_of("rows could not be read", query).await
    }

    /// Rows by key, at most 100, in no order; those that are not there are left out.
    pub(super) async fn batch_get(&self, keys: &[Key]) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        let mut missing: Vec<Item> = keys.iter().map(Key::item).collect();
        let mut race = self.race("rows were read in parts only");
        while !missing.is_empty() {
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(missing))
                .consistent_read(true)
                .build()
                .expect("its keys are set");
            let output = self
                .client
                .batch_get_item()
                .request_items(&self.table, wanted)
                .send()
                .await
                .map_err(|error| self.failed("rows could not be read", error))?;
            items.extend(output.responses.unwrap_or_default().into_values().flatten());
            let left = output.unprocessed_keys.unwrap_or_default();
            missing = left.into_values().flat_map(|keys| keys.keys).collect();
            if !missing.is_empty() {
                race.lost().await?;
            }
        }
        Ok(items)
    }

    /// Writes and deletes rows without conditions, 25 at a time.
    pub(super) async fn batch_write(&self, requests: Vec<WriteRequest>) -> Result<()> {
        for chunk in requests.chunks(25) {
            let mut left = chunk.to_vec();
            let mut race = self.race("rows were written in parts only");
            while !left.is_empty() {
                let output = self
                    .client
                    .batch_write_item()
                    .request_items(&self.table, left)
                    .send()
                    .await
                    .map_err(|error| self.failed("rows could not be written", error))?;
                left = output
                    .unprocessed_items
                    .unwrap_or_default()
                    .into_values()
                    .flatten()
                    .collect();
                if !left.is_empty() {
                    race.lost().await?;
                }
            }
        }
        Ok(())
    }

    /// Writes a row if nobody wrote it since it was read with `rev`; whether it was written.
    pub(super) async fn put(&self, item: Item, rev: i64) -> Result<bool> {
        let token = self.ambient.uuid().simple().to_string();
        let key = Key::of(&item);
        let item = versioned(item, rev, &token);
        let condition = RevCondition::of(rev);
        let outcome = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression(condition.expression)
            .set_expression_attribute_names(Some(condition.names))
            .set_expression_attribute_values(condition.values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match outcome {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(refused))
                if matches!(
                    refused.err(),
                    PutItemError::ConditionalCheckFailedException(_)
                ) =>
            {
                let PutItemError::ConditionalCheckFailedException(refused) = refused.into_err()
                else {
                    return Ok(false);
                };
                // The client sent it twice, and the first took effect.
                let stands = refused.item.unwrap_or_default();
                Ok(stands.text("token").ok().flatten() == Some(token))
            }
            Err(error) => {
                let row = key.map_or_else(|| "a row".to_owned(), |key| format!("row {key}"));
                Err(self.failed(&format!("{row} could not be written"), error))
            }
        }
    }

    /// Executes actions all together or not at all. Conflicts with other transactions are tried anew here; conditions
    /// that failed are the caller's.
    pub(super) async fn transact(
        &self,
        what: &str,
        actions: Vec<TransactWriteItem>,
    ) -> Result<std::result::Result<(), Cancelled>> {
        let mut race = self.race(what);
        // One token for all tries: should one have taken effect unheard, the next is told so and does nothing.
        let token = self.ambient.uuid().to_string();
        loop {
            let outcome = self
                .client
                .transact_write_items()
                .set_transact_items(Some(actions.clone()))
                .client_request_token(&token)
                .send()
                .await;
            let error = match outcome {
                Ok(_) => return Ok(Ok(())),
                Err(error) => error,
            };
            let reasons = match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    cancelled.cancellation_reasons()
                }
                Some(TransactWriteItemsError::TransactionInProgressException(_)) => {
                    race.lost().await?;
                    continue;
                }
                _ => return Err(self.failed(what, error)),
            };
            let has = |code: &str| reasons.iter().any(|reason| reason.code() == Some(code));
            let conflict = [
                "TransactionConflict",
                "ThrottlingError",
                "ProvisionedThroughputExceeded",
            ];
            if has("ConditionalCheckFailed") {
                let failed = reasons
                    .iter()
                    .map(|reason| reason.code() == Some("ConditionalCheckFailed"));
                return Ok(Err(Cancelled(failed.collect())));
            }
            if !conflict.iter().any(|code| has(code)) {
                return Err(self.failed(what, error));
            }
            race.lost().await?;
        }
    }

    // --- actions of transactions ---

    /// That the lease is its bucket's newest.
    pub(super) fn check_lease(&self, lease: &Lease) -> TransactWriteItem {
        let check = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(Key::bucket(lease.bucket).item()))
            .condition_expression("#epoch = :epoch AND #owner = :owner")
            .expression_attribute_names("#epoch", "epoch")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_values(":epoch", number(encoding::signed(lease.epoch.get())))
            .expression_attribute_values(":owner", text(lease.owner.as_str()))
            .build()
            .expect("table, key and condition are set");
        TransactWriteItem::builder().condition_check(check).build()
    }

    /// Writing a row if nobody wrote it since it was read with `rev`.
    pub(super) fn put_action(&self, item: Item, rev: i64) -> TransactWriteItem {
        let condition = RevCondition::of(rev);
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(versioned(item, rev, "")))
            .condition_expression(condition.expression)
            .set_expression_attribute_names(Some(condition.names))
            .set_expression_attribute_values(condition.values)
            .build()
            .expect("table and item are set");
        TransactWriteItem::builder().put(put).build()
    }

    /// Removing a row if nobody wrote it since it was read with `rev`.
    pub(super) fn delete_action(&self, key: &Key, rev: i64) -> TransactWriteItem {
        let condition = RevCondition::of(rev);
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(key.item()))
            .condition_expression(condition.expression)
            .set_expression_attribute_names(Some(condition.names))
            .set_expression_attribute_values(condition.values)
            .build()
            .expect("table and key are set");
        TransactWriteItem::builder().delete(delete).build()
    }

    /// One open task less, if the process is under way and has more than one left, or (`last`) exactly one.
    pub(super) fn count_down_action(&self, key: &Key, last: bool) -> TransactWriteItem {
        let condition = if last {
            "#state <> :ended AND #open = :one"
        } else {
            "#state <> :ended AND #open > :one"
        };
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key.item()))
            .update_expression("SET #open = #open - :one, #rev = #rev + :one")
            .condition_expression(condition)
            .expression_attribute_names("#open", "open_tasks")
            .expression_attribute_names("#rev", "rev")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":ended", text("ended"))
            .expression_attribute_values(":one", number(1))
            .build()
            .expect("table, key and update are set");
        TransactWriteItem::builder().update(update).build()
    }
}

/// That a row is as it was read.
struct RevCondition {
    expression: &'static str,
    names: HashMap<String, String>,
    values: Option<HashMap<String, AttributeValue>>,
}

impl RevCondition {
    fn of(rev: i64) -> Self {
        if rev == 0 {
            return Self {
                expression: "attribute_not_exists(#pk)",
                names: HashMap::from([("#pk".to_owned(), "pk".to_owned())]),
                values: None,
            };
        }
        Self {
            expression: "#rev = :rev",
            names: HashMap::from([("#rev".to_owned(), "rev".to_owned())]),
            values: Some(HashMap::from([(":rev".to_owned(), number(rev))])),
        }
    }
}

/// The item as the next one after `rev`.
fn versioned(mut item: Item, rev: i64, token: &str) -> Item {
    item.insert("rev".to_owned(), number(rev + 1));
    if !token.is_empty() {
        item.insert("token".to_owned(), text(token));
    }
    item
}

pub(super) fn unreadable(key: &Key, message: String) -> CoordinationError {
    CoordinationError::UnreadableRow {
        row: key.to_string(),
        message,
    }
}
