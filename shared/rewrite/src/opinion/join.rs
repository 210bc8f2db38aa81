//! Which column of the table a leaf of a file is, by what the file says: the ids in its Parquet schema; where it has none,
//! its columns' names under the table's name mapping, or their positions.

use std::collections::{BTreeMap, HashSet};

use iceberg::spec::{
    Literal, NestedField, NestedFieldRef, PrimitiveType, Schema, StructType, TableMetadata,
    Transform, Type,
};
use icepress_table::reserved_ids::is_reserved;
use parquet::{basic::Repetition, schema::types::Type as ParquetType};
use serde::Deserialize;

use super::canon::{Conversion, Kind, Value, conversion, kind_of, of_literal};
use crate::failure::{Result, unsupported};

/// A leaf column of the table.
#[derive(Debug)]
struct Leaf {
    name: String,
    column: PrimitiveType,
    is_at_the_top: bool,
    default: Option<Literal>,
}

/// The columns of the table's schema, and what else files may be joined by.
#[derive(Debug)]
pub(super) struct TableColumns {
    fields: StructType,
    leaves: BTreeMap<i32, Leaf>,
    /// Ids of all levels of the schema.
    current: HashSet<i32>,
    /// Sources of identity transforms, in any spec.
    identities: HashSet<i32>,
    last_id: i32,
    names: Option<Vec<Named>>,
}

/// An entry of the name mapping.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Named {
    field_id: Option<i32>,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    fields: Vec<Named>,
}

/// A leaf of a file that is a column of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joined {
    /// The column's field id.
    pub(super) id: i32,
    /// The leaf's place among the file's.
    pub(super) leaf: usize,
    /// Whether it lies in no list and no map, so that a row has one value at most.
    pub(super) is_flat: bool,
    pub(super) conversion: Conversion,
}

/// The leaves of a file.
#[derive(Debug, Default)]
pub(super) struct FileLeaves {
    pub(super) joined: Vec<Joined>,
    /// Columns that are none of the table's and never were, each as the end of a sentence about the file.
    pub(super) unexplained: Vec<String>,
    count: usize,
}

impl TableColumns {
    pub(super) fn of(metadata: &TableMetadata, schema: &Schema) -> Result<Self> {
        let names = metadata
            .properties()
            .get("schema.name-mapping.default")
            .map(|json| serde_json::from_str(json))
            .transpose()
            .map_err(|error| unsupported(format!("the table's name mapping is none: {error}")))?;
        let mut columns = Self {
            fields: schema.as_struct().clone(),
            leaves: BTreeMap::new(),
            current: HashSet::new(),
            identities: metadata
                .partition_specs_iter()
                .flat_map(|spec| spec.fields())
                .filter(|field| field.transform == Transform::Identity)
                .map(|field| field.source_id)
                .collect(),
            last_id: metadata.last_column_id(),
            names,
        };
        for field in schema.as_struct().fields() {
            columns.note(field, "", true);
        }
        Ok(columns)
    }

    fn note(&mut self, field: &NestedField, parent: &str, is_at_the_top: bool) {
        let name = format!("{parent}{}", field.name);
        self.current.insert(field.id);
        let below = format!("{name}.");
        match field.field_type.as_ref() {
            Type::Primitive(column) => {
                let leaf = Leaf {
                    name,
                    column: column.clone(),
                    is_at_the_top,
                    default: field.initial_default.clone(),
                };
                self.leaves.insert(field.id, leaf);
            }
            Type::Struct(fields) => {
                for field in fields.fields() {
                    self.note(field, &below, false);
                }
            }
            Type::List(list) => self.note(&list.element_field, &below, false),
            Type::Map(map) => {
                self.note(&map.key_field, &below, false);
                self.note(&map.value_field, &below, false);
            }
        }
    }

    /// Ids of the leaf columns that can be compared. Inside structs, how often a value stands in for one that a file lacks
    /// can't be told from that file's leaves: such columns are left out.
    pub(super) fn comparable(&self) -> impl Iterator<Item = i32> + '_ {
        let is_told = |(id, leaf): &(&i32, &Leaf)| {
            leaf.is_at_the_top || (leaf.default.is_none() && !self.identities.contains(id))
        };
        self.leaves.iter().filter(is_told).map(|(id, _)| *id)
    }

    /// Ids of the primitive columns at the top.
    pub(super) fn at_the_top(&self) -> impl Iterator<Item = i32> + '_ {
        let mut leaves = self.leaves.iter();
        std::iter::from_fn(move || {
            leaves
                .find(|(_, leaf)| leaf.is_at_the_top)
                .map(|(id, _)| *id)
        })
    }

    pub(super) fn kind(&self, id: i32) -> Option<Kind> {
        self.leaves.get(&id).map(|leaf| kind_of(&leaf.column))
    }

    /// A column as people know it.
    pub(super) fn described(&self, id: i32) -> String {
        match self.leaves.get(&id) {
            Some(leaf) => format!("column '{}' (field id {id})", leaf.name),
            None => format!("the column with field id {id}"),
        }
    }

    /// The value of a column at the top in the rows of a file that lacks it: its partition's (`partition`: the value and
    /// its type, where the spec has the column as it is), else its default.
    pub(super) fn stand_in(
        &self,
        id: i32,
        partition: Option<&(Option<Literal>, PrimitiveType)>,
    ) -> Option<Value> {
        let leaf = self.leaves.get(&id).filter(|leaf| leaf.is_at_the_top)?;
        match partition {
            Some((value, held)) => of_literal(value.as_ref()?, held, &leaf.column),
            None => of_literal(leaf.default.as_ref()?, &leaf.column, &leaf.column),
        }
    }

    /// The leaves of a file with the schema `root`.
    pub(super) fn join(&self, root: &ParquetType) -> FileLeaves {
        let mut found = FileLeaves::default();
        let by_position = self.names.is_none() && !has_ids(root);
        let level = Level {
            parent: "",
            fields: self.fields.fields(),
            names: self.names.as_deref().unwrap_or_default(),
            by_position,
            is_flat: true,
        };
        self.join_fields(root.get_fields(), &level, &mut found);
        found
    }

    fn join_fields(
        &self,
        nodes: &[std::sync::Arc<ParquetType>],
        level: &Level<'_>,
        found: &mut FileLeaves,
    ) {
        for (position, node) in (1..).zip(nodes) {
            let name = format!("{}{}", level.parent, node.name());
            let own = own_id(node);
            let named = level.names.iter().find(|named| match own {
                Some(id) => named.field_id == Some(id),
                None => named.names.iter().any(|known| known == node.name()),
            });
            let id = match (own, named) {
                (Some(id), _) => Some(id),
                (None, Some(named)) if named.field_id.is_none() => {
                    found.skip(node);
                    continue;
                }
                (None, Some(named)) => named.field_id,
                (None, None) => level.by_position.then_some(position),
            };
            let field = id.and_then(|id| level.fields.iter().find(|field| field.id == id));
            match (id, field) {
                (_, Some(field)) => {
                    let below = named.map_or(&[][..], |named| &named.fields);
                    let place = (name.as_str(), level.is_flat, below);
                    self.join_value(node, field, place, found);
                }
                (Some(id), None) if self.was_dropped(id) => found.skip(node),
                (Some(id), None) => found.unexplained(node, format!(
                    "has column '{name}' with field id {id}, and the table has none of that id there"
                )),
                (None, None) => found.unexplained(node, format!(
                    "has column '{name}', and neither field id nor name mapping says which column of the table it is"
                )),
            }
        }
    }

    fn join_value(
        &self,
        node: &ParquetType,
        field: &NestedFieldRef,
        (name, is_flat, names): (&str, bool, &[Named]),
        found: &mut FileLeaves,
    ) {
        let below = |part: &str| {
            names
                .iter()
                .find(|named| named.names.iter().any(|it| it == part))
        };
        let names_below = |part: &str| below(part).map_or(&[][..], |named| &named.fields);
        match field.field_type.as_ref() {
            Type::Primitive(column) if node.is_primitive() => match conversion(node, column) {
                Some(conversion) => {
                    let leaf = found.count;
                    found.count += 1;
                    found.joined.push(Joined {
                        id: field.id,
                        leaf,
                        is_flat,
                        conversion,
                    });
                }
                None => {
                    let what = format!("holds column '{name}' in a way that is no {column}");
                    found.unexplained(node, what);
                }
            },
            Type::Struct(fields) if node.is_group() => {
                let parent = format!("{name}.");
                let level = Level {
                    parent: &parent,
                    fields: fields.fields(),
                    names,
                    by_position: false,
                    is_flat,
                };
                self.join_fields(node.get_fields(), &level, found);
            }
            Type::List(list) => match element_of(node) {
                Some(element) => {
                    let name = format!("{name}.element");
                    let place = (name.as_str(), false, names_below("element"));
                    self.join_value(element, &list.element_field, place, found);
                }
                None => found.unexplained(node, format!("has column '{name}', which is no list")),
            },
            Type::Map(map) => match entry_of(node) {
                Some((key, value)) => {
                    for (node, field, part) in [
                        (key, &map.key_field, "key"),
                        (value, &map.value_field, "value"),
                    ] {
                        let name = format!("{name}.{part}");
                        let place = (name.as_str(), false, names_below(part));
                        self.join_value(node, field, place, found);
                    }
                }
                None => found.unexplained(node, format!("has column '{name}', which is no map")),
            },
            other => found.unexplained(node, format!("has column '{name}', which is no {other}")),
        }
    }

    fn was_dropped(&self, id: i32) -> bool {
        is_reserved(id) || ((1..=self.last_id).contains(&id) && !self.current.contains(&id))
    }
}

struct Level<'a> {
    parent: &'a str,
    fields: &'a [NestedFieldRef],
    names: &'a [Named],
    by_position: bool,
    is_flat: bool,
}

impl FileLeaves {
    fn skip(&mut self, node: &ParquetType) {
        if node.is_primitive() {
            self.count += 1;
            return;
        }
        for below in node.get_fields() {
            self.skip(below);
        }
    }

    fn unexplained(&mut self, node: &ParquetType, what: String) {
        self.unexplained.push(what);
        self.skip(node);
    }
}

fn own_id(node: &ParquetType) -> Option<i32> {
    let info = node.get_basic_info();
    info.has_id().then(|| info.id())
}

fn has_ids(node: &ParquetType) -> bool {
    let is_below = |below: &std::sync::Arc<ParquetType>| own_id(below).is_some() || has_ids(below);
    node.is_group() && node.get_fields().iter().any(is_below)
}

fn is_repeated(node: &ParquetType) -> bool {
    let info = node.get_basic_info();
    info.has_repetition() && info.repetition() == Repetition::REPEATED
}

/// The element of a list, in each of the ways that lists were ever written (Parquet's *Lists*, with the rules for
/// compatibility).
fn element_of(list: &ParquetType) -> Option<&ParquetType> {
    if is_repeated(list) {
        return Some(list);
    }
    let [repeated] = list.is_group().then(|| list.get_fields())? else {
        return None;
    };
    if repeated.is_primitive() {
        return Some(repeated);
    }
    let is_element =
        repeated.name() == "array" || repeated.name() == format!("{}_tuple", list.name());
    match repeated.get_fields() {
        [element] if !is_element => Some(element),
        _ => Some(repeated),
    }
}

fn entry_of(map: &ParquetType) -> Option<(&ParquetType, &ParquetType)> {
    let [entries] = map.is_group().then(|| map.get_fields())? else {
        return None;
    };
    match entries.is_group().then(|| entries.get_fields())? {
        [key, value] => Some((key, value)),
        _ => None,
    }
}
