//! What a table's row says that was concluded of it: an object of entries, each with a home of its own that reads and
//! writes it. The others stay as they are.

use icepress_coordination::TableRow;
use serde_json::{Map, Value};

/// One entry of what was concluded of a table.
pub(super) fn entry(row: &TableRow, name: &str) -> Option<Value> {
    let conclusion: Value = serde_json::from_str(row.conclusion.as_deref()?).ok()?;
    conclusion.get(name).cloned()
}

/// A conclusion with one entry more, or changed.
pub(super) fn with_entry(conclusion: Option<&str>, name: &str, value: Value) -> String {
    let read = conclusion.and_then(|text| serde_json::from_str(text).ok());
    let mut entries = match read {
        Some(Value::Object(entries)) => entries,
        _ => Map::new(),
    };
    entries.insert(name.to_owned(), value);
    Value::Object(entries).to_string()
}

/// A conclusion without one of its entries.
pub(super) fn without_entry(conclusion: &str, name: &str) -> String {
    match serde_json::from_str(conclusion) {
        Ok(Value::Object(mut entries)) => {
            entries.remove(name);
            Value::Object(entries).to_string()
        }
        _ => conclusion.to_owned(),
    }
}
