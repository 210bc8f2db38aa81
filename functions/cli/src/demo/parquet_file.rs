//! Writes the demo's Parquet files, and describes each as a manifest entry needs it: sizes, counts and bounds.

use std::{collections::HashMap, sync::Arc};

use anyhow::{Context as _, Result};
use arrow_array::RecordBatch;
use bytes::Bytes;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, PrimitiveType, Schema,
    Struct, Type,
};
use icepress_table::reserved_ids::{DELETE_FILE_PATH, DELETE_POSITION};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::{metadata::ParquetMetaData, properties::WriterProperties, statistics::Statistics},
};

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// Rows.
    Rows,
    /// Positions in data files; in this one only, where it is given.
    PositionDeletes { only: Option<String> },
    /// Values of the columns with these field ids.
    EqualityDeletes { field_ids: Vec<i32> },
}

/// A file that is still to be written.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    /// Where it goes.
    pub(super) location: String,
    /// Its partition values under the table's default spec.
    pub(super) partition: Struct,
    /// What it says.
    pub(super) content: Content,
    /// Its rows. The fields carry their ids in `PARQUET:field_id`.
    pub(super) batch: RecordBatch,
}

/// The file's bytes, and its entry. `schema` is the table's.
pub(super) fn encode(draft: &Draft, spec_id: i32, schema: &Schema) -> Result<(Bytes, DataFile)> {
    // Bounds are taken from the column statistics, so these must not be cut off.
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_truncate_length(None)
        .build();
    let mut content = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut content, draft.batch.schema(), Some(properties))?;
    writer.write(&draft.batch)?;
    let footer = writer.close()?;
    let size = content.len() as u64;
    let entry = describe(draft, spec_id, schema, &footer, size)
        .with_context(|| format!("describe {}", draft.location))?;
    Ok((Bytes::from(content), entry))
}

fn describe(
    draft: &Draft,
    spec_id: i32,
    schema: &Schema,
    footer: &ParquetMetaData,
    size: u64,
) -> Result<DataFile> {
    let metrics = Metrics::of(footer, schema)?;
    let (content, equality_ids, only) = match &draft.content {
        Content::Rows => (DataContentType::Data, None, None),
        Content::PositionDeletes { only } => (DataContentType::PositionDeletes, None, only.clone()),
        Content::EqualityDeletes { field_ids } => (
            DataContentType::EqualityDeletes,
            Some(field_ids.clone()),
            None,
        ),
    };
    Ok(DataFileBuilder::default()
        .content(content)
        .file_path(draft.location.clone())
        .file_format(DataFileFormat::Parquet)
        .partition(draft.partition.clone())
        .partition_spec_id(spec_id)
        .record_count(draft.batch.num_rows() as u64)
        .file_size_in_bytes(size)
        .column_sizes(metrics.sizes)
        .value_counts(metrics.values)
        .null_value_counts(metrics.nulls)
        .lower_bounds(metrics.lower)
        .upper_bounds(metrics.upper)
        .split_offsets(Some(metrics.split_offsets))
        .equality_ids(equality_ids)
        .referenced_data_file(only)
        .build()?)
}

/// Metrics by field id, for the columns that are in no list and no map.
#[derive(Debug, Default)]
struct Metrics {
    sizes: HashMap<i32, u64>,
    values: HashMap<i32, u64>,
    nulls: HashMap<i32, u64>,
    lower: HashMap<i32, Datum>,
    upper: HashMap<i32, Datum>,
    split_offsets: Vec<i64>,
}

impl Metrics {
    /// The demo's files have one row group each; of a file with more, only sizes would be right, so it is refused.
    fn of(footer: &ParquetMetaData, schema: &Schema) -> Result<Self> {
        let [row_group] = footer.row_groups() else {
            anyhow::bail!("{} row groups instead of one", footer.num_row_groups());
        };
        let mut metrics = Self::default();
        let mut start = i64::MAX;
        for column in row_group.columns() {
            let (offset, length) = column.byte_range();
            start = start.min(i64::try_from(offset)?);
            let leaf = column.column_descr();
            if leaf.max_rep_level() > 0 {
                continue;
            }
            let id = leaf.self_type().get_basic_info().id();
            metrics.sizes.insert(id, length);
            metrics
                .values
                .insert(id, u64::try_from(column.num_values())?);
            let Some(statistics) = column.statistics() else {
                continue;
            };
            if let Some(nulls) = statistics.null_count_opt() {
                metrics.nulls.insert(id, nulls);
            }
            if let Some((lower, upper)) = bounds(statistics, id, schema)? {
                metrics.lower.insert(id, lower);
                metrics.upper.insert(id, upper);
            }
        }
        metrics.split_offsets = vec![start];
        Ok(metrics)
    }
}

/// Least and greatest value, for the types whose Parquet encoding is Iceberg's single-value encoding too.
fn bounds(statistics: &Statistics, id: i32, schema: &Schema) -> Result<Option<(Datum, Datum)>> {
    let primitive = match id {
        DELETE_FILE_PATH => PrimitiveType::String,
        DELETE_POSITION => PrimitiveType::Long,
        _ => match schema
            .field_by_id(id)
            .map(|field| field.field_type.as_ref())
        {
            Some(Type::Primitive(primitive)) => primitive.clone(),
            _ => return Ok(None),
        },
    };
    let same_encoding = matches!(
        primitive,
        PrimitiveType::Int
            | PrimitiveType::Long
            | PrimitiveType::Date
            | PrimitiveType::Timestamp
            | PrimitiveType::Timestamptz
            | PrimitiveType::String
    );
    match (statistics.min_bytes_opt(), statistics.max_bytes_opt()) {
        (Some(least), Some(greatest)) if same_encoding => Ok(Some((
            Datum::try_from_bytes(least, primitive.clone())?,
            Datum::try_from_bytes(greatest, primitive)?,
        ))),
        _ => Ok(None),
    }
}

/// The Arrow schema of position deletes, with the reserved field ids.
pub(super) fn position_delete_schema() -> arrow_schema::SchemaRef {
    use arrow_schema::{DataType, Field};
    let field = |name: &str, data_type: DataType, id: i32| {
        Field::new(name, data_type, false).with_metadata(HashMap::from([(
            parquet::arrow::PARQUET_FIELD_ID_META_KEY.to_owned(),
            id.to_string(),
        )]))
    };
    Arc::new(arrow_schema::Schema::new(vec![
        field("file_path", DataType::Utf8, DELETE_FILE_PATH),
        field("pos", DataType::Int64, DELETE_POSITION),
    ]))
}
