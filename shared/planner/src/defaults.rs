//! Defaults of what tables can set about plans: for all tables, for those of a catalog, for those of a database.
//!
//! They stand in `icepress.toml` as `[plan]`, `[plan.catalog.NAME]` and `[plan.database."catalog.namespace"]`, under the
//! names of the table properties without `icepress.`. The nearest wins, and a table's own properties win over all.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use icepress_model::{CatalogName, DatabaseId, Scope, TableId};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};

use crate::{InvalidProperty, PlanOptions};

#[cfg(test)]
mod tests;

/// What can be set.
const NAMES: [&str; 13] = [
    "enabled",
    "target-file-size-bytes",
    "min-input-files",
    "delete-ratio-threshold",
    "delete-file-threshold",
    "light-rewrites",
    "max-group-bytes",
    "max-group-files",
    "max-plan-bytes",
    "max-plan-files",
    "max-plan-groups",
    "verify-rows",
    "merge-pages",
];
/// The same, and the kinds of scope that it can be set for.
const SECTION: [&str; 15] = {
    let mut section = ["catalog"; 15];
    let mut place = 0;
    while place < NAMES.len() {
        section[place] = NAMES[place];
        place += 1;
    }
    section[NAMES.len()] = "database";
    section
};

/// All defaults that are configured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlanDefaults {
    everywhere: HashMap<String, String>,
    by_scope: BTreeMap<Scope, HashMap<String, String>>,
}

impl PlanDefaults {
    /// `base` with what is configured for a table in its place. Its own properties are not looked at.
    pub fn of(&self, base: &PlanOptions, table: &TableId) -> Result<PlanOptions, InvalidProperty> {
        self.within(base, &Scope::around(table))
    }

    /// `base` with what is configured for any of `scopes`, the widest first.
    fn within(&self, base: &PlanOptions, scopes: &[Scope]) -> Result<PlanOptions, InvalidProperty> {
        let mut options = base.under(&|| "[plan]".to_owned(), &self.everywhere)?;
        for scope in scopes {
            if let Some(properties) = self.by_scope.get(scope) {
                options = options.under(&|| section_of(scope), properties)?;
            }
        }
        Ok(options)
    }

    fn check(&self) -> Result<(), InvalidProperty> {
        let defaults = PlanOptions::default();
        self.within(&defaults, &[])?;
        for scope in self.by_scope.keys() {
            let mut scopes = vec![scope.clone()];
            if let Scope::Database(database) = scope {
                scopes.insert(0, Scope::Catalog(database.catalog.clone()));
            }
            self.within(&defaults, &scopes)?;
        }
        Ok(())
    }
}

/// The section that sets something for a scope, as it is written.
fn section_of(scope: &Scope) -> String {
    match scope {
        Scope::Catalog(catalog) => format!("[plan.catalog.{catalog}]"),
        Scope::Database(database) => format!("[plan.database.\"{database}\"]"),
        Scope::Table(table) => format!("table {table}"),
    }
}

impl<'de> Deserialize<'de> for PlanDefaults {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read: Self = deserializer.deserialize_map(Everything)?;
        read.check().map_err(D::Error::custom)?;
        Ok(read)
    }
}

/// Reads the whole section.
struct Everything;

impl<'de> Visitor<'de> for Everything {
    type Value = PlanDefaults;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("defaults of plans")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PlanDefaults, A::Error> {
        let mut read = PlanDefaults::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "catalog" => {
                    let of: BTreeMap<String, OfScope> = map.next_value()?;
                    let scopes = of
                        .into_iter()
                        .map(|(name, of)| (Scope::Catalog(CatalogName(name)), of.0));
                    read.by_scope.extend(scopes);
                }
                "database" => {
                    let of: BTreeMap<String, OfScope> = map.next_value()?;
                    for (name, of) in of {
                        let database: DatabaseId = name.parse().map_err(A::Error::custom)?;
                        read.by_scope.insert(Scope::Database(database), of.0);
                    }
                }
                name if NAMES.contains(&name) => {
                    let Scalar(value) = map.next_value()?;
                    read.everywhere.insert(format!("icepress.{name}"), value);
                }
                name => return Err(A::Error::unknown_field(name, &SECTION)),
            }
        }
        Ok(read)
    }
}

/// What is set for one scope.
struct OfScope(HashMap<String, String>);

impl<'de> Deserialize<'de> for OfScope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read: BTreeMap<String, Scalar> = Deserialize::deserialize(deserializer)?;
        let mut properties = HashMap::new();
        for (name, Scalar(value)) in read {
            if !NAMES.contains(&name.as_str()) {
                return Err(D::Error::unknown_field(&name, &NAMES));
            }
            properties.insert(format!("icepress.{name}"), value);
        }
        Ok(Self(properties))
    }
}

/// A number, a truth value or a text, as a table property would have it.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, true or false, or a text")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
                Ok(Scalar(value.to_owned()))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
