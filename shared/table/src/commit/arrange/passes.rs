//! Writes the entries of some manifests in the order of their partitions.
//!
//! A pass takes up as many neighbouring partitions as fit into memory, from every manifest that has some of them; a partition
//! that is larger needs no order, and goes straight through. So memory is bounded whatever the manifests hold, and where
//! they are few, or in order by and large, each is read once.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc};

use futures::TryStreamExt as _;
use iceberg::spec::Struct;
use icepress_model::ambient::Ambient;

use super::{
    survey::{Survey, contents_of},
    witness::{INHERITED, Witness},
};
use crate::{
    TableError,
    avro::AvroError,
    commit::snapshot::Draft,
    manifests::{
        Content, Entry, ManifestFile, ManifestSettings, ManifestWriter, NewEntry, OpenManifest,
        PartitionTable, Put, Spec, Version, WrittenManifest, defect, spec_of, unsupported,
    },
};

/// Bytes of entries that a pass holds. Tests need several passes with less.
const PASS_BYTES: u64 = if cfg!(test) { 2 << 10 } else { 64 << 20 };

/// Writes chosen manifests anew.
pub(super) struct Arranging<'a> {
    draft: &'a Draft<'a>,
    settings: ManifestSettings,
    survey: &'a mut Survey,
    /// What the names of new manifests begin with.
    name: String,
    created: Vec<ManifestFile>,
    locations: Vec<String>,
    read: Witness,
    written: Witness,
}

/// Entries that wait until all of their pass are there.
#[derive(Default)]
struct Waiting {
    records: Vec<u8>,
    entries: Vec<WaitingEntry>,
}

struct WaitingEntry {
    place: u32,
    put: Put,
    /// Where its record ends, and how long it is.
    end: usize,
    length: usize,
    partition: Arc<Struct>,
}

impl<'a> Arranging<'a> {
    pub(super) fn new(
        draft: &'a Draft<'a>,
        settings: ManifestSettings,
        survey: &'a mut Survey,
    ) -> Self {
        Self {
            name: draft.manifest_name(),
            draft,
            settings,
            survey,
            created: Vec::new(),
            locations: Vec::new(),
            read: Witness::default(),
            written: Witness::default(),
        }
    }

    /// The new manifests, everything that may be in storage of them, and how many entries they have.
    pub(super) fn into_made(self) -> (Vec<ManifestFile>, Vec<String>, u64) {
        (self.created, self.locations, self.written.entries())
    }

    /// Writes the manifests at `chosen` anew, and fails where what is written is not what was read.
    pub(super) async fn write(&mut self, chosen: &[usize]) -> Result<(), TableError> {
        let mut kinds: BTreeMap<(u8, i32), Vec<usize>> = BTreeMap::new();
        for place in chosen {
            let file = &self.survey.listed[*place];
            let kind = (file.content as u8, file.spec_id);
            kinds.entry(kind).or_default().push(*place);
        }
        for places in kinds.into_values() {
            self.write_kind(&places).await?;
        }
        if self.read == self.written {
            return Ok(());
        }
        let message =
            "its manifests written anew do not list what they listed: nothing was committed";
        Err(unsupported(&self.draft.loaded.table, message.to_owned()))
    }

    /// Manifests of one content and spec.
    async fn write_kind(&mut self, places: &[usize]) -> Result<(), TableError> {
        let Some(first) = places.first() else {
            return Ok(());
        };
        let draft = self.draft;
        let (table, file) = (&draft.loaded.table, &self.survey.listed[*first]);
        let spec = spec_of(table, &self.survey.specs, file)?.clone();
        let part = draft.part(file.content, file.spec_id, &spec)?;
        let unwritable = |error: AvroError| draft.unwritable(error);
        let mut writer = ManifestWriter::new(&part, &self.settings).map_err(unwritable)?;
        for range in self.passes(places) {
            let mut waiting = Waiting::default();
            let goes_through = range.start() == range.end();
            let holds = |place: &&usize| {
                let held = &self.survey.layout.manifests[**place].held;
                let from = held.partition_point(|held| held.partition < *range.start());
                held.get(from)
                    .is_some_and(|held| range.contains(&held.partition))
            };
            let places: Vec<usize> = places.iter().filter(holds).copied().collect();
            let keys = Arc::clone(&self.survey.keys);
            let mut contents = contents_of(draft.storage, table, &keys, &places);
            while let Some((place, content)) = contents.try_next().await? {
                let mut finished = Vec::new();
                let mut pass = Pass {
                    range: &range,
                    place_of: &self.survey.place_of,
                    read: &mut self.read,
                    writer: &mut writer,
                    waiting: (!goes_through).then_some(&mut waiting),
                    ambient: draft.ambient,
                    finished: &mut finished,
                };
                let file = &keys[place];
                let partitions = &mut self.survey.partitions;
                pass.take_from(&content, file, &spec, partitions)
                    .map_err(|error| defect(table, &file.path, error))?;
                for manifest in finished {
                    self.store(manifest).await?;
                }
            }
            waiting.entries.sort_by_key(|entry| entry.place);
            for entry in &waiting.entries {
                let record = &waiting.records[entry.end - entry.length..entry.end];
                let sync = || draft.ambient.uuid().into_bytes();
                let finished = writer.append(record, entry.put, &entry.partition, sync);
                if let Some(manifest) = finished.map_err(unwritable)? {
                    self.store(manifest).await?;
                }
            }
        }
        if let Some(manifest) = writer.end().map_err(unwritable)? {
            self.store(manifest).await?;
        }
        Ok(())
    }

    /// The partitions of these manifests, in order, in ranges that fit into a pass; or a range of one partition.
    fn passes(&self, places: &[usize]) -> Vec<RangeInclusive<u32>> {
        let mut bytes: BTreeMap<u32, u64> = BTreeMap::new();
        for place in places {
            let manifest = &self.survey.layout.manifests[*place];
            let each = self.survey.unpacked[*place] / manifest.live.max(1);
            for held in &manifest.held {
                *bytes.entry(held.partition).or_default() += each * u64::from(held.files);
            }
        }
        let mut passes: Vec<RangeInclusive<u32>> = Vec::new();
        let mut filled = u64::MAX;
        for (partition, bytes) in bytes {
            filled = filled.saturating_add(bytes);
            match passes.last_mut() {
                Some(pass) if filled <= PASS_BYTES => *pass = *pass.start()..=partition,
                _ => {
                    passes.push(partition..=partition);
                    filled = bytes;
                }
            }
        }
        passes
    }

    /// Reads a new manifest once more, as readers will, and stores it.
    async fn store(&mut self, manifest: WrittenManifest) -> Result<(), TableError> {
        let draft = self.draft;
        let table = &draft.loaded.table;
        let mut file = ManifestFile {
            path: format!("{}-m{}.avro", self.name, self.locations.len()),
            ..manifest.file
        };
        let spec = spec_of(table, &self.survey.specs, &file)?;
        let has_row_ids = self.settings.version == Version::V3 && file.content == Content::Data;
        file.first_row_id = has_row_ids.then_some(INHERITED);
        let mut partitions = PartitionTable::default();
        let written = &mut self.written;
        OpenManifest::new(&manifest.bytes, &file, spec)
            .and_then(|read| {
                read.for_each(&mut partitions, |entry, partition| {
                    written.add(entry, partition);
                    Ok(())
                })
            })
            .map_err(|error| draft.unwritable(error))?;
        file.first_row_id = None;
        // Also what fails may be there: a write whose answer is lost.
        self.locations.push(file.path.clone());
        draft.store(&file.path, manifest.bytes).await?;
        self.created.push(file);
        Ok(())
    }
}

/// What a manifest's entries go through.
struct Pass<'p, 'k> {
    range: &'p RangeInclusive<u32>,
    place_of: &'p [u32],
    read: &'p mut Witness,
    writer: &'p mut ManifestWriter<'k>,
    /// Where entries wait; `None` where they go straight through.
    waiting: Option<&'p mut Waiting>,
    ambient: &'p Ambient,
    finished: &'p mut Vec<WrittenManifest>,
}

impl Pass<'_, '_> {
    fn take_from(
        &mut self,
        content: &[u8],
        listed: &ManifestFile,
        spec: &Spec,
        partitions: &mut PartitionTable,
    ) -> Result<(), AvroError> {
        let manifest = OpenManifest::new(content, listed, spec)?;
        let header = manifest.header().clone();
        let mut record = Vec::new();
        manifest.for_each(partitions, |entry, partition| {
            let place = self.place_of.get(entry.file.partition as usize);
            let place = place.ok_or_else(|| {
                AvroError::corrupt("it has another partition than when it was read before")
            })?;
            if !self.range.contains(place) {
                return Ok(());
            }
            self.read.add(entry, partition);
            let owned = Entry::of(entry, partition, spec);
            let entry = NewEntry::Existing {
                entry: &owned,
                from: &header,
            };
            match &mut self.waiting {
                Some(waiting) => {
                    let start = waiting.records.len();
                    let put = self.writer.encode(&entry, &mut waiting.records)?;
                    let end = waiting.records.len();
                    waiting.entries.push(WaitingEntry {
                        place: *place,
                        put,
                        end,
                        length: end - start,
                        partition: Arc::clone(&partition.value),
                    });
                }
                None => {
                    record.clear();
                    let put = self.writer.encode(&entry, &mut record)?;
                    let sync = || self.ambient.uuid().into_bytes();
                    let finished = self.writer.append(&record, put, &partition.value, sync)?;
                    self.finished.extend(finished);
                }
            }
            Ok(())
        })?;
        Ok(())
    }
}
