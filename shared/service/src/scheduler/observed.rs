//! Tables that are only observed: what would be done for one, and what that would cost, as its row has it.
//!
//! Nothing is begun for such a table, and the row is at rest until the table changes. Once its mode says otherwise a census
//! marks it ([`super::census`]): what would have been done is planned anew then, on what the table is by then.

use std::{collections::BTreeMap, fmt, sync::Arc};

use icepress_coordination::{Conclusion, CoordinationError, Lease, TableRow};
use icepress_model::{
    Bytes, DeleteContent, Group, LeftAloneReason, NanoDollars, ProcessKind, TablePlan, Tier,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    conclusion::{entry, with_entry},
    evaluate, limits,
    upkeep::{Due, Verdict},
};
use crate::{Context, Event, Mode, Ruling, SetBy, Settings, ground::words::several};

#[cfg(test)]
mod tests;

/// The entry of a table's conclusion that says what would be done.
const OBSERVED: &str = "observed";
/// The entry that says which mode the table's own properties set, where they do.
const MODE: &str = "mode";

/// What would be done for a table that is only observed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Groups of the plan, and so tasks.
    pub groups: u64,
    /// Data files that they read.
    pub files: u64,
    /// Bytes that they read: what would be rewritten.
    pub bytes: Bytes,
    /// Delete files that apply to them.
    pub delete_files: u64,
    /// What that would cost, reckoned as quotas are.
    pub price: NanoDollars,
    /// About how much less the table would have: delete files, and rows that are deleted by their positions. It is free once the
    /// snapshots before have expired.
    pub frees: Bytes,
    /// Data files that have their turn in a later plan, since this one was full.
    #[serde(default)]
    pub later_files: u64,
    /// Their bytes.
    #[serde(default)]
    pub later_bytes: Bytes,
    /// Kinds of upkeep that are due besides, in the order in which they would be done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub due: Vec<ObservedUpkeep>,
}

/// A kind of upkeep that is due for such a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedUpkeep {
    /// Its kind.
    pub kind: ProcessKind,
    /// What it would cost.
    pub price: NanoDollars,
    /// What it would free.
    pub frees: Bytes,
}

impl ObservedUpkeep {
    fn of(due: &Due) -> Self {
        Self {
            kind: due.kind,
            price: due.worth.costs,
            frees: due.worth.frees,
        }
    }
}

impl Observed {
    /// Of a plan, and of the upkeep that is due.
    fn new(context: &Context, plan: &TablePlan, verdict: &Verdict) -> Self {
        let mut deletes = BTreeMap::new();
        for delete in plan.groups.iter().flat_map(|group| &group.deletes) {
            deletes.insert(&delete.path, delete.size);
        }
        let full = plan.left_alone.iter();
        let later = full.filter(|left| left.reason == LeftAloneReason::PlanFull);
        let (later_files, later_bytes) = later.fold((0, Bytes::ZERO), |(files, bytes), left| {
            (files + left.files, bytes + left.bytes)
        });
        Self {
            groups: plan.groups.len() as u64,
            files: plan.groups.iter().map(|it| it.inputs.len() as u64).sum(),
            bytes: plan.groups.iter().map(Group::bytes_to_read).sum(),
            delete_files: deletes.len() as u64,
            price: limits::reckoned(context, &plan.groups).cost,
            frees: freed(&plan.groups),
            later_files,
            later_bytes,
            due: verdict.due.iter().map(ObservedUpkeep::of).collect(),
        }
    }

    /// What a row says of it; `None` where the table was not observed when it was looked at last.
    pub fn of(row: &TableRow) -> Option<Self> {
        serde_json::from_value(entry(row, OBSERVED)?).ok()
    }

    /// The kinds of upkeep that are due, for people.
    pub fn kinds(&self) -> String {
        let kinds: Vec<&str> = self.due.iter().map(|upkeep| upkeep.kind.name()).collect();
        kinds.join(", ")
    }

    /// Whether there is anything that would be done.
    pub fn has_work(&self) -> bool {
        self.groups > 0 || !self.due.is_empty()
    }

    /// What all of it would cost, but for later plans.
    pub fn whole_price(&self) -> NanoDollars {
        let prices = self.due.iter().map(|upkeep| upkeep.price);
        prices.fold(self.price, |sum, price| sum + price)
    }

    /// What all of it would free.
    pub fn all_freed(&self) -> Bytes {
        let frees = self.due.iter().map(|upkeep| upkeep.frees);
        frees.fold(self.frees, |sum, bytes| sum + bytes)
    }
}

impl fmt::Display for Observed {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.has_work() {
            return f.write_str("observed: nothing would be done");
        }
        f.write_str("observed: would ")?;
        if self.groups > 0 {
            let (files, deletes) = (several(self.files, "file"), self.delete_files);
            write!(f, "rewrite {} in {files}", self.bytes)?;
            if deletes > 0 {
                write!(f, " with {}", several(deletes, "delete file"))?;
            }
        }
        if !self.due.is_empty() {
            let and = if self.groups > 0 { " and " } else { "" };
            write!(f, "{and}run {}", self.kinds())?;
        }
        write!(
            f,
            " for {}, and free {}",
            self.whole_price(),
            self.all_freed()
        )?;
        if self.later_files > 0 {
            let files = several(self.later_files, "file");
            write!(f, "; {} in {files} come after that", self.later_bytes)?;
        }
        Ok(())
    }
}

/// About how much less the table would have. Nobody knows before how many rows deletes by value hit; what one file of deletes
/// says of several data files is counted where all of it is applied.
fn freed(groups: &[Group]) -> Bytes {
    let mut deletes = BTreeMap::new();
    let mut rows = Bytes::ZERO;
    for group in groups {
        match group.tier {
            Tier::Full => rows += rows_freed(group),
            Tier::Dangling => {}
            // Others take the place of its delete files, of about that size.
            Tier::Light => continue,
        }
        let sizes = group.deletes.iter().map(|it| (&it.path, it.size));
        deletes.extend(sizes);
    }
    rows + deletes.into_values().sum()
}

fn rows_freed(group: &Group) -> Bytes {
    let by_position = |content: &DeleteContent| match content {
        DeleteContent::Position | DeleteContent::Vector { .. } => true,
        DeleteContent::Equality { .. } => false,
    };
    let deletes = group.deletes.iter().filter(|it| by_position(&it.content));
    let all = group.input_rows().get().max(1);
    let deleted = deletes.map(|it| it.rows.get()).sum::<u64>().min(all);
    let bytes = u128::from(group.input_bytes().get()) * u128::from(deleted) / u128::from(all);
    Bytes(u64::try_from(bytes).unwrap_or(u64::MAX))
}

/// Writes down what would be done, and begins nothing. `conclusion` is what was concluded else.
pub(super) async fn conclude(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
    plan: Arc<TablePlan>,
    verdict: &Verdict,
    conclusion: Conclusion,
) -> Result<(), CoordinationError> {
    let observed = Observed::new(context, &plan, verdict);
    let conclusion = Conclusion {
        text: with_entry(Some(&conclusion.text), OBSERVED, json!(observed)),
        failures: 0,
        ..conclusion
    };
    context.store.conclude(lease, row, &conclusion).await?;
    let table = row.table.clone();
    context.tell(match evaluate::refusal(&plan) {
        Some(reason) => Event::Refused { table, reason },
        None => Event::Observed {
            table,
            plan,
            observed,
        },
    });
    Ok(())
}

/// A conclusion that says which mode the table's own properties set.
pub(super) fn with_mode(text: String, ruling: &Ruling) -> String {
    match ruling.set_by {
        SetBy::Property => with_entry(Some(&text), MODE, json!(ruling.mode)),
        SetBy::Default | SetBy::Everywhere | SetBy::Name { .. } => text,
    }
}

/// The mode of a table, as far as its row tells: what its own properties said when it was looked at last, else what is
/// configured now.
pub fn mode_of_row(settings: &Settings, row: &TableRow) -> Mode {
    let own = entry(row, MODE).and_then(|mode| serde_json::from_value(mode).ok());
    own.unwrap_or_else(|| settings.modes.of_name(&row.table).mode)
}

/// Whether there was something to do for a table that was only observed, and is not any more.
pub(crate) fn is_released(context: &Context, row: &TableRow) -> bool {
    Observed::of(row).is_some_and(|observed| observed.has_work())
        && mode_of_row(&context.settings, row) == Mode::Maintain
}
