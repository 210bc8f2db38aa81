//! Rewrites of a history's table: the real planner, engine and commit, and what must hold after each.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use iceberg::spec::FormatVersion;
use icepress_catalog::LoadedTable;
use icepress_model::{Attempt, Group, GroupTask, MergePages, ProcessId, SchemaId, TablePlan, Tier};
use icepress_planner::{PlanOptions, group_all, plan_table};
use icepress_rewrite::{RewriteContext, RowsHash, hash_rows, rewrite_group};
use icepress_table::{CommitFailure, FinishedGroup, commit_groups, open_snapshot};

use super::{
    reader::Seen,
    world::{Outcome, World},
};

/// Plans that may follow one another before the table must be at rest.
const MOST_ROUNDS: usize = 6;

/// A rewrite whose files are written.
pub(super) struct Begun {
    plan: TablePlan,
    process: ProcessId,
    groups: Vec<FinishedGroup>,
    /// The first row id of each data file when it was read, where it had one.
    row_ids: HashMap<String, Option<i64>>,
}

impl World {
    /// Rewrites until nothing is left to do. Nobody comes between, so every group must be committed.
    pub(super) async fn rewrite(&mut self, force: bool) -> Outcome {
        let mut force = force;
        for _ in 0..MOST_ROUNDS {
            let before = self.engine_rows().await?;
            let Some(begun) = self.prepare(force).await? else {
                return Ok(());
            };
            let (asked_to_follow, all) = (begun.plan.follow_up || force, force);
            let groups = begun.groups.len();
            let committed = self.commit_begun(begun).await?;
            if committed != groups {
                return Err(format!(
                    "{committed} of {groups} groups were committed, and nobody was in the way"
                ));
            }
            let after = self.engine_rows().await?;
            // Rows of an upgraded table may get their first ids with this very commit.
            let same = RowsHash {
                identified: before.identified,
                lineage: before.lineage,
                ..after
            } == before;
            let had_ids = before.identified == before.rows;
            if !same || (had_ids && before != after) {
                return Err(format!(
                    "the engine reads {before:?} before and {after:?} after a rewrite"
                ));
            }
            if all {
                self.check_no_deletes_left().await?;
            }
            force = false;
            if !asked_to_follow {
                let (loaded, plan) = self.plan(false).await?;
                drop(loaded);
                if !plan.groups.is_empty() {
                    return Err(format!(
                        "the second plan is not empty: {:?}",
                        reasons(&plan)
                    ));
                }
            }
        }
        let (_, plan) = self.plan(false).await?;
        if plan.groups.is_empty() {
            return Ok(());
        }
        Err(format!(
            "after {MOST_ROUNDS} rewrites there is still something to do: {:?}",
            reasons(&plan)
        ))
    }

    /// Plans and rewrites; nobody hears of it yet. What was begun before is forgotten, as when a worker dies.
    pub(super) async fn begin(&mut self, force: bool) -> Outcome {
        self.begun = self.prepare(force).await?;
        Ok(())
    }

    /// Commits what was begun.
    pub(super) async fn finish(&mut self) -> Outcome {
        let Some(begun) = self.begun.take() else {
            return Ok(());
        };
        self.commit_begun(begun).await.map(drop)
    }

    async fn plan(&mut self, force: bool) -> Outcome<(LoadedTable, TablePlan)> {
        let loaded = self.load().await;
        let metadata = &loaded.metadata;
        let scan = open_snapshot(&*self.storage, &self.table, metadata)
            .await
            .map_err(|error| format!("the scan failed: {error}"))?;
        let options = PlanOptions {
            force,
            ..PlanOptions::default()
        };
        let plan = plan_table(&scan, metadata, &loaded.metadata_location, &options)
            .map_err(|error| format!("the plan failed: {error}"))?;
        Ok((loaded, plan))
    }

    fn engine(&self) -> RewriteContext {
        RewriteContext {
            storage: Arc::clone(&self.storage),
            ambient: self.ambient.clone(),
            memory_cap: Self::MEMORY,
            // Files of histories are small: their pages are merged all the same.
            merge_pages: MergePages::Always,
            progress: Arc::default(),
        }
    }

    /// Plans and rewrites; `None` where there is nothing to do.
    async fn prepare(&mut self, force: bool) -> Outcome<Option<Begun>> {
        let (base, plan) = self.plan(force).await?;
        let (Some(state), false) = (plan.base.clone(), plan.groups.is_empty()) else {
            return Ok(None);
        };
        let process = ProcessId::from_uuid(self.ambient.uuid());
        let row_ids = self.reader.read(&base.metadata).await.first_row_ids();
        let mut groups = Vec::new();
        for (index, group) in (0u32..).zip(&plan.groups) {
            let task = GroupTask {
                table: self.table.clone(),
                process: process.clone(),
                index,
                base: state.clone(),
                group: group.clone(),
                pace: None,
            };
            let result = rewrite_group(&self.engine(), &base.metadata, &task, Attempt(1))
                .await
                .map_err(|failure| format!("the rewrite failed: {}", failure.message))?;
            groups.push(FinishedGroup {
                index,
                group: group.clone(),
                result,
            });
        }
        Ok(Some(Begun {
            plan,
            process,
            groups,
            row_ids,
        }))
    }

    /// Commits; returns how many groups are in. Which ones may be is known beforehand.
    async fn commit_begun(&mut self, begun: Begun) -> Outcome<usize> {
        let (now, seen) = self.look().await;
        let has_vectors = now.metadata.format_version() >= FormatVersion::V3;
        let welcome = self.welcome(&begun, &seen, has_vectors).await;
        let planned_on = begun.plan.base.as_ref().map(|base| &base.metadata_location);
        let has_moved = planned_on.is_some_and(|location| *location != now.metadata_location);
        let Begun {
            plan,
            process,
            groups,
            ..
        } = begun;
        let Some(state) = plan.base else {
            return Ok(0);
        };
        let light: HashMap<u32, &'static str> = groups
            .iter()
            .filter(|finished| finished.group.tier != Tier::Full)
            .map(|finished| (finished.index, kind_of_light(finished, has_vectors)))
            .collect();
        let context = self.committing();
        let outcome = commit_groups(&context, &self.table, &process, &state, groups).await;
        let (committed, dropped) = match outcome {
            Ok(outcome) => (outcome.committed, outcome.dropped),
            Err(CommitFailure::NothingLeft { dropped, .. }) => (Vec::new(), dropped),
            Err(error) => return Err(format!("the commit failed: {error}")),
        };
        let committed: HashSet<u32> = committed.into_iter().collect();
        self.count_all("groups committed", committed.len() as u64);
        self.count_all("groups lost", dropped.len() as u64);
        for (index, kind) in &light {
            match committed.contains(index) {
                true => self.count(kind),
                false => self.count("light groups lost"),
            }
            if has_moved && committed.contains(index) {
                self.count("light groups committed across a foreign commit");
            }
        }
        if has_moved {
            self.count_all(
                "groups committed across a foreign commit",
                committed.len() as u64,
            );
        }
        // A light group waits where a delete file that it would replace is needed still, as when another group lost.
        let may_wait = |index: &u32| has_moved && light.contains_key(index);
        let mut missing = welcome.difference(&committed);
        if committed.is_subset(&welcome) && missing.all(may_wait) {
            return Ok(committed.len());
        }
        Err(format!(
            "groups {committed:?} were committed where {welcome:?} had to be; not committed: {dropped:?}"
        ))
    }

    /// The groups that have to be committed, by the rules and nothing stricter: all inputs are live still, and no
    /// position delete or vector that came after the plan hits one of them. Those of light groups stay, and before format
    /// version 3 later position deletes simply add up.
    async fn welcome(&mut self, begun: &Begun, seen: &Seen, has_vectors: bool) -> HashSet<u32> {
        let live: HashSet<&str> = seen.data().iter().map(|file| file.path.as_str()).collect();
        let Some(base) = &begun.plan.base else {
            return HashSet::new();
        };
        let late: HashSet<String> = self
            .reader
            .named_positions(seen)
            .await
            .into_iter()
            .filter(|(_, sequence)| *sequence > base.starting_sequence_number.get())
            .map(|(path, _)| path)
            .collect();
        let deletes: HashSet<&str> = seen
            .deletes()
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        // After an upgrade, a foreign commit gives ids to rows that had none when they were read.
        let row_ids = seen.first_row_ids();
        // What was written before an upgrade to version 3 lacks the rows' numbers.
        let lacks_lineage = has_vectors && base.format_version < 3;
        let is_welcome = |group: &Group| {
            if group.tier == Tier::Full && lacks_lineage {
                return false;
            }
            let is_light = group.tier == Tier::Light;
            let adds_up = is_light && !has_vectors;
            let mut inputs = group.inputs.iter();
            let mut told = group.deletes.iter();
            if group.tier == Tier::Dangling {
                return told.any(|delete| deletes.contains(delete.path.as_str()));
            }
            inputs.all(|input| {
                live.contains(input.path.as_str())
                    && (adds_up || !late.contains(&input.path))
                    && (is_light || row_ids.get(&input.path) == begun.row_ids.get(&input.path))
            }) && (!is_light || told.all(|delete| deletes.contains(delete.path.as_str())))
        };
        let groups = begun.groups.iter();
        groups
            .filter(|finished| is_welcome(&finished.group))
            .map(|finished| finished.index)
            .collect()
    }

    /// All rows through the engine's own reader, with all deletes applied.
    async fn engine_rows(&mut self) -> Outcome<RowsHash> {
        let loaded = self.load().await;
        let metadata = &loaded.metadata;
        let scan = open_snapshot(&*self.storage, &self.table, metadata)
            .await
            .map_err(|error| format!("the scan failed: {error}"))?;
        let (groups, left) = group_all(&scan, metadata).map_err(|error| error.to_string())?;
        if !left.is_empty() {
            return Err(format!("files were left out: {left:?}"));
        }
        let schema = SchemaId(metadata.current_schema_id());
        let rows = hash_rows(&self.engine(), metadata, &self.table, schema, &groups)
            .await
            .map_err(|failure| format!("the engine can't read: {}", failure.message))?;
        let expected = self.model.ids().len() as u64;
        if rows.rows.get() == expected {
            return Ok(rows);
        }
        Err(format!("the engine reads {} rows of {expected}", rows.rows))
    }

    /// Where every file was rewritten, no delete file has anything to do any more.
    async fn check_no_deletes_left(&mut self) -> Outcome {
        let (_, seen) = self.look().await;
        let left: Vec<String> = seen
            .deletes()
            .iter()
            .map(|file| file.path.clone())
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        Err(format!(
            "all files were rewritten, and these delete files are left: {left:?}"
        ))
    }
}

/// What a light group turned delete files into, to be counted.
fn kind_of_light(finished: &FinishedGroup, has_vectors: bool) -> &'static str {
    if finished.group.tier == Tier::Dangling {
        return "groups of dangling delete files";
    }
    let is_shared = |file: &serde_json::Value| file["referenced_data_file"].is_null();
    if finished.result.delete_files.iter().any(is_shared) {
        return "light groups of deletes turned into a shared position delete file";
    }
    match (finished.group.has_equality_deletes(), has_vectors) {
        (false, false) => "light groups of merged position deletes",
        (true, false) => "light groups of equality deletes turned into position deletes",
        (false, true) => "light groups of position deletes and vectors turned into vectors",
        (true, true) => "light groups of equality deletes turned into vectors",
    }
}

fn reasons(plan: &TablePlan) -> Vec<String> {
    let groups = plan.groups.iter();
    groups
        .map(|group| format!("{:?} of {} files", group.reason, group.inputs.len()))
        .collect()
}
