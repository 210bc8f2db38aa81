//! Writes the files of a foreign writer: data, position deletes and equality deletes, laid out in many ways.

use std::{collections::BTreeMap, sync::Arc};

use arrow_schema::{DataType, Field, Schema as ArrowSchema, SchemaRef};
use bytes::Bytes;
use iceberg::{
    arrow::schema_to_arrow_schema,
    spec::{
        DataContentType, DataFileBuilder, DataFileFormat, Datum, Literal, PartitionSpec,
        PrimitiveLiteral, PrimitiveType, Schema, Struct, TableMetadata, Transform, Type,
    },
    transform::create_transform_function,
};
use icepress_model::SpecId;
use icepress_storage::{PutMode, Storage, WriteOptions};
use icepress_table::vectors::write_vectors;
use icepress_writer::AddedFile;
use parquet::{
    arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY},
    file::properties::WriterProperties,
};
use roaring::RoaringTreemap;

use super::{
    arrow::to_batch,
    dice::Dice,
    reader::{PATH_ID, POSITION_ID},
    setup::{ID, Layout},
    shape::find,
    values::{Columns, Value},
};

/// Where files go, and how they are named.
#[derive(Debug)]
pub(super) struct Writer {
    storage: Arc<dyn Storage>,
    folder: String,
    files: u32,
}

/// Deleted positions by data file.
pub(super) type Marked = BTreeMap<String, RoaringTreemap>;

/// A partition: its spec, and its values as literals.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The spec.
    pub(super) spec_id: i32,
    /// The values.
    pub(super) literals: Vec<Option<Literal>>,
}

impl Place {
    /// The values.
    pub(super) fn values(&self) -> Vec<Value> {
        let values = self.literals.iter();
        values
            .map(|value| value.as_ref().map_or(Value::Null, Value::of_literal))
            .collect()
    }
}

/// A data file of a writer, and what is in it.
#[derive(Debug)]
pub(super) struct NewData {
    /// The file.
    pub(super) added: AddedFile,
    /// Its partition.
    pub(super) place: Place,
    /// Its rows.
    pub(super) rows: Vec<Columns>,
}

impl Writer {
    /// A writer of files below `folder`.
    pub(super) fn new(storage: Arc<dyn Storage>, folder: String) -> Self {
        Self {
            storage,
            folder,
            files: 0,
        }
    }

    async fn put(&mut self, kind: &str, content: Vec<u8>) -> (String, u64) {
        self.files += 1;
        let path = format!("{}/data/{kind}-{:04}.parquet", self.folder, self.files);
        let size = content.len() as u64;
        let options = WriteOptions::default();
        self.storage
            .put(&path, Bytes::from(content), PutMode::CreateOnly, &options)
            .await
            .unwrap();
        (path, size)
    }

    /// Writes rows, one file for each partition of `spec` that they fall into.
    pub(super) async fn data(
        &mut self,
        metadata: &TableMetadata,
        spec: &PartitionSpec,
        rows: Vec<Columns>,
        dice: &mut Dice,
    ) -> Vec<NewData> {
        let mut by_place: BTreeMap<Vec<Value>, (Place, Vec<Columns>)> = BTreeMap::new();
        for row in rows {
            let place = place_of(metadata.current_schema(), spec, &row);
            let (_, members) = by_place
                .entry(place.values())
                .or_insert_with(|| (place, Vec::new()));
            members.push(row);
        }
        let mut files = Vec::new();
        for (place, rows) in by_place.into_values() {
            let added = self.data_file(metadata, spec, &place, &rows, dice).await;
            files.push(NewData { added, place, rows });
        }
        files
    }

    async fn data_file(
        &mut self,
        metadata: &TableMetadata,
        spec: &PartitionSpec,
        place: &Place,
        rows: &[Columns],
        dice: &mut Dice,
    ) -> AddedFile {
        let fields = metadata.current_schema().as_struct().fields();
        // Hive's files lack what their folder says.
        let is_lean = dice.once_in(4);
        let is_constant = |id: i32| {
            let of = |field: &&iceberg::spec::PartitionField| field.source_id == id;
            spec.fields()
                .iter()
                .filter(of)
                .any(|field| field.transform == Transform::Identity)
        };
        let kept = fields
            .iter()
            .filter(|field| !(is_lean && is_constant(field.id)))
            .cloned();
        let schema = Schema::builder().with_fields(kept).build().unwrap();
        let references: Vec<&Columns> = rows.iter().collect();
        let content = parquet(&arrow_schema(&schema), &references, dice);
        let (path, size) = self.put("data", content).await;
        let mut builder = DataFileBuilder::default();
        builder
            .content(DataContentType::Data)
            .file_path(path)
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::from_iter(place.literals.clone()))
            .record_count(rows.len() as u64)
            .file_size_in_bytes(size)
            .partition_spec_id(place.spec_id);
        if !dice.once_in(3) {
            let plain = schema.as_struct().fields().iter();
            let plain: Vec<i32> = plain
                .filter(|field| field.field_type.is_primitive())
                .map(|field| field.id)
                .collect();
            let nulls = |id: &i32| {
                let is_null = |row: &&Columns| find(row, *id) == Some(&Value::Null);
                (*id, rows.iter().filter(is_null).count() as u64)
            };
            builder
                .value_counts(plain.iter().map(|id| (*id, rows.len() as u64)).collect())
                .null_value_counts(plain.iter().map(nulls).collect());
        }
        AddedFile {
            spec_id: SpecId(place.spec_id),
            file: builder.build().unwrap(),
        }
    }

    /// Writes position deletes of data files of one partition.
    pub(super) async fn positions(
        &mut self,
        place: &Place,
        deleted: &[(String, u64)],
        layout: Layout,
        dice: &mut Dice,
    ) -> Vec<AddedFile> {
        let mut deleted = deleted.to_vec();
        deleted.sort();
        let files: Vec<&[(String, u64)]> = match layout {
            Layout::Partition => vec![&deleted],
            Layout::Named | Layout::Bounded => {
                deleted.chunk_by(|left, right| left.0 == right.0).collect()
            }
        };
        let mut added = Vec::new();
        for rows in files {
            added.push(self.position_file(place, rows, layout, dice).await);
        }
        added
    }

    async fn position_file(
        &mut self,
        place: &Place,
        deleted: &[(String, u64)],
        layout: Layout,
        dice: &mut Dice,
    ) -> AddedFile {
        let id = |field: Field, id: i32| {
            let entry = (PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string());
            field.with_metadata([entry].into())
        };
        let schema = Arc::new(ArrowSchema::new(vec![
            id(Field::new("file_path", DataType::Utf8, false), PATH_ID),
            id(Field::new("pos", DataType::Int64, false), POSITION_ID),
        ]));
        let rows: Vec<Columns> = deleted
            .iter()
            .map(|(path, position)| {
                vec![
                    (PATH_ID, Value::Text(path.clone())),
                    (POSITION_ID, Value::Integer(*position as i64)),
                ]
            })
            .collect();
        let content = parquet(&schema, &rows.iter().collect::<Vec<_>>(), dice);
        let (path, size) = self.put("positions", content).await;
        let (first, last) = (&deleted[0].0, &deleted[deleted.len() - 1].0);
        let mut builder = DataFileBuilder::default();
        builder
            .content(DataContentType::PositionDeletes)
            .file_path(path)
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::from_iter(place.literals.clone()))
            .record_count(deleted.len() as u64)
            .file_size_in_bytes(size)
            .partition_spec_id(place.spec_id);
        let has_bounds = match layout {
            Layout::Named => {
                builder.referenced_data_file(Some(first.clone()));
                dice.once_in(2)
            }
            Layout::Bounded => true,
            Layout::Partition => dice.once_in(2),
        };
        if has_bounds {
            builder
                .lower_bounds([(PATH_ID, Datum::string(first))].into())
                .upper_bounds([(PATH_ID, Datum::string(last))].into());
        }
        AddedFile {
            spec_id: SpecId(place.spec_id),
            file: builder.build().unwrap(),
        }
    }

    /// Writes vectors of data files of one partition, all in one file.
    pub(super) async fn vectors(&mut self, place: &Place, deleted: Marked) -> Vec<AddedFile> {
        let file = write_vectors(deleted).await.unwrap();
        self.files += 1;
        let path = format!("{}/data/vectors-{:04}.puffin", self.folder, self.files);
        let (content, options) = (file.content.clone(), WriteOptions::default());
        self.storage
            .put(&path, content, PutMode::CreateOnly, &options)
            .await
            .unwrap();
        let spec_id = SpecId(place.spec_id);
        let partition = Struct::from_iter(place.literals.clone());
        let entries = file.entries(&path, spec_id, &partition).unwrap();
        let added = |file| AddedFile { spec_id, file };
        entries.into_iter().map(added).collect()
    }

    /// Writes equality deletes: `rows` have the fields of `schema`, of which `ids` are the key.
    pub(super) async fn equality(
        &mut self,
        place: &Place,
        schema: &Schema,
        ids: &[i32],
        rows: &[Columns],
        dice: &mut Dice,
    ) -> AddedFile {
        let references: Vec<&Columns> = rows.iter().collect();
        let content = parquet(&arrow_schema(schema), &references, dice);
        let (path, size) = self.put("equality", content).await;
        let file = DataFileBuilder::default()
            .content(DataContentType::EqualityDeletes)
            .file_path(path)
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::from_iter(place.literals.clone()))
            .record_count(rows.len() as u64)
            .file_size_in_bytes(size)
            .partition_spec_id(place.spec_id)
            .equality_ids(Some(ids.to_vec()))
            .build()
            .unwrap();
        AddedFile {
            spec_id: SpecId(place.spec_id),
            file,
        }
    }
}

fn arrow_schema(schema: &Schema) -> SchemaRef {
    Arc::new(schema_to_arrow_schema(schema).unwrap())
}

/// A Parquet file; the dice choose how many row groups and pages it has.
fn parquet(schema: &SchemaRef, rows: &[&Columns], dice: &mut Dice) -> Vec<u8> {
    let mut properties = WriterProperties::builder();
    if dice.once_in(2) {
        properties = properties.set_max_row_group_row_count(Some(1 + dice.below(3)));
    }
    if dice.once_in(2) {
        properties = properties
            .set_data_page_row_count_limit(1)
            .set_write_batch_size(1);
    }
    if dice.once_in(3) {
        properties = properties.set_dictionary_enabled(false);
    }
    let mut content = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut content, Arc::clone(schema), Some(properties.build())).unwrap();
    writer.write(&to_batch(schema, rows)).unwrap();
    writer.close().unwrap();
    content
}

/// The partition of a row.
pub(super) fn place_of(schema: &Schema, spec: &PartitionSpec, row: &Columns) -> Place {
    let literals = spec.fields().iter().map(|field| {
        let source = schema.field_by_id(field.source_id)?;
        let Type::Primitive(kind) = source.field_type.as_ref() else {
            unreachable!("tables are partitioned by plain columns")
        };
        let datum = datum(find(row, field.source_id)?, kind)?;
        let transform = create_transform_function(&field.transform).unwrap();
        let result = transform.transform_literal(&datum).unwrap()?;
        Some(Literal::Primitive(result.literal().clone()))
    });
    Place {
        spec_id: spec.spec_id(),
        literals: literals.collect(),
    }
}

fn datum(value: &Value, kind: &PrimitiveType) -> Option<Datum> {
    Some(match (value.to_literal(kind)?, kind) {
        (PrimitiveLiteral::String(text), _) => Datum::string(text),
        (PrimitiveLiteral::Int(days), PrimitiveType::Date) => Datum::date(days),
        (PrimitiveLiteral::Int(number), _) => Datum::int(number),
        (PrimitiveLiteral::Long(micros), PrimitiveType::Timestamptz) => {
            Datum::timestamptz_micros(micros)
        }
        (PrimitiveLiteral::Long(number), _) => Datum::long(number),
        (other, kind) => unreachable!("tables are not partitioned by {other:?} as {kind}"),
    })
}

/// The columns of an equality delete file with this key.
pub(super) fn key_row(columns: &Columns, schema: &Schema, metadata: &TableMetadata) -> Columns {
    let fields = schema.as_struct().fields().iter();
    fields
        .map(|field| {
            let value = match field.field_type.as_ref() {
                Type::Struct(_) if !matches!(find(columns, field.id), Some(Value::Struct(_))) => {
                    Value::Null
                }
                Type::Struct(inner) => {
                    let fields = inner.fields().iter();
                    let keys = fields
                        .map(|field| (field.id, super::shape::key_of(metadata, columns, field.id)));
                    Value::Struct(keys.collect())
                }
                _ => super::shape::key_of(metadata, columns, field.id),
            };
            (field.id, value)
        })
        .collect()
}

/// Whether rows can be partitioned by a spec: it has all its columns still.
pub(super) fn is_usable(schema: &Schema, spec: &PartitionSpec) -> bool {
    let fields = spec.fields().iter();
    let mut sources = fields.map(|field| schema.field_by_id(field.source_id));
    sources.all(|source| source.is_some_and(|field| field.id != ID))
}
