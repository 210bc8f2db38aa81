//! From entries to manifests and manifest lists: compressed, and cut at the table's target size.

use serde::Deserialize;
use serde_json::Value;

use super::{
    Content, Count, Entry, ManifestFile, ManifestHeader, TrackedFile, Version,
    avro::{AvroError, Cursor, Result, Shape, broken, put_bytes, put_long, transcode},
    container::{Compression, ContainerWriter},
    partition::Summaries,
    schema,
};

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
    /// As that form has it; the manifest gets its bytes from the files that are replaced.
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
    /// A file that is new, in the partition whose encoded tuple is given, at an explicit data sequence number.
    Added {
        file: &'a OutputFile,
        partition: &'a [u8],
        sequence_number: i64,
    },
    /// A file that stays, with all its numbers.
    Existing {
        entry: &'a Entry,
        from: &'a ManifestHeader,
    },
    /// A file that goes: a tombstone of this snapshot.
    Deleted {
        entry: &'a Entry,
        from: &'a ManifestHeader,
    },
}

/// Entries that go into manifests of one kind: the same content, schema, spec and partition type.
#[derive(Debug)]
pub(crate) struct ManifestPart<'a> {
    /// Where the partition type and spec come from; schema too, unless `schema` is given.
    pub(crate) header: &'a ManifestHeader,
    /// Another schema for the header, with its id.
    pub(crate) schema: Option<(Vec<u8>, i32)>,
    pub(crate) entries: Vec<NewEntry<'a>>,
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

/// Encodes `part` into one or more manifests. `sync` gives 16 random bytes a file.
pub(crate) fn write_manifests(
    part: &ManifestPart<'_>,
    settings: &ManifestSettings,
    mut sync: impl FnMut() -> [u8; 16],
) -> Result<Vec<WrittenManifest>> {
    let header = part.header;
    let json = schema::manifest(settings.version, header.content, &header.partition_json);
    let shape = Shape::parse(&json)?;
    let Some(file_shape) = shape.field(2)?.map(|field| &field.shape) else {
        return broken("the manifest schema has no file");
    };
    let meta = header_entries(part, settings);
    let mut manifests = Vec::new();
    let mut open: Option<OpenManifest> = None;
    let mut record = Vec::new();
    for entry in &part.entries {
        let manifest = match &mut open {
            Some(manifest) => manifest,
            none => none.insert(OpenManifest {
                writer: ContainerWriter::new(&json, &meta, settings.compression, sync()),
                summaries: Summaries::new(&header.partition_shape)?,
                counts: [Count {
                    files: Some(0),
                    rows: Some(0),
                }; 3],
                min_sequence_number: None,
            }),
        };
        record.clear();
        let (kind, rows, live_at, partition) =
            put_entry(entry, header, &shape, file_shape, settings, &mut record)?;
        manifest.writer.append(&record)?;
        manifest
            .summaries
            .add(&header.partition_shape, &partition)?;
        let count = &mut manifest.counts[kind];
        count.files = count.files.map(|files| files + 1);
        count.rows = count.rows.map(|sum| sum.saturating_add(rows));
        if let Some(number) = live_at {
            let least = manifest.min_sequence_number.get_or_insert(number);
            *least = number.min(*least);
        }
        if manifest.writer.written() >= settings.target_bytes {
            manifests.extend(open.take().map(|m| m.finish(header, settings)));
        }
    }
    manifests.extend(open.map(|m| m.finish(header, settings)));
    manifests.into_iter().collect()
}

#[derive(Debug)]
struct OpenManifest {
    writer: ContainerWriter,
    summaries: Summaries,
    /// Added, existing, deleted.
    counts: [Count; 3],
    min_sequence_number: Option<i64>,
}

impl OpenManifest {
    fn finish(
        self,
        header: &ManifestHeader,
        settings: &ManifestSettings,
    ) -> Result<WrittenManifest> {
        let bytes = self.writer.finish()?;
        let [added, existing, deleted] = self.counts;
        Ok(WrittenManifest {
            file: ManifestFile {
                path: String::new(),
                length: bytes.len() as i64,
                spec_id: header.spec_id,
                content: header.content,
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
    let header = part.header;
    let (schema, schema_id) = match &part.schema {
        Some((schema, id)) => (schema.clone(), Some(id.to_string().into_bytes())),
        None => (header.schema.clone(), header.schema_id.clone()),
    };
    let mut entries = vec![("schema".to_owned(), schema)];
    entries.extend(schema_id.map(|id| ("schema-id".to_owned(), id)));
    entries.push(("partition-spec".to_owned(), header.partition_spec.clone()));
    let spec_id = header.spec_id.to_string().into_bytes();
    entries.push(("partition-spec-id".to_owned(), spec_id));
    let version = settings.version.text().as_bytes().to_vec();
    entries.push(("format-version".to_owned(), version));
    if settings.version > Version::V1 {
        let content: &[u8] = match header.content {
            Content::Data => b"data",
            Content::Deletes => b"deletes",
        };
        entries.push(("content".to_owned(), content.to_vec()));
    }
    entries
}

/// Encodes one entry. Returns the place of its status in added, existing, deleted; its rows; its data sequence number
/// where it is live; and its partition tuple.
fn put_entry(
    entry: &NewEntry<'_>,
    header: &ManifestHeader,
    shape: &Shape,
    file_shape: &Shape,
    settings: &ManifestSettings,
    out: &mut Vec<u8>,
) -> Result<(usize, i64, Option<i64>, Vec<u8>)> {
    let (kind, status, snapshot_id, sequence_number, file_sequence_number) = match entry {
        NewEntry::Added {
            sequence_number, ..
        } => (0, 1, settings.snapshot_id, *sequence_number, None),
        NewEntry::Existing { entry, .. } => {
            let own = Some(entry.file_sequence_number);
            (1, 0, entry.snapshot_id, entry.sequence_number, own)
        }
        NewEntry::Deleted { entry, .. } => {
            let own = Some(entry.file_sequence_number);
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
    debug_assert_eq!(
        shape.fields().map(<[_]>::len),
        Ok(match settings.version {
            Version::V1 => 3,
            Version::V2 | Version::V3 => 5,
        })
    );
    let live_at = (kind != 2).then_some(sequence_number);
    match entry {
        NewEntry::Added {
            file, partition, ..
        } => {
            put_output(file, partition, file_shape, out)?;
            Ok((kind, file.record_count, live_at, partition.to_vec()))
        }
        NewEntry::Existing { entry, from } | NewEntry::Deleted { entry, from } => {
            put_tracked(&entry.file, from, file_shape, out)?;
            let partition = partition_of(from, &entry.file.raw)?;
            debug_assert_eq!(from.partition_shape, header.partition_shape);
            Ok((kind, entry.file.rows as i64, live_at, partition.to_vec()))
        }
    }
}

fn put_optional(value: Option<i64>, out: &mut Vec<u8>) {
    match value {
        Some(value) => {
            put_long(1, out);
            put_long(value, out);
        }
        None => put_long(0, out),
    }
}

/// The encoded partition tuple of a file.
pub(crate) fn partition_of<'a>(header: &ManifestHeader, raw: &'a [u8]) -> Result<&'a [u8]> {
    let mut found = None;
    Cursor::new(raw).record(&header.file_shape, |field, bytes| {
        if field.id == Some(102) {
            found = Some(bytes);
        }
        Ok(())
    })?;
    found.ok_or_else(|| AvroError("an entry has no partition".to_owned()))
}

/// Carries a file over: field by field, by id, each as the bytes that it was. Only the first row id may be more than its
/// entry had: what was inherited is written down, since the new manifest would hand out another.
fn put_tracked(
    file: &TrackedFile,
    from: &ManifestHeader,
    to: &Shape,
    out: &mut Vec<u8>,
) -> Result<()> {
    let mut fields = Vec::with_capacity(24);
    Cursor::new(&file.raw).record(&from.file_shape, |field, bytes| {
        if let Some(id) = field.id {
            fields.push((id, field.shape.clone(), bytes));
        }
        Ok(())
    })?;
    for field in to.fields()? {
        let source = fields.iter().find(|(id, ..)| Some(*id) == field.id);
        match (source, field.id, &field.shape) {
            (_, Some(142), _) => put_optional(file.first_row_id, out),
            (Some((_, shape, bytes)), ..) => transcode(bytes, shape, &field.shape, out)?,
            // Version 1 has no content, and does without the block size since long.
            (None, Some(134), _) => put_long(file.content as i64, out),
            (None, Some(105), _) => put_long(BLOCK_SIZE, out),
            (None, _, Shape::Union(_)) => put_long(0, out),
            (None, id, _) => return broken(format!("an entry lacks the required field {id:?}")),
        }
    }
    Ok(())
}

/// Writes a new file, whose partition is already encoded.
fn put_output(file: &OutputFile, partition: &[u8], to: &Shape, out: &mut Vec<u8>) -> Result<()> {
    for field in to.fields()? {
        match field.id {
            Some(134) => put_long(i64::from(file.content), out),
            Some(100) => put_bytes(file.file_path.as_bytes(), out),
            Some(101) => put_bytes(file.file_format.to_ascii_uppercase().as_bytes(), out),
            Some(102) => out.extend_from_slice(partition),
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
            Some(131) => match &file.key_metadata {
                Some(key) => {
                    put_long(1, out);
                    put_bytes(key, out);
                }
                None => put_long(0, out),
            },
            Some(132) => match &file.split_offsets {
                Some(offsets) if !offsets.is_empty() => {
                    put_long(1, out);
                    put_long(offsets.len() as i64, out);
                    offsets.iter().for_each(|offset| put_long(*offset, out));
                    put_long(0, out);
                }
                _ => put_long(0, out),
            },
            Some(140) => match file.sort_order_id {
                Some(id) => {
                    put_long(1, out);
                    put_long(i64::from(id), out);
                }
                None => put_long(0, out),
            },
            Some(143) => match &file.referenced_data_file {
                Some(path) => {
                    put_long(1, out);
                    put_bytes(path.as_bytes(), out);
                }
                None => put_long(0, out),
            },
            Some(id @ (144 | 145)) => {
                let value = match id {
                    144 => file.content_offset,
                    _ => file.content_size_in_bytes,
                };
                match value {
                    Some(value) => {
                        put_long(1, out);
                        put_long(value, out);
                    }
                    None => put_long(0, out),
                }
            }
            // What we never write anew: keys of equality deletes.
            _ if matches!(field.shape, Shape::Union(_)) => put_long(0, out),
            id => {
                return broken(format!(
                    "a new file has nothing for the required field {id:?}"
                ));
            }
        }
    }
    Ok(())
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

/// Encodes a manifest list. Every count must be known from version 2 on, and in version 3 every data manifest's first row
/// id ([`super::assign_first_row_ids`]).
pub(crate) fn write_manifest_list(
    manifests: &[ManifestFile],
    parent_snapshot_id: Option<i64>,
    settings: &ManifestSettings,
    sync: [u8; 16],
) -> Result<Vec<u8>> {
    let parent = parent_snapshot_id.map_or("null".to_owned(), |id| id.to_string());
    let mut header = vec![
        (
            "snapshot-id".to_owned(),
            settings.snapshot_id.to_string().into_bytes(),
        ),
        ("parent-snapshot-id".to_owned(), parent.into_bytes()),
    ];
    if settings.version > Version::V1 {
        let number = settings.sequence_number.to_string().into_bytes();
        header.push(("sequence-number".to_owned(), number));
    }
    let version = settings.version.text().as_bytes().to_vec();
    header.push(("format-version".to_owned(), version));
    let json: Value = schema::manifest_list(settings.version);
    let shape = Shape::parse(&json)?;
    let mut writer = ContainerWriter::new(&json, &header, settings.compression, sync);
    let mut record = Vec::new();
    for manifest in manifests {
        record.clear();
        for field in shape.fields()? {
            put_list_field(manifest, field.id, &field.shape, &mut record)?;
        }
        writer.append(&record)?;
    }
    writer.finish()
}

fn put_list_field(
    manifest: &ManifestFile,
    id: Option<i32>,
    shape: &Shape,
    out: &mut Vec<u8>,
) -> Result<()> {
    let number = match id {
        Some(500) => {
            put_bytes(manifest.path.as_bytes(), out);
            return Ok(());
        }
        Some(507) => {
            put_summaries(manifest, out);
            return Ok(());
        }
        Some(519) => {
            match &manifest.key_metadata {
                Some(key) => {
                    put_long(1, out);
                    put_bytes(key, out);
                }
                None => put_long(0, out),
            }
            return Ok(());
        }
        Some(501) => Some(manifest.length),
        Some(502) => Some(i64::from(manifest.spec_id)),
        Some(517) => Some(manifest.content as i64),
        Some(515) => Some(manifest.sequence_number),
        Some(516) => Some(manifest.min_sequence_number),
        Some(503) => Some(manifest.added_snapshot_id),
        Some(504) => manifest.added.files,
        Some(505) => manifest.existing.files,
        Some(506) => manifest.deleted.files,
        Some(512) => manifest.added.rows,
        Some(513) => manifest.existing.rows,
        Some(514) => manifest.deleted.rows,
        Some(520) => manifest.first_row_id,
        _ => None,
    };
    match (number, shape) {
        (Some(number), Shape::Union(_)) => {
            put_long(1, out);
            put_long(number, out);
        }
        (Some(number), _) => put_long(number, out),
        (None, Shape::Union(_)) => put_long(0, out),
        (None, _) => {
            return broken(format!(
                "the manifest list has no value for field {id:?} of {}",
                manifest.path
            ));
        }
    }
    Ok(())
}

fn put_summaries(manifest: &ManifestFile, out: &mut Vec<u8>) {
    let Some(summaries) = &manifest.partitions else {
        put_long(0, out);
        return;
    };
    put_long(1, out);
    if !summaries.is_empty() {
        put_long(summaries.len() as i64, out);
        for summary in summaries {
            out.push(u8::from(summary.contains_null));
            match summary.contains_nan {
                Some(nan) => {
                    put_long(1, out);
                    out.push(u8::from(nan));
                }
                None => put_long(0, out),
            }
            for bound in [&summary.lower_bound, &summary.upper_bound] {
                match bound {
                    Some(bound) => {
                        put_long(1, out);
                        put_bytes(bound, out);
                    }
                    None => put_long(0, out),
                }
            }
        }
    }
    put_long(0, out);
}
