//! What apache-avro writes is read, in every codec; what is damaged is refused without a crash.

use apache_avro::{Codec, DeflateSettings, Schema, Writer, ZstandardSettings, types::Value};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;

/// An Avro type with values of it, as apache-avro takes them.
fn typed() -> impl Strategy<Value = (Json, Vec<Value>)> {
    fn values<T: std::fmt::Debug + Clone>(
        one: impl Strategy<Value = T>,
        layout: Json,
        wrap: impl Fn(T) -> Value + Clone,
    ) -> impl Strategy<Value = (Json, Vec<Value>)> {
        prop::collection::vec(one, 8)
            .prop_map(move |all| (layout.clone(), all.into_iter().map(wrap.clone()).collect()))
    }
    let leaf = prop_oneof![
        values(any::<bool>(), json!("boolean"), Value::Boolean),
        values(any::<i32>(), json!("int"), Value::Int),
        values(any::<i64>(), json!("long"), Value::Long),
        values(any::<f32>(), json!("float"), Value::Float),
        values(any::<f64>(), json!("double"), Value::Double),
        values(".{0,20}", json!("string"), Value::String),
        values(any::<Vec<u8>>(), json!("bytes"), Value::Bytes),
        Just((json!("null"), vec![Value::Null; 8])),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            (inner.clone(), 0..5usize).prop_map(|((layout, values), length)| {
                let rotated = |by: usize| -> Vec<Value> {
                    let all = values.iter().cycle().skip(by);
                    all.take(length).cloned().collect()
                };
                let values = (0..8).map(|by| Value::Array(rotated(by))).collect();
                (json!({"type": "array", "items": layout}), values)
            }),
            (inner.clone(), 0..5usize).prop_map(|((layout, values), length)| {
                let entries = |by: usize| {
                    let all = values.iter().cycle().skip(by).take(length).cloned();
                    Value::Map((0..).map(|key: u32| format!("k{key}")).zip(all).collect())
                };
                let values = (0..8).map(entries).collect();
                (json!({"type": "map", "values": layout}), values)
            }),
            (inner.clone(), any::<[bool; 8]>()).prop_filter_map(
                "unions don't nest and hold one null",
                |((layout, values), nulls)| {
                    if layout.is_array() || layout == json!("null") {
                        return None;
                    }
                    let values = values
                        .into_iter()
                        .zip(nulls)
                        .map(|(value, null)| match null {
                            true => Value::Union(0, Box::new(Value::Null)),
                            false => Value::Union(1, Box::new(value)),
                        });
                    Some((json!(["null", layout]), values.collect()))
                }
            ),
            prop::collection::vec(inner, 1..4).prop_map(|fields| record(&fields)),
        ]
    })
}

fn record(fields: &[(Json, Vec<Value>)]) -> (Json, Vec<Value>) {
    let values = (0..8).map(|at| {
        let fields = fields.iter().zip(0..);
        let named = fields.map(|((_, values), index)| (format!("f{index}"), values[at].clone()));
        Value::Record(named.collect())
    });
    let layouts = fields.iter().zip(0..).map(
        |((layout, _), index): (&(Json, Vec<Value>), i32)| {
            json!({"name": format!("f{index}"), "type": layout, "field-id": index})
        },
    );
    let layouts: Vec<Json> = layouts.collect();
    (
        json!({"type": "record", "name": "r", "fields": layouts}),
        values.collect(),
    )
}

/// Named types need names of their own.
fn rename(layout: &mut Json, next: &mut u32) {
    match layout {
        Json::Object(object) => {
            if let Some(name) = object.get_mut("name")
                && name == "r"
            {
                *name = json!(format!("r{next}"));
                *next += 1;
            }
            object.values_mut().for_each(|inner| rename(inner, next));
        }
        Json::Array(all) => all.iter_mut().for_each(|inner| rename(inner, next)),
        _ => {}
    }
}

fn codecs() -> [Codec; 4] {
    [
        Codec::Null,
        Codec::Deflate(DeflateSettings::default()),
        Codec::Snappy,
        Codec::Zstandard(ZstandardSettings::default()),
    ]
}

fn file(layout: &Json, values: &[Value], codec: Codec) -> Vec<u8> {
    let schema = Schema::parse(layout).unwrap();
    let mut writer = Writer::with_codec(&schema, Vec::new(), codec);
    for value in values {
        writer.append_value_ref(value).unwrap();
    }
    writer.into_inner().unwrap()
}

proptest! {
    #[test]
    fn everything_apache_avro_writes_is_stepped_over_exactly(
        fields in prop::collection::vec(typed(), 1..4),
        codec in 0..4usize,
    ) {
        let marked = (json!("long"), (100..108).map(Value::Long).collect());
        let mut all = fields;
        all.push(marked);
        let (mut layout, values) = record(&all);
        rename(&mut layout, &mut 0);
        let file = file(&layout, &values, codecs()[codec]);
        let container = Container::open(&file).unwrap();
        let last = all.len() as i32 - 1;
        // The last field is found only if everything before it is stepped over right.
        let projection = Projection::new(container.schema(), "r", &|field: &Field| {
            if field.id == Some(last) && field.layout == AvroType::Integer {
                Want::Take((), Layout::Integer)
            } else {
                Want::Nothing
            }
        })
        .unwrap();
        let mut seen = Vec::new();
        container
            .for_each(|cursor| {
                projection.read(cursor, |(), _, cursor| {
                    seen.push(cursor.varint()?);
                    Ok(())
                })
            })
            .unwrap();
        prop_assert_eq!(seen, (100..108).collect::<Vec<i64>>());
    }

    #[test]
    fn numbers_are_stepped_over_as_they_are_read(
        numbers in prop::collection::vec(
            prop_oneof![any::<i64>(), -200..200i64, -1..1i64], 0..60),
        count in 0..60usize,
        behind in prop::collection::vec(any::<u8>(), 0..12),
    ) {
        let count = count.min(numbers.len());
        let mut bytes = Vec::new();
        for number in &numbers {
            let mut zigzag = ((number << 1) ^ (number >> 63)) as u64;
            while zigzag >= 0x80 {
                bytes.push(zigzag as u8 | 0x80);
                zigzag >>= 7;
            }
            bytes.push(zigzag as u8);
        }
        bytes.extend(behind);
        let mut read = Cursor::new(&bytes);
        for number in &numbers[..count] {
            prop_assert_eq!(read.varint().unwrap(), *number);
        }
        let mut skipped = Cursor::new(&bytes);
        skipped.skip_varints(count as u64).unwrap();
        prop_assert_eq!(skipped.rest(), read.rest());
    }

    #[test]
    fn bytes_that_are_no_avro_are_refused(bytes in any::<Vec<u8>>()) {
        prop_assert!(Container::open(&bytes).is_err());
        let mut headed = b"Obj\x01".to_vec();
        headed.extend(&bytes);
        prop_assert!(Container::open(&headed).is_err());
    }
}

fn long_file(codec: Codec) -> Vec<u8> {
    let values: Vec<Value> = (0..500)
        .map(|number| Value::Record(vec![("n".to_owned(), Value::Long(number))]))
        .collect();
    let layout = json!({"type": "record", "name": "r", "fields": [{"name": "n", "type": "long"}]});
    file(&layout, &values, codec)
}

#[test]
fn a_file_cut_anywhere_is_refused_or_ends_with_a_block() {
    for codec in codecs() {
        let whole = long_file(codec);
        for length in 0..whole.len() {
            let Ok(container) = Container::open(&whole[..length]) else {
                continue;
            };
            let read = container.for_each(|cursor| cursor.varint().map(drop));
            // Without any block it is an empty file, which Avro can't tell from a cut one.
            let header_only = Container::open(&whole[..length])
                .unwrap()
                .for_each(|_| Err(AvroError::corrupt("not empty")))
                .is_ok();
            assert!(read.is_err() || header_only, "{length} of {}", whole.len());
        }
    }
}

#[test]
fn blocks_that_would_fill_the_memory_are_refused() {
    // Zeros, which every codec makes tiny.
    let zeros = Value::Record(vec![("b".to_owned(), Value::Bytes(vec![0; 5 << 20]))]);
    let layout = json!({"type": "record", "name": "r", "fields": [{"name": "b", "type": "bytes"}]});
    // Snappy can't do worse than twenty times.
    for codec in [codecs()[1], codecs()[3]] {
        let file = file(&layout, std::slice::from_ref(&zeros), codec);
        let container = Container::open(&file).unwrap();
        let error = container.for_each(|cursor| cursor.bytes().map(drop));
        let message = error.unwrap_err().to_string();
        assert!(
            message.contains("larger than") || message.contains("impossible"),
            "{message}"
        );
    }
}

#[test]
fn many_blocks_that_would_fill_the_memory_together_are_refused() {
    // Each fits, and all together are more than a hundred times the file.
    let layout = json!({"type": "record", "name": "r", "fields": [{"name": "b", "type": "bytes"}]});
    let value = Value::Record(vec![("b".to_owned(), Value::Bytes(vec![0; 512 << 10]))]);
    let schema = Schema::parse(&layout).unwrap();
    let codec = Codec::Zstandard(ZstandardSettings::default());
    let mut writer = Writer::with_codec(&schema, Vec::new(), codec);
    for _ in 0..64 {
        writer.append_value_ref(&value).unwrap();
        writer.flush().unwrap();
    }
    let many = writer.into_inner().unwrap();
    assert!((32 << 20) / many.len() > 100);
    let container = Container::open(&many).unwrap();
    let error = container.for_each(|cursor| cursor.bytes().map(drop));
    let message = error.unwrap_err().to_string();
    assert!(message.contains("larger than"), "{message}");
}

#[test]
fn schemas_that_explode_are_refused() {
    let mut layout = json!("long");
    for level in 0..40 {
        let name = format!("r{level}");
        layout = json!({"type": "record", "name": name, "fields": [
            {"name": "a", "type": layout},
            {"name": "b", "type": if level == 0 { json!("long") } else { json!(format!("r{}", level - 1)) }},
        ]});
    }
    // Deep only once the names are written out.
    let first = json!({"type": "record", "name": "c0", "fields": []});
    let chain = (1..400).map(|level| {
        json!({"type": "record", "name": format!("c{level}"), "fields": [
            {"name": "a", "type": format!("c{}", level - 1)}]})
    });
    let chain: Vec<Json> = std::iter::once(first).chain(chain).collect();
    for text in [
        layout.to_string(),
        Json::Array(chain).to_string(),
        "[".repeat(100) + "\"null\"" + &"]".repeat(100),
        r#"{"type": "record", "name": "r", "fields": [{"name": "a", "type": "r"}]}"#.to_owned(),
    ] {
        AvroType::parse(text.as_bytes()).unwrap_err();
    }
}

#[test]
fn arrays_of_nothing_cost_nothing() {
    let layout = AvroType::Array(Box::new(AvroType::Null));
    // 2^62 nulls, then the end of the array.
    let mut bytes = vec![0x80; 8];
    bytes.extend([0x80, 0x01, 0x00]);
    let mut cursor = Cursor::new(&bytes);
    Skip::of(&layout).run(&mut cursor).unwrap();
    assert!(cursor.is_empty());
}
