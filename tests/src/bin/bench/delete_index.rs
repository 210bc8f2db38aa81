//! `delete_index`: which delete files apply to which data file, for 5,000, 10,000 and 20,000 of each in one run. Looked up
//! pair by pair, 20,000 of each would be 400 million comparisons; here the rate must not fall as the table grows.
//!
//! Half of the delete files name one data file, a quarter have bounds over ten of them, one eighth are equality deletes
//! of a partition, and one eighth are position deletes of a whole partition. There are 100 data files a partition. An
//! entry is a data file or a delete file; its share of building the index and of looking every data file up is counted.

use std::error::Error;

use icepress_model::SequenceNumber;
use icepress_table::delete_index::{DeleteIndex, DeleteScope};

use crate::measure::cpu_seconds;

const SIZES: [u32; 3] = [5_000, 10_000, 20_000];
const FILES_A_PARTITION: u32 = 100;
/// Enough for ticks of 10 ms not to matter.
const LEAST_CPU_SECONDS: f64 = 1.0;

/// Measures each size, and prints the line.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let mut rates = Vec::new();
    for size in SIZES {
        rates.push((size, entries_per_second(size)?));
    }
    let (Some((small, first)), Some((large, last))) = (rates.first(), rates.last()) else {
        return Err("no sizes".into());
    };
    let figures: Vec<String> = rates
        .iter()
        .map(|(size, rate)| format!("entries_per_s_at_{size}={rate:.0}"))
        .collect();
    println!(
        "delete_index {} rate_at_{large}_to_{small}={:.2}",
        figures.join(" "),
        last / first
    );
    Ok(())
}

fn entries_per_second(size: u32) -> Result<f64, Box<dyn Error>> {
    let paths: Vec<String> = (0..size).map(path).collect();
    let expected = matches(size, &paths)?;
    if expected < u64::from(size) {
        return Err("fewer matches than files: these are not the deletes that were meant".into());
    }
    let begun = cpu_seconds()?;
    let (mut rounds, mut spent) = (0u32, 0.0);
    while spent < LEAST_CPU_SECONDS {
        if matches(size, &paths)? != expected {
            return Err("two looks at the same deletes differ".into());
        }
        rounds += 1;
        spent = cpu_seconds()? - begun;
    }
    Ok(f64::from(2 * size) * f64::from(rounds) / spent)
}

/// Builds the index and looks every data file up; returns how many deletes apply, all files together.
fn matches(size: u32, paths: &[String]) -> Result<u64, Box<dyn Error>> {
    let index = DeleteIndex::new((0..size).map(|number| delete(number, size)))?;
    let mut found = 0;
    for (path, number) in paths.iter().zip(0..) {
        let sequence = SequenceNumber(i64::from(number));
        let matches = index.for_file(path, number / FILES_A_PARTITION, sequence);
        found += matches.len() as u64;
    }
    Ok(found)
}

fn path(number: u32) -> String {
    let partition = number / FILES_A_PARTITION;
    format!(
        "s3://bench-bucket/warehouse/database.db/table/data/day={partition:05}/{number:08}-0a1b2c3d.parquet"
    )
}

/// A delete file, a little younger than the data file of the same number.
fn delete(number: u32, size: u32) -> (DeleteScope, SequenceNumber) {
    let partition = number / FILES_A_PARTITION;
    let scope = match number % 8 {
        0..4 => DeleteScope::PositionOfFile(path(number)),
        4 | 5 => {
            let last = (number + 9).min(size - 1);
            DeleteScope::PositionInPartition(partition, Some((path(number), path(last))))
        }
        6 => DeleteScope::EqualityInPartition(partition),
        _ => DeleteScope::PositionInPartition(partition, None),
    };
    (scope, SequenceNumber(i64::from(number) + 2))
}
