use bytes::Bytes as Buffer;
use proptest::prelude::*;

use super::{MAX_GAP, MAX_JOINED, cut, joined};

/// Ranges as pairs, which read better.
fn pairs(ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let ranges: Vec<_> = ranges.iter().map(|(start, end)| *start..*end).collect();
    joined(&ranges)
        .into_iter()
        .map(|range| (range.start, range.end))
        .collect()
}

#[test]
fn near_ranges_are_joined_and_far_ones_are_not() {
    assert_eq!(pairs(&[]), []);
    assert_eq!(pairs(&[(5, 5), (9, 9)]), []);
    assert_eq!(pairs(&[(20, 30), (0, 10)]), [(0, 30)]);
    let far = MAX_GAP + 11;
    assert_eq!(pairs(&[(0, 10), (far, far + 1)]), [(0, 10), (far, far + 1)]);
    assert_eq!(pairs(&[(0, 10), (far - 1, far)]), [(0, far)]);
    // A stretch longer than the limit is cut where ranges meet, but one range stays whole.
    let half = MAX_JOINED / 2;
    assert_eq!(
        pairs(&[(0, half), (half, 2 * half), (2 * half, 3 * half)]),
        [(0, 2 * half), (2 * half, 3 * half)]
    );
    assert_eq!(pairs(&[(0, 3 * MAX_JOINED), (5, 6)]), [(0, 3 * MAX_JOINED)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_range_is_found_again(starts in prop::collection::vec((0u64..6_000_000, 0u64..50_000), 0..12)) {
        let ranges: Vec<_> = starts.iter().map(|(start, length)| *start..start + length).collect();
        let byte = |index: u64| (index.wrapping_mul(2_654_435_761) >> 7) as u8;
        let requests = joined(&ranges);
        let contents: Vec<Buffer> = requests
            .iter()
            .map(|request| request.clone().map(byte).collect::<Vec<u8>>().into())
            .collect();
        for range in &ranges {
            let expected: Vec<u8> = range.clone().map(byte).collect();
            prop_assert_eq!(cut(range, &requests, &contents).unwrap(), expected);
        }
    }
}
