//! What must hold of a table's metadata after every commit, whoever made it.

use std::collections::{HashMap, HashSet};

use iceberg::spec::{
    DataContentType, DataFileFormat, FormatVersion, ManifestContentType, Operation, TableMetadata,
};
use icepress_storage::Storage;

use super::{reader::Seen, world::Outcome};

/// Everything that can be said of the current snapshot without reading rows.
pub(super) async fn check(storage: &dyn Storage, metadata: &TableMetadata, seen: &Seen) -> Outcome {
    let Some(snapshot) = metadata.current_snapshot() else {
        return Ok(());
    };
    let is_v1 = metadata.format_version() == FormatVersion::V1;
    let last = metadata.last_sequence_number();
    if !is_v1 && snapshot.sequence_number() > last {
        return Err(format!(
            "the snapshot is of sequence {} and the table's last is {last}",
            snapshot.sequence_number()
        ));
    }
    check_entries(seen, snapshot.sequence_number())?;
    check_vectors(seen)?;
    check_lists(seen)?;
    check_totals(seen, snapshot.summary())?;
    for file in seen.files(None) {
        let info = storage
            .info(&file.path)
            .await
            .map_err(|error| format!("a live file is missing: {error}"))?;
        if info.size.get() != file.file.file_size_in_bytes() {
            return Err(format!(
                "{} has {} bytes, and its entry says {}",
                file.path,
                info.size.get(),
                file.file.file_size_in_bytes()
            ));
        }
    }
    Ok(())
}

fn check_entries(seen: &Seen, newest: i64) -> Outcome {
    let mut identities = HashSet::new();
    for file in seen.files(None) {
        if !identities.insert(file.identity()) {
            return Err(format!("{} is live twice", file.path));
        }
        if file.sequence > file.file_sequence || file.file_sequence > newest {
            return Err(format!(
                "{} has data sequence {} and file sequence {} in a snapshot of sequence {newest}",
                file.path, file.sequence, file.file_sequence
            ));
        }
    }
    Ok(())
}

/// At most one live vector a data file, and none for a file that is gone.
fn check_vectors(seen: &Seen) -> Outcome {
    let live: HashSet<&str> = seen.data().iter().map(|file| file.path.as_str()).collect();
    let mut named = HashSet::new();
    for file in seen.deletes() {
        if file.file.file_format() != DataFileFormat::Puffin {
            continue;
        }
        let path = file.file.referenced_data_file();
        let path = path.ok_or_else(|| format!("a vector in {} names no file", file.path))?;
        if !live.contains(path.as_str()) {
            return Err(format!("a vector is left of {path}, which is gone"));
        }
        if !named.insert(path.clone()) {
            return Err(format!("{path} has two live vectors"));
        }
    }
    Ok(())
}

/// The list against its manifests: content, least sequence number, counts of live files.
fn check_lists(seen: &Seen) -> Outcome {
    for manifest in &seen.manifests {
        let listed = &manifest.listed;
        let path = &listed.manifest_path;
        for file in &manifest.files {
            let is_data = file.file.content_type() == DataContentType::Data;
            if is_data != (listed.content == ManifestContentType::Data) {
                return Err(format!(
                    "{} is in a manifest of another kind, {path}",
                    file.path
                ));
            }
            if file.sequence < listed.min_sequence_number {
                return Err(format!(
                    "{path} says {} is its least sequence number, and {} has {}",
                    listed.min_sequence_number, file.path, file.sequence
                ));
            }
        }
        let files = |count: Option<u32>| count.map(u64::from);
        let sum = |left: Option<u64>, right: Option<u64>| Some(left? + right?);
        let said = sum(
            files(listed.added_files_count),
            files(listed.existing_files_count),
        );
        let real = manifest.files.len() as u64;
        if said.is_some_and(|said| said != real) {
            return Err(format!(
                "{path} is said to have {said:?} live files, and has {real}"
            ));
        }
        let said = sum(listed.added_rows_count, listed.existing_rows_count);
        let real: u64 = manifest
            .files
            .iter()
            .map(|file| file.file.record_count())
            .sum();
        if said.is_some_and(|said| said != real) {
            return Err(format!(
                "{path} is said to have {said:?} live rows, and has {real}"
            ));
        }
    }
    Ok(())
}

/// The summary's totals, which a replace must have.
fn check_totals(seen: &Seen, summary: &iceberg::spec::Summary) -> Outcome {
    let mut real: HashMap<&str, u64> = HashMap::new();
    let mut add = |total, count| *real.entry(total).or_default() += count;
    for total in [
        "total-files-size",
        "total-records",
        "total-position-deletes",
        "total-equality-deletes",
    ] {
        add(total, 0);
    }
    add("total-data-files", seen.data().len() as u64);
    add("total-delete-files", seen.deletes().len() as u64);
    for file in seen.files(None) {
        let rows = file.file.record_count();
        // Vectors share files: each counts for itself.
        let of_vector = file.file.content_size_in_bytes().map(i64::unsigned_abs);
        add(
            "total-files-size",
            of_vector.unwrap_or(file.file.file_size_in_bytes()),
        );
        match file.file.content_type() {
            DataContentType::Data => add("total-records", rows),
            DataContentType::PositionDeletes => add("total-position-deletes", rows),
            DataContentType::EqualityDeletes => add("total-equality-deletes", rows),
        }
    }
    for (total, count) in real {
        match summary.additional_properties.get(total) {
            Some(said) if *said == count.to_string() => {}
            None if summary.operation != Operation::Replace => {}
            said => {
                return Err(format!(
                    "the summary says {total} is {said:?}, and it is {count}"
                ));
            }
        }
    }
    Ok(())
}
