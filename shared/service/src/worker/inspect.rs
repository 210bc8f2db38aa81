//! A look at what a rewrite wrote, before it is reported: when storage has each file from, so that a commit takes none
//! that was written again; for every group, whether its columns have the values that the inputs' columns have; and, on a
//! sample or for every group, whether its rows are those of the inputs.
//!
//! It is done here and not at the commit because here there is one group, a claim that is kept, and time of its own.

use std::{collections::HashMap, sync::Arc};

use icepress_catalog::metadata::Metadata;
use icepress_model::{
    Bytes, ColumnValues, DeleteContent, DeleteFile, Group, GroupResult, GroupTask, InputFile,
    RewriteFailure, RewriteFailureKind, RowId, Rows, TaskId, Tier,
};
use icepress_planner::VerifyRows;
use icepress_rewrite::{Look, Progress, RewriteContext, hash_rows, second_opinion};
use icepress_storage::StorageErrorKind;
use xxhash_rust::xxh3::xxh3_64;

/// Of so many groups a sample takes one.
const ONE_IN: u64 = 16;

/// Whether the rows of a task's group are to be compared. The same for every attempt at it.
pub(crate) fn is_picked(mode: VerifyRows, task: &TaskId) -> bool {
    match mode {
        VerifyRows::Off => false,
        VerifyRows::All => true,
        VerifyRows::Sample => {
            xxh3_64(format!("{}-{}", task.process, task.index).as_bytes()).is_multiple_of(ONE_IN)
        }
    }
}

/// Looks at the files of `result` and notes what it saw in it; with `verify_rows`, reads inputs and outputs once more, and
/// else of their columns no more than footers leave in doubt.
///
/// Fails with [`RewriteFailureKind::WrongRows`] where what was written is not what was read.
pub(crate) async fn inspect(
    engine: &RewriteContext,
    metadata: &Metadata,
    task: &GroupTask,
    result: &mut GroupResult,
    verify_rows: bool,
) -> Result<(), RewriteFailure> {
    for file in &result.data_files {
        let path = file.get("file_path").and_then(serde_json::Value::as_str);
        let info = engine
            .storage
            .info(path.unwrap_or_default())
            .await
            .map_err(|error| {
                let kind = match error.kind {
                    StorageErrorKind::NotFound => RewriteFailureKind::WrongRows,
                    StorageErrorKind::PermissionDenied => RewriteFailureKind::PermissionDenied,
                    StorageErrorKind::NotAllowed => RewriteFailureKind::Unsupported,
                    StorageErrorKind::Throttled => RewriteFailureKind::Throttled,
                    _ => RewriteFailureKind::Transient,
                };
                let message = format!(
                    "table {}: {}: a file that was just written can't be looked at: {error}",
                    task.table,
                    name(task)
                );
                RewriteFailure { kind, message }
            })?;
        result.seen.modified.push(info.modified);
    }
    // Where no row is touched there are none to compare.
    if verify_rows && task.group.tier != Tier::Dangling {
        result.seen.rows_hash = Some(compare_rows(engine, metadata, task, result).await?);
    }
    if task.group.tier == Tier::Full {
        let look = if verify_rows {
            Look::Pages
        } else {
            Look::Footers
        };
        result.seen.values = compare_columns(engine, metadata, task, result, look).await?;
    }
    Ok(())
}

/// Counts the values of each column in inputs and outputs, by what the files say and without what rewrote them.
async fn compare_columns(
    engine: &RewriteContext,
    metadata: &Metadata,
    task: &GroupTask,
    result: &GroupResult,
    look: Look,
) -> Result<Vec<ColumnValues>, RewriteFailure> {
    let outputs = outputs(task, result).ok_or_else(|| undescribed(task, result))?;
    let (before, after) = (
        std::slice::from_ref(&task.group),
        std::slice::from_ref(&outputs),
    );
    let (table, schema) = (&task.table, task.base.schema_id);
    let opinion = second_opinion(engine, metadata, table, schema, (before, after), look)
        .await
        .map_err(|failure| unreadable(task, result, failure))?;
    match opinion.faults.as_slice() {
        [] => Ok(opinion.columns),
        faults => Err(wrong(task, result, &faults.join("; "))),
    }
}

/// What was written is not what was read.
fn wrong(task: &GroupTask, result: &GroupResult, what: &str) -> RewriteFailure {
    RewriteFailure {
        kind: RewriteFailureKind::WrongRows,
        message: format!(
            "table {}: {}: {what}; none of it is used, and the new files are kept to be looked into: {}",
            task.table,
            name(task),
            result.file_paths().join(", ")
        ),
    }
}

fn undescribed(task: &GroupTask, result: &GroupResult) -> RewriteFailure {
    wrong(
        task,
        result,
        "the description of a new file lacks its path, size or rows",
    )
}

/// A failure to read what is compared: where it is about a new file, this was not written as it should be.
fn unreadable(task: &GroupTask, result: &GroupResult, failure: RewriteFailure) -> RewriteFailure {
    let is_of_content = matches!(
        failure.kind,
        RewriteFailureKind::CorruptFile | RewriteFailureKind::FileVanished
    );
    let is_new = |path: &String| failure.message.contains(path.as_str());
    if is_of_content && result.file_paths().iter().any(is_new) {
        let what = format!("what was written can't be read again: {}", failure.message);
        return wrong(task, result, &what);
    }
    failure
}

async fn compare_rows(
    engine: &RewriteContext,
    metadata: &Metadata,
    task: &GroupTask,
    result: &GroupResult,
) -> Result<String, RewriteFailure> {
    // What is read for the comparison is no progress of the rewrite.
    let engine = RewriteContext {
        progress: Arc::new(Progress::default()),
        ..engine.clone()
    };
    let hash = async |group: &Group| {
        let groups = std::slice::from_ref(group);
        hash_rows(&engine, metadata, &task.table, task.base.schema_id, groups).await
    };
    let read = hash(&task.group).await?;
    let outputs = outputs(task, result).ok_or_else(|| undescribed(task, result))?;
    let written = hash(&outputs)
        .await
        .map_err(|failure| unreadable(task, result, failure))?;
    if read != written && (read.rows, read.hash) == (written.rows, written.hash) {
        let what = format!(
            "the {} rows that were written have other row ids or last updates than those that were read",
            written.rows
        );
        return Err(wrong(task, result, &what));
    }
    if read != written {
        let what = format!(
            "the {} rows that were read have hash {read}, and the {} rows that were written have {written}",
            read.rows, written.rows
        );
        return Err(wrong(task, result, &what));
    }
    Ok(read.to_string())
}

/// What a rewrite made of its group, as a group to be read: the new files, or in the light tier the same data files under
/// the new delete files alone.
fn outputs(task: &GroupTask, result: &GroupResult) -> Option<Group> {
    if task.group.tier == Tier::Light {
        return under_new_deletes(task, result);
    }
    // Ids that the commit will not give: a row that lacks its own is found out.
    let has_row_ids = task
        .group
        .inputs
        .iter()
        .any(|input| input.first_row_id.is_some());
    let first_row_id = has_row_ids.then_some(RowId(0));
    let inputs = result.data_files.iter().map(|file| {
        Some(InputFile {
            path: file.get("file_path")?.as_str()?.to_owned(),
            size: Bytes(file.get("file_size_in_bytes")?.as_u64()?),
            rows: Rows(file.get("record_count")?.as_u64()?),
            sequence_number: task.base.starting_sequence_number,
            first_row_id,
            deletes: Vec::new(),
        })
    });
    Some(Group {
        inputs: inputs.collect::<Option<_>>()?,
        deletes: Vec::new(),
        ..task.group.clone()
    })
}

fn under_new_deletes(task: &GroupTask, result: &GroupResult) -> Option<Group> {
    let deletes = result.delete_files.iter().map(|file| {
        let number = |key: &str| file.get(key).and_then(serde_json::Value::as_u64);
        Some(DeleteFile {
            content: match (number("content_offset"), number("content_size_in_bytes")) {
                (Some(offset), Some(length)) => DeleteContent::Vector { offset, length },
                _ => DeleteContent::Position,
            },
            path: file.get("file_path")?.as_str()?.to_owned(),
            size: Bytes(number("file_size_in_bytes")?),
            rows: Rows(number("record_count")?),
            sequence_number: task.base.starting_sequence_number,
            referenced_data_file: file
                .get("referenced_data_file")
                .and_then(serde_json::Value::as_str)
                .map(str::to_owned),
        })
    });
    let deletes: Vec<DeleteFile> = deletes.collect::<Option<_>>()?;
    let mut place_of: HashMap<&str, u32> = HashMap::new();
    let mut shared = Vec::new();
    for (delete, place) in deletes.iter().zip(0..) {
        match &delete.referenced_data_file {
            Some(path) => drop(place_of.insert(path, place)),
            None => shared.push(place),
        }
    }
    let inputs = task.group.inputs.iter().map(|input| InputFile {
        deletes: place_of
            .get(&*input.path)
            .into_iter()
            .chain(&shared)
            .copied()
            .collect(),
        ..input.clone()
    });
    Some(Group {
        inputs: inputs.collect(),
        deletes: deletes.clone(),
        ..task.group.clone()
    })
}

fn name(task: &GroupTask) -> String {
    match task.group.partition_name.as_str() {
        "" => format!("group {}", task.index),
        partition => format!("group {} ({partition})", task.index),
    }
}
