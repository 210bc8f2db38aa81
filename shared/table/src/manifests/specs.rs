//! What a table's metadata says of the partition specs that its manifests are of.

use std::collections::{HashMap, hash_map::Entry};

use iceberg::spec::{StructType, TableMetadata};
use icepress_model::SpecId;

use super::ManifestFile;
use crate::{PartitionError, partition_type};

/// A partition spec.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    /// The type of its partitions.
    pub(crate) partition_type: StructType,
    /// Whether it has no partition fields, so that equality deletes written under it apply to every partition
    /// (specification, *Scan Planning*).
    pub(crate) is_unpartitioned: bool,
}

/// The specs of a list's manifests.
#[derive(Debug, Default)]
pub(crate) struct Specs(HashMap<i32, Spec>);

impl Specs {
    /// Those that `manifests` are of. Fails where the table lacks one, or where its partitions' type can't be known.
    pub(crate) fn of<'m>(
        metadata: &TableMetadata,
        manifests: impl IntoIterator<Item = &'m ManifestFile>,
    ) -> Result<Self, PartitionError> {
        let mut specs = Self::default();
        for manifest in manifests {
            let id = manifest.spec_id;
            if let Entry::Vacant(vacant) = specs.0.entry(id) {
                vacant.insert(Spec {
                    partition_type: partition_type(metadata, SpecId(id))?,
                    is_unpartitioned: metadata
                        .partition_spec_by_id(id)
                        .is_some_and(|spec| spec.is_unpartitioned()),
                });
            }
        }
        Ok(specs)
    }

    /// The spec with this id, of a manifest that was among those.
    pub(crate) fn get(&self, spec_id: i32) -> Result<&Spec, PartitionError> {
        let spec = self.0.get(&spec_id);
        spec.ok_or_else(|| PartitionError::no_spec(spec_id))
    }
}
