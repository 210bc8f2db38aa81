//! Partition values, however their writer encoded them.

use iceberg::spec::{Literal, NestedField, PrimitiveType as P, Struct, StructType, Type};
use serde_json::{Value, json};

use super::avro::put;
use crate::{
    avro::AvroType,
    manifests::{
        PartitionKey, PartitionTable,
        partition::{Summaries, avro_type, put_partition},
        partition_reader::PartitionReader,
    },
};

fn of(fields: &[(i32, &str, P)]) -> StructType {
    let fields = fields.iter().map(|(id, name, primitive)| {
        NestedField::optional(*id, *name, Type::Primitive(primitive.clone())).into()
    });
    StructType::new(fields.collect())
}

/// A partition tuple of a writer's layout, as it is read.
fn read(partition_type: &StructType, tuple: &Value, value: &Value) -> Result<PartitionKey, String> {
    let file = json!({"type": "record", "name": "f", "fields": [
        {"name": "partition", "field-id": 102, "type": tuple}]});
    let layout = AvroType::parse_json(&file).unwrap();
    let mut reader = PartitionReader::new(3, partition_type, &layout).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    put(tuple, value, &mut bytes);
    let mut table = PartitionTable::default();
    let number = reader.number(Some(&bytes), &mut table);
    let number = number.map_err(|error| error.to_string())?;
    Ok(table.partitions[number as usize].clone())
}

fn one(layout: &Value) -> Value {
    json!({"type": "record", "name": "r102", "fields": [
        {"name": "p", "type": layout, "field-id": 1000}]})
}

/// By the bytes alone these partitions differ; a delete file of one would miss the data files of the other.
#[test]
fn c52_partitions_are_equal_whoever_encoded_them() {
    let uuid = "f79c3e09-677c-4bbd-a479-3f349cb785e7";
    let raw = json!(uuid::Uuid::parse_str(uuid).unwrap().into_bytes());
    let decimal = |size: Option<u32>| match size {
        Some(size) => json!({"type": "fixed", "name": "x", "size": size, "logicalType": "decimal"}),
        None => json!({"type": "bytes", "logicalType": "decimal"}),
    };
    let cases: [(P, Vec<(Value, Value)>); 8] = [
        (
            P::Int,
            vec![
                (json!("int"), json!(-5)),
                (json!(["long", "null"]), json!(-5)),
            ],
        ),
        (
            P::Uuid,
            vec![
                (
                    json!({"type": "string", "logicalType": "uuid"}),
                    json!(uuid),
                ),
                (
                    json!({"type": "fixed", "name": "x", "size": 16}),
                    raw.clone(),
                ),
                (json!("bytes"), raw),
            ],
        ),
        (
            P::Decimal {
                precision: 9,
                scale: 2,
            },
            vec![
                (decimal(Some(4)), json!([0xff, 0xff, 0xff, 0x85])),
                (
                    decimal(Some(18)),
                    json!([vec![0xff; 17], vec![0x85]].concat()),
                ),
                (decimal(None), json!([0x85])),
            ],
        ),
        (
            P::Double,
            vec![
                (json!("float"), json!(1.5)),
                (json!(["null", "double"]), json!(1.5)),
            ],
        ),
        (
            P::String,
            vec![
                (json!("string"), json!("eu")),
                (
                    json!({"type": "enum", "name": "e", "symbols": ["us", "eu"]}),
                    json!(1),
                ),
            ],
        ),
        (
            P::Timestamptz,
            vec![
                (
                    json!({"type": "long", "logicalType": "timestamp-micros"}),
                    json!(7_000),
                ),
                (
                    json!({"type": "long", "logicalType": "timestamp-millis"}),
                    json!(7),
                ),
            ],
        ),
        (
            P::TimestampNs,
            vec![(
                json!({"type": "long", "logicalType": "timestamp-nanos"}),
                json!(7_001),
            )],
        ),
        (
            P::Fixed(3),
            vec![
                (
                    json!({"type": "fixed", "name": "x", "size": 3}),
                    json!([1, 2, 3]),
                ),
                (json!("bytes"), json!([1, 2, 3])),
            ],
        ),
    ];
    let mut all = Vec::new();
    for (primitive, encodings) in cases {
        let partition_type = of(&[(1000, "p", primitive)]);
        let keys = encodings.iter().map(|(layout, value)| {
            read(&partition_type, &one(layout), &json!({"p": value})).unwrap()
        });
        let keys: Vec<PartitionKey> = keys.collect();
        for key in &keys {
            assert_eq!(key, &keys[0], "{partition_type}");
            // What we write reads the same again.
            let mut bytes = Vec::new();
            put_partition(&key.value, &partition_type, &mut bytes).unwrap();
            let layout = AvroType::parse_json(&json!({"type": "record", "name": "f", "fields": [
                {"name": "partition", "field-id": 102, "type": avro_type(&partition_type)}]}));
            let layout = layout.unwrap();
            let mut reader = PartitionReader::new(3, &partition_type, &layout).unwrap();
            let mut table = PartitionTable::default();
            reader.number(Some(&bytes), &mut table).unwrap();
            assert_eq!(table.partitions[0], *key);
        }
        all.push(keys[0].clone());
    }
    for (at, key) in all.iter().enumerate() {
        assert!(!all[at + 1..].contains(key), "{key:?}");
    }
}

#[test]
fn c52_tuples_are_joined_with_their_spec_by_id_and_else_by_name_or_place() {
    let spec = of(&[
        (1000, "day of", P::Int),
        (1001, "gone", P::String),
        (1002, "region", P::String),
    ]);
    let fields = |fields: Value| json!({"type": "record", "name": "r102", "fields": fields});
    let int = json!(["null", "int"]);
    let text = json!(["null", "string"]);
    let value = json!({"a": 5, "b": null, "c": "eu", "day_x20of": 5, "region": "eu", "gone": null});
    let whole = read(
        &spec,
        &fields(json!([
            {"name": "a", "type": int, "field-id": 1000},
            {"name": "b", "type": text, "field-id": 1001},
            {"name": "c", "type": text, "field-id": 1002},
        ])),
        &value,
    );
    let whole = whole.unwrap();
    for other in [
        // In another order, with ids as text, and without the void field.
        json!([
            {"name": "c", "type": text, "field-id": "1002"},
            {"name": "a", "type": int, "field-id": "1000"},
        ]),
        // By name, as Avro has it.
        json!([
            {"name": "region", "type": text},
            {"name": "day_x20of", "type": int},
            {"name": "gone", "type": text},
        ]),
        // By place.
        json!([
            {"name": "a", "type": int},
            {"name": "b", "type": text},
            {"name": "c", "type": text},
        ]),
        // With a field that the spec does not have.
        json!([
            {"name": "x", "type": text, "field-id": 1009},
            {"name": "a", "type": int, "field-id": 1000},
            {"name": "c", "type": text, "field-id": 1002},
        ]),
    ] {
        assert_eq!(
            read(&spec, &fields(other.clone()), &value),
            Ok(whole.clone()),
            "{other}"
        );
    }
    let error = read(
        &spec,
        &fields(json!([{"name": "a", "type": int}, {"name": "region", "type": text}])),
        &value,
    );
    assert!(
        error
            .unwrap_err()
            .contains("its fields a, region have no field ids")
    );
    let error = read(
        &spec,
        &fields(json!([{"name": "a", "type": text, "field-id": 1000}])),
        &json!({"a": "x"}),
    );
    assert_eq!(
        error.unwrap_err(),
        "data_file.partition.day of: expected a value of type int, found null or a string"
    );
}

#[test]
fn summaries_bound_decimals_floats_and_nulls() {
    let partition_type = of(&[
        (
            1000,
            "d",
            P::Decimal {
                precision: 9,
                scale: 2,
            },
        ),
        (1001, "f", P::Float),
    ]);
    let mut summaries = Summaries::new(&partition_type);
    for (decimal, float) in [(Some(-200), 2.5), (Some(300), f32::NAN), (None, -1.0)] {
        let decimal = decimal.map(Literal::decimal);
        summaries.add(&Struct::from_iter([decimal, Some(Literal::float(float))]));
    }
    let [decimals, floats] = summaries.finish().try_into().unwrap();
    assert!(decimals.contains_null && !floats.contains_null);
    // The least number of bytes that holds the value, as the specification asks.
    assert_eq!(decimals.lower_bound, Some(vec![0xff, 0x38]));
    assert_eq!(decimals.upper_bound, Some(vec![0x01, 0x2c]));
    assert_eq!(floats.contains_nan, Some(true));
    assert_eq!(floats.lower_bound, Some((-1f32).to_le_bytes().to_vec()));
    assert_eq!(floats.upper_bound, Some(2.5f32.to_le_bytes().to_vec()));
}
