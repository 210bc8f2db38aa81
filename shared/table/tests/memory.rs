//! What a commit holds of a table of many files, held against what the allocator really gave: some bytes for each, and not
//! its entry. One test, for the allocator counts all. The full size is `tests/bench commit-large`.
#![allow(
    clippy::unwrap_used,
    reason = "a fixture that fails should fail the test at once"
)]

use iceberg::spec::{DataFile, FormatVersion};
use icepress_model::Bytes;
use icepress_table::partition_to_json;
use peak_alloc::PeakAlloc;

/// Where the fixtures look for it.
mod commit {
    pub(crate) use icepress_table::{
        CommitContext, CommitFailure, CommitOutcome, CommitPolicy, FinishedGroup, commit_groups,
    };
}

#[path = "../src/commit/tests/memory.rs"]
#[allow(dead_code, reason = "shared with the unit tests")]
mod memory;
#[path = "../src/commit/tests/world.rs"]
#[allow(dead_code, reason = "shared with the unit tests")]
mod world;

use world::{World, data, equality_deletes, file};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MANIFESTS: usize = 16;
const FILES: usize = 150;

/// A commit of one group of two files in a table of many others of its partition takes what its own manifests take, and
/// `A_FILE` bytes for each of all files.
#[tokio::test]
async fn a_small_commit_in_a_large_table_takes_bytes_a_file() {
    const OWN: u64 = 640 << 10;
    const A_FILE: u64 = 48;
    for with_deletes in [false, true] {
        let world = World::new(FormatVersion::V2);
        for manifest in 0..MANIFESTS {
            world.append(&files_of(manifest)).await;
        }
        if with_deletes {
            world.delete(&[equality_deletes("deletes", "eu", 1)]).await;
        }
        let inputs = [name(3, 1), name(9, 5)];
        let inputs = inputs.each_ref().map(String::as_str);
        let group = world.group(0, &inputs, &[data("o", "eu", 20)]).await;
        let base = world.base();
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let outcome = world.run(&base, vec![group]).await.unwrap();
        let taken = MEMORY.peak_usage().saturating_sub(before) as u64;
        assert_eq!(outcome.committed, [0]);
        let most = OWN + A_FILE * (MANIFESTS * FILES) as u64;
        assert!(taken <= most, "{} of {}", Bytes(taken), Bytes(most));
    }
}

fn name(manifest: usize, number: usize) -> String {
    format!("mem://warehouse/t/data/region=eu/part-{manifest:05}-{number:05}-0a1b2c3d4e5f.parquet")
}

fn files_of(manifest: usize) -> Vec<DataFile> {
    let files = (0..FILES).map(|number| {
        let mut builder = file(&name(manifest, number), "eu", 10);
        builder.file_size_in_bytes(8).build().unwrap()
    });
    files.collect()
}
