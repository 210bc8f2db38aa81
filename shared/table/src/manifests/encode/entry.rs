//! One entry of a manifest, field by field.

use iceberg::spec::Struct;

use super::{
    Amendment, ManifestPart, ManifestSettings, Metric, NewEntry, OutputFile, Result, broken,
};
use crate::{
    avro::{AvroError, AvroType, Cursor, Field, put_bytes, put_long, transcode},
    manifests::{ManifestHeader, TrackedFile, Version, partition::put_partition},
};

/// What Iceberg's Java library writes into version 1's obsolete `block_size_in_bytes`.
const BLOCK_SIZE: i64 = 64 << 20;

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

/// What a manifest must know of an entry that was put into it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Put {
    /// The place of its status in added, existing, deleted.
    pub(super) kind: usize,
    pub(super) rows: i64,
    /// Its data sequence number, where it is live.
    pub(super) live_at: Option<i64>,
}

impl<'a> NewEntry<'a> {
    /// The partition that the entry's file is in.
    pub(super) fn partition(&self) -> &'a Struct {
        match self {
            Self::Added { partition, .. } => partition,
            Self::Existing { entry, .. }
            | Self::Amended { entry, .. }
            | Self::Deleted { entry, .. } => &entry.file.partition.value,
        }
    }
}

/// Encodes one entry.
pub(super) fn put_entry(
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

pub(in crate::manifests) fn put_optional(value: Option<i64>, out: &mut Vec<u8>) {
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

pub(in crate::manifests) fn put_optional_bytes(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
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
