//! Tags by the clock, and how long they stay.

use std::{collections::BTreeMap, time::Duration};

use iceberg::spec::{FormatVersion, SnapshotReference, SnapshotRetention};
use icepress_model::TimestampMs;
use icepress_table::NoObjection;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::world::{DAY, Event, HOUR, World, branch, set_ref, tag};
use crate::{UpkeepError, tags};

fn set_clock(world: &World, moment: DateTime) {
    let zoned = TimeZone::UTC.to_timestamp(moment).unwrap();
    let now = world.context.ambient.now().get();
    // The histories of this world end 90 days before the system's clock: any date after its own year will do.
    let ahead = zoned.as_millisecond() - now;
    assert!(ahead >= 0, "the clock goes forward only");
    world.clock.advance(Duration::from_millis(ahead as u64));
}

/// The next time the clock shows that hour and minute.
fn next(world: &World, hour: i8, minute: i8) -> DateTime {
    let now = shown(world.context.ambient.now());
    let today = now.date().at(hour, minute, 0, 0);
    if today > now {
        today
    } else {
        now.date().tomorrow().unwrap().at(hour, minute, 0, 0)
    }
}

fn shown(moment: TimestampMs) -> DateTime {
    TimeZone::UTC.to_datetime(Timestamp::from_millisecond(moment.get()).unwrap())
}

fn go_to(world: &World, hour: i8, minute: i8) -> DateTime {
    let moment = next(world, hour, minute);
    set_clock(world, moment);
    moment
}

/// An append at this very moment.
async fn append_now(world: &World) -> i64 {
    let file = world.file(iceberg::spec::DataContentType::Data);
    let added = [icepress_writer::AddedFile {
        spec_id: icepress_model::SpecId(0),
        file,
    }];
    icepress_writer::append_files(&world.context, &world.table, &added)
        .await
        .unwrap();
    world.current().await
}

async fn refs(world: &World) -> BTreeMap<String, SnapshotReference> {
    let mut refs = world.loaded().await.metadata.refs().unwrap();
    refs.remove("main");
    refs
}

async fn make(world: &World) -> tags::TagPlan {
    let planned = tags::plan(&world.context, &world.table).await.unwrap();
    let done = tags::apply(&world.context, &world.table, &NoObjection).await;
    let done = done.unwrap();
    assert_eq!(done.plan, planned, "a plan says what is done");
    let now_at = world.loaded().await.metadata_location;
    let made = done.committed.map(|made| made.location);
    assert_eq!(made, (!done.plan.is_empty()).then_some(now_at));
    done.plan
}

fn ends_at(tag: &SnapshotReference, made_at: TimestampMs) -> TimestampMs {
    let SnapshotRetention::Tag {
        max_ref_age_ms: Some(age),
    } = tag.retention
    else {
        panic!("a tag with an age: {tag:?}");
    };
    TimestampMs(made_at.get() + age)
}

#[tokio::test]
async fn a_tag_is_the_table_as_it_was_when_the_day_began() {
    let world = World::with(FormatVersion::V2, &[("icepress.tag.daily", "7d")]);
    go_to(&world, 22, 0);
    let made_at = world.context.ambient.now();
    let evening = append_now(&world).await;
    go_to(&world, 3, 0);
    append_now(&world).await;
    let noon = go_to(&world, 12, 0);
    let name = format!("icepress-daily-{}", noon.date());
    let done = make(&world).await;
    assert_eq!(done.created.len(), 1);
    let found = refs(&world).await;
    assert_eq!(found.keys().collect::<Vec<_>>(), [&name]);
    assert_eq!(found[&name].snapshot_id, evening);
    // Iceberg counts the age from when the snapshot was made; it is kept for a week from when the day began.
    let end = noon
        .date()
        .at(0, 0, 0, 0)
        .saturating_add(jiff::Span::new().days(7));
    assert_eq!(shown(ends_at(&found[&name], made_at)), end);
    assert!(
        make(&world).await.is_empty(),
        "the second run has nothing to do"
    );
    assert_eq!(refs(&world).await, found);
}

#[tokio::test]
async fn what_was_spoilt_and_rolled_back_is_told_from_what_readers_saw() {
    let world = World::with(FormatVersion::V2, &[("icepress.tag.hourly", "48h")]);
    go_to(&world, 9, 10);
    let good = append_now(&world).await;
    go_to(&world, 9, 20);
    append_now(&world).await;
    go_to(&world, 9, 30);
    world.roll_back_to(good).await;
    let ten = go_to(&world, 10, 5);
    append_now(&world).await;
    make(&world).await;
    let found = refs(&world).await;
    let name = format!("icepress-hourly-{}T10", ten.date());
    assert_eq!(found[&name].snapshot_id, good);
}

#[tokio::test]
async fn a_table_at_rest_gets_one_tag_and_the_next_when_it_moved() {
    let world = World::with(FormatVersion::V2, &[("icepress.tag.daily", "3d")]);
    go_to(&world, 8, 0);
    let first = append_now(&world).await;
    make(&world).await;
    for _ in 0..2 {
        go_to(&world, 8, 0);
        let done = make(&world).await;
        assert!(done.is_empty(), "{done:?}");
        assert!(done.skipped[0].why.contains("same state"), "{done:?}");
    }
    // It is spoilt: the state of this morning is kept for three days from now, by a tag of its own.
    let spoilt = go_to(&world, 8, 0);
    append_now(&world).await;
    let done = make(&world).await;
    assert_eq!(done.created.len(), 1, "{done:?}");
    assert_eq!(done.created[0].snapshot_id.get(), first);
    assert_eq!(
        done.created[0].name,
        format!("icepress-daily-{}", spoilt.date())
    );
}

#[tokio::test]
async fn all_periods_at_once_take_one_commit() {
    let world = World::with(
        FormatVersion::V2,
        &[
            ("icepress.tag.hourly", "24h"),
            ("icepress.tag.daily", "30d"),
            ("icepress.tag.weekly", "8w"),
            ("icepress.tag.monthly", "365d"),
        ],
    );
    let moment = go_to(&world, 8, 0);
    append_now(&world).await;
    let before = world.loaded().await.metadata.metadata_log().len();
    make(&world).await;
    let date = moment.date();
    let week = date.iso_week_date();
    let found = refs(&world).await;
    for name in [
        format!("icepress-hourly-{date}T08"),
        format!("icepress-daily-{date}"),
        format!("icepress-weekly-{}-W{:02}", week.year(), week.week()),
        format!("icepress-monthly-{:04}-{:02}", date.year(), date.month()),
    ] {
        assert!(found.contains_key(&name), "{name}: {found:?}");
    }
    assert_eq!(found.len(), 4);
    assert_eq!(
        world.loaded().await.metadata.metadata_log().len(),
        before + 1
    );
}

#[tokio::test]
async fn days_begin_where_the_zone_has_them() {
    let zone = [
        ("icepress.tag.daily", "7d"),
        ("icepress.tag.time-zone", "Asia/Tokyo"),
    ];
    let world = World::with(FormatVersion::V2, &zone);
    go_to(&world, 14, 0);
    let before = append_now(&world).await;
    // Midnight in Tokyo is at 15:00.
    go_to(&world, 15, 30);
    append_now(&world).await;
    let here = go_to(&world, 16, 0);
    make(&world).await;
    let found = refs(&world).await;
    let tomorrow = here.date().tomorrow().unwrap();
    assert_eq!(
        found[&format!("icepress-daily-{tomorrow}")].snapshot_id,
        before
    );
}

#[tokio::test]
async fn tags_go_when_their_time_is_over_and_nobody_elses_do() {
    let world = World::with(FormatVersion::V2, &[("icepress.tag.hourly", "2h")]);
    go_to(&world, 8, 0);
    let first = append_now(&world).await;
    make(&world).await;
    world.set_ref("release", first, tag()).await;
    let short = SnapshotRetention::Tag {
        max_ref_age_ms: Some(1),
    };
    world.set_ref("someone-s", first, short).await;
    world
        .set_ref("icepress-hourly-branch", first, branch())
        .await;
    go_to(&world, 11, 30);
    append_now(&world).await;
    let eleven = make(&world).await;
    assert_eq!(eleven.removed.len(), 1, "{eleven:?}");
    assert!(eleven.removed[0].ends_with("T08"), "{eleven:?}");
    let found = refs(&world).await;
    assert!(found.contains_key("release") && found.contains_key("someone-s"));
    assert!(found.contains_key("icepress-hourly-branch"));
    assert_eq!(found.len(), 4, "{found:?}");
}

#[tokio::test]
async fn expiry_leaves_tagged_snapshots_and_those_that_a_tag_is_due_for() {
    let world = World::with(FormatVersion::V2, &[("icepress.tag.daily", "7d")]);
    go_to(&world, 20, 0);
    append_now(&world).await;
    let evening = {
        world.clock.advance(HOUR);
        append_now(&world).await
    };
    go_to(&world, 5, 0);
    let spoilt = append_now(&world).await;
    // Expiry comes first, by mistake or by another schedule: what the day's tag is due for stays.
    let report = world.expire_all().await.unwrap();
    let ids: Vec<i64> = world.ids().await.into_iter().collect();
    assert!(ids.contains(&evening) && ids.contains(&spoilt) && ids.len() == 2);
    assert!(report.spared[0].why.contains("which is due"), "{report:?}");
    make(&world).await;
    world.expire_all().await.unwrap();
    assert!(world.ids().await.contains(&evening));
    // A week later the tag is over, and so is the snapshot.
    world.clock.advance(8 * DAY);
    append_now(&world).await;
    world.expire_all().await.unwrap();
    assert!(!world.ids().await.contains(&evening));
    world.assert_tidy().await;
}

#[tokio::test]
async fn amoro_s_properties_mean_what_they_mean_to_amoro() {
    let world = World::with(
        FormatVersion::V2,
        &[
            ("tag.auto-create.enabled", "true"),
            ("tag.auto-create.trigger.period", "daily"),
            ("tag.auto-create.trigger.offset.minutes", "30"),
            ("tag.auto-create.max-age-ms", "86400000"),
        ],
    );
    let evening = go_to(&world, 22, 0);
    append_now(&world).await;
    let done = make(&world).await;
    assert!(
        done.is_empty() && done.skipped[0].why.contains("later than it may"),
        "{done:?}"
    );
    go_to(&world, 0, 20);
    append_now(&world).await;
    assert!(make(&world).await.is_empty(), "not before the offset");
    go_to(&world, 0, 45);
    let first = append_now(&world).await;
    go_to(&world, 0, 50);
    append_now(&world).await;
    go_to(&world, 1, 0);
    make(&world).await;
    let found = refs(&world).await;
    let name = format!("tag-{}", evening.date().strftime("%Y%m%d"));
    assert_eq!(found.keys().collect::<Vec<_>>(), [&name]);
    assert_eq!(found[&name].snapshot_id, first);
    let SnapshotRetention::Tag { max_ref_age_ms } = found[&name].retention else {
        panic!("a tag");
    };
    assert_eq!(max_ref_age_ms, Some(86_400_000));
    assert!(make(&world).await.is_empty());
}

#[tokio::test]
async fn amoro_s_hours_and_months_with_a_format_of_their_own() {
    for (period, format, expected) in [
        ("hourly", None, "tag-%Y%m%d%H"),
        ("hourly", Some("'h'yyyy-MM-dd'T'HH"), "h%Y-%m-%dT%H"),
    ] {
        let mut properties = vec![
            ("tag.auto-create.enabled", "true"),
            ("tag.auto-create.trigger.period", period),
        ];
        properties.extend(format.map(|format| ("tag.auto-create.tag-format", format)));
        let world = World::with(FormatVersion::V2, &properties);
        let now = go_to(&world, 7, 10);
        append_now(&world).await;
        make(&world).await;
        let end = now.saturating_sub(jiff::Span::new().hours(1));
        let name = end.strftime(expected).to_string();
        assert!(refs(&world).await.contains_key(&name), "{name}");
    }
}

#[tokio::test]
async fn what_cannot_be_understood_is_refused_by_name() {
    for (key, value) in [
        ("icepress.tag.daily", "soon"),
        ("icepress.tag.daily", "30"),
        ("icepress.tag.daily", "0d"),
        ("icepress.tag.dayly", "30d"),
        ("icepress.tag.time-zone", "Europe/Atlantis"),
        ("tag.auto-create.enabled", "yes"),
    ] {
        let world = World::with(FormatVersion::V2, &[(key, value)]);
        world.append().await;
        let error = tags::plan(&world.context, &world.table).await.unwrap_err();
        assert!(matches!(error, UpkeepError::Refused { .. }), "{error}");
        assert!(error.to_string().contains(key), "{error}");
        // Nobody knows what is to be kept: nothing is expired.
        world.append().await;
        world.expire_all().await.unwrap_err();
    }
    for (key, value) in [
        ("tag.auto-create.trigger.period", "yearly"),
        ("tag.auto-create.tag-format", "yyyy-MMM"),
        ("tag.auto-create.max-age-ms", "a day"),
    ] {
        let enabled = ("tag.auto-create.enabled", "true");
        let world = World::with(FormatVersion::V2, &[enabled, (key, value)]);
        let error = tags::plan(&world.context, &world.table).await.unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
    let off = [
        ("icepress.tag.daily", "off"),
        ("tag.auto-create.trigger.period", "never"),
    ];
    let world = World::with(FormatVersion::V2, &off);
    world.append().await;
    assert!(make(&world).await.is_empty());
}

#[tokio::test]
async fn beside_other_writers_and_lost_answers_it_is_made_once() {
    for event in [
        Event::AnswerLost,
        Event::RequestLost,
        Event::Rival(icepress_catalog::TableChange {
            requirements: Vec::new(),
            updates: vec![set_ref("rival", 0, tag())],
        }),
    ] {
        let world = World::with(FormatVersion::V2, &[("icepress.tag.hourly", "48h")]);
        go_to(&world, 8, 0);
        let id = append_now(&world).await;
        let event = match event {
            Event::Rival(mut change) => {
                change.updates = vec![set_ref("rival", id, tag())];
                Event::Rival(change)
            }
            other => other,
        };
        world.catalog.events.lock().unwrap().push(event);
        let outcome = tags::apply(&world.context, &world.table, &NoObjection).await;
        if let Err(error) = outcome {
            assert!(
                matches!(error, UpkeepError::OutcomeUnknown { .. }),
                "{error}"
            );
            make(&world).await;
        }
        let found = refs(&world).await;
        let ours = found
            .keys()
            .filter(|name| name.starts_with("icepress-"))
            .count();
        assert_eq!(ours, 1, "{found:?}");
    }
}

#[tokio::test]
async fn tables_of_version_1_have_tags_too() {
    let world = World::with(FormatVersion::V1, &[("icepress.tag.daily", "7d")]);
    go_to(&world, 8, 0);
    let id = append_now(&world).await;
    make(&world).await;
    go_to(&world, 9, 0);
    append_now(&world).await;
    let found = refs(&world).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found.values().next().unwrap().snapshot_id, id);
    assert!(make(&world).await.is_empty());
}

/// What there is to tag now and later, as a look at the table tells.
async fn ahead(world: &World) -> tags::TagOutlook {
    tags::outlook(&world.loaded().await.metadata, world.context.ambient.now()).unwrap()
}

#[tokio::test]
async fn the_next_look_is_the_next_periods_end_or_none_while_nobody_writes() {
    let properties = [("icepress.tag.daily", "2d")];
    let world = World::with(FormatVersion::V2, &properties);
    go_to(&world, 22, 0);
    append_now(&world).await;
    let noon = go_to(&world, 12, 0);
    let due = ahead(&world).await;
    assert_eq!(due.created, [format!("icepress-daily-{}", noon.date())]);
    make(&world).await;

    let midnight = next(&world, 0, 0);
    let at = |outlook: &tags::TagOutlook| outlook.next.map(shown);
    let rests = ahead(&world).await;
    assert!(rests.is_empty());
    // The same state gets no second tag: what comes next is the end of the first.
    let end = midnight.saturating_add(jiff::Span::new().days(1));
    assert_eq!(
        at(&rests),
        Some(end.saturating_add(jiff::Span::new().milliseconds(1)))
    );
    assert_eq!(rests.next_after_commit.map(shown), Some(midnight));

    append_now(&world).await;
    let written = ahead(&world).await;
    assert!(written.is_empty(), "its day is not over");
    assert_eq!(at(&written), Some(midnight));
    go_to(&world, 0, 0);
    assert_eq!(ahead(&world).await.created.len(), 1);
}

#[tokio::test]
async fn amoros_tags_wait_for_a_commit() {
    let world = World::with(FormatVersion::V2, &[("tag.auto-create.enabled", "true")]);
    go_to(&world, 22, 0);
    append_now(&world).await;
    let early = go_to(&world, 0, 30);
    let waits = ahead(&world).await;
    assert_eq!((waits.is_empty(), waits.next), (true, None));
    assert_eq!(waits.next_after_commit.map(shown), Some(early));
    append_now(&world).await;
    assert_eq!(ahead(&world).await.created.len(), 1);
    make(&world).await;
    let done = ahead(&world).await;
    let midnight = next(&world, 0, 0);
    assert_eq!(done.next_after_commit.map(shown), Some(midnight));
}
