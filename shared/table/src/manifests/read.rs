//! The reader of manifests: for plans, which want some fifty bytes of each live file, and for commits, which carry entries
//! over. What one sees the other sees: an entry that is refused is refused to both, with the same words.
//!
//! It takes what Iceberg's Java library takes, as there is hardly a rule of the specification that some writer does not
//! bend, and the tables are sound all the same: missing ids, numbers that are left out, headers that say little or the
//! contrary of the manifest list, which is the authority.

use std::sync::Arc;

use icepress_model::{Bytes, Rows, SpecId};

use super::{
    Content, Count, FileContent, FileFormat, ManifestFile, Measured,
    entry::{EntryReader, RawEntry, file_layout},
    header::ManifestHeader,
    names::{Level, give_ids},
    partition::{PartitionKey, PartitionTable},
    partition_reader::PartitionReader,
    raw::FileLayout,
    row_ids::Inheritance,
    specs::Spec,
};
use crate::{
    avro::{AvroError, Container},
    survey::SurveyedFile,
    tracked::TrackedFile,
};

const EXISTING: i64 = 0;
const ADDED: i64 = 1;
const DELETED: i64 = 2;

/// What became of an entry's file, as places in the counts of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Added = 0,
    Existing = 1,
    /// What was removed is written down once more, for those who ask what a snapshot changed.
    Removed = 2,
}

/// Whether entries of removed files are looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tombstones {
    Skipped,
    Read,
}

/// A live entry, with what it inherits filled in.
#[derive(Debug)]
pub(crate) struct LiveEntry<'a> {
    pub(crate) snapshot_id: i64,
    pub(crate) sequence_number: i64,
    /// `None` where the entry is not new and does not say: manifests that were merged by writers from before the field
    /// was there have none, and readers do without.
    pub(crate) file_sequence_number: Option<i64>,
    pub(crate) file: LiveFile<'a>,
}

/// A data or delete file as its entry has it, checked.
#[derive(Debug)]
pub(crate) struct LiveFile<'a> {
    pub(crate) content: FileContent,
    pub(crate) path: &'a str,
    pub(crate) format: FileFormat,
    /// By number in the [`PartitionTable`].
    pub(crate) partition: u32,
    pub(crate) rows: u64,
    pub(crate) size: u64,
    /// The id of a data file's first row, inherited where its entry has none.
    pub(crate) first_row_id: Option<i64>,
    /// How many split offsets it has.
    pub(crate) split_offsets: u64,
    /// Field ids of the key of an equality delete file.
    pub(crate) equality_ids: Vec<i32>,
    pub(crate) encrypted: bool,
    /// The one data file that a delete file is about, where it says so.
    pub(crate) referenced_data_file: Option<&'a str>,
    /// Where a deletion vector lies in its file: offset and length.
    pub(crate) blob: Option<(u64, u64)>,
    /// The least and the greatest path that a position delete file has rows for, where its bounds say so.
    pub(crate) path_bounds: Option<(&'a str, &'a str)>,
    /// The whole record, encoded as its manifest has it.
    pub(crate) raw: &'a [u8],
}

/// What is known of a manifest once all of it is read.
#[derive(Debug)]
pub(crate) struct ReadManifest {
    pub(crate) header: ManifestHeader,
    pub(crate) measured: Measured,
}

/// A manifest of which the header is read, and the entries are not.
pub(crate) struct OpenManifest<'a> {
    container: Container<'a>,
    listed: &'a ManifestFile,
    header: ManifestHeader,
    entries: EntryReader,
    partitions: PartitionReader<'a>,
    length: usize,
}

impl<'a> OpenManifest<'a> {
    /// Opens the manifest `content`, which the list names as `listed`.
    pub(crate) fn new(
        content: &'a [u8],
        listed: &'a ManifestFile,
        spec: &'a Spec,
    ) -> Result<Self, AvroError> {
        let mut container = Container::open(content)?;
        give_ids(container.schema_mut(), Level::Entry);
        let file = file_layout(container.schema())?;
        Ok(Self {
            listed,
            header: ManifestHeader::new(&container, listed, Arc::new(FileLayout::new(file))),
            entries: EntryReader::new(container.schema(), listed.content)?,
            partitions: PartitionReader::new(listed.spec_id, &spec.partition_type, file)?,
            length: content.len(),
            container,
        })
    }

    /// What all its entries share.
    pub(crate) fn header(&self) -> &ManifestHeader {
        &self.header
    }

    /// Calls `each` for every live entry, in order, with its partition.
    pub(crate) fn for_each(
        self,
        partitions: &mut PartitionTable,
        mut each: impl FnMut(&LiveEntry<'_>, &PartitionKey) -> Result<(), AvroError>,
    ) -> Result<Measured, AvroError> {
        self.read(partitions, Tombstones::Skipped, |_, entry, partition| {
            each(entry, partition)
        })
    }

    /// Calls `each` for every entry, also of files that were removed, in order, with its partition.
    pub(crate) fn for_each_change(
        self,
        partitions: &mut PartitionTable,
        each: impl FnMut(Standing, &LiveEntry<'_>, &PartitionKey) -> Result<(), AvroError>,
    ) -> Result<Measured, AvroError> {
        self.read(partitions, Tombstones::Read, each)
    }

    fn read(
        self,
        partitions: &mut PartitionTable,
        tombstones: Tombstones,
        mut each: impl FnMut(Standing, &LiveEntry<'_>, &PartitionKey) -> Result<(), AvroError>,
    ) -> Result<Measured, AvroError> {
        let (listed, entries, mut reader) = (self.listed, self.entries, self.partitions);
        let mut row_ids = Inheritance::new(listed);
        let mut counted = [Count {
            files: Some(0),
            rows: Some(0),
        }; 3];
        self.container.for_each(|cursor| {
            let raw = entries.read(cursor)?;
            let standing = standing(&raw)?;
            let sum = &mut counted[standing as usize];
            sum.files = sum.files.map(|files| files + 1);
            let rows = raw.file.rows.unwrap_or(0);
            sum.rows = sum.rows.map(|sum| sum.saturating_add(rows));
            let is_live = standing != Standing::Removed;
            if !is_live && tombstones == Tombstones::Skipped {
                return Ok(());
            }
            let path = path_of(&raw)?;
            let defect = |what: String| AvroError::corrupt(format!("file {path} {what}"));
            let partition = reader
                .number(raw.file.partition, partitions)
                .map_err(|error| defect(format!("has a partition that can't be read: {error}")))?;
            let mut file = live_file(&raw, path, partition, listed.content).map_err(defect)?;
            if file.content == FileContent::Data && is_live {
                file.first_row_id = row_ids
                    .first_of(raw.file.first_row_id, file.rows)
                    .map_err(defect)?;
            }
            // As Java does it: what was added takes the manifest's number, and so does all of version 1, whose manifests
            // have the number 0. To guess a data sequence number would hide rows, or bring deleted ones back.
            let may_inherit = standing != Standing::Existing || listed.sequence_number == 0;
            let inherited = may_inherit.then_some(listed.sequence_number);
            let sequence_number = raw.sequence_number.or(inherited).ok_or_else(|| {
                defect(
                    "has no sequence_number and may not inherit one: its entry is not new"
                        .to_owned(),
                )
            })?;
            let entry = LiveEntry {
                snapshot_id: raw.snapshot_id.unwrap_or(listed.added_snapshot_id),
                sequence_number,
                file_sequence_number: raw.file_sequence_number.or(inherited),
                file,
            };
            each(standing, &entry, &partitions.partitions[partition as usize])
        })?;
        let measured = Measured {
            length: self.length as i64,
            counted,
        };
        check_whole(listed, &measured)?;
        Ok(measured)
    }
}

/// Reads the manifest `content`, which the list names as `listed`: `each` is called for every live entry, in order, with
/// its partition.
pub(crate) fn read_entries(
    content: &[u8],
    listed: &ManifestFile,
    spec: &Spec,
    partitions: &mut PartitionTable,
    each: impl FnMut(&LiveEntry<'_>, &PartitionKey) -> Result<(), AvroError>,
) -> Result<ReadManifest, AvroError> {
    let manifest = OpenManifest::new(content, listed, spec)?;
    let header = manifest.header().clone();
    let measured = manifest.for_each(partitions, each)?;
    Ok(ReadManifest { header, measured })
}

/// A file that a manifest's snapshot removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RemovedEntry {
    /// When the file came; `None` where its tombstone does not say.
    pub(crate) file_sequence_number: Option<i64>,
}

/// The tombstones in the manifest `content` of the snapshot that added it: what that snapshot removed.
pub(crate) fn read_removed(
    content: &[u8],
    listed: &ManifestFile,
) -> Result<Vec<RemovedEntry>, AvroError> {
    let mut container = Container::open(content)?;
    give_ids(container.schema_mut(), Level::Entry);
    let entries = EntryReader::new(container.schema(), listed.content)?;
    let mut removed = Vec::new();
    container.for_each(|cursor| {
        let raw = entries.read(cursor)?;
        let by = raw.snapshot_id.unwrap_or(listed.added_snapshot_id);
        if raw.status == Some(DELETED) && by == listed.added_snapshot_id {
            removed.push(RemovedEntry {
                file_sequence_number: raw.file_sequence_number,
            });
        }
        Ok(())
    })?;
    Ok(removed)
}

/// Calls `each` for the file of every live entry of the manifest `content`, which the list names as `listed`. Nothing else of
/// the entries is looked at, so that what can't be planned for any more can still be told apart from what nobody needs.
pub(crate) fn read_live_paths(
    content: &[u8],
    listed: &ManifestFile,
    mut each: impl FnMut(TrackedFile<'_>),
) -> Result<(), AvroError> {
    let mut container = Container::open(content)?;
    give_ids(container.schema_mut(), Level::Entry);
    let entries = EntryReader::new(container.schema(), Content::Data)?;
    let mut counted = [0; 3];
    container.for_each(|cursor| {
        let raw = entries.read(cursor)?;
        let standing = standing(&raw)?;
        counted[standing as usize] += 1;
        if standing != Standing::Removed {
            each(TrackedFile {
                path: path_of(&raw)?,
                bytes: Bytes(not_negative(raw.file.size)),
                rows: Rows(not_negative(raw.file.rows)),
                is_delete_file: listed.content == Content::Deletes,
            });
        }
        Ok(())
    })?;
    check_whole(listed, &measured_files(content, counted))
}

/// Calls `each` for the data file of every live entry of the manifest `content`, which the list names as `listed`: with its
/// partition, and what its statistics say of the column with the id `column`.
pub(crate) fn survey_entries(
    content: &[u8],
    listed: &ManifestFile,
    spec: &Spec,
    partitions: &mut PartitionTable,
    column: i32,
    mut each: impl FnMut(SurveyedFile<'_>),
) -> Result<(), AvroError> {
    let mut container = Container::open(content)?;
    give_ids(container.schema_mut(), Level::Entry);
    let file = file_layout(container.schema())?;
    let entries = EntryReader::with_column(container.schema(), Some(column))?;
    let mut reader = PartitionReader::new(listed.spec_id, &spec.partition_type, file)?;
    let mut counted = [0; 3];
    container.for_each(|cursor| {
        let raw = entries.read(cursor)?;
        let standing = standing(&raw)?;
        counted[standing as usize] += 1;
        if standing == Standing::Removed {
            return Ok(());
        }
        let path = path_of(&raw)?;
        let number = reader
            .number(raw.file.partition, partitions)
            .map_err(|error| {
                AvroError::corrupt(format!(
                    "file {path} has a partition that can't be read: {error}"
                ))
            })?;
        let [lower, upper] = raw.file.bounds;
        let partition = &partitions.partitions[number as usize];
        each(SurveyedFile {
            path,
            bytes: Bytes(not_negative(raw.file.size)),
            rows: Rows(not_negative(raw.file.rows)),
            partition: number,
            spec_id: SpecId(partition.spec_id),
            value: &partition.value,
            nulls: raw.file.nulls.and_then(|nulls| u64::try_from(nulls).ok()),
            lower,
            upper,
        });
        Ok(())
    })?;
    check_whole(listed, &measured_files(content, counted))
}

fn measured_files(content: &[u8], counted: [i64; 3]) -> Measured {
    Measured {
        length: content.len() as i64,
        counted: counted.map(|files| Count {
            files: Some(files),
            rows: None,
        }),
    }
}

fn not_negative(number: Option<i64>) -> u64 {
    number
        .and_then(|number| u64::try_from(number).ok())
        .unwrap_or(0)
}

fn standing(raw: &RawEntry<'_>) -> Result<Standing, AvroError> {
    match raw.status {
        Some(ADDED) => Ok(Standing::Added),
        Some(EXISTING) => Ok(Standing::Existing),
        Some(DELETED) => Ok(Standing::Removed),
        Some(other) => Err(AvroError::corrupt(format!(
            "manifest_entry.status: {other}, where 0, 1 and 2 are known"
        ))),
        None => Err(AvroError::corrupt("manifest_entry.status: missing")),
    }
}

fn path_of<'a>(raw: &RawEntry<'a>) -> Result<&'a str, AvroError> {
    raw.file
        .path
        .and_then(|path| std::str::from_utf8(path).ok())
        .ok_or_else(|| AvroError::corrupt("data_file.file_path: no path that is UTF-8"))
}

/// Avro has no end: a file that was cut between two blocks looks whole, and its last files would be lost without a word.
/// Fewer entries than the list counts are no proof, for lists can be wrong; in fewer bytes they are.
fn check_whole(listed: &ManifestFile, measured: &Measured) -> Result<(), AvroError> {
    let files = |count: &Count| count.files;
    let says: i64 = [listed.added, listed.existing, listed.deleted]
        .iter()
        .filter_map(files)
        .fold(0, i64::saturating_add);
    let has: i64 = measured.counted.iter().filter_map(files).sum();
    if measured.length < listed.length && has < says {
        return Err(AvroError::corrupt(format!(
            "it is cut short: {} bytes with {has} entries are there, and its list says {} bytes and {says} entries",
            measured.length, listed.length
        )));
    }
    Ok(())
}

/// Checks a live entry's file. The error says what is wrong with it.
fn live_file<'a>(
    raw: &RawEntry<'a>,
    path: &'a str,
    partition: u32,
    tracks: Content,
) -> Result<LiveFile<'a>, String> {
    let file = &raw.file;
    let amount = |value: Option<i64>, what: &str| match value {
        None => Err(format!("has no {what}")),
        Some(value) => u64::try_from(value).map_err(|_| format!("has the {what} {value}")),
    };
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let content = match (file.content.unwrap_or(0), tracks) {
        (0, Content::Data) => FileContent::Data,
        (1, Content::Deletes) => FileContent::PositionDeletes,
        (2, Content::Deletes) => FileContent::EqualityDeletes,
        (content, tracks) => {
            let tracks = match tracks {
                Content::Data => "data files",
                Content::Deletes => "delete files",
            };
            return Err(format!(
                "has content {content} in a manifest that tracks {tracks}, as its manifest list says"
            ));
        }
    };
    let format = file.format.unwrap_or_default();
    let format = FileFormat::parse(format).ok_or_else(|| {
        let name = String::from_utf8_lossy(format);
        format!("is of the unknown file_format '{name}'")
    })?;
    let referenced_data_file = match file.referenced_data_file {
        None => None,
        Some(bytes) => Some(
            text(bytes)
                .ok_or("names a data file by a path (referenced_data_file) that is not UTF-8")?,
        ),
    };
    let is_vector = content == FileContent::PositionDeletes && format == FileFormat::Puffin;
    let blob = if is_vector {
        let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        let blob = number(file.content_offset).zip(number(file.content_size));
        if blob.is_none() {
            return Err(
                "is a deletion vector without content_offset or content_size_in_bytes".to_owned(),
            );
        }
        if referenced_data_file.is_none() {
            return Err(
                "is a deletion vector that names no data file (referenced_data_file)".to_owned(),
            );
        }
        blob
    } else {
        None
    };
    let mut equality_ids = Vec::new();
    if content == FileContent::EqualityDeletes {
        let ids = file.equality_ids.iter().map(|id| i32::try_from(*id).ok());
        equality_ids = ids
            .collect::<Option<Vec<i32>>>()
            .filter(|ids| !ids.is_empty())
            .ok_or("is an equality delete file without field ids (equality_ids)")?;
    }
    // A bound that is no text, as when a writer cut it inside a character, is as if it were not there.
    let path_bounds = match file.bounds {
        [Some(lower), Some(upper)] => text(lower).zip(text(upper)),
        _ => None,
    };
    Ok(LiveFile {
        content,
        path,
        format,
        partition,
        rows: amount(file.rows, "record_count")?,
        size: amount(file.size, "file_size_in_bytes")?,
        first_row_id: None,
        split_offsets: file.split_offsets,
        equality_ids,
        encrypted: file.encrypted,
        referenced_data_file,
        blob,
        path_bounds,
        raw: file.raw,
    })
}
