//! What there is to say of each metric.

use super::{Description, Dimension, Kind, Metric, Unit};

/// For the deployment as a whole.
const WHOLE: &[&[Dimension]] = &[&[]];

/// Seconds, from a group that is hardly worth a run to one that hardly ends in time.
const GROUP_BOUNDS: &[f64] = &[1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0];

impl Metric {
    /// What there is to say of it.
    pub const fn describe(self) -> Description {
        use Dimension::{
            Bucket, Catalog, Cause, Component, Health, Kind as OfKind, Outcome, Reason, Stage,
        };
        use Kind::{Counter, Gauge, Histogram};
        use Unit::{Bytes, Count, Dollars, Ratio, Seconds};
        match self {
            Self::TickSeconds => whole(
                "icepress_tick_seconds",
                Gauge,
                Seconds,
                "How long the last tick worked by itself.",
            ),
            Self::TickUsed => whole(
                "icepress_tick_used_ratio",
                Gauge,
                Ratio,
                "How much of its invocation's time the last tick used. Not told where nothing ends a tick.",
            ),
            Self::BucketsCompleted => whole(
                "icepress_buckets_completed_total",
                Counter,
                Count,
                "Turns of buckets that came to their end: nothing was to be done, or all of it was.",
            ),
            Self::BucketsMissed => by(
                "icepress_buckets_missed_total",
                Counter,
                Count,
                &[Outcome],
                &[&[Outcome]],
                "Turns of buckets that did not come to their end.",
            ),
            Self::BucketRest => whole(
                "icepress_bucket_rest_seconds",
                Gauge,
                Seconds,
                "How long ago the bucket was swept to its end whose turn was longest ago, when the last tick began. One in which nothing happens is swept each quarter of an hour.",
            ),
            Self::OldestDue => by(
                "icepress_oldest_due_seconds",
                Gauge,
                Seconds,
                &[Bucket],
                WHOLE,
                "How long the table had been due that had waited longest, when its bucket had its last turn; 0 where none was due.",
            ),
            Self::OldestProcess => by(
                "icepress_oldest_process_seconds",
                Gauge,
                Seconds,
                &[Stage],
                &[&[Stage]],
                "How long ago the oldest process was begun that is still under way, by how far it was when it was looked after last. Young ones are not looked after.",
            ),
            Self::CompactionLag => by(
                "icepress_compaction_lag_seconds",
                Gauge,
                Seconds,
                &[Catalog],
                WHOLE,
                "How long ago the oldest file was committed that a process under way is to compact, or the oldest delete file that it is to apply, as far as snapshots tell that have not expired. A function tells it when it begins the process. The log names the worst tables.",
            ),
            Self::TablesEvaluated => whole(
                "icepress_tables_evaluated_total",
                Counter,
                Count,
                "Looks at tables that came to a plan, if only an empty one.",
            ),
            Self::BytesEvaluated => by(
                "icepress_evaluated_bytes_total",
                Counter,
                Bytes,
                &[Health],
                &[&[Health]],
                "Bytes of the data files of tables that were looked at, by the health that they were found in.",
            ),
            Self::TablesFailed => whole(
                "icepress_table_failures_total",
                Counter,
                Count,
                "Times that something about a table failed: it was not loaded, evaluated or looked after, and is tried again.",
            ),
            Self::TablesRefused => whole(
                "icepress_tables_refused_total",
                Counter,
                Count,
                "Looks at tables that are left alone for a reason that only a person can change.",
            ),
            Self::ListingsFailed => whole(
                "icepress_listing_failures_total",
                Counter,
                Count,
                "Databases that could not be listed, or one of whose tables could not be told about.",
            ),
            Self::PlansRepeated => whole(
                "icepress_plans_repeated_total",
                Counter,
                Count,
                "Plans that would do again what the last process did: an error of Icepress.",
            ),
            Self::Waits => by(
                "icepress_waits_total",
                Counter,
                Count,
                &[Reason],
                &[&[Reason]],
                "Times that a table or a task was found waiting.",
            ),
            Self::ProcessesBegun => by(
                "icepress_processes_begun_total",
                Counter,
                Count,
                &[OfKind],
                &[&[OfKind]],
                "Processes that were begun.",
            ),
            Self::ProcessesEnded => by(
                "icepress_processes_ended_total",
                Counter,
                Count,
                &[OfKind, Outcome],
                &[&[OfKind, Outcome]],
                "Processes that ended, but for those that a person cancelled.",
            ),
            Self::TasksFailed => by(
                "icepress_tasks_failed_total",
                Counter,
                Count,
                &[OfKind],
                WHOLE,
                "Tasks that failed for good: their processes go on without them, and their tables are planned anew.",
            ),
            Self::GroupsLost => by(
                "icepress_groups_lost_total",
                Counter,
                Count,
                &[Cause],
                &[&[Cause]],
                "Groups of files that are not in their tables when their processes end.",
            ),
            Self::GroupSeconds => by(
                "icepress_group_seconds",
                Histogram(GROUP_BOUNDS),
                Seconds,
                &[],
                WHOLE,
                "How long rewrites of groups took that came to their end.",
            ),
            Self::FilesRead => whole(
                "icepress_read_files_total",
                Counter,
                Count,
                "Data files that finished rewrites of groups read, and delete files that they applied. Work that is done twice counts twice.",
            ),
            Self::FilesWritten => whole(
                "icepress_written_files_total",
                Counter,
                Count,
                "Files that they wrote.",
            ),
            Self::BytesRead => whole(
                "icepress_read_bytes_total",
                Counter,
                Bytes,
                "Bytes that they read.",
            ),
            Self::BytesWritten => whole(
                "icepress_written_bytes_total",
                Counter,
                Bytes,
                "Bytes that they wrote.",
            ),
            Self::DeleteFilesRemoved => whole(
                "icepress_delete_files_removed_total",
                Counter,
                Count,
                "Delete files that commits took out of tables.",
            ),
            Self::DollarsPredicted => whole(
                "icepress_predicted_dollars_total",
                Counter,
                Dollars,
                "What rewrites that were begun were reckoned to cost, at the list prices of AWS.",
            ),
            Self::DollarsActual => whole(
                "icepress_actual_dollars_total",
                Counter,
                Dollars,
                "What finished rewrites of groups cost at the same prices, by the time that they took. Those that failed are not in it, nor is upkeep.",
            ),
            Self::ColdStarts => by(
                "icepress_cold_starts_total",
                Counter,
                Count,
                &[Component],
                WHOLE,
                "Instances of functions that had their first invocation.",
            ),
        }
    }
}

const fn whole(name: &'static str, kind: Kind, unit: Unit, meaning: &'static str) -> Description {
    by(name, kind, unit, &[], WHOLE, meaning)
}

const fn by(
    name: &'static str,
    kind: Kind,
    unit: Unit,
    dimensions: &'static [Dimension],
    in_cloud_watch: &'static [&'static [Dimension]],
    meaning: &'static str,
) -> Description {
    Description {
        name,
        kind,
        unit,
        dimensions,
        in_cloud_watch,
        meaning,
    }
}
