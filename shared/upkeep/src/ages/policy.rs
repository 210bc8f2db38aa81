//! How old a table's rows may become: `icepress.age-out.…`, and Amoro's `data-expire.…` as it reads them.

use std::{collections::HashMap, time::Duration};

use serde::Serialize;

use crate::policy;

/// What is set as a whole: where any of ours is, none of Amoro's counts.
#[derive(Debug, Clone, Copy)]
struct Names {
    enabled: &'static str,
    field: &'static str,
    keep: &'static str,
    level: &'static str,
    base: &'static str,
    pattern: &'static str,
    number: &'static str,
}

const OWN: Names = Names {
    enabled: "icepress.age-out.enabled",
    field: "icepress.age-out.field",
    keep: "icepress.age-out.keep",
    level: "icepress.age-out.level",
    base: "icepress.age-out.base",
    pattern: "icepress.age-out.pattern",
    number: "icepress.age-out.number-format",
};
const OWN_PREFIX: &str = "icepress.age-out.";

/// With the defaults of Amoro's `TableProperties`.
const AMORO: Names = Names {
    enabled: "data-expire.enabled",
    field: "data-expire.field",
    keep: "data-expire.retention-time",
    level: "data-expire.level",
    base: "data-expire.base-on-rule",
    pattern: "data-expire.datetime-string-pattern",
    number: "data-expire.datetime-number-format",
};
const GC_ENABLED: &str = "gc.enabled";

/// What goes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// A partition goes once every row of it is too old.
    Partition,
    /// A file goes once every row of it is too old.
    File,
    /// So does a file, and each row that is too old of those that have others: such files are written anew without it.
    Row,
}

/// From when ages are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// From the last commit that was no upkeep: of a table that nobody writes nothing gets older.
    LastCommit,
    /// From now.
    Now,
}

/// What numbers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberFormat {
    Milliseconds,
    Seconds,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AgePolicy {
    pub(super) field: String,
    pub(super) keep: Duration,
    pub(super) level: Level,
    pub(super) base: Base,
    pub(super) pattern: String,
    pub(super) number: NumberFormat,
    /// The names of what was set, for messages.
    pub(super) field_key: &'static str,
    pub(super) pattern_key: &'static str,
}

impl AgePolicy {
    /// The policy of a table with these properties; `None` where nothing gets too old. The error is a message for people.
    pub(super) fn of(properties: &HashMap<String, String>) -> Result<Option<Self>, String> {
        let is_own = properties.keys().any(|key| key.starts_with(OWN_PREFIX));
        let names = if is_own { OWN } else { AMORO };
        if is_own {
            check_names(properties)?;
        }
        let text = |key: &str| properties.get(key).map(|text| text.trim());
        let is_enabled = match text(names.enabled) {
            // Amoro's is off unless it is on; ours is on where anything is set.
            None => is_own,
            Some(text) if text.eq_ignore_ascii_case("true") => true,
            Some(text) if text.eq_ignore_ascii_case("false") => false,
            Some(text) => {
                return Err(format!(
                    "{} is '{text}': it must be true or false",
                    names.enabled
                ));
            }
        };
        if !is_enabled {
            return Ok(None);
        }
        let gc = text(GC_ENABLED).unwrap_or("true");
        if !gc.eq_ignore_ascii_case("true") {
            return Err(format!(
                "{GC_ENABLED} is {gc}: other tables may use its files, and none may be let go of"
            ));
        }
        let missing =
            |key: &str| format!("{key} is not set: nothing can be said to be too old without it");
        let field = text(names.field).filter(|field| !field.is_empty());
        let keep = policy::duration(properties, names.keep, 1)?;
        let keep = keep.ok_or_else(|| missing(names.keep))?;
        if keep.is_zero() {
            return Err(format!("{} is 0: every row would be too old", names.keep));
        }
        let level = match text(names.level).unwrap_or("partition") {
            level if level.eq_ignore_ascii_case("partition") => Level::Partition,
            level if level.eq_ignore_ascii_case("file") => Level::File,
            // Amoro has no such level.
            level if is_own && level.eq_ignore_ascii_case("row") => Level::Row,
            level => {
                let known = if is_own {
                    "partition, file or row"
                } else {
                    "partition or file"
                };
                return Err(format!("{} is '{level}': it must be {known}", names.level));
            }
        };
        let base = match text(names.base).unwrap_or("last_commit_time") {
            base if ["last_commit_time", "last-commit"]
                .iter()
                .any(|it| base.eq_ignore_ascii_case(it)) =>
            {
                Base::LastCommit
            }
            base if ["current_time", "now"]
                .iter()
                .any(|it| base.eq_ignore_ascii_case(it)) =>
            {
                Base::Now
            }
            base => {
                let known = if is_own {
                    "last-commit or now"
                } else {
                    "LAST_COMMIT_TIME or CURRENT_TIME"
                };
                return Err(format!("{} is '{base}': it must be {known}", names.base));
            }
        };
        let number = match text(names.number).unwrap_or("TIMESTAMP_MS") {
            number if number.eq_ignore_ascii_case("TIMESTAMP_MS") => NumberFormat::Milliseconds,
            number if number.eq_ignore_ascii_case("TIMESTAMP_S") => NumberFormat::Seconds,
            number => {
                return Err(format!(
                    "{} is '{number}': it must be TIMESTAMP_MS or TIMESTAMP_S",
                    names.number
                ));
            }
        };
        let pattern = properties.get(names.pattern);
        Ok(Some(Self {
            field: field.ok_or_else(|| missing(names.field))?.to_owned(),
            keep,
            level,
            base,
            pattern: pattern
                .map_or("yyyy-MM-dd", |pattern| pattern.as_str())
                .to_owned(),
            number,
            field_key: names.field,
            pattern_key: names.pattern,
        }))
    }
}

fn check_names(properties: &HashMap<String, String>) -> Result<(), String> {
    let known = [
        OWN.enabled,
        OWN.field,
        OWN.keep,
        OWN.level,
        OWN.base,
        OWN.pattern,
        OWN.number,
    ];
    let mut strange = properties
        .keys()
        .filter(|key| key.starts_with(OWN_PREFIX) && !known.contains(&key.as_str()));
    match strange.next() {
        None => Ok(()),
        Some(key) => Err(format!(
            "{key} is no property: {OWN_PREFIX}field, .keep, .level, .base, .pattern, .number-format and .enabled are"
        )),
    }
}
