//! Just enough Avro to take manifests apart and put them together again.
//!
//! Fields are found by their Iceberg field ids, never by name (writers sanitise names differently), and whatever we
//! don't need to understand is copied as the bytes that it was. So bounds, partition values and metrics of files that
//! only move from one manifest to another stay letter for letter what their writer wrote, whatever became of the
//! table's schema since. Reading is safe on damaged input: it ends in an error, never in a panic or a huge allocation.

use std::collections::HashMap;

use serde_json::Value;
use thiserror::Error;

/// What is wrong with an Avro file.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct AvroError(pub(crate) String);

pub(crate) type Result<T> = std::result::Result<T, AvroError>;

pub(crate) fn broken<T>(message: impl Into<String>) -> Result<T> {
    Err(AvroError(message.into()))
}

/// The annotations that change what bytes mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logical {
    Decimal,
    Uuid,
}

/// An Avro schema, reduced to what its bytes look like, and to field ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes(Option<Logical>),
    String(Option<Logical>),
    Fixed(usize, Option<Logical>),
    Enum,
    Array(Box<Shape>),
    Map(Box<Shape>),
    Union(Vec<Shape>),
    Record(Vec<Field>),
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its Iceberg field id.
    pub(crate) id: Option<i32>,
    pub(crate) shape: Shape,
}

impl Shape {
    /// Reads a schema's JSON.
    pub(crate) fn parse(json: &Value) -> Result<Self> {
        let mut parser = Parser {
            named: HashMap::new(),
            nodes: 0,
        };
        Ok(parser.parse(json, 0)?.shape)
    }

    fn primitive(name: &str, logical: Option<Logical>) -> Option<Self> {
        Some(match name {
            "null" => Shape::Null,
            "boolean" => Shape::Boolean,
            "int" => Shape::Int,
            "long" => Shape::Long,
            "float" => Shape::Float,
            "double" => Shape::Double,
            "bytes" => Shape::Bytes(logical),
            "string" => Shape::String(logical),
            _ => return None,
        })
    }

    /// Whether bytes of this shape can stand where `other` is expected. Avro's int and long share one encoding, and so
    /// do bytes and string; names and ids don't show in the bytes.
    fn reads_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Shape::Int, Shape::Long)
            | (Shape::Bytes(_) | Shape::String(_), Shape::Bytes(_) | Shape::String(_)) => true,
            (Shape::Fixed(a, _), Shape::Fixed(b, _)) => a == b,
            (Shape::Array(a), Shape::Array(b)) | (Shape::Map(a), Shape::Map(b)) => a.reads_as(b),
            (Shape::Union(a), Shape::Union(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.reads_as(b))
            }
            (Shape::Record(a), Shape::Record(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.shape.reads_as(&b.shape))
            }
            _ => self == other,
        }
    }

    /// The fields, looking through a union with null.
    pub(crate) fn fields(&self) -> Result<&[Field]> {
        match self {
            Shape::Record(fields) => Ok(fields),
            Shape::Union(branches) => match branches.iter().find(|b| **b != Shape::Null) {
                Some(Shape::Record(fields)) => Ok(fields),
                _ => broken("its Avro schema has no record where one is due"),
            },
            _ => broken("its Avro schema has no record where one is due"),
        }
    }

    /// The field with this id, and its place.
    pub(crate) fn field(&self, id: i32) -> Result<Option<&Field>> {
        Ok(self.fields()?.iter().find(|field| field.id == Some(id)))
    }
}

/// How deep types may nest, those behind names included. Iceberg's manifests nest five deep.
const MAX_DEPTH: usize = 48;
/// How many types a schema may have once its named types are written out: a named type that holds another twice, and so
/// on, would fill any memory.
const MAX_NODES: usize = 100_000;

/// A type with what it costs to write it out again.
#[derive(Clone)]
struct Parsed {
    shape: Shape,
    height: usize,
    nodes: usize,
}

struct Parser {
    named: HashMap<String, Parsed>,
    nodes: usize,
}

impl Parser {
    fn parse(&mut self, json: &Value, depth: usize) -> Result<Parsed> {
        if depth > MAX_DEPTH {
            return broken("its Avro schema is nested too deeply");
        }
        let nodes_before = self.nodes;
        self.nodes += 1;
        let (shape, height) = match json {
            Value::String(name) => self.by_name(name, None)?,
            Value::Array(branches) => {
                let mut height = 0;
                let mut shapes = Vec::with_capacity(branches.len());
                for branch in branches {
                    let parsed = self.parse(branch, depth + 1)?;
                    height = height.max(parsed.height);
                    shapes.push(parsed.shape);
                }
                (Shape::Union(shapes), height + 1)
            }
            Value::Object(_) => self.object(json, depth)?,
            _ => return broken("its Avro schema is no schema"),
        };
        if self.nodes > MAX_NODES || depth + height > MAX_DEPTH {
            return broken("its Avro schema is too large or nested too deeply");
        }
        let parsed = Parsed {
            shape,
            height,
            nodes: self.nodes - nodes_before,
        };
        if let Some(name) = json.get("name").and_then(Value::as_str) {
            if let Some(space) = json.get("namespace").and_then(Value::as_str) {
                self.named.insert(format!("{space}.{name}"), parsed.clone());
            }
            self.named.insert(name.to_owned(), parsed.clone());
        }
        Ok(parsed)
    }

    fn by_name(&mut self, name: &str, logical: Option<Logical>) -> Result<(Shape, usize)> {
        if let Some(shape) = Shape::primitive(name, logical) {
            return Ok((shape, 1));
        }
        let Some(known) = self.named.get(name) else {
            return broken(format!("its Avro schema has an unknown type '{name}'"));
        };
        self.nodes += known.nodes;
        // Not even once is it copied where that is too much.
        if self.nodes > MAX_NODES {
            return broken("its Avro schema is too large or nested too deeply");
        }
        Ok((known.shape.clone(), known.height))
    }

    fn object(&mut self, json: &Value, depth: usize) -> Result<(Shape, usize)> {
        let logical = match json.get("logicalType").and_then(Value::as_str) {
            Some("decimal") => Some(Logical::Decimal),
            Some("uuid") => Some(Logical::Uuid),
            _ => None,
        };
        let Some(kind) = json.get("type") else {
            return broken("its Avro schema has an object without a type");
        };
        let Value::String(kind) = kind else {
            let parsed = self.parse(kind, depth + 1)?;
            return Ok((parsed.shape, parsed.height));
        };
        let inner = |parser: &mut Self, key: &str| match json.get(key) {
            Some(inner) => parser.parse(inner, depth + 1),
            None => broken(format!("its Avro schema has a {kind} without {key}")),
        };
        Ok(match kind.as_str() {
            "array" => {
                let items = inner(self, "items")?;
                (Shape::Array(Box::new(items.shape)), items.height + 1)
            }
            "map" => {
                let values = inner(self, "values")?;
                (Shape::Map(Box::new(values.shape)), values.height + 1)
            }
            "enum" => (Shape::Enum, 1),
            "fixed" => {
                let size = json.get("size").and_then(Value::as_u64);
                match size.and_then(|size| usize::try_from(size).ok()) {
                    Some(size) => (Shape::Fixed(size, logical), 1),
                    None => return broken("its Avro schema has a fixed without size"),
                }
            }
            "record" => self.record(json, depth)?,
            name => self.by_name(name, logical)?,
        })
    }

    fn record(&mut self, json: &Value, depth: usize) -> Result<(Shape, usize)> {
        let Some(fields) = json.get("fields").and_then(Value::as_array) else {
            return broken("its Avro schema has a record without fields");
        };
        let mut height = 0;
        let mut parsed = Vec::with_capacity(fields.len());
        for field in fields {
            let id = field.get("field-id").and_then(Value::as_i64);
            let Some(inner) = field.get("type") else {
                return broken("its Avro schema has a field without a type");
            };
            let inner = self.parse(inner, depth + 1)?;
            height = height.max(inner.height);
            parsed.push(Field {
                id: id.and_then(|id| i32::try_from(id).ok()),
                shape: inner.shape,
            });
        }
        Ok((Shape::Record(parsed), height + 1))
    }
}

/// One value without structure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar<'a> {
    Null,
    Boolean(bool),
    Int(i64),
    Float(f64),
    Bytes(&'a [u8]),
}

/// A place in encoded bytes.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => broken("it ends in the middle of a value"),
        }
    }

    pub(crate) fn long(&mut self) -> Result<i64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        broken("it holds a number that is too long")
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.long()?;
        match usize::try_from(length) {
            Ok(length) => self.take(length),
            Err(_) => broken("it holds a negative length"),
        }
    }

    /// The branch of a union that is taken here.
    fn branch<'s>(&mut self, branches: &'s [Shape]) -> Result<&'s Shape> {
        let index = self.long()?;
        usize::try_from(index)
            .ok()
            .and_then(|index| branches.get(index))
            .ok_or_else(|| AvroError(format!("it takes branch {index} of a union without it")))
    }

    /// How many items the next block of an array or map has; `None` at the end.
    pub(super) fn block(&mut self) -> Result<Option<u64>> {
        let mut count = self.long()?;
        if count == 0 {
            return Ok(None);
        }
        if count < 0 {
            self.long()?;
            count = count.saturating_neg();
        }
        // Every item that manifests have takes a byte at least: a greater count is damage, not data.
        if count > self.rest.len() as i64 {
            return broken("it counts more items than it has bytes");
        }
        Ok(Some(count as u64))
    }

    pub(crate) fn skip(&mut self, shape: &Shape) -> Result<()> {
        match shape {
            Shape::Null => {}
            Shape::Boolean => drop(self.take(1)?),
            Shape::Int | Shape::Long | Shape::Enum => drop(self.long()?),
            Shape::Float => drop(self.take(4)?),
            Shape::Double => drop(self.take(8)?),
            Shape::Bytes(_) | Shape::String(_) => drop(self.bytes()?),
            Shape::Fixed(size, _) => drop(self.take(*size)?),
            Shape::Array(items) => {
                while let Some(count) = self.block()? {
                    let before = self.rest.len();
                    for _ in 0..count {
                        self.skip(items)?;
                        // Items that take no bytes could be claimed in any number.
                        if self.rest.len() == before {
                            break;
                        }
                    }
                }
            }
            Shape::Map(values) => {
                while let Some(count) = self.block()? {
                    for _ in 0..count {
                        self.bytes()?;
                        self.skip(values)?;
                    }
                }
            }
            Shape::Union(branches) => {
                let branch = self.branch(branches)?;
                self.skip(branch)?;
            }
            Shape::Record(fields) => {
                for field in fields {
                    self.skip(&field.shape)?;
                }
            }
        }
        Ok(())
    }

    /// Passes over a value and returns its bytes.
    pub(crate) fn slice(&mut self, shape: &Shape) -> Result<&'a [u8]> {
        let from = self.rest;
        self.skip(shape)?;
        Ok(&from[..from.len() - self.rest.len()])
    }

    /// Visits the fields of a record (or of the record in a union with null, of which null has none), each with its
    /// bytes.
    pub(crate) fn record(
        &mut self,
        shape: &Shape,
        mut visit: impl FnMut(&Field, &'a [u8]) -> Result<()>,
    ) -> Result<()> {
        let shape = match shape {
            Shape::Union(branches) => self.branch(branches)?,
            shape => shape,
        };
        if *shape == Shape::Null {
            return Ok(());
        }
        for field in shape.fields()? {
            let bytes = self.slice(&field.shape)?;
            visit(field, bytes)?;
        }
        Ok(())
    }

    /// Visits the items of an array, looking through a union with null; `false` where there is none.
    pub(crate) fn items(
        &mut self,
        shape: &Shape,
        mut visit: impl FnMut(&Shape, &'a [u8]) -> Result<()>,
    ) -> Result<bool> {
        let shape = match shape {
            Shape::Union(branches) => self.branch(branches)?,
            shape => shape,
        };
        match shape {
            Shape::Null => Ok(false),
            Shape::Array(items) => {
                while let Some(count) = self.block()? {
                    for _ in 0..count {
                        let bytes = self.slice(items)?;
                        visit(items, bytes)?;
                    }
                }
                Ok(true)
            }
            _ => broken("its Avro schema has no array where one is due"),
        }
    }

    pub(crate) fn scalar(&mut self, shape: &Shape) -> Result<Scalar<'a>> {
        Ok(match shape {
            Shape::Null => Scalar::Null,
            Shape::Boolean => Scalar::Boolean(self.take(1)?[0] != 0),
            Shape::Int | Shape::Long => Scalar::Int(self.long()?),
            Shape::Float => {
                let mut bytes = [0; 4];
                bytes.copy_from_slice(self.take(4)?);
                Scalar::Float(f64::from(f32::from_le_bytes(bytes)))
            }
            Shape::Double => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(self.take(8)?);
                Scalar::Float(f64::from_le_bytes(bytes))
            }
            Shape::Bytes(_) | Shape::String(_) => Scalar::Bytes(self.bytes()?),
            Shape::Fixed(size, _) => Scalar::Bytes(self.take(*size)?),
            Shape::Union(branches) => {
                let branch = self.branch(branches)?;
                self.scalar(branch)?
            }
            _ => return broken("its Avro schema has a structure where a plain value is due"),
        })
    }
}

/// The bytes of a value of shape `from`, as a reader of shape `to` wants them.
pub(crate) fn transcode(bytes: &[u8], from: &Shape, to: &Shape, out: &mut Vec<u8>) -> Result<()> {
    if from.reads_as(to) {
        out.extend_from_slice(bytes);
        return Ok(());
    }
    if let Shape::Union(branches) = from {
        let mut cursor = Cursor::new(bytes);
        let branch = cursor.branch(branches)?;
        return transcode(cursor.rest, branch, to, out);
    }
    if let Shape::Union(branches) = to
        && let Some(index) = branches.iter().position(|branch| from.reads_as(branch))
    {
        put_long(index as i64, out);
        out.extend_from_slice(bytes);
        return Ok(());
    }
    broken("a value has another type than the specification gives it")
}

/// Writes a number.
pub(crate) fn put_long(value: i64, out: &mut Vec<u8>) {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

/// Writes bytes or a string.
pub(crate) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}
