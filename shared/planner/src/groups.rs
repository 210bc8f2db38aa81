//! Packing candidates into groups, in the table's own order, and judging which groups are worth it.

use icepress_model::{Bytes, GroupReason, Tier};

use crate::PlanOptions;

/// How many pairs of a data file and a delete file one group may have: a table of many small commits has every data
/// file under hundreds of equality deletes, and each pair is written down.
const MAX_GROUP_PAIRS: u64 = 1 << 20;

/// A data file that might be rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Its index in the scan.
    pub(crate) file: u32,
    pub(crate) size: u64,
    /// How many delete files apply to it.
    pub(crate) deletes: u64,
    /// Whether its deletes alone make it worth rewriting.
    pub(crate) for_deletes: bool,
    /// Whether its rows have ids (format version 3).
    pub(crate) has_row_ids: bool,
}

/// Candidates of one partition to be rewritten together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PackedGroup {
    pub(crate) files: Vec<u32>,
    pub(crate) bytes: u64,
    pub(crate) pairs: u64,
    pub(crate) reason: GroupReason,
    pub(crate) tier: Tier,
    /// Whether its position deletes go into one file.
    pub(crate) shares_deletes: bool,
}

impl PackedGroup {
    /// The bytes of data files that must be read: of a light group the key columns alone.
    pub(crate) fn bytes_to_read(&self) -> u64 {
        self.tier.packed_bytes(Bytes(self.bytes)).get()
    }
}

/// Packs candidates into groups and keeps those that are worth it.
///
/// Files whose rows have ids never share a group with files whose rows have none: one new file would hold rows whose
/// ids are written down beside rows that get theirs at the commit. (Only a writer that forgot ids leaves both in one
/// table: the first commit after an upgrade gives ids to all.)
pub(crate) fn pack(candidates: &[Candidate], options: &PlanOptions) -> Vec<PackedGroup> {
    let (with_ids, without): (Vec<_>, Vec<_>) = candidates
        .iter()
        .partition(|candidate| candidate.has_row_ids);
    let mut groups = pack_alike(&with_ids, Tier::Full, options);
    groups.extend(pack_alike(&without, Tier::Full, options));
    groups
}

/// Packs files whose deletes are to be rewritten and nothing else: all of them, whatever their number and size.
pub(crate) fn pack_light(candidates: &[Candidate], options: &PlanOptions) -> Vec<PackedGroup> {
    pack_alike(candidates, Tier::Light, options)
}

/// Packs candidates of one tier, which has inputs, one after the other, each group as full as it may get.
///
/// Neighbours stay together: a writer that works along time or key leaves files that don't overlap, and mixing them
/// would make every reader of one range open them all.
fn pack_alike(candidates: &[Candidate], tier: Tier, options: &PlanOptions) -> Vec<PackedGroup> {
    let to_read = |bytes: u64| tier.packed_bytes(Bytes(bytes)).get();
    let mut groups = Vec::new();
    let mut start = 0;
    while start < candidates.len() {
        let mut end = start;
        let (mut bytes, mut pairs) = (0u64, 0u64);
        while let Some(candidate) = candidates.get(end) {
            let fits = to_read(bytes + candidate.size) <= options.group_bytes()
                && pairs + candidate.deletes <= MAX_GROUP_PAIRS
                && ((end - start) as u64) < options.group_files();
            // A file that is too large for any group gets one of its own.
            if !fits && end > start {
                break;
            }
            bytes += candidate.size;
            pairs += candidate.deletes;
            end += 1;
        }
        let members = &candidates[start..end];
        let reason = match tier {
            Tier::Full => reason(members, bytes, options),
            Tier::Light => Some(GroupReason::Deletes),
            Tier::Dangling => Some(GroupReason::Dangling),
        };
        if let Some(reason) = reason {
            groups.push(PackedGroup {
                files: members.iter().map(|candidate| candidate.file).collect(),
                bytes,
                pairs,
                reason,
                tier,
                shares_deletes: false,
            });
        }
        start = end;
    }
    groups
}

/// Why a group is worth rewriting; `None` where it is not.
fn reason(members: &[Candidate], bytes: u64, options: &PlanOptions) -> Option<GroupReason> {
    let several = members.len() > 1;
    let too_large = |candidate: &Candidate| candidate.size > options.max_file_size();
    if options.force {
        Some(GroupReason::Forced)
    } else if members.iter().any(|candidate| candidate.for_deletes) {
        Some(GroupReason::Deletes)
    } else if several && members.len() as u64 >= options.enough_files() {
        Some(GroupReason::EnoughFiles)
    } else if members.iter().any(too_large) {
        Some(GroupReason::TooLarge)
    } else if several && bytes > options.target().get() {
        Some(GroupReason::EnoughContent)
    } else {
        None
    }
}
