//! How many manifests a reader opens that asks for one partition: those whose bounds, field by field, let it be in them. That is
//! what the manifest list tells it, and all that it tells.

use icepress_table::{Held, ManifestLayout};

/// Partitions that are asked for, at most: evenly spread over all.
const ASKED: usize = 256;
/// Newest partitions that are asked for.
const NEWEST: usize = 16;

/// The least and the greatest value of each partition field, as numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    pub(super) fn of(layout: &ManifestLayout, partitions: impl Iterator<Item = u32>) -> Self {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for partition in partitions {
            let fields = &layout.partitions[partition as usize].fields;
            ranges.resize(fields.len(), (u32::MAX, 0));
            for (range, value) in ranges.iter_mut().zip(fields) {
                *range = (range.0.min(*value), range.1.max(*value));
            }
        }
        Self(ranges)
    }

    fn may_hold(&self, fields: &[u32]) -> bool {
        let mut both = self.0.iter().zip(fields);
        both.all(|((least, greatest), value)| (least..=greatest).contains(&value))
    }
}

/// Some partitions of a kind that are looked up.
#[derive(Debug)]
pub(super) struct Lookups {
    of_all: Vec<u32>,
    of_newest: Vec<u32>,
}

impl Lookups {
    /// Of the manifests at `places`.
    pub(super) fn of(layout: &ManifestLayout, places: &[usize]) -> Self {
        let held = |place: &usize| layout.manifests[*place].held.iter();
        let mut all: Vec<u32> = places.iter().flat_map(held).map(partition_of).collect();
        all.sort_unstable();
        all.dedup();
        let step = all.len().div_ceil(ASKED).max(1);
        let mut newest: Vec<usize> = places.to_vec();
        newest.sort_by_key(|place| std::cmp::Reverse(layout.manifests[*place].sequence_number));
        let mut of_newest: Vec<u32> = Vec::new();
        for partition in newest.iter().flat_map(held).map(partition_of) {
            if of_newest.len() == NEWEST {
                break;
            }
            if !of_newest.contains(&partition) {
                of_newest.push(partition);
            }
        }
        Self {
            of_all: all.into_iter().step_by(step).collect(),
            of_newest,
        }
    }

    /// How many of these manifests are opened on average: for any partition, and for one of the newest.
    pub(super) fn opened(&self, layout: &ManifestLayout, manifests: &[Ranges]) -> [f64; 2] {
        [&self.of_all, &self.of_newest].map(|partitions| {
            let opened = partitions.iter().map(|partition| {
                let fields = &layout.partitions[*partition as usize].fields;
                let may_hold = |ranges: &&Ranges| ranges.may_hold(fields);
                manifests.iter().filter(may_hold).count() as f64
            });
            opened.sum::<f64>() / partitions.len().max(1) as f64
        })
    }
}

fn partition_of(held: &Held) -> u32 {
    held.partition
}
