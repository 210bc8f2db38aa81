//! What is set about limits: by configuration for catalogs, databases and tables, and by a table's own properties.

use std::collections::{BTreeMap, HashMap};

use icepress_model::{Bytes, CatalogName, DatabaseId, NanoDollars, Scope, TableId};
use serde::Deserialize;
use thiserror::Error;

use super::{Quota, Windows};

/// Priorities go from minus this to this.
pub const MAX_PRIORITY: i32 = 100;

/// What is set for one scope. The names are those of the table properties, without `icepress.` before them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ScopeLimits {
    /// `max-concurrent-tasks`: tasks of processes under way.
    pub max_concurrent_tasks: Option<u32>,
    /// `max-bytes-a-day`: bytes that rewrites begun on one day read.
    pub max_bytes_a_day: Option<u64>,
    /// `max-dollars-a-month`: what rewrites begun in one month cost.
    pub max_dollars_a_month: Option<f64>,
    /// `priority`: the higher comes first; 0 where nothing is set.
    pub priority: Option<i32>,
    /// `maintenance-window`: when processes may start.
    pub maintenance_window: Option<Windows>,
}

/// A limit that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{whose}: {name} is '{value}': {shape}")]
pub struct InvalidLimit {
    /// Whose limit.
    pub whose: String,
    /// Its name.
    pub name: String,
    /// What it is set to.
    pub value: String,
    /// What it should be.
    pub shape: String,
}

/// All limits that are configured, as `{"catalog": {NAME: …}, "database": {CATALOG.NAMESPACE: …}, "table":
/// {CATALOG.NAMESPACE.TABLE: …}}`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Limits {
    by_scope: BTreeMap<Scope, ScopeLimits>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    catalog: BTreeMap<String, ScopeLimits>,
    #[serde(default)]
    database: BTreeMap<String, ScopeLimits>,
    #[serde(default)]
    table: BTreeMap<String, ScopeLimits>,
}

impl TryFrom<Written> for Limits {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let mut by_scope = BTreeMap::new();
        for (name, limits) in written.catalog {
            by_scope.insert(Scope::Catalog(CatalogName(name)), limits);
        }
        for (name, limits) in written.database {
            let database: DatabaseId = name.parse().map_err(|error| format!("{error}"))?;
            by_scope.insert(Scope::Database(database), limits);
        }
        for (name, limits) in written.table {
            let table: TableId = name.parse().map_err(|error| format!("{error}"))?;
            by_scope.insert(Scope::Table(table), limits);
        }
        for (scope, limits) in &by_scope {
            limits
                .check(&scope.to_string())
                .map_err(|error| error.to_string())?;
        }
        Ok(Self { by_scope })
    }
}

impl ScopeLimits {
    fn check(&self, whose: &str) -> Result<(), InvalidLimit> {
        let wrong = |name: &str, value: String, shape: &str| {
            Err(InvalidLimit {
                whose: whose.to_owned(),
                name: name.to_owned(),
                value,
                shape: shape.to_owned(),
            })
        };
        if let Some(priority) = self
            .priority
            .filter(|priority| priority.abs() > MAX_PRIORITY)
        {
            let shape = format!("it must be a whole number from -{MAX_PRIORITY} to {MAX_PRIORITY}");
            return wrong("priority", priority.to_string(), &shape);
        }
        match self.max_dollars_a_month {
            Some(dollars) if !(0.0..1e9).contains(&dollars) => wrong(
                "max-dollars-a-month",
                dollars.to_string(),
                "it must be a number of dollars, 0 or more",
            ),
            _ => Ok(()),
        }
    }

    fn quota(&self) -> Quota {
        Quota {
            tasks: self.max_concurrent_tasks,
            bytes_a_day: self.max_bytes_a_day.map(Bytes),
            cost_a_month: self.max_dollars_a_month.map(NanoDollars::from_dollars),
        }
    }

    /// What a table's own properties set.
    fn of_properties(
        table: &TableId,
        properties: &HashMap<String, String>,
    ) -> Result<Self, InvalidLimit> {
        fn read<T: std::str::FromStr>(
            table: &TableId,
            properties: &HashMap<String, String>,
            name: &str,
            shape: impl FnOnce(T::Err) -> String,
        ) -> Result<Option<T>, InvalidLimit> {
            let name = format!("icepress.{name}");
            let Some(value) = properties.get(&name) else {
                return Ok(None);
            };
            value
                .trim()
                .parse()
                .map(Some)
                .map_err(|error| InvalidLimit {
                    whose: format!("table {table}"),
                    name,
                    value: value.clone(),
                    shape: shape(error),
                })
        }
        let limits = Self {
            max_concurrent_tasks: read(table, properties, "max-concurrent-tasks", |_| {
                "it must be a number, 0 or more".to_owned()
            })?,
            max_bytes_a_day: read(table, properties, "max-bytes-a-day", |_| {
                "it must be a number of bytes, 0 or more".to_owned()
            })?,
            max_dollars_a_month: read(table, properties, "max-dollars-a-month", |_| {
                "it must be a number of dollars, 0 or more".to_owned()
            })?,
            priority: read(table, properties, "priority", |_| {
                format!("it must be a whole number from -{MAX_PRIORITY} to {MAX_PRIORITY}")
            })?,
            maintenance_window: read(
                table,
                properties,
                "maintenance-window",
                |error: super::InvalidWindow| error.to_string(),
            )?,
        };
        limits.check(&format!("table {table}"))?;
        Ok(limits)
    }

    /// Where `nearer` says nothing, this.
    fn under(&self, nearer: &Self) -> Self {
        Self {
            max_concurrent_tasks: nearer.max_concurrent_tasks.or(self.max_concurrent_tasks),
            max_bytes_a_day: nearer.max_bytes_a_day.or(self.max_bytes_a_day),
            max_dollars_a_month: nearer.max_dollars_a_month.or(self.max_dollars_a_month),
            priority: nearer.priority.or(self.priority),
            maintenance_window: nearer
                .maintenance_window
                .clone()
                .or_else(|| self.maintenance_window.clone()),
        }
    }
}

/// What holds for one table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableLimits {
    /// Its priority: of the nearest scope that sets one.
    pub priority: i32,
    /// Its window: of the nearest scope that sets one.
    pub window: Option<Windows>,
    /// The quotas of every scope that it lies in, the widest first.
    pub quotas: Vec<(Scope, Quota)>,
}

impl Limits {
    /// Every quota that is configured, with its scope.
    pub fn quotas(&self) -> impl Iterator<Item = (Scope, Quota)> + '_ {
        let quotas = self.by_scope.iter();
        let quotas = quotas.map(|(scope, limits)| (scope.clone(), limits.quota()));
        quotas.filter(|(_, quota)| !quota.is_unlimited())
    }

    /// What the configuration alone says of a table.
    pub fn configured(&self, table: &TableId) -> TableLimits {
        self.with(table, &ScopeLimits::default())
    }

    /// What holds for a table with these properties. They go before what is configured for the very table, name by name.
    pub fn of(
        &self,
        table: &TableId,
        properties: &HashMap<String, String>,
    ) -> Result<TableLimits, InvalidLimit> {
        Ok(self.with(table, &ScopeLimits::of_properties(table, properties)?))
    }

    fn with(&self, table: &TableId, own: &ScopeLimits) -> TableLimits {
        let none = ScopeLimits::default();
        let mut nearest = ScopeLimits::default();
        let mut quotas = Vec::new();
        for scope in Scope::around(table) {
            let mut limits = self.by_scope.get(&scope).unwrap_or(&none).clone();
            if matches!(scope, Scope::Table(_)) {
                limits = limits.under(own);
            }
            let quota = limits.quota();
            if !quota.is_unlimited() {
                quotas.push((scope, quota));
            }
            nearest = nearest.under(&limits);
        }
        TableLimits {
            priority: nearest.priority.unwrap_or(0),
            window: nearest.maintenance_window,
            quotas,
        }
    }
}

#[cfg(test)]
mod tests;
