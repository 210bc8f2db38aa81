//! The writer's schema in an Avro file's header, reduced to how values are laid out.

use std::collections::HashMap;

use serde_json::Value;

use super::AvroError;

/// How deep types may nest. Iceberg's manifests nest five deep.
const MAX_DEPTH: usize = 48;
/// How many types a schema may have once its named types are written out: far more than a manifest of a table with
/// thousands of partition fields, and too few to hurt.
const MAX_NODES: usize = 100_000;

/// How a value is laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AvroType {
    Null,
    Boolean,
    /// `int` or `long`: both are read alike.
    Integer,
    /// Either, with an annotation that says that it counts thousandths of a second: Iceberg counts millionths.
    Millis,
    /// A symbol, by its number.
    Enum(Vec<String>),
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    Array(Box<AvroType>),
    Map(Box<AvroType>),
    Union(Vec<AvroType>),
    Record(Vec<Field>),
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    /// Iceberg's field id, where the writer put one.
    pub(crate) id: Option<i32>,
    pub(crate) layout: AvroType,
}

impl AvroType {
    /// Reads the text in a file's header.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, AvroError> {
        let json: Value = serde_json::from_slice(text)
            .map_err(|error| AvroError::corrupt(format!("its Avro schema is no JSON: {error}")))?;
        Self::parse_json(&json)
    }

    /// Reads a schema.
    pub(crate) fn parse_json(json: &Value) -> Result<Self, AvroError> {
        let mut parser = Parser {
            named: HashMap::new(),
            nodes: 0,
        };
        Ok(parser.parse(json, 0)?.layout)
    }

    /// The fields of a record, also of one that may be null.
    pub(crate) fn fields(&self) -> Option<&[Field]> {
        match self.optional()?.1 {
            Self::Record(fields) => Some(fields),
            _ => None,
        }
    }

    /// [`Self::fields`], to be changed.
    pub(crate) fn fields_mut(&mut self) -> Option<&mut Vec<Field>> {
        match self {
            Self::Record(fields) => Some(fields),
            Self::Union(branches) => branches.iter_mut().find_map(|branch| match branch {
                Self::Record(fields) => Some(fields),
                _ => None,
            }),
            _ => None,
        }
    }

    /// What it is, for people.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Boolean => "a boolean".to_owned(),
            Self::Integer => "a number".to_owned(),
            Self::Millis => "a time in milliseconds".to_owned(),
            Self::Enum(_) => "an enum".to_owned(),
            Self::Float | Self::Double => "a floating-point number".to_owned(),
            Self::Bytes => "bytes".to_owned(),
            Self::String => "a string".to_owned(),
            Self::Fixed(size) => format!("{size} bytes"),
            Self::Array(items) => format!("an array of {}", items.describe()),
            Self::Map(values) => format!("a map of {}", values.describe()),
            Self::Record(_) => "a record".to_owned(),
            Self::Union(branches) => {
                let branches: Vec<String> = branches.iter().map(Self::describe).collect();
                match branches.is_empty() {
                    true => "nothing".to_owned(),
                    false => branches.join(" or "),
                }
            }
        }
    }

    /// For a union of null and one other type: the branch that is null, and the other type. A type that is no union
    /// is itself, never null.
    pub(crate) fn optional(&self) -> Option<(Option<i64>, &AvroType)> {
        match self {
            Self::Union(branches) => match branches.as_slice() {
                [Self::Null, other] => Some((Some(0), other)),
                [other, Self::Null] => Some((Some(1), other)),
                [only] => Some((Some(-1), only)),
                _ => None,
            },
            other => Some((None, other)),
        }
    }
}

/// A type with what it costs to write it out again.
#[derive(Clone)]
struct Parsed {
    layout: AvroType,
    height: usize,
    nodes: usize,
}

struct Parser {
    named: HashMap<String, Parsed>,
    nodes: usize,
}

impl Parser {
    fn parse(&mut self, json: &Value, depth: usize) -> Result<Parsed, AvroError> {
        if depth > MAX_DEPTH {
            return Err(too_large());
        }
        let nodes_before = self.nodes;
        self.nodes += 1;
        let (layout, height) = match json {
            Value::String(name) => match primitive(name) {
                Some(layout) => (layout, 1),
                None => {
                    let known = self.known(name)?;
                    self.nodes += known.nodes;
                    (known.layout, known.height)
                }
            },
            Value::Array(branches) => {
                let mut height = 0;
                let mut layouts = Vec::new();
                for branch in branches {
                    let parsed = self.parse(branch, depth + 1)?;
                    height = height.max(parsed.height);
                    layouts.push(parsed.layout);
                }
                (AvroType::Union(layouts), height + 1)
            }
            Value::Object(_) => self.parse_object(json, depth)?,
            other => return Err(AvroError::corrupt(format!("{other} as an Avro type"))),
        };
        if self.nodes > MAX_NODES || depth + height > MAX_DEPTH {
            return Err(too_large());
        }
        Ok(Parsed {
            layout,
            height,
            nodes: self.nodes - nodes_before,
        })
    }

    fn parse_object(&mut self, json: &Value, depth: usize) -> Result<(AvroType, usize), AvroError> {
        let nodes_before = self.nodes;
        let inner = |parser: &mut Self, key: &str| match json.get(key) {
            Some(inner) => parser.parse(inner, depth + 1),
            None => Err(AvroError::corrupt(format!("an Avro type without {key}"))),
        };
        let (layout, height) = match json.get("type").and_then(Value::as_str) {
            Some("array") => {
                let items = inner(self, "items")?;
                (AvroType::Array(Box::new(items.layout)), items.height + 1)
            }
            Some("map") => {
                let values = inner(self, "values")?;
                (AvroType::Map(Box::new(values.layout)), values.height + 1)
            }
            Some("enum") => {
                let symbols = json.get("symbols").and_then(Value::as_array);
                let symbols = symbols
                    .into_iter()
                    .flatten()
                    .filter_map(|symbol| symbol.as_str().map(str::to_owned));
                (AvroType::Enum(symbols.collect()), 1)
            }
            Some("fixed") => {
                let size = json.get("size").and_then(Value::as_u64);
                let size = size
                    .and_then(|size| usize::try_from(size).ok())
                    .ok_or_else(|| AvroError::corrupt("an Avro fixed without a size"))?;
                (AvroType::Fixed(size), 1)
            }
            Some("record" | "error") => self.parse_record(json, depth)?,
            // `{"type": "long", "logicalType": …}`, or `{"type": {…}}`.
            _ => {
                let parsed = inner(self, "type")?;
                let logical = json.get("logicalType").and_then(Value::as_str);
                match (parsed.layout, logical) {
                    (
                        AvroType::Integer,
                        Some("time-millis" | "timestamp-millis" | "local-timestamp-millis"),
                    ) => (AvroType::Millis, parsed.height),
                    (layout, _) => (layout, parsed.height),
                }
            }
        };
        if let Some(name) = json.get("name").and_then(Value::as_str) {
            let parsed = Parsed {
                layout: layout.clone(),
                height,
                nodes: self.nodes - nodes_before,
            };
            self.nodes += parsed.nodes;
            if let Some(space) = json.get("namespace").and_then(Value::as_str) {
                self.named.insert(format!("{space}.{name}"), parsed.clone());
            } else if name != short_name(name) {
                self.named.insert(name.to_owned(), parsed.clone());
            }
            self.named.insert(short_name(name).to_owned(), parsed);
        }
        Ok((layout, height))
    }

    fn parse_record(&mut self, json: &Value, depth: usize) -> Result<(AvroType, usize), AvroError> {
        let fields = json
            .get("fields")
            .and_then(Value::as_array)
            .ok_or_else(|| AvroError::corrupt("an Avro record without fields"))?;
        let mut height = 0;
        let mut parsed_fields = Vec::with_capacity(fields.len());
        for field in fields {
            let name = field.get("name").and_then(Value::as_str);
            let (Some(name), Some(inner)) = (name, field.get("type")) else {
                return Err(AvroError::corrupt("an Avro field without name or type"));
            };
            let id = field.get("field-id").and_then(|id| match id {
                Value::String(text) => text.parse().ok(),
                other => other.as_i64().and_then(|id| i32::try_from(id).ok()),
            });
            let parsed = self.parse(inner, depth + 1)?;
            height = height.max(parsed.height);
            parsed_fields.push(Field {
                name: name.to_owned(),
                id,
                layout: parsed.layout,
            });
        }
        Ok((AvroType::Record(parsed_fields), height + 1))
    }

    fn known(&self, name: &str) -> Result<Parsed, AvroError> {
        let known = self.named.get(name);
        let known = known.or_else(|| self.named.get(short_name(name)));
        known.cloned().ok_or_else(|| {
            // A type that is used inside itself is not known yet either.
            AvroError::corrupt(format!("its Avro schema uses {name} before it is complete"))
        })
    }
}

/// Iceberg's named types differ in their last part already (`r2`, `r102`, `fixed_16`).
fn short_name(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn too_large() -> AvroError {
    AvroError::corrupt("its Avro schema is too large or nested too deep")
}

fn primitive(name: &str) -> Option<AvroType> {
    Some(match name {
        "null" => AvroType::Null,
        "boolean" => AvroType::Boolean,
        "int" | "long" => AvroType::Integer,
        "float" => AvroType::Float,
        "double" => AvroType::Double,
        "bytes" => AvroType::Bytes,
        "string" => AvroType::String,
        _ => return None,
    })
}
