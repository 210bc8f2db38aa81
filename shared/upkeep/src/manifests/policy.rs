//! What a table's properties say of its manifests.

use std::collections::HashMap;

/// Iceberg's (`TableProperties`); with the target size, which the commit itself reads.
const MERGE_ENABLED: &str = "commit.manifest-merge.enabled";
const MIN_COUNT: &str = "commit.manifest.min-count-to-merge";
/// Where the table says nothing. Iceberg's own default is 100, for merges that every append pays for and waits for; a commit
/// that does nothing else pays much earlier.
const DEFAULT_MIN_COUNT: u64 = 16;

/// How a table wants its manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ManifestPolicy {
    /// Whether manifests may be written together at all.
    pub(super) is_enabled: bool,
    /// So many small manifests of a kind are worth writing anew.
    pub(super) min_count: u64,
}

impl Default for ManifestPolicy {
    fn default() -> Self {
        Self {
            is_enabled: true,
            min_count: DEFAULT_MIN_COUNT,
        }
    }
}

impl ManifestPolicy {
    /// The policy of a table with these properties. The error is a message for people: a value can't be read.
    pub(super) fn of(properties: &HashMap<String, String>) -> Result<Self, String> {
        let get = |key: &str| properties.get(key).map(|value| value.trim());
        let min_count = match get(MIN_COUNT) {
            None => DEFAULT_MIN_COUNT,
            Some(value) => value
                .parse()
                .map_err(|_| format!("{MIN_COUNT} = {value} is no whole number, as in 100"))?,
        };
        Ok(Self {
            // As Java reads it: what is not "true" is false.
            is_enabled: get(MERGE_ENABLED).is_none_or(|value| value.eq_ignore_ascii_case("true")),
            min_count,
        })
    }
}
