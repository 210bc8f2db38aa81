//! The plan of one table.

use std::collections::HashMap;

use iceberg::spec::{FormatVersion, TableMetadata};
use icepress_model::{
    BaseState, Group, GroupReason, LeftAlone, LeftAloneReason, MetadataLocation, PlanTotals,
    SchemaId, SequenceNumber, SpecId, TableId, TablePlan, Tier,
};
use icepress_table::{
    DeleteGranularity, PartitionError,
    delete_index::{DeleteIndex, DuplicateVector},
    scan::SnapshotScan,
};
use thiserror::Error;

use crate::{
    InvalidProperty, PlanOptions,
    dangling::dangling_deletes,
    deletes::DeletedShares,
    exchange::{Exchange, Writing},
    groups::PackedGroup,
    health::table_health,
    partition::{Context, Light, PartitionView, look_at, readable_delete},
    turns::in_turn,
};

mod scope;
#[cfg(test)]
mod tests;
mod written;

use scope::Scope;
use written::{Names, write};

/// How many pairs of a data file and a delete file a whole plan may have: each is written down.
const MAX_PLAN_PAIRS: u64 = 4 << 20;

/// How many dangling delete files a plan names. The commit takes all of them out.
const NAMED_DANGLING: usize = 1_000;

/// A table that can't be planned.
#[derive(Debug, Error)]
pub enum PlanError {
    /// One of its properties can't be used.
    #[error(transparent)]
    Property(#[from] InvalidProperty),
    /// What it says of the partitions to take in can't be understood.
    #[error("table {table}: {message}")]
    Filter {
        /// The table.
        table: TableId,
        /// What is wrong with it.
        message: String,
    },
    /// Its files contradict each other.
    #[error("table {table}: {source}")]
    Vectors {
        /// The table.
        table: TableId,
        /// How.
        #[source]
        source: DuplicateVector,
    },
    /// A partition does not fit its spec.
    #[error("table {table}: {source}")]
    Partition {
        /// The table.
        table: TableId,
        /// How.
        #[source]
        source: PartitionError,
    },
}

/// Whether the table is left alone as a whole, which can be known without reading its manifests.
pub fn refusal(
    table: &TableId,
    metadata: &TableMetadata,
    options: &PlanOptions,
) -> Result<Option<LeftAloneReason>, InvalidProperty> {
    let options = options.for_table(table, metadata.properties())?;
    Ok(if !options.enabled {
        Some(LeftAloneReason::Disabled)
    } else {
        None
    })
}

/// What to rewrite of the table that `scan` has the files of, as `metadata` at `location` describes it.
///
/// The table's properties override `options`. Every data file is an input of one group, or is left alone for a reason
/// that is given; no file is ever in two groups, and none in part. Where the plan would be larger than the options
/// allow, the worst partitions come first.
pub fn plan_table(
    scan: &SnapshotScan,
    metadata: &TableMetadata,
    location: &MetadataLocation,
    options: &PlanOptions,
) -> Result<TablePlan, PlanError> {
    let table = scan.table();
    let refused = refusal(table, metadata, options)?;
    let mut options = options.for_table(table, metadata.properties())?;
    if metadata.format_version() >= FormatVersion::V3 {
        // Vectors are one a data file.
        options.delete_granularity = Some(DeleteGranularity::File);
    }
    let options = options;
    let mut view = TableView::new(scan, &options)?;
    view.settle_light();
    view.judge_light();
    let facts: Vec<_> = view.partitions.iter().map(|view| view.facts).collect();
    let health = table_health(&facts, options.target().get());
    let totals = totals(scan, facts.len());

    let scope = Scope::new(scan, metadata, refused)?;
    let takes_out = scope.take_out(&mut view.partitions);
    if takes_out && view.partitions.iter().any(|view| view.light_everywhere) {
        // An equality delete of the whole table can't go with a part of the table.
        view.look(Light::Off);
        scope.take_out(&mut view.partitions);
    }
    // Whoever asks for all files gets them in one plan: a second would not know which are done.
    let mut left_out = HashMap::new();
    if !options.force {
        left_out = cap(scan, &mut view.partitions, &options);
        if !left_out.is_empty() && view.partitions.iter().any(|view| view.light_everywhere) {
            // An equality delete of the whole table can't go with a part of the table.
            view.look(Light::Off);
            scope.take_out(&mut view.partitions);
            left_out = cap(scan, &mut view.partitions, &options);
        }
    }
    let cut = view.partitions.iter().any(|view| {
        let light = |group: &PackedGroup| group.tier == Tier::Light;
        // Which rows deletes by value hit is known only afterwards: some files may turn out to be worth a rewrite.
        let has_light = view.groups.iter().any(light);
        // What is left of a partition that was cut may be worth another group together with what its groups write.
        let has_rest = !view.groups.is_empty() && view.rest_candidates > 0;
        view.groups.len() > 1 || has_light || has_rest
    });
    // Files that stay may seem to be hit harder once those are gone that they shared deletes with.
    let is_hit = |view: &&PartitionView| view.facts.pairs > 0;
    let hit = || view.partitions.iter().filter(is_hit);
    let full = |group: &PackedGroup| group.tier == Tier::Full;
    let cut = cut
        || (hit().any(|view| view.groups.iter().any(full))
            && hit().any(|view| view.rest_files > 0));
    let names = Names::new(scan, metadata);
    // Whoever takes a part of the groups, or works through them, begins with the worst. The sort is stable.
    view.partitions
        .sort_by(|left, right| left.score.total_cmp(&right.score));
    let written = write(names, &view.context(), &view.partitions, &left_out, &scope);
    let (mut groups, left_alone) = written.map_err(|source| PlanError::Partition {
        table: table.clone(),
        source,
    })?;
    if groups.is_empty() && scope.whole_table.is_none() {
        groups.extend(dangling_group(scan, metadata, &options));
    }
    Ok(TablePlan {
        base: base_of(scan, metadata, location),
        follow_up: !options.force && (cut || !left_out.is_empty()),
        groups,
        left_alone,
        health,
        totals,
        settings: options.other_than_default(),
    })
}

/// The state that is planned on; `None` where the table has no snapshot.
pub fn base_of(
    scan: &SnapshotScan,
    metadata: &TableMetadata,
    location: &MetadataLocation,
) -> Option<BaseState> {
    scan.snapshot().map(|snapshot| BaseState {
        metadata_location: location.clone(),
        snapshot_id: snapshot.snapshot_id,
        starting_sequence_number: if metadata.format_version() == FormatVersion::V1 {
            SequenceNumber(0)
        } else {
            snapshot.sequence_number
        },
        schema_id: SchemaId(metadata.current_schema_id()),
        format_version: metadata.format_version() as u8,
    })
}

/// A group without inputs that names delete files which no data file can match; `None` where there are none. Other groups
/// need none beside them: each commit takes such files out.
fn dangling_group(
    scan: &SnapshotScan,
    metadata: &TableMetadata,
    options: &PlanOptions,
) -> Option<Group> {
    let dangling = dangling_deletes(scan);
    if dangling.is_empty() {
        return None;
    }
    let named = dangling.iter().take(NAMED_DANGLING);
    Some(Group {
        spec_id: SpecId(metadata.default_partition_spec_id()),
        partition: serde_json::Value::Null,
        partition_name: String::new(),
        reason: GroupReason::Dangling,
        tier: Tier::Dangling,
        inputs: Vec::new(),
        deletes: named
            .map(|number| scan.delete_file(&scan.delete_files()[*number as usize]))
            .collect(),
        target_file_size: options.target(),
        shares_deletes: false,
        without: None,
    })
}

/// All data files that can be read, in groups of a bounded size, with the deletes that apply to them; and what can't be
/// read, with the reason. For whoever wants every row of a snapshot: neither limits nor properties nor the table's
/// format version leave anything out.
pub fn group_all(
    scan: &SnapshotScan,
    metadata: &TableMetadata,
) -> Result<(Vec<Group>, Vec<LeftAlone>), PlanError> {
    let options = PlanOptions {
        force: true,
        ..PlanOptions::default()
    };
    let view = TableView::new(scan, &options)?;
    let names = Names::new(scan, metadata);
    let written = write(
        names,
        &view.context(),
        &view.partitions,
        &HashMap::new(),
        &Scope::default(),
    );
    written.map_err(|source| PlanError::Partition {
        table: scan.table().clone(),
        source,
    })
}

/// A table's partitions, looked at one by one.
struct TableView<'a> {
    scan: &'a SnapshotScan,
    options: &'a PlanOptions,
    index: DeleteIndex,
    shares: DeletedShares,
    all_deletes_readable: bool,
    files_of: Vec<Vec<u32>>,
    light: Light,
    partitions: Vec<PartitionView>,
}

impl<'a> TableView<'a> {
    fn new(scan: &'a SnapshotScan, options: &'a PlanOptions) -> Result<Self, PlanError> {
        let index = DeleteIndex::of_scan(scan).map_err(|source| PlanError::Vectors {
            table: scan.table().clone(),
            source,
        })?;
        let files_of = files_by_partition(scan);
        let shares = DeletedShares::new(scan, &index, &files_of);
        let all_deletes_readable = scan
            .delete_files()
            .iter()
            .all(|delete| readable_delete(delete.format, delete.encrypted));
        let mut view = Self {
            scan,
            options,
            index,
            shares,
            all_deletes_readable,
            files_of,
            light: Light::Off,
            partitions: Vec::new(),
        };
        let allowed = options.allows_light() && !scan.delete_files().is_empty();
        view.look(if allowed { Light::On } else { Light::Off });
        Ok(view)
    }

    /// Looks at all partitions.
    fn look(&mut self, light: Light) {
        self.light = light;
        let files_of = self.files_of.iter().zip(0..);
        self.partitions = files_of
            .filter(|(files, _)| !files.is_empty())
            .map(|(files, number)| look_at(&self.context(), number, files))
            .collect();
    }

    /// Sees to it that an equality delete of the whole table that a light group takes in can go: all other files that it
    /// applies to are taken in too, or else no delete file is rewritten alone.
    fn settle_light(&mut self) {
        let taken_in = self.partitions.iter().any(|view| view.light_everywhere);
        let left = |view: &Self| view.partitions.iter().any(|view| view.left_everywhere);
        if !taken_in || !left(self) {
            return;
        }
        self.look(Light::Everywhere);
        if left(self) {
            self.look(Light::Off);
        }
    }

    /// Sees to it that delete files are rewritten alone only where that is a gain: in each partition for itself, but in all
    /// partitions with an equality delete of the whole table together.
    fn judge_light(&mut self) {
        let everywhere = |view: &PartitionView| view.light_everywhere;
        let (bound, free): (Vec<usize>, Vec<usize>) =
            (0..self.partitions.len()).partition(|index| everywhere(&self.partitions[*index]));
        let alone = free.into_iter().map(|index| vec![index]);
        for together in alone.chain([bound]) {
            let mut exchange = Exchange::default();
            let views = together.iter().map(|index| &self.partitions[*index]);
            let mut views = views.filter(|view| view.light_groups().next().is_some());
            let context = self.context();
            views.by_ref().for_each(|view| exchange.add(&context, view));
            let wants = self.options.delete_granularity;
            let must_share = wants == Some(DeleteGranularity::Partition);
            let writing = exchange.writing(self.options.shares_delete_files(), must_share);
            for index in together {
                let view = &mut self.partitions[index];
                if view.light_groups().next().is_none() {
                    continue;
                }
                match writing {
                    None => {
                        let number = view.number;
                        let files = &self.files_of[number as usize];
                        let context = self.context_with(Light::Idle);
                        self.partitions[index] = look_at(&context, number, files);
                    }
                    Some(writing) => {
                        for group in &mut view.groups {
                            group.shares_deletes =
                                group.tier == Tier::Light && writing == Writing::Shared;
                        }
                    }
                }
            }
        }
    }

    fn context(&self) -> Context<'_> {
        self.context_with(self.light)
    }

    fn context_with(&self, light: Light) -> Context<'_> {
        Context {
            scan: self.scan,
            options: self.options,
            index: &self.index,
            shares: &self.shares,
            all_deletes_readable: self.all_deletes_readable,
            light,
        }
    }
}

/// The data files of each partition, by index, in the table's order.
fn files_by_partition(scan: &SnapshotScan) -> Vec<Vec<u32>> {
    let mut files_of = vec![Vec::new(); scan.partitions().len()];
    for (file, index) in scan.data_files().iter().zip(0..) {
        files_of[file.partition as usize].push(index);
    }
    files_of
}

fn totals(scan: &SnapshotScan, partitions: usize) -> PlanTotals {
    let (data, deletes) = (scan.data_files(), scan.delete_files());
    PlanTotals {
        data_files: data.len() as u64,
        data_bytes: data.iter().map(|file| file.size).sum(),
        rows: data.iter().map(|file| file.rows).sum(),
        delete_files: deletes.len() as u64,
        delete_bytes: deletes.iter().map(|file| file.size).sum(),
        partitions: partitions as u64,
    }
}

fn count_files(groups: &[PackedGroup]) -> u64 {
    groups.iter().map(|group| group.files.len() as u64).sum()
}

/// Takes groups out until the plan is as small as it must be: each partition has its turn, the worst more often. Returns
/// files and bytes taken out, by partition number.
fn cap(
    scan: &SnapshotScan,
    views: &mut [PartitionView],
    options: &PlanOptions,
) -> HashMap<u32, (u64, u64)> {
    let has_groups = |index: &usize| !views[*index].groups.is_empty();
    let mut worst_first: Vec<usize> = (0..views.len()).filter(has_groups).collect();
    // The sort is stable: of two that are as bad, the one that comes first in the table.
    worst_first.sort_by(|left, right| views[*left].score.total_cmp(&views[*right].score));
    let oldest = |index: &usize| {
        let files = views[*index].groups.iter().flat_map(|group| &group.files);
        let numbers = files.map(|file| scan.data_files()[*file as usize].sequence_number);
        numbers.min().unwrap_or(SequenceNumber(0))
    };
    let snapshot = scan.snapshot().map(|snapshot| snapshot.snapshot_id);
    let seed = options.turn ^ snapshot.map_or(0, |id| id.get().unsigned_abs());
    let turns = in_turn(worst_first, oldest, seed);
    let mut left_out = HashMap::new();
    let (mut bytes, mut files, mut pairs, mut planned) = (0u64, 0u64, 0u64, 0u64);
    let mut full = false;
    for view in turns {
        let view = &mut views[view];
        let mut kept = 0;
        // Light groups come behind the others and go in together: their delete files go when all of them are done.
        let together = |group: &PackedGroup, next: &PackedGroup| {
            group.tier == Tier::Light && next.tier == Tier::Light
        };
        for groups in view.groups.chunk_by(together) {
            let is_first = files == 0;
            for group in groups {
                bytes += group.bytes_to_read();
                files += group.files.len() as u64;
                pairs += group.pairs;
            }
            planned += groups.len() as u64;
            let fits = bytes <= options.max_plan_bytes.get()
                && files <= options.max_plan_files
                && planned <= options.max_plan_groups
                && pairs <= MAX_PLAN_PAIRS;
            full = full || !(fits || is_first);
            if full {
                break;
            }
            kept += groups.len();
        }
        let taken_out = view.groups.split_off(kept);
        if !taken_out.is_empty() {
            let bytes = taken_out.iter().map(|group| group.bytes).sum();
            left_out.insert(view.number, (count_files(&taken_out), bytes));
        }
    }
    left_out
}
