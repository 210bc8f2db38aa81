//! What can be typed: the command line as types.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use icepress_model::{Bytes, SnapshotId};
use icepress_service::VerifyRows;
use icepress_upkeep::restore::SchemaChoice;

pub(crate) use self::upkeep::{AgeArguments, MaintainArguments, UpkeepKind};
use crate::render::known::{SortBy, State};

mod amounts;
mod shapes;
mod upkeep;

#[cfg(test)]
mod tests;

/// Keeps Apache Iceberg tables healthy, with no cluster to run.
#[derive(Debug, Parser)]
#[command(name = "icepress", version = icepress_service::VERSION, max_term_width = 110, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Catalogs come from icepress.toml, or as they are from PyIceberg's own configuration (.pyiceberg.yaml in PYICEBERG_HOME, \
the working directory or the home directory; PYICEBERG_CATALOG__NAME__KEY).

A TABLE is namespace.table in the chosen catalog, or catalog.namespace.table.

Exit codes: 0 all well, 1 some table failed (the others were done), 2 wrong use or configuration.";

/// The id of the short form of --state-file.
const STATE: &str = "state";

impl Arguments {
    /// All that can be typed. Every command but `tables` takes --state for --state-file, and so does what stands before any
    /// command: it is none of the options that a command hands down, or the states that `tables` takes would hide the file.
    pub(crate) fn whole_command() -> clap::Command {
        with_state(Self::command())
    }

    /// Reads a command line; the error is for people, and says how to end.
    pub(crate) fn read<I, T>(line: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<std::ffi::OsString> + Clone,
    {
        let matches = Self::whole_command().try_get_matches_from(line)?;
        let mut arguments = Self::from_arg_matches(&matches)?;
        let mut file = state_of(&matches);
        if let Command::Tables(wanted) = &mut arguments.command {
            file = wanted.tell_states().or(file);
        }
        let global = &mut arguments.global;
        global.state_file = global.state_file.take().or(file);
        // Options of which one stands before the command and one behind it are not compared by clap.
        if global.deployed && (global.state_file.is_some() || global.config.is_some()) {
            let message = "--deployed has its own state and catalogs: it can't be used with --state-file or --config";
            let conflict = clap::error::ErrorKind::ArgumentConflict;
            return Err(Self::whole_command().error(conflict, message));
        }
        Ok(arguments)
    }
}

fn with_state(command: clap::Command) -> clap::Command {
    let own = command.get_name() == "tables";
    let command = command.mut_subcommands(with_state);
    if own {
        return command;
    }
    let state = clap::Arg::new(STATE).long("state").value_name("FILE");
    command.arg(state.value_parser(clap::value_parser!(PathBuf)).hide(true))
}

/// The file named by --state, wherever it stands; the last one.
fn state_of(matches: &clap::ArgMatches) -> Option<PathBuf> {
    let here = matches.try_get_one::<PathBuf>(STATE).ok().flatten();
    let below = matches
        .subcommand()
        .and_then(|(_, matches)| state_of(matches));
    below.or_else(|| here.cloned())
}

/// Options that every command knows.
#[derive(Debug, Clone, Args)]
pub(crate) struct GlobalArguments {
    /// The catalog to work on [default: PyIceberg's default-catalog, else the one called default]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) catalog: Option<String>,

    /// Icepress's own configuration [default: ICEPRESS_CONFIG, else ./icepress.toml if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Where Icepress remembers what it saw and did; --state FILE says the same, but for `tables`, whose --state is its own
    /// [default: ICEPRESS_STATE, else state.db in the user's state directory]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) state_file: Option<PathBuf>,

    /// Work on a deployed Icepress: state, queues and catalogs as the functions' own variables name them
    /// (ICEPRESS_STATE_TABLE and so on: `terraform output environment`)
    #[arg(long, global = true, conflicts_with_all = ["state_file", "config"])]
    pub(crate) deployed: bool,

    /// Print one JSON document on the standard output, and nothing else there
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Say more on the standard error; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    /// File groups rewritten at the same time [default: the number of processors]
    #[arg(long, global = true, value_name = "N", value_parser = amounts::threads)]
    pub(crate) threads: Option<usize>,

    /// Memory that one file group's rewrite may take, as in 512MiB
    #[arg(long, global = true, value_name = "BYTES", value_parser = amounts::bytes, default_value = "512MiB")]
    pub(crate) memory: Bytes,

    /// Of which file groups the rows are read once more and compared before they are committed: off, sample (one group
    /// in sixteen) or all. A table's property icepress.verify-rows goes before it
    #[arg(long, global = true, value_name = "WHICH", default_value = "sample")]
    pub(crate) verify_rows: VerifyRows,
}

impl GlobalArguments {
    /// File groups to rewrite at the same time.
    pub(crate) fn threads(&self) -> usize {
        self.threads
            .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
            .unwrap_or(1)
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make three real tables in a temporary folder, compact them, and show that the rows are the same
    #[command(after_long_help = shapes::DEMO)]
    Demo(DemoArguments),
    /// Compact whatever needs it: for ever, or once
    #[command(after_long_help = shapes::RUN)]
    Run(RunArguments),
    /// List the catalog's tables with what is known of them
    #[command(after_long_help = shapes::TABLES)]
    Tables(TablesArguments),
    /// Show what a run would do to a table, and change nothing
    #[command(after_long_help = shapes::PLAN)]
    Plan(PlanArguments),
    /// Compact one table now, whether it is due or not
    #[command(after_long_help = shapes::COMPACT)]
    Compact(CompactArguments),
    /// Say what would be rewritten, for how much, by what was seen when tables were looked at last: of those that are only observed
    #[command(after_long_help = shapes::REPORT)]
    Report(ReportArguments),
    /// Say what a catalog's tables cost a month for nothing, and which work would free it
    #[command(after_long_help = shapes::WASTE)]
    Waste(WasteArguments),
    /// Keep a table tidy: make its recovery points, let go of rows that are too old, expire its old snapshots with the files that
    /// nobody needs then; or find those that nothing refers to
    #[command(after_long_help = shapes::MAINTAIN)]
    Maintain(MaintainArguments),
    /// Set a table back to an earlier state: show what that undoes, ask, and do it by one commit that can be undone
    #[command(after_long_help = shapes::RESTORE)]
    Restore(RestoreArguments),
    /// Say why a table is as it is: its health, what was done, and why the rest was left alone
    #[command(after_long_help = shapes::EXPLAIN)]
    Explain(TableArgument),
    /// Compare the rows of two snapshots by count and an order-free hash
    #[command(after_long_help = shapes::VERIFY)]
    Verify(VerifyArguments),
    /// Say what a table's manifests have wrong of sound files, and commit what can be mended
    #[command(after_long_help = shapes::REPAIR)]
    Repair(RepairArguments),
    /// List the processes under way, and what each waits for
    #[command(after_long_help = shapes::PROCESSES)]
    Processes(ProcessesArguments),
    /// Give up a process under way; what it wrote stays unused, and its table is free
    #[command(after_long_help = shapes::CANCEL)]
    Cancel(CancelArguments),
    /// Keep Icepress from a table, a database or a catalog for a time: nothing is started or committed there
    #[command(after_long_help = shapes::BLOCK)]
    Block(BlockArguments),
    /// Take a blocker away before its end
    #[command(after_long_help = shapes::UNBLOCK)]
    Unblock(UnblockArguments),
    /// List who blocks what, and until when
    #[command(after_long_help = shapes::BLOCKERS)]
    Blockers,
    /// Look whether everything is as it should be, and say what to do where it is not
    #[command(after_long_help = shapes::DOCTOR)]
    Doctor,
    /// Bring back tasks that failed too often
    #[command(after_long_help = shapes::REDRIVE)]
    Redrive,
    /// Show into how many buckets the tables are shared out, or change that while everything goes on
    #[command(after_long_help = shapes::BUCKETS)]
    Buckets(BucketsArguments),
    /// Print a completion script for a shell
    Completions(CompletionsArguments),
}

#[derive(Debug, Args)]
pub(crate) struct TableArgument {
    /// The table: namespace.table or catalog.namespace.table
    #[arg(value_name = "TABLE")]
    pub(crate) table: String,
}

#[derive(Debug, Args)]
pub(crate) struct TablesArguments {
    /// Only tables in or below this namespace of the chosen catalog
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) database: Option<String>,

    /// Only tables in these states, with commas between: new, due, working, failing, waiting, refused, observed, settled,
    /// unreadable.
    /// (Anything else is taken for the file of --state-file)
    #[arg(long = "state", value_name = "STATE")]
    named: Vec<String>,

    /// The states among them.
    #[arg(skip)]
    pub(crate) states: Vec<State>,

    /// Which come first: by name, or the least healthy, those with most files, bytes, delete files or failures
    #[arg(long, value_name = "BY", default_value = "name")]
    pub(crate) sort: SortBy,

    /// So many tables at most, 0 for all [default: all; 100 on a terminal, and where they are not sorted by name]
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,

    /// Go on behind this table: what the page before named at its end
    #[arg(long, value_name = "KEY")]
    pub(crate) after: Option<String>,
}

impl TablesArguments {
    /// Tells the meanings of its --state apart: names of states are states, anything else is the state file. Returns the
    /// file.
    fn tell_states(&mut self) -> Option<PathBuf> {
        let mut file = None;
        for named in std::mem::take(&mut self.named) {
            let names = named.split(',').map(|name| State::from_str(name, true));
            match names.collect::<Result<Vec<State>, _>>() {
                Ok(states) => self.states.extend(states),
                Err(_) => file = Some(PathBuf::from(named)),
            }
        }
        file
    }
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Keep the tables, and say how to open them with PyIceberg
    #[arg(long)]
    pub(crate) keep: bool,

    /// Make the tables in this folder, which must be empty or not exist yet, and keep them
    #[arg(long, value_name = "DIR")]
    pub(crate) warehouse: Option<PathBuf>,

    /// Make the tables and leave the rest to you: nothing is compacted
    #[arg(long, requires = "warehouse")]
    pub(crate) no_run: bool,

    /// The rows follow from this number
    #[arg(long, value_name = "N", default_value_t = 20_261_122)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// End when nothing is due any more
    #[arg(long)]
    pub(crate) once: bool,

    /// The rest between two rounds, as in 30s, 5m or 1h
    #[arg(long, value_name = "TIME", value_parser = amounts::duration, default_value = "60s", conflicts_with = "once")]
    pub(crate) interval: Duration,

    /// Tell metrics to who asks for http://ADDRESS/metrics, in the text that Prometheus reads, as in 127.0.0.1:9464. Whoever reaches the
    /// address may ask [default: nobody]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics: Option<SocketAddr>,

    /// Only these tables; all of the catalog where none is given
    #[arg(value_name = "TABLE")]
    pub(crate) tables: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    pub(crate) table: TableArgument,

    /// The kind of work [default: rewrite]
    #[arg(long, value_name = "KIND")]
    pub(crate) only: Option<PlanKind>,

    #[command(flatten)]
    pub(crate) ages: AgeArguments,
}

/// What is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanKind {
    /// New files for many small ones
    Rewrite,
    /// Which tags `icepress maintain` would make and remove
    Tags,
    /// Which files `icepress maintain` would let go of, since all their rows are too old
    AgeOut,
    /// What `icepress maintain` would expire and delete
    Expire,
    /// What nothing refers to in the table's folders
    Orphans,
    /// Metadata files that left the table's log, or never were in it
    OldMetadata,
    /// Which manifests `icepress maintain` would write anew, and why
    Manifests,
    /// Whether `icepress maintain` would write statistics of partitions
    Statistics,
}

impl PlanKind {
    /// Whether other tables have to be asked where they lie.
    fn looks_around(self) -> bool {
        matches!(self, Self::Orphans | Self::OldMetadata)
    }
}

impl Command {
    /// Whether other tables have to be asked where they lie, those of all catalogs that are configured.
    pub(crate) fn looks_around(&self) -> bool {
        match self {
            Self::Plan(wanted) => wanted.only.is_some_and(PlanKind::looks_around),
            Self::Maintain(wanted) => wanted.only.is_some_and(UpkeepKind::looks_around),
            Self::Waste(wanted) => !wanted.no_listing,
            _ => false,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// Only tables in or below this namespace of the chosen catalog
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) database: Option<String>,

    /// So many tables at most, those with most to rewrite, 0 for all
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct WasteArguments {
    /// The catalog [default: as of --catalog]
    #[arg(value_name = "CATALOG")]
    pub(crate) name: Option<String>,

    /// List no folders: files that nothing refers to, and folders of no table, are not looked for
    #[arg(long)]
    pub(crate) no_listing: bool,

    /// End with code 1 where more dollars a month are wasted than these
    #[arg(long, value_name = "DOLLARS", value_parser = amounts::dollars)]
    pub(crate) fail_over: Option<f64>,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArguments {
    #[command(flatten)]
    pub(crate) table: TableArgument,

    /// A tag or branch, a snapshot's number, or a moment: 2026-11-30, 2026-11-30T12:00, 2026-11-30T12:00:00+01:00 (in UTC
    /// where no zone is named)
    #[arg(long, value_name = "TAG|SNAPSHOT|TIME")]
    pub(crate) to: String,

    /// The branch that is set back
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) branch: String,

    /// Do it without asking; with --json nothing is done without this
    #[arg(long)]
    pub(crate) yes: bool,

    /// How long the state that is left is kept, under a tag of its own
    #[arg(long, value_name = "AGE", value_parser = amounts::duration, default_value = "7d")]
    pub(crate) keep: Duration,

    /// Which schema the table is to have: the one that it has (keep), the snapshot's (snapshot), or one by its id
    #[arg(long, value_name = "WHICH", value_parser = amounts::schema, default_value = "keep")]
    pub(crate) schema: SchemaChoice,
}

#[derive(Debug, Args)]
pub(crate) struct CompactArguments {
    #[command(flatten)]
    pub(crate) table: TableArgument,

    /// Rewrite files of a good size too
    #[arg(long)]
    pub(crate) all_files: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    #[command(flatten)]
    pub(crate) table: TableArgument,

    /// The snapshot to check [default: the one that the last rewrite made]
    #[arg(long, value_name = "ID", value_parser = amounts::snapshot)]
    pub(crate) snapshot: Option<SnapshotId>,

    /// The snapshot to compare it with [default: the other's parent]
    #[arg(long, value_name = "ID", value_parser = amounts::snapshot)]
    pub(crate) against: Option<SnapshotId>,
}

#[derive(Debug, Args)]
pub(crate) struct RepairArguments {
    #[command(flatten)]
    pub(crate) table: TableArgument,

    /// Commit what can be repaired; without this nothing is changed
    #[arg(long, visible_alias = "yes")]
    pub(crate) apply: bool,

    /// List files once that are listed more than once. Readers read their rows as often now, so this changes what they see
    #[arg(long)]
    pub(crate) drop_duplicates: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ProcessesArguments {
    /// Only of this table
    #[arg(value_name = "TABLE")]
    pub(crate) table: Option<String>,

    /// So many processes at most, the oldest of them, 0 for all
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct CancelArguments {
    /// The process, as `icepress processes` shows it
    #[arg(value_name = "PROCESS")]
    pub(crate) process: String,

    /// Why, for those who look at the table's past
    #[arg(long, value_name = "TEXT", default_value = "cancelled by hand")]
    pub(crate) reason: String,
}

/// What is blocked.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ScopeArguments {
    /// A table: namespace.table or catalog.namespace.table
    #[arg(value_name = "TABLE")]
    pub(crate) table: Option<String>,

    /// All tables in or below this namespace of the chosen catalog
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) database: Option<String>,

    /// All tables of the chosen catalog
    #[arg(long)]
    pub(crate) whole_catalog: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BlockArguments {
    #[command(flatten)]
    pub(crate) scope: ScopeArguments,

    /// How long, as in 30m or 2h: it ends by itself then
    #[arg(long = "for", value_name = "TIME", value_parser = amounts::duration)]
    pub(crate) time: Duration,

    /// Who blocks: an engine's job, a person. Another blocker of the same owner takes the place of this one
    #[arg(long, value_name = "NAME")]
    pub(crate) owner: String,

    /// Why, for those who wonder
    #[arg(long, value_name = "TEXT", default_value = "no reason given")]
    pub(crate) reason: String,

    /// Return only when no commit is under way any more that began before
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UnblockArguments {
    #[command(flatten)]
    pub(crate) scope: ScopeArguments,

    /// Whose blocker
    #[arg(long, value_name = "NAME")]
    pub(crate) owner: String,
}

#[derive(Debug, Args)]
pub(crate) struct BucketsArguments {
    #[command(subcommand)]
    pub(crate) command: Option<BucketsCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BucketsCommand {
    /// Share the tables out into so many buckets from now on
    #[command(after_long_help = shapes::BUCKETS_RESIZE)]
    Resize {
        /// The number. Deployed, each bucket needs its queue: apply Terraform first where it grows, afterwards where it
        /// shrinks
        #[arg(value_name = "N")]
        number: NonZeroU32,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}
