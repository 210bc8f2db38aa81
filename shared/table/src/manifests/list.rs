//! Reading manifest lists: which manifests a snapshot has.
//!
//! The list is the authority for what a manifest tracks, for its partition spec and for its sequence numbers: what a
//! manifest's own header says of them is wrong in the tables of more than one writer (case C51).

use crate::avro::{AvroError, AvroType, Container, Cursor, Field, Layout, Projection, Slot, Want};

use super::{
    Content, Count, FieldSummary, ManifestFile,
    names::{Level, give_ids},
};

#[derive(Debug, Clone, Copy)]
enum ListField {
    Path,
    Number(Number),
    Partitions,
    KeyMetadata,
}

/// A number in an entry, by its place in [`Numbers`].
#[derive(Debug, Clone, Copy)]
enum Number {
    Length,
    SpecId,
    Content,
    Sequence,
    LeastSequence,
    AddedSnapshotId,
    AddedFiles,
    ExistingFiles,
    DeletedFiles,
    AddedRows,
    ExistingRows,
    DeletedRows,
    FirstRowId,
}

#[derive(Default)]
struct Numbers([Option<i64>; 13]);

impl Numbers {
    fn get(&self, number: Number) -> Option<i64> {
        self.0[number as usize]
    }
}

/// Reads a manifest list of any format version.
pub(crate) fn manifest_list(file: &[u8]) -> Result<Vec<ManifestFile>, AvroError> {
    let mut container = Container::open(file)?;
    give_ids(container.schema_mut(), Level::List);
    let (null_branch, layout) = container
        .schema()
        .optional()
        .ok_or_else(|| AvroError::corrupt("its entries are no records"))?;
    let projection = Projection::new(layout, "manifest_file", &want)?;
    let mut manifests = Vec::new();
    container.for_each(|cursor| {
        if let Some(null_branch) = null_branch
            && cursor.is_null(null_branch)?
        {
            return Err(AvroError::corrupt("an entry is null"));
        }
        manifests.push(read(&projection, cursor)?);
        Ok(())
    })?;
    Ok(manifests)
}

fn read(
    projection: &Projection<ListField>,
    cursor: &mut Cursor<'_>,
) -> Result<ManifestFile, AvroError> {
    let mut path = None;
    let mut numbers = Numbers::default();
    let mut partitions = None;
    let mut key_metadata = None;
    projection.read(cursor, |field, slot, cursor| {
        match field {
            ListField::Path => path = Some(cursor.string()?.to_owned()),
            ListField::Number(number) => numbers.0[number as usize] = Some(cursor.varint()?),
            ListField::Partitions => partitions = Some(summaries(slot, cursor)?),
            ListField::KeyMetadata => key_metadata = Some(cursor.bytes()?.to_vec()),
        }
        Ok(())
    })?;
    let path =
        path.ok_or_else(|| AvroError::corrupt("manifest_path: a manifest without a path"))?;
    let required = |number: Number, name: &str| {
        numbers
            .get(number)
            .ok_or_else(|| AvroError::corrupt(format!("the entry of {path} has no {name}")))
    };
    let count = |files: Number, rows: Number| Count {
        files: numbers.get(files),
        rows: numbers.get(rows),
    };
    let spec_id = required(Number::SpecId, "partition_spec_id")?;
    Ok(ManifestFile {
        length: required(Number::Length, "manifest_length")?,
        spec_id: i32::try_from(spec_id).map_err(|_| {
            AvroError::corrupt(format!(
                "the entry of {path} has the partition_spec_id {spec_id}"
            ))
        })?,
        // Version 1 knows neither deletes nor sequence numbers.
        content: match numbers.get(Number::Content).unwrap_or(0) {
            0 => Content::Data,
            1 => Content::Deletes,
            other => {
                return Err(AvroError::corrupt(format!(
                    "the entry of {path} has the content {other}, where 0 (data) and 1 (deletes) are known"
                )));
            }
        },
        sequence_number: numbers.get(Number::Sequence).unwrap_or(0),
        min_sequence_number: numbers.get(Number::LeastSequence).unwrap_or(0),
        added_snapshot_id: required(Number::AddedSnapshotId, "added_snapshot_id")?,
        added: count(Number::AddedFiles, Number::AddedRows),
        existing: count(Number::ExistingFiles, Number::ExistingRows),
        deleted: count(Number::DeletedFiles, Number::DeletedRows),
        partitions,
        // Some writers have an empty key where there is none.
        key_metadata: key_metadata.filter(|key| !key.is_empty()),
        first_row_id: numbers.get(Number::FirstRowId),
        path,
    })
}

#[derive(Debug, Clone, Copy)]
enum SummaryField {
    ContainsNull,
    ContainsNan,
    Lower,
    Upper,
}

fn summaries(slot: &Slot, cursor: &mut Cursor<'_>) -> Result<Vec<FieldSummary>, AvroError> {
    let (null_branch, layout) = slot
        .items()?
        .optional()
        .ok_or_else(|| AvroError::corrupt("manifest_file.partitions: its items are no records"))?;
    let projection = Projection::new(layout, "manifest_file.partitions", &|field: &Field| {
        use SummaryField as F;
        match field.id {
            Some(509) => Want::Take(F::ContainsNull, Layout::Boolean),
            Some(518) => Want::Take(F::ContainsNan, Layout::Boolean),
            Some(510) => Want::Take(F::Lower, Layout::Bytes),
            Some(511) => Want::Take(F::Upper, Layout::Bytes),
            _ => Want::Nothing,
        }
    })?;
    let mut summaries = Vec::new();
    cursor.items(|cursor| {
        let mut summary = FieldSummary::default();
        if let Some(null_branch) = null_branch
            && cursor.is_null(null_branch)?
        {
            return Err(AvroError::corrupt(
                "manifest_file.partitions: an item is null",
            ));
        }
        projection.read(cursor, |field, _, cursor| {
            match field {
                SummaryField::ContainsNull => summary.contains_null = cursor.boolean()?,
                SummaryField::ContainsNan => summary.contains_nan = Some(cursor.boolean()?),
                SummaryField::Lower => summary.lower_bound = Some(cursor.bytes()?.to_vec()),
                SummaryField::Upper => summary.upper_bound = Some(cursor.bytes()?.to_vec()),
            }
            Ok(())
        })?;
        summaries.push(summary);
        Ok(())
    })?;
    Ok(summaries)
}

fn want(field: &Field) -> Want<ListField> {
    use Number as N;
    let number = match field.id {
        Some(500) => return Want::Take(ListField::Path, Layout::Bytes),
        Some(507) => {
            // Old writers have what readers can't use; a list without summaries is as good.
            return match &field.layout.optional() {
                Some((_, AvroType::Array(items))) if items.fields().is_some() => {
                    Want::Take(ListField::Partitions, Layout::Records)
                }
                _ => Want::Nothing,
            };
        }
        Some(519) => return Want::Take(ListField::KeyMetadata, Layout::Bytes),
        Some(501) => N::Length,
        Some(502) => N::SpecId,
        Some(517) => N::Content,
        Some(515) => N::Sequence,
        Some(516) => N::LeastSequence,
        Some(503) => N::AddedSnapshotId,
        Some(504) => N::AddedFiles,
        Some(505) => N::ExistingFiles,
        Some(506) => N::DeletedFiles,
        Some(512) => N::AddedRows,
        Some(513) => N::ExistingRows,
        Some(514) => N::DeletedRows,
        Some(520) => N::FirstRowId,
        _ => return Want::Nothing,
    };
    Want::Take(ListField::Number(number), Layout::Integer)
}
