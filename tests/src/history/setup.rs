//! How a history begins, and what its steps are: plain data, so that a failing history can be shrunk and printed.

use std::collections::HashMap;

use iceberg::spec::{
    FormatVersion, ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, Schema,
    StructType, Transform, Type,
};
use proptest::prelude::*;

/// The field that tells rows apart. It is never dropped.
pub(super) const ID: i32 = 1;
/// A string, to partition by.
pub(super) const WORD: i32 = 2;
/// An int, to partition by.
pub(super) const NUMBER: i32 = 3;
/// A field of the first struct that is never dropped: where a file has none of a struct's fields, readers differ about
/// whether the struct is NULL.
pub(super) const ANCHOR: i32 = 11;
/// A timestamp, to partition by.
pub(super) const TIME: i32 = 8;
/// A date, to partition by.
pub(super) const DAY: i32 = 9;

/// A history: a table that is made, and what happens to it.
#[derive(Debug, Clone)]
pub struct History {
    /// How the table is made.
    pub setup: Setup,
    /// What happens.
    pub steps: Vec<Step>,
}

/// How the table is made.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Format version, 1 to 3.
    pub version: u8,
    /// Which of [`SPECS`] it begins with.
    pub spec: u8,
    /// Small groups, small files, files that stay, or nothing of it.
    pub limits: Limits,
}

/// What keeps groups and files small, or where they are.
#[derive(Debug, Clone, Copy)]
pub enum Limits {
    /// Nothing: a partition is one group, and a group one file.
    None,
    /// Three files a group.
    SmallGroups,
    /// Files of some hundred bytes: groups write several files, and large ones are split.
    SmallFiles,
    /// Few files are worth a rewrite for their size, and none for the rows that are deleted: what is left to be done is
    /// about delete files alone.
    FilesStay,
    /// The same, with position delete files that speak of many data files.
    FilesStayAndShare,
}

/// Rows to write: so many, as they follow from the seed, in as many files as they have partitions.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    /// How many.
    pub count: u8,
    /// Their values, and how their file is laid out.
    pub seed: u8,
}

/// How position deletes are put into files.
#[derive(Debug, Clone, Copy)]
pub enum Layout {
    /// One file for each partition.
    Partition,
    /// One file for each data file, which it names.
    Named,
    /// One file for each data file, as its bounds tell.
    Bounded,
}

/// One thing that happens. Numbers pick from what there is, so that every step means something in every state; where
/// there is nothing to pick from, or the format version forbids it, nothing happens.
#[derive(Debug, Clone)]
pub enum Step {
    /// A writer appends files in one commit, under the current spec or an older one.
    Append {
        /// The files.
        files: Vec<Rows>,
        /// 0 is the current spec.
        spec: u8,
    },
    /// A writer takes data files out and adds rows.
    Overwrite {
        /// Which data files.
        remove: Vec<u8>,
        /// What comes in.
        add: Option<Rows>,
    },
    /// A writer deletes rows by position, or by vector in format version 3.
    DeletePositions {
        /// Which live rows.
        picks: Vec<u8>,
        /// How.
        layout: Layout,
        /// New rows in the same commit, of which the first is deleted at once.
        add: Option<Rows>,
    },
    /// A writer deletes rows by value.
    DeleteEqual {
        /// Chooses the key's fields.
        key: u8,
        /// Live rows whose keys are deleted.
        picks: Vec<u8>,
        /// Whether a key that may hit nothing is in the file as well.
        miss: bool,
        /// Whether to write under an unpartitioned spec, if there is one: then it applies everywhere.
        global: bool,
        /// New rows in the same commit, which it does not apply to.
        add: Option<Rows>,
    },
    /// A column is added, at the top or inside a struct.
    AddColumn {
        /// Chooses the type.
        kind: u8,
        /// Inside the first struct.
        inside: bool,
    },
    /// A column gets another name.
    Rename(u8),
    /// A column goes.
    Drop(u8),
    /// A column goes, and another comes under its name.
    DropAndAdd(u8, u8),
    /// A column's type is widened.
    Promote(u8),
    /// The first column but one goes to the end.
    Reorder,
    /// New files are partitioned otherwise.
    Repartition(u8),
    /// The format version rises.
    Upgrade,
    /// Plan, rewrite and commit, until the plan is empty.
    Rewrite {
        /// All files, at first.
        force: bool,
    },
    /// Plan and rewrite; the commit comes with the next `Finish`.
    Begin {
        /// All files.
        force: bool,
    },
    /// Commit what was begun, whatever happened since.
    Finish,
}

/// How many ways there are to partition.
pub(super) const SPECS: u8 = 8;

/// The fields of a way to partition: source, transform, name.
pub(super) fn partition_fields(choice: u8) -> Vec<(i32, Transform, &'static str)> {
    match choice % SPECS {
        0 => vec![],
        1 => vec![(WORD, Transform::Identity, "p_word")],
        2 => vec![(NUMBER, Transform::Bucket(2), "p_bucket")],
        3 => vec![
            (WORD, Transform::Identity, "p_word"),
            (NUMBER, Transform::Truncate(10), "p_tens"),
        ],
        4 => vec![(TIME, Transform::Day, "p_time")],
        5 => vec![(NUMBER, Transform::Identity, "p_number")],
        6 => vec![(DAY, Transform::Identity, "p_day")],
        _ => vec![
            (WORD, Transform::Truncate(1), "p_letter"),
            (TIME, Transform::Month, "p_month"),
        ],
    }
}

/// The schema that all tables begin with. Its ids are those that a new table's schema is given: level by level.
pub(super) fn first_schema() -> Schema {
    let plain = |id, name: &str, kind| -> NestedFieldRef {
        NestedField::optional(id, name, Type::Primitive(kind)).into()
    };
    let pair = StructType::new(vec![
        plain(ANCHOR, "a", PrimitiveType::Int),
        plain(12, "b", PrimitiveType::String),
    ]);
    let list = ListType::new(
        NestedField::list_element(13, Type::Primitive(PrimitiveType::Int), false).into(),
    );
    let map = MapType::optional(
        14,
        Type::Primitive(PrimitiveType::String),
        15,
        Type::Primitive(PrimitiveType::Float),
    );
    let decimal = PrimitiveType::Decimal {
        precision: 9,
        scale: 2,
    };
    Schema::builder()
        .with_fields([
            NestedField::required(ID, "id", Type::Primitive(PrimitiveType::Long)).into(),
            plain(WORD, "word", PrimitiveType::String),
            plain(NUMBER, "number", PrimitiveType::Int),
            plain(4, "share", PrimitiveType::Float),
            plain(5, "amount", decimal),
            NestedField::optional(6, "pair", Type::Struct(pair)).into(),
            NestedField::optional(7, "list", Type::List(list)).into(),
            plain(TIME, "time", PrimitiveType::Timestamptz),
            plain(DAY, "day", PrimitiveType::Date),
            NestedField::optional(10, "map", Type::Map(map)).into(),
        ])
        .build()
        .unwrap()
}

impl Setup {
    /// The format version.
    pub fn format_version(&self) -> FormatVersion {
        match self.version {
            1 => FormatVersion::V1,
            2 => FormatVersion::V2,
            _ => FormatVersion::V3,
        }
    }

    /// The table's properties.
    pub fn properties(&self) -> HashMap<String, String> {
        const FILES_STAY: [(&str, &str); 3] = [
            ("icepress.min-input-files", "50"),
            ("icepress.delete-ratio-threshold", "1"),
            // Of which an eighth is less than any file here has.
            ("write.target-file-size-bytes", "24000"),
        ];
        const SHARE: [(&str, &str); 4] = {
            let [size, ratio, target] = FILES_STAY;
            [
                size,
                ratio,
                target,
                ("write.delete.granularity", "partition"),
            ]
        };
        let limits: &[(&str, &str)] = match self.limits {
            Limits::None => &[("icepress.min-input-files", "2")],
            Limits::SmallGroups => &[
                ("icepress.min-input-files", "2"),
                ("icepress.max-group-files", "3"),
            ],
            Limits::SmallFiles => &[
                ("icepress.min-input-files", "2"),
                ("write.target-file-size-bytes", "4000"),
                ("write.parquet.row-group-size-bytes", "1000"),
            ],
            Limits::FilesStay => &FILES_STAY,
            Limits::FilesStayAndShare => &SHARE,
        };
        limits
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }
}

/// What is likely in a history.
#[derive(Debug, Clone, Copy)]
struct Mood {
    /// The oldest format version.
    oldest: u8,
    /// How often rows are deleted by position, and by value, beside thirteen other things that writers do.
    deletes: u32,
    /// How often something is rewritten, begun, or finished.
    rewrites: u32,
    /// Files of an append, rows of a file, and rows that a delete picks: fewer than that.
    files: usize,
    rows: (u8, u8),
    picks: usize,
    /// How often a rewrite leaves alone what needs none, beside one of all files.
    unforced: u32,
    /// How often deletes come one upon another, so many of them, with nothing between and a rewrite of what needs it after
    /// them, beside eight single steps: delete files must be more than data files for light work to gain anything.
    bursts: u32,
    burst: (usize, usize),
}

/// Anything may happen.
const ANYTHING: Mood = Mood {
    oldest: 1,
    deletes: 4,
    rewrites: 3,
    files: 4,
    rows: (1, 9),
    picks: 5,
    unforced: 1,
    bursts: 1,
    burst: (2, 4),
};

/// Delete file upon delete file on the same data files.
const DELETES: Mood = Mood {
    oldest: 2,
    deletes: 16,
    rewrites: 10,
    files: 2,
    rows: (4, 16),
    picks: 4,
    unforced: 6,
    bursts: 4,
    burst: (3, 6),
};

/// Any history.
pub fn any_history() -> impl Strategy<Value = History> {
    let limits = prop_oneof![
        3 => Just(Limits::None),
        1 => Just(Limits::SmallGroups),
        1 => Just(Limits::SmallFiles),
        1 => Just(Limits::FilesStay),
    ];
    let files_stay = prop_oneof![
        2 => Just(Limits::FilesStay),
        1 => Just(Limits::FilesStayAndShare),
    ];
    let few_parts = prop_oneof![3 => Just(0u8), 1 => 0..SPECS];
    prop_oneof![
        5 => any_of(limits, 0..SPECS, ANYTHING),
        3 => any_of(files_stay, few_parts, DELETES),
    ]
}

fn any_of(
    limits: impl Strategy<Value = Limits>,
    specs: impl Strategy<Value = u8>,
    mood: Mood,
) -> impl Strategy<Value = History> {
    let oldest = mood.oldest;
    let versions = prop_oneof![1 => Just(oldest), 2 => Just(2u8), 2 => Just(3u8)];
    let setup = (versions, specs, limits).prop_map(|(version, spec, limits)| Setup {
        version,
        spec,
        limits,
    });
    // There is something to begin with, and whatever comes of it is rewritten once more: else many histories would end
    // before anything pays.
    let files = proptest::collection::vec(any_rows(mood), 1..mood.files);
    let first = files.prop_map(|files| Step::Append { files, spec: 0 });
    // Writers are busy between a rewrite and its commit.
    let across = (any_force(mood), any_step(mood))
        .prop_map(|(force, step)| vec![Step::Begin { force }, step, Step::Finish]);
    let alone = any_step(mood).prop_map(|step| vec![step]);
    let burst = proptest::collection::vec(any_delete(mood), mood.burst.0..mood.burst.1);
    let burst = burst.prop_map(|mut steps| {
        steps.push(Step::Rewrite { force: false });
        steps
    });
    let steps = prop_oneof![8 => alone, 1 => across, mood.bursts => burst];
    let steps = proptest::collection::vec(steps, 3..14).prop_map(|steps| steps.concat());
    let last = any_force(mood).prop_map(|force| Step::Rewrite { force });
    (setup, first, steps, last).prop_map(|(setup, first, mut steps, last)| {
        steps.insert(0, first);
        steps.push(last);
        History { setup, steps }
    })
}

fn any_rows(mood: Mood) -> impl Strategy<Value = Rows> {
    (mood.rows.0..mood.rows.1, any::<u8>()).prop_map(|(count, seed)| Rows { count, seed })
}

fn any_force(mood: Mood) -> impl Strategy<Value = bool> {
    prop_oneof![mood.unforced => Just(false), 1 => Just(true)]
}

/// Rows are deleted, by position or by value.
fn any_delete(mood: Mood) -> impl Strategy<Value = Step> {
    let picks = || proptest::collection::vec(any::<u8>(), 1..mood.picks);
    let add = || proptest::option::weighted(0.3, any_rows(mood));
    let layout = prop_oneof![
        Just(Layout::Partition),
        Just(Layout::Named),
        Just(Layout::Bounded)
    ];
    prop_oneof![
        (picks(), layout, add()).prop_map(|(picks, layout, add)| Step::DeletePositions {
            picks,
            layout,
            add
        }),
        (any::<u8>(), picks(), any::<bool>(), any::<bool>(), add()).prop_map(
            |(key, picks, miss, global, add)| Step::DeleteEqual {
                key,
                picks,
                miss,
                global,
                add
            }
        ),
    ]
}

fn any_step(mood: Mood) -> impl Strategy<Value = Step> {
    let add = || proptest::option::weighted(0.3, any_rows(mood));
    let spec = prop_oneof![4 => Just(0u8), 1 => any::<u8>()];
    let files = proptest::collection::vec(any_rows(mood), 1..mood.files);
    prop_oneof![
        5 => (files, spec).prop_map(|(files, spec)| Step::Append { files, spec }),
        1 => (proptest::collection::vec(any::<u8>(), 1..3), add())
            .prop_map(|(remove, add)| Step::Overwrite { remove, add }),
        2 * mood.deletes => any_delete(mood),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(kind, inside)| Step::AddColumn { kind, inside }),
        1 => any::<u8>().prop_map(Step::Rename),
        1 => any::<u8>().prop_map(Step::Drop),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(drop, kind)| Step::DropAndAdd(drop, kind)),
        1 => any::<u8>().prop_map(Step::Promote),
        1 => Just(Step::Reorder),
        1 => (0..SPECS).prop_map(Step::Repartition),
        1 => Just(Step::Upgrade),
        mood.rewrites => any_force(mood).prop_map(|force| Step::Rewrite { force }),
        mood.rewrites => any_force(mood).prop_map(|force| Step::Begin { force }),
        mood.rewrites => Just(Step::Finish),
    ]
}
