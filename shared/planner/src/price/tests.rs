use icepress_model::{GroupReason, InputFile, Rows, SequenceNumber, SpecId, Tier};

use super::*;

fn group(files: u64, bytes: u64) -> Group {
    let input = |number: u64| InputFile {
        path: format!("f{number}"),
        size: Bytes(bytes),
        rows: Rows(1),
        sequence_number: SequenceNumber(1),
        first_row_id: None,
        deletes: Vec::new(),
    };
    Group {
        spec_id: SpecId(0),
        partition: serde_json::Value::Null,
        partition_name: String::new(),
        reason: GroupReason::EnoughFiles,
        tier: Tier::Full,
        inputs: (0..files).map(input).collect(),
        deletes: Vec::new(),
        target_file_size: Bytes::mebibytes(512),
        shares_deletes: false,
        without: None,
    }
}

/// A terabyte in files of 16 MiB at 34 MB a second and CPU, on 2 GiB: the dollar a terabyte that the README tells of.
#[test]
fn a_terabyte_costs_about_a_dollar() {
    let group = group(65_536, 16 << 20);
    let seconds = group.input_bytes().get() as f64 / (2.0 * 34e6);
    let took = Duration::from_secs_f64(seconds);
    let cost = Prices::default().of_group(&group, took, Bytes::mebibytes(3_538));
    assert!((0.6..1.2).contains(&cost.dollars()), "{cost}");
}

#[test]
fn more_files_more_bytes_and_more_time_cost_more() {
    let prices = Prices::default();
    let memory = Bytes::mebibytes(2_048);
    let cost = |files, bytes, seconds| {
        prices.of_group(&group(files, bytes), Duration::from_secs(seconds), memory)
    };
    let least = cost(5, 1 << 20, 1);
    assert!(least.get() > 0);
    assert!(cost(50, 1 << 20, 1) > least);
    assert!(cost(5, 200 << 20, 1) > least);
    assert!(cost(5, 1 << 20, 10) > least);
}

#[test]
fn a_month_of_objects_is_priced_by_bytes_and_by_those_that_are_watched() {
    let prices = crate::KeepingPrices::default();
    let terabyte = Bytes(1 << 40);
    let dollars = |price: icepress_model::NanoDollars| (price.dollars() * 1e6).round() / 1e6;
    assert_eq!(
        dollars(prices.of_objects(1000, terabyte)),
        1024.0 * 0.023 + 0.0025
    );
    // Too small to be watched.
    let small = Bytes(1 << 30);
    assert_eq!(dollars(prices.of_objects(1 << 20, small)), 0.023);
    assert_eq!(dollars(prices.of_never_tiering(small)), 0.0105);
    assert_eq!(dollars(prices.of_watching(1_000_000)), 2.5);
    assert_eq!(prices.of_objects(0, Bytes(0)).dollars(), 0.0);
}
