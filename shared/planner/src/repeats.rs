//! Work that would repeat itself (case C55): a plan that takes, in the same way, what the last process left behind.
//!
//! That is always an error of Icepress: the planner wants what the engine does not give. Nobody is to pay for it each
//! second, so such groups are taken out, and told. They are known by the names of their files, which carry the process
//! and the group that made them:
//! * a light group all of whose delete files the last process wrote;
//! * a full group without deletes all of whose data files one group of the last process wrote: of what a group writes one
//!   file at most is of the wrong size, and alone it is no group;
//! * a full group of nothing but what the last process wrote, by several of its groups, when plans of such groups alone
//!   went on for a while and the table's files got no fewer: leftovers are merged, a few at a time where groups are small.

use std::collections::BTreeSet;

use icepress_model::{Bytes, Group, LeftAlone, LeftAloneReason, ProcessId, TablePlan, Tier};

use crate::{options::path_hash, turns::mixed};

/// Processes in a row that may merge nothing but what the one before wrote, without fewer files each time.
const ROUNDS: u32 = 3;
/// Groups that are remembered. A table with more has had its alarm.
const REMEMBERED: usize = 100;

/// What is known of the last process of a table, as far as it bears on repetition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRun {
    /// The process.
    pub process: ProcessId,
    /// So many processes in a row, it among them, took nothing but what the one before had written, and left the table no
    /// fewer files.
    pub rounds: u32,
    /// The files that the table had when it was planned ([`files_of`]).
    pub files: u64,
    /// Groups that were taken out before, by their fingerprint.
    pub known: Vec<u64>,
}

/// What taking out came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repeated {
    /// Groups taken out of the plan.
    pub groups: u64,
    /// What to remember for the next plan.
    pub known: Vec<u64>,
    /// [`LastRun::rounds`] of the process that the rest of the plan makes.
    pub rounds: u32,
}

/// Takes out of `plan` what would repeat `last`. It stands among what is left alone then.
///
/// The caller has made sure that nothing else changed by which plans are made: settings, limits, the program.
pub fn take_out_repeats(plan: &mut TablePlan, last: &LastRun) -> Repeated {
    let known: BTreeSet<u64> = last.known.iter().copied().collect();
    let is_repeat = |group: &Group| repeats(group, last) || known.contains(&fingerprint(group));
    let (mut out, mut rest): (Vec<Group>, Vec<Group>) = std::mem::take(&mut plan.groups)
        .into_iter()
        .partition(is_repeat);
    if out.iter().any(|group| group.tier == Tier::Light) {
        // A delete file goes only when all that it applies to was told of it: without one, the others are for nothing.
        let (light, full) = rest
            .into_iter()
            .partition(|group| group.tier == Tier::Light);
        out.extend::<Vec<Group>>(light);
        rest = full;
    }
    let is_fruitless = !rest.is_empty()
        && rest.iter().all(|group| is_own(group, &last.process))
        && files_of(plan) >= last.files;
    let rounds = if is_fruitless { last.rounds + 1 } else { 0 };
    plan.groups = rest;
    let mut repeated = Repeated {
        groups: out.len() as u64,
        known: out.iter().map(fingerprint).collect(),
        rounds,
    };
    // Of those that were known before, some may be out of sight for now.
    repeated.known.extend(&last.known);
    repeated.known.sort_unstable();
    repeated.known.dedup();
    repeated.known.truncate(REMEMBERED);
    plan.left_alone.extend(out.iter().map(|group| LeftAlone {
        spec_id: group.spec_id,
        partition_name: group.partition_name.clone(),
        files: group.inputs.len() as u64,
        bytes: Bytes(group.input_bytes().get()),
        reason: LeftAloneReason::Repeats,
    }));
    repeated
}

/// Data and delete files of the table that a plan is for. What merges anything leaves fewer.
pub fn files_of(plan: &TablePlan) -> u64 {
    plan.totals.data_files + plan.totals.delete_files
}

fn repeats(group: &Group, last: &LastRun) -> bool {
    match group.tier {
        Tier::Light => {
            let mut deletes = group.deletes.iter();
            !group.deletes.is_empty()
                && deletes.all(|file| maker(&file.path, &last.process).is_some())
        }
        Tier::Full if !is_own(group, &last.process) => false,
        Tier::Full => {
            let makers: BTreeSet<Option<u32>> = group
                .inputs
                .iter()
                .map(|input| maker(&input.path, &last.process))
                .collect();
            // Deletes that the process wrote itself may seem to apply to its data files, by partition alone. That takes one
            // more rewrite, which is no repetition until it goes on.
            (makers.len() == 1 && group.deletes.is_empty()) || last.rounds >= ROUNDS
        }
        // What can't go is told by the commit.
        Tier::Dangling => false,
    }
}

/// Whether a process wrote all of a group's data files, and all deletes that apply to them.
fn is_own(group: &Group, process: &ProcessId) -> bool {
    let data = group.inputs.iter().map(|input| input.path.as_str());
    let deletes = group.deletes.iter().map(|delete| delete.path.as_str());
    let is_its = |path: &str| maker(path, process).is_some();
    group.tier == Tier::Full && !group.inputs.is_empty() && data.chain(deletes).all(is_its)
}

/// The index of the group of `process` that wrote the file at `path`, if it did: names are
/// `GROUP-ATTEMPT-PROCESS-NUMBER.parquet`, at times with a hash before it.
fn maker(path: &str, process: &ProcessId) -> Option<u32> {
    let name = path.rsplit('/').next()?;
    let before = &name[..name.find(&format!("-{process}-"))?];
    let mut parts = before.rsplit('-');
    let _attempt: u32 = parts.next()?.parse().ok()?;
    parts.next()?.parse().ok()
}

/// A group's tier and files, whatever their order.
fn fingerprint(group: &Group) -> u64 {
    let inputs = group.inputs.iter().map(|input| input.path.as_str());
    let deletes = group.deletes.iter().map(|delete| delete.path.as_str());
    let files = inputs.chain(deletes).map(|path| mixed(path_hash(path)));
    files.fold(mixed(group.tier as u64), u64::wrapping_add)
}
