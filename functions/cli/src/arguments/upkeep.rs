//! What can be typed of upkeep.

use std::time::Duration;

use clap::{Args, ValueEnum};
use icepress_model::Bytes;

use super::{TableArgument, amounts};

/// What `maintain` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UpkeepKind {
    /// Tags that are due are made, and those whose time is over go
    Tags,
    /// Files whose rows are all too old go
    AgeOut,
    /// Old snapshots go, and the files that nobody needs then
    Expire,
    /// Files in the table's folders go that nothing refers to, at the second look
    Orphans,
    /// The same of metadata files alone
    OldMetadata,
    /// Manifests are written anew by partition, where planning pays for it
    Manifests,
    /// Statistics of partitions, on request alone
    Statistics,
}

impl UpkeepKind {
    pub(super) fn looks_around(self) -> bool {
        matches!(self, Self::Orphans | Self::OldMetadata)
    }
}

#[derive(Debug, Args)]
pub(crate) struct MaintainArguments {
    #[command(flatten)]
    pub(crate) table: TableArgument,

    /// The kind of work [default: expire]
    #[arg(long, value_name = "KIND")]
    pub(crate) only: Option<UpkeepKind>,

    #[command(flatten)]
    pub(crate) ages: AgeArguments,

    /// Delete so many files at most; the next run goes on
    #[arg(long, value_name = "N")]
    pub(crate) max_files: Option<u64>,

    /// Delete so much at most; the next run goes on
    #[arg(long, value_name = "BYTES", value_parser = amounts::bytes)]
    pub(crate) max_bytes: Option<Bytes>,

    /// Begin no deletion after that time, as in 5m; the next run goes on
    #[arg(long, value_name = "TIME", value_parser = amounts::duration)]
    pub(crate) max_time: Option<Duration>,
}

/// How old it must be.
#[derive(Debug, Args)]
pub(crate) struct AgeArguments {
    /// Only what is older than this goes, as in 5d, instead of what the table's properties say: snapshots (branches with an
    /// age of their own keep to it), or files that nothing refers to (24h at the least)
    #[arg(long, value_name = "AGE", value_parser = amounts::age)]
    pub(crate) older_than: Option<Duration>,

    /// Keep snapshots younger than this whatever is asked for: somebody may read them, or write on them
    #[arg(long, value_name = "AGE", value_parser = amounts::age, default_value = "1h")]
    pub(crate) keep_younger_than: Duration,

    /// The UUID of a dropped table that lay in the same folders, and of which nothing is needed: what it left may go. May be
    /// given several times
    #[arg(long, value_name = "UUID")]
    pub(crate) dropped: Vec<String>,
}
