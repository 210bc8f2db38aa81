//! A table's metadata with what the `iceberg` crate (0.10.1) can't hold: default values that are moments.
//!
//! Nanosecond timestamps it writes and can't read, and says nothing: rows of files that lack such a column would turn NULL.
//! Timestamps with a time zone it reads, and panics when it writes a fraction of a second before 1970. So these defaults are
//! kept from it: they are read and written here, and the schemas that have any are made once more, with them.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Deref,
    sync::Arc,
};

use iceberg::spec::{
    FormatVersion, ListType, Literal, MAIN_BRANCH, MapType, NestedField, NestedFieldRef,
    PrimitiveLiteral, PrimitiveType, Schema, SchemaRef, SnapshotReference, SnapshotRetention,
    StructType, TableMetadata, Type,
};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::Value;

use super::refs::{self, OldRefs};

/// A table's metadata. Everything is the crate's, save for the schemas: those are asked for here.
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata {
    parsed: TableMetadata,
    /// Schemas that the crate has without their defaults, by id.
    completed: HashMap<i32, SchemaRef>,
    /// The manifests of snapshots that have no manifest list, by the snapshots' ids.
    named_manifests: HashMap<i64, Vec<String>>,
    /// The branches and tags of version 1.
    old_refs: OldRefs,
    is_thin: bool,
}

impl Metadata {
    /// Whether summaries of old snapshots lack what nobody asks for: the metadata file alone has it.
    pub fn is_thin(&self) -> bool {
        self.is_thin
    }

    pub(super) fn thin(self, is_thin: bool) -> Self {
        Self { is_thin, ..self }
    }

    /// All branches and tags, by name; the main branch among them wherever there is a current snapshot. The error, in words
    /// for people, is that some can't be read: then nobody knows what they keep.
    pub fn refs(&self) -> Result<BTreeMap<String, SnapshotReference>, String> {
        let mut refs = match self.parsed.format_version() {
            FormatVersion::V1 => self.old_refs.clone()?,
            FormatVersion::V2 | FormatVersion::V3 => refs::of_metadata(&self.parsed)?,
        };
        if let Some(current) = self.parsed.current_snapshot_id() {
            let main =
                || SnapshotReference::new(current, SnapshotRetention::branch(None, None, None));
            refs.entry(MAIN_BRANCH.to_owned()).or_insert_with(main);
        }
        Ok(refs)
    }

    /// The same with the branches and tags that its file, of version 1, has.
    pub(super) fn with_old_refs(self, old_refs: OldRefs) -> Self {
        Self { old_refs, ..self }
    }

    /// The manifests of a snapshot that the metadata file names itself, as files of version 1 may (until 2019 writers did);
    /// `None` where it has a manifest list. The crate takes such a snapshot's list to be the empty text.
    pub fn named_manifests(&self, snapshot_id: i64) -> Option<&[String]> {
        self.named_manifests.get(&snapshot_id).map(Vec::as_slice)
    }

    /// The same with the manifests of snapshots that have no manifest list.
    pub(super) fn with_named_manifests(self, named_manifests: HashMap<i64, Vec<String>>) -> Self {
        Self {
            named_manifests,
            ..self
        }
    }

    /// The schema with an id.
    pub fn schema_by_id(&self, id: i32) -> Option<&SchemaRef> {
        let completed = self.completed.get(&id);
        completed.or_else(|| self.parsed.schema_by_id(id))
    }

    /// The current schema.
    pub fn current_schema(&self) -> &SchemaRef {
        let completed = self.completed.get(&self.parsed.current_schema_id());
        completed.unwrap_or_else(|| self.parsed.current_schema())
    }

    /// All schemas, in no order.
    pub fn schemas_iter(&self) -> impl Iterator<Item = &SchemaRef> {
        self.parsed.schemas_iter().map(|schema| {
            let completed = self.completed.get(&schema.schema_id());
            completed.unwrap_or(schema)
        })
    }

    /// `parsed` with defaults that it lost. Fails, in words for people, where that makes no schema.
    pub(super) fn with_defaults(
        parsed: TableMetadata,
        lost: &LostDefaults,
    ) -> Result<Self, String> {
        let mut completed = HashMap::new();
        for (schema_id, defaults) in &lost.0 {
            if let Some(schema) = parsed.schema_by_id(*schema_id) {
                let completing = |field: &mut NestedField| {
                    if let Some(found) = defaults.get(&field.id) {
                        field.initial_default =
                            found.initial.clone().or(field.initial_default.take());
                        field.write_default = found.write.clone().or(field.write_default.take());
                    }
                };
                let schema = changed_schema(schema, &completing).map_err(|error| {
                    format!("its schema {schema_id} can't have its defaults: {error}")
                })?;
                completed.insert(*schema_id, Arc::new(schema));
            }
        }
        Ok(Self {
            completed,
            ..Self::from(parsed)
        })
    }
}

impl From<TableMetadata> for Metadata {
    /// Metadata that was not read, and so has lost nothing.
    fn from(parsed: TableMetadata) -> Self {
        Self {
            parsed,
            completed: HashMap::new(),
            named_manifests: HashMap::new(),
            old_refs: Ok(BTreeMap::new()),
            is_thin: false,
        }
    }
}

impl Deref for Metadata {
    type Target = TableMetadata;

    fn deref(&self) -> &TableMetadata {
        &self.parsed
    }
}

/// The defaults of one column.
#[derive(Debug, Clone, Default, PartialEq)]
struct Defaults {
    initial: Option<Literal>,
    write: Option<Literal>,
}

/// Defaults that the crate did not take in, by the ids of schema and column.
#[derive(Debug, Default)]
pub(super) struct LostDefaults(HashMap<i32, HashMap<i32, Defaults>>);

impl LostDefaults {
    /// Notes those of a column of this type that `held`, the column as the crate has it, lacks. Returns the
    /// `initial-default` where there is one that can't be read here either.
    pub(super) fn note<'a>(
        &mut self,
        schema_id: i32,
        field: &'a Value,
        held: Option<&NestedField>,
    ) -> Option<&'a Value> {
        let said = |key: &str| field.get(key).filter(|value| !value.is_null());
        let kind = held.map(|held| &*held.field_type);
        let initial = said("initial-default")
            .filter(|_| held.is_none_or(|held| held.initial_default.is_none()));
        let write =
            said("write-default").filter(|_| held.is_none_or(|held| held.write_default.is_none()));
        let defaults = Defaults {
            initial: initial.and_then(|value| moment(value, kind?)),
            write: write.and_then(|value| moment(value, kind?)),
        };
        let unread = initial.filter(|_| defaults.initial.is_none());
        if let Some(held) = held
            && defaults != Defaults::default()
        {
            let columns = self.0.entry(schema_id).or_default();
            columns.insert(held.id, defaults);
        }
        unread
    }
}

/// A moment as the specification's single-value JSON has it, in the unit of its type; `None` where it is none.
fn moment(value: &Value, kind: &Type) -> Option<Literal> {
    let text = value.as_str()?;
    let Type::Primitive(kind) = kind else {
        return None;
    };
    let ticks = match kind {
        PrimitiveType::Timestamptz => text.parse::<Timestamp>().ok()?.as_microsecond(),
        PrimitiveType::TimestampNs => {
            let local: DateTime = text.parse().ok()?;
            let time = TimeZone::UTC.to_timestamp(local).ok()?;
            i64::try_from(time.as_nanosecond()).ok()?
        }
        PrimitiveType::TimestamptzNs => {
            let time: Timestamp = text.parse().ok()?;
            i64::try_from(time.as_nanosecond()).ok()?
        }
        _ => return None,
    };
    Some(Literal::long(ticks))
}

/// The JSON of a default that is a moment; `None` where the column's type is no such type.
fn moment_json(default: &Literal, kind: &Type) -> Option<Value> {
    let (Literal::Primitive(PrimitiveLiteral::Long(ticks)), Type::Primitive(kind)) =
        (default, kind)
    else {
        return None;
    };
    let (time, zone) = match kind {
        PrimitiveType::Timestamptz => (Timestamp::from_microsecond(*ticks).ok()?, "+00:00"),
        PrimitiveType::TimestampNs => (Timestamp::from_nanosecond((*ticks).into()).ok()?, ""),
        PrimitiveType::TimestamptzNs => {
            (Timestamp::from_nanosecond((*ticks).into()).ok()?, "+00:00")
        }
        _ => return None,
    };
    Some(Value::from(format!(
        "{}{zone}",
        TimeZone::UTC.to_datetime(time)
    )))
}

/// Whether any column of any schema has a default that is a moment.
pub(super) fn holds_moments(metadata: &TableMetadata) -> bool {
    let mut schemas = metadata.schemas_iter();
    schemas.any(|schema| {
        let mut ids = schema.field_id_to_name_map().keys();
        ids.any(|id| {
            schema.field_by_id(*id).is_some_and(|field| {
                let defaults = [&field.initial_default, &field.write_default];
                let mut defaults = defaults.into_iter().flatten();
                defaults.any(|default| moment_json(default, &field.field_type).is_some())
            })
        })
    })
}

/// Takes the defaults that are moments out of all schemas. Says whether there were any.
pub(super) fn take_out_moments(metadata: &mut Value) -> bool {
    let schemas = metadata.get_mut("schemas").and_then(Value::as_array_mut);
    let mut found = false;
    for schema in schemas.into_iter().flatten() {
        for_each_field(schema, &mut |field| {
            let kind = field.get("type").and_then(Value::as_str);
            if matches!(
                kind,
                Some("timestamptz" | "timestamp_ns" | "timestamptz_ns")
            ) {
                found |= field.remove("initial-default").is_some();
                found |= field.remove("write-default").is_some();
            }
        });
    }
    found
}

/// The fields of structs, at every depth.
fn for_each_field(kind: &mut Value, see: &mut impl FnMut(&mut serde_json::Map<String, Value>)) {
    let Some(object) = kind.as_object_mut() else {
        return;
    };
    let fields = object.get_mut("fields").and_then(Value::as_array_mut);
    for field in fields.into_iter().flatten() {
        if let Some(field) = field.as_object_mut() {
            see(field);
            if let Some(kind) = field.get_mut("type") {
                for_each_field(kind, see);
            }
        }
    }
    for key in ["element", "key", "value"] {
        if let Some(kind) = object.get_mut(key) {
            for_each_field(kind, see);
        }
    }
}

/// A schema as JSON, as it stands in metadata, in a manifest's header, and in a data file's footer.
pub fn schema_to_json(schema: &Schema) -> serde_json::Result<Value> {
    let mut moments = HashMap::new();
    for id in schema.field_id_to_name_map().keys() {
        let Some(field) = schema.field_by_id(*id) else {
            continue;
        };
        let json = |default: &Option<Literal>| moment_json(default.as_ref()?, &field.field_type);
        let (initial, write) = (json(&field.initial_default), json(&field.write_default));
        if initial.is_some() || write.is_some() {
            moments.insert(i64::from(*id), (initial, write));
        }
    }
    if moments.is_empty() {
        return serde_json::to_value(schema);
    }
    let bare = changed_schema(schema, &|field| {
        if moments.contains_key(&i64::from(field.id)) {
            field.initial_default = None;
            field.write_default = None;
        }
    });
    let mut json = serde_json::to_value(bare.map_err(serde::ser::Error::custom)?)?;
    for_each_field(&mut json, &mut |field| {
        let id = field.get("id").and_then(Value::as_i64);
        if let Some((initial, write)) = id.and_then(|id| moments.remove(&id)) {
            let initial = initial.map(|json| ("initial-default".to_owned(), json));
            let write = write.map(|json| ("write-default".to_owned(), json));
            field.extend(initial.into_iter().chain(write));
        }
    });
    Ok(json)
}

/// The schema with something changed in its fields, at every depth.
fn changed_schema(schema: &Schema, change: &dyn Fn(&mut NestedField)) -> iceberg::Result<Schema> {
    Schema::builder()
        .with_schema_id(schema.schema_id())
        .with_identifier_field_ids(schema.identifier_field_ids())
        .with_fields(changed_fields(schema.as_struct(), change))
        .build()
}

fn changed_fields(fields: &StructType, change: &dyn Fn(&mut NestedField)) -> Vec<NestedFieldRef> {
    let fields = fields.fields().iter();
    fields.map(|field| changed(field, change)).collect()
}

fn changed(field: &NestedFieldRef, change: &dyn Fn(&mut NestedField)) -> NestedFieldRef {
    let mut field = NestedField::clone(field);
    change(&mut field);
    let kind = match field.field_type.as_ref() {
        Type::Struct(fields) => Type::Struct(StructType::new(changed_fields(fields, change))),
        Type::List(list) => Type::List(ListType::new(changed(&list.element_field, change))),
        Type::Map(map) => Type::Map(MapType::new(
            changed(&map.key_field, change),
            changed(&map.value_field, change),
        )),
        Type::Primitive(_) => return Arc::new(field),
    };
    field.field_type = Box::new(kind);
    Arc::new(field)
}
