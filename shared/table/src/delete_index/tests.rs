//! The index finds what trying every delete against every data file would find, and does not try them all.

use proptest::prelude::*;

use super::*;

/// The specification's rules, word for word, one delete at a time.
fn applies(
    scope: &DeleteScope,
    delete: i64,
    path: &str,
    partition: u32,
    data: i64,
    has_vector: bool,
) -> bool {
    match scope {
        DeleteScope::EqualityEverywhere => delete > data,
        DeleteScope::EqualityInPartition(own) => *own == partition && delete > data,
        DeleteScope::PositionOfFile(named) | DeleteScope::PositionWithinBounds(named) => {
            named == path && delete >= data && !has_vector
        }
        DeleteScope::PositionInPartition(own, bounds) => {
            *own == partition
                && delete >= data
                && !has_vector
                && bounds
                    .as_ref()
                    .is_none_or(|(lower, upper)| lower.as_str() <= path && path <= upper.as_str())
        }
        DeleteScope::VectorOfFile(named) => named == path && delete >= data,
    }
}

fn path(number: u32) -> String {
    format!("s3://bucket/t/data/{number:06}.parquet")
}

fn scopes() -> impl Strategy<Value = DeleteScope> {
    prop_oneof![
        Just(DeleteScope::EqualityEverywhere),
        (0..3u32).prop_map(DeleteScope::EqualityInPartition),
        (0..20u32).prop_map(|number| DeleteScope::PositionOfFile(path(number))),
        (0..3u32).prop_map(|partition| DeleteScope::PositionInPartition(partition, None)),
        (0..3u32, 0..20u32, 0..20u32).prop_map(|(partition, lower, upper)| {
            DeleteScope::PositionInPartition(partition, Some((path(lower), path(upper))))
        }),
    ]
}

proptest! {
    #[test]
    fn c10_finds_exactly_what_the_rules_say(
        deletes in prop::collection::vec((scopes(), 0..8i64), 0..40),
        vectors in prop::collection::btree_map(0..20u32, 0..8i64, 0..4),
        files in prop::collection::vec((0..20u32, 0..3u32, 0..8i64), 1..20),
    ) {
        let mut deletes = deletes;
        deletes.extend(
            vectors.into_iter().map(|(number, seq)| (DeleteScope::VectorOfFile(path(number)), seq)),
        );
        let indexed =
            deletes.iter().map(|(scope, seq)| (scope.clone(), SequenceNumber(*seq)));
        let index = DeleteIndex::new(indexed).unwrap();
        for (number, partition, data) in files {
            let path = path(number);
            let has_vector = deletes.iter().any(|(scope, seq)| {
                matches!(scope, DeleteScope::VectorOfFile(_))
                    && applies(scope, *seq, &path, partition, data, false)
            });
            let expected: Vec<u32> = deletes
                .iter()
                .zip(0..)
                .filter(|((scope, seq), _)| {
                    applies(scope, *seq, &path, partition, data, has_vector)
                })
                .map(|(_, number)| number)
                .collect();
            let matches = index.for_file(&path, partition, SequenceNumber(data));
            let mut found: Vec<u32> = matches.numbers().collect();
            found.sort_unstable();
            prop_assert_eq!(found.len(), matches.len());
            prop_assert_eq!(found, expected);
        }
    }
}

#[test]
fn c10_equality_is_strict_and_position_is_not() {
    let index = DeleteIndex::new([
        (DeleteScope::EqualityInPartition(0), SequenceNumber(5)),
        (DeleteScope::PositionInPartition(0, None), SequenceNumber(5)),
    ])
    .unwrap();
    let found = |data| -> Vec<u32> {
        let matches = index.for_file("f", 0, SequenceNumber(data));
        matches.numbers().collect()
    };
    assert_eq!(found(4), [0, 1]);
    assert_eq!(found(5), [1]);
    assert!(found(6).is_empty());
}

#[test]
fn c12_all_delete_files_of_one_data_file_are_found() {
    let number = SequenceNumber(3);
    let bounds = |lower, upper| Some((path(lower), path(upper)));
    let index = DeleteIndex::new([
        (DeleteScope::PositionOfFile(path(5)), number),
        (DeleteScope::PositionOfFile(path(6)), number),
        (DeleteScope::PositionInPartition(0, bounds(1, 9)), number),
        (DeleteScope::PositionInPartition(0, bounds(6, 9)), number),
        (DeleteScope::PositionInPartition(1, bounds(1, 9)), number),
        (DeleteScope::PositionOfFile(path(5)), SequenceNumber(4)),
        (DeleteScope::EqualityEverywhere, number),
    ])
    .unwrap();
    let matches = index.for_file(&path(5), 0, SequenceNumber(2));
    let mut found: Vec<u32> = matches.numbers().collect();
    found.sort_unstable();
    assert_eq!(found, [0, 2, 5, 6]);
}

#[test]
fn c15_two_live_vectors_of_one_file_are_refused() {
    let vector = |number: u32| (DeleteScope::VectorOfFile(path(number)), SequenceNumber(1));
    DeleteIndex::new([vector(1), vector(2)]).unwrap();
    let refused = DeleteIndex::new([vector(1), vector(2), vector(1)]);
    assert_eq!(refused.unwrap_err(), DuplicateVector(path(1)));
}

#[test]
fn c41_many_deletes_against_many_files_are_not_compared_pairwise() {
    const FILES: u32 = 20_000;
    let shapes: [fn(u32) -> DeleteScope; 4] = [
        |number| DeleteScope::PositionOfFile(path(number)),
        |number| {
            let bounds = (path(number), path(number + 1));
            DeleteScope::PositionInPartition(0, Some(bounds))
        },
        |_| DeleteScope::PositionInPartition(0, None),
        |_| DeleteScope::EqualityInPartition(0),
    ];
    for shape in shapes {
        let deletes = (0..FILES).map(|number| (shape(number), SequenceNumber(i64::from(number))));
        let index = DeleteIndex::new(deletes).unwrap();
        let mut compared = 0;
        let mut found = 0;
        for number in 0..FILES {
            let (matches, cost) = index.look_up(&path(number), 0, SequenceNumber(0));
            compared += cost;
            found += matches.len();
        }
        assert!(
            found >= FILES as usize - 1,
            "each file has a delete: {found}"
        );
        // All pairs would be 400 million.
        assert!(compared <= 100 * FILES as usize, "{compared} comparisons");
    }
}

/// Iceberg's Java library goes by the path that a vector or position delete file names, in whatever partition it stands
/// (apache/iceberg #16957); so do the index, the plan and the commit.
#[test]
fn c62_what_names_a_file_applies_to_it_in_another_partition() {
    let number = SequenceNumber(3);
    let named: [fn(String) -> DeleteScope; 3] = [
        DeleteScope::PositionOfFile,
        DeleteScope::PositionWithinBounds,
        DeleteScope::VectorOfFile,
    ];
    for scope in named.map(|scope| scope(path(5))) {
        let data = |partition| DataFileAt {
            path: "s3://bucket/t/data/000005.parquet",
            partition,
            sequence_number: 2,
        };
        assert!(scope.applies(3, data(&0)) && scope.applies(3, data(&9)));
        let index = DeleteIndex::new([(scope, number)]).unwrap();
        for partition in [0, 9] {
            let matches = index.for_file(&path(5), partition, SequenceNumber(2));
            assert_eq!(matches.numbers().collect::<Vec<_>>(), [0]);
        }
    }
}

/// Writers that know no better cut an upper bound short and don't round it up.
#[test]
fn c47_an_upper_bound_that_is_cut_short_hides_no_delete() {
    let traits = |upper| DeleteTraits {
        is_equality: false,
        is_unpartitioned: false,
        is_vector: false,
        referenced: None,
        bounds: Some(("s3://bucket/t/data/000001", upper)),
    };
    let scope = DeleteScope::new(0, traits("s3://bucket/t/data/00000"));
    let index = DeleteIndex::new([(scope, SequenceNumber(3))]).unwrap();
    let found = |number| index.for_file(&path(number), 0, SequenceNumber(2)).len();
    assert_eq!((found(1), found(9), found(10)), (1, 1, 0));
}
