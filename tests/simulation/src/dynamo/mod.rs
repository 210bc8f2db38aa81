//! DynamoDB as our adapters see it: tables of items, conditional writes, transactions, queries, one kind of index.
//!
//! What the real one may do and rarely does, this one does often: an index that lags, pages of two items, batches of
//! which only a part is done, transactions that conflict. What it does not know it refuses.

mod expression;
mod requests;
mod transaction;

use std::{
    cmp::Ordering,
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use icepress_model::ambient::Clock;
use serde_json::{Value, json};

use crate::network::Network;

/// A value with its type, as DynamoDB's JSON has it: `{"S": "text"}`.
pub type Attribute = Value;
/// An item's attributes by name.
pub type Item = BTreeMap<String, Attribute>;
/// The values of an item's `pk` and `sk`, as text.
pub type ItemKey = (String, String);

/// The most bytes of an item.
const LARGEST_ITEM: usize = 400 * 1024;
/// The most bytes of a page of a query.
const PAGE_BYTES: usize = 1024 * 1024;
/// The key of the one other kind of table that there is: commit locks.
pub(crate) const LOCK_KEY: &str = "entityId";
/// How long a transaction's token is remembered.
const TOKENS_KEPT: Duration = Duration::from_secs(600);

/// A request that is refused.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The error's name, such as `ConditionalCheckFailedException`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What else the answer carries.
    pub more: serde_json::Map<String, Value>,
}

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            more: serde_json::Map::new(),
        }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message)
    }
}

type Result<T> = std::result::Result<T, Refusal>;

/// One item before and after a write.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which.
    pub key: ItemKey,
    /// As it was; `None` where it was not there.
    pub before: Option<Item>,
    /// As it is; `None` where it is gone.
    pub after: Option<Item>,
}

/// Somebody who looks at every write, once the whole of it is done.
pub trait Watch: Send + Sync + fmt::Debug {
    /// Called with what changed in one atomic step, and with all items of the table as they are then.
    fn wrote(&self, items: &BTreeMap<ItemKey, Item>, changes: &[Change]);
}

/// How far the service strays within what it promises, as chances in a million.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Whims {
    /// A page ends after one to three items.
    pub short_page: u64,
    /// A batch is done in part only, per item.
    pub left_out: u64,
    /// A transaction conflicts with one that nobody sees.
    pub conflict: u64,
    /// The index lags behind a write.
    pub index_lags: u64,
    /// The longest that it lags.
    pub longest_lag: Duration,
}

#[derive(Debug, Default)]
struct Table {
    items: BTreeMap<ItemKey, Item>,
    /// The name of the index, and the names of its keys.
    index: Option<Index>,
    /// For each item, what the index will show from when on; the first is what it shows now.
    shown: BTreeMap<ItemKey, VecDeque<(Duration, Option<Item>)>>,
    ttl: Option<String>,
}

#[derive(Debug, Clone)]
struct Index {
    name: String,
    hash: String,
    range: String,
}

#[derive(Debug, Default)]
struct State {
    tables: BTreeMap<String, Table>,
    tokens: BTreeMap<String, (Duration, u64)>,
    whims: Whims,
}

/// All tables.
pub struct Dynamo {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    network: Arc<Network>,
    watch: Mutex<Option<Arc<dyn Watch>>>,
    refused: Mutex<Option<String>>,
    record: Mutex<Option<Vec<(String, Value)>>>,
}

impl fmt::Debug for Dynamo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dynamo").finish_non_exhaustive()
    }
}

impl Dynamo {
    /// A service without tables, whose own clock is `clock`.
    pub fn new(clock: Arc<dyn Clock>, network: Arc<Network>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            clock,
            network,
            watch: Mutex::new(None),
            refused: Mutex::default(),
            record: Mutex::new(None),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets how far it strays.
    pub fn set_whims(&self, whims: Whims) {
        self.state().whims = whims;
    }

    /// Lets somebody look at every write.
    pub fn set_watch(&self, watch: Option<Arc<dyn Watch>>) {
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = watch;
    }

    /// Refuses, for ever, to write the rows of this `sk`, alone or with others.
    pub fn refuse_writes_of(&self, sk: &str) {
        let key = format!(r#""sk":{}"#, json!({ "S": sk }));
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    fn refuses(&self, operation: &str, body: &Value) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let is_read = matches!(operation, "GetItem" | "BatchGetItem" | "Query");
        !is_read
            && refused
                .as_ref()
                .is_some_and(|key| body.to_string().contains(key))
    }

    /// Keeps every request from now on, until it is asked for what was kept.
    pub fn start_recording(&self) {
        *self.record.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }

    /// Every request since recording began, which ends with this.
    pub fn take_record(&self) -> Vec<(String, Value)> {
        let record = self
            .record
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        record.unwrap_or_default()
    }

    /// All items of a table.
    pub fn items(&self, table: &str) -> BTreeMap<ItemKey, Item> {
        let state = self.state();
        state
            .tables
            .get(table)
            .map(|table| table.items.clone())
            .unwrap_or_default()
    }

    /// Removes the items whose time to live is over.
    pub fn expire(&self) {
        let now = self.clock.now().get() / 1_000;
        let mut changes = Vec::new();
        let mut state = self.state();
        let names: Vec<String> = state.tables.keys().cloned().collect();
        for name in names {
            let Some(table) = state.tables.get_mut(&name) else {
                continue;
            };
            let Some(attribute) = table.ttl.clone() else {
                continue;
            };
            let over = |item: &Item| {
                item.get(&attribute)
                    .and_then(parse_number)
                    .is_some_and(|ttl| ttl < i128::from(now))
            };
            let keys: Vec<ItemKey> = table
                .items
                .iter()
                .filter(|(_, item)| over(item))
                .map(|(key, _)| key.clone())
                .collect();
            for key in keys {
                let before = table.items.remove(&key);
                changes.push(Change {
                    key,
                    before,
                    after: None,
                });
            }
        }
        drop(state);
        if let Some(engine) = self.network.engine()
            && !changes.is_empty()
        {
            engine.note(format_args!("DynamoDB expires {} items", changes.len()));
        }
    }

    /// Answers a request: the operation's name and its JSON body.
    pub fn answer(&self, operation: &str, body: &Value) -> Result<Value> {
        if let Some(record) = &mut *self.record.lock().unwrap_or_else(PoisonError::into_inner) {
            record.push((operation.to_owned(), body.clone()));
        }
        if self.refuses(operation, body) {
            return Err(Refusal::new("InternalServerError", "the row is refused"));
        }
        let mut changes = Vec::new();
        let mut state = self.state();
        let answer = self.execute(&mut state, operation, body, &mut changes);
        if !changes.is_empty() {
            let name = table_name(body, operation);
            let watch = self
                .watch
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            if let (Some(watch), Some(table)) = (watch, state.tables.get(&name)) {
                watch.wrote(&table.items, &changes);
            }
        }
        answer
    }

    fn execute(
        &self,
        state: &mut State,
        operation: &str,
        body: &Value,
        changes: &mut Vec<Change>,
    ) -> Result<Value> {
        match operation {
            "CreateTable" => create_table(state, body),
            "DescribeTable" => {
                let name = text_of(body, "TableName")?;
                let index = table(state, &name)?.index.as_ref().map(|index| &index.name);
                let indexes: Vec<Value> = index
                    .into_iter()
                    .map(|name| json!({ "IndexName": name, "IndexStatus": "ACTIVE" }))
                    .collect();
                Ok(json!({ "Table": {
                    "TableName": name,
                    "TableStatus": "ACTIVE",
                    "GlobalSecondaryIndexes": indexes,
                } }))
            }
            "UpdateTimeToLive" => {
                let name = text_of(body, "TableName")?;
                let attribute = body["TimeToLiveSpecification"]["AttributeName"].as_str();
                let attribute = attribute.map(str::to_owned);
                table(state, &name)?.ttl = attribute;
                Ok(json!({ "TimeToLiveSpecification": body["TimeToLiveSpecification"] }))
            }
            "DescribeTimeToLive" => {
                let name = text_of(body, "TableName")?;
                Ok(match &table(state, &name)?.ttl {
                    Some(attribute) => json!({ "TimeToLiveDescription": {
                        "AttributeName": attribute,
                        "TimeToLiveStatus": "ENABLED",
                    } }),
                    None => json!({ "TimeToLiveDescription": { "TimeToLiveStatus": "DISABLED" } }),
                })
            }
            "GetItem" => requests::get_item(state, body),
            "PutItem" => self.write_one(state, body, requests::put(body)?, changes),
            "UpdateItem" => self.write_one(state, body, requests::update(body)?, changes),
            "DeleteItem" => self.write_one(state, body, requests::delete(body)?, changes),
            "Query" => requests::query(self, state, body),
            "BatchGetItem" => requests::batch_get(self, state, body),
            "BatchWriteItem" => requests::batch_write(self, state, body, changes),
            "TransactWriteItems" => transaction::transact(self, state, body, changes),
            other => Err(Refusal::new(
                "UnknownOperationException",
                format!("{other} is not simulated"),
            )),
        }
    }

    fn write_one(
        &self,
        state: &mut State,
        body: &Value,
        write: requests::Write,
        changes: &mut Vec<Change>,
    ) -> Result<Value> {
        let old = table(state, &write.table)?.items.get(&write.key).cloned();
        match write.apply(old.as_ref()) {
            Ok(after) => {
                self.set(state, &write.table, write.key, after, changes)?;
                Ok(json!({}))
            }
            Err(mut refusal) => {
                let wants_old = body["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD";
                if refusal.code == "ConditionalCheckFailedException"
                    && wants_old
                    && let Some(old) = old
                {
                    refusal.more.insert("Item".to_owned(), json!(old));
                }
                Err(refusal)
            }
        }
    }

    /// Writes or removes an item, and tells the index after a while.
    fn set(
        &self,
        state: &mut State,
        name: &str,
        key: ItemKey,
        after: Option<Item>,
        changes: &mut Vec<Change>,
    ) -> Result<()> {
        let whims = state.whims;
        let now = self.clock.monotonic();
        let lag = if self.network.happens(whims.index_lags) {
            self.network.engine().map_or(Duration::ZERO, |engine| {
                engine.duration_up_to(whims.longest_lag)
            })
        } else {
            Duration::ZERO
        };
        let table = table(state, name)?;
        if table.index.is_some() {
            let shown = table.shown.entry(key.clone()).or_default();
            while shown.len() > 1 && shown[1].0 <= now {
                shown.pop_front();
            }
            // What came later is never shown earlier.
            let from = shown
                .back()
                .map_or(Duration::ZERO, |(from, _)| *from)
                .max(now + lag);
            shown.push_back((from, after.clone()));
        }
        let before = match &after {
            Some(item) => table.items.insert(key.clone(), item.clone()),
            None => table.items.remove(&key),
        };
        if before != after {
            changes.push(Change { key, before, after });
        }
        Ok(())
    }

    /// An item that is there from now on, past all requests: tests fill tables so.
    pub fn insert(&self, name: &str, item: Item) {
        let key = key_of(&json!({ "pk": item["pk"], "sk": item["sk"] })).expect("it has a key");
        let now = self.clock.monotonic();
        let mut state = self.state();
        let Some(table) = state.tables.get_mut(name) else {
            return;
        };
        if let Some(index) = &table.index
            && item.contains_key(&index.hash)
        {
            let versions = table.shown.entry(key.clone()).or_default();
            versions.push_back((now, Some(item.clone())));
        }
        table.items.insert(key, item);
    }

    /// An item to be written by hand, past all requests: tests damage rows so.
    pub fn tamper(&self, name: &str, key: &ItemKey, attribute: &str, value: Attribute) {
        let mut state = self.state();
        if let Some(item) = state
            .tables
            .get_mut(name)
            .and_then(|table| table.items.get_mut(key))
        {
            item.insert(attribute.to_owned(), value);
        }
    }
}

fn create_table(state: &mut State, body: &Value) -> Result<Value> {
    let name = text_of(body, "TableName")?;
    if state.tables.contains_key(&name) {
        return Err(Refusal::new(
            "ResourceInUseException",
            format!("Table already exists: {name}"),
        ));
    }
    let key_of = |schema: &Value, kind: &str| {
        schema
            .as_array()
            .into_iter()
            .flatten()
            .find(|key| key["KeyType"] == kind)
            .and_then(|key| key["AttributeName"].as_str())
            .map(str::to_owned)
    };
    let keys = (
        key_of(&body["KeySchema"], "HASH"),
        key_of(&body["KeySchema"], "RANGE"),
    );
    let is_state = keys == (Some("pk".to_owned()), Some("sk".to_owned()));
    if !is_state && keys != (Some(LOCK_KEY.to_owned()), None) {
        return Err(Refusal::invalid(
            "only tables keyed by pk and sk, or by entityId, are simulated",
        ));
    }
    let index = match body["GlobalSecondaryIndexes"].as_array().map(Vec::as_slice) {
        None | Some([]) => None,
        Some([index]) => Some(Index {
            name: text_of(index, "IndexName")?,
            hash: key_of(&index["KeySchema"], "HASH").unwrap_or_default(),
            range: key_of(&index["KeySchema"], "RANGE").unwrap_or_default(),
        }),
        Some(_) => return Err(Refusal::invalid("only one index is simulated")),
    };
    state.tables.insert(
        name.clone(),
        Table {
            index,
            ..Table::default()
        },
    );
    Ok(json!({ "TableDescription": { "TableName": name, "TableStatus": "ACTIVE" } }))
}

fn table<'a>(state: &'a mut State, name: &str) -> Result<&'a mut Table> {
    state.tables.get_mut(name).ok_or_else(|| {
        Refusal::new(
            "ResourceNotFoundException",
            format!("Requested resource not found: Table: {name} not found"),
        )
    })
}

/// The table of a request; for a batch or a transaction that of its first part.
fn table_name(body: &Value, operation: &str) -> String {
    let name = match operation {
        "BatchWriteItem" => body["RequestItems"]
            .as_object()
            .and_then(|tables| tables.keys().next().cloned()),
        "TransactWriteItems" => body["TransactItems"]
            .as_array()
            .and_then(|actions| actions.first())
            .and_then(Value::as_object)
            .and_then(|action| action.values().next())
            .and_then(|action| action["TableName"].as_str())
            .map(str::to_owned),
        _ => body["TableName"].as_str().map(str::to_owned),
    };
    name.unwrap_or_default()
}

fn text_of(body: &Value, name: &str) -> Result<String> {
    body[name]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Refusal::invalid(format!("'{name}' is missing")))
}

/// The key of an item or of a key alone. A lock's has one part.
fn key_of(item: &Value) -> Result<ItemKey> {
    let part = |name: &str| {
        item[name]["S"]
            .as_str()
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
            .ok_or_else(|| {
                Refusal::invalid(format!(
                    "One or more parameter values were invalid: Missing the key {name} in the item, or it is empty"
                ))
            })
    };
    if item.get("pk").is_none() && item.get(LOCK_KEY).is_some() {
        return Ok((part(LOCK_KEY)?, String::new()));
    }
    Ok((part("pk")?, part("sk")?))
}

/// A number with its type; our numbers are whole.
fn parse_number(value: &Attribute) -> Option<i128> {
    value.get("N")?.as_str()?.parse().ok()
}

fn number_text(value: i128) -> Attribute {
    json!({ "N": value.to_string() })
}

/// How two values stand to each other; `None` for values of different types.
fn compare(left: &Attribute, right: &Attribute) -> Option<Ordering> {
    if let (Some(left), Some(right)) = (parse_number(left), parse_number(right)) {
        return Some(left.cmp(&right));
    }
    let text = |value: &Attribute| value.get("S").and_then(Value::as_str).map(str::to_owned);
    if let (Some(left), Some(right)) = (text(left), text(right)) {
        return Some(left.as_bytes().cmp(right.as_bytes()));
    }
    (left == right).then_some(Ordering::Equal)
}

/// About how many bytes DynamoDB counts for an item.
fn size_of(item: &Item) -> usize {
    item.iter()
        .map(|(name, value)| {
            let inner = value.as_object().and_then(|typed| typed.iter().next());
            let bytes = match inner {
                Some((kind, Value::String(text))) if kind == "B" => text.len() * 3 / 4,
                Some((kind, Value::String(text))) if kind == "N" => text.len() / 2 + 2,
                Some((_, Value::String(text))) => text.len(),
                _ => value.to_string().len(),
            };
            name.len() + bytes
        })
        .sum()
}
