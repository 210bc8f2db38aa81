use super::*;

#[test]
fn releases_are_told_apart_and_builds_of_one_are_not() {
    assert!(is_older("0.1.0", "0.2.0+abc"));
    assert!(is_older("0.9.0+fff", "0.10.0"));
    assert!(!is_older("0.2.0", "0.1.9"));
    assert!(!is_older("0.1.0+aaa", "0.1.0+bbb"));
    assert!(!is_older("0.1", "0.2.0"), "that is no version of ours");
    assert!(VERSION.starts_with(env!("CARGO_PKG_VERSION")));
    assert!(number(VERSION).is_some());
}
