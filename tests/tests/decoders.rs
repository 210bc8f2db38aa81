//! Damaged and hostile files against everything that decodes: metadata, manifest lists, manifests, position and equality
//! deletes, data files, deletion vectors, and the plans and results that travel as JSON. Whatever is in a file, reading
//! it ends in an error with a name in it, or in rows; never in a panic, and never in memory that the file is not worth.
//!
//! Real files of random histories are damaged one at a time and then read the way a maintenance run reads: the scan, the
//! plan, the engine with all deletes, and the commit. `DECODERS=N` makes N damages of each kind of file.
#![allow(
    clippy::unwrap_used,
    reason = "a fixture that fails should fail the test at once"
)]

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use icepress_catalog::{
    Catalog, CatalogError, CommitError, CommitToken, LoadedTable, TableChange, TablePage,
    metadata::read_metadata,
};
use icepress_model::{
    Attempt, Bytes, CatalogName, DatabaseId, GroupTask, MergePages, MetadataLocation, Namespace,
    ProcessId, TableId, TablePlan, TimestampMs, ambient::Ambient,
};
use icepress_planner::{PlanOptions, plan_table};
use icepress_rewrite::{RewriteContext, rewrite_group};
use icepress_storage::Storage;
use icepress_table::{
    CommitContext, CommitFailure, CommitPolicy, FinishedGroup, commit_groups, open_snapshot,
    vectors::{decode_vector, encode_vector},
};
use icepress_tests::{
    Overlay,
    history::{Checkpoint, Dice, Ground, history_of},
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// How much more than before a look at one damaged file may take at its peak, in bytes. The files here have some
/// kilobytes; the limits of decoders are for files of real size.
const MOST_MEMORY: usize = 300 << 20;

/// Damages of each kind of file that are usually tried.
const USUAL: usize = 60;

/// What is measured must be alone.
static ALONE: Mutex<()> = Mutex::new(());

#[allow(
    clippy::disallowed_methods,
    reason = "how much to try is for whoever runs the test to say"
)]
fn tries() -> usize {
    std::env::var("DECODERS").map_or(USUAL, |text| text.parse().expect("a number of damages"))
}

/// Runs `look`; fails where it panics, or takes more memory than it may.
fn guarded<T>(what: &str, look: impl FnOnce() -> T) -> T {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let looked = catch_unwind(AssertUnwindSafe(look));
    let taken = MEMORY.peak_usage().saturating_sub(before);
    assert!(
        taken < MOST_MEMORY,
        "{what}: {} MiB were taken",
        taken >> 20
    );
    looked.unwrap_or_else(|_| panic!("{what}: it panicked, see above"))
}

/// A catalog with one table, which takes no commits.
#[derive(Debug)]
struct Fixed {
    name: CatalogName,
    loaded: LoadedTable,
}

#[async_trait]
impl Catalog for Fixed {
    fn name(&self) -> &CatalogName {
        &self.name
    }

    async fn list_namespaces(&self) -> Result<Vec<Namespace>, CatalogError> {
        Ok(Vec::new())
    }

    async fn list_tables(
        &self,
        _: &DatabaseId,
        _: Option<&str>,
    ) -> Result<TablePage, CatalogError> {
        Ok(TablePage::default())
    }

    async fn load(&self, _: &TableId) -> Result<LoadedTable, CatalogError> {
        Ok(self.loaded.clone())
    }

    async fn commit(&self, base: &LoadedTable, _: TableChange) -> Result<LoadedTable, CommitError> {
        Err(CommitError::Refused(CatalogError::NoSuchTable(
            base.table.clone(),
        )))
    }
}

/// A table in one state, and how far a run got with it.
struct Patient {
    table: TableId,
    location: MetadataLocation,
    overlay: Overlay,
    ambient: Ambient,
    runtime: tokio::runtime::Runtime,
}

impl Patient {
    fn new(name: &str, checkpoint: &Checkpoint) -> Self {
        let (ambient, _) = Ambient::repeatable(1, TimestampMs(1_790_000_000_000));
        Self {
            table: format!("default.histories.{name}").parse().unwrap(),
            location: checkpoint.location.clone(),
            overlay: Overlay::default(),
            ambient,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
        }
    }

    fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.overlay.clone())
    }

    fn engine(&self) -> RewriteContext {
        RewriteContext {
            storage: self.storage(),
            ambient: self.ambient.clone(),
            memory_cap: Bytes::mebibytes(64),
            merge_pages: MergePages::default(),
            progress: Arc::default(),
        }
    }

    fn load(&self) -> Result<LoadedTable, String> {
        let storage = self.storage();
        let read = read_metadata(&*storage, &self.table, &self.location);
        let metadata = self.runtime.block_on(read);
        Ok(LoadedTable {
            table: self.table.clone(),
            metadata_location: self.location.clone(),
            metadata: Arc::new(metadata.map_err(|error| error.to_string())?),
            token: CommitToken::default(),
        })
    }

    fn plan(&self, loaded: &LoadedTable) -> Result<TablePlan, String> {
        let storage = self.storage();
        let scan = open_snapshot(&*storage, &self.table, &loaded.metadata);
        let scan = self.runtime.block_on(scan);
        let options = PlanOptions {
            force: true,
            ..PlanOptions::default()
        };
        let scan = scan.map_err(|error| error.to_string())?;
        plan_table(&scan, &loaded.metadata, &self.location, &options)
            .map_err(|error| error.to_string())
    }

    fn rewrite(
        &self,
        loaded: &LoadedTable,
        plan: &TablePlan,
    ) -> Result<Vec<FinishedGroup>, String> {
        let Some(base) = plan.base.clone() else {
            return Ok(Vec::new());
        };
        let mut finished = Vec::new();
        for (index, group) in (0u32..).zip(&plan.groups) {
            let task = GroupTask {
                table: self.table.clone(),
                process: ProcessId::from("p"),
                index,
                base: base.clone(),
                group: group.clone(),
                pace: None,
            };
            let engine = self.engine();
            let rewritten = rewrite_group(&engine, &loaded.metadata, &task, Attempt(1));
            let result = self.runtime.block_on(rewritten);
            finished.push(FinishedGroup {
                index,
                group: group.clone(),
                result: result.map_err(|failure| failure.message)?,
            });
        }
        Ok(finished)
    }

    /// Commits groups, up to the swap, which is refused.
    fn commit(
        &self,
        loaded: &LoadedTable,
        plan: &TablePlan,
        groups: Vec<FinishedGroup>,
    ) -> Result<(), String> {
        let Some(base) = &plan.base else {
            return Ok(());
        };
        let context = CommitContext {
            catalog: Arc::new(Fixed {
                name: CatalogName::from("default"),
                loaded: loaded.clone(),
            }),
            storage: self.storage(),
            ambient: self.ambient.clone(),
            policy: CommitPolicy::default(),
        };
        let process = ProcessId::from("p");
        let committed = commit_groups(&context, &self.table, &process, base, groups);
        match self.runtime.block_on(committed) {
            Err(CommitFailure::Catalog(CatalogError::NoSuchTable(_))) => Ok(()),
            Ok(_) => panic!("the catalog takes no commits"),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// What a healthy run makes of a table: the later parts of a run with damage begin with it.
struct Healthy {
    patient: Patient,
    loaded: LoadedTable,
    plan: TablePlan,
    groups: Vec<FinishedGroup>,
    read: Vec<String>,
}

impl Healthy {
    /// The newest state of a table in which there is something to rewrite: histories end with a rewrite.
    fn newest_of(name: &str, checkpoints: &[Checkpoint]) -> Option<Self> {
        let newest_first = checkpoints.iter().rev();
        newest_first
            .map(|checkpoint| Patient::new(name, checkpoint))
            .find_map(Self::new)
    }

    fn new(patient: Patient) -> Option<Self> {
        let loaded = patient.load().unwrap();
        let plan = patient.plan(&loaded).unwrap();
        let groups = patient.rewrite(&loaded, &plan).unwrap();
        if groups.is_empty() {
            return None;
        }
        patient.commit(&loaded, &plan, groups.clone()).unwrap();
        let outputs = |path: &String| std::fs::metadata(path).is_ok();
        let read = patient.overlay.take_read().into_iter().filter(outputs);
        Some(Self {
            read: read.collect(),
            patient,
            loaded,
            plan,
            groups,
        })
    }

    /// Every part of a run, each on what the parts before it make of healthy files: damage that one part finds must
    /// not keep the others from looking. Errors are those of the parts, by name.
    fn look(&self) -> Vec<(&'static str, String)> {
        let Self {
            patient,
            loaded,
            plan,
            groups,
            ..
        } = self;
        let mut errors = Vec::new();
        let mut note =
            |part, error: Option<String>| errors.extend(error.map(|error| (part, error)));
        note("load", patient.load().err());
        note("plan", patient.plan(loaded).err());
        note("rewrite", patient.rewrite(loaded, plan).err());
        note("commit", patient.commit(loaded, plan, groups.clone()).err());
        errors
    }
}

fn kind_of(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap();
    Some(match name {
        name if name.ends_with(".metadata.json") => "metadata",
        name if name.starts_with("snap-") => "manifest list",
        name if name.ends_with(".avro") => "manifest",
        name if name.ends_with(".puffin") => "vectors",
        name if name.starts_with("positions") => "position deletes",
        name if name.starts_with("equality") => "equality deletes",
        name if name.starts_with("data") => "data",
        _ => return None,
    })
}

/// One of the ways in which files go wrong. The first half leaves the length as it is.
fn damage(content: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = content.to_vec();
    let length = bytes.len();
    // Headers and footers decide over all the rest.
    let place = match dice.below(3) {
        0 => dice.below(length.min(600)),
        1 => length - 1 - dice.below(length.min(1200)),
        _ => dice.below(length),
    };
    match dice.below(9) {
        0 | 1 => bytes[place] ^= 1 << dice.below(8),
        2 => {
            for _ in 0..3 {
                let place = dice.below(length);
                bytes[place] = dice.bits() as u8;
            }
        }
        // Lengths blown up: as varints, and as little-endian numbers.
        3 => {
            let end = (place + 1 + dice.below(9)).min(length);
            bytes[place..end].fill(0xff);
        }
        4 => {
            let end = (place + 4).min(length);
            let large = [0xff, 0xff, 0xff, 0x7f];
            bytes[place..end].copy_from_slice(&large[..end - place]);
        }
        5 => {
            let end = (place + dice.below(64)).min(length);
            bytes[place..end].fill(0);
        }
        6 => bytes.truncate(place),
        7 => {
            let piece: Vec<u8> = bytes[place..(place + 40).min(length)].to_vec();
            bytes.splice(place..place, piece);
        }
        _ => {
            let noise = dice.below(300);
            bytes = (0..noise).map(|_| dice.bits() as u8).collect();
        }
    }
    bytes
}

#[test]
fn damaged_files_end_in_clear_errors() {
    let _alone = ALONE.lock().unwrap_or_else(|poison| poison.into_inner());
    let folder = tempfile::tempdir().unwrap();
    let ground = Ground::new(folder.path(), 1);
    let mut by_kind: BTreeMap<&str, Vec<(usize, String)>> = BTreeMap::new();
    let mut tables = Vec::new();
    for seed in 0..40 {
        let name = format!("d{seed}");
        let (checkpoints, _) = ground.live(&name, &history_of(seed)).unwrap();
        let Some(healthy) = Healthy::newest_of(&name, &checkpoints) else {
            continue;
        };
        for path in &healthy.read {
            if let Some(kind) = kind_of(path) {
                by_kind
                    .entry(kind)
                    .or_default()
                    .push((tables.len(), path.clone()));
            }
        }
        tables.push(healthy);
    }
    let expected = [
        "data",
        "equality deletes",
        "manifest",
        "manifest list",
        "metadata",
        "position deletes",
        "vectors",
    ];
    for kind in expected {
        assert!(by_kind.contains_key(kind), "there is no {kind} to damage");
    }
    for (kind, files) in by_kind {
        let mut dice = Dice::new(kind.len() as u64);
        let mut found = 0;
        for number in 0..tries() {
            let (table, path) = &files[dice.below(files.len())];
            let damaged = damage(&std::fs::read(path).unwrap(), &mut dice);
            let healthy = &tables[*table];
            healthy.patient.overlay.replace(path, damaged);
            let what = format!("damage {number} of {kind}, {path}");
            let errors = guarded(&what, || healthy.look());
            found += usize::from(!errors.is_empty());
            for (part, error) in errors {
                let has_name = error.contains(&healthy.patient.table.name);
                assert!(has_name, "{what}: {part} says only '{error}'");
            }
        }
        println!("{kind}: {found} of {} damages were found", tries());
        assert!(found * 10 > tries(), "{kind}: damage goes unseen");
    }
}

#[test]
fn damaged_vectors_end_in_clear_errors() {
    let _alone = ALONE.lock().unwrap_or_else(|poison| poison.into_inner());
    let mut dice = Dice::new(3);
    for number in 0..tries() * 20 {
        let positions = (0..dice.below(200)).map(|_| dice.bits() >> dice.below(64));
        let blob = encode_vector(positions.collect()).unwrap();
        let mut damaged = damage(&blob, &mut dice);
        // Sealed again, so that the bitmap's own decoder sees it.
        if damaged.len() > 8 && dice.below(4) > 0 {
            let end = damaged.len() - 4;
            let length = u32::try_from(end - 4).unwrap();
            damaged[..4].copy_from_slice(&length.to_be_bytes());
            damaged[4..8].copy_from_slice(&[0xD1, 0xD3, 0x39, 0x64]);
            let checksum = crc32fast::hash(&damaged[4..end]);
            damaged[end..].copy_from_slice(&checksum.to_be_bytes());
        }
        let what = format!("damage {number} of a vector");
        if let Err(message) = guarded(&what, || decode_vector(&damaged).map(drop)) {
            assert!(message.contains("deletion vector"), "{what}: '{message}'");
        }
    }
}

#[test]
fn damaged_plans_end_in_clear_errors() {
    let _alone = ALONE.lock().unwrap_or_else(|poison| poison.into_inner());
    let folder = tempfile::tempdir().unwrap();
    let ground = Ground::new(folder.path(), 2);
    let mut dice = Dice::new(4);
    let mut understood = 0;
    for seed in 40..46 {
        let name = format!("p{seed}");
        let (checkpoints, _) = ground.live(&name, &history_of(seed)).unwrap();
        let Some(healthy) = Healthy::newest_of(&name, &checkpoints) else {
            continue;
        };
        let text = serde_json::to_vec(&healthy.plan).unwrap();
        for number in 0..tries() {
            // One digit for another is the damage that JSON survives.
            let mut damaged = match dice.below(2) {
                0 => damage(&text, &mut dice),
                _ => text.clone(),
            };
            let digits: Vec<usize> = (0..damaged.len())
                .filter(|place| damaged[*place].is_ascii_digit())
                .collect();
            if let Some(place) = digits.get(dice.below(digits.len().max(1))) {
                let digit = b'0' + u8::try_from(dice.below(10)).unwrap();
                let many = dice.below(12);
                damaged.splice(*place..*place, std::iter::repeat_n(digit, many));
            }
            let what = format!("damage {number} of the plan of {name}");
            guarded(&what, || {
                let Ok(plan) = serde_json::from_slice::<TablePlan>(&damaged) else {
                    return;
                };
                understood += 1;
                let (patient, loaded) = (&healthy.patient, &healthy.loaded);
                match patient.rewrite(loaded, &plan) {
                    Ok(groups) => drop(patient.commit(loaded, &plan, groups)),
                    Err(error) => assert!(error.contains(&name), "{what}: '{error}'"),
                }
            });
        }
    }
    assert!(understood > 0, "no damaged plan could be read at all");
}
