use icepress_model::Epoch;

use super::*;

fn swept_at(at: i64) -> BucketRow {
    BucketRow {
        bucket: BucketId(0),
        owner: None,
        epoch: Epoch(1),
        expires_at: TimestampMs(0),
        last_swept_at: TimestampMs(at),
        last_begun_at: TimestampMs(at),
    }
}

#[test]
fn the_longest_rest_is_that_of_a_bucket_that_had_a_turn() {
    let now = TimestampMs(100_000);
    let rows = [swept_at(90_000), swept_at(40_000), swept_at(0)];
    assert_eq!(longest_rest(&rows, now), Some(Duration::from_secs(60)));
    assert_eq!(
        longest_rest(&[swept_at(0)], now),
        None,
        "the first is to come"
    );
}
