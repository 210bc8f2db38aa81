use super::{Request, is_wrong_region, kind_of};
use crate::StorageErrorKind;

#[test]
fn codes_say_more_than_statuses_and_statuses_suffice() {
    for (status, code, kind) in [
        (403, Some("InvalidObjectState"), StorageErrorKind::Archived),
        (
            403,
            Some("AccessDenied"),
            StorageErrorKind::PermissionDenied,
        ),
        (403, None, StorageErrorKind::PermissionDenied),
        (
            400,
            Some("ExpiredToken"),
            StorageErrorKind::PermissionDenied,
        ),
        (404, None, StorageErrorKind::NotFound),
        (404, Some("NoSuchBucket"), StorageErrorKind::NotFound),
        (
            412,
            Some("PreconditionFailed"),
            StorageErrorKind::AlreadyExists,
        ),
        (416, Some("InvalidRange"), StorageErrorKind::OutOfRange),
        (503, Some("SlowDown"), StorageErrorKind::Throttled),
        (503, None, StorageErrorKind::Throttled),
        (500, Some("InternalError"), StorageErrorKind::Other),
    ] {
        assert_eq!(kind_of(status, code), kind, "{status} {code:?}");
    }
}

#[test]
fn a_wrong_region_names_the_right_one() {
    let request = Request {
        action: "read",
        location: "s3://b/k",
        region: Some("us-east-1"),
    };
    assert!(is_wrong_region(301, Some("PermanentRedirect")));
    assert!(is_wrong_region(400, None));
    assert!(!is_wrong_region(403, Some("AccessDenied")));
    let message = request.explain_region(Some("eu-west-1"), None).unwrap();
    assert!(
        message.contains("region eu-west-1") && message.contains("AWS_REGION"),
        "{message}"
    );
    let malformed = "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-3'";
    assert!(
        request
            .explain_region(None, Some(malformed))
            .unwrap()
            .contains("region eu-west-3")
    );
    // The same region: it is something else.
    assert_eq!(request.explain_region(Some("us-east-1"), None), None);
}
