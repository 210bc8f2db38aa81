//! How many distinct values the columns have that a table asks it of (NDV): sketches in a Puffin file, as Spark writes them and
//! as Spark and Trino read them.
//!
//! Data files are read for it, of them the columns asked for alone, and they are read once: from the sketches of an earlier
//! snapshot on, only what was added since is read. A commit of operation `replace` changes no value, and costs nothing. Values
//! that are removed can't be taken out of a sketch: as long as few rows were removed since a column was last read as a whole,
//! its sketch is gone on with, and may count values that no row has any more; then all is read anew.

mod count;
pub(super) mod file;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use iceberg::{
    puffin::APACHE_DATASKETCHES_THETA_V1,
    spec::{
        BlobMetadata, NestedFieldRef, Operation, PrimitiveType, Schema, SchemaRef, Snapshot, Type,
    },
};
use icepress_catalog::metadata::Metadata;
use icepress_model::{Bytes, SnapshotId};
use serde::Serialize;

pub(super) use self::count::{Counted, count};

/// Which columns are asked for: names at the top, or `*` for all that are no structs, lists or maps.
pub const NDV_COLUMNS: &str = "icepress.statistics.ndv-columns";
/// The property of a blob that says how many rows were removed since its column was last read as a whole.
pub(super) const REMOVED_ROWS: &str = "icepress.removed-rows";
/// The property of a blob that has the estimate: the specification's.
const NDV: &str = "ndv";
/// Of so many rows one may have been removed before all is read anew.
const ROWS_A_REMOVED_ONE: u64 = 10;

/// What would be counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NdvPlan {
    /// Whether there is anything to do.
    pub write: bool,
    /// Why, or why not, for people.
    pub reason: String,
    /// What becomes of each column that is asked for, in the schema's order.
    pub columns: Vec<NdvColumn>,
    /// Data files that would be read, as far as the snapshots' summaries say.
    pub files: u64,
    /// Their bytes, all columns.
    pub bytes: Bytes,
    /// Columns at the top that the table has in all.
    #[serde(skip)]
    pub all_columns: u64,
}

/// A column whose distinct values are counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NdvColumn {
    /// Its name.
    pub name: String,
    /// Its field id.
    pub field_id: i32,
    /// The snapshot whose sketch is gone on with; `None` where all is read.
    pub since: Option<SnapshotId>,
    /// Rows removed since it was last read as a whole, as far as its sketch will know.
    pub removed_rows: u64,
}

/// What the table asks for, and the snapshot that it is asked of.
struct Asked<'a> {
    snapshot: &'a Arc<Snapshot>,
    /// The snapshot's own.
    schema: SchemaRef,
    columns: Vec<NestedFieldRef>,
}

/// What would be done, by the metadata alone; `None` where the table asks for nothing. The error is a message for people: what
/// the table asks for makes no sense.
pub(super) fn decide(metadata: &Metadata) -> Result<Option<NdvPlan>, String> {
    let Some(text) = metadata.properties().get(NDV_COLUMNS) else {
        return Ok(None);
    };
    let names = Names::of(text, metadata.current_schema())?;
    let nothing = |reason: &str| NdvPlan {
        write: false,
        reason: reason.to_owned(),
        columns: Vec::new(),
        files: 0,
        bytes: Bytes::ZERO,
        all_columns: 0,
    };
    let Some(snapshot) = metadata.current_snapshot() else {
        return Ok(Some(nothing("the table has no snapshot")));
    };
    let schema = schema_at(metadata, snapshot);
    let columns: Vec<NestedFieldRef> = (schema.as_struct().fields().iter())
        .filter(|field| names.has(field) && field.field_type.is_primitive())
        .cloned()
        .collect();
    if columns.is_empty() {
        return Ok(Some(nothing(
            "the current snapshot has none of the columns asked for",
        )));
    }
    let asked = Asked {
        snapshot,
        schema,
        columns,
    };
    Ok(Some(asked.plan(metadata)))
}

/// The columns asked for, by id.
enum Names {
    All,
    Some(BTreeSet<i32>),
}

impl Names {
    fn of(text: &str, schema: &Schema) -> Result<Self, String> {
        if text.trim() == "*" {
            return Ok(Self::All);
        }
        let mut ids = BTreeSet::new();
        let names = text.split(',').map(str::trim);
        for name in names.filter(|name| !name.is_empty()) {
            let mut fields = schema.as_struct().fields().iter();
            let field = fields.find(|field| field.name == name).ok_or_else(|| {
                format!("{NDV_COLUMNS} names '{name}', and the table has no such column at the top")
            })?;
            if !field.field_type.is_primitive() {
                return Err(format!(
                    "{NDV_COLUMNS} names '{name}', whose values are not single ones: distinct values are counted of \
                     columns that are no structs, lists or maps"
                ));
            }
            ids.insert(field.id);
        }
        Ok(Self::Some(ids))
    }

    fn has(&self, field: &NestedFieldRef) -> bool {
        match self {
            Self::All => true,
            Self::Some(ids) => ids.contains(&field.id),
        }
    }
}

fn schema_at(metadata: &Metadata, snapshot: &Snapshot) -> SchemaRef {
    let own = snapshot
        .schema_id()
        .and_then(|id| metadata.schema_by_id(id));
    Arc::clone(own.unwrap_or(metadata.current_schema()))
}

/// A sketch that the metadata names, at a snapshot of the history.
struct Known {
    since: SnapshotId,
    age: u64,
    removed: Option<u64>,
    work: Work,
}

/// What the snapshots after an earlier one added.
#[derive(Debug, Clone, Copy, Default)]
struct Work {
    files: u64,
    bytes: u64,
}

impl Asked<'_> {
    fn plan(&self, metadata: &Metadata) -> NdvPlan {
        let known = self.known(metadata);
        let summary = Summary::of(self.snapshot);
        let rows = summary.number("total-records");
        let mut whole = Vec::new();
        let (mut oldest, mut age, mut work) = (Work::default(), 0, false);
        let columns = self.columns.iter().map(|field| {
            let known = known.get(&field.id);
            let removed = known.and_then(|known| known.removed);
            // Where it is not said how many rows there are or went, it might be all.
            let is_good = removed
                .zip(rows)
                .is_some_and(|(removed, rows)| removed.saturating_mul(ROWS_A_REMOVED_ONE) <= rows);
            let column = NdvColumn {
                name: field.name.clone(),
                field_id: field.id,
                since: None,
                removed_rows: 0,
            };
            match known {
                // As it is, whatever was removed before: it was decided on when it was made.
                Some(known) if known.age == 0 => NdvColumn {
                    since: Some(known.since),
                    removed_rows: known.removed.unwrap_or(0),
                    ..column
                },
                Some(known) if is_good => {
                    work = true;
                    age = age.max(known.age);
                    oldest.files = oldest.files.max(known.work.files);
                    oldest.bytes = oldest.bytes.max(known.work.bytes);
                    NdvColumn {
                        since: Some(known.since),
                        removed_rows: removed.unwrap_or(0),
                        ..column
                    }
                }
                other => {
                    work = true;
                    whole.push((field.name.as_str(), other.is_some()));
                    column
                }
            }
        });
        let columns: Vec<NdvColumn> = columns.collect();
        let reason = match (whole.first(), work) {
            (None, false) => {
                "there are sketches of the current snapshot for each column asked for".to_owned()
            }
            (None, true) => format!("the sketches that there are, are {age} snapshots old"),
            (Some((name, false)), _) => {
                format!(
                    "there is no sketch of {} to go on from",
                    named(name, whole.len())
                )
            }
            (Some((name, true)), _) => format!(
                "more than a tenth of the rows may have been removed since the sketch of {} was made",
                named(name, whole.len())
            ),
        };
        if !whole.is_empty() {
            oldest = Work {
                files: summary.number("total-data-files").unwrap_or(oldest.files),
                bytes: summary.number("total-files-size").unwrap_or(oldest.bytes),
            };
        }
        NdvPlan {
            write: work,
            reason,
            all_columns: self.schema.as_struct().fields().len() as u64,
            columns,
            files: oldest.files,
            bytes: Bytes(oldest.bytes),
        }
    }

    /// The newest sketch of each column, by field id, of those that can be gone on with.
    fn known(&self, metadata: &Metadata) -> HashMap<i32, Known> {
        let mut named: HashMap<i64, Vec<&BlobMetadata>> = HashMap::new();
        for blob in metadata.statistics_iter().flat_map(|it| &it.blob_metadata) {
            if self.column_of(blob).is_some() {
                named.entry(blob.snapshot_id).or_default().push(blob);
            }
        }
        let mut known = HashMap::new();
        let (mut age, mut removed, mut work) = (0, Some(0u64), Work::default());
        let mut next = Some(self.snapshot.snapshot_id());
        while let Some(snapshot) = next.and_then(|id| metadata.snapshot_by_id(id)) {
            let schema = schema_at(metadata, snapshot);
            for blob in named.remove(&snapshot.snapshot_id()).unwrap_or_default() {
                let Some(field) = self.column_of(blob) else {
                    continue;
                };
                let own = blob.properties.get(REMOVED_ROWS);
                let before = own.map_or(Some(0), |text| text.parse::<u64>().ok());
                if age > 0 && !can_go_on(field, &schema, own.is_some()) {
                    continue;
                }
                known.entry(field.id).or_insert_with(|| Known {
                    since: SnapshotId(snapshot.snapshot_id()),
                    age,
                    removed: removed.zip(before).map(|(a, b)| a.saturating_add(b)),
                    work,
                });
            }
            // Nothing is older than what is looked for.
            if named.is_empty() || known.len() == self.columns.len() {
                break;
            }
            let summary = Summary::of(snapshot);
            removed = removed
                .zip(summary.removed())
                .map(|(a, b)| a.saturating_add(b));
            if summary.may_add() {
                work.files += summary.number("added-data-files").unwrap_or(1);
                work.bytes += summary.number("added-files-size").unwrap_or(0);
            }
            age += 1;
            next = snapshot.parent_snapshot_id();
        }
        known
    }

    /// The column asked for that a blob has the sketch of.
    fn column_of(&self, blob: &BlobMetadata) -> Option<&NestedFieldRef> {
        let [id] = blob.fields[..] else { return None };
        self.columns
            .iter()
            .find(|field| is_sketch(blob) && field.id == id)
    }
}

/// Whether values were serialized, under the schema of an earlier sketch, as they are now: types that were widened have other
/// bytes. Of UUIDs Spark hashes the text, so that only our own are gone on with.
fn can_go_on(field: &NestedFieldRef, then: &Schema, is_ours: bool) -> bool {
    use PrimitiveType::{Decimal, Uuid};
    let before = then.as_struct().field_by_id(field.id);
    let Some(before) = before else { return false };
    match (field.field_type.as_ref(), before.field_type.as_ref()) {
        (Type::Primitive(Uuid), Type::Primitive(Uuid)) => is_ours,
        (
            Type::Primitive(Decimal { scale: now, .. }),
            Type::Primitive(Decimal { scale: then, .. }),
        ) => now == then,
        (now, then) => now == then,
    }
}

/// How many distinct values the blobs of a file say that each column has.
pub(super) fn by_name(plan: &NdvPlan, blobs: &[BlobMetadata]) -> BTreeMap<String, u64> {
    let of = |column: &NdvColumn| {
        let mut blobs = blobs.iter();
        let blob = blobs.find(|blob| is_sketch(blob) && blob.fields == [column.field_id])?;
        let ndv = blob.properties.get(NDV)?.parse().ok()?;
        Some((column.name.clone(), ndv))
    };
    plan.columns.iter().filter_map(of).collect()
}

fn is_sketch(blob: &BlobMetadata) -> bool {
    blob.r#type == APACHE_DATASKETCHES_THETA_V1
}

fn named(first: &str, count: usize) -> String {
    match count {
        1 => format!("column {first}"),
        _ => format!("columns {first} and {} more", count - 1),
    }
}

/// What a snapshot says of itself.
pub(super) struct Summary<'a>(&'a Snapshot);

impl<'a> Summary<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        Self(snapshot)
    }

    fn number(&self, key: &str) -> Option<u64> {
        let text = self.0.summary().additional_properties.get(key)?;
        text.trim().parse().ok()
    }

    /// Whether it may have values that the one before it had not.
    pub(super) fn may_add(&self) -> bool {
        self.0.summary().operation != Operation::Replace
    }

    /// How many rows it removed at the most; `None` where it does not say. A file that is written anew without some of its
    /// rows counts with all of them.
    fn removed(&self) -> Option<u64> {
        match self.0.summary().operation {
            Operation::Append | Operation::Replace => Some(0),
            Operation::Overwrite | Operation::Delete => {
                let gone = [
                    "deleted-records",
                    "added-position-deletes",
                    "added-equality-deletes",
                ];
                let mut said = gone.iter().filter_map(|key| self.number(key)).peekable();
                // Writers leave out what is none. Where nothing is said of a snapshot that removes, or nothing at all, it is
                // not known.
                let is_told = self.0.summary().operation == Operation::Overwrite
                    && self.number("total-records").is_some();
                (is_told || said.peek().is_some()).then(|| said.sum())
            }
        }
    }
}
