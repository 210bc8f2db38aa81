//! One commit: what it is compared with, sending it, and finding out what became of it.
//!
//! The same request may be sent again after a lost answer: its requirements hold once at most, since carrying it out
//! moves what they name. What a second try is answered tells nothing by itself, so the table is looked at instead.

use iceberg::{TableRequirement, TableUpdate, spec::TableMetadata};
use icepress_catalog::{CatalogError, CommitError, LoadedTable, TableChange};

use crate::{
    base::{Core, loaded},
    errors::{Failure, FailureKind},
    session::parse,
    types::{CommitBody, Identifier},
};

/// Tries of the request.
const ATTEMPTS: u32 = 3;

/// A commit that is about to be sent.
#[derive(Debug)]
pub(crate) struct Commit<'a> {
    core: &'a Core,
    base: &'a LoadedTable,
    requirements: Vec<TableRequirement>,
    updates: Vec<TableUpdate>,
}

impl<'a> Commit<'a> {
    /// A conflict where the requirements do not hold for `base` already.
    pub(crate) fn new(
        core: &'a Core,
        base: &'a LoadedTable,
        change: TableChange,
    ) -> Result<Self, CommitError> {
        let commit = Self {
            core,
            base,
            requirements: requirements(&base.metadata, change.requirements, &change.updates),
            updates: change.updates,
        };
        if !commit.holds_for(&base.metadata) {
            return Err(CommitError::Conflict(base.table.clone()));
        }
        Ok(commit)
    }

    pub(crate) async fn run(&self) -> Result<LoadedTable, CommitError> {
        let table = &self.base.table;
        let session = self.core.session().await.map_err(CommitError::Refused)?;
        let url = session.url(&session.table_path(table), &[]);
        let body = serde_json::to_vec(&CommitBody {
            identifier: Identifier {
                namespace: table.namespace.0.clone(),
                name: table.name.clone(),
            },
            requirements: &self.requirements,
            updates: &self.updates,
        })
        .map_err(|error| self.refused(format!("the change can't be written as JSON: {error}")))?;

        let mut may_be_in = false;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let failure = match session.client.post(&url, &body).await {
                Ok(answer) => {
                    let answered = parse(&answer.body, &url)
                        .map_err(|failure| failure.into_table_error(table))
                        .and_then(|body| loaded(table, body));
                    match answered {
                        Ok((now, _)) => return Ok(now),
                        // Accepted, but what came of it was not said in words that we know.
                        Err(error) => Failure::new(FailureKind::Unknown, error.to_string()),
                    }
                }
                Err(failure) => failure,
            };
            may_be_in |= failure.leaves_doubt();
            if failure.is_passing() && attempt < ATTEMPTS {
                session.client.back_off(attempt, &failure).await;
                continue;
            }
            if may_be_in {
                return self.look(&failure).await;
            }
            return Err(match failure.kind {
                FailureKind::Conflict => CommitError::Conflict(table.clone()),
                FailureKind::NotFound => CommitError::NoSuchTable(table.clone()),
                // Servers word some races as wrong requests: a sequence number that another branch took, say.
                FailureKind::Invalid if self.is_overtaken().await => {
                    CommitError::Conflict(table.clone())
                }
                _ => CommitError::Refused(failure.into_catalog_error(&table.catalog)),
            });
        }
    }

    /// What became of a commit that may be in.
    async fn look(&self, failure: &Failure) -> Result<LoadedTable, CommitError> {
        let unknown = |what: &str| CommitError::OutcomeUnknown {
            table: self.base.table.clone(),
            message: format!("{}; {what}", failure.message),
        };
        let now = match self.core.load(&self.base.table, None).await {
            Ok((now, _)) => now,
            // Dropped, or renamed with our commit in it.
            Err(error) => return Err(unknown(&error.to_string())),
        };
        if self.is_the_last_thing_in(&now.metadata) {
            return Ok(now);
        }
        if self.is_in(&now.metadata) {
            return Err(unknown("it took effect, and others committed since"));
        }
        if self.holds_for(&now.metadata) {
            // A request that is still on its way could yet be carried out.
            return Err(unknown("the table is unchanged so far"));
        }
        Err(CommitError::Conflict(self.base.table.clone()))
    }

    async fn is_overtaken(&self) -> bool {
        match self.core.load(&self.base.table, None).await {
            Ok((now, _)) => now.metadata_location != self.base.metadata_location,
            Err(_) => false,
        }
    }

    fn holds_for(&self, metadata: &TableMetadata) -> bool {
        let mut requirements = self.requirements.iter();
        requirements.all(|requirement| requirement.check(Some(metadata)).is_ok())
    }

    /// Whether the table carries what the commit adds, under ids that nobody else makes.
    fn is_in(&self, metadata: &TableMetadata) -> bool {
        let mut added = self.added_snapshots().peekable();
        added.peek().is_some() && added.all(|id| metadata.snapshot_by_id(id).is_some())
    }

    /// Whether it is in, and nothing came after it: the file before this one is the base's. Times tell nothing, since a
    /// server takes its own for the table's last update.
    fn is_the_last_thing_in(&self, metadata: &TableMetadata) -> bool {
        let before = metadata.metadata_log().last();
        let before = before.map(|entry| entry.metadata_file.as_str());
        self.is_in(metadata) && before == Some(self.base.metadata_location.as_str())
    }

    fn added_snapshots(&self) -> impl Iterator<Item = i64> {
        self.updates.iter().filter_map(|update| match update {
            TableUpdate::AddSnapshot { snapshot } => Some(snapshot.snapshot_id()),
            _ => None,
        })
    }

    fn refused(&self, message: String) -> CommitError {
        CommitError::Refused(CatalogError::MetadataInvalid {
            table: self.base.table.clone(),
            location: self.base.metadata_location.to_string(),
            message,
        })
    }
}

/// What must still hold when the server carries out the change: what the caller asks for, that it is the same table, and
/// that all the change moves or builds on is where `base` has it (case C30).
fn requirements(
    base: &TableMetadata,
    mut asked: Vec<TableRequirement>,
    updates: &[TableUpdate],
) -> Vec<TableRequirement> {
    let mut also = |requirement: TableRequirement| {
        if !asked.contains(&requirement) {
            asked.push(requirement);
        }
    };
    also(TableRequirement::UuidMatch { uuid: base.uuid() });
    let ref_is_at = |name: &str| TableRequirement::RefSnapshotIdMatch {
        r#ref: name.to_owned(),
        snapshot_id: base
            .snapshot_for_ref(name)
            .map(|snapshot| snapshot.snapshot_id()),
    };
    for update in updates {
        match update {
            TableUpdate::SetSnapshotRef { ref_name, .. }
            | TableUpdate::RemoveSnapshotRef { ref_name } => also(ref_is_at(ref_name)),
            // A branch made since may need what is removed.
            TableUpdate::RemoveSnapshots { .. } => {
                names_of_refs(base)
                    .iter()
                    .for_each(|name| also(ref_is_at(name)));
            }
            // New files are written for the schema and the specs of the base.
            TableUpdate::AddSnapshot { .. } => {
                also(TableRequirement::CurrentSchemaIdMatch {
                    current_schema_id: base.current_schema_id(),
                });
                also(TableRequirement::DefaultSpecIdMatch {
                    default_spec_id: base.default_partition_spec_id(),
                });
            }
            TableUpdate::AddSchema { .. } => also(TableRequirement::LastAssignedFieldIdMatch {
                last_assigned_field_id: base.last_column_id(),
            }),
            TableUpdate::SetCurrentSchema { .. } => also(TableRequirement::CurrentSchemaIdMatch {
                current_schema_id: base.current_schema_id(),
            }),
            TableUpdate::AddSpec { .. } => also(TableRequirement::LastAssignedPartitionIdMatch {
                last_assigned_partition_id: base.last_partition_id(),
            }),
            TableUpdate::SetDefaultSpec { .. } => also(TableRequirement::DefaultSpecIdMatch {
                default_spec_id: base.default_partition_spec_id(),
            }),
            TableUpdate::SetDefaultSortOrder { .. } => {
                also(TableRequirement::DefaultSortOrderIdMatch {
                    default_sort_order_id: base.default_sort_order_id(),
                })
            }
            _ => {}
        }
    }
    asked
}

/// All branches and tags, which the `iceberg` crate (0.10.1) shows in JSON only.
fn names_of_refs(metadata: &TableMetadata) -> Vec<String> {
    let json = serde_json::to_value(metadata).unwrap_or_default();
    let refs = json.get("refs").and_then(serde_json::Value::as_object);
    refs.map(|refs| refs.keys().cloned().collect())
        .unwrap_or_default()
}
