use super::*;

fn is_held(allowed: &[&str], location: &str) -> bool {
    let reach = Reach::everywhere().within(allowed.iter().copied()).unwrap();
    match reach.check(location, "read") {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind, StorageErrorKind::NotAllowed);
            assert!(error.to_string().contains(location), "{error}");
            false
        }
    }
}

#[test]
fn c58_places_are_compared_by_their_parts() {
    let allowed = &["s3a://lake/sales/", "file:///data/wh"];
    for inside in [
        "s3://lake/sales/x.parquet",
        "s3n://lake/sales/a/b",
        "S3://lake/sales",
        "s3://lake/sales//data/x",
        "s3://lake/sales/a/../x",
        "s3://lake/./sales/x",
        "s3://lake/sales/p=a%20b/x%2Fy",
        "s3://lake/sales/100%/x",
        "/data/wh/x",
        "file:/data//wh/x",
        "file://localhost/data/wh/../wh/x",
    ] {
        assert!(is_held(allowed, inside), "{inside}");
    }
    for outside in [
        "s3://lake/sales2/x",
        "s3://lake/sale",
        "s3://lake/x",
        "s3://pond/sales/x",
        "s3://LAKE/sales/x",
        "s3://lake//sales/x",
        "s3://lake/sales/../x",
        "s3://lake/sales//../x",
        "s3://lake/sales/%2e%2e/x",
        "s3://lake/sales/%2E./x",
        "s3://lake/sales/..%2fx",
        "s3://lake/sales/%252e%252e/x",
        "s3://lake/s%61les/x",
        "s3://lake/other/../../lake/sales",
        "/data/wh2/x",
        "/data/wh/../x",
        "file:///data/wh/../../etc/passwd",
        "file:///data/w%68/x",
    ] {
        assert!(!is_held(allowed, outside), "{outside}");
    }
    assert!(!is_held(&[], "s3://lake/x"), "nothing is allowed");
    assert!(is_held(&["s3://lake"], "s3://lake/x"), "a whole bucket");
    assert!(is_held(&["s3://lake/a%20b"], "s3://lake/a%20b/x"));
}

#[test]
fn c58_each_kind_of_storage_is_allowed_by_itself() {
    let kind =
        |reach: &Reach, location: &str| reach.check(location, "read").map_err(|error| error.kind);
    let refused = Err(StorageErrorKind::NotAllowed);
    let (local, s3) = ("file:///etc/passwd", "s3://lake/x");
    assert_eq!(kind(&Reach::s3(), s3), Ok(()));
    assert_eq!(kind(&Reach::s3(), local), refused);
    assert_eq!(kind(&Reach::s3(), "/etc/passwd"), refused);
    assert_eq!(kind(&Reach::local(), local), Ok(()));
    assert_eq!(kind(&Reach::local(), s3), refused);
    assert_eq!(
        kind(&Reach::everywhere(), "nonsense"),
        Err(StorageErrorKind::InvalidLocation)
    );
    // A place of a kind that is not allowed allows nothing.
    let reach = Reach::s3().within(["file:///etc"]).unwrap();
    assert_eq!(kind(&reach, local), refused);
    assert!(Reach::s3().within(["lake/sales"]).is_err());
}
