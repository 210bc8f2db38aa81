//! From manifests to their list.

use serde_json::Value;

use super::{
    ManifestFile, Version,
    encode::{ManifestSettings, broken, put_optional, put_optional_bytes},
    schema,
    writer::ContainerWriter,
};
use crate::avro::{AvroError, AvroType, Field, put_bytes, put_long};

type Result<T> = std::result::Result<T, AvroError>;

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
    let layout = AvroType::parse_json(&json)?;
    let mut writer = ContainerWriter::new(&json, &header, settings.compression, sync);
    let mut record = Vec::new();
    for manifest in manifests {
        record.clear();
        for field in layout.fields().into_iter().flatten() {
            put_list_field(manifest, field, &mut record)?;
        }
        writer.append(&record)?;
    }
    writer.finish()
}

fn put_list_field(manifest: &ManifestFile, field: &Field, out: &mut Vec<u8>) -> Result<()> {
    let number = match field.id {
        Some(500) => {
            put_bytes(manifest.path.as_bytes(), out);
            return Ok(());
        }
        Some(507) => {
            put_summaries(manifest, out);
            return Ok(());
        }
        Some(519) => {
            put_optional_bytes(manifest.key_metadata.as_deref(), out);
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
    match (number, &field.layout) {
        (number, AvroType::Union(_)) => put_optional(number, out),
        (Some(number), _) => put_long(number, out),
        (None, _) => {
            return broken(format!(
                "the manifest list has no {} of {}",
                field.name, manifest.path
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
                put_optional_bytes(bound.as_deref(), out);
            }
        }
    }
    put_long(0, out);
}
