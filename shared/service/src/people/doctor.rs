//! Looking at everything that has to hold before tables are looked after: state, queues, schedulers, versions, catalogs,
//! and work that is kept back or got stuck. Each finding says what to do.

mod holds;
mod moving;
mod rowless;
mod versions;

use std::{collections::BTreeSet, time::Duration};

use icepress_coordination::{CoordinationError, Finding, Layout, TableRow, Watched};
use icepress_model::{BucketId, DatabaseId, TableId, TimestampMs};
use icepress_storage::{PutMode, WriteOptions};

use crate::{
    Context, OpenCatalog, VERSION,
    people::{
        block,
        processes::{AtWork, LOOKS_TOGETHER, Oldest, UnderWay},
    },
    scheduler::{elsewhere, evaluate},
};

/// Tables of a catalog that are tried until one can be read.
const TRIED: usize = 3;
/// Findings about single tables that are listed; more are counted.
const LISTED: usize = 20;

/// Looks at everything. Changes nothing but for one small object at the location of large plans, where there is one.
pub async fn examine(context: &Context) -> Vec<Finding> {
    let mut findings = context.store.examine().await;
    findings.extend(queues(context).await);
    findings.extend(payloads(context).await);
    for open in context.catalogs.iter() {
        findings.extend(catalog(context, open).await);
    }
    let mut parts = vec![
        running(context).await,
        schedulers(context).await.map(|finding| vec![finding]),
    ];
    parts.extend(tables(context).await);
    parts.extend(rowless::findings(context).await);
    // What can't be told hides nothing of the rest; one cause of many is told once.
    let mut failures = BTreeSet::new();
    for part in parts {
        match part {
            Ok(part) => findings.extend(part),
            Err(error) => drop(failures.insert(error.to_string())),
        }
    }
    let advice = "mend what is wrong above, then ask again";
    let failed = failures.into_iter();
    findings.extend(failed.map(|failure| Finding::wrong("state", failure, advice)));
    findings
}

/// One line for all queues that are well: there may be hundreds.
async fn queues(context: &Context) -> Vec<Finding> {
    use icepress_coordination::Severity;
    let mut well = 0;
    let mut findings = Vec::new();
    let all = match context.layout_seen().await {
        Ok(layout) => layout.swept(),
        // What is wrong with the state is told beside this.
        Err(_) => context.settings.buckets,
    };
    for bucket in all.all() {
        let seen = context
            .queue
            .examine(bucket, context.settings.claim_ttl)
            .await;
        if seen
            .iter()
            .all(|finding| finding.severity == Severity::Well)
        {
            well += 1;
        }
        let notable = seen
            .into_iter()
            .filter(|finding| finding.severity != Severity::Well);
        findings.extend(notable);
    }
    // Here all work is in the same queues.
    if let Some(cleaners) = context
        .cleaners
        .as_ref()
        .filter(|_| context.settings.hands_over)
    {
        let seen = cleaners
            .examine(BucketId(0), context.settings.claim_ttl)
            .await;
        let of_cleaner = |finding: Finding| Finding {
            subject: "queue of the cleaner".to_owned(),
            ..finding
        };
        findings.extend(seen.into_iter().map(of_cleaner));
    }
    if well > 0 {
        findings.insert(
            0,
            Finding::well("queues", format!("{well} of {all} are well")),
        );
    }
    findings
}

async fn payloads(context: &Context) -> Option<Finding> {
    let location = context.settings.payload_location.as_ref()?;
    let path = format!("{}/doctor", location.trim_end_matches('/'));
    let subject = format!("large plans at {location}");
    let written = context
        .payloads
        .put(
            &path,
            b"icepress doctor\n".as_slice().into(),
            PutMode::Overwrite,
            &WriteOptions::default(),
        )
        .await;
    Some(match written {
        Ok(_) => Finding::well(subject, "can be written"),
        Err(error) => Finding::wrong(
            subject,
            error.to_string(),
            "give the role the policy of infra/, or name another location",
        ),
    })
}

/// Lists a catalog and reads one table of it. A table that can't be read is a doubt about that table, and the next is tried.
async fn catalog(context: &Context, open: &OpenCatalog) -> Vec<Finding> {
    let catalog = &open.catalog;
    let subject = format!("catalog {}", catalog.name());
    let databases = match catalog.list_namespaces().await {
        Ok(namespaces) => namespaces,
        Err(error) => {
            let advice = "check its address, its region and the role's permissions";
            return vec![Finding::wrong(subject, error.to_string(), advice)];
        }
    };
    if databases.is_empty() {
        // Many a catalog answers so to whoever may see nothing, or asks for another warehouse.
        let advice = "if there should be some, check its warehouse, its catalog-name, and what the role may list";
        return vec![Finding::doubt(
            subject,
            "it shows no namespace at all",
            advice,
        )];
    }
    let mut findings = vec![Finding::well(
        &subject,
        format!("{} namespaces can be listed", databases.len()),
    )];
    let mut tried = 0;
    for namespace in databases {
        let database = DatabaseId {
            catalog: catalog.name().clone(),
            namespace,
        };
        match catalog.list_tables(&database, None).await {
            Ok(page) => {
                for listed in page.tables {
                    let (can_be_read, finding) = one_table(context, &subject, &listed.table).await;
                    findings.push(finding);
                    tried += 1;
                    if can_be_read || tried == TRIED {
                        return findings;
                    }
                }
            }
            Err(error) => findings.push(Finding::wrong(
                &subject,
                error.to_string(),
                "let the role list this database, or leave it out",
            )),
        }
    }
    findings
}

/// Whether a table's metadata and manifests can be read, by planning it.
async fn one_table(context: &Context, subject: &str, table: &TableId) -> (bool, Finding) {
    match evaluate::evaluate(context, table).await {
        Ok(_) => (
            true,
            Finding::well(subject, format!("table {table} can be read")),
        ),
        Err(error) => {
            let advice =
                "check that the role may read this table's files, and that the table is sound";
            let finding = Finding::doubt(format!("table {table}"), error.to_string(), advice);
            (false, finding)
        }
    }
}

/// Which versions are at work.
async fn running(context: &Context) -> Result<Vec<Finding>, CoordinationError> {
    let now = context.ambient.now();
    let rows = context.store.versions(now).await?;
    // Only functions hand plans over by a location.
    let is_deployed = context.settings.payload_location.is_some();
    Ok(versions::findings(&rows, VERSION, is_deployed, now))
}

/// Whether anybody sweeps the buckets.
async fn schedulers(context: &Context) -> Result<Finding, CoordinationError> {
    let settings = &context.settings;
    let now = context.ambient.now();
    let patience = settings.longest_rest * 2 + settings.lease_ttl + settings.lease_guard;
    let rows = context.store.buckets(settings.buckets).await?.rows;
    let neglected: Vec<String> = rows
        .iter()
        .filter(|row| now.since(row.last_swept_at) > patience)
        .map(|row| row.bucket.to_string())
        .collect();
    Ok(if neglected.is_empty() {
        Finding::well("schedulers", "every bucket was looked at lately")
    } else {
        Finding::doubt(
            "schedulers",
            format!(
                "nobody looked at {} of {} buckets for {}: {}",
                neglected.len(),
                rows.len(),
                lasting(patience),
                neglected.join(", ")
            ),
            "see that the schedule fires and the scheduler's log, or keep `icepress run` going",
        )
    })
}

/// What the rows of tables tell that somebody has to look at: those at rest, of which there may be any number, are not read.
async fn tables(context: &Context) -> Vec<Result<Vec<Finding>, CoordinationError>> {
    let now = context.ambient.now();
    let (layout, no_layout) = match context.layout_seen().await {
        Ok(layout) => (layout, None),
        Err(error) => (Layout::first(context.settings.buckets), Some(error)),
    };
    let (blockers, no_blockers) = match block::blockers(context).await {
        Ok(blockers) => (blockers, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let mut astray = moving::Astray::default();
    let mut held = holds::Held::new(blockers);
    let mut ailing = Ailing::default();
    let patience = context.settings.check_interval * 6;
    let mut stuck = Oldest::new(patience, LISTED);
    let mut at_work = Vec::new();
    let mut rows = Watched::new(&context.store, moving::buckets_to_search(&layout));
    loop {
        let row = match rows.next().await {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(error) => {
                let all = [no_layout, no_blockers, Some(error)];
                return all.into_iter().flatten().map(Err).collect();
            }
        };
        if let Ok(row) = &row {
            astray.add(&layout, row, now);
            held.add(row);
            at_work.extend(AtWork::of(row));
        }
        if at_work.len() == LOOKS_TOGETHER {
            stuck.add(context, std::mem::take(&mut at_work)).await;
        }
        ailing.add(context, row, now);
    }
    stuck.add(context, at_work).await;
    let buckets = match no_layout {
        Some(error) => Err(error),
        None => moving::findings(context, &layout, &astray, now).await,
    };
    let blockers = match no_blockers {
        None => Ok(held.blockers(now)),
        Some(error) => Err(error),
    };
    vec![
        buckets,
        blockers,
        held.quotas(context).await,
        Ok(ailing.findings()),
        Ok(of_processes(stuck.look_at_tasks(context).await)),
    ]
}

/// Tables that fail, that can't be read, or that are due and not looked at.
#[derive(Debug, Default)]
struct Ailing {
    /// All that were looked at.
    number: usize,
    /// What is wrong with the first of them.
    findings: Vec<Finding>,
    /// How many more there are.
    more: usize,
}

impl Ailing {
    fn add(
        &mut self,
        context: &Context,
        row: Result<TableRow, CoordinationError>,
        now: TimestampMs,
    ) {
        self.number += 1;
        let finding = match row {
            Ok(row) => of_row(context, &row, now),
            Err(error) => Some(Finding::wrong(
                "state of a table",
                error.to_string(),
                "remove that row: the table is looked at anew",
            )),
        };
        match finding {
            Some(_) if self.findings.len() >= LISTED => self.more += 1,
            finding => self.findings.extend(finding),
        }
    }

    fn findings(mut self) -> Vec<Finding> {
        if self.more > 0 {
            self.findings.push(Finding::doubt(
                "tables",
                format!("{} more fail or wait", self.more),
                "see `icepress tables --state failing,due,unreadable`",
            ));
        }
        if self.findings.is_empty() {
            self.findings.push(Finding::well(
                "tables",
                format!(
                    "of {} that are due, wait or are worked on, none fails or waits too long",
                    self.number
                ),
            ));
        }
        self.findings
    }
}

fn of_row(context: &Context, row: &TableRow, now: TimestampMs) -> Option<Finding> {
    let subject = format!("table {}", row.table);
    if row.failures > 0 {
        let why = row
            .conclusion
            .as_deref()
            .and_then(evaluate::failure_of_conclusion)
            .unwrap_or_else(|| "see its last processes".to_owned());
        return Some(Finding::doubt(
            subject,
            format!("failed {} times in a row: {why}", row.failures),
            format!("see `icepress explain {}`", row.table),
        ));
    }
    if let Some(reason) = elsewhere::never_ends_here(row) {
        return Some(Finding::doubt(
            subject,
            format!("an optimizer looks at it: {reason}"),
            "give the scheduler more memory (scheduler_memory_mb) or time, or expire snapshots and rewrite manifests",
        ));
    }
    let overdue = now.since(row.due_at?);
    let patience = context.settings.longest_rest;
    (row.active_process.is_none() && overdue > patience).then(|| {
        Finding::doubt(
            subject,
            format!("has been due for {}", lasting(overdue)),
            "see that the schedule fires, and that its catalog is configured",
        )
    })
}

/// Processes that are older than work of their kind should be, and those that can't be read.
fn of_processes(stuck: UnderWay) -> Vec<Finding> {
    let old = stuck.work.into_iter().map(|work| {
        Finding::doubt(
            format!("process {}", work.process),
            format!(
                "of table {} is {} old and waits for {}",
                work.table,
                lasting(work.age),
                work.waits_for
            ),
            format!(
                "see the optimizers' log, or `icepress cancel {}`",
                work.process
            ),
        )
    });
    let unread = stuck.unread.into_iter().map(|unread| {
        let advice = "see why the state store refuses that row; its table is free once it is gone";
        Finding::wrong("state of a process", unread, advice)
    });
    let mut findings: Vec<Finding> = old.chain(unread).collect();
    let more = stuck.more + stuck.more_unread;
    if more > 0 {
        findings.push(Finding::doubt(
            "processes",
            format!("{more} more are as old, or can't be read"),
            "see `icepress processes`",
        ));
    }
    findings
}

/// How long, for people.
fn lasting(time: Duration) -> String {
    match time.as_secs() / 60 {
        0 => format!("{} s", time.as_secs()),
        minutes if minutes < 120 => format!("{minutes} min"),
        minutes => format!("{} h", minutes / 60),
    }
}
