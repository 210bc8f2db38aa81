//! The commit of a restore: where the branch is to point, the schema, and the tag of what is left.

use async_trait::async_trait;
use iceberg::{
    TableUpdate,
    spec::{MAIN_BRANCH, Schema, SnapshotReference, SnapshotRetention},
};
use icepress_catalog::{LoadedTable, TableChange, metadata::Metadata};
use icepress_model::{SnapshotId, TimestampMs};
use icepress_table::CommitContext;
use jiff::Timestamp;

use super::{KeptAs, RestorePlan, RestoreRequest, SchemaChoice, SchemaSeen, describe, target};
use crate::{
    Progress, UpkeepError,
    swap::{self, Decider, Decision},
};

/// What a request comes to on one state of a table.
#[derive(Debug)]
pub(super) struct Restoration {
    pub(super) branch: String,
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) found: String,
    pub(super) schema: Option<SchemaSeen>,
    /// `None` where the branch is there already.
    pub(super) tag: Option<KeptAs>,
    retention: SnapshotRetention,
}

impl Restoration {
    pub(super) fn of(
        loaded: &LoadedTable,
        request: &RestoreRequest,
        now: TimestampMs,
    ) -> Result<Self, UpkeepError> {
        Self::find(&loaded.metadata, request, now)
            .map_err(|message| UpkeepError::refused(&loaded.table, message))
    }

    fn find(
        metadata: &Metadata,
        request: &RestoreRequest,
        now: TimestampMs,
    ) -> Result<Self, String> {
        let refs = metadata.refs()?;
        let branch = request.branch.as_str();
        let reference = refs.get(branch).filter(|reference| reference.is_branch());
        let reference = reference.ok_or_else(|| match branch {
            MAIN_BRANCH => "it has no snapshot yet".to_owned(),
            _ => format!("it has no branch '{branch}'"),
        })?;
        let found = target::find(metadata, branch, &request.to)?;
        let schema = schema(metadata, found.snapshot_id, request)?;
        let sets_schema = schema
            .as_ref()
            .is_some_and(|it| it.current_id != it.restored_id);
        let from = reference.snapshot_id;
        let is_there = from == found.snapshot_id && !sets_schema;
        let made_at = metadata.snapshot_by_id(from);
        let made_at = made_at.map_or(now.get(), |snapshot| snapshot.timestamp_ms());
        let keep = i64::try_from(request.keep.as_millis()).unwrap_or(i64::MAX);
        let until = now.get().saturating_add(keep);
        let tag = || KeptAs {
            name: free_name(now, |name| refs.contains_key(name)),
            until: TimestampMs(until),
            // Iceberg counts it from when the snapshot was made.
            retention: SnapshotRetention::Tag {
                max_ref_age_ms: Some(until.saturating_sub(made_at).max(1)),
            },
        };
        Ok(Self {
            branch: branch.to_owned(),
            from,
            to: found.snapshot_id,
            found: found.how,
            schema,
            tag: (!is_there).then(tag),
            retention: reference.retention.clone(),
        })
    }

    fn change(&self, metadata: &Metadata) -> TableChange {
        let Some(tag) = &self.tag else {
            return TableChange {
                requirements: Vec::new(),
                updates: Vec::new(),
            };
        };
        let required = [
            swap::ref_is_at(metadata, &self.branch, Some(self.from)),
            swap::ref_is_at(metadata, &tag.name, None),
        ];
        let mut requirements = vec![swap::same_table(metadata)];
        requirements.extend(required.into_iter().flatten());
        let set = |name: &str, id, retention: &SnapshotRetention| TableUpdate::SetSnapshotRef {
            ref_name: name.to_owned(),
            reference: SnapshotReference::new(id, retention.clone()),
        };
        let mut updates = vec![set(&tag.name, self.from, &tag.retention)];
        if self.from != self.to {
            updates.push(set(&self.branch, self.to, &self.retention));
        }
        let schema = self.schema.as_ref();
        if let Some(seen) = schema.filter(|seen| seen.restored_id != seen.current_id) {
            requirements.push(iceberg::TableRequirement::CurrentSchemaIdMatch {
                current_schema_id: seen.current_id,
            });
            updates.push(TableUpdate::SetCurrentSchema {
                schema_id: seen.restored_id,
            });
        }
        TableChange {
            requirements,
            updates,
        }
    }
}

/// A name that no branch or tag has.
fn free_name(now: TimestampMs, is_taken: impl Fn(&str) -> bool) -> String {
    let moment = Timestamp::from_millisecond(now.get()).unwrap_or(Timestamp::MIN);
    let name = format!(
        "icepress-before-restore-{}",
        moment.strftime("%Y-%m-%dT%H-%M-%SZ")
    );
    let mut numbered = (2..).map(|number: u32| format!("{name}-{number}"));
    match is_taken(&name) {
        false => name,
        true => numbered.find(|name| !is_taken(name)).unwrap_or(name),
    }
}

/// What the schema is, was, and is to be; `None` where it is and stays the snapshot's own.
fn schema(
    metadata: &Metadata,
    snapshot_id: i64,
    request: &RestoreRequest,
) -> Result<Option<SchemaSeen>, String> {
    let current = metadata.current_schema();
    let snapshot = metadata.snapshot_by_id(snapshot_id);
    // Old writers did not say: then it is the one that the table has.
    let then = snapshot.and_then(|snapshot| snapshot.schema_id());
    let then = then.and_then(|id| metadata.schema_by_id(id));
    let then = then.unwrap_or(current);
    let restored = match request.schema {
        SchemaChoice::Keep => current,
        SchemaChoice::OfSnapshot => then,
        SchemaChoice::Id(id) => metadata
            .schema_by_id(id)
            .ok_or_else(|| format!("it has no schema {id}"))?,
    };
    let ids = [current, then, restored].map(|schema| schema.schema_id());
    if ids.iter().all(|id| *id == ids[0]) {
        return Ok(None);
    }
    if restored.schema_id() != current.schema_id() {
        if request.branch != MAIN_BRANCH {
            return Err(
                "its schema is that of all branches: it can be set back with main alone".to_owned(),
            );
        }
        check_binds(metadata, restored)?;
    }
    Ok(Some(SchemaSeen {
        current_id: current.schema_id(),
        snapshot_id: then.schema_id(),
        lacking: names_of_others(then, current),
        added: names_of_others(current, then),
        restored_id: restored.schema_id(),
    }))
}

/// Columns of `one` that `other` has not, by id.
fn names_of_others(one: &Schema, other: &Schema) -> Vec<String> {
    let mut ids: Vec<i32> = one.field_id_to_name_map().keys().copied().collect();
    ids.sort_unstable();
    let lacking = ids
        .into_iter()
        .filter(|id| other.field_by_id(*id).is_none());
    lacking
        .filter_map(|id| one.name_by_field_id(id).map(str::to_owned))
        .collect()
}

/// New files are written under the default spec and sort order: a schema without their columns would make a table that
/// nobody can write.
fn check_binds(metadata: &Metadata, schema: &Schema) -> Result<(), String> {
    let spec = metadata.default_partition_spec().fields().iter();
    let partitioned = spec
        .filter(|field| field.transform != iceberg::spec::Transform::Void)
        .map(|field| (field.source_id, "is partitioned"));
    let order = metadata.default_sort_order().fields.iter();
    let sorted = order.map(|field| (field.source_id, "is sorted"));
    let mut unbound = partitioned
        .chain(sorted)
        .filter(|(id, _)| schema.field_by_id(*id).is_none());
    match unbound.next() {
        None => Ok(()),
        Some((id, what)) => {
            let name = metadata.current_schema().name_by_field_id(id);
            Err(format!(
                "schema {} has no column {}, by which the table {what}: keep the schema that it has, or change that first",
                schema.schema_id(),
                name.map_or_else(|| id.to_string(), |name| format!("'{name}'")),
            ))
        }
    }
}

/// Decides on each state of the table anew.
pub(super) struct Restorer<'a> {
    pub(super) context: &'a CommitContext,
    pub(super) request: &'a RestoreRequest,
    pub(super) seen: Option<SnapshotId>,
    pub(super) progress: Progress<'a>,
}

/// What one state of the table is to become.
pub(super) struct Restoring {
    pub(super) plan: RestorePlan,
    change: TableChange,
}

#[async_trait]
impl Decider for Restorer<'_> {
    type Decision = Restoring;

    async fn decide(&self, loaded: &LoadedTable) -> Result<Restoring, UpkeepError> {
        let now = self.context.ambient.now();
        let restoration = Restoration::of(loaded, self.request, now)?;
        let change = restoration.change(&loaded.metadata);
        let from = SnapshotId(restoration.from);
        let plan = describe(self.context, loaded, restoration, self.progress).await?;
        let refused = |message| UpkeepError::refused(&loaded.table, message);
        if let Some(seen) = self.seen.filter(|seen| *seen != from && !plan.is_empty()) {
            return Err(refused(format!(
                "somebody committed meanwhile: {} was at snapshot {seen} and is at {from}. Nothing was changed: look again",
                plan.branch
            )));
        }
        if plan.missing.files > 0 {
            return Err(refused(format!(
                "snapshot {} can't be restored: {} of the files that it needs are missing, as {}. Nothing was changed",
                plan.to.snapshot_id,
                plan.missing.files,
                plan.missing.named.join(", "),
            )));
        }
        Ok(Restoring { plan, change })
    }
}

impl Decision for Restoring {
    fn change(&self) -> TableChange {
        self.change.clone()
    }

    fn is_in(&self, now: &LoadedTable) -> bool {
        let refs = now.metadata.refs().unwrap_or_default();
        let is_at = |name: &str, id: SnapshotId| {
            refs.get(name).is_some_and(|it| it.snapshot_id == id.get())
        };
        let plan = &self.plan;
        let left = plan.kept_as.as_deref();
        // Whoever commits next moves the branch on, and leaves the tag.
        left.is_some_and(|tag| is_at(tag, plan.from.snapshot_id))
    }
}
