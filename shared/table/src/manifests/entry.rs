//! Manifest entries as they stand in the file, read in place.

use crate::avro::{AvroError, AvroType, Cursor, Field, Layout, Projection, Slot, Want};

use super::Content;
use crate::reserved_ids::DELETE_FILE_PATH;

/// A manifest entry as it stands in the file; what is null or missing there is `None`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RawEntry<'a> {
    pub(super) status: Option<i64>,
    pub(super) snapshot_id: Option<i64>,
    pub(super) sequence_number: Option<i64>,
    pub(super) file_sequence_number: Option<i64>,
    pub(super) file: RawFile<'a>,
}

/// The file of an entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RawFile<'a> {
    pub(super) content: Option<i64>,
    pub(super) path: Option<&'a [u8]>,
    pub(super) format: Option<&'a [u8]>,
    /// The partition tuple, encoded by the writer's schema.
    pub(super) partition: Option<&'a [u8]>,
    pub(super) rows: Option<i64>,
    pub(super) size: Option<i64>,
    pub(super) split_offsets: u64,
    pub(super) equality_ids: Vec<i64>,
    pub(super) encrypted: bool,
    pub(super) referenced_data_file: Option<&'a [u8]>,
    pub(super) first_row_id: Option<i64>,
    pub(super) content_offset: Option<i64>,
    pub(super) content_size: Option<i64>,
    /// Bounds of the path column of a position delete file, or of the column that was asked for.
    pub(super) bounds: [Option<&'a [u8]>; 2],
    /// How many values of the column that was asked for are null.
    pub(super) nulls: Option<i64>,
    /// The whole record, encoded by the writer's schema.
    pub(super) raw: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
enum EntryField {
    Status,
    SnapshotId,
    SequenceNumber,
    FileSequenceNumber,
    File,
}

#[derive(Debug, Clone, Copy)]
enum FileField {
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
    Bound(usize),
    Nulls,
}

/// Reads the entries of one manifest.
pub(super) struct EntryReader {
    null_branch: Option<i64>,
    /// The column whose bounds are read.
    column: i64,
    entry: Projection<EntryField>,
    file: Projection<FileField>,
}

impl EntryReader {
    /// For entries of a manifest's own schema, with all ids in it. Bounds are read from delete manifests only.
    pub(super) fn new(schema: &AvroType, content: Content) -> Result<Self, AvroError> {
        let paths = (content == Content::Deletes).then_some(DELETE_FILE_PATH);
        Self::with_column(schema, paths)
    }

    /// The same with what is known of a column.
    pub(super) fn with_column(schema: &AvroType, column: Option<i32>) -> Result<Self, AvroError> {
        let with_bounds = column.is_some();
        let (null_branch, entry) = schema
            .optional()
            .ok_or_else(|| AvroError::corrupt("its entries are no records"))?;
        let file = file_layout(schema)?;
        Ok(Self {
            null_branch,
            column: column.unwrap_or_default().into(),
            entry: Projection::new(entry, "manifest_entry", &want)?,
            file: Projection::new(file, "data_file", &|field| want_of_file(field, with_bounds))?,
        })
    }

    #[inline]
    pub(super) fn read<'a>(&self, cursor: &mut Cursor<'a>) -> Result<RawEntry<'a>, AvroError> {
        let mut entry = RawEntry::default();
        if let Some(null_branch) = self.null_branch
            && cursor.is_null(null_branch)?
        {
            return Err(AvroError::corrupt("an entry is null"));
        }
        self.entry.read(cursor, |field, _, cursor| {
            match field {
                EntryField::Status => entry.status = Some(cursor.varint()?),
                EntryField::SnapshotId => entry.snapshot_id = Some(cursor.varint()?),
                EntryField::SequenceNumber => entry.sequence_number = Some(cursor.varint()?),
                EntryField::FileSequenceNumber => {
                    entry.file_sequence_number = Some(cursor.varint()?);
                }
                EntryField::File => {
                    let before = cursor.rest();
                    self.read_file(&mut entry.file, cursor)?;
                    entry.file.raw = &before[..before.len() - cursor.rest().len()];
                }
            }
            Ok(())
        })?;
        Ok(entry)
    }

    #[inline]
    fn read_file<'a>(
        &self,
        file: &mut RawFile<'a>,
        cursor: &mut Cursor<'a>,
    ) -> Result<(), AvroError> {
        self.file.read(cursor, |field, slot, cursor| {
            match field {
                FileField::Content => file.content = Some(cursor.varint()?),
                FileField::Path => file.path = Some(cursor.bytes()?),
                FileField::Format => file.format = Some(cursor.bytes()?),
                FileField::Partition => file.partition = Some(slot.slice(cursor)?),
                FileField::Rows => file.rows = Some(cursor.varint()?),
                FileField::Size => file.size = Some(cursor.varint()?),
                FileField::SplitOffsets => file.split_offsets = count(slot, cursor)?,
                FileField::EqualityIds => {
                    slot.integers(cursor, |id| file.equality_ids.push(id))?;
                }
                FileField::KeyMetadata => file.encrypted = !cursor.bytes()?.is_empty(),
                FileField::ReferencedDataFile => file.referenced_data_file = Some(cursor.bytes()?),
                FileField::FirstRowId => file.first_row_id = Some(cursor.varint()?),
                FileField::ContentOffset => file.content_offset = Some(cursor.varint()?),
                FileField::ContentSize => file.content_size = Some(cursor.varint()?),
                FileField::Bound(side) => slot.pairs(cursor, |column, layout, cursor| {
                    if column == self.column && matches!(layout, AvroType::Bytes | AvroType::String)
                    {
                        file.bounds[side] = Some(cursor.bytes()?);
                    }
                    Ok(())
                })?,
                FileField::Nulls => slot.pairs(cursor, |column, layout, cursor| {
                    if column == self.column && *layout == AvroType::Integer {
                        file.nulls = Some(cursor.varint()?);
                    }
                    Ok(())
                })?,
            }
            Ok(())
        })
    }
}

/// The layout of an entry's file.
pub(super) fn file_layout(entry: &AvroType) -> Result<&AvroType, AvroError> {
    let fields = entry.fields();
    let fields = fields.ok_or_else(|| AvroError::corrupt("its entries are no records"))?;
    fields
        .iter()
        .find(|field| field.id == Some(2))
        .and_then(|field| field.layout.optional())
        .map(|(_, layout)| layout)
        .ok_or_else(|| AvroError::corrupt("its entries have no data_file (field 2)"))
}

/// How many numbers an array has.
fn count(slot: &Slot, cursor: &mut Cursor<'_>) -> Result<u64, AvroError> {
    let mut total = 0u64;
    if *slot.items()? != AvroType::Integer {
        slot.integers(cursor, |_| total += 1)?;
        return Ok(total);
    }
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

fn want(field: &Field) -> Want<EntryField> {
    use EntryField as F;
    match field.id {
        Some(0) => Want::Take(F::Status, Layout::Integer),
        Some(1) => Want::Take(F::SnapshotId, Layout::Integer),
        Some(2) => Want::Take(F::File, Layout::Record),
        Some(3) => Want::Take(F::SequenceNumber, Layout::Integer),
        Some(4) => Want::Take(F::FileSequenceNumber, Layout::Integer),
        _ => Want::Nothing,
    }
}

fn want_of_file(field: &Field, with_bounds: bool) -> Want<FileField> {
    use FileField as F;
    match field.id {
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
        Some(110) if with_bounds => Want::Take(F::Nulls, Layout::Pairs),
        Some(125) if with_bounds => Want::Take(F::Bound(0), Layout::Pairs),
        Some(128) if with_bounds => Want::Take(F::Bound(1), Layout::Pairs),
        _ => Want::Nothing,
    }
}
