//! Manifests and snapshots in a folder, written by the iceberg crate.

use std::{collections::HashMap, sync::Arc};

use apache_avro::{Codec, Reader, Writer};
use iceberg::{
    io::FileIO,
    spec::{
        DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, FormatVersion,
        ManifestFile, ManifestListWriter, ManifestWriter, ManifestWriterBuilder, NestedField,
        Operation, PartitionSpec, PrimitiveType, Schema, Snapshot, SortOrder, Struct, Summary,
        TableMetadata, TableMetadataBuilder, Transform, Type, UnboundPartitionSpec,
    },
};
use icepress_model::TableId;
use icepress_storage::LocalStorage;
use tempfile::TempDir;

use crate::{
    TableError,
    scan::{SnapshotScan, open_snapshot},
};

pub(super) const SNAPSHOT: i64 = 77;
pub(super) const SEQUENCE: i64 = 9;

/// A folder with a table's metadata.
pub(super) struct World {
    pub(super) folder: TempDir,
    pub(super) version: FormatVersion,
    pub(super) schema: Arc<Schema>,
    pub(super) spec: PartitionSpec,
}

impl World {
    /// A table partitioned by the string `region` and the double `load`, or by nothing.
    pub(super) fn new(version: FormatVersion, partitioned: bool) -> Self {
        let field = |id, name: &str, primitive| {
            NestedField::optional(id, name, Type::Primitive(primitive)).into()
        };
        let schema = Schema::builder()
            .with_fields([
                field(1, "region", PrimitiveType::String),
                field(2, "load", PrimitiveType::Double),
                field(3, "at", PrimitiveType::Timestamptz),
            ])
            .build()
            .unwrap();
        let schema = Arc::new(schema);
        let mut spec = PartitionSpec::builder(Arc::clone(&schema)).with_spec_id(0);
        if partitioned {
            spec = spec
                .add_partition_field("region", "region", Transform::Identity)
                .unwrap()
                .add_partition_field("load", "load", Transform::Identity)
                .unwrap()
                .add_partition_field("at", "day", Transform::Day)
                .unwrap();
        }
        Self {
            folder: TempDir::new().unwrap(),
            version,
            schema,
            spec: spec.build().unwrap(),
        }
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub(super) fn manifest(&self, name: &str, deletes: bool) -> ManifestWriter {
        let output = FileIO::new_with_fs().new_output(self.path(name)).unwrap();
        let builder = ManifestWriterBuilder::new(
            output,
            Some(SNAPSHOT),
            Arc::clone(&self.schema),
            self.spec.clone(),
        );
        match (self.version, deletes) {
            (FormatVersion::V1, _) => builder.build_v1(),
            (_, false) => builder.build_v2_data(),
            (_, true) => builder.build_v2_deletes(),
        }
    }

    /// Metadata whose current snapshot has these manifests.
    pub(super) async fn metadata(&self, manifests: Vec<ManifestFile>) -> TableMetadata {
        let list = self.path("list.avro");
        let output = FileIO::new_with_fs().new_output(&list).unwrap();
        let output = output.writer().await.unwrap();
        let mut writer = match self.version {
            FormatVersion::V1 => ManifestListWriter::v1(output, SNAPSHOT, None),
            _ => ManifestListWriter::v2(output, SNAPSHOT, None, SEQUENCE),
        };
        writer.add_manifests(manifests.into_iter()).unwrap();
        writer.close().await.unwrap();
        let snapshot = Snapshot::builder()
            .with_snapshot_id(SNAPSHOT)
            .with_sequence_number(if self.version == FormatVersion::V1 {
                0
            } else {
                SEQUENCE
            })
            .with_timestamp_ms(i64::MAX / 1_000_000)
            .with_manifest_list(list)
            .with_schema_id(0)
            .with_summary(Summary {
                operation: Operation::Append,
                additional_properties: HashMap::new(),
            })
            .build();
        self.table()
            .set_branch_snapshot(snapshot, "main")
            .unwrap()
            .build()
            .unwrap()
            .metadata
    }

    /// Metadata without a snapshot.
    pub(super) fn table(&self) -> TableMetadataBuilder {
        let mut spec = UnboundPartitionSpec::builder();
        for field in self.spec.fields() {
            spec = spec
                .add_partition_field(field.source_id, &field.name, field.transform)
                .unwrap();
        }
        TableMetadataBuilder::new(
            self.schema.as_ref().clone(),
            spec.build(),
            SortOrder::unsorted_order(),
            self.path("table"),
            self.version,
            HashMap::new(),
        )
        .unwrap()
    }

    pub(super) async fn scan(
        &self,
        manifests: Vec<ManifestFile>,
    ) -> Result<SnapshotScan, TableError> {
        let metadata = self.metadata(manifests).await;
        open_snapshot(&LocalStorage::new(), &table(), &metadata.into()).await
    }

    /// Writes a file again with another codec. Returns its new length.
    pub(super) fn recompress(&self, path: &str, codec: Codec) -> i64 {
        let bytes = std::fs::read(path).unwrap();
        let reader = Reader::new(bytes.as_slice()).unwrap();
        let schema = reader.writer_schema().clone();
        let mut writer = Writer::with_codec(&schema, Vec::new(), codec);
        for (key, value) in reader.user_metadata() {
            writer.add_user_metadata(key.clone(), value).unwrap();
        }
        for value in reader {
            writer.append(value.unwrap()).unwrap();
        }
        let bytes = writer.into_inner().unwrap();
        std::fs::write(path, &bytes).unwrap();
        bytes.len() as i64
    }
}

pub(super) fn table() -> TableId {
    "c.ns.t".parse().unwrap()
}

/// A data file with statistics of every kind.
pub(super) fn data_file(path: &str, partition: Struct) -> DataFileBuilder {
    let mut file = DataFileBuilder::default();
    file.content(DataContentType::Data)
        .file_path(path.to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(partition)
        .partition_spec_id(0)
        .record_count(1000)
        .file_size_in_bytes(123_456)
        .column_sizes(HashMap::from([(1, 100), (2, 300_000), (3, 5)]))
        .value_counts(HashMap::from([(1, 1000), (2, 1000)]))
        .null_value_counts(HashMap::from([(1, 0), (2, 70)]))
        .nan_value_counts(HashMap::from([(2, 4)]))
        .lower_bounds(HashMap::from([
            (1, Datum::string("a")),
            (2, Datum::double(-1.5)),
        ]))
        .upper_bounds(HashMap::from([
            (1, Datum::string("zz")),
            (2, Datum::double(7.5)),
        ]))
        .split_offsets(Some(vec![4, 70_000]));
    file
}

pub(super) fn delete_file(path: &str, content: DataContentType) -> DataFileBuilder {
    let mut file = data_file(path, Struct::empty());
    file.content(content)
        .lower_bounds(HashMap::new())
        .upper_bounds(HashMap::new());
    file
}

pub(super) fn build(file: &DataFileBuilder) -> DataFile {
    file.build().unwrap()
}
