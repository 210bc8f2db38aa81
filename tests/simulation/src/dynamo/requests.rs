//! Single requests: reading items, writing one, queries, batches.

use std::{cmp::Ordering, time::Duration};

use serde_json::{Value, json};

use super::{
    Attribute, Change, Dynamo, Item, ItemKey, LARGEST_ITEM, PAGE_BYTES, Refusal, Result, State,
    Table, compare,
    expression::{self, Action, Condition, Placeholders},
    key_of, size_of, table, text_of,
};

/// A write of one item, read from its request.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) table: String,
    pub(super) key: ItemKey,
    condition: Option<Condition>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Put(Item),
    Update(Vec<Action>),
    Delete,
    Check,
}

impl Write {
    /// The item after the write; a refusal where the condition does not hold.
    pub(super) fn apply(&self, old: Option<&Item>) -> Result<Option<Item>> {
        let empty = Item::new();
        let current = old.unwrap_or(&empty);
        if let Some(condition) = &self.condition
            && !condition.holds(current)
        {
            return Err(Refusal::new(
                "ConditionalCheckFailedException",
                "The conditional request failed",
            ));
        }
        let after = match &self.kind {
            Kind::Put(item) => Some(item.clone()),
            Kind::Delete => None,
            Kind::Check => old.cloned(),
            Kind::Update(actions) => {
                let mut item = current.clone();
                item.insert("pk".to_owned(), json!({ "S": self.key.0 }));
                item.insert("sk".to_owned(), json!({ "S": self.key.1 }));
                expression::apply(actions, &mut item).map_err(Refusal::invalid)?;
                Some(item)
            }
        };
        if after
            .as_ref()
            .is_some_and(|item| size_of(item) > LARGEST_ITEM)
        {
            return Err(Refusal::invalid(
                "Item size has exceeded the maximum allowed size",
            ));
        }
        Ok(after)
    }

    pub(super) fn is_check(&self) -> bool {
        matches!(self.kind, Kind::Check)
    }
}

fn to_item(value: &Value) -> Result<Item> {
    let fields = value
        .as_object()
        .ok_or_else(|| Refusal::invalid("an item is missing"))?;
    Ok(fields
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect())
}

fn write(
    request: &Value,
    key: &Value,
    make: impl FnOnce(&mut Placeholders<'_>) -> Result<Kind>,
) -> Result<Write> {
    let mut placeholders = Placeholders::of(request);
    let condition = match request["ConditionExpression"].as_str() {
        Some(text) => {
            Some(expression::condition(text, &mut placeholders).map_err(Refusal::invalid)?)
        }
        None => None,
    };
    let kind = make(&mut placeholders)?;
    placeholders.check_all_used().map_err(Refusal::invalid)?;
    Ok(Write {
        table: text_of(request, "TableName")?,
        key: key_of(key)?,
        condition,
        kind,
    })
}

pub(super) fn put(request: &Value) -> Result<Write> {
    write(request, &request["Item"], |_| {
        Ok(Kind::Put(to_item(&request["Item"])?))
    })
}

pub(super) fn delete(request: &Value) -> Result<Write> {
    write(request, &request["Key"], |_| Ok(Kind::Delete))
}

pub(super) fn check(request: &Value) -> Result<Write> {
    text_of(request, "ConditionExpression")?;
    write(request, &request["Key"], |_| Ok(Kind::Check))
}

pub(super) fn update(request: &Value) -> Result<Write> {
    let text = text_of(request, "UpdateExpression")?;
    write(request, &request["Key"], |placeholders| {
        let actions = expression::update(&text, placeholders).map_err(Refusal::invalid)?;
        Ok(Kind::Update(actions))
    })
}

pub(super) fn get_item(state: &mut State, request: &Value) -> Result<Value> {
    let name = text_of(request, "TableName")?;
    let key = key_of(&request["Key"])?;
    Ok(match table(state, &name)?.items.get(&key) {
        Some(item) => json!({ "Item": item }),
        None => json!({}),
    })
}

/// Whether a page ends early.
fn page_limit(dynamo: &Dynamo, whim: u64) -> usize {
    match dynamo.network.engine() {
        Some(engine) if engine.happens(whim) => 1 + engine.below(3) as usize,
        _ => usize::MAX,
    }
}

pub(super) fn query(dynamo: &Dynamo, state: &mut State, request: &Value) -> Result<Value> {
    let limit = match request["Limit"].as_u64() {
        Some(0) => return Err(Refusal::invalid("Limit must be at least 1")),
        Some(limit) => usize::try_from(limit).unwrap_or(usize::MAX),
        None => usize::MAX,
    };
    let limit = limit.min(page_limit(dynamo, state.whims.short_page));
    let mut placeholders = Placeholders::of(request);
    let keys = text_of(request, "KeyConditionExpression")?;
    let condition = expression::condition(&keys, &mut placeholders).map_err(Refusal::invalid)?;
    let projection = match request["ProjectionExpression"].as_str() {
        Some(text) => {
            Some(expression::projection(text, &mut placeholders).map_err(Refusal::invalid)?)
        }
        None => None,
    };
    if request.get("FilterExpression").is_some() {
        return Err(Refusal::invalid("FilterExpression is not simulated"));
    }
    placeholders.check_all_used().map_err(Refusal::invalid)?;
    let consistent = request["ConsistentRead"].as_bool().unwrap_or(false);
    let forward = request["ScanIndexForward"].as_bool().unwrap_or(true);
    let now = dynamo.clock.monotonic();
    let table: &Table = table(state, &text_of(request, "TableName")?)?;

    let (hash, range, found) = match request["IndexName"].as_str() {
        None => {
            // Sorted by it, so that what is asked for lies together.
            let pk = condition.equal_to("pk").and_then(|pk| pk["S"].as_str());
            let pk = pk.unwrap_or_default();
            let together = table.items.range((pk.to_owned(), String::new())..);
            let together = together.take_while(|((each, _), _)| each == pk);
            let items: Vec<&Item> = together.map(|(_, item)| item).collect();
            ("pk".to_owned(), "sk".to_owned(), items)
        }
        Some(name) => {
            let index = table.index.as_ref().filter(|index| index.name == name);
            let index = index.ok_or_else(|| {
                Refusal::invalid(format!(
                    "The table does not have the specified index: {name}"
                ))
            })?;
            if consistent {
                return Err(Refusal::invalid(
                    "Consistent reads are not supported on global secondary indexes",
                ));
            }
            let items = shown(&table.shown, now, &index.hash, &index.range);
            (index.hash.clone(), index.range.clone(), items)
        }
    };
    if condition.equal_to(&hash).is_none() {
        return Err(Refusal::invalid(format!(
            "Query condition missed key schema element: {hash}"
        )));
    }
    let mut found: Vec<&Item> = found
        .into_iter()
        .filter(|item| condition.holds(item))
        .collect();
    found.sort_by(|a, b| order(a, b, &range));
    if !forward {
        found.reverse();
    }
    if let Some(start) = request
        .get("ExclusiveStartKey")
        .filter(|start| !start.is_null())
    {
        let start = to_item(start)?;
        found.retain(|item| {
            let after = order(item, &start, &range);
            after
                == if forward {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
        });
    }
    let mut page = Vec::new();
    let mut bytes = 0;
    let mut last = None;
    for item in found {
        bytes += size_of(item);
        let mut shown = item.clone();
        if let Some(names) = &projection {
            shown.retain(|name, _| names.contains(name));
        }
        page.push(shown);
        if page.len() >= limit || bytes >= PAGE_BYTES {
            let key = ["pk", "sk", &hash, &range].into_iter();
            let key = key.filter_map(|name| Some((name.to_owned(), item.get(name)?.clone())));
            last = Some(key.collect::<Item>());
            break;
        }
    }
    let mut answer = json!({ "Count": page.len(), "ScannedCount": page.len(), "Items": page });
    if let Some(last) = last {
        answer["LastEvaluatedKey"] = json!(last);
    }
    Ok(answer)
}

/// By the range key, then by the table's own keys.
fn order(a: &Item, b: &Item, range: &str) -> Ordering {
    let by = |name: &str| match (a.get(name), b.get(name)) {
        (Some(a), Some(b)) => compare(a, b).unwrap_or(Ordering::Equal),
        (a, b) => a.is_some().cmp(&b.is_some()),
    };
    by(range).then_with(|| by("pk")).then_with(|| by("sk"))
}

type Shown =
    std::collections::BTreeMap<ItemKey, std::collections::VecDeque<(Duration, Option<Item>)>>;

fn shown<'a>(shown: &'a Shown, now: Duration, hash: &str, range: &str) -> Vec<&'a Item> {
    let visible = shown.values().filter_map(|versions| {
        let (_, item) = versions.iter().rev().find(|(from, _)| *from <= now)?;
        item.as_ref()
    });
    let is_text = |value: &Attribute| value.get("S").is_some();
    let is_number = |value: &Attribute| value.get("N").is_some();
    visible
        .filter(|item| {
            item.get(hash).is_some_and(is_text) && item.get(range).is_some_and(is_number)
        })
        .collect()
}

pub(super) fn batch_get(dynamo: &Dynamo, state: &mut State, request: &Value) -> Result<Value> {
    let whim = state.whims.left_out;
    let (mut responses, mut unprocessed) = (json!({}), json!({}));
    let tables = request["RequestItems"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let count: usize = tables
        .values()
        .map(|wanted| wanted["Keys"].as_array().map_or(0, Vec::len))
        .sum();
    if count == 0 || count > 100 {
        return Err(Refusal::invalid(format!(
            "Too many or no items requested: {count}"
        )));
    }
    for (name, wanted) in &tables {
        let table = table(state, name)?;
        let (mut found, mut left) = (Vec::new(), Vec::new());
        let mut seen = std::collections::BTreeSet::new();
        for key in wanted["Keys"].as_array().into_iter().flatten() {
            let id = key_of(key)?;
            if !seen.insert(id.clone()) {
                return Err(Refusal::invalid(
                    "Provided list of item keys contains duplicates",
                ));
            }
            if dynamo.network.happens(whim) {
                left.push(key.clone());
            } else if let Some(item) = table.items.get(&id) {
                found.push(json!(item));
            }
        }
        responses[name] = json!(found);
        if !left.is_empty() {
            let mut rest = wanted.clone();
            rest["Keys"] = json!(left);
            unprocessed[name] = rest;
        }
    }
    Ok(json!({ "Responses": responses, "UnprocessedKeys": unprocessed }))
}

pub(super) fn batch_write(
    dynamo: &Dynamo,
    state: &mut State,
    request: &Value,
    changes: &mut Vec<Change>,
) -> Result<Value> {
    let whim = state.whims.left_out;
    let mut unprocessed = json!({});
    let tables = request["RequestItems"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let count: usize = tables
        .values()
        .map(|list| list.as_array().map_or(0, Vec::len))
        .sum();
    if count == 0 || count > 25 {
        return Err(Refusal::invalid(format!(
            "Too many or no items in the batch: {count}"
        )));
    }
    let mut writes = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for (name, list) in &tables {
        table(state, name)?;
        for one in list.as_array().into_iter().flatten() {
            let write = if let Some(put) = one.get("PutRequest") {
                let item = to_item(&put["Item"])?;
                if size_of(&item) > LARGEST_ITEM {
                    return Err(Refusal::invalid(
                        "Item size has exceeded the maximum allowed size",
                    ));
                }
                (key_of(&put["Item"])?, Some(item))
            } else {
                (key_of(&one["DeleteRequest"]["Key"])?, None)
            };
            if !seen.insert((name.clone(), write.0.clone())) {
                return Err(Refusal::invalid(
                    "Provided list of item keys contains duplicates",
                ));
            }
            writes.push((name.clone(), one.clone(), write));
        }
    }
    for (name, one, (key, item)) in writes {
        if dynamo.network.happens(whim) {
            match unprocessed[&name].as_array_mut() {
                Some(list) => list.push(one),
                None => unprocessed[&name] = json!([one]),
            }
        } else {
            dynamo.set(state, &name, key, item, changes)?;
        }
    }
    Ok(json!({ "UnprocessedItems": unprocessed }))
}
