//! Valid metadata that the `iceberg` crate (0.10.1) does not take in as it is.
//!
//! * Types that it does not know make it refuse the whole table, in words that say nothing of them.
//! * Columns of type unknown, which hold nothing but NULL and are in no file (specification, *Primitive Types*), are
//!   left out; the next metadata file has them again, since it takes its schemas from the last one as they are.
//! * Defaults that it can't read it drops without a word: files that lack the column would be read as NULL. `whole` has
//!   those that we can read.
//! * It looks for the columns of the default partition spec in the current schema, those of void fields too, which hold
//!   nothing and outlive their column: in version 1 a partition field can't be removed, only be made void. Such a field is
//!   bound to another column while the crate has it; the next metadata file has the spec as it was.

use iceberg::spec::TableMetadata;
use serde_json::Value;

use super::whole::LostDefaults;

/// Metadata that can't be used; the text is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is damaged, or of a version that nobody knew when this was written.
    Invalid(String),
    /// It is valid, and holds what we can't maintain: the table is left alone.
    Unsupported(String),
}

impl Unreadable {
    /// The text.
    pub(super) fn message(self) -> String {
        match self {
            Self::Invalid(message) | Self::Unsupported(message) => message,
        }
    }
}

/// Takes columns of type unknown out of all schemas. Those that a partition spec or sort order names stay, and those whose
/// struct would be left with nothing.
pub(super) fn leave_out_unknown(metadata: &mut Value) {
    let mut named = Vec::new();
    for key in ["partition-specs", "sort-orders"] {
        for list in metadata
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let fields = list.get("fields").and_then(Value::as_array);
            named.extend(
                fields
                    .into_iter()
                    .flatten()
                    .filter_map(|field| number(field, "source-id")),
            );
        }
    }
    let schemas = metadata.get_mut("schemas").and_then(Value::as_array_mut);
    for schema in schemas.into_iter().flatten() {
        without_unknown(schema, &named);
    }
}

fn without_unknown(kind: &mut Value, named: &[i32]) {
    let Some(object) = kind.as_object_mut() else {
        return;
    };
    if let Some(fields) = object.get_mut("fields").and_then(Value::as_array_mut) {
        let is_unknown = |field: &Value| {
            let id = number(field, "id");
            field.get("type").and_then(Value::as_str) == Some("unknown")
                && id.is_some_and(|id| !named.contains(&id))
        };
        if !fields.iter().all(is_unknown) {
            fields.retain(|field| !is_unknown(field));
        }
        for field in fields {
            if let Some(kind) = field.get_mut("type") {
                without_unknown(kind, named);
            }
        }
    }
    for key in ["element", "key", "value"] {
        if let Some(kind) = object.get_mut(key) {
            without_unknown(kind, named);
        }
    }
}

/// Binds void fields of the default partition spec whose column is gone to a column that is there.
pub(super) fn bind_void_fields(metadata: &mut Value) {
    let Some((present, any)) = current_columns(metadata) else {
        return;
    };
    let default = metadata.get("default-spec-id").and_then(Value::as_i64);
    let specs = metadata.get_mut("partition-specs");
    let specs = specs.and_then(Value::as_array_mut).into_iter().flatten();
    for spec in specs {
        if spec.get("spec-id").and_then(Value::as_i64) == default {
            bind_in(spec.get_mut("fields"), &present, any);
        }
    }
    bind_in(metadata.get_mut("partition-spec"), &present, any);
}

fn bind_in(fields: Option<&mut Value>, present: &[i32], any: i32) {
    let fields = fields.and_then(Value::as_array_mut).into_iter().flatten();
    for field in fields {
        let is_void = field.get("transform").and_then(Value::as_str) == Some("void");
        let is_gone = number(field, "source-id").is_some_and(|source| !present.contains(&source));
        if is_void && is_gone {
            field["source-id"] = Value::from(any);
        }
    }
}

/// The ids of the current schema's columns, at every level, and of one at the top, of a primitive type if there is any.
fn current_columns(metadata: &Value) -> Option<(Vec<i32>, i32)> {
    let current = number(metadata, "current-schema-id");
    let schemas = metadata.get("schemas").and_then(Value::as_array);
    let is_current = |schema: &&Value| current.is_some() && number(schema, "schema-id") == current;
    let listed = schemas.and_then(|schemas| schemas.iter().find(is_current));
    let schema = listed.or_else(|| metadata.get("schema"))?;
    let mut present = Vec::new();
    below(schema, 0, "", &mut |column| present.push(column.id));
    let fields = schema.get("fields").and_then(Value::as_array)?;
    let primitive = fields
        .iter()
        .find(|field| field.get("type").is_some_and(Value::is_string));
    let any = number(primitive.or_else(|| fields.first())?, "id")?;
    Some((present, any))
}

/// The first column of a type that the crate does not know.
pub(super) fn unknown_type(metadata: &Value) -> Option<Unreadable> {
    let mut found = None;
    for_each_column(metadata, &mut |column| {
        if found.is_none()
            && let Some(name) = column.kind.as_str()
            && !is_known(name)
        {
            found = Some(Unreadable::Unsupported(format!(
                "column '{}' is of type {name}, which can't be rewritten: the table is left alone",
                column.name
            )));
        }
    });
    found
}

/// The defaults that `parsed` has lost. Fails where there is an `initial-default` among them that can't be read here
/// either. (A `write-default` is for who adds rows.)
pub(super) fn lost_defaults(
    metadata: &Value,
    parsed: &TableMetadata,
) -> Result<LostDefaults, Unreadable> {
    let mut lost = LostDefaults::default();
    let mut unread = None;
    for_each_column(metadata, &mut |column| {
        let held = parsed
            .schema_by_id(column.schema_id)
            .and_then(|schema| schema.field_by_id(column.id));
        let held = held.map(|held| &**held);
        if let Some(said) = lost.note(column.schema_id, column.field, held)
            && unread.is_none()
        {
            unread = Some(Unreadable::Unsupported(format!(
                "column '{}' of type {} has the initial-default {said}, which can't be read: the table is left alone",
                column.name,
                column.kind.as_str().unwrap_or("struct, list or map"),
            )));
        }
    });
    unread.map_or(Ok(lost), Err)
}

fn is_known(name: &str) -> bool {
    const KNOWN: [&str; 14] = [
        "boolean",
        "int",
        "long",
        "float",
        "double",
        "date",
        "time",
        "timestamp",
        "timestamptz",
        "timestamp_ns",
        "timestamptz_ns",
        "string",
        "uuid",
        "binary",
    ];
    KNOWN.contains(&name) || name.starts_with("decimal") || name.starts_with("fixed")
}

/// A column at any depth, of any of the table's schemas.
struct Column<'a> {
    schema_id: i32,
    id: i32,
    /// With the names of what is above it, separated by dots.
    name: String,
    /// Its type: a name, or an object.
    kind: &'a Value,
    /// What holds its defaults, if it may have any.
    field: &'a Value,
}

fn for_each_column<'a>(metadata: &'a Value, see: &mut impl FnMut(&Column<'a>)) {
    let schemas = metadata.get("schemas").and_then(Value::as_array);
    let listed = schemas.into_iter().flatten();
    for schema in listed.chain(metadata.get("schema")) {
        let schema_id = number(schema, "schema-id").unwrap_or(0);
        below(schema, schema_id, "", see);
    }
}

fn below<'a>(kind: &'a Value, schema_id: i32, above: &str, see: &mut impl FnMut(&Column<'a>)) {
    let mut visit = |field: &'a Value, id: &str, name: &str, kind: &str| {
        let Some(kind) = field.get(kind) else {
            return;
        };
        let column = Column {
            schema_id,
            id: number(field, id).unwrap_or(-1),
            name: if above.is_empty() {
                name.to_owned()
            } else {
                format!("{above}.{name}")
            },
            kind,
            field,
        };
        see(&column);
        below(kind, schema_id, &column.name, see);
    };
    for field in kind
        .get("fields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let name = field.get("name").and_then(Value::as_str).unwrap_or("?");
        visit(field, "id", name, "type");
    }
    visit(kind, "element-id", "element", "element");
    visit(kind, "key-id", "key", "key");
    visit(kind, "value-id", "value", "value");
}

fn number(json: &Value, key: &str) -> Option<i32> {
    json.get(key)?.as_i64()?.try_into().ok()
}
