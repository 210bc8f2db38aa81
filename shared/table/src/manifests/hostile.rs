//! Manifests that mean harm: small files that would fill the memory, or never end.

use std::io::Write as _;

use serde_json::{Value, json};

use super::{
    avro::{Cursor, Shape, put_bytes, put_long},
    container::Container,
};

/// An Avro file of one block, which says of itself what it likes.
fn file(codec: &str, schema: &Value, count: i64, block: &[u8]) -> Vec<u8> {
    let mut out = b"Obj\x01".to_vec();
    put_long(2, &mut out);
    put_bytes(b"avro.schema", &mut out);
    put_bytes(schema.to_string().as_bytes(), &mut out);
    put_bytes(b"avro.codec", &mut out);
    put_bytes(codec.as_bytes(), &mut out);
    put_long(0, &mut out);
    out.extend_from_slice(&[7; 16]);
    put_long(count, &mut out);
    put_bytes(block, &mut out);
    out.extend_from_slice(&[7; 16]);
    out
}

#[test]
fn blocks_that_would_fill_the_memory_are_refused() {
    let zeros = vec![0; 8 << 20];
    let mut deflate =
        flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    deflate.write_all(&zeros).unwrap();
    // A length that nothing stands behind. (Snappy can't do worse than twenty times.)
    let boastful = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0, 0];
    for (codec, block) in [
        ("deflate", deflate.finish().unwrap()),
        ("zstandard", zstd::encode_all(&zeros[..], 3).unwrap()),
        ("snappy", boastful.to_vec()),
    ] {
        let read = Container::read(&file(codec, &json!("long"), 1, &block));
        let error = read.map(drop).unwrap_err();
        assert!(
            error.0.contains("larger than") || error.0.contains("impossible"),
            "{codec}: {error}"
        );
    }
}

#[test]
fn many_blocks_that_would_fill_the_memory_together_are_refused() {
    // Each fits, and all together are more than a hundred times the file.
    let block = zstd::encode_all(&vec![0; 512 << 10][..], 3).unwrap();
    let mut many = file("zstandard", &json!("long"), 1, &block);
    let one = many.len();
    for _ in 0..64 {
        put_long(1, &mut many);
        put_bytes(&block, &mut many);
        many.extend_from_slice(&[7; 16]);
    }
    assert!((64 << 20) / (many.len() - one) > 100);
    let error = Container::read(&many).map(drop).unwrap_err();
    assert!(error.0.contains("larger than"), "{error}");
}

#[test]
fn schemas_that_explode_are_refused() {
    let mut doubling = json!("long");
    for level in 0..24 {
        let second = match level {
            0 => json!("long"),
            _ => json!(format!("r{}", level - 1)),
        };
        doubling = json!({"type": "record", "name": format!("r{level}"), "fields": [
            {"name": "a", "type": doubling},
            {"name": "b", "type": second},
        ]});
    }
    // Deep only once the names are written out.
    let chain = (1..400).map(|level| {
        json!({"type": "record", "name": format!("c{level}"), "fields": [
            {"name": "a", "type": format!("c{}", level - 1)}]})
    });
    let first = json!({"type": "record", "name": "c0", "fields": []});
    let chain: Vec<Value> = std::iter::once(first).chain(chain).collect();
    for schema in [doubling, Value::Array(chain)] {
        let error = Shape::parse(&schema).map(drop).unwrap_err();
        assert!(error.0.contains("too large or nested"), "{error}");
    }
    let itself = json!({"type": "record", "name": "r", "fields": [{"name": "a", "type": "r"}]});
    Shape::parse(&itself).unwrap_err();
}

#[test]
fn arrays_of_nothing_end() {
    // Blocks that each claim as many items of no bytes as the file has bytes: to count them takes an hour.
    let shape = Shape::parse(&json!({"type": "array", "items": "null"})).unwrap();
    let mut bytes = Vec::new();
    while bytes.len() < 2 << 20 {
        put_long(1 << 20, &mut bytes);
    }
    bytes.extend(vec![0x00; 2 << 20]);
    let mut cursor = Cursor::new(&bytes);
    cursor.skip(&shape).unwrap();
}
