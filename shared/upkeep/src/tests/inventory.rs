//! Files that nothing refers to, as an S3 Inventory tells of them: in the forms in which S3 writes one.

use std::{io::Write as _, sync::Arc};

use arrow_array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use flate2::{Compression, write::GzEncoder};
use icepress_model::TimestampMs;
use md5::{Digest as _, Md5};
use parquet::arrow::ArrowWriter;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    orphans::{NOBODY, files, is_there, littered, plan, remove_with, stray},
    world::{DAY, HOUR, INVENTORIES, LOCATION, World},
};
use crate::{OrphanReport, OrphanRequest, UpkeepError};

const PLACE: &str = "s3://inventories/of/lake/all";
/// What S3 leaves as it is in keys.
const KEY: AsciiSet = NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'*');

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Csv,
    Parquet,
}

/// An object's version.
#[derive(Debug, Clone)]
struct Version {
    key: String,
    size: i64,
    modified: i64,
    is_latest: bool,
    is_marker: bool,
}

/// What S3 would write of the bucket `lake` as it is now.
#[derive(Debug, Clone)]
struct Writes {
    form: Form,
    made_at: TimestampMs,
    versions: Vec<Version>,
    source: &'static str,
    format: Option<&'static str>,
    columns: &'static str,
}

const COLUMNS: &str =
    "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass";

impl Writes {
    fn of(world: &World, form: Form) -> Self {
        let all = world.storage.everything().into_iter();
        let versions = all.filter_map(|(location, size)| {
            Some(Version {
                key: location.strip_prefix("s3://lake/")?.to_owned(),
                size: size as i64,
                modified: world.storage.modified(&location).get(),
                is_latest: true,
                is_marker: false,
            })
        });
        Self {
            form,
            made_at: world.context.ambient.now(),
            versions: versions.collect(),
            source: "lake",
            format: None,
            columns: COLUMNS,
        }
    }

    fn csv(&self, versions: &[Version]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        for version in versions {
            let moment = jiff::Timestamp::from_millisecond(version.modified).unwrap();
            let (key, latest, marker) = (
                utf8_percent_encode(&version.key, &KEY),
                version.is_latest,
                version.is_marker,
            );
            let size = match marker {
                true => String::new(),
                false => version.size.to_string(),
            };
            writeln!(packed, "\"lake\",\"{key}\",\"v1\",\"{latest}\",\"{marker}\",\"{size}\",\"{moment}\",\"e\",\"STANDARD\"").unwrap();
        }
        packed.finish().unwrap()
    }

    fn parquet(&self, versions: &[Version]) -> Vec<u8> {
        let of = |what: &dyn Fn(&Version) -> bool| -> ArrayRef {
            Arc::new(
                versions
                    .iter()
                    .map(|it| Some(what(it)))
                    .collect::<BooleanArray>(),
            )
        };
        let text = |what: &dyn Fn(&Version) -> String| -> ArrayRef {
            Arc::new(
                versions
                    .iter()
                    .map(|it| Some(what(it)))
                    .collect::<StringArray>(),
            )
        };
        let modified: TimestampMillisecondArray =
            versions.iter().map(|it| Some(it.modified)).collect();
        let size: Int64Array = versions
            .iter()
            .map(|it| (!it.is_marker).then_some(it.size))
            .collect();
        let columns = [
            ("bucket", text(&|_| "lake".to_owned())),
            ("key", text(&|it| it.key.clone())),
            ("version_id", text(&|_| "v1".to_owned())),
            ("is_latest", of(&|it| it.is_latest)),
            ("is_delete_marker", of(&|it| it.is_marker)),
            ("size", Arc::new(size) as ArrayRef),
            (
                "last_modified_date",
                Arc::new(modified.with_timezone_utc()) as ArrayRef,
            ),
            ("e_tag", text(&|_| "e".to_owned())),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    /// Writes it, in two files; returns where they lie, and the manifest.
    fn write(&self, world: &World) -> (Vec<String>, String) {
        let moment = jiff::Timestamp::from_millisecond(self.made_at.get()).unwrap();
        let folder = format!("{PLACE}/{}", moment.strftime("%Y-%m-%dT%H-%MZ"));
        let (ending, format) = match self.form {
            Form::Csv => ("csv.gz", "CSV"),
            Form::Parquet => ("parquet", "Parquet"),
        };
        let mut places = Vec::new();
        let mut named = Vec::new();
        let half = self.versions.len() / 2;
        for (number, versions) in [&self.versions[..half], &self.versions[half..]]
            .iter()
            .enumerate()
        {
            let content = match self.form {
                Form::Csv => self.csv(versions),
                Form::Parquet => self.parquet(versions),
            };
            let place = format!("{PLACE}/data/{}-{number}.{ending}", self.made_at.get());
            named.push(serde_json::json!({
                "key": place.strip_prefix(INVENTORIES).unwrap(),
                "size": content.len(),
                "MD5checksum": hex::encode(Md5::digest(&content)),
            }));
            world.storage.insert(&place, content);
            places.push(place);
        }
        let schema = match self.form {
            Form::Csv => self.columns,
            Form::Parquet => {
                "message s3.inventory { required binary bucket (UTF8); required binary key (UTF8); optional binary version_id (UTF8); optional boolean is_latest; optional boolean is_delete_marker; optional int64 size; optional int64 last_modified_date (TIMESTAMP_MILLIS); optional binary e_tag (UTF8);}"
            }
        };
        let manifest = serde_json::json!({
            "sourceBucket": self.source,
            "destinationBucket": "arn:aws:s3:::inventories",
            "version": "2016-11-30",
            "creationTimestamp": self.made_at.get().to_string(),
            "fileFormat": self.format.unwrap_or(format),
            "fileSchema": schema,
            "files": named,
        });
        let manifest = manifest.to_string().into_bytes();
        let checksum = hex::encode(Md5::digest(&manifest));
        world
            .storage
            .insert(&format!("{folder}/manifest.json"), manifest);
        world.storage.insert(
            &format!("{folder}/manifest.checksum"),
            format!("{checksum}\n").into_bytes(),
        );
        (places, folder)
    }
}

fn request() -> OrphanRequest {
    OrphanRequest {
        inventory: Some(PLACE.to_owned()),
        ..OrphanRequest::default()
    }
}

async fn search(world: &World) -> Result<OrphanReport, UpkeepError> {
    remove_with(world, NOBODY, &request()).await
}

#[tokio::test]
async fn an_inventory_tells_of_the_same_files_and_nothing_of_the_table_is_listed() {
    for form in [Form::Csv, Form::Parquet] {
        let (world, mut strays) = littered().await;
        for odd in ["data/a b+c%20d/é.parquet", "data//x=1/y,\"z\".parquet"] {
            strays.push(stray(&world, odd));
        }
        // Another table's, whose name begins in the same way.
        world
            .storage
            .insert("s3://lake/t2/data/x.parquet", vec![0; 9]);
        let by_listing = plan(&world, &OrphanRequest::default()).await;
        Writes::of(&world, form).write(&world);
        world.clock.advance(DAY);
        let before = world.storage.lists().len();
        let planned = plan(&world, &request()).await;
        let (first, second) = (search(&world).await.unwrap(), search(&world).await.unwrap());
        let lists = world.storage.lists().split_off(before);
        let own = format!("{LOCATION}/metadata/icepress-orphans/");
        for list in lists {
            assert!(
                list.starts_with(INVENTORIES) || list.starts_with(&own),
                "{form:?}: {list} was listed"
            );
        }
        assert_eq!(
            planned.survey.unreferenced, by_listing.survey.unreferenced,
            "{form:?}"
        );
        assert_eq!(planned.survey.listed, by_listing.survey.listed, "{form:?}");
        let seen = second.survey.inventory.expect("it went by the inventory");
        assert!(seen.made_at < world.context.ambient.now());
        assert_eq!(
            (files(&first.files), files(&second.files)),
            (0, 9),
            "{form:?}"
        );
        assert!(
            strays.iter().all(|stray| !is_there(&world, stray)),
            "{form:?}"
        );
        assert!(
            world
                .storage
                .remove("s3://lake/t2/data/x.parquet")
                .is_some()
        );
        world.assert_tidy().await;
    }
}

#[tokio::test]
async fn versions_that_are_not_the_newest_and_delete_markers_are_no_files() {
    for form in [Form::Csv, Form::Parquet] {
        let (world, _) = littered().await;
        let mut writes = Writes::of(&world, form);
        for (number, version) in writes.versions.iter_mut().enumerate() {
            if version.key.contains("left") || version.key.ends_with("notes.txt") {
                version.is_latest = number % 2 == 0;
                version.is_marker = version.is_latest;
            }
        }
        writes.write(&world);
        let report = search(&world).await.unwrap();
        assert!(
            report.survey.unreferenced.is_empty(),
            "{form:?}: {report:?}"
        );
    }
}

#[tokio::test]
async fn what_changed_since_the_inventory_stays() {
    let (world, strays) = littered().await;
    let written_anew = strays[0].clone();
    let committed = world.file(iceberg::spec::DataContentType::Data);
    let late = committed.file_path().to_owned();
    Writes::of(&world, Form::Csv).write(&world);
    search(&world).await.unwrap();
    // One is another file of the same name by now, one came into the table, one is gone.
    let now = world.context.ambient.now();
    world.storage.set_modified(&written_anew, now);
    world.append_file(committed).await;
    world.storage.remove(&strays[1]);
    let report = search(&world).await.unwrap();
    assert!(is_there(&world, &written_anew) && is_there(&world, &late));
    assert_eq!((files(&report.files), files(&report.waiting)), (5, 1));
    assert!(strays[2..].iter().all(|stray| !is_there(&world, stray)));
    world.assert_whole().await;
}

#[tokio::test]
async fn the_newest_that_is_complete_counts() {
    let (world, _) = littered().await;
    let (_, older) = Writes::of(&world, Form::Parquet).write(&world);
    world.clock.advance(DAY);
    let (_, newer) = Writes::of(&world, Form::Csv).write(&world);
    let seen = |report: OrphanReport| report.survey.inventory.unwrap().manifest;
    assert_eq!(
        seen(search(&world).await.unwrap()),
        format!("{newer}/manifest.json")
    );
    // S3 is still at it.
    world.storage.remove(&format!("{newer}/manifest.checksum"));
    assert_eq!(
        seen(search(&world).await.unwrap()),
        format!("{older}/manifest.json")
    );
    world.clock.advance(16 * DAY);
    let stale = search(&world).await.unwrap_err().to_string();
    assert!(stale.contains("17 days old"), "{stale}");
    world.storage.remove(&format!("{older}/manifest.checksum"));
    let none = search(&world).await.unwrap_err().to_string();
    assert!(none.contains("no complete inventory"), "{none}");
}

/// Takes a part of an inventory for something else.
type Spoils = fn(&World, &mut Writes) -> Vec<(String, Option<Vec<u8>>)>;

#[tokio::test]
async fn part_of_an_inventory_is_never_taken_for_it() {
    let cases: [(&str, Form, Spoils); 9] = [
        ("no such object", Form::Csv, |world, writes| {
            vec![(writes.write(world).0.remove(0), None)]
        }),
        (
            "not the file that the inventory's manifest names",
            Form::Parquet,
            |world, writes| {
                let place = writes.write(world).0.remove(1);
                let mut content = world.storage.get(&place).unwrap().to_vec();
                content[9] ^= 1;
                vec![(place, Some(content))]
            },
        ),
        (
            "not what manifest.checksum says",
            Form::Csv,
            |world, writes| {
                let place = format!("{}/manifest.json", writes.write(world).1);
                let content = world.storage.get(&place).unwrap();
                let content = String::from_utf8(content.to_vec())
                    .unwrap()
                    .replace("2016-11-30", "2016-11-31");
                vec![(place, Some(content.into_bytes()))]
            },
        ),
        (
            "9 values, and the manifest names 8 columns",
            Form::Csv,
            |world, writes| {
                writes.columns = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag";
                writes.write(world);
                Vec::new()
            },
        ),
        (
            "no column LastModifiedDate: add the fields Size and LastModifiedDate",
            Form::Csv,
            |world, writes| {
                writes.columns = "Bucket, Key, Size";
                writes.write(world);
                Vec::new()
            },
        ),
        (
            "does not say which is the newest",
            Form::Csv,
            |world, writes| {
                writes.columns = "Bucket, Key, VersionId, Size, LastModifiedDate";
                writes.write(world);
                Vec::new()
            },
        ),
        (
            "choose CSV or Apache Parquet",
            Form::Parquet,
            |world, writes| {
                writes.format = Some("ORC");
                writes.write(world);
                Vec::new()
            },
        ),
        ("of the bucket sea", Form::Parquet, |world, writes| {
            writes.source = "sea";
            writes.write(world);
            Vec::new()
        }),
        ("made of another prefix", Form::Csv, |world, writes| {
            writes
                .versions
                .retain(|version| !version.key.starts_with("t/"));
            writes.write(world);
            Vec::new()
        }),
    ];
    for (expected, form, spoils) in cases {
        let (world, strays) = littered().await;
        // A sound one found everything before.
        Writes::of(&world, form).write(&world);
        search(&world).await.unwrap();
        world.clock.advance(HOUR);
        let mut writes = Writes::of(&world, form);
        for (place, content) in spoils(&world, &mut writes) {
            match content {
                Some(content) => world.storage.insert(&place, content),
                None => drop(world.storage.remove(&place)),
            }
        }
        let error = search(&world).await.unwrap_err().to_string();
        assert!(
            error.contains(expected) && error.contains("c.ns.t"),
            "{expected}: {error}"
        );
        assert!(
            strays.iter().all(|stray| is_there(&world, stray)),
            "{expected}"
        );
    }
}

#[tokio::test]
async fn a_file_that_is_cut_short_is_an_error_though_its_sum_is_right() {
    let (world, _) = littered().await;
    let writes = Writes::of(&world, Form::Csv);
    let (places, folder) = writes.write(&world);
    let whole = world.storage.get(&places[0]).unwrap().to_vec();
    let cut = whole[..whole.len() / 2].to_vec();
    let manifest = format!("{folder}/manifest.json");
    let text = String::from_utf8(world.storage.get(&manifest).unwrap().to_vec()).unwrap();
    let sum = |content: &[u8]| hex::encode(Md5::digest(content));
    let size = |content: &[u8]| format!("\"size\":{}", content.len());
    let text = text
        .replace(&sum(&whole), &sum(&cut))
        .replacen(&size(&whole), &size(&cut), 1);
    world.storage.insert(
        &format!("{folder}/manifest.checksum"),
        sum(text.as_bytes()).into_bytes(),
    );
    world.storage.insert(&manifest, text.into_bytes());
    world.storage.insert(&places[0], cut);
    let error = search(&world).await.unwrap_err().to_string();
    assert!(error.contains("can't be unpacked"), "{error}");
}

#[tokio::test]
async fn the_table_says_whether_and_by_which_inventory() {
    let properties = [("icepress.maintain.orphans-inventory", "off")];
    let world = World::with(iceberg::spec::FormatVersion::V2, &properties);
    world.append().await;
    let report = search(&world).await.unwrap();
    assert_eq!(report.survey.inventory, None);
    let properties = [("icepress.maintain.orphans-inventory", PLACE)];
    let world = World::with(iceberg::spec::FormatVersion::V2, &properties);
    world.append().await;
    Writes::of(&world, Form::Csv).write(&world);
    let report = remove_with(&world, NOBODY, &OrphanRequest::default())
        .await
        .unwrap();
    assert!(report.survey.inventory.is_some());
}
