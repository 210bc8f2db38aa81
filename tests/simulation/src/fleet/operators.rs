//! People and their jobs: they change the number of buckets, keep the fleet from tables for a time, let go of old snapshots, and set
//! tables back.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use icepress_model::{BucketCount, Scope, TableId};
use icepress_service::{
    block::{block, commits_under_way, unblock},
    buckets, maintain,
};
use icepress_upkeep::{ExpireRequest, restore::RestoreRequest};

use super::{Fleet, MOST_BUCKETS, Machine};
use crate::{
    engine::Engine,
    foreign::table_id,
    oracle::{Ban, Oracle, RESTORER},
};

impl Fleet {
    /// Somebody who changes the number of buckets now and then, so often, and may be interrupted each time.
    pub async fn resize(self: Arc<Self>, times: u64, within: Duration) {
        let engine = &self.account.engine;
        for number in 0..times {
            let pause = engine.below(within.as_secs() / times);
            engine.sleep(Duration::from_secs(pause)).await;
            let wanted = 1 + u32::try_from(engine.below(u64::from(MOST_BUCKETS))).unwrap_or(0);
            let Some(wanted) = NonZeroU32::new(wanted).map(BucketCount) else {
                continue;
            };
            let name = format!("operator-{number}");
            let machine = self.account.machine(&name);
            let fleet = Arc::clone(&self);
            let limit = Duration::from_secs(5 + engine.below(60));
            self.begin("operator", name, limit, async move {
                let engine = &fleet.account.engine;
                match buckets::resize(machine.context(), wanted).await {
                    Ok(resized) => engine.note(format_args!("{}: {resized:?}", machine.name)),
                    Err(error) => engine.note(format_args!("{}: {error}", machine.name)),
                }
            });
        }
    }

    /// Somebody who lets go of old snapshots by hand, so often, beside whatever is under way, and may be interrupted each time.
    pub async fn tidy(self: Arc<Self>, times: u64, within: Duration, tables: u64) {
        let engine = &self.account.engine;
        for number in 0..times {
            let pause = engine.below(2 * within.as_secs() / times);
            engine.sleep(Duration::from_secs(pause)).await;
            self.account.sleep_through_the_night().await;
            let table = table_id(&format!("t{}", engine.below(tables)));
            let name = format!("person-{number}");
            let machine = self.account.machine(&name);
            let limit = Duration::from_secs(10 + engine.below(100));
            let own = Arc::clone(engine);
            self.begin("operator", name, limit, async move {
                let request = ExpireRequest {
                    older_than: Some(Duration::from_secs(3_600)),
                    ..ExpireRequest::default()
                };
                let context = machine.context();
                let done = maintain::maintain(context, &table, &request, &|_, _| {}).await;
                match done {
                    Ok(report) => own.note(format_args!("{}: {table}: {report:?}", machine.name)),
                    Err(error) => own.note(format_args!("{}: {error}", machine.name)),
                }
            });
        }
    }

    /// Somebody who sets a table back now and then, to a tag, a branch or an earlier snapshot, beside whatever is under way, and may
    /// be interrupted each time.
    pub async fn restore(self: Arc<Self>, times: u64, within: Duration, tables: u64) {
        let engine = &self.account.engine;
        for number in 0..times {
            let pause = engine.below(2 * within.as_secs() / times);
            engine.sleep(Duration::from_secs(pause)).await;
            self.account.sleep_through_the_night().await;
            let table = table_id(&format!("t{}", engine.below(tables)));
            let name = format!("{RESTORER}-{number}");
            let machine = self.account.machine(&name);
            let limit = Duration::from_secs(10 + engine.below(100));
            let own = Arc::clone(engine);
            self.begin("operator", name, limit, async move {
                match machine.restore(&own, &table).await {
                    Ok(done) => own.note(format_args!("{}: {table}: {done}", machine.name)),
                    Err(error) => own.note(format_args!("{}: {error}", machine.name)),
                }
            });
        }
    }

    /// Somebody who blocks tables now and then, and takes some of the blockers away before their end.
    pub async fn block(
        self: Arc<Self>,
        times: u64,
        within: Duration,
        tables: u64,
        oracle: Arc<Oracle>,
    ) {
        let engine = &self.account.engine;
        let mut known: Vec<(Scope, String)> = Vec::new();
        for number in 0..times {
            let pause = engine.below(2 * within.as_secs() / times);
            engine.sleep(Duration::from_secs(pause)).await;
            let table = table_id(&format!("t{}", engine.below(tables)));
            let scope = match engine.below(6) {
                0 => Scope::Catalog(table.catalog.clone()),
                1 | 2 => Scope::Database(table.database()),
                _ => Scope::Table(table),
            };
            // Each job is an owner of its own: two of one owner that overlap would take each other's place.
            let owner = format!("job-{number}");
            let earlier = known.get(engine.below(number) as usize).cloned();
            known.push((scope.clone(), owner.clone()));
            let name = format!("blocker-{number}");
            let machine = self.account.machine(&name);
            let limit = Duration::from_secs(60 + engine.below(200));
            let (own, oracle) = (Arc::clone(engine), Arc::clone(&oracle));
            self.begin("operator", name, limit, async move {
                match earlier.filter(|_| own.below(4) == 0) {
                    Some((scope, owner)) => machine.unblock(&own, &scope, &owner, &oracle).await,
                    None => machine.block(&own, &scope, &owner, &oracle).await,
                }
            });
        }
    }
}

impl Machine {
    async fn restore(&self, engine: &Engine, table: &TableId) -> Result<String, String> {
        let open = self.context.catalogs.get(&table.catalog);
        let loaded = match open {
            Ok(open) => open
                .catalog
                .load(table)
                .await
                .map_err(|it| it.to_string())?,
            Err(error) => return Err(error.to_string()),
        };
        let metadata = &loaded.metadata;
        let mut places: Vec<String> = metadata.refs()?.into_keys().collect();
        let mut next = metadata.current_snapshot();
        // Not only states of which somebody thought that they would be asked for.
        for _ in 0..4 {
            let parent = next.and_then(|snapshot| snapshot.parent_snapshot_id());
            next = parent.and_then(|parent| metadata.snapshot_by_id(parent));
            places.extend(next.map(|snapshot| snapshot.snapshot_id().to_string()));
        }
        if places.is_empty() {
            return Ok("there is no way back".to_owned());
        }
        let request =
            RestoreRequest::to(places.swap_remove(engine.below(places.len() as u64) as usize));
        let done = maintain::restore(&self.context, table, &request, None, &|_, _| {}).await;
        done.map(|done| format!("{done:?}"))
            .map_err(|it| it.to_string())
    }

    async fn block(&self, engine: &Arc<Engine>, scope: &Scope, owner: &str, oracle: &Oracle) {
        let longest = if engine.below(6) == 0 { 1_000 } else { 60 };
        let time = Duration::from_secs(10 + engine.below(longest));
        let blocked = match block(&self.context, scope.clone(), owner, "work", time).await {
            Ok(blocked) => blocked,
            Err(error) => {
                engine.note(format_args!("{}: {error}", self.name));
                return;
            }
        };
        engine.note(format_args!("{}: {blocked:?}", self.name));
        let under_way = blocked.under_way.iter();
        let ban = oracle.banned(Ban {
            scope: scope.clone(),
            owner: owner.to_owned(),
            from: engine.now(),
            expires_at: blocked.blocker.expires_at,
            skew_ms: self.clock.skew(),
            under_way: under_way
                .map(|commit| (commit.process.clone(), commit.until))
                .collect(),
        });
        // Some wait until nothing is under way any more.
        if engine.below(2) == 0 {
            return;
        }
        loop {
            match commits_under_way(&self.context, scope).await {
                Ok(left) if left.is_empty() => break,
                Ok(_) => engine.sleep(Duration::from_secs(5)).await,
                Err(error) => {
                    engine.note(format_args!("{}: {error}", self.name));
                    return;
                }
            }
        }
        engine.note(format_args!(
            "{}: nothing is under way in {scope}",
            self.name
        ));
        oracle.settled(ban);
    }

    async fn unblock(&self, engine: &Arc<Engine>, scope: &Scope, owner: &str, oracle: &Oracle) {
        oracle.unbanned(owner);
        let unblocked = unblock(&self.context, scope, owner).await;
        engine.note(format_args!(
            "{}: {scope} unblocked: {unblocked:?}",
            self.name
        ));
    }
}
