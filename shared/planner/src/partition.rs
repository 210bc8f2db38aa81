//! One partition of one spec: its candidates, its groups, and how well it is.

use std::collections::{BTreeMap, HashMap, HashSet};

use icepress_model::Tier;
use icepress_table::{
    delete_index::{DeleteIndex, Matches},
    scan::{DataFileEntry, FileFormat, SnapshotScan},
};

use crate::{
    PlanOptions,
    deletes::DeletedShares,
    groups::{Candidate, PackedGroup, pack, pack_light},
    health::{PartitionFacts, partition_score},
    path_hash,
};

/// What the planner knows of the whole table.
pub(crate) struct Context<'a> {
    pub(crate) scan: &'a SnapshotScan,
    pub(crate) options: &'a PlanOptions,
    pub(crate) index: &'a DeleteIndex,
    pub(crate) shares: &'a DeletedShares,
    /// Whether all delete files can be read: then no data file need be looked at for those that can't.
    pub(crate) all_deletes_readable: bool,
    /// What may be done about deletes without rewriting data files.
    pub(crate) light: Light,
}

/// Whether delete files may be rewritten alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Light {
    /// Never: data files with too many delete files are rewritten for them.
    Off,
    /// Not now, for it would gain nothing; and many delete files alone are no reason to rewrite data files.
    Idle,
    /// Where a partition's own deletes are worth it.
    On,
    /// There, and wherever an equality delete of the whole table applies: it goes only when every partition is done.
    Everywhere,
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
    /// Whether a light group has files that equality deletes of the whole table apply to.
    pub(crate) light_everywhere: bool,
    /// Whether such a delete applies to a file that is in no group: then it can't go with this plan.
    pub(crate) left_everywhere: bool,
    /// Files and bytes that can't be rewritten, by what they are.
    pub(crate) unreadable: BTreeMap<Unreadable, (u64, u64)>,
    pub(crate) facts: PartitionFacts,
    pub(crate) score: f64,
}

impl PartitionView {
    /// The groups of delete files alone.
    pub(crate) fn light_groups(&self) -> impl Iterator<Item = &PackedGroup> {
        let groups = self.groups.iter();
        groups.filter(|group| group.tier == Tier::Light)
    }
}

/// Why a file can't be rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unreadable {
    Encrypted,
    /// It was too much for a worker, alone.
    TooMuch,
    /// The data file, or one of its delete files, is of this format.
    Format(&'static str),
}

/// A file that could be rewritten.
#[derive(Debug, Clone, Copy)]
struct Rewritable {
    candidate: Candidate,
    /// Whether it is to be rewritten whole.
    chosen: bool,
    /// Whether its delete files alone are too many.
    many: bool,
    /// Whether it has no deletes, or a single one that is about it alone: nothing is left to be merged or looked up.
    settled: bool,
    /// Whether equality deletes of the whole table apply to it.
    everywhere: bool,
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
        light_everywhere: false,
        left_everywhere: false,
        unreadable: BTreeMap::new(),
        facts: PartitionFacts::default(),
        score: 100.0,
    };
    let mut position_deletes = HashSet::new();
    let mut oldest = None;
    let mut rewritable: Vec<Rewritable> = Vec::with_capacity(files.len());
    // A delete file that also applies to a file which can't be read stays, whatever is done about it elsewhere.
    let mut light = context.light;
    let mut path = String::new();
    for file in files {
        let entry = &context.scan.data_files()[*file as usize];
        path.clear();
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

        let hopeless = &options.ceiling.hopeless;
        if !hopeless.is_empty() && path.is_empty() {
            context.scan.path_into(entry, &mut path);
        }
        if let Some(unreadable) = unreadable(context, entry, &path, &matches) {
            let (files, bytes) = view.unreadable.entry(unreadable).or_default();
            *files += 1;
            *bytes += entry.size.get();
            if deletes > matches.named.len() as u64 {
                light = Light::Off;
            }
            view.left_everywhere |= !matches.everywhere.is_empty();
            continue;
        }
        let size = entry.size.get();
        let heavy = deletes > 0
            && (deleted_share >= options.delete_ratio_threshold
                || size <= options.cheap_file_size());
        let wrong_size = size < options.min_file_size() || size > options.max_file_size();
        let candidate = Candidate {
            file: *file,
            size,
            deletes,
            for_deletes: heavy,
            has_row_ids: entry.first_row_id().is_some(),
        };
        rewritable.push(Rewritable {
            candidate,
            chosen: wrong_size || heavy || options.force,
            many: deletes > 0 && deletes >= options.delete_file_threshold,
            settled: deletes == 0 || deletes == 1 && matches.named.len() == 1,
            everywhere: !matches.everywhere.is_empty(),
        });
    }

    view.groups = match light {
        Light::Off => full_groups(&mut rewritable, options),
        Light::Idle => pack(&chosen(&rewritable), options),
        light => full_and_light_groups(context, &rewritable, light == Light::Everywhere),
    };
    let grouped_files: u64 = view
        .groups
        .iter()
        .map(|group| group.files.len() as u64)
        .sum();
    let grouped_bytes: u64 = view.groups.iter().map(|group| group.bytes).sum();
    let all_bytes: u64 = rewritable.iter().map(|file| file.candidate.size).sum();
    view.rest_files = rewritable.len() as u64 - grouped_files;
    view.rest_bytes = all_bytes - grouped_bytes;
    let tiers = tiers(&view.groups);
    for file in &rewritable {
        let tier = tiers.get(&file.candidate.file);
        view.rest_candidates += u64::from(file.chosen && tier.is_none());
        view.light_everywhere |= file.everywhere && tier == Some(&Tier::Light);
        view.left_everywhere |= file.everywhere && tier.is_none();
    }

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

/// Groups of data files to be rewritten, where delete files are not rewritten alone. Where there is any group, the other
/// files with deletes are added and all packed again, so that a partition that is rewritten keeps no delete file for
/// the sake of one healthy file.
fn full_groups(rewritable: &mut [Rewritable], options: &PlanOptions) -> Vec<PackedGroup> {
    for file in rewritable.iter_mut().filter(|file| file.many) {
        file.candidate.for_deletes = true;
        file.chosen = true;
    }
    let groups = pack(&chosen(rewritable), options);
    if groups.is_empty() {
        return groups;
    }
    let mut added = false;
    for file in rewritable.iter_mut() {
        if file.candidate.deletes > 0 && !file.candidate.for_deletes {
            file.candidate.for_deletes = true;
            file.chosen = true;
            added = true;
        }
    }
    if added {
        pack(&chosen(rewritable), options)
    } else {
        groups
    }
}

/// Groups of data files to be rewritten, and behind them groups whose delete files are.
///
/// A delete file goes only when every data file that it applies to is rewritten, or has its own delete file instead. So
/// where there is any group, all other files with deletes that could be merged or looked up go into light groups.
fn full_and_light_groups(
    context: &Context<'_>,
    rewritable: &[Rewritable],
    everywhere: bool,
) -> Vec<PackedGroup> {
    let mut groups = pack(&chosen(rewritable), context.options);
    let full = tiers(&groups);
    let is_rest = |file: &&Rewritable| !file.settled && !full.contains_key(&file.candidate.file);
    let mut rest = rewritable.iter().filter(is_rest);
    let worth_it =
        !groups.is_empty() || rest.any(|file| file.many || (everywhere && file.everywhere));
    if worth_it {
        let rest = rewritable.iter().filter(is_rest);
        let mut rest: Vec<Candidate> = rest.map(|file| file.candidate).collect();
        if context.options.shares_delete_files() {
            // So that, where they are shared, no path lies within the bounds of another group's delete file, and each file has one at most.
            let data_files = context.scan.data_files();
            let path = |file: &Candidate| context.scan.path_of(&data_files[file.file as usize]);
            rest.sort_by_cached_key(path);
        }
        groups.extend(pack_light(&rest, context.options));
    }
    groups
}

fn chosen(rewritable: &[Rewritable]) -> Vec<Candidate> {
    let chosen = rewritable.iter().filter(|file| file.chosen);
    chosen.map(|file| file.candidate).collect()
}

/// Which tier each file of `groups` is in.
fn tiers(groups: &[PackedGroup]) -> HashMap<u32, Tier> {
    let files = |group: &PackedGroup| {
        let tier = group.tier;
        group
            .files
            .clone()
            .into_iter()
            .map(move |file| (file, tier))
    };
    groups.iter().flat_map(files).collect()
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
    path: &str,
    matches: &Matches<'_>,
) -> Option<Unreadable> {
    let hopeless = &context.options.ceiling.hopeless;
    if !hopeless.is_empty() && hopeless.contains(&path_hash(path)) {
        return Some(Unreadable::TooMuch);
    }
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
