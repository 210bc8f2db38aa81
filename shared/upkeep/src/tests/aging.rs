//! Rows that are too old, against somebody who looks at each row.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, FormatVersion, Literal,
    NestedField, PrimitiveType, Schema, Struct, Transform, Type, UnboundPartitionSpec,
};
use icepress_model::{Attempt, Bytes, MergePages, ProcessId, SpecId};
use icepress_rewrite::RewriteContext;
use icepress_table::NoObjection;
use icepress_writer::{AddedFile, add_delete_files, append_files};
use proptest::prelude::*;

use super::world::{DAY, Event, HOUR, LOCATION, World};
use crate::{UpkeepError, ages};

const DAY_MS: i64 = 86_400_000;
const TIME: i32 = 2;

/// What the time column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Timestamp,
    Date,
    Millis,
    Seconds,
    Text,
}

impl Kind {
    fn of_type(self) -> PrimitiveType {
        match self {
            Self::Timestamp => PrimitiveType::Timestamp,
            Self::Date => PrimitiveType::Date,
            Self::Millis | Self::Seconds => PrimitiveType::Long,
            Self::Text => PrimitiveType::String,
        }
    }

    /// A moment as a value of the column, and the moment that this value names.
    fn value(self, moment: i64) -> (Datum, i64) {
        let day = moment.div_euclid(DAY_MS);
        match self {
            Self::Timestamp => (Datum::timestamp_micros(moment * 1_000), moment),
            Self::Date => (Datum::date(day as i32), day * DAY_MS),
            Self::Millis => (Datum::long(moment), moment),
            Self::Seconds => {
                let seconds = moment.div_euclid(1_000);
                (Datum::long(seconds), seconds * 1_000)
            }
            Self::Text => {
                let shown = jiff::Timestamp::from_millisecond(day * DAY_MS).unwrap();
                (
                    Datum::string(shown.strftime("%Y-%m-%d").to_string()),
                    day * DAY_MS,
                )
            }
        }
    }
}

/// What a file's entry says of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    All,
    NoNulls,
    NoBounds,
}

/// A file and its rows' moments; `None` for a row without one.
#[derive(Debug, Clone)]
struct Rows {
    path: String,
    partition: Option<i64>,
    rows: Vec<Option<i64>>,
    says: Says,
}

struct Aging {
    world: World,
    kind: Kind,
    by_day: bool,
    files: Vec<Rows>,
}

impl Aging {
    /// A table with a time column, by day of it or not partitioned.
    fn new(kind: Kind, by_day: bool, properties: &[(&str, &str)]) -> Self {
        let schema = Schema::builder()
            .with_fields(vec![
                NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)).into(),
                NestedField::optional(TIME, "at", Type::Primitive(kind.of_type())).into(),
            ])
            .build()
            .unwrap();
        let spec = UnboundPartitionSpec::builder();
        let spec = match by_day {
            true => spec
                .add_partition_field(TIME, "day", Transform::Day)
                .unwrap(),
            false => spec,
        };
        Self {
            world: World::of(schema, spec.build(), FormatVersion::V2, properties),
            kind,
            by_day,
            files: Vec::new(),
        }
    }

    fn now(&self) -> i64 {
        self.world.context.ambient.now().get()
    }

    /// Appends a file with rows that are so old.
    async fn append(&mut self, ages: &[Option<Duration>], says: Says) -> String {
        let moments = ages
            .iter()
            .map(|age| age.map(|age| self.now() - age.as_millis() as i64));
        let rows: Vec<Option<i64>> = moments.collect();
        let partition = self.by_day.then(|| rows[0]).flatten();
        let partition = partition.map(|moment| moment.div_euclid(DAY_MS));
        let path = format!("{LOCATION}/data/r-{:03}.parquet", self.files.len());
        let file = self.data_file(&path, &rows, partition, says);
        let added = [AddedFile {
            spec_id: SpecId(0),
            file,
        }];
        append_files(&self.world.context, &self.world.table, &added)
            .await
            .unwrap();
        self.files.push(Rows {
            path: path.clone(),
            partition,
            rows,
            says,
        });
        path
    }

    fn data_file(
        &self,
        path: &str,
        rows: &[Option<i64>],
        day: Option<i64>,
        says: Says,
    ) -> DataFile {
        self.world.storage.insert(path, vec![0; 100]);
        let values = rows.iter().flatten().map(|moment| self.kind.value(*moment));
        let values: Vec<(Datum, i64)> = values.collect();
        let least = values.iter().min_by_key(|(_, moment)| *moment);
        let most = values.iter().max_by_key(|(_, moment)| *moment);
        let bound = |of: Option<&(Datum, i64)>| -> HashMap<i32, Datum> {
            let shown = of.filter(|_| says != Says::NoBounds);
            shown
                .map(|(value, _)| (TIME, value.clone()))
                .into_iter()
                .collect()
        };
        let nulls = rows.iter().filter(|row| row.is_none()).count() as u64;
        let counts = (says == Says::All).then_some((TIME, nulls));
        let partition = match self.by_day {
            true => Struct::from_iter([day.map(|day| Literal::date(day as i32))]),
            false => Struct::empty(),
        };
        DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path(path.to_owned())
            .file_format(DataFileFormat::Parquet)
            .partition(partition)
            .partition_spec_id(0)
            .record_count(rows.len() as u64)
            .file_size_in_bytes(100)
            .lower_bounds(bound(least))
            .upper_bounds(bound(most))
            .null_value_counts(counts.into_iter().collect())
            .build()
            .unwrap()
    }

    async fn plan(&self) -> ages::AgePlan {
        ages::plan(&self.world.context, &self.world.table)
            .await
            .unwrap()
    }

    async fn apply(&self) -> Result<ages::AgePlan, UpkeepError> {
        let process = ProcessId::from_uuid(self.world.context.ambient.uuid());
        ages::apply(
            &self.world.context,
            &self.world.table,
            &process,
            &NoObjection,
            (&self.engine(), Attempt(1)),
        )
        .await
    }

    /// What would rewrite, were anything to be.
    fn engine(&self) -> RewriteContext {
        RewriteContext {
            storage: Arc::clone(&self.world.context.storage),
            ambient: self.world.context.ambient.clone(),
            memory_cap: Bytes(1 << 30),
            merge_pages: MergePages::default(),
            progress: Arc::default(),
        }
    }

    /// Live data files, as the `iceberg` crate reads them.
    async fn live(&self) -> BTreeSet<String> {
        let loaded = self.world.loaded().await;
        let Some(snapshot) = loaded.metadata.current_snapshot() else {
            return BTreeSet::new();
        };
        let list = self.world.storage.get(snapshot.manifest_list()).unwrap();
        let version = loaded.metadata.format_version();
        let list = iceberg::spec::ManifestList::parse_with_version(&list, version).unwrap();
        let mut live = BTreeSet::new();
        for manifest in list.entries() {
            let content = self.world.storage.get(&manifest.manifest_path).unwrap();
            let manifest = iceberg::spec::Manifest::parse_avro(&content).unwrap();
            let entries = manifest.entries().iter().filter(|entry| entry.is_alive());
            live.extend(entries.map(|entry| entry.file_path().to_owned()));
        }
        live
    }

    /// What somebody who looks at each row lets go of: files of which every row is too old, where the entry says so;
    /// by partition only where that is all of the partition.
    fn expected(&self, cutoff: i64, level: ages::Level) -> BTreeSet<String> {
        let is_old =
            |row: &Option<i64>| row.is_some_and(|moment| self.kind.value(moment).1 <= cutoff);
        let by_partition = |file: &Rows| {
            let day = file.partition;
            day.is_some_and(|day| match self.kind {
                Kind::Date => day * DAY_MS <= cutoff,
                _ => day < cutoff.div_euclid(DAY_MS),
            })
        };
        let goes = |file: &&Rows| {
            let told = file.says == Says::All || by_partition(file);
            told && file.rows.iter().all(is_old)
        };
        let mut going: BTreeMap<Option<i64>, Vec<String>> = BTreeMap::new();
        let mut all: BTreeMap<Option<i64>, usize> = BTreeMap::new();
        for file in &self.files {
            *all.entry(file.partition).or_default() += 1;
        }
        for file in self.files.iter().filter(goes) {
            going
                .entry(file.partition)
                .or_default()
                .push(file.path.clone());
        }
        let whole = going
            .into_iter()
            .filter(|(day, files)| level == ages::Level::File || files.len() == all[day]);
        whole.flat_map(|(_, files)| files).collect()
    }
}

fn days(days: u32) -> Option<Duration> {
    Some(days * DAY)
}

const FILES: [(&str, &str); 4] = [
    ("data-expire.enabled", "true"),
    ("data-expire.field", "at"),
    ("data-expire.retention-time", "7d"),
    ("data-expire.level", "file"),
];

#[tokio::test]
async fn old_files_go_and_mixed_ones_stay() {
    let mut aging = Aging::new(Kind::Timestamp, false, &FILES);
    let old = aging.append(&[days(9), days(8)], Says::All).await;
    let mixed = aging.append(&[days(9), days(1)], Says::All).await;
    let timeless = aging.append(&[days(9), None], Says::All).await;
    let silent = aging.append(&[days(9)], Says::NoBounds).await;
    let half = aging.append(&[days(9)], Says::NoNulls).await;
    let planned = aging.plan().await;
    assert_eq!((planned.old.files, planned.old.rows.get()), (1, 2));
    assert_eq!(planned.unknown.files, 2);
    let done = aging.apply().await.unwrap();
    assert_eq!(done.old, planned.old);
    let live = aging.live().await;
    assert!(!live.contains(&old));
    assert_eq!(live, [mixed, timeless, silent, half].into());
    let loaded = aging.world.loaded().await;
    let snapshot = loaded.metadata.current_snapshot().unwrap();
    assert_eq!(
        snapshot.summary().operation,
        iceberg::spec::Operation::Delete
    );
    let summary = &snapshot.summary().additional_properties;
    assert_eq!(summary["deleted-data-files"], "1");
    assert_eq!(summary["deleted-records"], "2");
    assert_eq!(summary["total-data-files"], "4");
    assert!(summary.contains_key(ages::AGED_OUT));
    // The second run has nothing to do, and the file is there until its snapshots are expired.
    let again = aging.apply().await.unwrap();
    assert!(again.is_empty() && again.snapshot_id.is_none());
    assert!(aging.world.storage.get(&old).is_some());
    aging.world.clock.advance(HOUR);
    aging.world.expire_all().await.unwrap();
    aging.world.assert_tidy().await;
    assert!(aging.world.storage.get(&old).is_none());
}

#[tokio::test]
async fn a_partition_goes_when_all_of_it_is_too_old() {
    let aging = |level: &'static str| {
        let properties = [
            ("icepress.age-out.field", "at"),
            ("icepress.age-out.keep", "7d"),
            ("icepress.age-out.level", level),
        ];
        Aging::new(Kind::Timestamp, false, &properties)
    };
    for (level, left) in [("partition", 2), ("file", 1)] {
        let mut aging = aging(level);
        aging.append(&[days(9)], Says::All).await;
        aging.append(&[days(1)], Says::All).await;
        let done = aging.apply().await.unwrap();
        assert_eq!(aging.live().await.len(), left, "{level}");
        assert_eq!(done.held_by_partition.files, left as u64 - 1);
    }
    // By day: the ninth day's partition is whole, the one that was late in it too.
    let properties = [
        ("icepress.age-out.field", "at"),
        ("icepress.age-out.keep", "7d"),
    ];
    let mut aging = Aging::new(Kind::Timestamp, true, &properties);
    aging.append(&[days(9)], Says::NoBounds).await;
    aging.append(&[days(9)], Says::All).await;
    let young = aging.append(&[days(1)], Says::All).await;
    let done = aging.apply().await.unwrap();
    assert_eq!(aging.live().await, [young].into());
    assert_eq!(done.partitions.len(), 1);
    assert!(
        done.partitions[0].partition_name.starts_with("day="),
        "{done:?}"
    );
}

#[tokio::test]
async fn ages_count_from_the_last_commit_of_others_or_from_now() {
    for (base, goes) in [("LAST_COMMIT_TIME", false), ("CURRENT_TIME", true)] {
        let properties = [&FILES[..], &[("data-expire.base-on-rule", base)]].concat();
        let mut aging = Aging::new(Kind::Timestamp, false, &properties);
        aging.append(&[days(1)], Says::All).await;
        aging.world.clock.advance(30 * DAY);
        assert_eq!(!aging.apply().await.unwrap().is_empty(), goes, "{base}");
    }
    // Our own commits are nobody's: the older rows go by the last append, and the rest does not follow.
    let mut aging = Aging::new(Kind::Timestamp, false, &FILES);
    aging.append(&[days(9)], Says::All).await;
    aging.append(&[days(6)], Says::All).await;
    assert_eq!(aging.apply().await.unwrap().old.files, 1);
    aging.world.clock.advance(30 * DAY);
    assert!(aging.apply().await.unwrap().is_empty());
    assert_eq!(aging.live().await.len(), 1);
}

#[tokio::test]
async fn what_came_meanwhile_is_judged_like_the_rest() {
    let properties = [
        ("icepress.age-out.field", "at"),
        ("icepress.age-out.keep", "7d"),
    ];
    let mut aging = Aging::new(Kind::Timestamp, false, &properties);
    let old = aging.append(&[days(9)], Says::All).await;
    // Late rows come between plan and commit: the partition is not all too old any more.
    let before = aging.world.loaded().await;
    let late = aging.append(&[days(1)], Says::All).await;
    let after = aging.world.loaded().await;
    let snapshot = after.metadata.current_snapshot().unwrap().as_ref().clone();
    let id = snapshot.snapshot_id();
    aging.world.set_back(&before);
    let rival = icepress_catalog::TableChange {
        requirements: Vec::new(),
        updates: vec![
            iceberg::TableUpdate::AddSnapshot { snapshot },
            super::world::set_ref("main", id, super::world::branch()),
        ],
    };
    aging
        .world
        .catalog
        .events
        .lock()
        .unwrap()
        .push(Event::Rival(rival));
    assert_eq!(aging.plan().await.old.files, 1);
    let done = aging.apply().await.unwrap();
    assert!(done.is_empty() && done.snapshot_id.is_none(), "{done:?}");
    assert_eq!(done.held_by_partition.files, 1);
    assert_eq!(aging.live().await, [old, late].into());
}

#[tokio::test]
async fn the_filter_of_the_table_keeps_partitions_that_it_does_not_take_in_whole() {
    let first = jiff::Timestamp::from_millisecond(Aging::new(Kind::Date, true, &[]).now()).unwrap();
    let day = |ago: i64| first.as_millisecond() / DAY_MS * DAY_MS - ago * DAY_MS;
    let shown = jiff::Timestamp::from_millisecond(day(12))
        .unwrap()
        .strftime("%Y-%m-%d")
        .to_string();
    for (filter, left, filtered) in [
        (format!("at < '{shown}'"), 2, 1),
        (format!("at >= '{shown}'"), 2, 1),
        ("true".to_owned(), 1, 0),
    ] {
        let properties = [
            ("icepress.age-out.field", "at"),
            ("icepress.age-out.keep", "7d"),
            ("icepress.partition-filter", filter.as_str()),
        ];
        let mut aging = Aging::new(Kind::Date, true, &properties);
        for age in [20, 10, 1] {
            aging.append(&[days(age)], Says::All).await;
        }
        let done = aging.apply().await.unwrap();
        assert_eq!(
            (aging.live().await.len(), done.filtered.files),
            (left, filtered),
            "{filter}"
        );
    }
    let properties = [
        ("icepress.age-out.field", "at"),
        ("icepress.age-out.keep", "7d"),
        ("icepress.partition-filter", "ta < '2026-01-01'"),
    ];
    let error = Aging::new(Kind::Date, true, &properties)
        .apply()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no column 'ta'"), "{error}");
}

#[tokio::test]
async fn lost_answers_make_one_snapshot() {
    for event in [Event::AnswerLost, Event::RequestLost] {
        let mut aging = Aging::new(Kind::Timestamp, false, &FILES);
        aging.append(&[days(9)], Says::All).await;
        aging.append(&[days(1)], Says::All).await;
        aging.world.catalog.events.lock().unwrap().push(event);
        if let Err(error) = aging.apply().await {
            assert!(
                matches!(error, UpkeepError::OutcomeUnknown { .. }),
                "{error}"
            );
            aging.apply().await.unwrap();
        }
        assert_eq!(aging.live().await.len(), 1);
        assert_eq!(aging.world.ids().await.len(), 3);
    }
}

#[tokio::test]
async fn c36_delete_files_that_nothing_needs_then_go_along() {
    let mut aging = Aging::new(Kind::Timestamp, false, &FILES);
    aging.append(&[days(9)], Says::All).await;
    let world = &aging.world;
    world.clock.advance(HOUR);
    let file = world.file(DataContentType::EqualityDeletes);
    let file = DataFileBuilder::default()
        .content(DataContentType::EqualityDeletes)
        .file_path(file.file_path().to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .partition_spec_id(0)
        .record_count(1)
        .file_size_in_bytes(100)
        .equality_ids(Some(vec![1]))
        .build()
        .unwrap();
    let base = world.loaded().await;
    add_delete_files(
        &world.context,
        &base,
        &[AddedFile {
            spec_id: SpecId(0),
            file,
        }],
    )
    .await
    .unwrap();
    aging.append(&[days(1)], Says::All).await;
    let done = aging.apply().await.unwrap();
    assert_eq!((done.old.files, done.delete_files), (1, 1));
    assert_eq!(aging.live().await.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_understood_is_refused_by_name() {
    for (key, value) in [
        ("data-expire.field", "nowhere"),
        ("data-expire.field", "id.x"),
        ("data-expire.level", "row"),
        ("data-expire.base-on-rule", "WHENEVER"),
        ("data-expire.retention-time", "soon"),
        ("data-expire.enabled", "si"),
        ("gc.enabled", "false"),
        ("icepress.age-out.kep", "7d"),
    ] {
        let mut properties: Vec<_> = FILES
            .iter()
            .copied()
            .filter(|(name, _)| *name != key)
            .collect();
        properties.push((key, value));
        let mut aging = Aging::new(Kind::Timestamp, false, &properties);
        aging.append(&[days(9)], Says::All).await;
        let error = aging.apply().await.unwrap_err();
        assert!(matches!(error, UpkeepError::Refused { .. }), "{error}");
        assert!(error.to_string().contains(key), "{error}");
        assert_eq!(aging.live().await.len(), 1);
    }
    let backwards = [
        &FILES[..],
        &[("data-expire.datetime-string-pattern", "dd-MM-yyyy")],
    ]
    .concat();
    let error = Aging::new(Kind::Text, false, &backwards)
        .apply()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("order of time"), "{error}");
    let off = Aging::new(Kind::Timestamp, false, &[]);
    assert!(off.apply().await.unwrap().off.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_row_goes_that_is_young_enough_and_no_file_stays_that_is_known_to_be_old(
        kind in prop::sample::select(vec![Kind::Timestamp, Kind::Date, Kind::Millis, Kind::Seconds, Kind::Text]),
        by_day in any::<bool>(),
        level in prop::sample::select(vec!["partition", "file"]),
        // Hours of age, mostly about the limit of 48; negative for a row without a time.
        files in prop::collection::vec(
            (prop::collection::vec(-10i64..100, 1..4), 0u8..4),
            1..7,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let number = if kind == Kind::Seconds { "TIMESTAMP_S" } else { "TIMESTAMP_MS" };
            let properties = [
                ("data-expire.enabled", "true"),
                ("data-expire.field", "at"),
                ("data-expire.retention-time", "48h"),
                ("data-expire.level", level),
                ("data-expire.base-on-rule", "CURRENT_TIME"),
                ("data-expire.datetime-number-format", number),
            ];
            // Only of moments there are days.
            let by_day = by_day && matches!(kind, Kind::Timestamp | Kind::Date);
            let mut aging = Aging::new(kind, by_day, &properties);
            for (hours, says) in &files {
                let mut ages: Vec<Option<Duration>> = hours
                    .iter()
                    .map(|hours| u32::try_from(*hours).ok().map(|hours| hours * HOUR))
                    .collect();
                if by_day {
                    // Rows of one file are of one day.
                    let moment = |age: &Option<Duration>| age.map(|age| (aging.now() - age.as_millis() as i64).div_euclid(DAY_MS));
                    let day = moment(&ages[0]);
                    ages.retain(|age| moment(age) == day);
                }
                let says = match says {
                    0 => Says::NoBounds,
                    1 => Says::NoNulls,
                    _ => Says::All,
                };
                aging.append(&ages, says).await;
            }
            let done = aging.apply().await.unwrap();
            let cutoff = done.up_to_ms.unwrap();
            let all: BTreeSet<String> = aging.files.iter().map(|file| file.path.clone()).collect();
            let gone: BTreeSet<String> = all.difference(&aging.live().await).cloned().collect();
            assert_eq!(gone, aging.expected(cutoff, done.level.unwrap()), "{:?}", aging.files);
            assert_eq!(done.old.files, gone.len() as u64);
        });
    }
}

/// What partitions tell of it, as a look at the table knows them.
async fn ahead(aging: &Aging) -> ages::AgeOutlook {
    let world = &aging.world;
    let loaded = world.loaded().await;
    let storage = world.storage.as_ref();
    let scan = icepress_table::open_snapshot(storage, &loaded.table, &loaded.metadata).await;
    let now = world.context.ambient.now();
    let ahead = ages::outlook(&loaded.metadata, &scan.unwrap(), now).unwrap();
    ahead.unwrap()
}

#[tokio::test]
async fn partitions_tell_what_is_too_old_and_when_the_next_will_be() {
    let properties = [
        ("icepress.age-out.field", "at"),
        ("icepress.age-out.keep", "7d"),
        ("icepress.age-out.base", "now"),
    ];
    let mut aging = Aging::new(Kind::Timestamp, true, &properties);
    aging.append(&[days(9)], Says::NoBounds).await;
    // Its statistics would say it earlier.
    aging.append(&[days(1)], Says::NoBounds).await;
    let before = ahead(&aging).await;
    assert_eq!(
        (before.partitions, before.old.files, before.untold.files),
        (1, 1, 0)
    );
    assert_eq!(before.old, aging.plan().await.old);
    aging.apply().await.unwrap();
    let after = ahead(&aging).await;
    assert_eq!((after.old.files, after.as_of), (0, None));
    // To the millisecond: not before, and then at once.
    let next = after.next.unwrap();
    let now = aging.world.context.ambient.now();
    aging
        .world
        .clock
        .advance(next.since(now) - Duration::from_millis(1));
    assert!(aging.plan().await.is_empty());
    assert_eq!(ahead(&aging).await.old.files, 0);
    aging.world.clock.advance(Duration::from_millis(1));
    assert_eq!(ahead(&aging).await.old, aging.plan().await.old);
    assert_eq!(ahead(&aging).await.old.files, 1);
}

#[tokio::test]
async fn what_partitions_do_not_tell_is_left_for_a_run_to_ask() {
    let mut aging = Aging::new(Kind::Timestamp, false, &FILES);
    aging.append(&[days(9)], Says::All).await;
    let last = aging.world.loaded().await.metadata.last_updated_ms();
    let ahead = ahead(&aging).await;
    assert_eq!(
        (ahead.old.files, ahead.untold.files, ahead.next),
        (0, 1, None)
    );
    // Nothing gets older until somebody commits.
    assert_eq!(ahead.as_of.unwrap().get(), last);
}
