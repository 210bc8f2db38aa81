//! How well a table is: our score, and Amoro's for people who come from there.

use icepress_model::Health;

#[cfg(test)]
mod tests;

/// What the scores need to know of a partition.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct PartitionFacts {
    /// All data files.
    pub(crate) files: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Files of a good size.
    pub(crate) good_files: u64,
    /// Bytes of files that are too small or too large.
    pub(crate) wrong_bytes: u64,
    /// Row groups of files whose row groups are known, and these files' bytes.
    pub(crate) row_groups: u64,
    pub(crate) row_group_bytes: u64,
    /// Rows, weighed with the share of them that is deleted, and rows.
    pub(crate) deleted_rows: f64,
    pub(crate) rows: u64,
    /// Pairs of a data file and a delete file that applies to it.
    pub(crate) pairs: u64,
    /// What Amoro counts: files up to 0.75 × the target, or with deletes.
    pub(crate) amoro: AmoroFacts,
}

/// The files of a partition that Amoro counts, and the records of the delete files that apply to any of them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct AmoroFacts {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) rows: u64,
    pub(crate) equality_records: u64,
    pub(crate) position_records: u64,
}

/// A row group below this costs readers dearly.
const GOOD_ROW_GROUP: f64 = (8 << 20) as f64;
/// As many surplus files, or delete files a data file, as make a partition rotten.
const MANY: f64 = 12.0;
/// The share of deleted rows that makes a partition rotten.
const MANY_DELETED: f64 = 0.3;

/// Ours for one partition, 0 to 100: 60 for files of a good size, 30 for few deletes, 10 for large row groups.
///
/// * Files: those that would be there beyond the least number that could hold their bytes, as a share of all; in
///   full from twelve such files on, since a few small ones are any partition's fresh end.
/// * Deletes: the share of deleted rows against 0.3, or delete files a data file against 12, whichever is worse.
/// * Row groups: their average size against 8 MiB, where the files are large enough to have had such.
pub(crate) fn partition_score(facts: &PartitionFacts, target: u64) -> f64 {
    if facts.files == 0 {
        return 100.0;
    }
    let wrong_files = facts.files - facts.good_files;
    let needed = facts.wrong_bytes.div_ceil(target.max(1)).min(wrong_files);
    let surplus = (wrong_files - needed) as f64;
    let files = 1.0 - surplus / facts.files as f64 * (surplus / MANY).min(1.0);

    let deleted_share = facts.deleted_rows / facts.rows.max(1) as f64;
    let deletes_a_file = facts.pairs as f64 / facts.files as f64;
    let deletes = 1.0
        - (deleted_share / MANY_DELETED)
            .max(deletes_a_file / MANY)
            .min(1.0);

    let row_groups = if facts.row_groups == 0 {
        1.0
    } else {
        let average_file = facts.bytes as f64 / facts.files as f64;
        let average = facts.row_group_bytes as f64 / facts.row_groups as f64;
        (average / GOOD_ROW_GROUP.min(average_file).max(1.0)).min(1.0)
    };
    60.0 * files + 30.0 * deletes + 10.0 * row_groups
}

/// The table's health. Ours weighs partitions by their bytes; Amoro's takes the mean, each part rounded up.
pub(crate) fn table_health(partitions: &[PartitionFacts], target: u64) -> Health {
    let mut weights = 0.0;
    let mut weighed = 0.0;
    for facts in partitions {
        let weight = facts.bytes.max(1) as f64;
        weights += weight;
        weighed += weight * partition_score(facts, target);
    }
    let score = if weights == 0.0 {
        100.0
    } else {
        weighed / weights
    };
    Health {
        score,
        amoro_score: amoro_score(partitions, target),
    }
}

/// Amoro's score: `CommonPartitionEvaluator.getHealthScore` for each partition, and the mean of each of its three
/// parts over the partitions, rounded up.
fn amoro_score(partitions: &[PartitionFacts], target: u64) -> f64 {
    if partitions.is_empty() {
        return 100.0;
    }
    let mut sums = [0.0; 3];
    for facts in partitions {
        let parts = amoro_parts(&facts.amoro, target);
        for (sum, part) in sums.iter_mut().zip(parts) {
            *sum += part;
        }
    }
    sums.iter()
        .map(|sum| (sum / partitions.len() as f64).ceil())
        .sum()
}

/// Small files (40 at best), equality deletes (40), position deletes (20).
fn amoro_parts(facts: &AmoroFacts, target: u64) -> [f64; 3] {
    let norm = |value: f64, base: f64| {
        if base <= 0.0 {
            0.0
        } else {
            value.min(base) / base
        }
    };
    let least_size = target as f64 * 0.75;
    let (files, bytes, rows) = (facts.files as f64, facts.bytes as f64, facts.rows as f64);
    let penalty = if facts.files <= 1 {
        0.0
    } else {
        norm(files, 12.0) * norm(bytes, least_size)
    };
    let small = 1.0 - norm(bytes / files.max(1.0), least_size);
    let equality = norm(norm(facts.equality_records as f64, rows), 0.1);
    let position = norm(norm(facts.position_records as f64, rows), 0.2);
    [
        (40.0 - penalty * 40.0 * small).ceil(),
        (40.0 - penalty * 40.0 * equality).ceil(),
        (20.0 - penalty * 20.0 * position).ceil(),
    ]
}
