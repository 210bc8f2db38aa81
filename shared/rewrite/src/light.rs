//! The light tier: the deletes of a group written anew, its data files left as they are.
//!
//! What many delete files say of a data file, by position, by vector and by value, is gathered into one bitmap of
//! positions. Before format version 3 it becomes a position delete file of its own, or a part of the group's, as the plan
//! says; from then on a deletion vector, and the vectors of all data files of the group lie in
//! one Puffin file. For deletes by value the key columns are read, and nothing else of the data files.

use std::sync::Arc;

use iceberg::spec::{FormatVersion, Schema};
use icepress_catalog::metadata::Metadata;
use icepress_model::{Attempt, Bytes, Group, GroupResult, GroupTask, Inspection, Rows, Ways};
use icepress_storage::{PutMode, WriteOptions};
use icepress_table::vectors::write_vectors;
use roaring::RoaringTreemap;

use crate::{
    RewriteContext,
    deletes::{DeleteContext, DeletedPositions, EqualityDeletes, find_old},
    failure::{Result, from_write, unsupported},
    group::{Partition, reading_of, schema_of},
    memory::Shares,
    write::{Locations, PositionFiles, with_partition},
};

/// What was written.
#[derive(Debug, Default)]
struct Written {
    entries: Vec<serde_json::Value>,
    rows: u64,
    bytes: u64,
}

/// See [`crate::rewrite_group`].
pub(crate) async fn rewrite_deletes(
    context: &RewriteContext,
    metadata: &Metadata,
    task: &GroupTask,
    attempt: Attempt,
) -> Result<GroupResult> {
    let group = &task.group;
    let schema = schema_of(metadata, task.base.schema_id)?;
    let (mut deleted, passes) = deleted_positions(context, metadata, &schema, group).await?;
    if passes > 0 {
        tracing::info!(
            table = %task.table,
            group = task.index,
            passes,
            "keys of equality deletes did not fit the memory cap, and delete files were read again"
        );
    }
    let mut per_file: Vec<(String, RoaringTreemap)> = group
        .inputs
        .iter()
        .enumerate()
        .map(|(index, input)| (input.path.clone(), deleted.take(index, input.rows.get())))
        .filter(|(_, positions)| !positions.is_empty())
        .collect();
    let partition = Partition::of(metadata, group)?;
    let mut locations = Locations::new(metadata, task, attempt, partition.folder())?;
    let written = if metadata.format_version() < FormatVersion::V3 {
        let most_held = Shares::of(context.memory_cap).row_group;
        let storage = Arc::clone(&context.storage);
        let place = (group.spec_id.get(), partition.values, partition.types);
        let files = PositionFiles::new(storage, metadata, place, most_held)?;
        let mut written = Written::default();
        per_file.sort_by(|left, right| left.0.cmp(&right.0));
        let in_one = match group.shares_deletes {
            false => 1,
            true => per_file.len().max(1),
        };
        for data_files in per_file.chunks(in_one) {
            let path = locations.next_with("-deletes.parquet")?;
            let (entry, size) = files.write(path, data_files).await?;
            written.entries.push(entry);
            written.rows += data_files.iter().map(|(_, rows)| rows.len()).sum::<u64>();
            written.bytes += size;
        }
        written
    } else if per_file.is_empty() {
        Written::default()
    } else {
        let path = locations.next_with("-deletes.puffin")?;
        let file = write_vectors(per_file).await.map_err(unsupported)?;
        let options = WriteOptions {
            storage_class: metadata.properties().get("s3.write.storage-class").cloned(),
            ..WriteOptions::default()
        };
        context
            .storage
            .put(&path, file.content.clone(), PutMode::Overwrite, &options)
            .await
            .map_err(|error| from_write(&error))?;
        let entries = file
            .entries(&path, group.spec_id, &partition.values)
            .map_err(unsupported)?;
        Written {
            entries: entries
                .into_iter()
                .map(|entry| with_partition(entry, &partition.types, metadata.format_version()))
                .collect::<Result<_>>()?,
            rows: file.vectors.iter().map(|vector| vector.rows).sum(),
            bytes: file.content.len() as u64,
        }
    };
    context
        .progress
        .add(group.input_rows(), group.bytes_to_read());
    let rows_in = group.input_rows();
    Ok(GroupResult {
        data_files: Vec::new(),
        delete_files: written.entries,
        rows_in,
        rows_deleted: Rows(written.rows),
        rows_out: rows_in.saturating_sub(Rows(written.rows)),
        bytes_out: Bytes(written.bytes),
        row_groups_in: 0,
        row_groups_out: 0,
        ways: Ways::default(),
        seen: Inspection::default(),
    })
}

/// The rows of each input that any of the group's deletes hides, and how often delete files were read again because
/// their keys did not fit.
pub(crate) async fn deleted_positions(
    context: &RewriteContext,
    metadata: &Metadata,
    schema: &Schema,
    group: &Group,
) -> Result<(DeletedPositions, u64)> {
    let shares = Shares::of(context.memory_cap);
    let of_deletes = DeleteContext {
        metadata,
        current: schema.as_struct(),
        group,
        shares,
    };
    let (mut equality, key_files) = EqualityDeletes::prepare(&of_deletes)?;
    let mut targets = schema.as_struct().fields().to_vec();
    targets.extend(equality.extra.iter().cloned());
    let reading = reading_of(context, metadata, schema, group, targets)?;
    let mut positions = DeletedPositions::load(&context.storage, group, &shares).await?;
    equality
        .load(&of_deletes, key_files, &reading, &mut positions)
        .await?;
    equality.find(&of_deletes, &reading, &mut positions).await?;
    find_old(&of_deletes, &reading, &mut positions).await?;
    Ok((positions, equality.passes))
}
