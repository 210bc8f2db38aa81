//! Metadata with more snapshots than a machine should hold whole: of old ones only as much of their summaries is read as
//! anybody asks for.
//!
//! A table of 100,000 snapshots has 110 MB of metadata, most of it counts in summaries, and the `iceberg` crate (0.10.1) takes
//! many times that to read it: it holds all of a document in parts before it knows its version. So such a file is gone
//! through once, snapshot by snapshot, and what the crate gets is short. What is left out stands in the file, and the next
//! file has it again (`keep`).

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

const SNAPSHOTS: &str = "snapshots";
/// Files of fewer bytes are read as they are.
const LARGE: usize = 8 << 20;
/// So many of the newest snapshots are read whole.
const WHOLE: usize = 1000;
/// What begins so in the summary of a snapshot of any age is asked for: the operation, whose commit it was, whether it
/// was staged, a Flink job and its last checkpoint.
const ASKED_FOR: [&str; 5] = [
    "operation",
    "icepress.",
    "wap.",
    "published-wap-id",
    "flink.",
];

/// A part of a metadata file.
enum Part {
    Field(String, Value),
    Snapshot(Value),
}

/// The same metadata with short summaries of old snapshots; `None` where it is to be read as it is, being small or damaged.
pub(super) fn thinned(json: &[u8]) -> Option<Vec<u8>> {
    (json.len() >= LARGE)
        .then(|| shortened(json, WHOLE))
        .flatten()
}

fn shortened(json: &[u8], whole: usize) -> Option<Vec<u8>> {
    let outline: Outline = serde_json::from_slice(json).ok()?;
    let mut times: Vec<i64> = outline.snapshots.iter().map(|it| it.timestamp_ms).collect();
    times.sort_unstable_by(|left, right| right.cmp(left));
    // The newest one of those that are not read whole.
    let old = *times.get(whole)?;
    let (mut fields, mut snapshots) = (Map::new(), Vec::new());
    let mut is_written = true;
    let read = go_through(json, &mut |part| match part {
        Part::Field(key, value) => drop(fields.insert(key, value)),
        Part::Snapshot(mut snapshot) => {
            let time = snapshot.get("timestamp-ms").and_then(Value::as_i64);
            if time.is_some_and(|time| time <= old) {
                shorten(&mut snapshot);
            }
            if !snapshots.is_empty() {
                snapshots.push(b',');
            }
            is_written &= serde_json::to_writer(&mut snapshots, &snapshot).is_ok();
        }
    });
    read.ok().filter(|()| is_written)?;
    let mut short = serde_json::to_vec(&fields).ok()?;
    short.pop();
    short.extend_from_slice(b",\"snapshots\":[");
    short.append(&mut snapshots);
    short.extend_from_slice(b"]}");
    Some(short)
}

/// The metadata file as it is, without the snapshots that are not among `wanted`. For whoever makes the next one: what is
/// not in that one need not be held.
pub(super) fn with_snapshots(json: &[u8], wanted: &HashSet<i64>) -> serde_json::Result<Value> {
    if json.len() < LARGE {
        return serde_json::from_slice(json);
    }
    let (mut fields, mut snapshots) = (Map::new(), Vec::new());
    go_through(json, &mut |part| match part {
        Part::Field(key, value) => drop(fields.insert(key, value)),
        Part::Snapshot(snapshot) => {
            let id = snapshot.get("snapshot-id").and_then(Value::as_i64);
            if id.is_some_and(|id| wanted.contains(&id)) {
                snapshots.push(snapshot);
            }
        }
    })?;
    fields.insert(SNAPSHOTS.to_owned(), Value::Array(snapshots));
    Ok(Value::Object(fields))
}

fn shorten(snapshot: &mut Value) {
    let Some(summary) = snapshot.get_mut("summary").and_then(Value::as_object_mut) else {
        return;
    };
    summary.retain(|key, _| ASKED_FOR.iter().any(|asked| key.starts_with(asked)));
}

#[derive(Deserialize)]
struct Outline {
    #[serde(default)]
    snapshots: Vec<Head>,
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "timestamp-ms")]
    timestamp_ms: i64,
}

/// Tells the fields of a metadata file in their order, but of its snapshots one after another.
fn go_through(json: &[u8], see: &mut dyn FnMut(Part)) -> serde_json::Result<()> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    File(see).deserialize(&mut deserializer)?;
    deserializer.end()
}

struct File<'a>(&'a mut dyn FnMut(Part));

impl<'de> DeserializeSeed<'de> for File<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for File<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == SNAPSHOTS {
                map.next_value_seed(Snapshots(&mut *self.0))?;
            } else {
                let value = map.next_value()?;
                (self.0)(Part::Field(key, value));
            }
        }
        Ok(())
    }
}

struct Snapshots<'a>(&'a mut dyn FnMut(Part));

impl<'de> DeserializeSeed<'de> for Snapshots<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Snapshots<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of snapshots")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(snapshot) = list.next_element()? {
            (self.0)(Part::Snapshot(snapshot));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(snapshots: i64) -> Value {
        let snapshot = |id: i64| {
            json!({
                "snapshot-id": id, "timestamp-ms": 100 - id, "manifest-list": format!("l{id}"),
                "summary": {"operation": "append", "total-records": "7", "icepress.process-id": "p", "flink.job-id": "j"},
            })
        };
        json!({
            "format-version": 2,
            "snapshots": (1..=snapshots).map(snapshot).collect::<Vec<_>>(),
            "own-key": {"snapshots": [1]},
        })
    }

    #[test]
    fn old_summaries_are_short_and_all_else_is_as_it_was() {
        let whole = metadata(5);
        let text = serde_json::to_vec(&whole).unwrap();
        let short: Value = serde_json::from_slice(&shortened(&text, 2).unwrap()).unwrap();
        let mut expected = whole;
        for old in 2..5 {
            let summary = expected["snapshots"][old]["summary"]
                .as_object_mut()
                .unwrap();
            summary.remove("total-records");
        }
        assert_eq!(short, expected);
        assert_eq!(shortened(&text, 5), None, "no more than are read whole");
        assert_eq!(shortened(&text[..text.len() - 1], 2), None, "cut short");
    }

    #[test]
    fn only_snapshots_that_are_wanted_are_held() {
        let padding = "x".repeat(LARGE);
        let mut whole = metadata(5);
        whole["padding"] = padding.into();
        let text = serde_json::to_vec(&whole).unwrap();
        let read = with_snapshots(&text, &HashSet::from([2, 4, 9])).unwrap();
        let all = whole["snapshots"].as_array().unwrap();
        assert_eq!(read["snapshots"], json!([all[1], all[3]]));
        assert_eq!(read["own-key"], whole["own-key"]);
    }
}
