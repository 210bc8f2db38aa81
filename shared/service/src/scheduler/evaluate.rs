//! Looking at one table: load it, read its manifests, plan.

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::SnapshotRef;
use icepress_catalog::{
    CatalogError, LoadedTable,
    metadata::{Metadata, metadata_folder},
};
use icepress_coordination::{ProcessRow, TableRow};
use icepress_model::{
    Bytes, Group, GroupReason, LeftAlone, LeftAloneReason, MetadataLocation, SequenceNumber,
    SnapshotId, TableId, TablePlan, TimestampMs, text::shortened,
};
use icepress_planner::{PlanError, PlanOptions, Repeated, group_all, plan_table, take_out_repeats};
use icepress_rewrite::data_folder;
use icepress_storage::Storage;
use icepress_table::{TableError, list_snapshot, open_snapshot_at};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;

pub(crate) mod error;

pub use self::error::EvaluateError;
use super::{
    handover::last_rewrite,
    header::{Known, Learned, key_of},
    upkeep::{self, Prospects, Read},
};
use crate::{
    Context,
    ground::plans::{Place, Sources},
};

/// Loads a table and makes the plan that a run would make, for whoever only looks: where the table's last process can't be
/// read, as if there were none.
pub(crate) async fn evaluate(
    context: &Context,
    table: &TableId,
) -> Result<(LoadedTable, TablePlan), EvaluateError> {
    let last = last_rewrite(context, table, None).await;
    let loaded = load(context, table).await?;
    let outlook = Outlook::new(context, &loaded, last.as_ref(), 0)?;
    let sources = Sources::default();
    let planned = outlook.plan(context, &loaded, sources, None).await?;
    Ok((loaded, planned.plan))
}

/// A plan as it was made, before anybody asks how much of it the table's limits allow now.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Planned {
    /// The state that was loaded.
    pub(crate) location: MetadataLocation,
    /// The table's properties in it, by which its limits are asked.
    #[serde(serialize_with = "in_order")]
    pub(crate) properties: HashMap<String, String>,
    /// Without what would repeat the last process.
    pub(crate) plan: TablePlan,
    /// Groups that were taken out for that.
    pub(crate) repeated: u64,
    /// See [`Known::shrunk_to`].
    pub(crate) shrunk_to: Option<u64>,
    /// What the next process hands on.
    pub(crate) learned: Learned,
    /// What it was made of.
    #[serde(flatten)]
    pub(crate) sources: Sources,
    /// What upkeep beside rewrites would come to.
    #[serde(default)]
    pub(crate) prospects: Prospects,
    /// The snapshot that was current.
    #[serde(default)]
    pub(crate) snapshot_id: Option<SnapshotId>,
    /// When the oldest of the plan's files was committed.
    #[serde(default)]
    pub(crate) oldest: Option<TimestampMs>,
}

/// What a run writes is the same each time it is repeated.
fn in_order<S: Serializer>(
    properties: &HashMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(properties.iter().collect::<BTreeMap<_, _>>())
}

/// By what a table is planned: its settings, and what its last process taught.
#[derive(Debug, Clone)]
pub(crate) struct Outlook {
    pub(crate) options: PlanOptions,
    pub(crate) known: Known,
}

impl Outlook {
    /// For a table whose last process was `last`. `turn` is another number where the plan before came to nothing.
    pub(crate) fn new(
        context: &Context,
        loaded: &LoadedTable,
        last: Option<&ProcessRow>,
        turn: u64,
    ) -> Result<Self, EvaluateError> {
        let settings = &context.settings;
        let configured = settings.plan_of(&loaded.table).map_err(PlanError::from)?;
        let properties = loaded.metadata.properties();
        let of_table = configured
            .for_table(&loaded.table, properties)
            .map_err(PlanError::from)?;
        let known = Known::from(last, key_of(settings, &of_table));
        let options = PlanOptions {
            ceiling: known.ceiling(settings, &of_table),
            turn,
            ..configured
        };
        Ok(Self { options, known })
    }

    /// Plans the table as it was loaded, of which `known` is known: in the place that it was loaded in, if it was in one, else waiting
    /// for one.
    pub(crate) async fn plan(
        &self,
        context: &Context,
        loaded: &LoadedTable,
        known: Sources,
        place: Option<&mut Place<'_>>,
    ) -> Result<Planned, EvaluateError> {
        let (mut plan, sources, prospects) =
            plan_loaded(context, loaded, &self.options, known, place).await?;
        let repeated = self.take_out_repeats(&mut plan);
        let snapshots = loaded.metadata.snapshots().map(|snapshot| {
            let number = SequenceNumber(snapshot.sequence_number());
            (number, TimestampMs(snapshot.timestamp_ms()))
        });
        let oldest = committed_at(snapshots, oldest_sequence_number(&plan.groups));
        let current = loaded.metadata.current_snapshot();
        Ok(Planned {
            prospects,
            snapshot_id: current.map(|current| SnapshotId(current.snapshot_id())),
            location: loaded.metadata_location.clone(),
            properties: loaded.metadata.properties().clone(),
            repeated: repeated.groups,
            shrunk_to: self.known.shrunk_to,
            learned: self.known.learned.clone().with_plan(&plan, &repeated),
            plan,
            sources,
            oldest,
        })
    }

    /// Takes out what would repeat the last process; unless a person asked for all files, whatever they are.
    fn take_out_repeats(&self, plan: &mut TablePlan) -> Repeated {
        match &self.known.last {
            Some(last) if !self.options.force => take_out_repeats(plan, last),
            _ => Repeated::default(),
        }
    }
}

/// The lowest sequence number of what makes groups worth their rewrite: delete files where these do, else data files. Tables of format
/// version 1 have none.
fn oldest_sequence_number(groups: &[Group]) -> Option<SequenceNumber> {
    let of_group = |group: &Group| match group.reason {
        GroupReason::Deletes | GroupReason::Dangling => {
            let deletes = group.deletes.iter();
            deletes.map(|delete| delete.sequence_number).min()
        }
        _ => group.inputs.iter().map(|input| input.sequence_number).min(),
    };
    let oldest = groups.iter().filter_map(of_group).min();
    oldest.filter(|number| *number > SequenceNumber(0))
}

/// When a sequence number was given. Where its snapshot has expired it was before any that is left: the oldest later one says as much
/// as can be said.
fn committed_at(
    snapshots: impl Iterator<Item = (SequenceNumber, TimestampMs)>,
    number: Option<SequenceNumber>,
) -> Option<TimestampMs> {
    let number = number?;
    let since = snapshots.filter(|(of_snapshot, _)| *of_snapshot >= number);
    since.map(|(_, at)| at).min()
}

/// The table as its catalog has it: its metadata is read, its manifests are not.
pub(crate) async fn load(context: &Context, table: &TableId) -> Result<LoadedTable, EvaluateError> {
    Ok(context.catalog_of(table)?.catalog.load(table).await?)
}

/// How many bytes the metadata file at `location` has without compression, before it is read; `None` where nobody says.
pub(crate) async fn metadata_size(
    context: &Context,
    table: &TableId,
    location: Option<&MetadataLocation>,
) -> Option<Bytes> {
    /// Metadata repeats itself: compressed it is a tenth or less.
    const COMPRESSED: u64 = 10;
    let (location, open) = (location?, context.catalog_of(table).ok()?);
    // Where the catalog hands out keys for each table, these here may not do. It is asked for no others for a size.
    let info = open.storage.info(location.as_str()).await.ok()?;
    let is_compressed = location.as_str().contains(".gz");
    let times = if is_compressed { COMPRESSED } else { 1 };
    Some(Bytes(info.size.get().saturating_mul(times)))
}

/// Whether what a plan is made of fits into the memory that there is for plans.
pub(crate) fn check_memory(context: &Context, sources: Sources) -> Result<(), EvaluateError> {
    let memory = context.settings.plan_memory;
    if sources.memory() <= memory {
        return Ok(());
    }
    Err(EvaluateError::TooLarge {
        metadata: sources.metadata,
        manifests: sources.manifests,
        memory,
    })
}

/// The same of a table whose metadata may have no more than is `known` of it.
pub(crate) async fn load_up_to(
    context: &Context,
    table: &TableId,
    known: Sources,
) -> Result<LoadedTable, EvaluateError> {
    let catalog = &context.catalog_of(table)?.catalog;
    match catalog.load_up_to(table, known.metadata).await {
        Err(CatalogError::TooLarge { .. }) => Err(crowded(known.doubled())),
        loaded => Ok(loaded?),
    }
}

fn crowded(sources: Sources) -> EvaluateError {
    EvaluateError::Crowded {
        metadata: sources.metadata,
        manifests: sources.manifests,
    }
}

/// A plan for a table as it was loaded, what it was made of, and what upkeep would come to. Nothing of the manifests is read before there is room for
/// it beside other plans.
async fn plan_loaded(
    context: &Context,
    loaded: &LoadedTable,
    options: &PlanOptions,
    known: Sources,
    place: Option<&mut Place<'_>>,
) -> Result<(TablePlan, Sources, Prospects), EvaluateError> {
    let LoadedTable {
        table, metadata, ..
    } = loaded;
    let storage = context.catalog_of(table)?.storage_of(table).await?;
    let listed = list_snapshot(&*storage, table, metadata).await?;
    let sources = Sources {
        manifests: listed.manifest_bytes(),
        ..known
    };
    let _place = match place {
        None => Some(
            context
                .plans
                .enter(context.settings.plan_memory, sources.memory())
                .await,
        ),
        Some(place) => {
            check_memory(context, sources)?;
            if !place.enlarge(sources.memory()) {
                return Err(crowded(sources));
            }
            None
        }
    };
    let manifests = listed.manifests();
    // Not kept for nothing.
    let (scan, layout) = match upkeep::wants_layout(&context.settings, loaded)? {
        true => {
            let (scan, layout) = listed.open_in_layout(&*storage).await?;
            (scan, Some(layout))
        }
        false => (listed.open(&*storage).await?, None),
    };
    let read = Read {
        scan: &scan,
        layout: layout.as_ref(),
        manifests,
    };
    let prospects = Prospects::of(context, loaded, &read)?;
    let plan = plan_table(&scan, metadata, &loaded.metadata_location, options)?;
    if !plan.groups.is_empty() {
        check_places(&*storage, table, metadata, &plan.groups)?;
    }
    Ok((plan, sources, prospects))
}

/// Whether everything that these groups read and write lies where the table's catalog allows it. Storage would refuse it
/// anyway; asked for now, nothing is begun that has to end there.
fn check_places(
    storage: &dyn Storage,
    table: &TableId,
    metadata: &Metadata,
    groups: &[Group],
) -> Result<(), EvaluateError> {
    let written = [data_folder(metadata), metadata_folder(metadata)];
    let read = groups.iter().flat_map(|group| {
        let inputs = group.inputs.iter().map(|input| &input.path);
        inputs.chain(group.deletes.iter().map(|delete| &delete.path))
    });
    for location in written.iter().chain(read) {
        storage
            .allows(location)
            .map_err(|error| TableError::Unsupported {
                table: table.clone(),
                message: error.to_string(),
            })?;
    }
    Ok(())
}

/// All data files of a snapshot with the deletes that apply to them, in groups. Fails where some can't be read.
pub(crate) async fn all_files(
    context: &Context,
    table: &TableId,
    metadata: &Metadata,
    snapshot: &SnapshotRef,
) -> Result<Vec<Group>, EvaluateError> {
    let open = context.catalog_of(table)?;
    let storage = open.storage_of(table).await?;
    let scan = open_snapshot_at(&*storage, table, metadata, snapshot).await?;
    let (groups, left_alone) = group_all(&scan, metadata)?;
    match left_alone.first() {
        None => Ok(groups),
        Some(left) => Err(EvaluateError::Table(TableError::Unsupported {
            table: table.clone(),
            message: format!(
                "{} files of partition '{}' can't be read: {}",
                left.files, left.partition_name, left.reason
            ),
        })),
    }
}

/// Why a plan leaves the whole table alone until a person changes something, if it does.
pub(crate) fn refusal(plan: &TablePlan) -> Option<String> {
    let whole_table = |reason: &LeftAloneReason| matches!(reason, LeftAloneReason::Disabled);
    if !plan.groups.is_empty() {
        return None;
    }
    let refused = plan
        .left_alone
        .iter()
        .find(|left| whole_table(&left.reason));
    refused.map(|left| left.reason.to_string())
}

/// Bytes of a message that are kept in a table's row.
const LONGEST_TEXT: usize = 4_000;

/// Partitions named in a table's row; the rest are counted. The whole list is what `explain` shows.
const NAMED_PARTITIONS: usize = 20;
/// Bytes of a partition's name there: its values may be of any length.
const LONGEST_NAME: usize = 500;

/// What the planner concluded, as the JSON that stands in the table's row.
pub(crate) fn conclusion_of_plan(plan: &TablePlan) -> String {
    let named: Vec<LeftAlone> = plan
        .left_alone
        .iter()
        .take(NAMED_PARTITIONS)
        .map(|left| LeftAlone {
            partition_name: shortened(left.partition_name.clone(), LONGEST_NAME),
            ..left.clone()
        })
        .collect();
    json!({
        "groups": plan.groups.len(),
        "health": plan.health,
        "totals": plan.totals,
        "left-alone": named,
        "left-alone-partitions": plan.left_alone.len(),
        "follow-up": plan.follow_up,
        "refused": refusal(plan),
    })
    .to_string()
}

/// What the planner concluded of a table where the last process would be repeated.
pub(crate) fn conclusion_of_repeats(plan: &TablePlan, message: &str) -> String {
    let mut conclusion: serde_json::Value =
        serde_json::from_str(&conclusion_of_plan(plan)).unwrap_or_default();
    conclusion["failure"] = message.into();
    conclusion.to_string()
}

/// A failure, as the JSON that stands in the table's row.
pub(crate) fn conclusion_of_failure(message: &str) -> String {
    json!({ "failure": shortened(message.to_owned(), LONGEST_TEXT) }).to_string()
}

/// A failure of which nothing is known but that whoever looked at the table never got to the end, as the JSON that stands
/// in the table's row.
pub(crate) fn conclusion_of_never_ended(message: &str) -> String {
    json!({ "failure": message, "never-ended": true }).to_string()
}

/// Whether the last that is known of a table is that nobody who looked at it got to the end.
pub(crate) fn never_ended(row: &TableRow) -> bool {
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    let conclusion = row.conclusion.as_deref().and_then(read);
    conclusion.is_some_and(|conclusion| conclusion["never-ended"] == true)
}

/// A table that is left alone until a person changes something, as the JSON that stands in the table's row.
pub(crate) fn conclusion_of_refusal(reason: &str) -> String {
    json!({ "refused": shortened(reason.to_owned(), LONGEST_TEXT) }).to_string()
}

/// The failure that a row's conclusion tells of, if it is one.
pub(crate) fn failure_of_conclusion(conclusion: &str) -> Option<String> {
    text_of_conclusion(conclusion, "failure")
}

/// Why the table is left alone, if a row's conclusion says that it is.
pub(crate) fn refusal_of_conclusion(conclusion: &str) -> Option<String> {
    text_of_conclusion(conclusion, "refused")
}

fn text_of_conclusion(conclusion: &str, key: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(conclusion).ok()?;
    Some(json.get(key)?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests;
