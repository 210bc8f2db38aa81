//! Branches and tags. The `iceberg` crate (0.10.1) has those of versions 2 and 3 and hands them out one by one, by name; those
//! of version 1, which Java writes there too, it forgets. Whoever decides what nobody needs any more wants all of them.

use std::collections::BTreeMap;

use iceberg::spec::{SnapshotReference, TableMetadata};
use serde::Deserialize;
use serde_json::Value;

/// What the file of a table of version 1 says, or why that can't be read: such a table can be read and written, and only
/// its branches and tags are unknown.
pub(super) type OldRefs = Result<BTreeMap<String, SnapshotReference>, String>;

/// Only the references of a metadata file: all else is passed over.
#[derive(Deserialize)]
struct File {
    refs: Option<BTreeMap<String, Value>>,
}

/// The references of a metadata file's content.
pub(super) fn of_file(json: &[u8]) -> OldRefs {
    let file: File =
        serde_json::from_slice(json).map_err(|error| format!("its refs can't be read: {error}"))?;
    let refs = file.refs.unwrap_or_default().into_iter();
    refs.map(|(name, reference)| {
        SnapshotReference::deserialize(reference)
            .map(|reference| (name.clone(), reference))
            .map_err(|error| format!("its branch or tag '{name}' can't be read: {error}"))
    })
    .collect()
}

/// The references of metadata that is read: the crate shows them in JSON alone.
pub(super) fn of_metadata(metadata: &TableMetadata) -> OldRefs {
    let json = serde_json::to_vec(metadata);
    of_file(&json.map_err(|error| format!("its refs can't be read: {error}"))?)
}
