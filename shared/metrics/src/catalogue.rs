//! The catalogue: every metric there is, with its name, kind, unit, dimensions and meaning. Documents, dashboards and both outputs are
//! made of it, and nothing is counted that is not in it.
//!
//! Dimensions are bounded: never a table, a process or a person.

mod descriptions;

/// A number that Icepress tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// How long ticks take.
    TickSeconds,
    /// How much of its time a tick used.
    TickUsed,
    /// Turns of buckets that came to their end.
    BucketsCompleted,
    /// Turns of buckets that did not.
    BucketsMissed,
    /// The longest rest of a bucket.
    BucketRest,
    /// The age of the oldest table that is due.
    OldestDue,
    /// The age of the oldest process, by how far it is.
    OldestProcess,
    /// The age of the oldest file that is to be compacted.
    CompactionLag,
    /// Tables that were looked at.
    TablesEvaluated,
    /// Their bytes, by health.
    BytesEvaluated,
    /// Tables at which something failed.
    TablesFailed,
    /// Tables that are left alone.
    TablesRefused,
    /// Databases that could not be listed.
    ListingsFailed,
    /// Plans that would repeat the last process.
    PlansRepeated,
    /// Waits, by what for.
    Waits,
    /// Processes that were begun.
    ProcessesBegun,
    /// Processes that ended.
    ProcessesEnded,
    /// Tasks that failed for good.
    TasksFailed,
    /// Groups that were rewritten and are not in their tables, and those that could not be rewritten.
    GroupsLost,
    /// How long the rewrite of a group takes.
    GroupSeconds,
    /// Files that were rewritten.
    FilesRead,
    /// Files that were written for them.
    FilesWritten,
    /// Bytes that were read.
    BytesRead,
    /// Bytes that were written.
    BytesWritten,
    /// Delete files that commits removed.
    DeleteFilesRemoved,
    /// What rewrites were reckoned to cost.
    DollarsPredicted,
    /// What they did cost.
    DollarsActual,
    /// Instances of functions that had their first invocation.
    ColdStarts,
}

/// What metrics stand together for, on dashboards and in documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Whether change is seen in time.
    Scheduling,
    /// How tables are.
    Tables,
    /// How what is begun ends.
    Processes,
    /// What rewrites do and cost.
    Work,
    /// The functions themselves.
    Functions,
}

impl Section {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Scheduling,
        Self::Tables,
        Self::Processes,
        Self::Work,
        Self::Functions,
    ];

    /// Its heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Scheduling => "Scheduling",
            Self::Tables => "Tables",
            Self::Processes => "Processes",
            Self::Work => "Work and money",
            Self::Functions => "Functions",
        }
    }
}

/// How a metric's values are put together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// It only grows; what counts is by how much.
    Counter,
    /// It goes up and down; of several the largest counts.
    Gauge,
    /// Measurements, of which the distribution counts, below these bounds.
    Histogram(&'static [f64]),
}

impl Kind {
    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// What a metric's values are measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Things.
    Count,
    /// A share, from 0 to 1.
    Ratio,
    /// US dollars.
    Dollars,
}

impl Unit {
    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::Count => "count",
            Self::Ratio => "ratio",
            Self::Dollars => "dollars",
        }
    }

    /// The word that CloudWatch has for it, which knows neither shares of one nor money.
    pub const fn in_cloud_watch(self) -> &'static str {
        match self {
            Self::Seconds => "Seconds",
            Self::Bytes => "Bytes",
            Self::Count => "Count",
            Self::Ratio | Self::Dollars => "None",
        }
    }
}

/// What a metric is told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// The number of a bucket of tables.
    Bucket,
    /// The name of a catalog.
    Catalog,
    /// Why a group is not in its table.
    Cause,
    /// Which function.
    Component,
    /// How healthy a table was found.
    Health,
    /// The kind of process.
    Kind,
    /// What came of it.
    Outcome,
    /// What is waited for.
    Reason,
    /// How far a process is.
    Stage,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Bucket,
        Self::Catalog,
        Self::Cause,
        Self::Component,
        Self::Health,
        Self::Kind,
        Self::Outcome,
        Self::Reason,
        Self::Stage,
    ];

    /// Its name as a label of Prometheus.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Bucket => "bucket",
            Self::Catalog => "catalog",
            Self::Cause => "cause",
            Self::Component => "component",
            Self::Health => "health",
            Self::Kind => "kind",
            Self::Outcome => "outcome",
            Self::Reason => "reason",
            Self::Stage => "stage",
        }
    }

    /// Its name as a dimension of CloudWatch.
    pub const fn in_cloud_watch(self) -> &'static str {
        match self {
            Self::Bucket => "Bucket",
            Self::Catalog => "Catalog",
            Self::Cause => "Cause",
            Self::Component => "Component",
            Self::Health => "Health",
            Self::Kind => "Kind",
            Self::Outcome => "Outcome",
            Self::Reason => "Reason",
            Self::Stage => "Stage",
        }
    }

    /// The values that it has, for people.
    pub const fn values(self) -> &'static str {
        match self {
            Self::Bucket => "its number",
            Self::Catalog => "its name",
            Self::Cause => {
                "`conflict` (another writer was faster), `gate` (the commit's last check refused it), or why it could not be rewritten: \
                 `transient`, `throttled`, `file-vanished`, `corrupt-file`, `permission-denied`, `archived`, `unsupported`, \
                 `over-memory`, `over-time`, `wrong-rows`"
            }
            Self::Component => "`scheduler`, `optimizer`, `cleaner`",
            Self::Health => "`poor` (a score below 50), `fair` (below 80), `good`",
            Self::Kind => {
                "`rewrite`, `manifests`, `expire`, `orphans`, `age-out`, `tags`, `statistics`"
            }
            Self::Outcome => {
                "of a process `committed`, `partly-committed`, `failed`, `evaluated` (it was to look only), `maintained`, `abandoned`; of \
                 a bucket's turn `unfinished` (the time was up), `held-by-another`, `failed`"
            }
            Self::Reason => {
                "`blocker`, `window`, `quota`, `tasks` (a quota's are all under way), `requests` (somebody asked for fewer)"
            }
            Self::Stage => {
                "`queued` (no task was begun), `running`, `committing` (all tasks are over)"
            }
        }
    }
}

/// All that there is to say of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Description {
    /// Its name in Prometheus.
    pub name: &'static str,
    /// How its values are put together.
    pub kind: Kind,
    /// What they are measured in.
    pub unit: Unit,
    /// What they are told apart by.
    pub dimensions: &'static [Dimension],
    /// By which of these CloudWatch is told of it besides the deployment: each of them is a metric that is paid for.
    pub in_cloud_watch: &'static [&'static [Dimension]],
    /// What it means, one sentence or two.
    pub meaning: &'static str,
}

impl Metric {
    /// All of them, in the order of documents.
    pub const ALL: [Self; 28] = [
        Self::TickSeconds,
        Self::TickUsed,
        Self::BucketsCompleted,
        Self::BucketsMissed,
        Self::BucketRest,
        Self::OldestDue,
        Self::OldestProcess,
        Self::CompactionLag,
        Self::TablesEvaluated,
        Self::BytesEvaluated,
        Self::TablesFailed,
        Self::TablesRefused,
        Self::ListingsFailed,
        Self::PlansRepeated,
        Self::Waits,
        Self::ProcessesBegun,
        Self::ProcessesEnded,
        Self::TasksFailed,
        Self::GroupsLost,
        Self::GroupSeconds,
        Self::FilesRead,
        Self::FilesWritten,
        Self::BytesRead,
        Self::BytesWritten,
        Self::DeleteFilesRemoved,
        Self::DollarsPredicted,
        Self::DollarsActual,
        Self::ColdStarts,
    ];

    /// Where it stands in documents.
    pub const fn section(self) -> Section {
        match self {
            Self::TickSeconds
            | Self::TickUsed
            | Self::BucketsCompleted
            | Self::BucketsMissed
            | Self::BucketRest
            | Self::OldestDue
            | Self::ListingsFailed => Section::Scheduling,
            Self::CompactionLag
            | Self::TablesEvaluated
            | Self::BytesEvaluated
            | Self::TablesFailed
            | Self::TablesRefused
            | Self::PlansRepeated
            | Self::Waits => Section::Tables,
            Self::OldestProcess
            | Self::ProcessesBegun
            | Self::ProcessesEnded
            | Self::TasksFailed
            | Self::GroupsLost => Section::Processes,
            Self::GroupSeconds
            | Self::FilesRead
            | Self::FilesWritten
            | Self::BytesRead
            | Self::BytesWritten
            | Self::DeleteFilesRemoved
            | Self::DollarsPredicted
            | Self::DollarsActual => Section::Work,
            Self::ColdStarts => Section::Functions,
        }
    }

    /// The metrics of a section.
    pub fn of(section: Section) -> impl Iterator<Item = Self> {
        Self::ALL
            .into_iter()
            .filter(move |metric| metric.section() == section)
    }

    /// Its name in words, as a title.
    pub fn title(self) -> String {
        let name = self.describe().name;
        let name = name.strip_prefix("icepress_").unwrap_or(name);
        let words = name
            .strip_suffix("_total")
            .unwrap_or(name)
            .replace('_', " ");
        let (first, rest) = words.split_at(words.len().min(1));
        first.to_uppercase() + rest
    }

    /// Its name in CloudWatch: the other one without what CloudWatch has fields for.
    pub fn in_cloud_watch(self) -> String {
        let name = self.describe().name;
        let name = name.strip_prefix("icepress_").unwrap_or(name);
        let name = name.strip_suffix("_total").unwrap_or(name);
        let words = name.split('_').map(|word| {
            let (first, rest) = word.split_at(word.len().min(1));
            first.to_uppercase() + rest
        });
        words.collect()
    }
}
