//! A small table on disk to rewrite: schemas, files with field ids, deletes, and reading results back.

use std::{collections::HashMap, fs::File, path::Path, sync::Arc};

use arrow_array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, StructArray, cast::AsArray,
};
use arrow_schema::{DataType, Field, Fields, Schema as ArrowSchema, SchemaRef, TimeUnit};
use arrow_select::concat::concat_batches;
use iceberg::spec::{
    DataFile, FormatVersion, NestedField, NestedFieldRef, PartitionSpec, PrimitiveType, Schema,
    SortOrder, TableMetadata, TableMetadataBuilder, Type, UnboundPartitionSpec,
    deserialize_data_file_from_json,
};
use icepress_catalog::metadata::Metadata;
use icepress_model::{
    Attempt, BaseState, Bytes, DeleteContent, DeleteFile, Group, GroupReason, GroupResult,
    GroupTask, InputFile, MergePages, MetadataLocation, ProcessId, RewriteFailure, RowId, Rows,
    SchemaId, SequenceNumber, SnapshotId, SpecId, TableId, Tier, ambient::Ambient,
};
use icepress_storage::LocalStorage;
use icepress_table::{partition_type, vectors::encode_vector};
use parquet::{
    arrow::{
        ArrowWriter, PARQUET_FIELD_ID_META_KEY, arrow_reader::ParquetRecordBatchReaderBuilder,
    },
    file::properties::WriterProperties,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    Look, Opinion, Progress, RewriteContext, RowsHash, hash_rows, rewrite_group, second_opinion,
};

/// A column of a table.
pub(crate) fn optional(id: i32, name: &str, primitive: PrimitiveType) -> NestedFieldRef {
    NestedField::optional(id, name, Type::Primitive(primitive)).into()
}

/// A column of a table that holds no NULL.
pub(crate) fn required(id: i32, name: &str, primitive: PrimitiveType) -> NestedFieldRef {
    NestedField::required(id, name, Type::Primitive(primitive)).into()
}

/// A field of a file with an Iceberg field id.
pub(crate) fn with_id(field: Field, id: i32) -> Field {
    let metadata = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]);
    field.with_metadata(metadata)
}

/// A nullable field of a file with an Iceberg field id.
pub(crate) fn field(id: i32, name: &str, data_type: DataType) -> Field {
    with_id(Field::new(name, data_type, true), id)
}

/// A batch with the schema that its fields make.
pub(crate) fn batch(columns: Vec<(Field, ArrayRef)>) -> RecordBatch {
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), arrays).unwrap()
}

/// A batch of `id` (1, long) and `name` (2, string).
pub(crate) fn people(rows: &[(i64, Option<&str>)]) -> RecordBatch {
    let ids: Int64Array = rows.iter().map(|(id, _)| Some(*id)).collect();
    let names: StringArray = rows.iter().map(|(_, name)| *name).collect();
    batch(vec![
        (field(1, "id", DataType::Int64), Arc::new(ids)),
        (field(2, "name", DataType::Utf8), Arc::new(names)),
    ])
}

/// The schema of [`people`].
pub(crate) fn people_fields() -> Vec<NestedFieldRef> {
    vec![
        optional(1, "id", PrimitiveType::Long),
        optional(2, "name", PrimitiveType::String),
    ]
}

const LONG_FOLDER: &str =
    "a-folder-whose-name-alone-is-longer-than-what-a-statistic-of-64-bytes-may-hold";

/// A table on disk.
pub(crate) struct TestTable {
    pub(crate) folder: TempDir,
    pub(crate) metadata: Metadata,
    pub(crate) group: Group,
    pub(crate) memory_cap: Bytes,
    /// Files of tests are small: their pages are merged all the same.
    pub(crate) merge_pages: MergePages,
    files: u32,
}

impl TestTable {
    /// An unpartitioned table of `fields`.
    pub(crate) fn new(fields: Vec<NestedFieldRef>) -> Self {
        Self::build(vec![fields], UnboundPartitionSpec::default(), &[])
    }

    /// With properties.
    pub(crate) fn with_properties(
        fields: Vec<NestedFieldRef>,
        properties: &[(&str, &str)],
    ) -> Self {
        Self::build(vec![fields], UnboundPartitionSpec::default(), properties)
    }

    /// A table that had several schemas, the last of which is current.
    pub(crate) fn evolved(schemas: Vec<Vec<NestedFieldRef>>) -> Self {
        Self::build(schemas, UnboundPartitionSpec::default(), &[])
    }

    pub(crate) fn build(
        schemas: Vec<Vec<NestedFieldRef>>,
        spec: UnboundPartitionSpec,
        properties: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let properties: HashMap<String, String> = properties
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let mut schemas: Vec<Schema> = schemas
            .into_iter()
            .map(|fields| Schema::builder().with_fields(fields).build().unwrap())
            .collect();
        let location = folder.path().join("table").to_str().unwrap().to_owned();
        // The builder gives fresh ids to a first schema; a table whose ids are chosen is read from JSON instead.
        let first = schemas.remove(0);
        let last_id = std::iter::once(&first)
            .chain(&schemas)
            .map(Schema::highest_field_id)
            .max()
            .unwrap();
        let mut builder = from_scratch(&first, &spec, location, last_id, properties);
        for schema in schemas {
            builder = builder.add_current_schema(schema).unwrap();
        }
        let metadata = builder.build().unwrap().metadata;
        let group = Group {
            spec_id: SpecId(metadata.default_partition_spec_id()),
            partition: Value::Null,
            partition_name: String::new(),
            reason: GroupReason::EnoughFiles,
            tier: icepress_model::Tier::Full,
            inputs: Vec::new(),
            deletes: Vec::new(),
            target_file_size: Bytes::mebibytes(512),
            shares_deletes: false,
            without: None,
        };
        Self {
            folder,
            metadata: metadata.into(),
            group,
            memory_cap: Bytes::mebibytes(256),
            merge_pages: MergePages::Always,
            files: 0,
        }
    }

    /// The same table as format version 3.
    pub(crate) fn upgraded(mut self) -> Self {
        let builder = TableMetadata::clone(&self.metadata).into_builder(None);
        let upgraded = builder.upgrade_format_version(FormatVersion::V3).unwrap();
        self.metadata = upgraded.build().unwrap().metadata.into();
        self
    }

    /// Where the next file goes.
    pub(crate) fn next_path(&mut self, ending: &str) -> String {
        self.files += 1;
        // As long as paths on S3 are: what they share is longer than a statistic of Parquet's.
        let folder = self.folder.path().join(LONG_FOLDER);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("in-{}.{ending}", self.files));
        path.to_str().unwrap().to_owned()
    }

    /// Adds a data file at a sequence number; returns its location.
    pub(crate) fn data(&mut self, sequence: i64, rows: &RecordBatch) -> String {
        self.data_with(sequence, rows, WriterProperties::builder().build())
    }

    /// Adds a data file written in a certain way.
    pub(crate) fn data_with(
        &mut self,
        sequence: i64,
        rows: &RecordBatch,
        properties: WriterProperties,
    ) -> String {
        let path = self.next_path("parquet");
        write_parquet(&path, rows, properties);
        self.adopt(sequence, &path, rows.num_rows() as u64);
        path
    }

    /// Adds a data file that is already there.
    pub(crate) fn adopt(&mut self, sequence: i64, path: &str, rows: u64) {
        self.group.inputs.push(InputFile {
            path: path.to_owned(),
            size: Bytes(std::fs::metadata(path).unwrap().len()),
            rows: Rows(rows),
            sequence_number: SequenceNumber(sequence),
            first_row_id: None,
            deletes: Vec::new(),
        });
    }

    /// Adds a delete file; attaches it to all inputs that it may apply to by the sequence rules.
    fn delete(&mut self, content: DeleteContent, path: &str, rows: u64, sequence: i64) {
        let index = self.group.deletes.len() as u32;
        for input in &mut self.group.inputs {
            let applies = match content {
                DeleteContent::Equality { .. } => input.sequence_number.get() < sequence,
                DeleteContent::Position => input.sequence_number.get() <= sequence,
                DeleteContent::Vector { .. } => false,
            };
            if applies {
                input.deletes.push(index);
            }
        }
        self.group.deletes.push(DeleteFile {
            content,
            path: path.to_owned(),
            size: Bytes(std::fs::metadata(path).unwrap().len()),
            rows: Rows(rows),
            sequence_number: SequenceNumber(sequence),
            referenced_data_file: None,
        });
    }

    /// Adds a position delete file.
    pub(crate) fn delete_positions(&mut self, sequence: i64, deleted: &[(&str, i64)]) {
        let paths: StringArray = deleted.iter().map(|(path, _)| Some(*path)).collect();
        let positions: Int64Array = deleted
            .iter()
            .map(|(_, position)| Some(*position))
            .collect();
        let id = |id, name, data_type| with_id(Field::new(name, data_type, false), id);
        let rows = batch(vec![
            (
                id(2_147_483_546, "file_path", DataType::Utf8),
                Arc::new(paths),
            ),
            (
                id(2_147_483_545, "pos", DataType::Int64),
                Arc::new(positions),
            ),
        ]);
        let path = self.next_path("deletes.parquet");
        write_parquet(&path, &rows, WriterProperties::builder().build());
        self.delete(
            DeleteContent::Position,
            &path,
            deleted.len() as u64,
            sequence,
        );
    }

    /// Adds an equality delete file whose columns are the key.
    pub(crate) fn delete_equal(&mut self, sequence: i64, keys: &RecordBatch) {
        let field_ids = keys.schema().fields().iter().map(|f| leaf_id(f)).collect();
        self.delete_equal_by(sequence, field_ids, keys);
    }

    /// Adds an equality delete file by the columns of these ids, however it calls its own.
    pub(crate) fn delete_equal_by(
        &mut self,
        sequence: i64,
        field_ids: Vec<i32>,
        keys: &RecordBatch,
    ) {
        let path = self.next_path("equality.parquet");
        write_parquet(&path, keys, WriterProperties::builder().build());
        self.delete(
            DeleteContent::Equality { field_ids },
            &path,
            keys.num_rows() as u64,
            sequence,
        );
    }

    /// Adds deletion vectors of several inputs, all in one file.
    pub(crate) fn delete_vectors(&mut self, sequence: i64, vectors: &[(usize, &[u64])]) {
        let path = self.next_path("puffin");
        let mut content = b"PFA1".to_vec();
        let mut places = Vec::new();
        for (input, positions) in vectors {
            let blob = encode_vector(positions.iter().copied().collect()).unwrap();
            places.push((
                *input,
                content.len() as u64,
                blob.len() as u64,
                positions.len(),
            ));
            content.extend_from_slice(&blob);
        }
        std::fs::write(&path, content).unwrap();
        for (input, offset, length, rows) in places {
            let index = self.group.deletes.len() as u32;
            self.delete(
                DeleteContent::Vector { offset, length },
                &path,
                rows as u64,
                sequence,
            );
            let input = &mut self.group.inputs[input];
            input.deletes.push(index);
            self.group.deletes[index as usize].referenced_data_file = Some(input.path.clone());
        }
    }

    pub(crate) fn context(&self) -> RewriteContext {
        RewriteContext {
            storage: Arc::new(LocalStorage::new()),
            ambient: Ambient::system(),
            memory_cap: self.memory_cap,
            merge_pages: self.merge_pages,
            progress: Arc::new(Progress::default()),
        }
    }

    pub(crate) fn table_id() -> TableId {
        "lake.shop.orders".parse().unwrap()
    }

    pub(crate) fn task(&self) -> GroupTask {
        GroupTask {
            table: Self::table_id(),
            process: ProcessId::from("0f1e2d"),
            index: 7,
            base: BaseState {
                metadata_location: MetadataLocation::from("unused"),
                snapshot_id: SnapshotId(1),
                starting_sequence_number: SequenceNumber(100),
                schema_id: SchemaId(self.metadata.current_schema_id()),
                format_version: self.metadata.format_version() as u8,
            },
            group: self.group.clone(),
            pace: None,
        }
    }

    /// The attempt that a rewrite is: another one for files that a rewrite has made, which it would write over.
    fn attempt(&self) -> Attempt {
        let made = |input: &InputFile| input.path.contains("00007-2-0f1e2d");
        Attempt(2 + u64::from(self.group.inputs.iter().any(made)) as u32)
    }

    /// Rewrites the group. Whatever comes of it, the second opinion has nothing to say against it, and decoded row by row
    /// it has the rows that it had.
    pub(crate) fn rewrite(&self) -> Result<GroupResult, RewriteFailure> {
        let result = block_on(rewrite_group(
            &self.context(),
            &self.metadata,
            &self.task(),
            self.attempt(),
        ))?;
        if self.group.tier == Tier::Full {
            let after = self.after(&result);
            for look in [Look::Footers, Look::Pages] {
                let opinion = self.opinion(&after, look)?;
                assert_eq!(opinion.faults, Vec::<String>::new(), "{look:?}");
            }
            let (before, after) = (self.hash(), self.hash_of(&after).unwrap());
            assert!(after.is_same_as(&before), "{before:?} became {after:?}");
        }
        Ok(result)
    }

    /// What is found when the group is compared with what is said to have come of it.
    pub(crate) fn opinion(&self, after: &Group, look: Look) -> Result<Opinion, RewriteFailure> {
        block_on(second_opinion(
            &self.context(),
            &self.metadata,
            &Self::table_id(),
            SchemaId(self.metadata.current_schema_id()),
            (
                std::slice::from_ref(&self.group),
                std::slice::from_ref(after),
            ),
            look,
        ))
    }

    /// Rewrites the group, checks the counts, and reads all rows back.
    pub(crate) fn rewritten(&self) -> RecordBatch {
        let result = self.rewrite().unwrap();
        let rows = self.read_back(&result);
        assert_eq!(result.rows_out, Rows(rows.num_rows() as u64));
        assert_eq!(result.rows_in, self.group.input_rows());
        assert_eq!(result.rows_in, result.rows_out + result.rows_deleted);
        rows
    }

    /// The manifest entries of a result.
    pub(crate) fn entries(&self, result: &GroupResult) -> Vec<DataFile> {
        self.entries_of(&result.data_files)
    }

    /// Manifest entries from their JSON.
    pub(crate) fn entries_of(&self, files: &[Value]) -> Vec<DataFile> {
        let types = partition_type(&self.metadata, self.group.spec_id).unwrap();
        files
            .iter()
            .map(|json| {
                deserialize_data_file_from_json(
                    &json.to_string(),
                    self.group.spec_id.get(),
                    &types,
                    self.metadata.current_schema(),
                )
                .unwrap()
            })
            .collect()
    }

    /// All rows of a result, in order, read plainly.
    pub(crate) fn read_back(&self, result: &GroupResult) -> RecordBatch {
        let schema = plain_schema(self.metadata.current_schema());
        let mut batches = Vec::new();
        for entry in self.entries(result) {
            let size = std::fs::metadata(entry.file_path()).unwrap().len();
            assert_eq!(entry.file_size_in_bytes(), size);
            let read = read_parquet(entry.file_path());
            let rows: usize = read.iter().map(RecordBatch::num_rows).sum();
            assert_eq!(entry.record_count(), rows as u64);
            batches.extend(read.iter().map(|batch| strip(batch, &schema)));
        }
        concat_batches(&schema, &batches).unwrap()
    }

    /// Adds an equality delete file that is already there.
    pub(crate) fn adopt_equality(&mut self, sequence: i64, path: &str, ids: Vec<i32>, rows: u64) {
        self.delete(
            DeleteContent::Equality { field_ids: ids },
            path,
            rows,
            sequence,
        );
    }

    /// The hash of the group's live rows.
    pub(crate) fn hash(&self) -> RowsHash {
        self.try_hash().unwrap()
    }

    /// The same where it may fail.
    pub(crate) fn try_hash(&self) -> Result<RowsHash, RewriteFailure> {
        self.hash_of(&self.group)
    }

    /// The hash of the live rows of a group of the table.
    fn hash_of(&self, group: &Group) -> Result<RowsHash, RewriteFailure> {
        block_on(hash_rows(
            &self.context(),
            &self.metadata,
            &Self::table_id(),
            SchemaId(self.metadata.current_schema_id()),
            std::slice::from_ref(group),
        ))
    }

    /// The group that a result makes: its files, without deletes.
    pub(crate) fn after(&self, result: &GroupResult) -> Group {
        Group {
            inputs: self
                .entries(result)
                .iter()
                .map(|entry| InputFile {
                    path: entry.file_path().to_owned(),
                    size: Bytes(entry.file_size_in_bytes()),
                    rows: Rows(entry.record_count()),
                    sequence_number: SequenceNumber(100),
                    // A row whose id was not kept would get another.
                    first_row_id: (self.metadata.format_version() >= FormatVersion::V3)
                        .then_some(RowId(1 << 40)),
                    deletes: Vec::new(),
                })
                .collect(),
            deletes: Vec::new(),
            ..self.group.clone()
        }
    }
}

fn from_scratch(
    schema: &Schema,
    spec: &UnboundPartitionSpec,
    location: String,
    last_id: i32,
    properties: HashMap<String, String>,
) -> TableMetadataBuilder {
    let bound: PartitionSpec = spec.clone().bind(schema.clone()).unwrap();
    let highest = bound.highest_field_id().unwrap_or(999);
    let json = serde_json::json!({
        "format-version": 2,
        "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1",
        "location": location,
        "last-sequence-number": 0,
        "last-updated-ms": 1,
        "last-column-id": last_id,
        "current-schema-id": 0,
        "schemas": [schema],
        "default-spec-id": 0,
        "partition-specs": [bound],
        "last-partition-id": highest,
        "default-sort-order-id": 0,
        "sort-orders": [SortOrder::unsorted_order()],
        "properties": properties,
    });
    let metadata: TableMetadata = serde_json::from_value(json).unwrap();
    assert_eq!(metadata.format_version(), FormatVersion::V2);
    metadata.into_builder(None)
}

/// The id of a field that is a key, or of the key inside a struct.
fn leaf_id(field: &Field) -> i32 {
    match field.data_type() {
        DataType::Struct(fields) => leaf_id(&fields[0]),
        _ => field.metadata()[PARQUET_FIELD_ID_META_KEY].parse().unwrap(),
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T> + Send) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

pub(crate) fn write_parquet(path: &str, rows: &RecordBatch, properties: WriterProperties) {
    let file = File::create(Path::new(path)).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
}

pub(crate) fn read_parquet(path: &str) -> Vec<RecordBatch> {
    ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap())
        .unwrap()
        .build()
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

/// The Arrow schema of a table, with texts and bytes as plain readers have them.
pub(crate) fn plain_schema(schema: &Schema) -> SchemaRef {
    Arc::new(ArrowSchema::new(plain_fields(schema.as_struct().fields())))
}

fn plain_fields(fields: &[NestedFieldRef]) -> Fields {
    fields.iter().map(plain_field).collect()
}

fn plain_field(field: &NestedFieldRef) -> Arc<Field> {
    let data_type = plain_type(&field.field_type);
    Arc::new(Field::new(&field.name, data_type, !field.required))
}

fn plain_type(field_type: &Type) -> DataType {
    use PrimitiveType as P;
    use TimeUnit::{Microsecond, Nanosecond};
    let utc = || Some("+00:00".into());
    match field_type {
        Type::Struct(fields) => DataType::Struct(plain_fields(fields.fields())),
        Type::List(list) => DataType::List(plain_field(&list.element_field)),
        Type::Map(map) => {
            let pair = [&map.key_field, &map.value_field].map(plain_field);
            let entries = DataType::Struct(pair.into_iter().collect());
            DataType::Map(Arc::new(Field::new("key_value", entries, false)), false)
        }
        Type::Primitive(primitive) => match primitive {
            P::Boolean => DataType::Boolean,
            P::Int => DataType::Int32,
            P::Long => DataType::Int64,
            P::Float => DataType::Float32,
            P::Double => DataType::Float64,
            P::Decimal { precision, scale } => DataType::Decimal128(*precision as u8, *scale as i8),
            P::Date => DataType::Date32,
            P::Time => DataType::Time64(Microsecond),
            P::Timestamp => DataType::Timestamp(Microsecond, None),
            P::Timestamptz => DataType::Timestamp(Microsecond, utc()),
            P::TimestampNs => DataType::Timestamp(Nanosecond, None),
            P::TimestamptzNs => DataType::Timestamp(Nanosecond, utc()),
            P::String => DataType::Utf8,
            P::Uuid => DataType::FixedSizeBinary(16),
            P::Fixed(length) => DataType::FixedSizeBinary(*length as i32),
            P::Binary => DataType::Binary,
        },
    }
}

/// A batch without field metadata and with `+00:00` as its time zone.
fn strip(batch: &RecordBatch, schema: &SchemaRef) -> RecordBatch {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| arrow_cast::cast(column, field.data_type()).unwrap())
        .collect();
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

/// A column of a batch by name.
pub(crate) fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a ArrayRef {
    batch.column_by_name(name).unwrap()
}

/// Numbers of a long column.
pub(crate) fn longs(batch: &RecordBatch, name: &str) -> Vec<Option<i64>> {
    column(batch, name)
        .as_primitive::<arrow_array::types::Int64Type>()
        .iter()
        .collect()
}

/// Texts of a string column.
pub(crate) fn texts(batch: &RecordBatch, name: &str) -> Vec<Option<String>> {
    column(batch, name)
        .as_string::<i32>()
        .iter()
        .map(|text| text.map(str::to_owned))
        .collect()
}

/// An `Int64Array` as an array.
pub(crate) fn int64(values: impl IntoIterator<Item = impl Into<Option<i64>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<Int64Array>())
}

/// An `Int32Array` as an array.
pub(crate) fn int32(values: impl IntoIterator<Item = impl Into<Option<i32>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<Int32Array>())
}

/// A `StringArray` as an array.
pub(crate) fn utf8<'a>(values: impl IntoIterator<Item = impl Into<Option<&'a str>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<StringArray>())
}

/// A struct column without NULLs of its own.
pub(crate) fn structs(columns: Vec<(Field, ArrayRef)>) -> ArrayRef {
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    Arc::new(StructArray::try_new(fields.into(), arrays, None).unwrap())
}
