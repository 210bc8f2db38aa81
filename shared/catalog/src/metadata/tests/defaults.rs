use std::sync::Arc;

use iceberg::{
    TableUpdate,
    spec::{Literal, NestedField, PrimitiveType, Schema, Type},
};

use super::{loaded_from, parsed, properties, snapshot_of_v1, stage, still, v3_metadata, written};
use crate::CatalogError;

/// The crate drops what it can't read, and the next metadata file would lack it: rows of old files would turn NULL.
#[test]
fn defaults_that_would_be_lost_leave_the_table_alone() {
    let fields = |kind: &str, default: serde_json::Value| {
        serde_json::json!([{"id": 1, "name": "s", "required": false, "type": {"type": "struct", "fields": [
            {"id": 2, "name": "since", "required": false, "type": kind,
             "initial-default": default, "write-default": default}]}}])
    };
    for (kind, default) in [
        ("long", serde_json::json!(7)),
        ("string", serde_json::json!("")),
        ("boolean", serde_json::json!(false)),
        ("double", serde_json::json!(-0.25)),
        ("date", serde_json::json!("2026-02-03")),
        ("time", serde_json::json!("01:02:03.000004")),
        ("timestamp", serde_json::json!("2026-02-03T04:05:06.000007")),
        (
            "timestamptz",
            serde_json::json!("2026-02-03T04:05:06.000007+00:00"),
        ),
        (
            "uuid",
            serde_json::json!("f79c3e09-677c-4bbd-a479-3f349cb785e7"),
        ),
        ("binary", serde_json::json!("0102ff")),
        ("fixed[2]", serde_json::json!("01ff")),
        ("decimal(9,2)", serde_json::json!("-12.30")),
    ] {
        let metadata = parsed(fields(kind, default)).unwrap();
        let field = metadata.current_schema().field_by_id(2).unwrap();
        assert!(
            field.initial_default.is_some() && field.write_default.is_some(),
            "{kind}"
        );
    }
    // What neither reads.
    let no_time = serde_json::json!("last year");
    let error = parsed(fields("timestamp_ns", no_time)).unwrap_err();
    assert!(matches!(error, CatalogError::Unsupported { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("'s.since' of type timestamp_ns has the initial-default"),
        "{error}"
    );
    assert!(parsed(fields("timestamp_ns", serde_json::Value::Null)).is_ok());
}

/// Read and written by us, since the crate can't; and still there in the next metadata file.
#[tokio::test]
async fn defaults_that_are_moments_are_read_and_kept() {
    let column = |id: i32, name: &str, kind: &str, default: serde_json::Value| {
        serde_json::json!({"id": id, "name": name, "required": false, "type": kind,
            "initial-default": default, "write-default": default})
    };
    let fields = serde_json::json!([
        column(1, "local", "timestamp_ns", "2026-01-01T00:00:00.000000001".into()),
        column(2, "zoned", "timestamptz_ns", "1969-12-31T23:59:59.999999999+00:00".into()),
        column(3, "whole", "timestamp_ns", "1970-01-01T00:00:01".into()),
        column(4, "number", "long", 7.into()),
        {"id": 5, "name": "none", "required": false, "type": "timestamp_ns"},
        {"id": 6, "name": "s", "required": false, "type": {"type": "struct", "fields": [
            column(7, "inner", "timestamp_ns", "1970-01-01T00:00:00.000000002".into())]}},
        {"id": 8, "name": "l", "required": false, "type": {"type": "list", "element-id": 9, "element-required": false,
            "element": {"type": "struct", "fields": [
                column(10, "inner", "timestamptz_ns", "1970-01-01T00:00:00.000000003+00:00".into())]}}},
        {"id": 11, "name": "m", "required": false, "type": {"type": "map", "key-id": 12, "key": "string", "value-id": 13,
            "value-required": false, "value": {"type": "struct", "fields": [
                column(14, "inner", "timestamp_ns", "1970-01-01T00:00:00.000000004".into())]}}},
        {"id": 15, "name": "written", "required": false, "type": "timestamp_ns",
            "write-default": "1970-01-01T00:00:00.000000005"},
        // A fraction of a second before 1970: the crate panics over it when it writes.
        column(16, "early", "timestamptz", "1969-12-31T23:59:58.5+00:00".into()),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let mut json: serde_json::Value =
        serde_json::from_slice(&v3_metadata(&fields, &snapshot_of_v1())).unwrap();
    json["last-column-id"] = 20.into();
    json["location"] = folder.path().display().to_string().into();
    let loaded = loaded_from(folder.path(), &json).await;
    let schema = loaded.metadata.current_schema();
    assert_eq!(
        schema,
        loaded.metadata.schema_by_id(schema.schema_id()).unwrap()
    );
    assert_eq!(loaded.metadata.schemas_iter().collect::<Vec<_>>(), [schema]);
    let initial = |id: i32| {
        let field = schema.field_by_id(id).unwrap();
        field.initial_default.clone()
    };
    for (id, nanoseconds) in [
        (1, 1_767_225_600_000_000_001_i64),
        (2, -1),
        (3, 1_000_000_000),
        (4, 7),
        (7, 2),
        (10, 3),
        (14, 4),
        (16, -1_500_000),
    ] {
        assert_eq!(initial(id), Some(Literal::long(nanoseconds)), "{id}");
        assert_eq!(
            schema.field_by_id(id).unwrap().write_default,
            initial(id),
            "{id}"
        );
    }
    assert_eq!((initial(5), initial(15)), (None, None));
    let write_default = schema.field_by_id(15).unwrap().write_default.clone();
    assert_eq!(write_default, Some(Literal::long(5)));
    // A manifest's header has the schema as the crate writes it.
    let header = super::super::schema_to_json(schema).unwrap();
    assert_eq!(header["fields"], fields);

    // By a change of something else, and by one that adds a schema.
    let ambient = still();
    let next = stage(&ambient, &loaded, properties(&[("a", "b")]))
        .await
        .unwrap();
    let content = written(&next).await;
    assert_eq!(content["schemas"], json["schemas"]);
    assert_eq!(next.metadata.current_schema(), schema);
    let more = NestedField::optional(17, "more", Type::Primitive(PrimitiveType::Int));
    let other = Schema::builder()
        .with_fields([Arc::new(more)])
        .build()
        .unwrap();
    let updates = vec![
        TableUpdate::AddSchema { schema: other },
        TableUpdate::SetCurrentSchema { schema_id: -1 },
    ];
    let next = stage(&ambient, &next, updates).await.unwrap();
    let content = written(&next).await;
    assert_eq!(content["schemas"][0], json["schemas"][0]);
    let before = next.metadata.schema_by_id(schema.schema_id());
    assert_ne!(next.metadata.current_schema(), schema);
    assert_eq!(before, Some(schema));
}
