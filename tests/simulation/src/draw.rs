//! What a world is like: drawn once, at its start.

use std::{collections::BTreeMap, time::Duration};

use icepress_coordination::limits::Limits;
use icepress_model::{BucketCount, Bytes, WorkerId};
use icepress_planner::PlanOptions;
use icepress_service::Settings;
use icepress_table::CommitPolicy;
use serde_json::{Value, json};

use crate::{
    ambient::START,
    engine::Engine,
    fleet::{LOCKS, Rhythm},
    foreign::table_id,
    java::JavaOptions,
};

/// What goes wrong in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Theme {
    /// Whatever may: each kind of trouble somewhat, much or not at all.
    Everything,
    /// Planners that write under a lease that is over.
    OldLeases,
    /// Optimizers that report, and committers that end, under a claim that is over.
    OldClaims,
    /// Tables that move while they are evaluated.
    LateThoughts,
    /// Swaps of which nobody hears.
    UnknownOutcomes,
    /// Crashes at every step.
    Deaths,
    /// Quotas, and blockers that come in the midst of commits.
    Limits,
    /// Vectors that come while somebody rewrites what they are about.
    Vectors,
    /// Java's writers beside holders of the commit lock that stand still.
    Locks,
    /// Listings that take several runs, of tables that come and go.
    Listings,
}

impl Theme {
    /// Of one kind of world by the seed alone: the others are as they were without.
    pub(crate) fn drawn(engine: &Engine, seed: u64) -> Self {
        match engine.below(13) {
            _ if seed % 16 == 15 => Self::Listings,
            0 => Self::OldLeases,
            1 => Self::OldClaims,
            2 => Self::LateThoughts,
            3 => Self::UnknownOutcomes,
            4 => Self::Deaths,
            5 => Self::Limits,
            6 => Self::Vectors,
            7 => Self::Locks,
            _ => Self::Everything,
        }
    }
}

/// How every machine works, but for its name.
pub(crate) fn settings(engine: &Engine, buckets: BucketCount, theme: Theme) -> Settings {
    let min_input_files = 2 + engine.below(2);
    let mut settings = Settings {
        payload_limit: if engine.below(3) == 0 {
            Bytes(300)
        } else {
            Bytes(64 << 10)
        },
        // Shorter than in production, where functions are stopped before a lease or a claim can end beneath them: here
        // that has to happen.
        lease_ttl: Duration::from_secs(8 + engine.below(100)),
        lease_guard: Duration::from_secs(engine.below(30)),
        claim_ttl: Duration::from_secs(9 + engine.below(120)),
        commit_ttl: Duration::from_secs(9 + engine.below(120)),
        longest_backoff: Duration::from_secs(1200),
        // So short, and so few, that much is handed out.
        own_share: Duration::from_millis(engine.below(2_000)),
        long_listing: engine.below(4),
        note_listing_after: Duration::from_millis(100),
        may_delete: engine.below(2) == 0,
        evaluations_at_once: 1 + engine.below(4) as usize,
        plan: PlanOptions {
            min_input_files,
            max_group_files: min_input_files + engine.below(4),
            ..PlanOptions::default()
        },
        commit: CommitPolicy {
            attempts: 1 + engine.below(5) as u32,
            first_backoff: Duration::from_millis(200),
        },
        ..Settings::cloud(
            WorkerId::from("nobody"),
            buckets,
            "s3://payloads/icepress".to_owned(),
        )
    };
    match theme {
        Theme::OldLeases => {
            settings.lease_ttl = Duration::from_secs(8 + engine.below(10));
            settings.lease_guard = Duration::from_secs(engine.below(3));
        }
        Theme::OldClaims => {
            settings.claim_ttl = Duration::from_secs(9 + engine.below(20));
            settings.commit_ttl = Duration::from_secs(9 + engine.below(20));
            settings.check_interval = Duration::from_secs(20 + engine.below(40));
            settings.claims_of_task = 20;
            settings.payload_limit = Bytes(64 << 10);
        }
        Theme::LateThoughts => {
            settings.lease_ttl = Duration::from_secs(60 + engine.below(100));
            // Most looks come to nothing, and are only written down.
            settings.plan.min_input_files = 8 + engine.below(8);
            settings.plan.max_group_files = settings.plan.min_input_files + engine.below(4);
        }
        Theme::Limits => {
            settings.claims_of_task = 20;
            settings.commit_claims = 50;
            settings.commit_ttl = Duration::from_secs(9 + engine.below(30));
            settings.lease_guard = Duration::from_secs(engine.below(10));
            settings.check_interval = Duration::from_secs(20 + engine.below(60));
        }
        Theme::Listings => {
            settings.long_listing = 0;
            settings.lease_ttl = Duration::from_secs(60);
            // Few wait at a listing at which others died.
            settings.longest_backoff = Duration::from_secs(60);
        }
        Theme::Everything
        | Theme::UnknownOutcomes
        | Theme::Deaths
        | Theme::Vectors
        | Theme::Locks => {}
    }
    settings
}

/// Whether every kind of upkeep is at work in a world by itself, and people do some of it by hand as well. In the midst of such a
/// world nothing happens for days ([`NIGHT`]), so that snapshots and files get as old as they must be to go. By the seed alone:
/// the other worlds are as they were without.
pub(crate) fn is_tended(seed: u64) -> bool {
    seed % 4 == 2
}

/// For how long nothing happens in the midst of a world that is tended.
pub(crate) const NIGHT: Duration = Duration::from_secs(4 * 24 * 3600);

/// The settings of a world in which upkeep is done by itself: manifests in one of three, every kind in those that are tended.
pub(crate) fn with_upkeep(seed: u64, settings: Settings) -> Settings {
    let on = if is_tended(seed) {
        json!({
            "tags": true, "age-out": true, "expire": true, "manifests": true, "statistics": true, "orphans": true,
            "orphans-every": "24h",
        })
    } else if seed % 3 == 1 {
        json!({ "manifests": true })
    } else {
        return settings;
    };
    let on = serde_json::from_value(on);
    Settings {
        maintain: std::sync::Arc::new(on.expect("it is what the section looks like")),
        // As short as the world is; but what is looked at by the clock for ever must leave a tended one its rest.
        upkeep_rest: Duration::from_secs(if is_tended(seed) { 65 } else { 5 } + seed % 40),
        // Only who may delete does.
        may_delete: settings.may_delete && !is_tended(seed),
        ..settings
    }
}

/// What a table of a tended world wants of its upkeep; `waking` is how long the world has lived when its night is over.
pub(crate) fn upkeep_properties(engine: &Engine, waking: Duration) -> Vec<(String, String)> {
    let mut properties = Vec::new();
    let mut set = |name: &str, value: String| properties.push((name.to_owned(), value));
    let age = [1_000, 3_600_000, 2 * 24 * 3_600_000][engine.below(3) as usize];
    set("history.expire.max-snapshot-age-ms", age.to_string());
    let least = 1 + engine.below(3);
    set("history.expire.min-snapshots-to-keep", least.to_string());
    if engine.below(2) == 0 {
        set(
            "clean-orphan-file.min-existing-time-minutes",
            "1440".to_owned(),
        );
    }
    if engine.below(2) == 0 {
        set(
            "write.metadata.delete-after-commit.enabled",
            "true".to_owned(),
        );
        let kept = 1 + engine.below(4);
        set("write.metadata.previous-versions-max", kept.to_string());
    }
    match engine.below(3) {
        0 => set("icepress.tag.hourly", "2h".to_owned()),
        1 => set("icepress.tag.daily", "3d".to_owned()),
        _ => {}
    }
    if engine.below(2) == 0 {
        // A row is as old as its id says, in seconds since the morning.
        let keep = START.get() / 1_000 + waking.as_secs() as i64;
        let level = ["file", "row"][engine.below(2) as usize];
        for (name, value) in [
            ("field", "id".to_owned()),
            ("level", level.to_owned()),
            ("base", "now".to_owned()),
            ("number-format", "TIMESTAMP_S".to_owned()),
            ("keep", format!("{keep}s")),
        ] {
            set(&format!("icepress.age-out.{name}"), value);
        }
    }
    properties
}

/// A table that not everybody can see to for as long as the world lasts: that must be no other table's trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcast {
    /// Its row is never written any more (case C56).
    Refused(String),
    /// Schedulers hear nothing any more when they read its files (case C57). Optimizers do, and see to it.
    Silent(String),
    /// Schedulers are asked for fewer requests whenever they read its files (case C56).
    Throttled(String),
}

impl Outcast {
    /// The table's name, where nobody at all can see to it.
    pub(crate) fn forsaken(&self) -> Option<&str> {
        match self {
            Self::Refused(name) | Self::Throttled(name) => Some(name),
            Self::Silent(_) => None,
        }
    }
}

/// The outcast of a world, if it has one. By the seed alone: the other worlds are as they were without.
pub(crate) fn outcast(seed: u64, tables: u64) -> Option<Outcast> {
    let name = "t1".to_owned();
    match seed % 16 {
        5 if tables > 1 => Some(Outcast::Refused(name)),
        9 if tables > 1 => Some(Outcast::Throttled(name)),
        11 if tables > 1 => Some(Outcast::Silent(name)),
        _ => None,
    }
}

/// For how long S3 refuses every request but those of foreign writers, in a world in which nothing else goes wrong (case C56):
/// there no task may fail. By the seed alone, as [`outcast`].
pub(crate) fn siege(seed: u64) -> Option<Duration> {
    (seed % 16 == 7).then(|| Duration::from_secs(60 + seed / 16 * 37 % 900))
}

/// The memory that schedulers have for plans: in some worlds it is none to speak of, so that all is looked at by optimizers, in
/// others so little that plans wait for each other. By the seed alone, as [`outcast`].
pub(crate) fn plan_memory(seed: u64, usual: Bytes) -> Bytes {
    match seed % 16 {
        3 => Bytes(1),
        13 => Bytes(8 << (10 + seed / 16 % 4)),
        _ => usual,
    }
}

/// How often functions are started, and how long they may take.
pub(crate) fn rhythm(engine: &Engine, theme: Theme) -> Rhythm {
    let mut rhythm = Rhythm {
        tick: Duration::from_secs(20 + engine.below(60)),
        scheduler_limit: Duration::from_secs(40 + engine.below(80)),
        optimizer_limit: Duration::from_secs(40 + engine.below(200)),
        poll: Duration::from_secs(1 + engine.below(5)),
        optimizers: 1 + engine.below(4) as usize,
        schedulers: 1 + engine.below(3) as usize,
        errands: 1 + engine.below(3) as usize,
        undeleted: engine.below(100_000),
        visibility: Duration::ZERO,
    };
    rhythm.visibility = rhythm.optimizer_limit + Duration::from_secs(60);
    match theme {
        Theme::OldLeases | Theme::LateThoughts => {
            rhythm.tick = Duration::from_secs(5 + engine.below(20));
            rhythm.scheduler_limit = Duration::from_secs(200 + engine.below(300));
            rhythm.schedulers = 2 + engine.below(3) as usize;
        }
        Theme::OldClaims => {
            rhythm.optimizer_limit = Duration::from_secs(200 + engine.below(300));
            rhythm.optimizers = 2 + engine.below(4) as usize;
            rhythm.visibility = Duration::from_secs(5 + engine.below(40));
        }
        Theme::Limits => {
            rhythm.tick = Duration::from_secs(10 + engine.below(20));
            rhythm.scheduler_limit = Duration::from_secs(30 + engine.below(30));
            rhythm.optimizer_limit = Duration::from_secs(200 + engine.below(200));
        }
        Theme::Listings => {
            rhythm.tick = Duration::from_secs(5 + engine.below(10));
            rhythm.scheduler_limit = Duration::from_secs(25 + engine.below(20));
        }
        Theme::Everything
        | Theme::UnknownOutcomes
        | Theme::Deaths
        | Theme::Vectors
        | Theme::Locks => {}
    }
    rhythm
}

/// Tables of a page of a listing, and how long the catalog takes over it.
pub(crate) fn pages(engine: &Engine, theme: Theme) -> (usize, Duration) {
    let tables = 1 + engine.below(2) as usize;
    match theme {
        Theme::Listings => (1, Duration::from_secs(2 + engine.below(8))),
        _ => (tables, Duration::ZERO),
    }
}

/// How Java's writers take the commit lock, in a world that has them.
pub(crate) fn java(engine: &Engine, theme: Theme) -> Option<JavaOptions> {
    (engine.below(3) > 0 || theme == Theme::Locks).then(|| {
        let lease = Duration::from_millis(3_000 + engine.below(12_000));
        JavaOptions {
            table: LOCKS,
            lease,
            heartbeat: lease / 5,
            interval: Duration::from_millis(500 + engine.below(5_000)),
            timeout: Duration::from_secs(20 + engine.below(160)),
        }
    })
}

/// Quotas and windows of a world: of most worlds none.
///
/// A window is open for some minutes of each dozen. Quotas of a day or a month may be too small for any work: a person
/// has to lift them in the end.
pub(crate) fn limits(engine: &Engine, tables: u64, theme: Theme) -> Limits {
    let quotas = engine.below(3) == 0 || theme == Theme::Limits;
    let windows = engine.below(5) == 0;
    let mut by_scope: BTreeMap<&str, BTreeMap<String, Value>> = BTreeMap::new();
    let mut scopes = vec![
        ("catalog", "lake".to_owned()),
        ("database", "lake.tests".to_owned()),
    ];
    scopes.extend((0..tables).map(|number| {
        let table = table_id(&format!("t{number}"));
        ("table", table.to_string())
    }));
    for (kind, name) in scopes {
        let mut scope = json!({});
        if quotas && engine.below(2) == 0 {
            scope["max-concurrent-tasks"] = json!(1 + engine.below(4));
        }
        if quotas && engine.below(3) == 0 {
            scope["max-bytes-a-day"] = json!(2_000 + engine.below(60_000));
        }
        if quotas && engine.below(4) == 0 {
            scope["max-dollars-a-month"] = json!(engine.below(20) as f64 / 1_000.0);
        }
        if windows && kind == "table" {
            scope["maintenance-window"] = json!(window(engine));
        }
        by_scope.entry(kind).or_default().insert(name, scope);
    }
    serde_json::from_value(json!(by_scope)).expect("the limits are written as they should be")
}

/// The same without those that may keep a table from any work until the day or the month is over.
pub(crate) fn lifted(limits: &Limits, tables: u64) -> Limits {
    let mut by_scope: BTreeMap<&str, BTreeMap<String, Value>> = BTreeMap::new();
    let mut keep = |kind, name: String, scope: Value| {
        by_scope.entry(kind).or_default().insert(name, scope);
    };
    for number in 0..tables {
        let table = table_id(&format!("t{number}"));
        let known = limits.configured(&table);
        for (scope, quota) in &known.quotas {
            let (kind, name) = match scope {
                icepress_model::Scope::Catalog(catalog) => ("catalog", catalog.to_string()),
                icepress_model::Scope::Database(database) => (
                    "database",
                    format!("{}.{}", database.catalog, database.namespace),
                ),
                icepress_model::Scope::Table(_) => continue,
            };
            keep(kind, name, json!({ "max-concurrent-tasks": quota.tasks }));
        }
        let own = known
            .quotas
            .iter()
            .find(|(scope, _)| matches!(scope, icepress_model::Scope::Table(_)));
        let mut scope = json!({ "max-concurrent-tasks": own.and_then(|(_, quota)| quota.tasks) });
        if let Some(window) = known.window {
            scope["maintenance-window"] = json!(window);
        }
        keep("table", table.to_string(), scope);
    }
    serde_json::from_value(json!(by_scope)).expect("the limits are written as they should be")
}

fn window(engine: &Engine) -> String {
    let (first, length) = (engine.below(12), 5 + engine.below(5));
    let clock = |minute: u64| format!("{:02}:{:02}", minute / 60 % 24, minute % 60);
    let openings = (0..24 * 60 / 12).map(|turn| {
        let opens = turn * 12 + first;
        format!("{}-{}", clock(opens), clock(opens + length))
    });
    openings.collect::<Vec<String>>().join("; ")
}
