//! Which metrics a table wants of which column: `write.metadata.metrics.*`, as Iceberg's `MetricsConfig` reads them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use iceberg::spec::{NestedFieldRef, Schema, TableMetadata, Type};

/// What is recorded of a column in manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsMode {
    /// Nothing.
    None,
    /// Counts of values, NULLs and NaNs.
    Counts,
    /// Counts, and bounds cut to so many code points or bytes.
    Truncate(usize),
    /// Counts and whole bounds.
    Full,
}

const DEFAULT: MetricsMode = MetricsMode::Truncate(16);
const MOST_INFERRED: usize = 100;

impl MetricsMode {
    /// Reads `none`, `counts`, `full` or `truncate(N)`.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        match text.as_str() {
            "none" => Some(Self::None),
            "counts" => Some(Self::Counts),
            "full" => Some(Self::Full),
            _ => {
                let length = text.strip_prefix("truncate(")?.strip_suffix(')')?;
                let length = length.trim().parse().ok()?;
                (length > 0).then_some(Self::Truncate(length))
            }
        }
    }
}

/// The mode of each column, by field id.
#[derive(Debug)]
pub struct MetricsModes {
    by_id: HashMap<i32, MetricsMode>,
    default: MetricsMode,
}

impl MetricsModes {
    /// The modes of a table for columns of `schema`. What can't be read falls back to the default, as in Java.
    pub fn of(metadata: &TableMetadata, schema: &Schema) -> Self {
        let properties = metadata.properties();
        let mut by_id = HashMap::new();
        let configured = properties.get("write.metadata.metrics.default");
        let default = match configured {
            Some(text) => MetricsMode::parse(text).unwrap_or(DEFAULT),
            None => {
                let most = properties
                    .get("write.metadata.metrics.max-inferred-column-defaults")
                    .and_then(|most| most.trim().parse().ok())
                    .unwrap_or(MOST_INFERRED);
                let inferred = first_leaves(schema.as_struct().fields(), most);
                match inferred {
                    None => DEFAULT,
                    Some(ids) => {
                        by_id.extend(ids.into_iter().map(|id| (id, DEFAULT)));
                        MetricsMode::None
                    }
                }
            }
        };
        let sorted = metadata.default_sort_order();
        for field in &sorted.fields {
            let mode = match by_id.get(&field.source_id).copied().unwrap_or(default) {
                MetricsMode::None | MetricsMode::Counts => DEFAULT,
                wider => wider,
            };
            by_id.insert(field.source_id, mode);
        }
        for (key, text) in properties {
            if let Some(column) = key.strip_prefix("write.metadata.metrics.column.")
                && let Some(id) = schema.field_id_by_name(column)
            {
                by_id.insert(id, MetricsMode::parse(text).unwrap_or(default));
            }
        }
        Self { by_id, default }
    }

    /// Whole bounds for every column.
    pub fn full() -> Self {
        Self {
            by_id: HashMap::new(),
            default: MetricsMode::Full,
        }
    }

    /// The mode of a column.
    pub fn of_column(&self, id: i32) -> MetricsMode {
        self.by_id.get(&id).copied().unwrap_or(self.default)
    }
}

/// The first `most` leaves where there are more: those of a level before those below it. `None` where all fit.
fn first_leaves(fields: &[NestedFieldRef], most: usize) -> Option<HashSet<i32>> {
    let mut ids = HashSet::new();
    let mut level: Vec<NestedFieldRef> = fields.to_vec();
    while !level.is_empty() {
        let mut below = Vec::new();
        for field in level {
            match field.field_type.as_ref() {
                Type::Primitive(_) if ids.len() == most => return Some(ids),
                Type::Primitive(_) => {
                    ids.insert(field.id);
                }
                Type::Struct(children) => below.extend(children.fields().iter().cloned()),
                Type::List(list) => below.push(Arc::clone(&list.element_field)),
                Type::Map(map) => {
                    below.extend([Arc::clone(&map.key_field), Arc::clone(&map.value_field)])
                }
            }
        }
        level = below;
    }
    None
}

#[cfg(test)]
mod tests;
