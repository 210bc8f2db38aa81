//! Position deletes by the range of paths that they are about: which ranges hold a path, without trying them all.

use super::IndexedDelete;

/// Ranges of paths, sorted by their lower ends, with a binary tree above them whose nodes know the greatest upper end
/// below. A look-up goes down only where that end is not before the path (an augmented interval tree: Cormen et al.,
/// *Introduction to Algorithms*, chapter on augmenting data structures).
#[derive(Debug)]
pub(super) struct Ranges {
    ranges: Vec<(Box<str>, Box<str>, IndexedDelete)>,
    /// The tree as an array: the children of node `n` are `2n` and `2n + 1`, the leaves are the last half. Each node
    /// holds the index of the range with the greatest upper end.
    greatest_upper: Vec<Option<u32>>,
    leaves: usize,
}

impl Ranges {
    pub(super) fn new(list: Vec<(String, String, IndexedDelete)>) -> Self {
        let mut ranges: Vec<(Box<str>, Box<str>, IndexedDelete)> = list
            .into_iter()
            .map(|(lower, upper, delete)| (lower.into(), upper.into(), delete))
            .collect();
        ranges.sort_by(|left, right| left.0.cmp(&right.0));
        let leaves = ranges.len().next_power_of_two();
        let mut greatest_upper = vec![None; 2 * leaves];
        for index in 0..ranges.len() {
            greatest_upper[leaves + index] = Some(index as u32);
        }
        for node in (1..leaves).rev() {
            let upper_end = |child: &Option<u32>| child.map(|index| &*ranges[index as usize].1);
            let (left, right) = (&greatest_upper[2 * node], &greatest_upper[2 * node + 1]);
            let greater = if upper_end(right) > upper_end(left) {
                *right
            } else {
                *left
            };
            greatest_upper[node] = greater;
        }
        Self {
            ranges,
            greatest_upper,
            leaves,
        }
    }

    /// Adds to `found` what holds `path` and `applies`; returns how many ranges were compared.
    pub(super) fn find(
        &self,
        path: &str,
        applies: &impl Fn(&IndexedDelete) -> bool,
        found: &mut Vec<IndexedDelete>,
    ) -> usize {
        let begun = self.ranges.partition_point(|range| *range.0 <= *path);
        let mut compared = begun.checked_ilog2().unwrap_or(0) as usize + 1;
        // Node, and the first range below it. Left children are looked at first: what is found is in order.
        let mut open = vec![(1, 0, self.leaves)];
        while let Some((node, first, width)) = open.pop() {
            let Some(greatest) = self.greatest_upper.get(node).copied().flatten() else {
                continue;
            };
            if first >= begun {
                continue;
            }
            compared += 1;
            if *self.ranges[greatest as usize].1 < *path {
                continue;
            }
            if width == 1 {
                let delete = &self.ranges[first].2;
                if applies(delete) {
                    found.push(*delete);
                }
                continue;
            }
            let half = width / 2;
            open.push((2 * node + 1, first + half, half));
            open.push((2 * node, first, half));
        }
        compared
    }
}
