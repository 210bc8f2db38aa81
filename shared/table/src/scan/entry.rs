//! Manifest entries: what a plan takes of them, read in place.

use iceberg::spec::ManifestContentType;

use crate::{
    avro::{AvroError, AvroType, Cursor, Field, Layout, Projection, Want},
    reserved_ids::DELETE_FILE_PATH,
};

/// A manifest entry as it stands in the file; what is null or missing there is `None`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RawEntry<'a> {
    pub(super) status: Option<i64>,
    pub(super) sequence_number: Option<i64>,
    pub(super) content: Option<i64>,
    pub(super) path: Option<&'a [u8]>,
    pub(super) format: Option<&'a [u8]>,
    /// The partition tuple, encoded by the writer's schema.
    pub(super) partition: &'a [u8],
    pub(super) rows: Option<i64>,
    pub(super) size: Option<i64>,
    pub(super) split_offsets: u64,
    pub(super) equality_ids: Vec<i64>,
    pub(super) encrypted: bool,
    pub(super) referenced_data_file: Option<&'a [u8]>,
    pub(super) first_row_id: Option<i64>,
    pub(super) content_offset: Option<i64>,
    pub(super) content_size: Option<i64>,
    /// Bounds of the path column of a position delete file.
    pub(super) path_bounds: [Option<&'a [u8]>; 2],
}

/// Which field of an entry.
#[derive(Debug, Clone, Copy)]
pub(super) enum EntryField {
    Status,
    SequenceNumber,
    Content,
    Path,
    Format,
    Partition,
    Rows,
    Size,
    SplitOffsets,
    EqualityIds,
    KeyMetadata,
    ReferencedDataFile,
    FirstRowId,
    ContentOffset,
    ContentSize,
    PathBound(usize),
}

/// Reads the entries of one manifest.
pub(super) struct EntryReader {
    projection: Projection<EntryField>,
}

impl EntryReader {
    /// For entries of a manifest's own schema. Bounds are read from delete manifests only.
    pub(super) fn new(schema: &AvroType, content: ManifestContentType) -> Result<Self, AvroError> {
        let with_bounds = content == ManifestContentType::Deletes;
        let projection = Projection::new(schema, &|field| want(field, with_bounds))?;
        Ok(Self { projection })
    }

    #[inline]
    pub(super) fn read<'a>(&self, cursor: &mut Cursor<'a>) -> Result<RawEntry<'a>, AvroError> {
        let mut entry = RawEntry::default();
        self.projection.read(cursor, |field, skip, cursor| {
            match field {
                EntryField::Status => entry.status = Some(cursor.varint()?),
                EntryField::SequenceNumber => entry.sequence_number = Some(cursor.varint()?),
                EntryField::Content => entry.content = Some(cursor.varint()?),
                EntryField::Path => entry.path = Some(cursor.bytes()?),
                EntryField::Format => entry.format = Some(cursor.bytes()?),
                EntryField::Partition => {
                    let before = cursor.rest();
                    skip.run(cursor)?;
                    entry.partition = &before[..before.len() - cursor.rest().len()];
                }
                EntryField::Rows => entry.rows = Some(cursor.varint()?),
                EntryField::Size => entry.size = Some(cursor.varint()?),
                EntryField::SplitOffsets => entry.split_offsets = count_integers(cursor)?,
                EntryField::EqualityIds => cursor.items(|cursor| {
                    entry.equality_ids.push(cursor.varint()?);
                    Ok(())
                })?,
                EntryField::KeyMetadata => entry.encrypted = !cursor.bytes()?.is_empty(),
                EntryField::ReferencedDataFile => {
                    entry.referenced_data_file = Some(cursor.bytes()?);
                }
                EntryField::FirstRowId => entry.first_row_id = Some(cursor.varint()?),
                EntryField::ContentOffset => entry.content_offset = Some(cursor.varint()?),
                EntryField::ContentSize => entry.content_size = Some(cursor.varint()?),
                EntryField::PathBound(side) => cursor.items(|cursor| {
                    let (column, bound) = (cursor.varint()?, cursor.bytes()?);
                    if column == i64::from(DELETE_FILE_PATH) {
                        entry.path_bounds[side] = Some(bound);
                    }
                    Ok(())
                })?,
            }
            Ok(())
        })?;
        Ok(entry)
    }
}

fn count_integers(cursor: &mut Cursor<'_>) -> Result<u64, AvroError> {
    let mut total = 0u64;
    loop {
        let (count, length) = cursor.block()?;
        match length {
            _ if count == 0 => return Ok(total),
            Some(length) => cursor.take(length).map(drop)?,
            None => cursor.skip_varints(count)?,
        }
        total = total.saturating_add(count);
    }
}

fn want(field: &Field, with_bounds: bool) -> Want<EntryField> {
    use EntryField as F;
    // Some writers leave field ids out; the names are the specification's.
    let id = field.id.or_else(|| id_by_name(&field.name));
    match id {
        Some(0) => Want::Take(F::Status, Layout::Integer),
        Some(2) => Want::Inside,
        Some(3) => Want::Take(F::SequenceNumber, Layout::Integer),
        Some(134) => Want::Take(F::Content, Layout::Integer),
        Some(100) => Want::Take(F::Path, Layout::Bytes),
        Some(101) => Want::Take(F::Format, Layout::Bytes),
        Some(102) => Want::Take(F::Partition, Layout::Record),
        Some(103) => Want::Take(F::Rows, Layout::Integer),
        Some(104) => Want::Take(F::Size, Layout::Integer),
        Some(132) => Want::Take(F::SplitOffsets, Layout::Integers),
        Some(135) => Want::Take(F::EqualityIds, Layout::Integers),
        Some(131) => Want::Take(F::KeyMetadata, Layout::Bytes),
        Some(142) => Want::Take(F::FirstRowId, Layout::Integer),
        Some(143) => Want::Take(F::ReferencedDataFile, Layout::Bytes),
        Some(144) => Want::Take(F::ContentOffset, Layout::Integer),
        Some(145) => Want::Take(F::ContentSize, Layout::Integer),
        Some(125) if with_bounds => Want::Take(F::PathBound(0), Layout::BytesByInteger),
        Some(128) if with_bounds => Want::Take(F::PathBound(1), Layout::BytesByInteger),
        _ => Want::Nothing,
    }
}

fn id_by_name(name: &str) -> Option<i32> {
    Some(match name {
        "status" => 0,
        "data_file" => 2,
        "sequence_number" => 3,
        "content" => 134,
        "file_path" => 100,
        "file_format" => 101,
        "partition" => 102,
        "record_count" => 103,
        "file_size_in_bytes" => 104,
        "split_offsets" => 132,
        "equality_ids" => 135,
        "key_metadata" => 131,
        "first_row_id" => 142,
        "referenced_data_file" => 143,
        "content_offset" => 144,
        "content_size_in_bytes" => 145,
        "lower_bounds" => 125,
        "upper_bounds" => 128,
        _ => return None,
    })
}
