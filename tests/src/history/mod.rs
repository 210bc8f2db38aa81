//! Random histories of tables: foreign writers append, overwrite, delete, evolve and upgrade, Icepress rewrites between
//! and across, and after each step the rows must be those of a plain list.
//!
//! * `setup` says what a history is, and makes random ones; `world` lives it: the foreign writers and the model;
//!   `rewriting` is the part of planner, engine and commit in it;
//! * `model` is the plain list; `reader` reads the table without any of the engine's code; `invariants` looks at the
//!   metadata;
//! * `values`, `arrow`, `shape`, `dice`, `evolve` and `writer` are what these need.

mod arrow;
mod dice;
mod evolve;
mod invariants;
mod model;
mod reader;
mod rewriting;
mod setup;
mod shape;
mod values;
mod world;
mod writer;

use std::sync::Arc;

use icepress_catalog::SqlCatalog;
use icepress_model::{CatalogName, Namespace, TableId, TimestampMs, ambient::Ambient};
use icepress_storage::{LocalStorage, Storage};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use std::path::Path;
use tokio::runtime::Runtime;

pub use dice::Dice;
pub use setup::{History, Setup, Step, any_history};
pub use world::{Checkpoint, Outcome, Tally, World};

/// A moment of 2026, from which the clock goes on.
const START: TimestampMs = TimestampMs(1_790_000_000_000);

/// A catalog on one SQLite file with a warehouse beside it, in which histories happen, one table each.
pub struct Ground {
    runtime: Runtime,
    folder: String,
    ambient: Ambient,
    storage: Arc<dyn Storage>,
    catalog: Arc<SqlCatalog>,
}

impl Ground {
    /// A catalog named `default` in `folder`, which must exist.
    pub fn new(folder: &Path, seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let folder = folder.to_str().unwrap().to_owned();
        let (ambient, _) = Ambient::repeatable(seed, START);
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::new());
        let catalog = runtime.block_on(SqlCatalog::create(
            CatalogName::from("default"),
            &format!("sqlite:///{folder}/catalog.db"),
            Arc::clone(&storage),
            ambient.clone(),
        ));
        Self {
            runtime,
            folder,
            ambient,
            storage,
            catalog: Arc::new(catalog.unwrap()),
        }
    }

    /// Lives a history in a table of that name; returns the states to be judged by others, the last one among them, and
    /// what happened.
    pub fn live(&self, name: &str, history: &History) -> Outcome<(Vec<Checkpoint>, Tally)> {
        let table = self.table(name);
        let folder = format!("{}/warehouse/{name}", self.folder);
        self.runtime.block_on(async {
            let mut world = World::new(
                history,
                table,
                folder,
                self.ambient.clone(),
                Arc::clone(&self.storage),
                Arc::clone(&self.catalog),
            )
            .await;
            for (number, step) in (1..).zip(&history.steps) {
                let step_is = |reason| format!("step {number}, {step:?}: {reason}");
                world.step(step).await.map_err(step_is)?;
            }
            let loaded = world.load().await;
            world.note(&loaded, "the last step");
            Ok((world.checkpoints, world.tally))
        })
    }

    /// Makes a table of a state that another table was in.
    pub fn register(&self, name: &str, checkpoint: &Checkpoint) {
        let table = self.table(name);
        let registered = self.catalog.register(&table, &checkpoint.location);
        self.runtime.block_on(registered).unwrap();
    }

    /// Takes a table away with its files.
    pub fn forget(&self, name: &str) {
        let table = self.table(name);
        self.runtime
            .block_on(self.catalog.unregister(&table))
            .unwrap();
        std::fs::remove_dir_all(format!("{}/warehouse/{name}", self.folder)).unwrap();
    }

    fn table(&self, name: &str) -> TableId {
        TableId {
            catalog: CatalogName::from("default"),
            namespace: Namespace::from_dotted("histories"),
            name: name.to_owned(),
        }
    }
}

/// The history of a seed.
pub fn history_of(seed: u64) -> History {
    let tree = any_history().new_tree(&mut runner(seed)).unwrap();
    tree.current()
}

/// Lives the history of a seed, and where something is wrong, looks for the shortest history in which it still is. The
/// error shows that.
pub fn try_seed(ground: &Ground, seed: u64) -> Outcome<Tally> {
    let mut runner = runner(seed);
    let tree = any_history().new_tree(&mut runner).unwrap();
    let tries = std::cell::Cell::new(0u32);
    let first = std::cell::RefCell::new(Tally::new());
    let outcome = runner.run_one(tree, |history| {
        tries.set(tries.get() + 1);
        let name = format!("s{seed}_{}", tries.get());
        let lived = ground.live(&name, &history);
        ground.forget(&name);
        let (_, tally) = lived.map_err(TestCaseError::fail)?;
        *first.borrow_mut() = tally;
        Ok(())
    });
    match outcome {
        Ok(_) => Ok(first.into_inner()),
        Err(TestError::Abort(reason)) => Err(format!("seed {seed}: {reason}")),
        Err(TestError::Fail(reason, history)) => Err(told(seed, &reason.to_string(), &history)),
    }
}

fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// A failing history, a line a step.
fn told(seed: u64, reason: &str, history: &History) -> String {
    let mut lines = vec![
        format!("seed {seed}: {reason}"),
        format!("  {:?}", history.setup),
    ];
    let steps = (1..).zip(&history.steps);
    lines.extend(steps.map(|(number, step)| format!("  {number}. {step:?}")));
    lines.join("\n")
}
