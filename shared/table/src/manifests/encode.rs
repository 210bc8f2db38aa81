//! From entries to manifests: compressed, and cut at the table's target size.

use std::collections::HashSet;

use iceberg::spec::{Struct, StructType};
use serde::Deserialize;

use super::{
    Content, Count, Entry, ManifestFile, ManifestHeader, Version,
    header::HeaderSchema,
    partition::{PartitionTable, Summaries, avro_type},
    read::read_entries,
    schema,
    specs::Spec,
    writer::{Compression, ContainerWriter},
};
use crate::avro::{AvroError, AvroType, Field};

mod entry;

pub(crate) use entry::Put;
use entry::put_entry;
pub(super) use entry::{put_optional, put_optional_bytes};

type Result<T> = std::result::Result<T, AvroError>;

pub(super) fn broken<T>(message: impl Into<String>) -> Result<T> {
    Err(AvroError::corrupt(message))
}

/// A new data file or delete file, in the JSON form that `iceberg::spec::serialize_data_file_to_json` gives. Bounds stay bytes, so that
/// they reach the manifest as they were computed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct OutputFile {
    #[serde(default)]
    pub(crate) content: i32,
    pub(crate) file_path: String,
    pub(crate) file_format: String,
    /// As that form has it; the manifest gets the partition of the files that are replaced.
    #[serde(default)]
    pub(crate) partition: serde_json::Value,
    pub(crate) record_count: i64,
    pub(crate) file_size_in_bytes: i64,
    #[serde(default)]
    pub(crate) column_sizes: Option<Vec<Metric<i64>>>,
    #[serde(default)]
    pub(crate) value_counts: Option<Vec<Metric<i64>>>,
    #[serde(default)]
    pub(crate) null_value_counts: Option<Vec<Metric<i64>>>,
    #[serde(default)]
    pub(crate) nan_value_counts: Option<Vec<Metric<i64>>>,
    #[serde(default)]
    pub(crate) lower_bounds: Option<Vec<Metric<Vec<u8>>>>,
    #[serde(default)]
    pub(crate) upper_bounds: Option<Vec<Metric<Vec<u8>>>>,
    #[serde(default)]
    pub(crate) key_metadata: Option<Vec<u8>>,
    #[serde(default)]
    pub(crate) split_offsets: Option<Vec<i64>>,
    #[serde(default)]
    pub(crate) sort_order_id: Option<i32>,
    /// The one data file that a delete file is about.
    #[serde(default)]
    pub(crate) referenced_data_file: Option<String>,
    /// Where a vector starts in its file, and how long it is.
    #[serde(default)]
    pub(crate) content_offset: Option<i64>,
    #[serde(default)]
    pub(crate) content_size_in_bytes: Option<i64>,
}

impl OutputFile {
    /// Whether this is a vector, and not a file of rows or position deletes.
    pub(crate) fn is_vector(&self) -> bool {
        self.file_format.eq_ignore_ascii_case("puffin")
    }

    /// What tells it from other new files: several vectors share a Puffin file.
    pub(crate) fn identity(&self) -> (&str, Option<i64>) {
        (&self.file_path, self.content_offset)
    }
}

/// A value for one column.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Metric<T> {
    /// The column's field id.
    pub(crate) key: i32,
    pub(crate) value: T,
}

/// An entry to be written.
#[derive(Debug, Clone)]
pub(crate) enum NewEntry<'a> {
    /// A file that is new, in this partition, at an explicit data sequence number.
    Added {
        file: &'a OutputFile,
        partition: &'a Struct,
        sequence_number: i64,
    },
    /// A file that stays, with all its numbers.
    Existing {
        entry: &'a Entry,
        from: &'a ManifestHeader,
    },
    /// A file that stays, of which its manifest said something wrong.
    Amended {
        entry: &'a Entry,
        from: &'a ManifestHeader,
        amendment: &'a Amendment,
    },
    /// A file that goes: a tombstone of this snapshot.
    Deleted {
        entry: &'a Entry,
        from: &'a ManifestHeader,
    },
}

/// What an entry is to say of its file instead of what it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Amendment {
    pub(crate) rows: Option<u64>,
    pub(crate) size: Option<u64>,
    pub(crate) split_offsets: Option<Vec<i64>>,
    pub(crate) file_sequence_number: Option<i64>,
}

/// Entries that go into manifests of one kind: the same content, schema, spec and partition type.
#[derive(Debug)]
pub(crate) struct ManifestPart<'a> {
    pub(crate) content: Content,
    pub(crate) spec_id: i32,
    /// What the header says of schema and spec.
    pub(crate) schema: HeaderSchema,
    pub(crate) partition_spec: Vec<u8>,
    /// The type of the spec's partitions.
    pub(crate) partition_type: &'a StructType,
    pub(crate) entries: Vec<NewEntry<'a>>,
    /// Manifests whose live entries follow.
    pub(crate) carried: Vec<Carried<'a>>,
}

/// A manifest whose live entries are carried over without being held in memory: it is read again while they are written.
#[derive(Debug)]
pub(crate) struct Carried<'a> {
    pub(crate) file: &'a ManifestFile,
    pub(crate) spec: &'a Spec,
    pub(crate) from: &'a ManifestHeader,
    /// Which of its live entries go, by their place among these.
    pub(crate) gone: HashSet<usize>,
}

/// What all manifests of a commit share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ManifestSettings {
    pub(crate) version: Version,
    pub(crate) compression: Compression,
    pub(crate) target_bytes: usize,
    pub(crate) snapshot_id: i64,
    pub(crate) sequence_number: i64,
}

/// A manifest ready to be stored: its bytes, and its entry in the manifest list but for the path.
#[derive(Debug)]
pub(crate) struct WrittenManifest {
    pub(crate) bytes: Vec<u8>,
    pub(crate) file: ManifestFile,
}

/// Encodes the entries of a part into one or more manifests, as they come.
#[derive(Debug)]
pub(crate) struct ManifestWriter<'a> {
    part: &'a ManifestPart<'a>,
    settings: ManifestSettings,
    /// The Avro schema.
    json: serde_json::Value,
    layout: AvroType,
    meta: Vec<(String, Vec<u8>)>,
    open: Option<Unfinished>,
    record: Vec<u8>,
}

impl<'a> ManifestWriter<'a> {
    /// For manifests of `part`, of which no entry is taken here.
    pub(crate) fn new(part: &'a ManifestPart<'a>, settings: &ManifestSettings) -> Result<Self> {
        let json = schema::manifest(
            settings.version,
            part.content,
            &avro_type(part.partition_type),
        );
        Ok(Self {
            part,
            settings: *settings,
            layout: AvroType::parse_json(&json)?,
            json,
            meta: header_entries(part, settings),
            open: None,
            record: Vec::new(),
        })
    }

    /// Adds an entry; returns the manifest that is full with it. `sync` gives 16 random bytes a file.
    pub(crate) fn add(
        &mut self,
        entry: &NewEntry<'_>,
        sync: impl FnOnce() -> [u8; 16],
    ) -> Result<Option<WrittenManifest>> {
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        let put = self.encode(entry, &mut record)?;
        let full = self.append(&record, put, entry.partition(), sync);
        self.record = record;
        full
    }

    /// Encodes an entry as these manifests have it, to be added later.
    pub(crate) fn encode(&self, entry: &NewEntry<'_>, out: &mut Vec<u8>) -> Result<Put> {
        let file_fields = field(&self.layout, 2).and_then(|field| field.layout.fields());
        let Some(file_fields) = file_fields else {
            return broken("the manifest schema has no file");
        };
        put_entry(entry, self.part, file_fields, &self.settings, out)
    }

    /// Adds an entry that was encoded, of a file in this partition.
    pub(crate) fn append(
        &mut self,
        record: &[u8],
        put: Put,
        partition: &Struct,
        sync: impl FnOnce() -> [u8; 16],
    ) -> Result<Option<WrittenManifest>> {
        let manifest = match &mut self.open {
            Some(manifest) => manifest,
            none => none.insert(Unfinished {
                writer: ContainerWriter::new(
                    &self.json,
                    &self.meta,
                    self.settings.compression,
                    sync(),
                ),
                summaries: Summaries::new(self.part.partition_type),
                counts: [Count {
                    files: Some(0),
                    rows: Some(0),
                }; 3],
                min_sequence_number: None,
            }),
        };
        manifest.writer.append(record)?;
        manifest.summaries.add(partition);
        let count = &mut manifest.counts[put.kind];
        count.files = count.files.map(|files| files + 1);
        count.rows = count.rows.map(|sum| sum.saturating_add(put.rows));
        if let Some(number) = put.live_at {
            let least = manifest.min_sequence_number.get_or_insert(number);
            *least = number.min(*least);
        }
        if manifest.writer.written() < self.settings.target_bytes {
            return Ok(None);
        }
        self.end()
    }

    /// Adds the live entries of a manifest with this content, those that go as tombstones; returns the manifests that are
    /// full.
    pub(crate) fn carry_over(
        &mut self,
        carried: &Carried<'_>,
        content: &[u8],
        mut sync: impl FnMut() -> [u8; 16],
    ) -> Result<Vec<WrittenManifest>> {
        let Carried {
            file,
            spec,
            from,
            gone,
        } = carried;
        let mut partitions = PartitionTable::default();
        let (mut place, mut full) = (0, Vec::new());
        read_entries(content, file, spec, &mut partitions, |entry, partition| {
            let entry = &Entry::of(entry, partition, spec);
            let entry = match gone.contains(&place) {
                true => NewEntry::Deleted { entry, from },
                false => NewEntry::Existing { entry, from },
            };
            full.extend(self.add(&entry, &mut sync)?);
            place += 1;
            Ok(())
        })?;
        Ok(full)
    }

    /// Ends the open manifest, if there is one.
    pub(crate) fn end(&mut self) -> Result<Option<WrittenManifest>> {
        let open = self.open.take();
        open.map(|manifest| manifest.finish(self.part, &self.settings))
            .transpose()
    }
}

fn field(record: &AvroType, id: i32) -> Option<&Field> {
    let fields = record.fields()?;
    fields.iter().find(|field| field.id == Some(id))
}

#[derive(Debug)]
struct Unfinished {
    writer: ContainerWriter,
    summaries: Summaries,
    /// Added, existing, deleted.
    counts: [Count; 3],
    min_sequence_number: Option<i64>,
}

impl Unfinished {
    fn finish(
        self,
        part: &ManifestPart<'_>,
        settings: &ManifestSettings,
    ) -> Result<WrittenManifest> {
        let bytes = self.writer.finish()?;
        let [added, existing, deleted] = self.counts;
        Ok(WrittenManifest {
            file: ManifestFile {
                path: String::new(),
                length: bytes.len() as i64,
                spec_id: part.spec_id,
                content: part.content,
                sequence_number: settings.sequence_number,
                min_sequence_number: self.min_sequence_number.unwrap_or(settings.sequence_number),
                added_snapshot_id: settings.snapshot_id,
                added,
                existing,
                deleted,
                partitions: Some(self.summaries.finish()),
                key_metadata: None,
                first_row_id: None,
            },
            bytes,
        })
    }
}

fn header_entries(part: &ManifestPart<'_>, settings: &ManifestSettings) -> Vec<(String, Vec<u8>)> {
    let mut entries = vec![("schema".to_owned(), part.schema.json.clone())];
    let schema_id = part.schema.id.clone();
    entries.extend(schema_id.map(|id| ("schema-id".to_owned(), id)));
    entries.push(("partition-spec".to_owned(), part.partition_spec.clone()));
    let spec_id = part.spec_id.to_string().into_bytes();
    entries.push(("partition-spec-id".to_owned(), spec_id));
    let version = settings.version.text().as_bytes().to_vec();
    entries.push(("format-version".to_owned(), version));
    if settings.version > Version::V1 {
        let content: &[u8] = match part.content {
            Content::Data => b"data",
            Content::Deletes => b"deletes",
        };
        entries.push(("content".to_owned(), content.to_vec()));
    }
    entries
}
