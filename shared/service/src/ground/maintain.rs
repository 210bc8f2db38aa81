//! Which upkeep is done by itself, beside rewrites: `[maintain]` in `icepress.toml`, and tables' own properties.
//!
//! Nobody is to lose a snapshot by surprise, so all of it is off until somebody switches it on, for all tables, for those of a
//! catalog or a database, or for one: the nearest wins.

use std::collections::{BTreeMap, HashMap};

use icepress_model::{CatalogName, DatabaseId, Namespace, ProcessKind, Scope, TableId};
use icepress_planner::InvalidProperty;
use serde::Deserialize;

/// What is switched on where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct MaintainDefaults {
    everywhere: Switches,
    by_scope: BTreeMap<Scope, Switches>,
}

/// The kinds of upkeep that can be switched on, each where somebody says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Switches {
    /// Snapshots are expired.
    expire: Option<bool>,
    /// Recovery points are made, and taken away when their time is over.
    tags: Option<bool>,
    /// Rows that are too old go.
    age_out: Option<bool>,
    /// Manifests are written anew.
    manifests: Option<bool>,
    /// Statistics of partitions are counted.
    statistics: Option<bool>,
}

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    expire: Option<bool>,
    tags: Option<bool>,
    age_out: Option<bool>,
    manifests: Option<bool>,
    statistics: Option<bool>,
    #[serde(default)]
    catalog: BTreeMap<String, Switches>,
    #[serde(default)]
    database: BTreeMap<String, Switches>,
}

impl TryFrom<Written> for MaintainDefaults {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let mut by_scope = BTreeMap::new();
        for (name, switches) in written.catalog {
            by_scope.insert(Scope::Catalog(CatalogName(name)), switches);
        }
        for (name, switches) in written.database {
            let (catalog, namespace) = name
                .split_once('.')
                .ok_or_else(|| format!("'{name}' is no database: write it as catalog.namespace"))?;
            let database = DatabaseId {
                catalog: CatalogName::from(catalog),
                namespace: Namespace::from_dotted(namespace),
            };
            by_scope.insert(Scope::Database(database), switches);
        }
        Ok(Self {
            everywhere: Switches {
                expire: written.expire,
                tags: written.tags,
                age_out: written.age_out,
                manifests: written.manifests,
                statistics: written.statistics,
            },
            by_scope,
        })
    }
}

impl Switches {
    fn of(self, kind: ProcessKind) -> Option<bool> {
        match kind {
            ProcessKind::Expire => self.expire,
            ProcessKind::Tags => self.tags,
            ProcessKind::AgeOut => self.age_out,
            ProcessKind::Manifests => self.manifests,
            ProcessKind::Statistics => self.statistics,
            ProcessKind::Rewrite | ProcessKind::Orphans => None,
        }
    }
}

impl MaintainDefaults {
    /// Whether upkeep of a kind is switched on for a table with these properties.
    pub fn is_on(
        &self,
        kind: ProcessKind,
        table: &TableId,
        properties: &HashMap<String, String>,
    ) -> Result<bool, InvalidProperty> {
        let property = format!("icepress.maintain.{kind}");
        if let Some(value) = properties.get(&property) {
            return match value.trim().to_ascii_lowercase().as_str() {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(InvalidProperty {
                    whose: format!("table {table}"),
                    property,
                    value: value.clone(),
                    shape: "true or false".to_owned(),
                }),
            };
        }
        let of_scopes = Scope::around(table).into_iter().rev();
        let nearest = of_scopes
            .filter_map(|scope| self.by_scope.get(&scope)?.of(kind))
            .next();
        Ok(nearest.or(self.everywhere.of(kind)).unwrap_or(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_on(toml: &str, property: Option<&str>) -> Result<bool, String> {
        let read: MaintainDefaults = toml::from_str(toml).map_err(|error| error.to_string())?;
        let table: TableId = "lake.sales.orders".parse().unwrap();
        let properties =
            property.map(|value| ("icepress.maintain.expire".to_owned(), value.to_owned()));
        let on = read.is_on(
            ProcessKind::Expire,
            &table,
            &properties.into_iter().collect(),
        );
        on.map_err(|error| error.to_string())
    }

    #[test]
    fn the_nearest_that_says_anything_decides_and_off_is_the_default() {
        for (toml, property, expected) in [
            ("", None, false),
            ("expire = true", None, true),
            ("expire = true\n[catalog.lake]\nexpire = false", None, false),
            (
                "[catalog.lake]\n[database.'lake.sales']\nexpire = true",
                None,
                true,
            ),
            ("[database.'lake.other']\nexpire = true", None, false),
            ("expire = true", Some("false"), false),
            ("", Some(" True "), true),
        ] {
            assert_eq!(is_on(toml, property), Ok(expected), "{toml} {property:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_an_error_that_names_it() {
        for (toml, property, expected) in [
            ("expire = 'yes'", None, "expire"),
            ("expires = true", None, "expires"),
            ("[catalog.lake]\ntag = true", None, "tags"),
            ("age_out = true", None, "age-out"),
            ("manifest = true", None, "manifests"),
            ("statistic = true", None, "statistics"),
            ("[catalog.lake]\nexpires = true", None, "expires"),
            ("[database.lake]\nexpire = true", None, "no database"),
            ("", Some("yes"), "icepress.maintain.expire"),
        ] {
            let error = is_on(toml, property).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
