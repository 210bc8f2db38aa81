//! A finished file as the entry that a manifest gets: counts, sizes, bounds, split offsets.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use arrow_array::{
    Array, ArrayRef,
    cast::AsArray,
    types::{Float32Type, Float64Type},
};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, NestedFieldRef, PrimitiveType,
    Schema, Struct, Type,
};
use parquet::{
    file::metadata::ColumnChunkMetaData,
    schema::types::{ColumnDescPtr, SchemaDescriptor},
};

use icepress_table::{MetricsMode, MetricsModes, footer::split_offsets};

use super::{bounds::Bounds, encoder::Encoded};
use crate::failure::{Result, unsupported};

/// How many NaNs each floating-point column holds, lists and maps left out.
#[derive(Debug, Clone)]
pub(crate) struct NanCounts {
    columns: Arc<Vec<(i32, Vec<usize>)>>,
    counts: Vec<u64>,
}

impl NanCounts {
    /// None so far, for columns of `fields`.
    pub(crate) fn new(fields: &[NestedFieldRef]) -> Self {
        let mut columns = Vec::new();
        floats(fields, &mut Vec::new(), &mut columns);
        Self {
            counts: vec![0; columns.len()],
            columns: Arc::new(columns),
        }
    }

    /// Begins again.
    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
    }

    /// Counts in a batch.
    pub(crate) fn add(&mut self, columns: &[ArrayRef]) {
        for ((_, path), count) in self.columns.iter().zip(&mut self.counts) {
            let Some((first, below)) = path.split_first() else {
                continue;
            };
            let mut array = &columns[*first];
            let mut valid = array.nulls().cloned();
            for index in below {
                array = array.as_struct().column(*index);
                valid = NullBuffer::union(valid.as_ref(), array.nulls());
            }
            *count += nans(array, valid.as_ref());
        }
    }

    /// Counts NaNs of the column with an id, counted elsewhere.
    pub(crate) fn count(&mut self, id: i32, nans: u64) {
        if let Some(index) = self.columns.iter().position(|(column, _)| *column == id) {
            self.counts[index] += nans;
        }
    }

    /// NaNs of the column with an id, where they are counted.
    pub(crate) fn of(&self, id: i32) -> Option<u64> {
        let index = self.columns.iter().position(|(column, _)| *column == id)?;
        Some(self.counts[index])
    }
}

/// Floating-point columns below `fields` that are in no list or map, with their ways.
fn floats(fields: &[NestedFieldRef], way: &mut Vec<usize>, found: &mut Vec<(i32, Vec<usize>)>) {
    for (index, field) in fields.iter().enumerate() {
        way.push(index);
        match field.field_type.as_ref() {
            Type::Primitive(PrimitiveType::Float | PrimitiveType::Double) => {
                found.push((field.id, way.clone()));
            }
            Type::Struct(children) => floats(children.fields(), way, found),
            _ => {}
        }
        way.pop();
    }
}

/// How many values are NaN. What lies under a NULL is no value, be it the column's own or a struct's above it.
fn nans(array: &ArrayRef, valid: Option<&NullBuffer>) -> u64 {
    fn count<T: Copy>(
        values: &[T],
        valid: Option<&NullBuffer>,
        is_nan: impl Fn(T) -> bool,
    ) -> usize {
        let nan = |index: &usize| is_nan(values[*index]);
        match valid {
            None => (0..values.len()).filter(nan).count(),
            Some(valid) => valid.valid_indices().filter(nan).count(),
        }
    }
    let found = match array.data_type() {
        DataType::Float32 => {
            let floats = array.as_primitive::<Float32Type>();
            count(floats.values(), valid, f32::is_nan)
        }
        DataType::Float64 => {
            let floats = array.as_primitive::<Float64Type>();
            count(floats.values(), valid, f64::is_nan)
        }
        _ => 0,
    };
    found as u64
}

/// What the entries of all files of a group share.
#[derive(Debug)]
pub(crate) struct EntryMaker {
    /// Primitive columns by id, and whether they lie in a list or map.
    columns: HashMap<i32, PrimitiveType>,
    repeated: HashSet<i32>,
    modes: MetricsModes,
    spec_id: i32,
    partition: Struct,
}

impl EntryMaker {
    /// Entries of files of `schema` in a partition.
    pub(crate) fn new(
        schema: &Schema,
        modes: MetricsModes,
        spec_id: i32,
        partition: Struct,
    ) -> Self {
        let mut maker = Self {
            columns: HashMap::new(),
            repeated: HashSet::new(),
            modes,
            spec_id,
            partition,
        };
        for field in schema.as_struct().fields() {
            maker.collect(field, false);
        }
        maker
    }

    fn collect(&mut self, field: &NestedFieldRef, repeated: bool) {
        match field.field_type.as_ref() {
            Type::Primitive(primitive) => {
                self.columns.insert(field.id, primitive.clone());
                if repeated {
                    self.repeated.insert(field.id);
                }
            }
            Type::Struct(children) => {
                for child in children.fields() {
                    self.collect(child, repeated);
                }
            }
            Type::List(list) => self.collect(&list.element_field, true),
            Type::Map(map) => {
                self.collect(&map.key_field, true);
                self.collect(&map.value_field, true);
            }
        }
    }

    /// What is to be said of the column with an id.
    pub(crate) fn mode(&self, id: i32) -> MetricsMode {
        self.modes.of_column(id)
    }

    /// An empty pair of bounds for each leaf of `schema` that gets some: none for those in lists and maps, and for those
    /// that the modes leave without.
    pub(crate) fn bounds(&self, schema: &SchemaDescriptor) -> Vec<Option<Bounds>> {
        let of_leaf = |leaf: &ColumnDescPtr| {
            let id = leaf.self_type().get_basic_info().id();
            let bounded = matches!(
                self.modes.of_column(id),
                MetricsMode::Truncate(_) | MetricsMode::Full
            );
            let primitive = self.columns.get(&id)?;
            (bounded && !self.repeated.contains(&id)).then(|| Bounds::new(primitive.clone()))
        };
        schema.columns().iter().map(of_leaf).collect()
    }

    /// The entry of a file. It has no sort order: rows of several files one after the other are in none.
    pub(crate) fn entry(&self, file: &Encoded, rows: u64, nans: &NanCounts) -> Result<DataFile> {
        let metadata = &file.metadata;
        let mut builder = DataFileBuilder::default();
        builder
            .content(DataContentType::Data)
            .file_path(file.path.clone())
            .file_format(DataFileFormat::Parquet)
            .partition(self.partition.clone())
            .partition_spec_id(self.spec_id)
            .record_count(rows)
            .file_size_in_bytes(file.size)
            .split_offsets(Some(split_offsets(metadata)));
        let mut sizes = HashMap::new();
        let mut values = HashMap::new();
        let mut nulls = HashMap::new();
        let mut nan_counts = HashMap::new();
        let mut lower = HashMap::new();
        let mut upper = HashMap::new();
        for leaf in 0..metadata.file_metadata().schema_descr().num_columns() {
            let column = metadata.file_metadata().schema_descr().column(leaf);
            let id = column.self_type().get_basic_info().id();
            if !self.columns.contains_key(&id) {
                continue;
            }
            let chunks = || metadata.row_groups().iter().map(|group| group.column(leaf));
            sizes.insert(id, sum(chunks(), ColumnChunkMetaData::compressed_size));
            let mode = self.modes.of_column(id);
            if mode == MetricsMode::None {
                continue;
            }
            values.insert(id, sum(chunks(), ColumnChunkMetaData::num_values));
            let null_counts: Option<Vec<u64>> = chunks()
                .map(|chunk| {
                    if column.max_def_level() == 0 {
                        return Some(0);
                    }
                    chunk.statistics().and_then(|stats| stats.null_count_opt())
                })
                .collect();
            if let Some(counts) = &null_counts {
                nulls.insert(id, counts.iter().sum());
            }
            let nan_count = nans.of(id);
            if let Some(count) = nan_count {
                nan_counts.insert(id, count);
            }
            let Some(bounds) = &file.bounds[leaf] else {
                continue;
            };
            let (low, high) = bounds.clone().finish(mode);
            lower.extend(low.map(|low| (id, low)));
            upper.extend(high.map(|high| (id, high)));
        }
        builder
            .column_sizes(sizes)
            .value_counts(values)
            .null_value_counts(nulls)
            .nan_value_counts(nan_counts)
            .lower_bounds(lower)
            .upper_bounds(upper)
            .build()
            .map_err(|error| unsupported(format!("{} has no manifest entry: {error}", file.path)))
    }
}

fn sum<'a>(
    chunks: impl Iterator<Item = &'a ColumnChunkMetaData>,
    amount: impl Fn(&ColumnChunkMetaData) -> i64,
) -> u64 {
    chunks.map(|chunk| amount(chunk).unsigned_abs()).sum()
}

#[cfg(test)]
mod tests;
