//! Which upkeep is done by itself, beside rewrites: `[maintain]` in `icepress.toml`, and tables' own properties.
//!
//! Nobody is to lose a snapshot by surprise, so all of it is off until somebody switches it on, for all tables, for those of a
//! catalog or a database, or for one: the nearest wins.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use icepress_model::{CatalogName, DatabaseId, ProcessKind, Scope, TableId};
use icepress_planner::InvalidProperty;
use icepress_upkeep::{NO_INVENTORY, ORPHAN_FLOOR, duration_of};
use serde::Deserialize;

/// What is switched on where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct MaintainDefaults {
    everywhere: Switches,
    by_scope: BTreeMap<Scope, Switches>,
}

/// The kinds of upkeep that can be switched on, each where somebody says so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
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
    /// Files that nothing refers to are deleted.
    orphans: Option<bool>,
    /// How often they are looked for.
    orphans_every: Option<Every>,
    /// The inventory that tells of all files.
    orphans_inventory: Option<Inventory>,
    /// Whether files are marked before they go.
    orphans_quarantine: Option<bool>,
}

/// Where S3 writes an inventory, or `off`, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Inventory(String);

impl TryFrom<String> for Inventory {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text == NO_INVENTORY || text.starts_with("s3://") {
            true => Ok(Self(text)),
            false => Err(format!(
                "'{text}' must be where S3 writes an inventory, as in s3://bucket/prefix/source-bucket/configuration, or \
                 {NO_INVENTORY}"
            )),
        }
    }
}

/// How often something is done, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Every(Duration);

/// How often files that nothing refers to are looked for where nobody says.
const ORPHANS_EVERY: Duration = Duration::from_secs(7 * 24 * 3600);
/// The property that says it of one table.
const ORPHANS_EVERY_PROPERTY: &str = "icepress.maintain.orphans-every";
const ORPHANS_EVERY_SHAPE: &str = "24h or more, as in 7d";

impl TryFrom<String> for Every {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // More often is for nothing: what was found must be a day old when it goes.
        let every = duration_of(&text).filter(|every| *every >= ORPHAN_FLOOR);
        let every = every.ok_or_else(|| format!("'{text}' must be {ORPHANS_EVERY_SHAPE}"))?;
        Ok(Self(every))
    }
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
    orphans: Option<bool>,
    orphans_every: Option<Every>,
    orphans_inventory: Option<Inventory>,
    orphans_quarantine: Option<bool>,
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
            let database: DatabaseId = name.parse().map_err(|error| format!("{error}"))?;
            by_scope.insert(Scope::Database(database), switches);
        }
        Ok(Self {
            everywhere: Switches {
                expire: written.expire,
                tags: written.tags,
                age_out: written.age_out,
                manifests: written.manifests,
                statistics: written.statistics,
                orphans: written.orphans,
                orphans_every: written.orphans_every,
                orphans_inventory: written.orphans_inventory,
                orphans_quarantine: written.orphans_quarantine,
            },
            by_scope,
        })
    }
}

impl Switches {
    fn of(&self, kind: ProcessKind) -> Option<bool> {
        match kind {
            ProcessKind::Expire => self.expire,
            ProcessKind::Tags => self.tags,
            ProcessKind::AgeOut => self.age_out,
            ProcessKind::Manifests => self.manifests,
            ProcessKind::Statistics => self.statistics,
            ProcessKind::Orphans => self.orphans,
            ProcessKind::Rewrite => None,
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
        let on = self.nearest(table, |switches| switches.of(kind));
        Ok(on.unwrap_or(false))
    }

    /// How often a table with these properties is searched for files that nothing refers to.
    pub fn orphans_every(
        &self,
        table: &TableId,
        properties: &HashMap<String, String>,
    ) -> Result<Duration, InvalidProperty> {
        if let Some(value) = properties.get(ORPHANS_EVERY_PROPERTY) {
            let every = Every::try_from(value.trim().to_owned());
            return every.map(|every| every.0).map_err(|_| InvalidProperty {
                whose: format!("table {table}"),
                property: ORPHANS_EVERY_PROPERTY.to_owned(),
                value: value.clone(),
                shape: ORPHANS_EVERY_SHAPE.to_owned(),
            });
        }
        let every = self.nearest(table, |switches| switches.orphans_every);
        Ok(every.map_or(ORPHANS_EVERY, |every| every.0))
    }

    /// Where S3 writes the inventory that tells what lies in the table's folders, unless its properties say otherwise; `None`
    /// where they are listed.
    pub fn orphans_inventory(&self, table: &TableId) -> Option<String> {
        let said = self.nearest(table, |switches| switches.orphans_inventory.clone());
        said.map(|said| said.0).filter(|it| it != NO_INVENTORY)
    }

    /// Whether a table's files are marked before they go, unless its properties say otherwise.
    pub fn orphans_quarantine(&self, table: &TableId) -> bool {
        let said = self.nearest(table, |switches| switches.orphans_quarantine);
        said.unwrap_or(false)
    }

    /// What the nearest says that says anything.
    fn nearest<T>(&self, table: &TableId, says: impl Fn(&Switches) -> Option<T>) -> Option<T> {
        let of_scopes = Scope::around(table).into_iter().rev();
        let mut said = of_scopes.filter_map(|scope| says(self.by_scope.get(&scope)?));
        said.next().or_else(|| says(&self.everywhere))
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
            ("orphan = true", None, "orphans"),
            ("orphans-every = '7'", None, "'7' must be 24h or more"),
            ("[catalog.lake]\norphans-every = '23h'", None, "'23h'"),
            ("[catalog.lake]\nexpires = true", None, "expires"),
            ("[database.lake]\nexpire = true", None, "no database"),
            ("", Some("yes"), "icepress.maintain.expire"),
        ] {
            let error = is_on(toml, property).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn folders_are_listed_once_a_week_or_as_the_nearest_says() {
        let every = |toml: &str, property: Option<&str>| {
            let read: MaintainDefaults = toml::from_str(toml).unwrap();
            let table: TableId = "lake.sales.orders".parse().unwrap();
            let property =
                property.map(|text| (ORPHANS_EVERY_PROPERTY.to_owned(), text.to_owned()));
            let every = read.orphans_every(&table, &property.into_iter().collect());
            every.map_err(|error| error.to_string())
        };
        let days = |days: u64| Ok(Duration::from_secs(days * 24 * 3600));
        assert_eq!(every("", None), days(7));
        let scoped = "orphans-every = '2d'\n[database.'lake.sales']\norphans-every = '4w'";
        assert_eq!(every(scoped, None), days(28));
        assert_eq!(every(scoped, Some("24h")), days(1));
        let error = every("", Some("1h")).unwrap_err();
        assert!(error.contains(ORPHANS_EVERY_PROPERTY), "{error}");
    }

    #[test]
    fn the_nearest_says_what_orphans_are_told_by_and_whether_they_are_marked() {
        let table: TableId = "lake.sales.orders".parse().unwrap();
        for (toml, inventory, quarantine) in [
            ("", None, false),
            (
                "orphans-inventory = 's3://i/lake/all'\norphans-quarantine = true",
                Some("s3://i/lake/all"),
                true,
            ),
            (
                "orphans-inventory = 's3://i/a'\n[catalog.lake]\norphans-inventory = 'off'",
                None,
                false,
            ),
            (
                "[database.'lake.sales']\norphans-inventory = 's3://i/b'",
                Some("s3://i/b"),
                false,
            ),
        ] {
            let read: MaintainDefaults = toml::from_str(toml).unwrap();
            assert_eq!(
                read.orphans_inventory(&table).as_deref(),
                inventory,
                "{toml}"
            );
            assert_eq!(read.orphans_quarantine(&table), quarantine, "{toml}");
        }
        let wrong = toml::from_str::<MaintainDefaults>("orphans-inventory = '/i'");
        assert!(
            wrong
                .unwrap_err()
                .to_string()
                .contains("s3://bucket/prefix")
        );
    }
}
