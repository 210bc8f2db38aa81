//! What each kind of upkeep would come to, told at every look at a table: by its metadata, and by what the look has read anyway.

pub(super) mod age_out;
mod expire;
pub(super) mod manifests;
pub(super) mod orphans;
pub(super) mod statistics;
mod tags;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use icepress_catalog::LoadedTable;
use icepress_model::{Bytes, NanoDollars, ProcessKind, TableId, TimestampMs};
use icepress_planner::PlanError;
use icepress_table::{ManifestLayout, scan::SnapshotScan};
use serde::{Deserialize, Serialize};

pub(crate) use self::expire::expire_request;
use crate::{Context, Settings, scheduler::evaluate::error::EvaluateError};

/// How long one run of upkeep is reckoned to take.
const RECKONED: Duration = Duration::from_secs(10);

/// The kinds in the order in which they are done where several are due: what is to be kept is marked before anything goes.
pub(crate) const ORDER: [ProcessKind; 6] = [
    ProcessKind::Tags,
    ProcessKind::AgeOut,
    ProcessKind::Expire,
    ProcessKind::Manifests,
    ProcessKind::Statistics,
    ProcessKind::Orphans,
];

/// What a look at a table has read of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Read<'a> {
    /// Its files.
    pub(crate) scan: &'a SnapshotScan,
    /// How they lie in their manifests, where somebody wants to know.
    pub(crate) layout: Option<&'a ManifestLayout>,
    /// In how many manifests they are.
    pub(crate) manifests: u64,
}

/// What each kind of upkeep that is switched on would come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Prospects(BTreeMap<ProcessKind, Prospect>);

/// What one kind would come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Prospect {
    /// There is something to do now, or nothing before a moment.
    Work {
        /// What, and why it is to be done; `None` where there is nothing now.
        now: Option<Worth>,
        /// When there will be something, or something more, if nobody writes.
        next: Option<TimestampMs>,
        /// The same once a commit of ours is made.
        next_after_commit: Option<TimestampMs>,
        /// Since when that is known of this state of the table: a run that began later has seen to it, as far as it could.
        #[serde(default)]
        as_of: Option<TimestampMs>,
        /// The least time between two runs that are worth their price, where it is another than that of most kinds.
        #[serde(default)]
        rest: Option<Duration>,
    },
    /// The table forbids it, or says something of it that can't be read: one line for people.
    Refused(String),
}

/// Why something is to be done, and what it is worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Worth {
    /// One line for people.
    pub(crate) reason: String,
    /// What it saves in a month; `None` where it is not done for that, but because the table asks for it.
    #[serde(default)]
    pub(crate) saves_a_month: Option<NanoDollars>,
    /// What it costs.
    pub(crate) costs: NanoDollars,
    /// What it frees.
    #[serde(default)]
    pub(crate) frees: Bytes,
}

impl Prospects {
    /// Of a table as it was loaded and read.
    pub(crate) fn of(
        context: &Context,
        loaded: &LoadedTable,
        read: &Read<'_>,
    ) -> Result<Self, EvaluateError> {
        let settings = &context.settings;
        let (metadata, now) = (&loaded.metadata, context.ambient.now());
        let mut prospects = BTreeMap::new();
        for kind in ORDER {
            if !is_on(settings, kind, &loaded.table, metadata.properties())? {
                continue;
            }
            let prospect = match kind {
                ProcessKind::Tags => tags::prospect(settings, metadata, now),
                ProcessKind::AgeOut => age_out::prospect(settings, metadata, read, now),
                ProcessKind::Expire => expire::prospect(settings, metadata, now),
                ProcessKind::Manifests => manifests::prospect(settings, metadata, read),
                ProcessKind::Statistics => statistics::prospect(settings, metadata, read),
                ProcessKind::Orphans => orphans::prospect(settings, loaded, read),
                // Not among these.
                ProcessKind::Rewrite => continue,
            };
            prospects.insert(kind, prospect.unwrap_or_else(Prospect::Refused));
        }
        Ok(Self(prospects))
    }

    /// Whether nothing is switched on.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that are switched on, in their order.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (ProcessKind, &Prospect)> {
        let of = |kind| Some((kind, self.0.get(&kind)?));
        ORDER.into_iter().filter_map(of)
    }
}

impl Worth {
    /// Whether it is to be done as soon as may be.
    pub(crate) fn is_worth_it(&self) -> bool {
        self.saves_a_month.is_none_or(|saves| saves >= self.costs)
    }
}

/// Whether how files lie in manifests is to be noted while these are read.
pub(crate) fn wants_layout(
    settings: &Settings,
    loaded: &LoadedTable,
) -> Result<bool, EvaluateError> {
    let properties = loaded.metadata.properties();
    is_on(settings, ProcessKind::Manifests, &loaded.table, properties)
}

fn is_on(
    settings: &Settings,
    kind: ProcessKind,
    table: &TableId,
    properties: &HashMap<String, String>,
) -> Result<bool, EvaluateError> {
    let on = settings.maintain.is_on(kind, table, properties);
    Ok(on.map_err(PlanError::from)?)
}

/// What a run costs that asks and writes so often.
fn cost_of(settings: &Settings, reads: u64, writes: u64) -> NanoDollars {
    let prices = &settings.prices;
    prices.of_task(reads, writes, RECKONED, settings.billed_memory)
}

#[cfg(test)]
impl Prospects {
    pub(super) fn only(kind: ProcessKind, prospect: Prospect) -> Self {
        Self(BTreeMap::from([(kind, prospect)]))
    }

    pub(super) fn and(mut self, kind: ProcessKind, prospect: Prospect) -> Self {
        self.0.insert(kind, prospect);
        self
    }
}
