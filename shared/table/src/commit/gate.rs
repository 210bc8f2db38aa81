//! The last gate: what a rewrite says of its new files must fit the files that they replace, or the group is refused.
//!
//! Validation asks what other writers did; this asks whether we did right. A refusal here is a bug of ours, a damaged
//! file, or somebody's hand in the table's folder, and never passes with time: the group stays out, its files stay where
//! they are, and the line says what was found.

use std::collections::{HashMap, HashSet};

use iceberg::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, Datum, PrimitiveType, Schema,
    serialize_data_file_to_json,
};
use icepress_catalog::LoadedTable;
use icepress_model::{BaseState, ColumnValues, Rows};

use super::{
    FinishedGroup,
    live::{EntryRef, LiveTable},
};
use crate::{
    MetricsMode, MetricsModes,
    manifests::{Metric, OutputFile},
    partition_from_json, partition_type,
    reserved_ids::is_reserved,
};

/// What new files are held against.
#[derive(Debug)]
pub(super) struct Gate<'a> {
    loaded: &'a LoadedTable,
    live: &'a LiveTable,
    schema: &'a Schema,
    modes: MetricsModes,
    known_ids: HashSet<i32>,
}

impl<'a> Gate<'a> {
    /// The gate of a table whose new files were written in the base's schema. Fails where the table lacks it.
    pub(super) fn new(
        loaded: &'a LoadedTable,
        base: &BaseState,
        live: &'a LiveTable,
    ) -> Result<Self, String> {
        let metadata = &loaded.metadata;
        let schema = metadata
            .schema_by_id(base.schema_id.get())
            .ok_or_else(|| format!("the table has no schema {} any more", base.schema_id))?;
        let ids = schema.field_id_to_name_map().keys().copied();
        Ok(Self {
            loaded,
            live,
            schema,
            modes: MetricsModes::of(metadata, schema),
            known_ids: ids.collect(),
        })
    }

    /// All that can be told from the entries alone. `inputs` are the live entries that are replaced.
    pub(super) fn check(
        &self,
        finished: &FinishedGroup,
        inputs: &[EntryRef],
        outputs: &[OutputFile],
    ) -> Result<(), String> {
        self.check_rows(finished, inputs, outputs)?;
        self.check_nulls(finished, inputs, outputs)?;
        self.check_values(finished, outputs)?;
        self.check_partition(finished, outputs.iter())?;
        for output in outputs {
            self.check_ids(output)?;
            self.check_bounds(output, inputs)?;
        }
        Ok(())
    }

    /// Rows out = rows in − rows deleted.
    fn check_rows(
        &self,
        finished: &FinishedGroup,
        inputs: &[EntryRef],
        outputs: &[OutputFile],
    ) -> Result<(), String> {
        let result = &finished.result;
        let live = inputs
            .iter()
            .map(|place| Rows(self.live.entry(*place).file.rows));
        let rows_in: Rows = live.sum();
        if rows_in != result.rows_in {
            return Err(format!(
                "{} rows were read where the table has {rows_in}: refused",
                result.rows_in
            ));
        }
        let written: i128 = outputs
            .iter()
            .map(|output| i128::from(output.record_count))
            .sum();
        if written != i128::from(result.rows_out.get()) {
            return Err(format!(
                "the new files have {written} rows where {} were written: refused",
                result.rows_out
            ));
        }
        let expected = result.rows_in.get().checked_sub(result.rows_deleted.get());
        if expected != Some(result.rows_out.get()) {
            return Err(format!(
                "{} rows in and {} deleted do not make {} rows out: refused",
                result.rows_in, result.rows_deleted, result.rows_out
            ));
        }
        if result.rows_deleted > Rows::ZERO && !finished.group.leaves_rows_out() {
            return Err(format!(
                "{} rows were left out though no delete file applies: refused",
                result.rows_deleted
            ));
        }
        Ok(())
    }

    /// Each column has as many nulls as before, but for those in deleted rows. Only columns at the top are compared:
    /// writers disagree about whether a field of a struct that is null itself counts. And only those whose values nobody
    /// counted in the old files: what their manifests say of them may be wrong, and is no reason to leave a sound table alone
    /// for ever.
    fn check_nulls(
        &self,
        finished: &FinishedGroup,
        inputs: &[EntryRef],
        outputs: &[OutputFile],
    ) -> Result<(), String> {
        let top = self.schema.as_struct().fields().iter();
        let values = finished.result.seen.values.iter();
        let counted: HashSet<i32> = values.map(|values| values.column).collect();
        let mut nulls: HashMap<i32, i64> = top
            .filter(|field| field.field_type.is_primitive() && !counted.contains(&field.id))
            .map(|field| (field.id, 0))
            .collect();
        let mut count = |counts: &HashMap<i32, i64>, sign: i64| {
            nulls.retain(|column, sum| match counts.get(column) {
                Some(count) => {
                    *sum = sum.saturating_add(sign.saturating_mul(*count));
                    true
                }
                None => false,
            });
        };
        for place in inputs {
            let layout = &self.live.header(*place).file_layout;
            let counts = layout
                .null_value_counts(&self.live.entry(*place).file.raw)
                .map_err(|error| error.to_string())?;
            count(&counts.unwrap_or_default(), 1);
        }
        for output in outputs {
            let counts = output.null_value_counts.iter().flatten();
            count(&counts.map(|count| (count.key, count.value)).collect(), -1);
        }
        let rows_deleted = finished.result.rows_deleted.get();
        let may_be_gone = i64::try_from(rows_deleted).unwrap_or(i64::MAX);
        let is_wrong = |sum: i64| sum < 0 || sum > may_be_gone;
        match nulls.into_iter().filter(|(_, sum)| is_wrong(*sum)).min() {
            Some((column, sum)) => Err(format!(
                "the new files have {} nulls {} in column {} than the old ones: refused",
                sum.abs(),
                if sum < 0 { "more" } else { "fewer" },
                self.name_of(column),
            )),
            None => Ok(()),
        }
    }

    /// Each column has as many values as were counted in the old files themselves, by those who counted in the new ones as
    /// well, and by the new files' own descriptions.
    fn check_values(&self, finished: &FinishedGroup, outputs: &[OutputFile]) -> Result<(), String> {
        for counted in &finished.result.seen.values {
            let ColumnValues {
                column,
                least,
                most,
                after,
            } = *counted;
            if !(least..=most).contains(&after) {
                let expected = if least == most {
                    most.to_string()
                } else {
                    format!("{least} to {most}")
                };
                return Err(format!(
                    "column {} has {expected} values in the old files and {after} in the new ones: refused",
                    self.name_of(column)
                ));
            }
            let described: Option<i64> = outputs
                .iter()
                .map(|output| {
                    let values = value_of(&output.value_counts, column)?;
                    Some(values - value_of(&output.null_value_counts, column)?)
                })
                .sum();
            if described.is_some_and(|described| i64::try_from(after) != Ok(described)) {
                return Err(format!(
                    "column {} has {after} values in the new files, and their description says {}: refused",
                    self.name_of(column),
                    described.unwrap_or_default()
                ));
            }
        }
        Ok(())
    }

    /// The new files are of the group's spec and partition, as their own description has it.
    pub(super) fn check_partition<'b>(
        &self,
        finished: &FinishedGroup,
        mut outputs: impl Iterator<Item = &'b OutputFile>,
    ) -> Result<(), String> {
        let group = &finished.group;
        let metadata = &self.loaded.metadata;
        let types = partition_type(metadata, group.spec_id).map_err(|error| error.to_string())?;
        let partition =
            partition_from_json(&group.partition, &types).map_err(|error| error.to_string())?;
        let model = DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path(String::new())
            .file_format(DataFileFormat::Parquet)
            .partition(partition)
            .partition_spec_id(group.spec_id.get())
            .record_count(0)
            .file_size_in_bytes(0)
            .build()
            .map_err(|error| error.to_string())?;
        let expected = serialize_data_file_to_json(model, &types, metadata.format_version())
            .map_err(|error| error.to_string())
            .and_then(|json| {
                serde_json::from_str::<serde_json::Value>(&json).map_err(|error| error.to_string())
            })?;
        let wrong = outputs.find(|output| output.partition != expected["partition"]);
        match wrong {
            None => Ok(()),
            Some(output) => Err(format!(
                "its new file {} is of partition {} of spec {}, not of {}: refused",
                output.file_path, output.partition, group.spec_id, expected["partition"]
            )),
        }
    }

    /// Every id is one that the table knows.
    fn check_ids(&self, output: &OutputFile) -> Result<(), String> {
        let path = &output.file_path;
        if !output.file_format.eq_ignore_ascii_case("parquet") {
            return Err(format!(
                "its new file {path} is of format {}: refused",
                output.file_format
            ));
        }
        if let Some(order) = output.sort_order_id
            && self
                .loaded
                .metadata
                .sort_order_by_id(order.into())
                .is_none()
        {
            return Err(format!(
                "its new file {path} is sorted by order {order}, which the table does not have: refused"
            ));
        }
        let counts = [&output.value_counts, &output.null_value_counts];
        let counted = counts.into_iter().flatten().flatten().map(|it| it.key);
        let bounds = [&output.lower_bounds, &output.upper_bounds];
        let bounded = bounds.into_iter().flatten().flatten().map(|it| it.key);
        let is_unknown = |id: &i32| !is_reserved(*id) && !self.known_ids.contains(id);
        match counted.chain(bounded).find(is_unknown) {
            None => Ok(()),
            Some(id) => Err(format!(
                "its new file {path} has a column of id {id}, which schema {} does not have: refused",
                self.schema.schema_id()
            )),
        }
    }

    /// Columns at the top that have values have counts and bounds, where the table wants them, and the right way round.
    fn check_bounds(&self, output: &OutputFile, inputs: &[EntryRef]) -> Result<(), String> {
        let path = &output.file_path;
        for field in self.schema.as_struct().fields() {
            let Some(column) = field.field_type.as_primitive_type() else {
                continue;
            };
            let mode = self.modes.of_column(field.id);
            if mode == MetricsMode::None || output.record_count == 0 {
                continue;
            }
            let Some(values) = value_of(&output.value_counts, field.id) else {
                return Err(format!(
                    "its new file {path} does not count the values of column {}: refused",
                    field.name
                ));
            };
            if *values != output.record_count {
                return Err(format!(
                    "its new file {path} has {} rows and {values} values of column {}: refused",
                    output.record_count, field.name
                ));
            }
            let lower = value_of(&output.lower_bounds, field.id);
            let upper = value_of(&output.upper_bounds, field.id);
            if let (Some(lower), Some(upper)) = (lower, upper)
                && is_reversed(column, lower, upper)
            {
                return Err(format!(
                    "its new file {path} has a lower bound above the upper one in column {}: refused",
                    field.name
                ));
            }
            let nans = value_of(&output.nan_value_counts, field.id).map_or(0, |count| *count);
            let has_values = value_of(&output.null_value_counts, field.id)
                .is_some_and(|nulls| nulls < values && nans == 0);
            // The two orders that readers compare UUIDs in may differ: then there is no bound that holds in both.
            let wants_bounds = matches!(mode, MetricsMode::Truncate(_) | MetricsMode::Full);
            if !has_values || !wants_bounds || *column == PrimitiveType::Uuid {
                continue;
            }
            let missing = match (lower, upper) {
                (None, _) => "lower",
                (_, None) if !self.may_lack_upper(field.id, column, inputs) => "upper",
                _ => continue,
            };
            return Err(format!(
                "its new file {path} has no {missing} bound for column {}, which has values: refused",
                field.name
            ));
        }
        Ok(())
    }

    /// Whether a bound that is cut short may have no round number above it: where an old file has none either, or one
    /// that begins with the greatest character or byte there is.
    fn may_lack_upper(&self, id: i32, column: &PrimitiveType, inputs: &[EntryRef]) -> bool {
        let greatest = match column {
            PrimitiveType::String => 0xF4,
            PrimitiveType::Binary | PrimitiveType::Fixed(_) => 0xFF,
            _ => return false,
        };
        inputs.iter().any(|place| {
            let layout = &self.live.header(*place).file_layout;
            match layout.bounds(&self.live.entry(*place).file.raw, id) {
                Ok(Some((_, upper))) => upper.first().is_none_or(|first| *first >= greatest),
                _ => true,
            }
        })
    }

    fn name_of(&self, column: i32) -> String {
        let field = self.schema.field_by_id(column);
        field.map_or(column.to_string(), |field| field.name.clone())
    }
}

fn value_of<T>(metrics: &Option<Vec<Metric<T>>>, column: i32) -> Option<&T> {
    let mut found = metrics.iter().flatten().filter(|it| it.key == column);
    found.next().map(|metric| &metric.value)
}

fn is_reversed(column: &PrimitiveType, lower: &[u8], upper: &[u8]) -> bool {
    if *column == PrimitiveType::Uuid {
        return false;
    }
    let datum = |bytes| Datum::try_from_bytes(bytes, column.clone());
    match (datum(lower), datum(upper)) {
        (Ok(lower), Ok(upper)) => lower
            .partial_cmp(&upper)
            .is_some_and(std::cmp::Ordering::is_gt),
        // Bytes that are no value of the column bound nothing.
        _ => true,
    }
}
