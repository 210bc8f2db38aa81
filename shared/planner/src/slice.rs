//! A part of a plan: as many of its groups as quotas allow.

use std::collections::BTreeMap;

use icepress_model::{
    Bytes, Group, LeftAlone, LeftAloneReason, SequenceNumber, SpecId, TablePlan, Tier,
};

use crate::turns::in_turn;

/// What became of a plan.
#[derive(Debug, Clone, PartialEq)]
pub enum Sliced {
    /// All of it is allowed.
    Whole(TablePlan),
    /// These groups are, and another plan should follow.
    Part(TablePlan),
    /// Not one group is.
    Nothing,
    /// It has light groups, of which none may be left out: plan anew with [`crate::PlanOptions::separable`].
    Inseparable,
}

/// Takes groups, each in its turn, as long as `allows` says yes to what they take together; one that is too much is
/// passed over. `allows` is asked with the groups taken so far and one more. `turn` is that of the plan's options.
///
/// What is left out stands among what is left alone, and a later plan has it.
pub fn slice(mut plan: TablePlan, turn: u64, mut allows: impl FnMut(&[Group]) -> bool) -> Sliced {
    if plan.groups.is_empty() || allows(&plan.groups) {
        return Sliced::Whole(plan);
    }
    if plan.groups.iter().any(|group| group.tier == Tier::Light) {
        return Sliced::Inseparable;
    }
    let mut taken: Vec<Group> = Vec::new();
    let mut left_out: BTreeMap<(SpecId, String), (u64, u64)> = BTreeMap::new();
    let oldest = |group: &Group| {
        let numbers = group.inputs.iter().map(|input| input.sequence_number);
        numbers.min().unwrap_or(SequenceNumber(0))
    };
    let snapshot = plan.base.as_ref().map(|base| base.snapshot_id);
    let seed = turn ^ snapshot.map_or(0, |id| id.get().unsigned_abs());
    for group in in_turn(std::mem::take(&mut plan.groups), oldest, seed) {
        taken.push(group);
        if allows(&taken) {
            continue;
        }
        if let Some(group) = taken.pop() {
            let (files, bytes) = left_out
                .entry((group.spec_id, group.partition_name.clone()))
                .or_default();
            *files += group.inputs.len() as u64;
            *bytes += group.input_bytes().get();
        }
    }
    if taken.is_empty() {
        return Sliced::Nothing;
    }
    let left_out = left_out
        .into_iter()
        .map(|((spec_id, partition_name), (files, bytes))| LeftAlone {
            spec_id,
            partition_name,
            files,
            bytes: Bytes(bytes),
            reason: LeftAloneReason::PlanFull,
        });
    plan.left_alone.extend(left_out);
    plan.groups = taken;
    plan.follow_up = true;
    Sliced::Part(plan)
}

#[cfg(test)]
mod tests;
