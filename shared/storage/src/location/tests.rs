use std::path::PathBuf;

use super::Location;
use crate::StorageErrorKind;

#[test]
fn local_locations_are_taken_letter_for_letter() {
    for (location, path) in [
        ("/a/b c.parquet", "/a/b c.parquet"),
        ("file:/a/p=x%20y#1?.parquet", "/a/p=x%20y#1?.parquet"),
        ("file:///a//b", "/a//b"),
        ("file://localhost/a", "/a"),
        ("FILE:///a", "/a"),
    ] {
        assert_eq!(
            Location::local(location, "read").unwrap(),
            PathBuf::from(path)
        );
    }
}

#[test]
fn the_three_names_of_s3_mean_the_same() {
    for location in ["s3://b/k//x%20#", "s3a://b/k//x%20#", "s3n://b/k//x%20#"] {
        assert_eq!(Location::s3(location, "read").unwrap(), ("b", "k//x%20#"));
    }
    assert_eq!(Location::s3("s3://b", "list").unwrap(), ("b", ""));
}

#[test]
fn what_cannot_be_served_is_refused() {
    for location in [
        "",
        "relative/path",
        "file://host/a",
        "gs://b/k",
        "s3:///k",
        "hdfs://n/a",
        "file:a",
    ] {
        let error = Location::parse(location, "read").unwrap_err();
        assert_eq!(error.kind, StorageErrorKind::InvalidLocation, "{location}");
        assert!(
            error.to_string().contains(&format!("read {location}")),
            "{error}"
        );
    }
    assert!(Location::local("s3://b/k", "read").is_err());
    assert!(Location::s3("/a", "read").is_err());
}
