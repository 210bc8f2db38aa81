//! The rewrite of one group.

use arrow_array::{RecordBatch, RecordBatchOptions};
use iceberg::spec::serialize_data_file_to_json;
use icepress_catalog::metadata::Metadata;
use icepress_model::{
    Attempt, Bytes, GroupResult, GroupTask, Inspection, RewriteFailure, Rows, Ways,
};
use serde_json::{Map, Value};
use std::sync::Arc;

use crate::{
    RewriteContext,
    failure::{Result, corrupt, over_memory, unsupported},
    group::{GroupCounts, GroupReader, Partition, schema_of},
    memory::Shares,
    merge::{Merged, merge},
    write::{Output, OutputContext, Written},
};

/// See [`crate::rewrite_group`].
pub(crate) async fn rewrite(
    context: &RewriteContext,
    metadata: &Metadata,
    task: &GroupTask,
    attempt: Attempt,
) -> Result<GroupResult> {
    let schema = schema_of(metadata, task.base.schema_id)?;
    let group = &task.group;
    let partition = Partition::of(metadata, group)?;
    let outputs = |shares| {
        Output::new(OutputContext {
            storage: Arc::clone(&context.storage),
            metadata,
            schema: Arc::clone(&schema),
            task,
            attempt,
            partition_path: partition.folder(),
            partition: partition.values.clone(),
            shares,
        })
    };
    let mut output = outputs(Shares::of(context.memory_cap))?;
    let merged = match merge(context, metadata, &schema, group, &mut output).await {
        Ok(merged) => merged,
        Err(failure) => {
            output.abort().await;
            return Err(failure);
        }
    };
    let (counts, written, ways) = match merged {
        Merged::Whole(counts, ways) => (counts, output.finish().await?, ways),
        Merged::Not(why) => {
            output.abort().await;
            tracing::debug!(table = %task.table, group = task.index, %why, "rows are decoded");
            let mut reader = GroupReader::open(context, metadata, &schema, group).await?;
            let output = outputs(reader.shares())?;
            let (counts, written) = by_rows(task, &mut reader, output).await?;
            let ways = Ways {
                encoded: Bytes(written.bytes),
                ..Ways::default()
            };
            (counts, written, ways)
        }
    };
    check(&counts, &written)?;
    check_row_groups(&counts, &written)?;
    let data_files = written
        .files
        .into_iter()
        .map(|file| {
            serialize_data_file_to_json(file, &partition.types, metadata.format_version())
                .map_err(unsupported)
                .and_then(|json| serde_json::from_str(&json).map_err(unsupported))
                .map(in_order)
        })
        .collect::<Result<_>>()?;
    Ok(GroupResult {
        data_files,
        delete_files: Vec::new(),
        rows_in: Rows(counts.rows_in),
        rows_deleted: Rows(counts.rows_deleted),
        rows_out: Rows(written.rows),
        bytes_out: Bytes(written.bytes),
        row_groups_in: counts.row_groups,
        row_groups_out: written.row_groups,
        ways,
        seen: Inspection::default(),
    })
}

/// Reads all rows and writes them.
async fn by_rows(
    task: &GroupTask,
    reader: &mut GroupReader<'_>,
    mut output: Output,
) -> Result<(GroupCounts, Written)> {
    if let Err(failure) = copy(reader, &mut output, task.group.input_bytes()).await {
        output.abort().await;
        return Err(failure);
    }
    let counts = reader.counts();
    if counts.passes > 0 {
        tracing::info!(
            table = %task.table,
            group = task.index,
            passes = counts.passes,
            "keys of equality deletes did not fit the memory cap, and delete files were read again"
        );
    }
    Ok((counts, output.finish().await?))
}

/// The same with its maps in the order of their keys. The `iceberg` crate writes them as lists, in the order of its hash
/// maps, which differs from run to run.
fn in_order(mut file: Value) -> Value {
    let key = |entry: &Value| entry.get("key").and_then(Value::as_i64);
    for list in file.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(entries) = list.as_array_mut()
            && entries.iter().all(|entry| key(entry).is_some())
        {
            entries.sort_by_key(key);
        }
    }
    file
}

async fn copy(reader: &mut GroupReader<'_>, output: &mut Output, all: Bytes) -> Result<()> {
    while let Some(live) = reader.next().await? {
        let options = RecordBatchOptions::new().with_row_count(Some(live.rows));
        let batch = RecordBatch::try_new_with_options(
            Arc::clone(output.arrow_schema()),
            live.columns,
            &options,
        )
        .map_err(|error| corrupt("an input", error))?;
        output
            .write(&batch, (live.left, all.get()), live.room)
            .await?;
    }
    Ok(())
}

/// Small row groups cost readers more than small files do: where memory ended so many before their time that there are
/// more of them than before, nothing was gained.
fn check_row_groups(counts: &GroupCounts, written: &Written) -> Result<()> {
    if written.cut_short == 0 || written.row_groups <= counts.row_groups {
        return Ok(());
    }
    Err(over_memory(format!(
        "its {} row groups would become {}, {} of which end early for lack of memory: give the optimizer more memory",
        counts.row_groups, written.row_groups, written.cut_short
    )))
}

/// Rows out = rows in - rows deleted, always.
fn check(counts: &GroupCounts, written: &Written) -> Result<()> {
    if counts.rows_in == counts.rows_deleted + written.rows {
        return Ok(());
    }
    Err(RewriteFailure {
        kind: icepress_model::RewriteFailureKind::Transient,
        message: format!(
            "{} rows were read, {} of them deleted, and {} written: nothing of this is used",
            counts.rows_in, counts.rows_deleted, written.rows
        ),
    })
}
