use super::{lies_within, one_spelling};

#[test]
fn c33_one_object_has_one_spelling() {
    let same = [
        "s3://lake/t/data/a b=1/f.parquet",
        "s3a://lake/t/data/a b=1/f.parquet",
        "S3N://lake/t/data/a b=1/f.parquet",
        "s3://lake//t/data//a b=1/f.parquet",
        "s3://lake/t/data/a%20b=1/f.parquet",
        "s3://lake/t/data/a%2520b%3D1/f.parquet",
        "s3://lake/t/x/../data/./a b=1/f.parquet",
    ];
    for location in same {
        assert_eq!(one_spelling(location), "lake/t/data/a b=1/f.parquet");
    }
    for location in [
        "/t/f",
        "file:/t/f",
        "file:///t/f",
        "file://localhost/t/f",
        "/t//f",
    ] {
        assert_eq!(one_spelling(location), "/t/f");
    }
}

#[test]
fn others_have_others() {
    let others = [
        "s3://lake/t/f",
        "s3://lake2/t/f",
        "s3://lake/t/F",
        "s3://lake/t/f2",
        "/lake/t/f",
        "gs://lake/t/f",
        "/t/f",
    ];
    let spelled: std::collections::HashSet<String> = others.into_iter().map(one_spelling).collect();
    assert_eq!(spelled.len(), others.len());
}

#[test]
fn c32_what_lies_in_a_folder_is_told_in_any_spelling() {
    let place = "s3://lake/sales";
    for inside in [
        "s3://lake/sales",
        "s3a://lake/sales/",
        "s3://lake//sales/t",
        "s3n://lake/s%61les/t/data",
        "s3://lake/x/../sales/t",
    ] {
        assert!(lies_within(inside, place), "{inside}");
        assert!(lies_within(inside, "s3a://lake/sales/"), "{inside}");
    }
    for outside in [
        "s3://lake/sales2",
        "s3://lake/sale",
        "s3://lake2/sales",
        "s3://lake",
        "/lake/sales",
    ] {
        assert!(!lies_within(outside, place), "{outside}");
    }
    assert!(lies_within(place, "s3://lake") && lies_within(place, "s3://lake/"));
    assert!(lies_within("file:///a/b", "/a") && lies_within("/a", "/"));
}
