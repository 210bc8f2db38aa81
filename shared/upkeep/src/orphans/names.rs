//! What the names of files tell.

use std::collections::HashSet;

use icepress_model::{Attempt, ProcessId};

use crate::{FileKind, ledger::Ledger};

/// What no engine takes for a table's file is nobody's business here: `_SUCCESS`, `.hive-staging`. (Iceberg's Java library
/// leaves them alone as well: `HiddenPathFilter`.) But a partition field may have such a name, and then its folders are the
/// table's. `below` is the path in one of the table's folders.
pub(super) fn is_hidden(below: &str, partition_fields: &HashSet<String>) -> bool {
    below.split('/').any(|part| {
        let is_hidden = part.starts_with(['_', '.']);
        let field = part.split_once('=').map(|(field, _)| field);
        is_hidden && !field.is_some_and(|field| partition_fields.contains(field))
    })
}

/// What stands for a folder in object stores, and is no file: `data/`, `data_$folder$`.
pub(super) fn is_folder_mark(below: &str) -> bool {
    below.ends_with('/') || below.ends_with("_$folder$")
}

/// Whether it is one of our own lists of what is to be deleted.
pub(super) fn is_ledger(below: &str) -> bool {
    let folders = Ledger::ALL.map(Ledger::folder);
    below.split('/').any(|part| folders.contains(&part))
}

/// Whether a metadata file is named so, in any of the ways of engines: `v3.metadata.json`, `00003-….gz.metadata.json`,
/// `….metadata.json.gz`.
pub(super) fn is_metadata_file(location: &str) -> bool {
    name_of(location).contains(".metadata.json")
}

/// Whether it is a directory catalog's pointer to the current metadata file.
pub(super) fn is_version_hint(location: &str) -> bool {
    name_of(location).starts_with("version-hint")
}

/// What a file was, as far as its name tells.
pub(super) fn kind_of(location: &str) -> FileKind {
    let name = name_of(location);
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if is_metadata_file(location) {
        FileKind::Metadata
    } else if ends(&[".stats"]) || (ends(&[".puffin"]) && !name.contains("deletes")) {
        FileKind::Statistics
    } else if name.contains("-deletes") || ends(&[".puffin"]) {
        FileKind::Delete
    } else if ends(&[".avro"]) && name.starts_with("snap-") {
        FileKind::ManifestList
    } else if ends(&[".avro"]) && is_manifest(name) {
        FileKind::Manifest
    } else if ends(&[".parquet", ".orc", ".avro"]) {
        FileKind::Data
    } else {
        FileKind::Other
    }
}

/// `…-m0.avro`, as all engines name them.
fn is_manifest(name: &str) -> bool {
    let stem = name.strip_suffix(".avro").unwrap_or(name);
    stem.rsplit_once("-m").is_some_and(|(_, number)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// The task and attempt that wrote a file of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OwnName {
    pub(super) process: ProcessId,
    pub(super) index: usize,
    pub(super) attempt: Attempt,
}

/// Reads `00003-2-<process>-00001.parquet`, which a hash may stand before; `None` for everybody else's. Other engines write
/// their UUIDs with dashes.
pub(super) fn own_name(location: &str) -> Option<OwnName> {
    let parts: Vec<&str> = name_of(location).split('-').collect();
    let is_process = |part: &str| {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        part.len() == 32 && part.bytes().all(is_digit)
    };
    let at = parts.iter().position(|part| is_process(part))?;
    let (index, attempt) = (parts.get(at.checked_sub(2)?)?, parts.get(at - 1)?);
    let file = parts.get(at + 1)?;
    let is_file = file.len() >= 5 && file.bytes().take(5).all(|byte| byte.is_ascii_digit());
    (index.len() >= 5 && is_file).then_some(())?;
    Some(OwnName {
        process: ProcessId::from(parts[at]),
        index: index.parse().ok()?,
        attempt: Attempt(attempt.parse().ok()?),
    })
}

fn name_of(location: &str) -> &str {
    location.rsplit('/').next().unwrap_or(location)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c35_hidden_folders_are_left_alone_unless_they_are_partitions() {
        let fields = HashSet::from(["_day".to_owned()]);
        for hidden in [
            "_SUCCESS",
            "data/.staging/x",
            "data/_tmp/x",
            "_day/x",
            "data/_month=1/x",
        ] {
            assert!(is_hidden(hidden, &fields), "{hidden}");
        }
        for open in ["data/x", "data/_day=1/x", "data/a_b/x.y"] {
            assert!(!is_hidden(open, &fields), "{open}");
        }
    }

    #[test]
    fn kinds_are_told_by_names() {
        for (name, kind) in [
            ("a/data/00000-0-8f.parquet", FileKind::Data),
            ("a/data/00000-0-8f-00001-deletes.parquet", FileKind::Delete),
            ("a/data/00000-0-8f-00001-deletes.puffin", FileKind::Delete),
            ("a/metadata/20260101_x.stats", FileKind::Statistics),
            ("a/metadata/x.puffin", FileKind::Statistics),
            ("a/metadata/snap-12-1-8f.avro", FileKind::ManifestList),
            ("a/metadata/8f-m12.avro", FileKind::Manifest),
            ("a/data/rows.avro", FileKind::Data),
            ("a/metadata/v3.metadata.json", FileKind::Metadata),
            ("a/metadata/00003-8f.gz.metadata.json", FileKind::Metadata),
            ("a/metadata/00003-8f.metadata.json.gz", FileKind::Metadata),
            ("a/notes.txt", FileKind::Other),
        ] {
            assert_eq!(kind_of(name), kind, "{name}");
        }
    }

    #[test]
    fn our_own_files_are_told_by_process_task_and_attempt() {
        let process = "0123456789abcdef0123456789abcdef";
        let own = OwnName {
            process: ProcessId::from(process),
            index: 3,
            attempt: Attempt(2),
        };
        for name in [
            format!("s3://b/t/data/p=1/00003-2-{process}-00001.parquet"),
            format!("s3://b/t/data/0110/1010/01101010-00003-2-{process}-00001.parquet"),
            format!("/t/data/00003-2-{process}-00001-deletes.puffin"),
            format!("/t/data/00003-2-{process}-00001.parquet.4711-9.tmp"),
        ] {
            assert_eq!(own_name(&name).as_ref(), Some(&own), "{name}");
        }
        for name in [
            "00003-2-01234567-89ab-cdef-0123-456789abcdef-00001.parquet".to_owned(),
            format!("2-{process}-00001.parquet"),
            format!("00003-x-{process}-00001.parquet"),
            format!("00003-2-{process}.parquet"),
            format!("{process}-m0.avro"),
        ] {
            assert_eq!(own_name(&name), None, "{name}");
        }
    }
}
