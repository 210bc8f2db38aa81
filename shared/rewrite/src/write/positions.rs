//! Position delete files (specification, *Position Delete Files*), sorted, with whole bounds, so that every reader knows
//! from the manifest alone which data files one can be about: a single one, or where the table wants few delete files
//! (`write.delete.granularity`), those of a group.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow_schema::{Schema as ArrowSchema, SchemaRef};
use iceberg::spec::{
    FormatVersion, NestedField, PrimitiveType, Schema, Struct, StructType, TableMetadata, Type,
    serialize_data_file_to_json,
};
use icepress_storage::{Storage, WriteOptions};
use icepress_table::{
    MetricsModes,
    reserved_ids::{
        DELETE_FILE_PATH, DELETE_FILE_PATH_NAME, DELETE_POSITION, DELETE_POSITION_NAME,
    },
};
use parquet::schema::types::SchemaDescriptor;
use roaring::RoaringTreemap;

use super::{
    encoder::Encoder,
    metrics::{EntryMaker, NanCounts},
    properties::{ParquetSettings, parquet_settings},
};
use crate::{
    failure::{Result, from_write, unsupported},
    schema::{arrow_fields, parquet_schema},
};

/// Rows encoded at a time.
const BATCH_ROWS: usize = 8192;

/// Writes the position delete files of one partition.
pub(crate) struct PositionFiles {
    storage: Arc<dyn Storage>,
    options: WriteOptions,
    arrow_schema: SchemaRef,
    parquet_schema: SchemaDescriptor,
    settings: ParquetSettings,
    entries: EntryMaker,
    partition_type: StructType,
    most_held: u64,
}

impl PositionFiles {
    /// For delete files of a partition, written as the table's properties for delete files say, else as for data.
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        metadata: &TableMetadata,
        partition: (i32, Struct, StructType),
        most_held: u64,
    ) -> Result<Self> {
        let (spec_id, partition, partition_type) = partition;
        let column = |id, name: &str, primitive| {
            Arc::new(NestedField::required(id, name, Type::Primitive(primitive)))
        };
        let schema = Schema::builder()
            .with_fields([
                column(
                    DELETE_FILE_PATH,
                    DELETE_FILE_PATH_NAME,
                    PrimitiveType::String,
                ),
                column(DELETE_POSITION, DELETE_POSITION_NAME, PrimitiveType::Long),
            ])
            .build()
            .map_err(unsupported)?;
        let fields = schema.as_struct().fields();
        let parquet_schema = SchemaDescriptor::new(parquet_schema(fields)?);
        let properties = delete_properties(metadata.properties());
        let settings = parquet_settings(&properties, &schema, &parquet_schema)?;
        Ok(Self {
            storage,
            options: WriteOptions {
                storage_class: properties.get("s3.write.storage-class").cloned(),
                ..WriteOptions::default()
            },
            arrow_schema: Arc::new(ArrowSchema::new(arrow_fields(fields)?)),
            parquet_schema,
            settings,
            entries: EntryMaker::new(&schema, MetricsModes::full(), spec_id, partition),
            partition_type,
            most_held,
        })
    }

    /// Writes the deleted positions of `data_files`, which are in the order of their paths, to `path`; returns the
    /// manifest entry as JSON, and the file's size.
    pub(crate) async fn write(
        &self,
        path: String,
        data_files: &[(String, RoaringTreemap)],
    ) -> Result<(serde_json::Value, u64)> {
        let storage = self.storage.writer(&path, &self.options);
        let storage = storage.await.map_err(|error| from_write(&error))?;
        let mut encoder = Encoder::new(
            path,
            storage,
            Arc::clone(&self.arrow_schema),
            self.parquet_schema.root_schema_ptr(),
            self.settings.clone(),
            self.entries.bounds(&self.parquet_schema),
        )?;
        for (data_file, positions) in data_files {
            if let Err(failure) = self.encode(&mut encoder, data_file, positions).await {
                encoder.abort().await;
                return Err(failure);
            }
        }
        let rows = encoder.rows();
        let file = encoder.finish().await?;
        let entry = self.entries.entry(&file, rows, &NanCounts::new(&[]))?;
        let mut json = with_partition(entry, &self.partition_type, FormatVersion::V2)?;
        // The entry was made as any Parquet file's is; these say what it is.
        json["content"] = 1.into();
        if let [(data_file, _)] = data_files {
            json["referenced_data_file"] = data_file.as_str().into();
        }
        Ok((json, file.size))
    }

    async fn encode(
        &self,
        encoder: &mut Encoder,
        data_file: &str,
        positions: &RoaringTreemap,
    ) -> Result<()> {
        let mut rest = positions.iter();
        loop {
            let chunk: Vec<i64> = rest
                .by_ref()
                .take(BATCH_ROWS)
                .map(|position| i64::try_from(position).unwrap_or(i64::MAX))
                .collect();
            if chunk.is_empty() {
                return Ok(());
            }
            let paths =
                StringViewArray::from_iter_values(std::iter::repeat_n(data_file, chunk.len()));
            let columns: Vec<ArrayRef> = vec![Arc::new(paths), Arc::new(Int64Array::from(chunk))];
            let batch = RecordBatch::try_new(Arc::clone(&self.arrow_schema), columns)
                .map_err(unsupported)?;
            encoder.write(&batch, self.most_held).await?;
            tokio::task::yield_now().await;
        }
    }
}

/// A manifest entry as JSON.
pub(crate) fn with_partition(
    entry: iceberg::spec::DataFile,
    partition_type: &StructType,
    version: FormatVersion,
) -> Result<serde_json::Value> {
    let json = serialize_data_file_to_json(entry, partition_type, version).map_err(unsupported)?;
    serde_json::from_str(&json).map_err(unsupported)
}

/// A table's properties with `write.delete.parquet.*` in the place of `write.parquet.*`, as Iceberg's writers have it.
fn delete_properties(properties: &HashMap<String, String>) -> HashMap<String, String> {
    let mut merged = properties.clone();
    for (key, value) in properties {
        if let Some(key) = key.strip_prefix("write.delete.parquet.") {
            merged.insert(format!("write.parquet.{key}"), value.clone());
        }
    }
    merged
}
