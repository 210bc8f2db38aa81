//! A plan as it is written down: groups with their files and deletes, partitions with their names.

use std::collections::HashMap;

use iceberg::spec::{StructType, TableMetadata};
use icepress_model::{Bytes, Group, InputFile, LeftAlone, LeftAloneReason, SpecId};
use icepress_table::{
    PartitionError, partition_name, partition_to_json, partition_type, scan::SnapshotScan,
};

use super::scope::Scope;
use crate::{
    groups::PackedGroup,
    partition::{Context, PartitionView, Unreadable},
};

/// Partitions' types, each looked up once.
pub(super) struct Names<'a> {
    scan: &'a SnapshotScan,
    metadata: &'a TableMetadata,
    types: HashMap<SpecId, StructType>,
}

impl<'a> Names<'a> {
    pub(super) fn new(scan: &'a SnapshotScan, metadata: &'a TableMetadata) -> Self {
        Self {
            scan,
            metadata,
            types: HashMap::new(),
        }
    }

    /// Spec, JSON and name of a partition.
    fn of(&mut self, number: u32) -> Result<(SpecId, serde_json::Value, String), PartitionError> {
        let partition = &self.scan.partitions()[number as usize];
        let spec_id = partition.spec_id;
        let typed = match self.types.entry(spec_id) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(unknown) => {
                unknown.insert(partition_type(self.metadata, spec_id)?)
            }
        };
        let json = partition_to_json(&partition.value, typed)?;
        let spec = self.metadata.partition_spec_by_id(spec_id.get());
        let name = spec.map(|spec| partition_name(spec, typed, &partition.value));
        Ok((spec_id, json, name.unwrap_or_default()))
    }
}

pub(super) type Written = (Vec<Group>, Vec<LeftAlone>);

/// The groups of all partitions, and what is left alone with the reason.
pub(super) fn write(
    mut names: Names<'_>,
    context: &Context<'_>,
    views: &[PartitionView],
    left_out: &HashMap<u32, (u64, u64)>,
    scope: &Scope,
) -> Result<Written, PartitionError> {
    let mut groups = Vec::new();
    let mut left_alone = Vec::new();
    for view in views {
        let (spec_id, partition, partition_name) = names.of(view.number)?;
        for packed in &view.groups {
            groups.push(write_group(
                context,
                packed,
                Group {
                    spec_id,
                    partition: partition.clone(),
                    partition_name: partition_name.clone(),
                    reason: packed.reason.clone(),
                    tier: packed.tier,
                    inputs: Vec::with_capacity(packed.files.len()),
                    deletes: Vec::new(),
                    target_file_size: context.options.target(),
                    shares_deletes: packed.shares_deletes,
                    without: None,
                },
            ));
        }
        let mut leave = |files: u64, bytes: u64, reason: LeftAloneReason| {
            if files > 0 {
                left_alone.push(LeftAlone {
                    spec_id,
                    partition_name: partition_name.clone(),
                    files,
                    bytes: Bytes(bytes),
                    reason: scope.reason(view.number).unwrap_or(reason),
                });
            }
        };
        if let Some((files, bytes)) = left_out.get(&view.number) {
            leave(*files, *bytes, LeftAloneReason::PlanFull);
        }
        let reason = match view.rest_candidates {
            0 => LeftAloneReason::Healthy,
            candidates => LeftAloneReason::TooFewFiles {
                candidates,
                needed: context.options.enough_files(),
            },
        };
        leave(view.rest_files, view.rest_bytes, reason);
        for (unreadable, (files, bytes)) in &view.unreadable {
            let reason = match unreadable {
                Unreadable::Encrypted => LeftAloneReason::Encrypted,
                Unreadable::TooMuch => LeftAloneReason::TooMuch,
                Unreadable::Format(format) => LeftAloneReason::UnsupportedFormat {
                    format: (*format).to_owned(),
                },
            };
            leave(*files, *bytes, reason);
        }
    }
    Ok((groups, left_alone))
}

/// Fills in a group's files and the delete files that apply to any of them.
fn write_group(context: &Context<'_>, packed: &PackedGroup, mut group: Group) -> Group {
    let scan = context.scan;
    let mut place_of: HashMap<u32, u32> = HashMap::new();
    for file in &packed.files {
        let entry = &scan.data_files()[*file as usize];
        let path = scan.path_of(entry);
        let matches = context
            .index
            .for_file(&path, entry.partition, entry.sequence_number);
        let deletes = matches
            .numbers()
            .map(|number| {
                *place_of.entry(number).or_insert_with(|| {
                    let delete = &scan.delete_files()[number as usize];
                    group.deletes.push(scan.delete_file(delete));
                    (group.deletes.len() - 1) as u32
                })
            })
            .collect();
        group.inputs.push(InputFile {
            path,
            size: entry.size,
            rows: entry.rows,
            sequence_number: entry.sequence_number,
            first_row_id: entry.first_row_id(),
            deletes,
        });
    }
    group
}
