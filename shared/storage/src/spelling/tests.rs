use super::one_spelling;

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
