//! Which manifests a commit looks into. What none of its rules asks about is carried over by name.
//!
//! Three things are asked of data files: where the inputs are, whether the new files are in the table already, and what the
//! table's delete files still apply to. Inputs lie in manifests whose bounds hold their partition; new files can only be in
//! manifests that came after the plan; and where no delete file is live nobody asks for anything else. Bounds that are wrong
//! are found out: an input that is not where they say is looked for everywhere.

use std::collections::HashSet;

use iceberg::spec::{Datum, Literal, PrimitiveLiteral, Struct, TableMetadata, Type};
use icepress_model::{BaseState, SpecId};

use super::{FinishedGroup, summary};
use crate::{
    manifests::{Content, FieldSummary, ManifestFile},
    partition_from_json, partition_type,
};

/// What a commit wants to know of a table.
#[derive(Debug)]
pub(super) struct Interest {
    /// Paths of the files that are replaced, or whose deletes are rewritten.
    pub(super) inputs: HashSet<String>,
    /// The specs and partitions that these lie in, each with the sequence number of the state that was planned on. `None` where all
    /// manifests are of interest.
    places: Option<Places>,
}

#[derive(Debug)]
struct Places {
    partitions: Vec<(i32, serde_json::Value)>,
    /// What came later has a greater sequence number.
    planned_at: i64,
}

impl Interest {
    /// In all that is live.
    #[cfg(test)]
    pub(super) fn in_everything() -> Self {
        Self {
            inputs: HashSet::new(),
            places: None,
        }
    }

    /// In all that is live, and where the data files with these paths are.
    pub(super) fn in_files(paths: HashSet<String>) -> Self {
        Self {
            inputs: paths,
            places: None,
        }
    }

    /// That of a commit of `groups`.
    pub(super) fn of(groups: &[FinishedGroup], base: &BaseState) -> Self {
        let inputs = groups.iter().flat_map(|group| &group.group.inputs);
        let mut partitions: Vec<(i32, serde_json::Value)> = Vec::new();
        for group in groups {
            let group = &group.group;
            let spec_id = group.spec_id.get();
            let known = partitions
                .iter()
                .any(|(id, partition)| *id == spec_id && *partition == group.partition);
            if !known {
                partitions.push((spec_id, group.partition.clone()));
            }
        }
        Self {
            inputs: inputs.map(|input| input.path.clone()).collect(),
            // Version 1 does not say when a manifest came.
            places: (base.format_version > 1).then_some(Places {
                partitions,
                planned_at: base.starting_sequence_number.get(),
            }),
        }
    }

    /// Which of the manifests of the current snapshot can be passed over; `None` where all must be looked into.
    pub(super) fn passed_over(
        &self,
        metadata: &TableMetadata,
        listed: &[ManifestFile],
    ) -> Option<Vec<bool>> {
        let places = self.places.as_ref()?;
        let parent = metadata.current_snapshot()?;
        let has_deletes = || listed.iter().any(|file| file.content == Content::Deletes);
        // Totals that the summary lacks are counted.
        if has_deletes() || !summary::has_totals(&parent.summary().additional_properties) {
            return None;
        }
        let mut wanted = Vec::with_capacity(places.partitions.len());
        for (spec_id, json) in &places.partitions {
            let types = partition_type(metadata, SpecId(*spec_id)).ok()?;
            let values = partition_from_json(json, &types).ok()?;
            let types = types.fields().iter();
            let types: Vec<Type> = types.map(|field| Type::clone(&field.field_type)).collect();
            wanted.push((*spec_id, types, values));
        }
        let may_hold = |file: &ManifestFile| {
            wanted.iter().any(|(spec_id, types, values)| {
                *spec_id == file.spec_id && within(file.partitions.as_deref(), types, values)
            })
        };
        let passed = listed.iter().map(|file| {
            file.is_complete() && file.sequence_number <= places.planned_at && !may_hold(file)
        });
        Some(passed.collect())
    }
}

/// Whether a partition can be within a manifest's bounds.
fn within(bounds: Option<&[FieldSummary]>, types: &[Type], values: &Struct) -> bool {
    let Some(bounds) = bounds.filter(|bounds| bounds.len() == types.len()) else {
        return true;
    };
    let fields = bounds.iter().zip(types).zip(values.iter());
    fields
        .into_iter()
        .all(|((bounds, of_type), value)| field_within(bounds, of_type, value))
}

fn field_within(bounds: &FieldSummary, of_type: &Type, value: Option<&Literal>) -> bool {
    let (value, primitive) = match (value, of_type) {
        (None, _) => return bounds.contains_null,
        (Some(Literal::Primitive(value)), Type::Primitive(primitive)) => (value, primitive),
        _ => return true,
    };
    // NaN lies outside of bounds.
    if matches!(
        value,
        PrimitiveLiteral::Float(_) | PrimitiveLiteral::Double(_)
    ) {
        return true;
    }
    let bound = |bytes: &Option<Vec<u8>>| {
        let bound = Datum::try_from_bytes(bytes.as_deref()?, primitive.clone());
        bound.ok().map(|bound| bound.literal().clone())
    };
    let below = bound(&bounds.lower_bound).is_some_and(|lower| *value < lower);
    let above = bound(&bounds.upper_bound).is_some_and(|upper| *value > upper);
    !below && !above
}
