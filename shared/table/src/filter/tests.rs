//! Filters against somebody who looks at each row.

use std::collections::HashMap;

use iceberg::{
    spec::{
        Datum, FormatVersion, Literal, NestedField, PrimitiveType, Schema, SortOrder, Struct,
        TableMetadata, TableMetadataBuilder, Transform, Type, UnboundPartitionSpec,
    },
    transform::create_transform_function,
};
use icepress_model::SpecId;
use proptest::prelude::*;

use super::{Matches, PartitionFilter};

/// A table with a column of each kind, partitioned by these transforms of these columns.
fn table(fields: &[(i32, &str, Transform)]) -> TableMetadata {
    use PrimitiveType as P;
    let column =
        |id, name: &str, kind| NestedField::optional(id, name, Type::Primitive(kind)).into();
    let schema = Schema::builder()
        .with_fields(vec![
            column(1, "id", P::Long),
            column(2, "region", P::String),
            column(3, "day", P::Date),
            column(4, "at", P::Timestamp),
            column(
                5,
                "price",
                P::Decimal {
                    precision: 9,
                    scale: 2,
                },
            ),
            column(6, "other", P::Int),
        ])
        .build()
        .unwrap();
    let mut spec = UnboundPartitionSpec::builder();
    for (id, name, transform) in fields {
        spec = spec.add_partition_field(*id, *name, *transform).unwrap();
    }
    let order = SortOrder::unsorted_order();
    let location = "s3://b/t".to_owned();
    TableMetadataBuilder::new(
        schema,
        spec.build(),
        order,
        location,
        FormatVersion::V2,
        HashMap::new(),
    )
    .unwrap()
    .build()
    .unwrap()
    .metadata
}

fn ask(metadata: &TableMetadata, text: &str, values: Vec<Option<Literal>>) -> Matches {
    let filter = PartitionFilter::parse(text, metadata).unwrap();
    filter.matches(metadata, SpecId(0), &Struct::from_iter(values))
}

#[test]
fn days_of_moments_match_whole_in_part_or_not() {
    let metadata = table(&[(4, "at_day", Transform::Day)]);
    // The 2nd of January 1970.
    let day = || vec![Some(Literal::date(1))];
    for (text, expected) in [
        ("at < '1970-01-03'", Matches::All),
        ("at < '1970-01-02T12:00:00'", Matches::Maybe),
        ("at < timestamp '1970-01-02'", Matches::No),
        ("at >= '1970-01-02' and at < '1970-01-03'", Matches::All),
        (
            "at between '1970-01-01' and '1970-01-02T23:59:59.999999'",
            Matches::All,
        ),
        ("not (at >= '1970-01-03')", Matches::All),
        ("at > '1970-01-03' or at < '1970-01-02'", Matches::No),
        ("at = '1970-01-02T12:00:00'", Matches::Maybe),
        ("at <> '1970-01-05'", Matches::All),
        ("at is null", Matches::No),
        ("at is not null", Matches::All),
        // The field's own name, and value.
        ("at_day = date '1970-01-02'", Matches::All),
        ("at_day in ('1970-01-01', '1970-01-05')", Matches::No),
        ("true", Matches::All),
        ("not true", Matches::No),
    ] {
        assert_eq!(ask(&metadata, text, day()), expected, "{text}");
    }
    let null = || vec![None];
    for (text, expected) in [
        ("at is null", Matches::All),
        ("at < '1970-01-03'", Matches::No),
        ("at >= '1970-01-03'", Matches::No),
        ("at <> '1970-01-03'", Matches::All),
        ("at between '1960-01-01' and '1990-01-01'", Matches::No),
    ] {
        assert_eq!(ask(&metadata, text, null()), expected, "{text}");
    }
}

#[test]
fn texts_buckets_and_decimals() {
    let metadata = table(&[
        (2, "r", Transform::Truncate(2)),
        (1, "b", Transform::Bucket(16)),
        (5, "price", Transform::Identity),
    ]);
    let bucket = create_transform_function(&Transform::Bucket(16)).unwrap();
    let bucket = bucket.transform_literal(&Datum::long(34)).unwrap().unwrap();
    let partition = || {
        vec![
            Some(Literal::string("eu")),
            Some(Literal::Primitive(bucket.literal().clone())),
            Some(Literal::decimal(1050)),
        ]
    };
    for (text, expected) in [
        ("region like 'eu%'", Matches::All),
        ("region like 'eu-%'", Matches::Maybe),
        ("region like 'u%'", Matches::No),
        ("region < 'ez'", Matches::Maybe),
        ("region < 'eu'", Matches::No),
        ("id = 34", Matches::Maybe),
        ("id = 35 or id = 36", Matches::No),
        ("id in (35, 34)", Matches::Maybe),
        ("id > 5", Matches::Maybe),
        ("price = 10.5", Matches::All),
        ("price > 10.51", Matches::No),
        ("`price` <= 10.50 and \"region\" is not null", Matches::All),
    ] {
        assert_eq!(ask(&metadata, text, partition()), expected, "{text}");
    }
}

#[test]
fn what_cannot_be_understood_is_told_with_what_can_be_written() {
    let metadata = table(&[
        (3, "day", Transform::Identity),
        (2, "region", Transform::Identity),
    ]);
    for (text, told) in [
        ("", "ends where a column"),
        ("dya > '2026-01-01'", "partitioned by day, region"),
        ("other = 3", "not partitioned by its column 'other'"),
        ("day > 'soon'", "as in '2026-11-30'"),
        ("day > '2026-02-30'", "as in '2026-11-30'"),
        ("day >", "ends where a value"),
        ("day", "a comparison of 'day'"),
        ("day = '2026-01-01' region = 'eu'", "one word too many"),
        ("(day = '2026-01-01'", "')'"),
        ("region = 'eu", "never closed"),
        ("region like '%eu'", "only a beginning"),
        ("day like '2026%'", "no beginning"),
        ("region in ()", "a value"),
        ("day ~ 3", "'~'"),
        ("not not not", "a column"),
    ] {
        let error = PartitionFilter::parse(text, &metadata).unwrap_err();
        assert!(
            error.contains(told) && error.contains("icepress.partition-filter"),
            "{error}"
        );
    }
    let deep = "(".repeat(1_000);
    let error = PartitionFilter::parse(&deep, &metadata).unwrap_err();
    assert!(error.contains("nested"), "{error}");
    let unpartitioned = PartitionFilter::parse("id = 3", &table(&[])).unwrap_err();
    assert!(
        unpartitioned.contains("it is not partitioned"),
        "{unpartitioned}"
    );
}

/// A comparison of the moment, as text and as a test of rows in microseconds.
fn comparison() -> impl Strategy<Value = (String, Vec<(u8, i64)>)> {
    // Hours about the first days of 1970, so that years, months, days and hours all have an edge there.
    prop::collection::vec((0u8..6, -60i64..60), 1..4).prop_map(|parts| {
        let shown = |hours: i64| {
            let moment = jiff::Timestamp::from_second(hours * 3_600).unwrap();
            moment.strftime("%Y-%m-%dT%H:%M:%S").to_string()
        };
        let texts: Vec<String> = parts
            .iter()
            .map(|(sign, hours)| {
                let sign = ["<", "<=", ">", ">=", "=", "<>"][usize::from(*sign)];
                format!("at {sign} '{}'", shown(*hours))
            })
            .collect();
        (texts.join(" and "), parts)
    })
}

fn row_matches(parts: &[(u8, i64)], micros: i64) -> bool {
    parts.iter().all(|(sign, hours)| {
        let value = hours * 3_600_000_000;
        match sign {
            0 => micros < value,
            1 => micros <= value,
            2 => micros > value,
            3 => micros >= value,
            4 => micros == value,
            _ => micros != value,
        }
    })
}

proptest! {
    #[test]
    fn a_partition_answers_for_each_of_its_rows(
        (text, parts) in comparison(),
        negated in any::<bool>(),
        minutes in -3_700i64..3_700,
        transform in prop::sample::select(vec![
            Transform::Year, Transform::Month, Transform::Day, Transform::Hour, Transform::Identity,
        ]),
    ) {
        let metadata = table(&[(4, "p", transform)]);
        let text = if negated { format!("not ({text})") } else { text };
        let row = minutes * 60_000_000;
        let function = create_transform_function(&transform).unwrap();
        let value = function.transform_literal(&Datum::timestamp_micros(row)).unwrap().unwrap();
        let partition = vec![Some(Literal::Primitive(value.literal().clone()))];
        let matches = row_matches(&parts, row) != negated;
        match ask(&metadata, &text, partition) {
            Matches::All => prop_assert!(matches, "{text} of {row}"),
            Matches::No => prop_assert!(!matches, "{text} of {row}"),
            Matches::Maybe => {}
        }
    }
}
