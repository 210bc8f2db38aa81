//! Which manifests it pays to write anew, kind by kind, and why; or why not.
//!
//! Candidates are those that are small, those that hold more of what was removed than of what is live, and those that are
//! spread over partitions of which others hold the most. They are written anew together when that halves what readers
//! open: all manifests of a full scan, or those that one partition's lookup can't rule out. What is written is no
//! candidate but for one last manifest a kind, and would open as many once more: the second run does nothing.

use std::collections::BTreeMap;

use icepress_model::{Bytes, NanoDollars, SpecId};
use icepress_planner::Prices;
use icepress_table::{ListedManifest, ManifestContent, ManifestLayout};
use serde::Serialize;

use super::{
    lookups::{Lookups, Ranges},
    policy::ManifestPolicy,
};

/// After so many plannings the requests that were saved must have paid for those of the rewrite.
const PAYS_BACK_WITHIN: f64 = 1000.0;
/// A lookup must open so many manifests less.
const LOOKUP_SAVES: f64 = 2.0;
/// Requests of the commit itself: the list, the metadata file.
const COMMIT_WRITES: u64 = 2;

/// How manifests of one kind lie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Shape {
    /// How many there are: what a scan of the whole table opens.
    pub manifests: u64,
    /// Their sizes.
    pub bytes: Bytes,
    /// How many a lookup of one partition opens on average.
    pub opened_by_lookup: f64,
    /// The same for the partitions that were written last.
    pub opened_by_recent_lookup: f64,
}

/// Manifests of one content and spec.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KindPlan {
    /// What they track.
    pub content: ManifestContent,
    /// The partition spec of their files.
    pub spec_id: SpecId,
    /// Whether some are to be written anew.
    pub rewrite: bool,
    /// Why, or why not, for people.
    pub reason: String,
    /// How many are to be written anew, or would be.
    pub candidates: u64,
    /// Of all of them, how many are smaller than half the target.
    pub small: u64,
    /// Entries of files that were removed.
    pub removed_entries: u64,
    /// As they lie.
    pub before: Shape,
    /// As they would.
    pub after: Shape,
    /// What the requests cost.
    pub price: NanoDollars,
}

/// What is to be done with a table's manifests.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ManifestPlan {
    /// Data manifests first, by spec.
    pub kinds: Vec<KindPlan>,
    /// Those that are to be written anew, by their places in the layout.
    #[serde(skip)]
    pub(super) chosen: Vec<usize>,
}

impl ManifestPlan {
    /// Whether there is anything to do.
    pub fn is_empty(&self) -> bool {
        self.chosen.is_empty()
    }
}

/// Decides for every kind of a table's manifests.
pub(super) fn decide(layout: &ManifestLayout, policy: &ManifestPolicy) -> ManifestPlan {
    let mut kinds: BTreeMap<(ManifestContent, SpecId), Vec<usize>> = BTreeMap::new();
    for (place, manifest) in layout.manifests.iter().enumerate() {
        let kind = (manifest.content, manifest.spec_id);
        kinds.entry(kind).or_default().push(place);
    }
    let mut plan = ManifestPlan::default();
    for places in kinds.values() {
        let kind = Kind { layout, places };
        let (decided, candidates) = kind.decide(policy);
        if decided.rewrite {
            plan.chosen.extend(candidates);
        }
        plan.kinds.push(decided);
    }
    plan
}

/// The manifests of one kind.
struct Kind<'a> {
    layout: &'a ManifestLayout,
    places: &'a [usize],
}

impl Kind<'_> {
    fn decide(&self, policy: &ManifestPolicy) -> (KindPlan, Vec<usize>) {
        let all = || self.places.iter().map(|place| self.manifest(*place));
        let small = all().filter(|manifest| self.is_small(manifest)).count() as u64;
        let candidates = self.candidates();
        let written = self.packed(&candidates);
        let ranges = |place: &usize| {
            let held = self.manifest(*place).held.iter();
            Ranges::of(self.layout, held.map(|held| held.partition))
        };
        let lookups = Lookups::of(self.layout, self.places);
        let shape = |manifests: Vec<Ranges>, bytes| {
            let [any, recent] = lookups.opened(self.layout, &manifests);
            Shape {
                manifests: manifests.len() as u64,
                bytes: Bytes(bytes),
                opened_by_lookup: any,
                opened_by_recent_lookup: recent,
            }
        };
        let stays = |place: &&usize| candidates.binary_search(place).is_err();
        let kept = self.places.iter().filter(stays);
        let bytes: u64 = all().map(|manifest| manifest.size.get()).sum();
        let freed: u64 = candidates
            .iter()
            .map(|place| {
                let manifest = self.manifest(*place);
                manifest.size.get() - manifest.live_size().get()
            })
            .sum();
        let writes = written.len() as u64;
        let before = shape(self.places.iter().map(ranges).collect(), bytes);
        let after = shape(kept.map(ranges).chain(written).collect(), bytes - freed);
        let prices = Prices::default();
        let reads = candidates.len() as u64 * 2;
        let price = prices.of_requests(reads, writes + COMMIT_WRITES);
        let first = self.manifest(self.places[0]);
        let weighed = Weighed {
            candidates: candidates.len() as u64,
            writes,
            small,
            freed,
            before: &before,
            after: &after,
            price,
            target: self.layout.target.get(),
        };
        let (rewrite, reason) = weighed.verdict(policy);
        let plan = KindPlan {
            content: first.content,
            spec_id: first.spec_id,
            rewrite,
            reason,
            candidates: candidates.len() as u64,
            small,
            removed_entries: all().map(|manifest| manifest.removed).sum(),
            before,
            after,
            price,
        };
        (plan, candidates)
    }

    fn manifest(&self, place: usize) -> &ListedManifest {
        &self.layout.manifests[place]
    }

    fn is_small(&self, manifest: &ListedManifest) -> bool {
        manifest.size.get() < self.layout.target.get() / 2
    }

    /// Those that would better be written anew, in the list's order.
    fn candidates(&self) -> Vec<usize> {
        let by_partition = self.bytes_by_partition(self.places);
        // The bytes of all partitions before each, so that those between two are a difference.
        let mut before = Vec::with_capacity(by_partition.len() + 1);
        let mut sum = 0;
        for (partition, bytes) in by_partition {
            before.push((partition, sum));
            sum += bytes;
        }
        before.push((u32::MAX, sum));
        let up_to = |partition: u32| {
            let place = before.partition_point(|(other, _)| *other < partition);
            before[place.min(before.len() - 1)].1
        };
        let target = self.layout.target.get();
        let is_candidate = |place: &&usize| {
            let manifest = self.manifest(**place);
            let ends = manifest.held.first().zip(manifest.held.last());
            let is_spread = ends.is_some_and(|(first, last)| {
                let between = up_to(last.partition).saturating_sub(up_to(first.partition + 1));
                between > manifest.live_size().get() + target
            });
            self.is_small(manifest) || manifest.removed > manifest.live || is_spread
        };
        self.places.iter().filter(is_candidate).copied().collect()
    }

    /// What the live entries of each partition take, as far as sizes tell.
    fn bytes_by_partition(&self, places: &[usize]) -> BTreeMap<u32, u64> {
        let mut bytes: BTreeMap<u32, u64> = BTreeMap::new();
        for place in places {
            let manifest = self.manifest(*place);
            for held in &manifest.held {
                let share = u128::from(manifest.live_size().get()) * u128::from(held.files);
                let share = share / u128::from(manifest.live.max(1));
                *bytes.entry(held.partition).or_default() += share as u64;
            }
        }
        bytes
    }

    /// The manifests that come of these: in the order of partitions, each filled up to the target.
    fn packed(&self, places: &[usize]) -> Vec<Ranges> {
        let target = self.layout.target.get().max(1);
        let mut packed = Vec::new();
        let mut open: Vec<u32> = Vec::new();
        let mut filled = 0;
        for (partition, mut bytes) in self.bytes_by_partition(places) {
            // What is left of a partition that fills whole manifests goes with the next ones.
            let whole = (filled + bytes) / target;
            if whole > 0 {
                open.push(partition);
                packed.push(Ranges::of(self.layout, open.drain(..)));
                for _ in 1..whole {
                    packed.push(Ranges::of(self.layout, std::iter::once(partition)));
                }
                bytes = (filled + bytes) % target;
                filled = 0;
            }
            if bytes > 0 {
                open.push(partition);
                filled += bytes;
            }
        }
        if !open.is_empty() {
            packed.push(Ranges::of(self.layout, open.into_iter()));
        }
        packed
    }
}

/// What a decision is made of.
struct Weighed<'a> {
    candidates: u64,
    writes: u64,
    small: u64,
    freed: u64,
    before: &'a Shape,
    after: &'a Shape,
    price: NanoDollars,
    target: u64,
}

impl Weighed<'_> {
    fn verdict(&self, policy: &ManifestPolicy) -> (bool, String) {
        let Some((saves, reason)) = self.gain(policy) else {
            return (false, self.why_not(policy));
        };
        if !policy.is_enabled {
            let message = format!("commit.manifest-merge.enabled is false; else: {reason}");
            return (false, message);
        }
        let saved = Prices::default().of_requests(1, 0).dollars() * saves;
        let pays_after = self.price.dollars() / saved.max(f64::MIN_POSITIVE);
        if pays_after > PAYS_BACK_WITHIN {
            return (
                false,
                format!(
                    "{reason}, which pays for its requests after {pays_after:.0} plannings only"
                ),
            );
        }
        (
            true,
            format!("{reason}: it pays after {:.0} plannings", pays_after.ceil()),
        )
    }

    /// The requests that a planning saves, and why.
    fn gain(&self, policy: &ManifestPolicy) -> Option<(f64, String)> {
        let (before, after) = (self.before, self.after);
        let fewer = before.manifests.saturating_sub(after.manifests);
        let halves = self.candidates > 0 && self.writes * 2 <= self.candidates;
        if self.small >= policy.min_count.max(2) && halves {
            return Some((
                fewer as f64,
                format!(
                    "{} of {} manifests are small, and {} would become {}",
                    self.small, before.manifests, self.candidates, self.writes
                ),
            ));
        }
        let lookups = [
            (before.opened_by_lookup, after.opened_by_lookup, "a"),
            (
                before.opened_by_recent_lookup,
                after.opened_by_recent_lookup,
                "a recent",
            ),
        ];
        for (opened, would_open, which) in lookups {
            if opened >= would_open * 2.0 && opened - would_open >= LOOKUP_SAVES {
                return Some((
                    opened - would_open,
                    format!(
                        "a reader of {which} partition opens {opened:.1} manifests, and would open {would_open:.1}"
                    ),
                ));
            }
        }
        let halves_bytes = self.freed * 2 >= before.bytes.get();
        if halves_bytes && self.freed >= self.target {
            return Some((
                1.0,
                format!(
                    "{} of {} are entries of files that were removed",
                    Bytes(self.freed),
                    before.bytes
                ),
            ));
        }
        None
    }

    fn why_not(&self, policy: &ManifestPolicy) -> String {
        let before = self.before;
        if self.candidates == 0 {
            return "they are in order, and of the size that the table wants".to_owned();
        }
        format!(
            "{} of {} are small (from {} on it is worth it), and a reader of a partition opens {:.1}, which would be {:.1}",
            self.small,
            before.manifests,
            policy.min_count.max(2),
            before.opened_by_lookup,
            self.after.opened_by_lookup
        )
    }
}
