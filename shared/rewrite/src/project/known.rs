//! What a table knows of its columns, by which a file's own are told; and whether each column of a data file is one
//! that the table knows.
//!
//! A value that no column claims is gone after a rewrite. So each column of a data file must be one of the table's, one
//! that the table had and dropped, or one that its name mapping lists without an id on purpose. Everything else is
//! refused, with column and file named.

use std::collections::{HashMap, HashSet};

use iceberg::spec::{
    MappedField, NameMapping, NestedFieldRef, Schema, StructType, TableMetadata, Type,
};
use icepress_table::reserved_ids::{
    DELETE_FILE_PATH, DELETE_FILE_PATH_NAME, DELETE_POSITION, DELETE_POSITION_NAME, is_reserved,
};

use super::column::FileColumn;
use crate::failure::{Result, unsupported};

/// The table property that holds the name mapping.
pub(super) const NAME_MAPPING: &str = "schema.name-mapping.default";

/// The columns that a table has and had.
#[derive(Debug)]
pub(crate) struct KnownColumns {
    /// Names for columns that carry no field id.
    pub(super) mapping: Option<NameMapping>,
    current: StructType,
    /// Ids in any schema.
    ids: HashSet<i32>,
    /// The greatest id that was ever given to a column.
    last_id: i32,
    /// Each name that a column at the top has had, by id.
    names: HashMap<i32, HashSet<String>>,
}

impl KnownColumns {
    /// What `metadata` tells of its columns, for files that are read under `schema`.
    pub(crate) fn of(metadata: &TableMetadata, schema: &Schema) -> Result<Self> {
        let mut ids = HashSet::new();
        let mut names: HashMap<i32, HashSet<String>> = HashMap::new();
        for known in metadata.schemas_iter().map(AsRef::as_ref).chain([schema]) {
            ids.extend(known.field_id_to_name_map().keys());
            for field in known.as_struct().fields() {
                names
                    .entry(field.id)
                    .or_default()
                    .insert(field.name.clone());
            }
        }
        Ok(Self {
            mapping: name_mapping(metadata)?,
            current: schema.as_struct().clone(),
            ids,
            last_id: metadata.last_column_id(),
            names,
        })
    }

    /// Position delete files of writers that gave their columns no ids still have the specification's names.
    pub(crate) fn of_position_deletes() -> Self {
        let named = |id, name: &str| MappedField::new(Some(id), vec![name.to_owned()], Vec::new());
        Self {
            mapping: Some(NameMapping::new(vec![
                named(DELETE_FILE_PATH, DELETE_FILE_PATH_NAME),
                named(DELETE_POSITION, DELETE_POSITION_NAME),
            ])),
            current: StructType::new(Vec::new()),
            ids: HashSet::new(),
            last_id: 0,
            names: HashMap::new(),
        }
    }

    /// Whether the table has, or had, a column of this id. Schemas that no snapshot uses may have been removed from the
    /// metadata, so that an id up to the greatest one given out counts without its schema.
    pub(super) fn knows(&self, id: i32) -> bool {
        (1..=self.last_id).contains(&id) || self.ids.contains(&id) || is_reserved(id)
    }

    /// The other column that a name at the top means, where it never was the name of column `id`.
    pub(super) fn means_another(&self, id: i32, name: &str) -> Option<i32> {
        let has_name = |id: &i32| self.names.get(id).is_some_and(|names| names.contains(name));
        if has_name(&id) {
            return None;
        }
        self.names.keys().copied().filter(has_name).min()
    }

    /// Fails where a column of a data file, at any depth, is none of the table's and never was.
    pub(super) fn explain(&self, path: &str, columns: &[FileColumn]) -> Result<()> {
        self.explain_among(path, "", columns, self.current.fields())
    }

    fn explain_among(
        &self,
        path: &str,
        parent: &str,
        columns: &[FileColumn],
        fields: &[NestedFieldRef],
    ) -> Result<()> {
        let mut claimed: HashMap<i32, &str> = HashMap::new();
        for column in columns {
            let name = format!("{parent}{}", column.name);
            let Some(id) = column.id else {
                if column.is_ignored {
                    continue;
                }
                return Err(self.nameless(path, &name));
            };
            let Some(field) = fields.iter().find(|field| field.id == id) else {
                self.explain_dropped(path, &name, id)?;
                continue;
            };
            if let Some(other) = claimed.insert(id, &column.name) {
                return Err(unsupported(format!(
                    "{path} has two columns, '{parent}{other}' and '{name}', that both are column '{}' of the table by \
                     field id or name mapping ({id}): which of them holds its values can't be told",
                    field.name
                )));
            }
            self.explain_below(path, &name, column, &field.field_type)?;
        }
        Ok(())
    }

    /// Elements, keys and values need no id: they can't be anything else. What is in them does.
    fn explain_below(
        &self,
        path: &str,
        name: &str,
        column: &FileColumn,
        field_type: &Type,
    ) -> Result<()> {
        let inner =
            |index: usize, part: &str, field: &NestedFieldRef| match column.children.get(index) {
                Some(child) => {
                    self.explain_below(path, &format!("{name}.{part}"), child, &field.field_type)
                }
                None => Ok(()),
            };
        match field_type {
            Type::Struct(fields) => {
                self.explain_among(path, &format!("{name}."), &column.children, fields.fields())
            }
            Type::List(list) => inner(0, "element", &list.element_field),
            Type::Map(map) => {
                inner(0, "key", &map.key_field)?;
                inner(1, "value", &map.value_field)
            }
            Type::Primitive(_) => Ok(()),
        }
    }

    fn explain_dropped(&self, path: &str, name: &str, id: i32) -> Result<()> {
        if self.has_now(id) {
            return Err(unsupported(format!(
                "{path} has column '{name}' with field id {id}, which lies elsewhere in the table: its values would be lost"
            )));
        }
        if self.knows(id) {
            return Ok(());
        }
        Err(unsupported(format!(
            "{path} has column '{name}' with field id {id}, and the table never had a column of that id: its values would \
             be lost; write the file anew with the table's field ids, or mend the name mapping ({NAME_MAPPING}) where that \
             gives the id"
        )))
    }

    fn has_now(&self, id: i32) -> bool {
        fn among(fields: &[NestedFieldRef], id: i32) -> bool {
            fields
                .iter()
                .any(|field| field.id == id || below(&field.field_type, id))
        }
        fn below(field_type: &Type, id: i32) -> bool {
            match field_type {
                Type::Primitive(_) => false,
                Type::Struct(fields) => among(fields.fields(), id),
                Type::List(list) => among(std::slice::from_ref(&list.element_field), id),
                Type::Map(map) => {
                    among(std::slice::from_ref(&map.key_field), id)
                        || among(std::slice::from_ref(&map.value_field), id)
                }
            }
        }
        among(self.current.fields(), id)
    }

    fn nameless(&self, path: &str, name: &str) -> icepress_model::RewriteFailure {
        let advice = if self.mapping.is_some() {
            format!(
                "the table's name mapping ({NAME_MAPPING}) does not list it: add it there, with the field id of its column, \
                 or without one if it is to be left out"
            )
        } else {
            format!(
                "the table has no name mapping that tells which column it is: set the table property {NAME_MAPPING}"
            )
        };
        unsupported(format!(
            "{path} has column '{name}' without a field id, and {advice}"
        ))
    }
}

fn name_mapping(metadata: &TableMetadata) -> Result<Option<NameMapping>> {
    metadata
        .properties()
        .get(NAME_MAPPING)
        .map(|json| {
            serde_json::from_str(json).map_err(|error| {
                unsupported(format!(
                    "the table property {NAME_MAPPING} is no name mapping: {error}"
                ))
            })
        })
        .transpose()
}
