use super::*;

#[test]
fn namespaces_in_paths_and_queries() {
    let namespace = Namespace(vec!["a b".to_owned(), "ü/c".to_owned()]);
    let usual = Separator::default();
    assert_eq!(usual.segment(&namespace), "a%20b%1F%C3%BC%2Fc");
    assert_eq!(usual.query_value(&namespace), "a b\u{1f}ü/c");
    assert_eq!(Separator::new("\u{1f}"), usual);
    let dotted = Separator::new("%2E");
    assert_eq!(dotted.segment(&namespace), "a%20b%2E%C3%BC%2Fc");
    assert_eq!(dotted.query_value(&namespace), "a b.ü/c");
}
