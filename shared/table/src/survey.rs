//! What statistics say of one column, file by file, with the files' partitions: for whoever decides by a column's values
//! which files a table still wants. Nothing of it is kept; a table of any size is surveyed in the memory of its largest
//! manifests.

use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _, stream};
use iceberg::spec::Struct;
use icepress_catalog::LoadedTable;
use icepress_model::{Bytes, Rows, SpecId};
use icepress_storage::Storage;

use crate::{
    TableError,
    manifests::{
        CONCURRENT_READS, Content, ManifestFile, PartitionTable, Specs, check_readable, defect,
        fetch, manifests_of, spec_of, survey_entries, unsupported,
    },
};

/// A live data file. Bounds are encoded as the specification has it (*Binary single-value serialization*), and may be cut
/// short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SurveyedFile<'a> {
    /// Where it lies.
    pub path: &'a str,
    /// Its size.
    pub bytes: Bytes,
    /// Its rows, deleted ones included.
    pub rows: Rows,
    /// Its partition, by number in [`Surveyed::partitions`].
    pub partition: u32,
    /// The partition's spec.
    pub spec_id: SpecId,
    /// The partition's values, in the order of the spec's fields.
    pub value: &'a Struct,
    /// How many of its values are null; `None` where nobody says.
    pub nulls: Option<u64>,
    /// No value is less; `None` where nobody says.
    pub lower: Option<&'a [u8]>,
    /// No value is greater; `None` where nobody says.
    pub upper: Option<&'a [u8]>,
}

/// A partition that was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyedPartition {
    /// Its spec.
    pub spec_id: SpecId,
    /// Its values, in the order of the spec's fields.
    pub value: Arc<Struct>,
}

/// What was met.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Surveyed {
    /// Partitions by their numbers.
    pub partitions: Vec<SurveyedPartition>,
}

/// Calls `each` for every live data file of the current snapshot. `column` is the field id of the column that is asked for.
pub async fn survey_data_files(
    storage: &Arc<dyn Storage>,
    loaded: &LoadedTable,
    column: i32,
    mut each: impl FnMut(SurveyedFile<'_>) + Send,
) -> Result<Surveyed, TableError> {
    let (table, metadata) = (&loaded.table, &loaded.metadata);
    let Some(snapshot) = metadata.current_snapshot() else {
        return Ok(Surveyed::default());
    };
    let mut listed = manifests_of(storage.as_ref(), table, metadata, snapshot).await?;
    listed.retain(|file| file.content == Content::Data && file.may_have_live_files());
    for file in &listed {
        check_readable(table, file)?;
    }
    let specs =
        Specs::of(metadata, &listed).map_err(|error| unsupported(table, error.to_string()))?;
    let read = |file: &ManifestFile| {
        let path = file.path.clone();
        async move { fetch(storage.as_ref(), table, &path).await }.boxed()
    };
    let requests: Vec<_> = listed.iter().map(read).collect();
    let mut contents = stream::iter(requests).buffered(CONCURRENT_READS);
    let mut partitions = PartitionTable::default();
    for file in &listed {
        let Some(content) = contents.next().await else {
            break;
        };
        let spec = spec_of(table, &specs, file)?;
        survey_entries(&content?, file, spec, &mut partitions, column, &mut each)
            .map_err(|error| defect(table, &file.path, error))?;
    }
    let partitions = partitions.partitions.into_iter();
    Ok(Surveyed {
        partitions: partitions
            .map(|partition| SurveyedPartition {
                spec_id: SpecId(partition.spec_id),
                value: partition.value,
            })
            .collect(),
    })
}
