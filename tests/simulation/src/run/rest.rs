//! How a world ends: it comes to rest, and what it has come to is judged.

use std::{sync::Arc, time::Duration};

use icepress_model::{Group, TableId};
use icepress_service::{maintain, orphans, tables::plan};
use icepress_upkeep::{ExpireRequest, OrphanRequest};

use super::World;
use crate::{
    ambient::START,
    draw,
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
            let now = self.account.night.map(|_| START + self.engine.now());
            let unrest = unrest(&self.dynamo, STATE, &self.pointers, self.outcast(), now);
            let Some(why) = unrest else {
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

impl World {
    /// Lets days pass, has people do by hand what is done with time, and judges whether all is gone that nobody needs.
    pub(super) fn tidy_up(&mut self) {
        self.fleet.rhythm.lock().unwrap().tick = 100 * draw::NIGHT;
        let morning = self.engine.now() + draw::NIGHT;
        while self.engine.now() < morning {
            let engine = Arc::clone(&self.engine);
            self.finish("night", async move { engine.sleep(draw::NIGHT).await });
        }
        self.engine.note(format_args!("--- days later"));
        let dropped: Vec<String> = self.oracle.uuids(&self.objects).into_iter().collect();
        let all = self.pointers.all().into_keys();
        let others: Vec<TableId> = all
            .filter(|table| Some(table.name.as_str()) != self.outcast())
            .collect();
        for table in others {
            let person = self.account.machine("person-at-last");
            let engine = Arc::clone(&self.engine);
            let dropped = dropped.clone();
            self.finish("person", async move {
                let context = person.context();
                let request = ExpireRequest {
                    older_than: Some(Duration::from_secs(3_600)),
                    ..ExpireRequest::default()
                };
                let tidied = async {
                    maintain::maintain(context, &table, &request, &|_, _| {}).await?;
                    let request = OrphanRequest {
                        dropped,
                        ..OrphanRequest::default()
                    };
                    // What the first look finds goes with the second.
                    orphans::remove(context, &table, &request, &|_, _| {}).await?;
                    orphans::remove(context, &table, &request, &|_, _| {}).await
                };
                match tidied.await {
                    Ok(report) => engine.note(format_args!("{table}: {report:?}")),
                    Err(error) => engine.violated(format!("{table} can't be tidied up: {error}")),
                }
            });
        }
        if self.engine.has_violations() {
            return;
        }
        let wrong = self
            .oracle
            .judge_tidiness(&self.pointers, &self.objects, self.outcast());
        for wrong in wrong {
            self.engine.violated(format!("days later: {wrong}"));
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
