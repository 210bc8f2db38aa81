//! From entries to manifests: compressed, and cut at the table's target size.

use std::collections::HashSet;

use iceberg::spec::{Struct, StructType};
use serde::Deserialize;

use super::{
    Content, Count, Entry, ManifestFile, ManifestHeader, TrackedFile, Version,
    header::HeaderSchema,
    partition::{PartitionTable, Summaries, avro_type, put_partition},
    read::read_entries,
    schema,
    specs::Spec,
    writer::{Compression, ContainerWriter},
};
use crate::avro::{AvroError, AvroType, Cursor, Field, put_bytes, put_long, transcode};

type Result<T> = std::result::Result<T, AvroError>;

pub(super) fn broken<T>(message: impl Into<String>) -> Result<T> {
    Err(AvroError::corrupt(message))
}

/// What Iceberg's Java library writes into version 1's obsolete `block_size_in_bytes`.
const BLOCK_SIZE: i64 = 64 << 20;

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

impl Amendment {
    /// Writes the field with this id where it is to be another; whether it did.
    fn put(&self, id: Option<i32>, out: &mut Vec<u8>) -> bool {
        match id {
            Some(103) => self.rows.map(|rows| put_long(rows as i64, out)),
            Some(104) => self.size.map(|size| put_long(size as i64, out)),
            Some(132) => self
                .split_offsets
                .as_ref()
                .map(|offsets| put_offsets(offsets, out)),
            // Counts and bounds of other rows than there are would have files skipped that have what is asked for.
            Some(109 | 110 | 125 | 128 | 137) => self.rows.map(|_| put_long(0, out)),
            _ => None,
        }
        .is_some()
    }
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

/// What a manifest must know of an entry that was put into it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Put {
    /// The place of its status in added, existing, deleted.
    kind: usize,
    rows: i64,
    /// Its data sequence number, where it is live.
    live_at: Option<i64>,
}

impl<'a> NewEntry<'a> {
    /// The partition that the entry's file is in.
    fn partition(&self) -> &'a Struct {
        match self {
            Self::Added { partition, .. } => partition,
            Self::Existing { entry, .. }
            | Self::Amended { entry, .. }
            | Self::Deleted { entry, .. } => &entry.file.partition.value,
        }
    }
}

/// Encodes one entry.
fn put_entry(
    entry: &NewEntry<'_>,
    part: &ManifestPart<'_>,
    file_fields: &[Field],
    settings: &ManifestSettings,
    out: &mut Vec<u8>,
) -> Result<Put> {
    let (kind, status, snapshot_id, sequence_number, file_sequence_number) = match entry {
        NewEntry::Added {
            sequence_number, ..
        } => (0, 1, settings.snapshot_id, *sequence_number, None),
        NewEntry::Existing { entry, .. } => {
            let own = entry.file_sequence_number;
            (1, 0, entry.snapshot_id, entry.sequence_number, own)
        }
        NewEntry::Amended {
            entry, amendment, ..
        } => {
            let own = amendment.file_sequence_number;
            let own = own.or(entry.file_sequence_number);
            (1, 0, entry.snapshot_id, entry.sequence_number, own)
        }
        NewEntry::Deleted { entry, .. } => {
            let own = entry.file_sequence_number;
            (2, 2, settings.snapshot_id, entry.sequence_number, own)
        }
    };
    put_long(status, out);
    match settings.version {
        Version::V1 => put_long(snapshot_id, out),
        Version::V2 | Version::V3 => {
            put_optional(Some(snapshot_id), out);
            put_optional(Some(sequence_number), out);
            put_optional(file_sequence_number, out);
        }
    }
    let live_at = (kind != 2).then_some(sequence_number);
    let rows = match entry {
        NewEntry::Added {
            file, partition, ..
        } => {
            put_output(file, partition, part, file_fields, out)?;
            file.record_count
        }
        NewEntry::Existing { entry, from } | NewEntry::Deleted { entry, from } => {
            put_tracked(&entry.file, from, None, part, file_fields, out)?;
            entry.file.rows as i64
        }
        NewEntry::Amended {
            entry,
            from,
            amendment,
        } => {
            put_tracked(&entry.file, from, Some(*amendment), part, file_fields, out)?;
            amendment.rows.unwrap_or(entry.file.rows) as i64
        }
    };
    Ok(Put {
        kind,
        rows,
        live_at,
    })
}

pub(super) fn put_optional(value: Option<i64>, out: &mut Vec<u8>) {
    match value {
        Some(value) => {
            put_long(1, out);
            put_long(value, out);
        }
        None => put_long(0, out),
    }
}

/// Carries a file over: field by field, by id, each as the bytes that it was. What the table itself says is written anew:
/// the partition, by its spec, and the content. And what was inherited is written down, since the new manifest would hand
/// out another: the first row id. An amendment goes before what the entry says.
fn put_tracked(
    file: &TrackedFile,
    from: &ManifestHeader,
    amendment: Option<&Amendment>,
    part: &ManifestPart<'_>,
    file_fields: &[Field],
    out: &mut Vec<u8>,
) -> Result<()> {
    let fields = from.file_layout.fields_of(&file.raw)?;
    for field in file_fields {
        if amendment.is_some_and(|amendment| amendment.put(field.id, out)) {
            continue;
        }
        let source = fields.iter().find(|(source, _)| source.id == field.id);
        match (field.id, source) {
            (Some(102), _) => put_partition(&file.partition.value, part.partition_type, out)
                .map_err(|message| carried(file, &message))?,
            (Some(134), _) => put_long(file.content as i64, out),
            (Some(142), _) => put_optional(file.first_row_id, out),
            (_, Some((source, bytes))) => {
                let is_there =
                    transcode(&mut Cursor::new(bytes), &source.layout, &field.layout, out)
                        .map_err(|error| carried(file, &format!("its {}: {error}", field.name)))?;
                if !is_there {
                    return Err(carried(file, &format!("its {} is null", field.name)));
                }
            }
            // Obsolete, and required in version 1.
            (Some(105), None) => put_long(BLOCK_SIZE, out),
            (_, None)
                if field
                    .layout
                    .optional()
                    .is_some_and(|(null, _)| null.is_some()) =>
            {
                put_long(0, out);
            }
            (_, None) => return Err(carried(file, &format!("it has no {}", field.name))),
        }
    }
    Ok(())
}

fn carried(file: &TrackedFile, message: &str) -> AvroError {
    AvroError::corrupt(format!(
        "file {} can't be carried over: {message}",
        file.path
    ))
}

/// Writes a new file.
fn put_output(
    file: &OutputFile,
    partition: &Struct,
    part: &ManifestPart<'_>,
    file_fields: &[Field],
    out: &mut Vec<u8>,
) -> Result<()> {
    for field in file_fields {
        match field.id {
            Some(134) => put_long(i64::from(file.content), out),
            Some(100) => put_bytes(file.file_path.as_bytes(), out),
            Some(101) => put_bytes(file.file_format.to_ascii_uppercase().as_bytes(), out),
            Some(102) => put_partition(partition, part.partition_type, out)
                .map_err(|message| AvroError::corrupt(format!("{}: {message}", file.file_path)))?,
            Some(103) => put_long(file.record_count, out),
            Some(104) => put_long(file.file_size_in_bytes, out),
            Some(105) => put_long(BLOCK_SIZE, out),
            Some(108) => put_metrics(&file.column_sizes, |count, out| put_long(*count, out), out),
            Some(109) => put_metrics(&file.value_counts, |count, out| put_long(*count, out), out),
            Some(110) => put_metrics(
                &file.null_value_counts,
                |count, out| put_long(*count, out),
                out,
            ),
            Some(137) => put_metrics(
                &file.nan_value_counts,
                |count, out| put_long(*count, out),
                out,
            ),
            Some(125) => put_metrics(&file.lower_bounds, |bound, out| put_bytes(bound, out), out),
            Some(128) => put_metrics(&file.upper_bounds, |bound, out| put_bytes(bound, out), out),
            Some(131) => put_optional_bytes(file.key_metadata.as_deref(), out),
            Some(132) => put_offsets(file.split_offsets.as_deref().unwrap_or_default(), out),
            Some(140) => put_optional(file.sort_order_id.map(i64::from), out),
            Some(143) => {
                put_optional_bytes(file.referenced_data_file.as_deref().map(str::as_bytes), out);
            }
            Some(144) => put_optional(file.content_offset, out),
            Some(145) => put_optional(file.content_size_in_bytes, out),
            // What we never write anew: keys of equality deletes.
            _ if matches!(field.layout, AvroType::Union(_)) => put_long(0, out),
            id => {
                return broken(format!(
                    "a new file has nothing for the required field {id:?}"
                ));
            }
        }
    }
    Ok(())
}

fn put_offsets(offsets: &[i64], out: &mut Vec<u8>) {
    if offsets.is_empty() {
        return put_long(0, out);
    }
    put_long(1, out);
    put_long(offsets.len() as i64, out);
    offsets.iter().for_each(|offset| put_long(*offset, out));
    put_long(0, out);
}

pub(super) fn put_optional_bytes(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    match bytes {
        Some(bytes) => {
            put_long(1, out);
            put_bytes(bytes, out);
        }
        None => put_long(0, out),
    }
}

fn put_metrics<T>(
    metrics: &Option<Vec<Metric<T>>>,
    put: impl Fn(&T, &mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    let mut metrics: Vec<&Metric<T>> = metrics.iter().flatten().collect();
    if metrics.is_empty() {
        put_long(0, out);
        return;
    }
    metrics.sort_by_key(|metric| metric.key);
    put_long(1, out);
    put_long(metrics.len() as i64, out);
    for metric in metrics {
        put_long(i64::from(metric.key), out);
        put(&metric.value, out);
    }
    put_long(0, out);
}
