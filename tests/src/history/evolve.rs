//! Schemas and specs that change: the next one, made of the current one.

use std::sync::Arc;

use iceberg::spec::{
    FormatVersion, ListType, Literal, MapType, NestedField, NestedFieldRef, PrimitiveType, Schema,
    StructType, TableMetadata, Transform, Type, UnboundPartitionField, UnboundPartitionSpec,
};

use super::{
    setup::{ID, partition_fields},
    shape::is_anchor,
};

/// The schema with a column more, at the end of the table or of its first struct.
pub(super) fn with_column(
    metadata: &TableMetadata,
    kind: u8,
    inside: bool,
    name: Option<&str>,
) -> Option<Schema> {
    let mut fields = fields_of(metadata.current_schema());
    let id = metadata.last_column_id() + 1;
    let is_v3 = metadata.format_version() == FormatVersion::V3;
    let own_name = format!("c{id}");
    let added = new_field(id, name.unwrap_or(&own_name), kind, is_v3);
    if !inside {
        fields.push(added);
        return Some(built(fields));
    }
    let place = fields
        .iter()
        .position(|field| field.field_type.is_struct())?;
    let mut outer = fields[place].as_ref().clone();
    let Type::Struct(inner) = outer.field_type.as_ref() else {
        return None;
    };
    let mut inner = inner.fields().to_vec();
    inner.push(added);
    *outer.field_type = Type::Struct(StructType::new(inner));
    fields[place] = outer.into();
    Some(built(fields))
}

fn new_field(id: i32, name: &str, kind: u8, is_v3: bool) -> NestedFieldRef {
    use PrimitiveType as P;
    let decimal = P::Decimal {
        precision: 9,
        scale: 3,
    };
    let plain = |id, name: &str, kind| -> NestedFieldRef {
        NestedField::optional(id, name, Type::Primitive(kind)).into()
    };
    let defaulted = |kind: P, default: Literal| -> NestedFieldRef {
        NestedField::optional(id, name, Type::Primitive(kind))
            .with_initial_default(default.clone())
            .with_write_default(default)
            .into()
    };
    match kind % if is_v3 { 20 } else { 14 } {
        0 | 1 => plain(id, name, P::Int),
        2 => plain(id, name, P::Long),
        3 | 4 => plain(id, name, P::String),
        5 => plain(id, name, P::Date),
        6 => plain(id, name, P::Timestamptz),
        7 => plain(id, name, P::Boolean),
        8 => plain(id, name, P::Double),
        9 => plain(id, name, decimal),
        10 => plain(id, name, P::Binary),
        11 => {
            let inner = StructType::new(vec![
                plain(id + 1, "x", P::Int),
                plain(id + 2, "y", P::String),
            ]);
            NestedField::optional(id, name, Type::Struct(inner)).into()
        }
        12 => {
            let element = NestedField::list_element(id + 1, Type::Primitive(P::String), false);
            let list = ListType::new(element.into());
            NestedField::optional(id, name, Type::List(list)).into()
        }
        13 => plain(id, name, P::Fixed(3)),
        14 => plain(id, name, P::TimestampNs),
        15 => plain(id, name, P::TimestamptzNs),
        16 | 17 => defaulted(P::Int, Literal::int(7)),
        18 => defaulted(P::String, Literal::string("a")),
        _ => {
            let map = MapType::optional(
                id + 1,
                Type::Primitive(P::String),
                id + 2,
                Type::Primitive(P::Long),
            );
            NestedField::optional(id, name, Type::Map(map)).into()
        }
    }
}

/// The schema with another name for a column, at the top or in a struct.
pub(super) fn renamed(metadata: &TableMetadata, pick: u8) -> Schema {
    let mut count = 0;
    let total = walk(metadata.current_schema(), &mut |_| {}).len();
    let target = usize::from(pick) % total;
    let fields = walk(metadata.current_schema(), &mut |field| {
        if count == target {
            field.name = format!("r{}_{}", field.id, metadata.schemas_iter().count());
        }
        count += 1;
    });
    built(fields)
}

/// The schema with a wider type for one of the columns that can have one; `None` where there is none.
pub(super) fn promoted(metadata: &TableMetadata, pick: u8) -> Option<Schema> {
    let fields = metadata.current_schema().as_struct().fields().to_vec();
    let total = count_promotable(&fields);
    if total == 0 {
        return None;
    }
    let mut left = usize::from(pick) % total;
    let fields = fields
        .iter()
        .map(|field| promote_nth(field, &mut left))
        .collect();
    Some(built(fields))
}

fn wider(kind: &PrimitiveType) -> Option<PrimitiveType> {
    match kind {
        PrimitiveType::Int => Some(PrimitiveType::Long),
        PrimitiveType::Float => Some(PrimitiveType::Double),
        PrimitiveType::Decimal { precision, scale } if *precision < 20 => {
            Some(PrimitiveType::Decimal {
                precision: precision + 9,
                scale: *scale,
            })
        }
        _ => None,
    }
}

fn inner_fields(kind: &Type) -> Vec<NestedFieldRef> {
    match kind {
        Type::Struct(inner) => inner.fields().to_vec(),
        Type::List(list) => vec![Arc::clone(&list.element_field)],
        Type::Map(map) => vec![Arc::clone(&map.value_field)],
        _ => Vec::new(),
    }
}

fn count_promotable(fields: &[NestedFieldRef]) -> usize {
    fields
        .iter()
        .map(|field| match field.field_type.as_ref() {
            Type::Primitive(kind) => usize::from(wider(kind).is_some()),
            nested => count_promotable(&inner_fields(nested)),
        })
        .sum()
}

/// `left` counts down to the field whose turn it is, and stays at the maximum from then on.
fn promote_nth(field: &NestedFieldRef, left: &mut usize) -> NestedFieldRef {
    let mut field = field.as_ref().clone();
    let kind = match field.field_type.as_ref() {
        Type::Primitive(kind) => match wider(kind) {
            Some(wide) if *left == 0 => {
                *left = usize::MAX;
                field.initial_default = field.initial_default.as_ref().map(widened);
                field.write_default = field.write_default.as_ref().map(widened);
                Type::Primitive(wide)
            }
            Some(_) if *left < usize::MAX => {
                *left -= 1;
                Type::Primitive(kind.clone())
            }
            _ => Type::Primitive(kind.clone()),
        },
        Type::Struct(inner) => {
            let fields = inner.fields().iter();
            Type::Struct(StructType::new(
                fields.map(|field| promote_nth(field, left)).collect(),
            ))
        }
        Type::List(list) => Type::List(ListType::new(promote_nth(&list.element_field, left))),
        Type::Map(map) => Type::Map(MapType::new(
            Arc::clone(&map.key_field),
            promote_nth(&map.value_field, left),
        )),
    };
    *field.field_type = kind;
    field.into()
}

fn widened(default: &Literal) -> Literal {
    match default {
        Literal::Primitive(iceberg::spec::PrimitiveLiteral::Int(value)) => {
            Literal::long(i64::from(*value))
        }
        other => other.clone(),
    }
}

/// The schema without one of the columns that may go, and the name that is free now at the top; `None` where all must
/// stay.
pub(super) fn without_column(
    metadata: &TableMetadata,
    pick: u8,
) -> Option<(Schema, Option<String>)> {
    let sources: Vec<i32> = metadata
        .default_partition_spec()
        .fields()
        .iter()
        .map(|field| field.source_id)
        .collect();
    let fields = fields_of(metadata.current_schema());
    // Inside structs as well: each candidate is a way from the top.
    let mut candidates: Vec<(usize, Option<usize>)> = Vec::new();
    for (place, field) in fields.iter().enumerate() {
        if field.id != ID && !sources.contains(&field.id) {
            candidates.push((place, None));
        }
        if let Type::Struct(inner) = field.field_type.as_ref() {
            let inner = inner.fields().iter().enumerate();
            candidates.extend(
                inner
                    .filter(|(_, inner)| !is_anchor(field.id, inner.id))
                    .map(|(inside, _)| (place, Some(inside))),
            );
        }
    }
    let (place, inside) = *candidates.get(usize::from(pick) % candidates.len().max(1))?;
    let mut fields = fields;
    let name = match inside {
        None => Some(fields.remove(place).name.clone()),
        Some(inside) => {
            let mut outer = fields[place].as_ref().clone();
            let mut inner = inner_fields(&outer.field_type);
            inner.remove(inside);
            *outer.field_type = Type::Struct(StructType::new(inner));
            fields[place] = outer.into();
            None
        }
    };
    Some((built(fields), name))
}

/// The schema with its second column at the end.
pub(super) fn reordered(metadata: &TableMetadata) -> Option<Schema> {
    let mut fields = fields_of(metadata.current_schema());
    if fields.len() < 3 {
        return None;
    }
    let moved = fields.remove(1);
    fields.push(moved);
    Some(built(fields))
}

/// Another way to partition; `None` where a column for it is gone, or where version 1 can't express it.
pub(super) fn repartitioned(metadata: &TableMetadata, choice: u8) -> Option<UnboundPartitionSpec> {
    let wanted = partition_fields(choice);
    let schema = metadata.current_schema();
    if wanted
        .iter()
        .any(|(source, _, _)| schema.field_by_id(*source).is_none())
    {
        return None;
    }
    let known: Vec<_> = metadata
        .partition_specs_iter()
        .flat_map(|spec| spec.fields().to_vec())
        .collect();
    let same = |source: i32, transform: Transform| {
        let mut known = known.iter();
        known.find(|field| field.source_id == source && field.transform == transform)
    };
    if metadata.format_version() == FormatVersion::V1 {
        // Readers of version 1 count partition fields: a spec may only grow.
        let current = metadata.default_partition_spec().fields();
        let grows = current.len() <= wanted.len()
            && current
                .iter()
                .zip(&wanted)
                .all(|(field, (source, transform, _))| {
                    field.source_id == *source && field.transform == *transform
                });
        if !grows {
            return None;
        }
    }
    let fields = wanted
        .into_iter()
        .map(|(source_id, transform, name)| UnboundPartitionField {
            source_id,
            // The same field has the same id in all specs.
            field_id: same(source_id, transform).map(|field| field.field_id),
            name: name.to_owned(),
            transform,
        });
    let builder = UnboundPartitionSpec::builder().add_partition_fields(fields);
    Some(builder.unwrap().build())
}

fn fields_of(schema: &Schema) -> Vec<NestedFieldRef> {
    schema.as_struct().fields().to_vec()
}

/// Applies `change` to every field but `id`, at the top and in structs; returns the fields.
fn walk(schema: &Schema, change: &mut impl FnMut(&mut NestedField)) -> Vec<NestedFieldRef> {
    fn inside(field: &NestedFieldRef, change: &mut impl FnMut(&mut NestedField)) -> NestedFieldRef {
        let mut field = field.as_ref().clone();
        if field.id != ID {
            change(&mut field);
        }
        if let Type::Struct(inner) = field.field_type.as_ref() {
            let fields = inner.fields().iter();
            let fields = fields.map(|field| inside(field, change)).collect();
            *field.field_type = Type::Struct(StructType::new(fields));
        }
        field.into()
    }
    let fields = schema.as_struct().fields().iter();
    fields.map(|field| inside(field, change)).collect()
}

fn built(fields: Vec<NestedFieldRef>) -> Schema {
    Schema::builder().with_fields(fields).build().unwrap()
}
