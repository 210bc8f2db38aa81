//! Random histories: appends, deletes of every kind, removals and rewrites, in any order and during each other, against
//! a model that knows nothing but rows. After every step the rows that a reader sees must be the model's, and every
//! live file must have the sequence number that the model remembers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use iceberg::{
    TableUpdate,
    spec::{DataContentType, DataFile, FormatVersion, ManifestEntry, Struct, UnboundPartitionSpec},
};
use icepress_catalog::LoadedTable;
use icepress_model::{BaseState, ProcessId};
use proptest::prelude::*;

use super::{
    memory::Fault,
    world::{Foreign, World, file},
};
use crate::{FinishedGroup, commit::CommitFailure};

const REGIONS: [&str; 2] = ["eu", "us"];

/// What another writer does. Numbers pick among what is there at the time.
#[derive(Debug, Clone)]
enum Write {
    Append {
        region: usize,
        ids: Vec<u8>,
    },
    /// Rows by key, in one region or everywhere.
    DeleteKeys {
        region: Option<usize>,
        ids: Vec<u8>,
    },
    /// Rows by place; `by_reference` where one file is named and the entry says so.
    DeletePlaces {
        picks: Vec<(u8, u8)>,
        by_reference: bool,
    },
    RemoveFile {
        pick: u8,
    },
}

#[derive(Debug, Clone)]
enum Trouble {
    None,
    Rival(Write),
    AnswerLost,
    RequestLost,
}

#[derive(Debug, Clone)]
enum Step {
    Write(Write),
    /// Plans, lets others write, commits. `picks` choose files, `split` makes two groups of them.
    Rewrite {
        region: usize,
        picks: Vec<u8>,
        split: bool,
        meanwhile: Vec<Write>,
        trouble: Trouble,
    },
    /// Writes those manifests anew that `picks` says, or all.
    Manifests {
        picks: Option<Vec<bool>>,
        trouble: Trouble,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    /// What equality deletes go by. Not unique, as after an upsert.
    id: u8,
    /// What tells rows apart in the test.
    tag: u32,
}

/// What a file holds: the test's stand-in for its content.
#[derive(Debug, Clone)]
enum Held {
    Rows(usize, Vec<Row>),
    Keys(Vec<u8>),
    Places(BTreeSet<(String, usize)>),
}

/// The model: rows by region, and live data files with their sequence numbers.
#[derive(Debug, Clone, Default)]
struct Model {
    rows: BTreeSet<(usize, Row)>,
    numbers: BTreeMap<String, i64>,
    next: u32,
}

struct Play {
    world: World,
    model: Model,
    held: HashMap<String, Held>,
    named: u32,
    processes: u32,
}

impl Play {
    async fn new() -> Self {
        let world = World::new(FormatVersion::V2);
        let spec = UnboundPartitionSpec::builder().build();
        world.change(vec![TableUpdate::AddSpec { spec }]).await;
        Self {
            world,
            model: Model::default(),
            held: HashMap::new(),
            named: 0,
            processes: 0,
        }
    }

    fn name(&mut self, kind: &str) -> String {
        self.named += 1;
        format!("{kind}{:03}", self.named)
    }

    fn data_file(&mut self, region: usize, rows: Vec<Row>) -> DataFile {
        let path = self.name("data");
        let file = file(&path, REGIONS[region], rows.len() as u64)
            .null_value_counts(HashMap::from([(1, 0), (2, 0)]))
            .build()
            .unwrap();
        self.held.insert(path, Held::Rows(region, rows));
        file
    }

    /// What `write` is at this moment, with what it does to the model; `None` where there is nothing to do it to.
    fn prepare(&mut self, write: &Write, model: &mut Model, number: i64) -> Option<Foreign> {
        let mut foreign = Foreign::default();
        match write {
            Write::Append { region, ids } => {
                let rows: Vec<Row> = ids
                    .iter()
                    .map(|id| {
                        model.next += 1;
                        Row {
                            id: *id,
                            tag: model.next,
                        }
                    })
                    .collect();
                model.rows.extend(rows.iter().map(|row| (*region, *row)));
                let file = self.data_file(*region, rows);
                model.numbers.insert(file.file_path().to_owned(), number);
                foreign.data.push(file);
            }
            Write::DeleteKeys { region, ids } => {
                let hits = |at: usize| region.is_none_or(|region| region == at);
                model
                    .rows
                    .retain(|(at, row)| !(hits(*at) && ids.contains(&row.id)));
                let path = self.name("keys");
                let mut file = file(&path, REGIONS[region.unwrap_or(0)], ids.len() as u64);
                file.content(DataContentType::EqualityDeletes)
                    .equality_ids(Some(vec![1]));
                if region.is_none() {
                    file.partition(Struct::empty()).partition_spec_id(1);
                }
                foreign.deletes.push(file.build().unwrap());
                self.held.insert(path, Held::Keys(ids.clone()));
            }
            Write::DeletePlaces {
                picks,
                by_reference,
            } => {
                let files: Vec<&String> = model.numbers.keys().collect();
                let mut places = BTreeSet::new();
                let mut region = None;
                for (pick, position) in picks {
                    let path = *files.get(usize::from(*pick) % files.len().max(1))?;
                    let Some(Held::Rows(at, rows)) = self.held.get(path) else {
                        return None;
                    };
                    // One delete file lies in one partition, and here by its reference on one file.
                    let is_first = places.is_empty();
                    let same_file = places.iter().all(|(named, _)| named == path);
                    if *region.get_or_insert(*at) != *at || (*by_reference && !same_file) {
                        continue;
                    }
                    let position = usize::from(*position) % rows.len().max(1);
                    if position < rows.len() || !is_first {
                        places.insert((path.clone(), position));
                    }
                }
                let region = region?;
                let first = places.first()?.0.clone();
                for (path, position) in &places {
                    if let Some(Held::Rows(_, rows)) = self.held.get(path)
                        && let Some(row) = rows.get(*position)
                    {
                        model.rows.remove(&(region, *row));
                    }
                }
                let path = self.name("places");
                let named: Vec<(&str, i64)> = places
                    .iter()
                    .map(|(path, at)| (path.as_str(), *at as i64))
                    .collect();
                let mut file = self.world.position_deletes(&path, REGIONS[region], &named);
                if *by_reference {
                    file.referenced_data_file(Some(first));
                }
                foreign.deletes.push(file.build().unwrap());
                self.held.insert(path, Held::Places(places));
            }
            Write::RemoveFile { pick } => {
                let files: Vec<&String> = model.numbers.keys().collect();
                let path = (*files.get(usize::from(*pick) % files.len().max(1))?).clone();
                if let Some(Held::Rows(region, rows)) = self.held.get(&path) {
                    for row in rows {
                        model.rows.remove(&(*region, *row));
                    }
                }
                model.numbers.remove(&path);
                foreign.removed.push(path);
            }
        }
        Some(foreign)
    }

    fn next_number(&self) -> i64 {
        self.world.loaded().metadata.next_sequence_number()
    }

    async fn write(&mut self, write: &Write) {
        let mut model = self.model.clone();
        let number = self.next_number();
        if let Some(foreign) = self.prepare(write, &mut model, number) {
            self.world.commit(foreign).await;
            self.model = model;
        }
    }

    /// The rows of each live data file that no live delete file hides, by the letter of the specification.
    async fn visible(&self, loaded: &LoadedTable) -> BTreeMap<String, Vec<(usize, Row)>> {
        let manifests = self.world.manifests_of(loaded).await;
        let entries: Vec<(i32, ManifestEntry)> = manifests
            .into_iter()
            .flat_map(|(file, entries)| {
                let spec = file.partition_spec_id;
                entries.into_iter().map(move |entry| (spec, entry))
            })
            .collect();
        let mut visible = BTreeMap::new();
        for (_, data) in &entries {
            let Some(Held::Rows(region, rows)) = self.held.get(data.file_path()) else {
                continue;
            };
            let is_hidden = |position: usize, row: &Row| {
                entries.iter().any(|(spec, delete)| {
                    let file = delete.data_file();
                    let same = file.partition() == data.data_file().partition();
                    match &self.held[delete.file_path()] {
                        Held::Rows(..) => false,
                        Held::Keys(ids) => {
                            (same || *spec == 1)
                                && data.sequence_number < delete.sequence_number
                                && ids.contains(&row.id)
                        }
                        Held::Places(places) => {
                            same && data.sequence_number <= delete.sequence_number
                                && places.contains(&(data.file_path().to_owned(), position))
                        }
                    }
                })
            };
            let left = rows
                .iter()
                .enumerate()
                .filter(|(at, row)| !is_hidden(*at, row));
            let left = left.map(|(_, row)| (*region, *row)).collect();
            let twice = visible.insert(data.file_path().to_owned(), left);
            assert!(twice.is_none(), "{} is live twice", data.file_path());
        }
        visible
    }

    async fn check(&self, after: &str) {
        let loaded = self.world.loaded();
        let mut rows: Vec<_> = self
            .visible(&loaded)
            .await
            .into_values()
            .flatten()
            .collect();
        rows.sort();
        let expected: Vec<_> = self.model.rows.iter().copied().collect();
        assert_eq!(rows, expected, "after {after}");
        let live = self.world.live().await.0.into_iter();
        let numbers: BTreeMap<_, _> = live.map(|seen| (seen.path, seen.sequence_number)).collect();
        assert_eq!(numbers, self.model.numbers, "after {after}");
    }

    /// After a rewrite no delete file is left that can hide nothing.
    async fn check_deletes(&self) {
        let loaded = self.world.loaded();
        let manifests = self.world.manifests_of(&loaded).await;
        let data: Vec<&ManifestEntry> = manifests
            .iter()
            .flat_map(|(_, entries)| entries)
            .filter(|entry| entry.content_type() == DataContentType::Data)
            .collect();
        for (manifest, entries) in &manifests {
            for entry in entries {
                let file = entry.data_file();
                let is_needed = match file.content_type() {
                    DataContentType::Data => true,
                    DataContentType::EqualityDeletes => data.iter().any(|data| {
                        data.sequence_number < entry.sequence_number
                            && (manifest.partition_spec_id == 1
                                || data.data_file().partition() == file.partition())
                    }),
                    DataContentType::PositionDeletes => match file.referenced_data_file() {
                        Some(path) => self.model.numbers.contains_key(&path),
                        None => true,
                    },
                };
                assert!(is_needed, "{} is left", entry.file_path());
            }
        }
    }

    /// What a plan and a rewrite make of `inputs`, all as the table is now.
    async fn group(&mut self, index: u32, region: usize, inputs: &[String]) -> FinishedGroup {
        let visible = self.visible(&self.world.loaded()).await;
        let rows: Vec<Row> = inputs
            .iter()
            .flat_map(|path| visible[path].iter().map(|(_, row)| *row))
            .collect();
        let half = rows.len().div_ceil(2);
        let mut outputs = Vec::new();
        for part in [&rows[..half], &rows[half..]] {
            if !part.is_empty() {
                outputs.push(self.data_file(region, part.to_vec()));
            }
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        self.world.group(index, &inputs, &outputs).await
    }

    async fn rewrite(
        &mut self,
        region: usize,
        picks: &[u8],
        split: bool,
        meanwhile: &[Write],
        trouble: &Trouble,
    ) {
        let of_region = |held: &Held| matches!(held, Held::Rows(at, _) if *at == region);
        let files: Vec<&String> = self
            .model
            .numbers
            .keys()
            .filter(|path| of_region(&self.held[*path]))
            .collect();
        let chosen: BTreeSet<String> = picks
            .iter()
            .filter_map(|pick| files.get(usize::from(*pick) % files.len().max(1)))
            .map(|path| (*path).clone())
            .collect();
        if chosen.is_empty() {
            return;
        }
        let chosen: Vec<String> = chosen.into_iter().collect();
        let base = self.world.base();
        let cut = if split { chosen.len() / 2 } else { 0 };
        let mut groups = Vec::new();
        for (index, part) in (0..).zip([&chosen[..cut], &chosen[cut..]]) {
            if !part.is_empty() {
                groups.push(self.group(index, region, part).await);
            }
        }
        for write in meanwhile {
            self.write(write).await;
        }
        self.processes += 1;
        self.world.process = ProcessId(format!("process{}", self.processes));
        self.commit(&base, groups, trouble).await;
    }

    /// Lets the next swap go wrong. Returns what the model is once a rival was let in.
    async fn expect(&mut self, trouble: &Trouble) -> Option<Model> {
        match trouble {
            Trouble::None => {}
            Trouble::AnswerLost => self.world.catalog.will(Fault::AnswerLost),
            Trouble::RequestLost => self.world.catalog.will(Fault::RequestLost),
            Trouble::Rival(write) => {
                let mut model = self.model.clone();
                let number = self.next_number();
                if let Some(foreign) = self.prepare(write, &mut model, number) {
                    self.world.rival(foreign).await;
                    return Some(model);
                }
            }
        }
        None
    }

    /// A commit that had nothing to swap in never met its rival.
    fn settle(&mut self, rival_model: Option<Model>) {
        let was_met = std::mem::take(&mut *self.world.catalog.faults.lock().unwrap()).is_empty();
        if let Some(model) = rival_model.filter(|_| was_met) {
            self.model = model;
        }
    }

    /// Writes manifests anew. Everything that is live is as it was: who added it, when, and how it is numbered.
    async fn manifests(&mut self, picks: Option<&[bool]>, trouble: &Trouble) {
        let before = self.world.live().await;
        let rival_model = self.expect(trouble).await;
        let is_alone = rival_model.is_none();
        let mut result = self.world.arrange(picks).await;
        if matches!(result, Err(CommitFailure::OutcomeUnknown { .. })) {
            result = self.world.arrange(picks).await;
        }
        self.settle(rival_model);
        match result {
            Ok(_) | Err(CommitFailure::NothingLeft { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        if is_alone {
            assert_eq!(self.world.live().await, before);
        }
    }

    async fn commit(&mut self, base: &BaseState, groups: Vec<FinishedGroup>, trouble: &Trouble) {
        let rival_model = self.expect(trouble).await;
        let mut result = self.world.run(base, groups.clone()).await;
        if matches!(result, Err(CommitFailure::OutcomeUnknown { .. })) {
            result = self.world.run(base, groups.clone()).await;
        }
        self.settle(rival_model);
        match result {
            Ok(outcome) => {
                assert_eq!(
                    outcome.committed.len() + outcome.dropped.len(),
                    groups.len()
                );
                for group in groups
                    .iter()
                    .filter(|g| outcome.committed.contains(&g.index))
                {
                    for input in &group.group.inputs {
                        self.model.numbers.remove(&input.path);
                    }
                    for output in &group.result.data_files {
                        let path = output["file_path"].as_str().unwrap().to_owned();
                        let number = base.starting_sequence_number.get();
                        self.model.numbers.insert(path, number);
                    }
                }
                self.check_deletes().await;
            }
            Err(CommitFailure::NothingLeft { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Write(write) => self.write(write).await,
            Step::Rewrite {
                region,
                picks,
                split,
                meanwhile,
                trouble,
            } => {
                self.rewrite(*region, picks, *split, meanwhile, trouble)
                    .await
            }
            Step::Manifests { picks, trouble } => {
                self.processes += 1;
                self.world.process = ProcessId(format!("process{}", self.processes));
                self.manifests(picks.as_deref(), trouble).await
            }
        }
        self.check(&format!("{step:?}")).await;
    }
}

fn write() -> impl Strategy<Value = Write> {
    let ids = || prop::collection::vec(0u8..12, 1..6);
    prop_oneof![
        4 => (0usize..2, ids()).prop_map(|(region, ids)| Write::Append { region, ids }),
        2 => (prop::option::weighted(0.7, 0usize..2), ids())
            .prop_map(|(region, ids)| Write::DeleteKeys { region, ids }),
        3 => (prop::collection::vec(any::<(u8, u8)>(), 1..5), any::<bool>())
            .prop_map(|(picks, by_reference)| Write::DeletePlaces { picks, by_reference }),
        1 => any::<u8>().prop_map(|pick| Write::RemoveFile { pick }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let trouble = || {
        prop_oneof![
            4 => Just(Trouble::None),
            2 => write().prop_map(Trouble::Rival),
            1 => Just(Trouble::AnswerLost),
            1 => Just(Trouble::RequestLost),
        ]
    };
    let picks = prop::option::of(prop::collection::vec(any::<bool>(), 1..4));
    let manifests = (picks, trouble());
    let rewrite = (
        0usize..2,
        prop::collection::vec(any::<u8>(), 1..6),
        any::<bool>(),
        prop::collection::vec(write(), 0..3),
        trouble(),
    );
    prop_oneof![
        3 => write().prop_map(Step::Write),
        2 => rewrite.prop_map(|(region, picks, split, meanwhile, trouble)| Step::Rewrite {
            region,
            picks,
            split,
            meanwhile,
            trouble,
        }),
        1 => manifests.prop_map(|(picks, trouble)| Step::Manifests { picks, trouble }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// A naive commit fails this within a few dozen histories: rows come back, double, or vanish.
    #[test]
    fn rows_and_numbers_are_right_after_every_step(steps in prop::collection::vec(step(), 4..16)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut play = Play::new().await;
            // Two files to begin with, so that short histories have something to work on.
            for region in 0..2 {
                play.write(&Write::Append { region, ids: vec![1, 2, 3, 4] }).await;
            }
            for step in &steps {
                play.step(step).await;
            }
        });
    }
}
