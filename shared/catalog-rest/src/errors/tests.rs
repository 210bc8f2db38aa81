use super::*;

fn kind(status: u16, body: &str) -> FailureKind {
    Failure::of_answer(status, None, body.as_bytes(), "http://h/v1/x").kind
}

#[test]
fn statuses_are_told_apart() {
    let model = r#"{"error":{"message":"no","type":"NoSuchTableException","code":404}}"#;
    assert_eq!(kind(404, model), FailureKind::NotFound);
    assert_eq!(kind(404, "<html>not found</html>"), FailureKind::Invalid);
    assert_eq!(kind(404, r#"{"error":"Not Found"}"#), FailureKind::Invalid);
    assert_eq!(kind(401, ""), FailureKind::NotAuthenticated);
    assert_eq!(kind(403, model), FailureKind::Denied);
    assert_eq!(kind(409, model), FailureKind::Conflict);
    assert_eq!(kind(429, ""), FailureKind::Busy);
    assert_eq!(kind(503, ""), FailureKind::Unready);
    for status in [500, 502, 504, 507] {
        assert_eq!(kind(status, model), FailureKind::Unknown);
    }
    for status in [302, 400, 405, 406, 422] {
        assert_eq!(kind(status, model), FailureKind::Invalid);
    }
}

#[test]
fn the_server_is_quoted_and_its_patience_bounded() {
    let body = br#"{"error":{"message":"no table b","type":"NoSuchTableException","code":404}}"#;
    let failure = Failure::of_answer(404, Some("7"), body, "http://h/v1/x");
    assert_eq!(
        failure.message,
        "http://h/v1/x answered 404: NoSuchTableException: no table b"
    );
    assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
    let failure = Failure::of_answer(503, Some("100000"), b"", "http://h");
    assert_eq!(failure.retry_after, Some(LONGEST_RETRY_AFTER));
    let failure = Failure::of_answer(404, None, b"nothing here", "http://h/v1/config");
    assert!(
        failure.message.ends_with("check uri"),
        "{}",
        failure.message
    );
}
