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
    /// Small groups, small files, or neither.
    pub limits: Limits,
}

/// What keeps groups and files small.
#[derive(Debug, Clone, Copy)]
pub enum Limits {
    /// Nothing: a partition is one group, and a group one file.
    None,
    /// Three files a group.
    SmallGroups,
    /// Files of some hundred bytes: groups write several files, and large ones are split.
    SmallFiles,
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
        let limits: &[(&str, &str)] = match self.limits {
            Limits::None => &[],
            Limits::SmallGroups => &[("icepress.max-group-files", "3")],
            Limits::SmallFiles => &[
                ("write.target-file-size-bytes", "4000"),
                ("write.parquet.row-group-size-bytes", "1000"),
            ],
        };
        [("icepress.min-input-files", "2")]
            .iter()
            .chain(limits)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }
}

/// Any history.
pub fn any_history() -> impl Strategy<Value = History> {
    let limits = prop_oneof![
        3 => Just(Limits::None),
        1 => Just(Limits::SmallGroups),
        1 => Just(Limits::SmallFiles),
    ];
    let versions = prop_oneof![1 => Just(1u8), 2 => Just(2u8), 2 => Just(3u8)];
    let setup = (versions, 0..SPECS, limits).prop_map(|(version, spec, limits)| Setup {
        version,
        spec,
        limits,
    });
    let steps = proptest::collection::vec(any_step(), 3..16);
    (setup, steps).prop_map(|(setup, steps)| History { setup, steps })
}

fn any_rows() -> impl Strategy<Value = Rows> {
    (1..9u8, any::<u8>()).prop_map(|(count, seed)| Rows { count, seed })
}

fn any_step() -> impl Strategy<Value = Step> {
    let picks = || proptest::collection::vec(any::<u8>(), 1..5);
    let add = || proptest::option::weighted(0.3, any_rows());
    let layout = prop_oneof![
        Just(Layout::Partition),
        Just(Layout::Named),
        Just(Layout::Bounded)
    ];
    let spec = prop_oneof![4 => Just(0u8), 1 => any::<u8>()];
    let files = proptest::collection::vec(any_rows(), 1..4);
    prop_oneof![
        5 => (files, spec).prop_map(|(files, spec)| Step::Append { files, spec }),
        1 => (proptest::collection::vec(any::<u8>(), 1..3), add())
            .prop_map(|(remove, add)| Step::Overwrite { remove, add }),
        4 => (picks(), layout, add())
            .prop_map(|(picks, layout, add)| Step::DeletePositions { picks, layout, add }),
        4 => (any::<u8>(), picks(), any::<bool>(), any::<bool>(), add()).prop_map(
            |(key, picks, miss, global, add)| Step::DeleteEqual { key, picks, miss, global, add }
        ),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(kind, inside)| Step::AddColumn { kind, inside }),
        1 => any::<u8>().prop_map(Step::Rename),
        1 => any::<u8>().prop_map(Step::Drop),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(drop, kind)| Step::DropAndAdd(drop, kind)),
        1 => any::<u8>().prop_map(Step::Promote),
        1 => Just(Step::Reorder),
        1 => (0..SPECS).prop_map(Step::Repartition),
        1 => Just(Step::Upgrade),
        3 => any::<bool>().prop_map(|force| Step::Rewrite { force }),
        3 => any::<bool>().prop_map(|force| Step::Begin { force }),
        3 => Just(Step::Finish),
    ]
}
