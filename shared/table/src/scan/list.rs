//! Manifest lists: which manifests a snapshot has.

use iceberg::spec::ManifestContentType;

use crate::avro::{AvroError, Container, Field, Layout, Projection, Want};

/// A manifest, as its snapshot's list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListedManifest {
    pub(super) path: String,
    pub(super) length: u64,
    pub(super) spec_id: i32,
    pub(super) content: ManifestContentType,
    /// 0 for manifests of format version 1.
    pub(super) sequence_number: i64,
    /// Whether it can have live files; true where the list does not say.
    pub(super) has_live_files: bool,
    /// What data files without a first row id of their own count on from; `None` before format version 3.
    pub(super) first_row_id: Option<i64>,
    pub(super) encrypted: bool,
}

#[derive(Debug, Clone, Copy)]
enum ListField {
    Path,
    Length,
    SpecId,
    Content,
    SequenceNumber,
    AddedFiles,
    ExistingFiles,
    FirstRowId,
    KeyMetadata,
}

/// Reads a manifest list of any format version.
pub(super) fn read_manifest_list(file: &[u8]) -> Result<Vec<ListedManifest>, AvroError> {
    let container = Container::open(file)?;
    let projection = Projection::new(container.schema(), &want)?;
    let mut manifests = Vec::new();
    container.for_each(|cursor| {
        let mut path = None;
        let mut integers = [None; 7];
        let [
            length,
            spec_id,
            content,
            sequence_number,
            added,
            existing,
            first_row_id,
        ] = &mut integers;
        let mut encrypted = false;
        projection.read(cursor, |field, _, cursor| {
            match field {
                ListField::Path => path = Some(cursor.string()?.to_owned()),
                ListField::Length => *length = Some(cursor.varint()?),
                ListField::SpecId => *spec_id = Some(cursor.varint()?),
                ListField::Content => *content = Some(cursor.varint()?),
                ListField::SequenceNumber => *sequence_number = Some(cursor.varint()?),
                ListField::AddedFiles => *added = Some(cursor.varint()?),
                ListField::ExistingFiles => *existing = Some(cursor.varint()?),
                ListField::FirstRowId => *first_row_id = Some(cursor.varint()?),
                ListField::KeyMetadata => encrypted = !cursor.bytes()?.is_empty(),
            }
            Ok(())
        })?;
        let required = |value: Option<i64>, name: &str| {
            value.ok_or_else(|| AvroError::corrupt(format!("a manifest without {name}")))
        };
        let spec_id = required(*spec_id, "a partition spec id")?;
        let length = required(*length, "a length")?;
        manifests.push(ListedManifest {
            path: path.ok_or_else(|| AvroError::corrupt("a manifest without a path"))?,
            length: u64::try_from(length)
                .map_err(|_| AvroError::corrupt(format!("a manifest of {length} bytes")))?,
            spec_id: i32::try_from(spec_id)
                .map_err(|_| AvroError::corrupt(format!("partition spec {spec_id}")))?,
            content: match content.unwrap_or(0) {
                0 => ManifestContentType::Data,
                1 => ManifestContentType::Deletes,
                other => {
                    return Err(AvroError::corrupt(format!("a manifest of content {other}")));
                }
            },
            sequence_number: sequence_number.unwrap_or(0),
            has_live_files: !(*added == Some(0) && *existing == Some(0)),
            first_row_id: *first_row_id,
            encrypted,
        });
        Ok(())
    })?;
    Ok(manifests)
}

fn want(field: &Field) -> Want<ListField> {
    use ListField as F;
    // Some writers leave field ids out; names differ between format versions 1 and 2.
    let id = field.id.or(match field.name.as_str() {
        "manifest_path" => Some(500),
        "manifest_length" => Some(501),
        "partition_spec_id" => Some(502),
        "content" => Some(517),
        "sequence_number" => Some(515),
        "added_files_count" | "added_data_files_count" => Some(504),
        "existing_files_count" | "existing_data_files_count" => Some(505),
        "first_row_id" => Some(520),
        "key_metadata" => Some(519),
        _ => None,
    });
    match id {
        Some(500) => Want::Take(F::Path, Layout::Bytes),
        Some(501) => Want::Take(F::Length, Layout::Integer),
        Some(502) => Want::Take(F::SpecId, Layout::Integer),
        Some(517) => Want::Take(F::Content, Layout::Integer),
        Some(515) => Want::Take(F::SequenceNumber, Layout::Integer),
        Some(504) => Want::Take(F::AddedFiles, Layout::Integer),
        Some(505) => Want::Take(F::ExistingFiles, Layout::Integer),
        Some(520) => Want::Take(F::FirstRowId, Layout::Integer),
        Some(519) => Want::Take(F::KeyMetadata, Layout::Bytes),
        _ => Want::Nothing,
    }
}
