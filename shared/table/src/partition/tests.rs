//! A partition comes back from its JSON as it went in, whatever its types.

use iceberg::spec::{
    FormatVersion, NestedField, PartitionSpec, Schema, SortOrder, TableMetadataBuilder, Transform,
    UnboundPartitionSpec,
};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn one_field(primitive: PrimitiveType) -> StructType {
    StructType::new(vec![
        NestedField::optional(1000, "p", Type::Primitive(primitive)).into(),
    ])
}

fn single(literal: PrimitiveLiteral) -> Struct {
    Struct::from_iter([Some(Literal::Primitive(literal))])
}

fn json_of(primitive: PrimitiveType, literal: PrimitiveLiteral) -> Value {
    let json = partition_to_json(&single(literal), &one_field(primitive)).unwrap();
    json["1000"].clone()
}

#[test]
fn values_are_written_as_the_specification_says() {
    use PrimitiveLiteral as L;
    use PrimitiveType as T;
    let decimal = T::Decimal {
        precision: 9,
        scale: 2,
    };
    assert_eq!(json_of(T::Int, L::Int(34)), json!(34));
    assert_eq!(json_of(T::Float, L::Float(0.5.into())), json!(0.5));
    assert_eq!(json_of(T::Date, L::Int(17_486)), json!("2017-11-16"));
    assert_eq!(json_of(T::Date, L::Int(-1)), json!("1969-12-31"));
    assert_eq!(
        json_of(T::Time, L::Long(81_068_123_456)),
        json!("22:31:08.123456")
    );
    assert_eq!(
        json_of(T::Timestamp, L::Long(1_510_871_468_123_456)),
        json!("2017-11-16T22:31:08.123456")
    );
    assert_eq!(
        json_of(T::Timestamptz, L::Long(1_510_871_468_123_456)),
        json!("2017-11-16T22:31:08.123456+00:00")
    );
    assert_eq!(
        json_of(T::TimestampNs, L::Long(1_510_871_468_123_456_789)),
        json!("2017-11-16T22:31:08.123456789")
    );
    assert_eq!(json_of(decimal.clone(), L::Int128(1420)), json!("14.20"));
    assert_eq!(json_of(decimal, L::Int128(-5)), json!("-0.05"));
    assert_eq!(
        json_of(T::Uuid, L::UInt128(0xf79c3e09_677c_4bbd_a479_3f349cb785e7)),
        json!("f79c3e09-677c-4bbd-a479-3f349cb785e7")
    );
    assert_eq!(
        json_of(T::Fixed(4), L::Binary(vec![0, 1, 2, 255])),
        json!("000102ff")
    );
    assert_eq!(json_of(T::Double, L::Double(f64::NAN.into())), json!("NaN"));
}

#[test]
fn a_spec_without_fields_is_null() {
    let none = StructType::new(vec![]);
    assert_eq!(
        partition_to_json(&Struct::empty(), &none).unwrap(),
        Value::Null
    );
    assert_eq!(
        partition_from_json(&Value::Null, &none).unwrap(),
        Struct::empty()
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let int = one_field(PrimitiveType::Int);
    for wrong in [
        json!(null),
        json!({}),
        json!({"1001": 1}),
        json!({"1000": "1"}),
        json!({"1000": 3_000_000_000i64}),
    ] {
        partition_from_json(&wrong, &int).unwrap_err();
    }
    for wrong in ["2026-02-30", "2026-1-3", "2026-01-31T00:00", "x"] {
        let date = one_field(PrimitiveType::Date);
        partition_from_json(&json!({"1000": wrong}), &date).unwrap_err();
    }
    partition_to_json(&single(PrimitiveLiteral::Long(1)), &int).unwrap_err();
    partition_to_json(&Struct::empty(), &int).unwrap_err();
}

fn any_value() -> impl Strategy<Value = (PrimitiveType, Option<PrimitiveLiteral>)> {
    use PrimitiveLiteral as L;
    use PrimitiveType as T;
    let some = prop_oneof![
        any::<bool>().prop_map(|value| (T::Boolean, L::Boolean(value))),
        any::<i32>().prop_map(|value| (T::Int, L::Int(value))),
        any::<i64>().prop_map(|value| (T::Long, L::Long(value))),
        any::<f32>().prop_map(|value| (T::Float, L::Float(value.into()))),
        any::<f64>().prop_map(|value| (T::Double, L::Double(value.into()))),
        any::<i32>().prop_map(|value| (T::Date, L::Int(value))),
        (0..50_000i32).prop_map(|value| (T::Date, L::Int(value))),
        any::<i64>().prop_map(|value| (T::Time, L::Long(value))),
        any::<i64>().prop_map(|value| (T::Timestamp, L::Long(value))),
        (0..4_000_000_000_000_000i64).prop_map(|value| (T::Timestamptz, L::Long(value))),
        any::<i64>().prop_map(|value| (T::TimestampNs, L::Long(value))),
        any::<i64>().prop_map(|value| (T::TimestamptzNs, L::Long(value))),
        any::<String>().prop_map(|value| (T::String, L::String(value))),
        any::<u128>().prop_map(|value| (T::Uuid, L::UInt128(value))),
        any::<Vec<u8>>().prop_map(|value| (T::Binary, L::Binary(value))),
        (any::<i128>(), 0..39u32).prop_map(|(value, scale)| (
            T::Decimal {
                precision: 38,
                scale
            },
            L::Int128(value)
        )),
    ];
    (some, prop::bool::weighted(0.1))
        .prop_map(|((primitive, literal), null)| (primitive, (!null).then_some(literal)))
}

proptest! {
    #[test]
    fn every_partition_survives_its_json(values in prop::collection::vec(any_value(), 0..5)) {
        let fields = values.iter().zip(1000..).map(|((primitive, _), id)| {
            NestedField::optional(id, format!("f{id}"), Type::Primitive(primitive.clone())).into()
        });
        let partition_type = StructType::new(fields.collect());
        let partition: Struct =
            values.iter().map(|(_, literal)| literal.clone().map(Literal::Primitive)).collect();
        let text = partition_to_json(&partition, &partition_type).unwrap().to_string();
        let json: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(partition_from_json(&json, &partition_type).unwrap(), partition);
    }

    #[test]
    fn dates_agree_with_the_iceberg_crate(days in -700_000..2_900_000i32) {
        let literal = Literal::Primitive(PrimitiveLiteral::Int(days));
        let theirs = literal.try_into_json(&Type::Primitive(PrimitiveType::Date)).unwrap();
        prop_assert_eq!(json_of(PrimitiveType::Date, PrimitiveLiteral::Int(days)), theirs);
    }
}

fn schema() -> Schema {
    let fields = [
        (1, "at", PrimitiveType::Timestamptz),
        (2, "region", PrimitiveType::String),
        (3, "user", PrimitiveType::Long),
    ];
    Schema::builder()
        .with_fields(fields.map(|(id, name, primitive)| {
            NestedField::optional(id, name, Type::Primitive(primitive)).into()
        }))
        .build()
        .unwrap()
}

#[test]
fn names_are_for_people() {
    let field = |id: i32, source: i32, name: &str, transform: &str| json!({"field-id": id, "source-id": source, "name": name, "transform": transform});
    let spec: PartitionSpec = serde_json::from_value(json!({"spec-id": 1, "fields": [
        field(1000, 1, "day", "day"),
        field(1001, 1, "hour", "hour"),
        field(1002, 1, "month", "month"),
        field(1003, 2, "region", "identity"),
        field(1004, 3, "user_bucket", "bucket[16]"),
    ]}))
    .unwrap();
    let partition_type = spec.partition_type(&schema()).unwrap();
    let values = [
        Some(PrimitiveLiteral::Int(20_484)),
        Some(PrimitiveLiteral::Int(20_484 * 24 + 7)),
        Some(PrimitiveLiteral::Int(56 * 12)),
        None,
        Some(PrimitiveLiteral::Int(3)),
    ];
    let partition = Struct::from_iter(values.map(|value| value.map(Literal::Primitive)));
    assert_eq!(
        partition_name(&spec, &partition_type, &partition),
        "day=2026-01-31/hour=2026-01-31-07/month=2026-01/region=null/user_bucket=3"
    );
    let nowhere = PartitionSpec::unpartition_spec();
    let no_fields = StructType::new(vec![]);
    assert_eq!(partition_name(&nowhere, &no_fields, &Struct::empty()), "");
}

#[test]
fn a_spec_outlives_its_source_column() {
    let spec = UnboundPartitionSpec::builder()
        .add_partition_field(2, "region", Transform::Identity)
        .unwrap()
        .build();
    let metadata = TableMetadataBuilder::new(
        schema(),
        spec,
        SortOrder::unsorted_order(),
        "file:///nowhere".to_owned(),
        FormatVersion::V2,
        Default::default(),
    )
    .unwrap()
    .add_default_partition_spec(UnboundPartitionSpec::builder().build())
    .unwrap();
    let without_region = Schema::builder()
        .with_fields([
            NestedField::optional(1, "at", Type::Primitive(PrimitiveType::Timestamptz)).into(),
        ])
        .build()
        .unwrap();
    let metadata = metadata
        .add_current_schema(without_region)
        .unwrap()
        .build()
        .unwrap()
        .metadata;
    assert!(metadata.current_schema().field_by_id(2).is_none());
    let old = partition_type(&metadata, SpecId(0)).unwrap();
    assert_eq!(
        *old.fields()[0].field_type,
        Type::Primitive(PrimitiveType::String)
    );
    partition_type(&metadata, SpecId(7)).unwrap_err();
}
