//! Avro by hand: values as JSON, in whatever layout, so that each dialect is one change to a schema.

use serde_json::Value;

use crate::avro::{put_bytes, put_long};

/// A file of one block, uncompressed.
pub(super) fn file(schema: &Value, header: &[(&str, &str)], values: &[Value]) -> Vec<u8> {
    let mut out = b"Obj\x01".to_vec();
    put_long(header.len() as i64 + 1, &mut out);
    put_bytes(b"avro.schema", &mut out);
    put_bytes(schema.to_string().as_bytes(), &mut out);
    for (key, value) in header {
        put_bytes(key.as_bytes(), &mut out);
        put_bytes(value.as_bytes(), &mut out);
    }
    put_long(0, &mut out);
    out.extend_from_slice(&[7; 16]);
    if !values.is_empty() {
        let mut block = Vec::new();
        values
            .iter()
            .for_each(|value| put(schema, value, &mut block));
        put_long(values.len() as i64, &mut out);
        put_bytes(&block, &mut out);
        out.extend_from_slice(&[7; 16]);
    }
    out
}

/// Encodes a value. Arrays have their size in front, which few writers do and all readers must stand.
pub(super) fn put(schema: &Value, value: &Value, out: &mut Vec<u8>) {
    if let Some(branches) = schema.as_array() {
        let is_null = |branch: &Value| *branch == "null" || branch["type"] == "null";
        let mut nulls = branches.iter().map(is_null);
        let index = nulls.position(|is_null| is_null == value.is_null());
        let index = index.unwrap_or_else(|| panic!("{value} for {schema}"));
        put_long(index as i64, out);
        return put(&branches[index], value, out);
    }
    let kind = schema.as_str().or_else(|| schema["type"].as_str());
    let text = || match value.as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => value
            .as_array()
            .unwrap_or_else(|| panic!("{value} for {schema}"))
            .iter()
            .map(|byte| byte.as_u64().unwrap() as u8)
            .collect(),
    };
    match kind {
        Some("null") => {}
        Some("boolean") => out.push(u8::from(value.as_bool().unwrap())),
        Some("int" | "long" | "enum") => put_long(
            value
                .as_i64()
                .unwrap_or_else(|| panic!("{value} for {schema}")),
            out,
        ),
        Some("float") => out.extend((value.as_f64().unwrap() as f32).to_le_bytes()),
        Some("double") => out.extend(value.as_f64().unwrap().to_le_bytes()),
        Some("bytes" | "string") => put_bytes(&text(), out),
        Some("fixed") => out.extend(text()),
        Some("array") => {
            let items = value.as_array().unwrap();
            let mut block = Vec::new();
            items
                .iter()
                .for_each(|item| put(&schema["items"], item, &mut block));
            if !items.is_empty() {
                put_long(-(items.len() as i64), out);
                put_bytes(&block, out);
            }
            put_long(0, out);
        }
        Some("record") => {
            for field in schema["fields"].as_array().unwrap() {
                let name = field["name"].as_str().unwrap();
                put(&field["type"], &value[name], out);
            }
        }
        // {"type": {…}}, which some writers wrap everything in.
        _ => put(&schema["type"], value, out),
    }
}
