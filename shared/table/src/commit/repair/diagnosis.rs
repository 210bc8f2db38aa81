//! What manifests say held against what is so: what each entry becomes, and what people are told.

use std::collections::{BTreeMap, HashMap, HashSet};

use icepress_catalog::LoadedTable;

use super::{
    Correction, Duplicate, FileFacts, FileRepair, Found, ManifestRepair, Repairs, Unrepairable,
    WholeManifest,
    facts::{Identity, identity},
};
use crate::{
    commit::live::Totals,
    manifests::{Amendment, Count, Entry, FileContent, ManifestFile, ManifestHeader, TrackedFile},
};

/// The kind of data files.
pub(super) const DATA: &str = "data";

/// What becomes of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    Amended(Amendment),
    /// Its file is listed elsewhere too.
    Dropped,
}

/// What is wrong, and what becomes of it.
#[derive(Debug)]
pub(super) struct Diagnosis {
    pub(super) repairs: Repairs,
    /// For each manifest what becomes of its entries; `None` where it stays as it is.
    pub(super) manifests: Vec<Option<Vec<Fate>>>,
    /// Sums over data files, position deletes and equality deletes, as they will be.
    pub(super) totals: [Totals; 3],
    /// Entries that are written anew.
    pub(super) entries: usize,
}

impl Diagnosis {
    /// How many manifests are written anew.
    pub(super) fn rewritten(&self) -> usize {
        self.manifests.iter().flatten().count()
    }
}

/// Holds the manifests against the facts. With `drop_duplicates` of a file that is listed more than once the last listing stays.
pub(super) fn diagnose(
    loaded: &LoadedTable,
    whole: &[WholeManifest],
    facts: &HashMap<Identity, Found>,
    drop_duplicates: bool,
) -> Diagnosis {
    let mut repairs = Repairs {
        checked_files: facts.len() as u64,
        ..Repairs::default()
    };
    let dropped = duplicates(whole, &mut repairs);
    let mut told = HashSet::new();
    let mut manifests = Vec::with_capacity(whole.len());
    let mut totals = [Totals::default(); 3];
    let mut entries = 0;
    for (place, whole) in whole.iter().enumerate() {
        let mut faults = whole.labels.clone();
        let mut unsaid = 0;
        let fates: Vec<Fate> = whole
            .manifest
            .entries
            .iter()
            .enumerate()
            .map(|(index, entry)| {
                if drop_duplicates && dropped.contains(&(place, index)) {
                    return Fate::Dropped;
                }
                let identity = identity(&entry.file);
                let mut amendment = Amendment {
                    file_sequence_number: file_sequence_number(loaded, entry),
                    ..Amendment::default()
                };
                unsaid += usize::from(amendment.file_sequence_number.is_some());
                match facts.get(&identity) {
                    Some(Found::Sound(facts)) => {
                        let header = &whole.manifest.header;
                        let corrections = amend(&mut amendment, entry, header, facts);
                        if !corrections.is_empty() && told.insert(identity) {
                            repairs.files.push(FileRepair {
                                path: entry.file.path.clone(),
                                kind: kind(&entry.file),
                                corrections,
                            });
                        }
                    }
                    Some(Found::Unclear(why)) if told.insert(identity) => {
                        repairs.left.push(why.clone());
                    }
                    // Added since the files were asked for.
                    Some(Found::Unclear(_)) | None => {}
                }
                add(&mut totals, &entry.file, &amendment);
                if amendment == Amendment::default() {
                    Fate::Stays
                } else {
                    Fate::Amended(amendment)
                }
            })
            .collect();
        if unsaid > 0 {
            faults.push(format!(
                "{unsaid} entries have no file_sequence_number, which their snapshots tell"
            ));
        }
        let rewrite = !faults.is_empty() || fates.iter().any(|fate| *fate != Fate::Stays);
        faults.extend(list_faults(&whole.listed, &whole.manifest.entries, whole));
        if is_hidden(whole) {
            repairs.left.push(hidden(whole));
        }
        if !faults.is_empty() {
            repairs.manifests.push(ManifestRepair {
                path: whole.listed.path.clone(),
                faults,
            });
        }
        // What readers don't see stays where it is, and as it is.
        let rewrite = rewrite && !is_hidden(whole);
        entries += if rewrite { fates.len() } else { 0 };
        manifests.push(rewrite.then_some(fates));
    }
    repairs.left.sort();
    repairs.files.sort_by(|a, b| a.path.cmp(&b.path));
    Diagnosis {
        repairs,
        manifests,
        totals,
        entries,
    }
}

/// Finds files that are listed more than once. Returns the places of the listings that go: all but the one with the greatest
/// sequence number, which the fewest deletes apply to, so that no row is lost with the others.
fn duplicates(whole: &[WholeManifest], repairs: &mut Repairs) -> HashSet<(usize, usize)> {
    let mut places: BTreeMap<Identity, Vec<(usize, usize)>> = BTreeMap::new();
    for (manifest, whole) in whole.iter().enumerate() {
        for (index, entry) in whole.manifest.entries.iter().enumerate() {
            places
                .entry(identity(&entry.file))
                .or_default()
                .push((manifest, index));
        }
    }
    places.retain(|_, places| places.len() > 1);
    let entry = |(manifest, index): (usize, usize)| &whole[manifest].manifest.entries[index];
    let mut dropped = HashSet::new();
    for ((path, _), places) in places {
        let Some(kept) = places
            .iter()
            .copied()
            .max_by_key(|place| (entry(*place).sequence_number, *place))
        else {
            continue;
        };
        let stays = entry(kept);
        let is_same = |place: &(usize, usize)| {
            let other = &entry(*place).file;
            (other.content, &other.partition) == (stays.file.content, &stays.file.partition)
        };
        if !places.iter().all(is_same) {
            repairs.left.push(Unrepairable {
                file: path,
                what: "it is listed more than once, in several partitions or as several kinds of file".to_owned(),
                advice: "find out which listing is right, and remove the others with the engine that wrote them".to_owned(),
            });
            continue;
        }
        let others = places.into_iter().filter(|place| *place != kept);
        let others: Vec<(usize, usize)> = others.collect();
        let numbers = others.iter().map(|place| entry(*place).sequence_number);
        repairs.duplicates.push(Duplicate {
            path,
            kind: kind(&stays.file),
            kept_sequence_number: stays.sequence_number,
            dropped_sequence_numbers: numbers.collect(),
            rows: stays.file.rows,
        });
        dropped.extend(others);
    }
    dropped
}

/// The number that an entry lacks, where the snapshot that added its file is still known.
fn file_sequence_number(loaded: &LoadedTable, entry: &Entry) -> Option<i64> {
    if entry.file_sequence_number.is_some() {
        return None;
    }
    let snapshot = loaded.metadata.snapshot_by_id(entry.snapshot_id)?;
    let number = snapshot.sequence_number();
    (number >= entry.sequence_number).then_some(number)
}

/// Takes from the facts what the entry has wrong; returns that for people.
fn amend(
    amendment: &mut Amendment,
    entry: &Entry,
    header: &ManifestHeader,
    facts: &FileFacts,
) -> Vec<Correction> {
    let file = &entry.file;
    let mut corrections = Vec::new();
    let mut correct = |what, before: String, after: String| {
        corrections.push(Correction {
            what,
            before,
            after,
        });
    };
    if facts.rows != file.rows {
        amendment.rows = Some(facts.rows);
        correct(
            "record_count",
            file.rows.to_string(),
            facts.rows.to_string(),
        );
        if file.content == FileContent::Data {
            let (before, after) = ("of other rows", "left out");
            correct(
                "column counts and bounds",
                before.to_owned(),
                after.to_owned(),
            );
        }
    }
    if facts.size != file.size {
        amendment.size = Some(facts.size);
        correct(
            "file_size_in_bytes",
            file.size.to_string(),
            facts.size.to_string(),
        );
    }
    if let Some(begins) = &facts.row_groups
        && let Ok(Some(said)) = header.file_layout.integers(&file.raw, 132)
        && !may_split_at(&said, begins)
    {
        amendment.split_offsets = Some(begins.clone());
        correct("split_offsets", list(&said), list(begins));
    }
    corrections
}

/// Whether a file with row groups there may be split so: where it is split nowhere else, and from its first row group on, no
/// reader loses one.
fn may_split_at(said: &[i64], begins: &[i64]) -> bool {
    said.is_empty()
        || (said.is_sorted() && said.first() == begins.first())
            && said.iter().all(|offset| begins.contains(offset))
}

fn list(offsets: &[i64]) -> String {
    const SHOWN: usize = 8;
    let shown = offsets.iter().take(SHOWN).map(i64::to_string);
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if offsets.len() > SHOWN {
        text.push_str(&format!(", … ({} in all)", offsets.len()));
    }
    format!("[{text}]")
}

fn add(totals: &mut [Totals; 3], file: &TrackedFile, amendment: &Amendment) {
    let total = &mut totals[file.content as usize];
    total.files += 1;
    total.rows += amendment.rows.unwrap_or(file.rows);
    total.bytes += match amendment.size {
        Some(size) if !file.is_vector() => size,
        _ => file.own_bytes(),
    };
}

pub(super) fn kind(file: &TrackedFile) -> &'static str {
    match file.content {
        FileContent::Data => DATA,
        FileContent::PositionDeletes if file.is_vector() => "vector",
        FileContent::PositionDeletes => "position-deletes",
        FileContent::EqualityDeletes => "equality-deletes",
    }
}

/// The list's entry of a manifest that stays, with what was measured; `None` where it has no live files: that is history.
pub(super) fn as_measured(whole: &WholeManifest) -> Option<ManifestFile> {
    if is_hidden(whole) {
        return Some(whole.listed.clone());
    }
    if whole.manifest.entries.is_empty() {
        return None;
    }
    let mut listed = whole.listed.clone();
    let measured = &whole.manifest.measured;
    listed.length = measured.length;
    [listed.added, listed.existing, listed.deleted] = measured.counted;
    if let Some(least) = least_number(&whole.manifest.entries) {
        listed.min_sequence_number = listed.min_sequence_number.min(least);
    }
    Some(listed)
}

fn least_number(entries: &[Entry]) -> Option<i64> {
    entries.iter().map(|entry| entry.sequence_number).min()
}

/// What the list says wrongly of a manifest.
fn list_faults(listed: &ManifestFile, entries: &[Entry], whole: &WholeManifest) -> Vec<String> {
    let measured = &whole.manifest.measured;
    let mut faults = Vec::new();
    if is_hidden(whole) {
        return faults;
    }
    if listed.length != 0 && listed.length != measured.length {
        faults.push(format!(
            "its list says that it has {} bytes, and it has {}",
            listed.length, measured.length
        ));
    }
    let says = [listed.added, listed.existing, listed.deleted];
    let names = ["added", "existing", "deleted"];
    for ((says, has), name) in says.into_iter().zip(measured.counted).zip(names) {
        let is_wrong = |says: Option<i64>, has: Option<i64>| says.is_some() && says != has;
        if is_wrong(says.files, has.files) || is_wrong(says.rows, has.rows) {
            faults.push(format!(
                "its list counts {} {name}, and it has {}",
                counts(says),
                counts(has)
            ));
        }
    }
    if let Some(least) = least_number(entries)
        && listed.min_sequence_number > least
    {
        faults.push(format!(
            "its list says that it has no sequence number below {}, and it has {least}",
            listed.min_sequence_number
        ));
    }
    faults
}

fn counts(count: Count) -> String {
    let show = |number: Option<i64>| number.map_or("?".to_owned(), |number| number.to_string());
    format!("{} files of {} rows", show(count.files), show(count.rows))
}

/// Whether its list has readers pass over a manifest that has live files.
fn is_hidden(whole: &WholeManifest) -> bool {
    !whole.listed.may_have_live_files() && !whole.manifest.entries.is_empty()
}

fn hidden(whole: &WholeManifest) -> Unrepairable {
    Unrepairable {
        file: whole.listed.path.clone(),
        what: format!(
            "its list says that this manifest has no live files, and it has {}: readers pass over them",
            whole.manifest.entries.len()
        ),
        advice: "find out whether those files belong to the table; if they do, add them with the engine that wrote them".to_owned(),
    }
}
