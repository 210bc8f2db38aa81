//! How a world ends: it comes to rest, and what it has come to is judged.

use std::{sync::Arc, time::Duration};

use icepress_model::Group;
use icepress_service::tables::plan;

use super::World;
use crate::{
    fleet::STATE,
    oracle::{self, unrest},
};

/// How long the world may take to come to rest once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

impl World {
    /// Lives on until nothing is left to do.
    pub(super) fn come_to_rest(&mut self) {
        let until = self.engine.now() + PATIENCE;
        // Requests may still be under way whose senders gave up long ago.
        let mut look = self.engine.now() + Duration::from_secs(200);
        loop {
            if !self.step() {
                return;
            }
            let at_work = self
                .writers
                .iter()
                .any(|writer| self.driver.is_alive(*writer));
            if self.engine.now() < look || at_work || self.fleet.busy() > 0 {
                continue;
            }
            look = self.engine.now() + Duration::from_secs(30);
            let Some(why) = unrest(&self.dynamo, STATE, &self.pointers, self.outcast()) else {
                break;
            };
            if self.engine.now() > until {
                self.engine
                    .violated(format!("it never comes to rest: {why}"));
                return;
            }
        }
        self.engine.note(format_args!("--- at rest"));
    }

    /// Rows, files and leftovers; and a second plan of each table, which must be empty.
    pub(super) fn judge_end(&mut self) {
        for wrong in self.oracle.judge_rest(&self.pointers, &self.objects) {
            self.engine.violated(format!("at rest: {wrong}"));
        }
        // What an outcast's process holds it holds until somebody can end it.
        if self.outcast().is_none()
            && let Err(wrong) = oracle::nothing_held(&self.dynamo, STATE)
        {
            self.engine.violated(format!("at rest: {wrong}"));
        }
        let inspector = self.account.machine("inspector");
        let all = self.pointers.all();
        let others = all
            .into_keys()
            .filter(|table| Some(table.name.as_str()) != self.outcast());
        for table in others.collect::<Vec<_>>() {
            let context = inspector.context().clone();
            let engine = Arc::clone(&self.engine);
            self.finish("inspector", async move {
                match plan(&context, &table).await {
                    Ok(plan) if plan.groups.is_empty() => {}
                    Ok(plan) => {
                        let groups: Vec<String> = plan.groups.iter().map(told).collect();
                        engine.violated(format!(
                            "{table}: at rest, and a plan has {} groups: {}",
                            groups.len(),
                            groups.join("; ")
                        ));
                    }
                    Err(error) => {
                        engine.violated(format!("{table}: at rest, and can't be planned: {error}"))
                    }
                }
            });
        }
    }
}

/// A group of a plan that should have none.
fn told(group: &Group) -> String {
    let sizes: Vec<u64> = group.inputs.iter().map(|input| input.size.get()).collect();
    format!(
        "{:?} {:?} of {sizes:?} bytes with {} delete files, for {} bytes",
        group.tier,
        group.reason,
        group.deletes.len(),
        group.target_file_size.get()
    )
}
