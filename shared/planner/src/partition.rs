//! One partition of one spec: its candidates, its groups, and how well it is.

use std::collections::{BTreeMap, HashSet};

use icepress_table::{
    delete_index::{DeleteIndex, Matches},
    scan::{DataFileEntry, FileFormat, SnapshotScan},
};

use crate::{
    PlanOptions,
    deletes::DeletedShares,
    groups::{Candidate, PackedGroup, pack},
    health::{PartitionFacts, partition_score},
};

/// What the planner knows of the whole table.
pub(crate) struct Context<'a> {
    pub(crate) scan: &'a SnapshotScan,
    pub(crate) options: &'a PlanOptions,
    pub(crate) index: &'a DeleteIndex,
    pub(crate) shares: &'a DeletedShares,
    /// Whether all delete files can be read: then no data file need be looked at for those that can't.
    pub(crate) all_deletes_readable: bool,
}

/// What came of looking at a partition.
#[derive(Debug)]
pub(crate) struct PartitionView {
    pub(crate) number: u32,
    pub(crate) groups: Vec<PackedGroup>,
    /// Files that could be rewritten and were not put into a group, and how many of them are candidates.
    pub(crate) rest_files: u64,
    pub(crate) rest_bytes: u64,
    pub(crate) rest_candidates: u64,
    /// Files and bytes that can't be rewritten, by what they are.
    pub(crate) unreadable: BTreeMap<Unreadable, (u64, u64)>,
    pub(crate) facts: PartitionFacts,
    pub(crate) score: f64,
}

/// Why a file can't be rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unreadable {
    Encrypted,
    /// The data file, or one of its delete files, is of this format.
    Format(&'static str),
}

/// Whether delete files of this format can be read.
pub(crate) fn readable_delete(format: FileFormat, encrypted: bool) -> bool {
    matches!(format, FileFormat::Parquet | FileFormat::Puffin) && !encrypted
}

/// Looks at the data files `files` of the partition numbered `number`.
pub(crate) fn look_at(context: &Context<'_>, number: u32, files: &[u32]) -> PartitionView {
    let options = context.options;
    let mut view = PartitionView {
        number,
        groups: Vec::new(),
        rest_files: 0,
        rest_bytes: 0,
        rest_candidates: 0,
        unreadable: BTreeMap::new(),
        facts: PartitionFacts::default(),
        score: 100.0,
    };
    let mut position_deletes = HashSet::new();
    let mut oldest = None;
    // Every file that could be rewritten, with whether it is a candidate.
    let mut rewritable: Vec<(Candidate, bool)> = Vec::with_capacity(files.len());
    let mut path = String::new();
    for file in files {
        let entry = &context.scan.data_files()[*file as usize];
        let matches = if context.scan.delete_files().is_empty() {
            Matches::default()
        } else {
            context.scan.path_into(entry, &mut path);
            context.index.for_file(&path, number, entry.sequence_number)
        };
        let deleted_share =
            context
                .shares
                .of_file(context.scan, number, entry.rows.get(), &matches);
        let positions = matches.ranged.iter().chain(&matches.named);
        position_deletes.extend(positions.map(|delete| delete.number));
        let least = oldest.get_or_insert(entry.sequence_number);
        *least = (*least).min(entry.sequence_number);
        let deletes = matches.len() as u64;
        count(&mut view.facts, entry, deletes, deleted_share, options);

        if let Some(unreadable) = unreadable(context, entry, &matches) {
            let (files, bytes) = view.unreadable.entry(unreadable).or_default();
            *files += 1;
            *bytes += entry.size.get();
            continue;
        }
        let size = entry.size.get();
        let for_deletes = deletes > 0
            && (deleted_share >= options.delete_ratio_threshold
                || deletes >= options.delete_file_threshold
                || size <= options.cheap_file_size());
        let wrong_size = size < options.min_file_size() || size > options.max_file_size();
        let candidate = Candidate {
            file: *file,
            size,
            deletes,
            for_deletes,
            has_row_ids: entry.first_row_id().is_some(),
        };
        rewritable.push((candidate, wrong_size || for_deletes || options.force));
    }

    view.groups = make_groups(&mut rewritable, options);
    let grouped_files: u64 = view
        .groups
        .iter()
        .map(|group| group.files.len() as u64)
        .sum();
    let grouped_bytes: u64 = view.groups.iter().map(|group| group.bytes).sum();
    let all_bytes: u64 = rewritable.iter().map(|(candidate, _)| candidate.size).sum();
    let candidates = rewritable.iter().filter(|(_, chosen)| *chosen).count() as u64;
    view.rest_files = rewritable.len() as u64 - grouped_files;
    view.rest_bytes = all_bytes - grouped_bytes;
    view.rest_candidates = candidates - grouped_files;

    // What applies to the oldest file is all of a list that applies to any: no list is gone through file by file.
    if let Some(oldest) = oldest {
        let records = |number: u32| context.scan.delete_files()[number as usize].rows.get();
        let equality = context.index.equality_for(number, oldest);
        view.facts.amoro.equality_records = equality.map(|delete| records(delete.number)).sum();
        let partition_wide = context.index.partition_wide_of(number).iter();
        let applying = partition_wide.filter(|delete| delete.sequence_number >= oldest);
        position_deletes.extend(applying.map(|delete| delete.number));
        view.facts.amoro.position_records = position_deletes.into_iter().map(records).sum();
    }
    view.score = partition_score(&view.facts, options.target().get());
    view
}

/// Packs the candidates; and where that gives a group, adds the other files with deletes and packs again, so that a
/// partition that is rewritten keeps no delete file for the sake of one healthy file.
fn make_groups(rewritable: &mut [(Candidate, bool)], options: &PlanOptions) -> Vec<PackedGroup> {
    let chosen = |rewritable: &[(Candidate, bool)]| -> Vec<Candidate> {
        let chosen = rewritable.iter().filter(|(_, chosen)| *chosen);
        chosen.map(|(candidate, _)| *candidate).collect()
    };
    let groups = pack(&chosen(rewritable), options);
    let mut added = false;
    if !groups.is_empty() {
        for (candidate, chosen) in rewritable.iter_mut() {
            if candidate.deletes > 0 && !candidate.for_deletes {
                candidate.for_deletes = true;
                *chosen = true;
                added = true;
            }
        }
    }
    if added {
        pack(&chosen(rewritable), options)
    } else {
        groups
    }
}

fn count(
    facts: &mut PartitionFacts,
    entry: &DataFileEntry,
    deletes: u64,
    deleted_share: f64,
    options: &PlanOptions,
) {
    let (size, rows) = (entry.size.get(), entry.rows.get());
    facts.files += 1;
    facts.bytes += size;
    facts.rows += rows;
    facts.deleted_rows += rows as f64 * deleted_share;
    facts.pairs += deletes;
    if (options.min_file_size()..=options.max_file_size()).contains(&size) {
        facts.good_files += 1;
    } else {
        facts.wrong_bytes += size;
    }
    if entry.row_groups > 0 {
        facts.row_groups += u64::from(entry.row_groups);
        facts.row_group_bytes += size;
    }
    if size <= options.min_file_size() || deletes > 0 {
        facts.amoro.files += 1;
        facts.amoro.bytes += size;
        facts.amoro.rows += rows;
    }
}

fn unreadable(
    context: &Context<'_>,
    entry: &DataFileEntry,
    matches: &Matches<'_>,
) -> Option<Unreadable> {
    if entry.encrypted {
        return Some(Unreadable::Encrypted);
    }
    if entry.format != FileFormat::Parquet {
        return Some(Unreadable::Format(entry.format.name()));
    }
    if context.all_deletes_readable {
        return None;
    }
    matches
        .numbers()
        .map(|number| &context.scan.delete_files()[number as usize])
        .find(|delete| !readable_delete(delete.format, delete.encrypted))
        .map(|delete| {
            if delete.encrypted {
                Unreadable::Encrypted
            } else {
                Unreadable::Format(delete.format.name())
            }
        })
}
