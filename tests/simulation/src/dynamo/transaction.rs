//! Transactions: all of it or nothing, once for each token.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Change, Dynamo, Refusal, Result, State, TOKENS_KEPT, requests, table};

pub(super) fn transact(
    dynamo: &Dynamo,
    state: &mut State,
    request: &Value,
    changes: &mut Vec<Change>,
) -> Result<Value> {
    let actions = request["TransactItems"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    if actions.is_empty() || actions.len() > 100 {
        return Err(Refusal::invalid(format!(
            "Member must have length from 1 to 100, not {}",
            actions.len()
        )));
    }
    let now = dynamo.clock.monotonic();
    let token = request["ClientRequestToken"].as_str().map(str::to_owned);
    let content = crate::trace::hash(request["TransactItems"].to_string().as_bytes());
    state
        .tokens
        .retain(|_, (since, _)| *since + TOKENS_KEPT > now);
    if let Some((_, before)) = token.as_ref().and_then(|token| state.tokens.get(token)) {
        if *before == content {
            return Ok(json!({}));
        }
        return Err(Refusal::new(
            "IdempotentParameterMismatchException",
            "The same token was used with other parameters",
        ));
    }
    let mut writes = Vec::with_capacity(actions.len());
    let mut seen = BTreeSet::new();
    for action in &actions {
        let write = if let Some(put) = action.get("Put") {
            requests::put(put)?
        } else if let Some(update) = action.get("Update") {
            requests::update(update)?
        } else if let Some(delete) = action.get("Delete") {
            requests::delete(delete)?
        } else {
            requests::check(&action["ConditionCheck"])?
        };
        if !seen.insert((write.table.clone(), write.key.clone())) {
            return Err(Refusal::invalid(
                "Transaction request cannot include multiple operations on one item",
            ));
        }
        writes.push(write);
    }
    if dynamo.network.happens(state.whims.conflict) {
        let hit = dynamo
            .network
            .engine()
            .map_or(0, |engine| engine.below(writes.len() as u64) as usize);
        let reasons =
            (0..writes.len()).map(|index| reason((index == hit).then_some("TransactionConflict")));
        return Err(cancelled(reasons.collect()));
    }
    let mut outcomes = Vec::with_capacity(writes.len());
    let mut reasons = Vec::with_capacity(writes.len());
    for write in &writes {
        let old = table(state, &write.table)?.items.get(&write.key).cloned();
        match write.apply(old.as_ref()) {
            Ok(after) => {
                outcomes.push(after);
                reasons.push(reason(None));
            }
            Err(refusal) if refusal.code == "ConditionalCheckFailedException" => {
                outcomes.push(None);
                reasons.push(reason(Some("ConditionalCheckFailed")));
            }
            Err(refusal) if refusal.code == "ValidationException" => {
                outcomes.push(None);
                reasons.push(reason(Some("ValidationError")));
            }
            Err(refusal) => return Err(refusal),
        }
    }
    if reasons.iter().any(|reason| reason["Code"] != "None") {
        return Err(cancelled(reasons));
    }
    for (write, after) in writes.into_iter().zip(outcomes) {
        if !write.is_check() {
            dynamo.set(state, &write.table, write.key, after, changes)?;
        }
    }
    if let Some(token) = token {
        state.tokens.insert(token, (now, content));
    }
    Ok(json!({}))
}

fn reason(code: Option<&str>) -> Value {
    match code {
        None => json!({ "Code": "None" }),
        Some(code) => json!({ "Code": code, "Message": code }),
    }
}

fn cancelled(reasons: Vec<Value>) -> Refusal {
    let codes: Vec<&str> = reasons
        .iter()
        .filter_map(|reason| reason["Code"].as_str())
        .collect();
    let mut refusal = Refusal::new(
        "TransactionCanceledException",
        format!(
            "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
            codes.join(", ")
        ),
    );
    refusal
        .more
        .insert("CancellationReasons".to_owned(), json!(reasons));
    refusal
}
