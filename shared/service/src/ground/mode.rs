//! Whether tables are worked on or only observed: `mode` in `icepress.toml`, `ICEPRESS_MODE`, and tables' own property
//! `icepress.mode`.
//!
//! A table that is observed is seen, evaluated and priced as any other, and nothing is begun by itself: what would be done stands
//! in its row. A mode is set for all tables, for those of catalogs, of databases, or by their names; names may have `*` and
//! `?` in them. The nearest wins, and a table's own property over all.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    str::FromStr,
};

use icepress_catalog::config::nearest;
use icepress_model::{Scope, TableId};
use icepress_planner::InvalidProperty;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor, value::MapAccessDeserializer},
};
use wildmatch::WildMatch;
use xxhash_rust::xxh3::xxh3_64;

#[cfg(test)]
mod tests;

/// The table property that sets the mode of one table.
const PROPERTY: &str = "icepress.mode";
/// The modes as they are written.
const NAMES: [&str; 2] = ["observe", "maintain"];

/// What becomes of a table for which there is something to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", try_from = "String")]
pub enum Mode {
    /// It stands in its row with its price, and that is all.
    Observe,
    /// It is done.
    #[default]
    Maintain,
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "observe" => Ok(Self::Observe),
            "maintain" => Ok(Self::Maintain),
            _ => Err(format!("'{text}' is no mode: {}", meant(text))),
        }
    }
}

/// What should stand there.
fn meant(text: &str) -> String {
    match nearest(text.trim(), NAMES) {
        Some(near) => format!("did you mean '{near}'?"),
        None => "it must be observe or maintain".to_owned(),
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Mode {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Observe => "observe",
            Self::Maintain => "maintain",
        })
    }
}

/// Who set the mode of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetBy {
    /// Nobody.
    Default,
    /// The mode of all tables.
    Everywhere,
    /// A name, of so much.
    Name {
        /// `catalog`, `database` or `table`.
        of: &'static str,
        /// As it is written.
        name: String,
    },
    /// The table's own property.
    Property,
}

impl fmt::Display for SetBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("by default"),
            Self::Everywhere => f.write_str("set for all tables"),
            Self::Name { of, name } => write!(f, "set for {of} '{name}'"),
            Self::Property => write!(f, "set by the table's property {PROPERTY}"),
        }
    }
}

/// The mode of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// The mode.
    pub mode: Mode,
    /// Who set it.
    pub set_by: SetBy,
}

/// All modes that are configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modes {
    everywhere: Option<Mode>,
    catalogs: BTreeMap<String, Mode>,
    databases: BTreeMap<String, Mode>,
    tables: BTreeMap<String, Mode>,
}

impl Modes {
    /// The mode of a table with these properties.
    pub fn of(
        &self,
        table: &TableId,
        properties: &HashMap<String, String>,
    ) -> Result<Ruling, InvalidProperty> {
        let Some(value) = properties.get(PROPERTY) else {
            return Ok(self.of_name(table));
        };
        let mode = value.parse().map_err(|_| InvalidProperty {
            whose: format!("table {table}"),
            property: PROPERTY.to_owned(),
            value: value.clone(),
            shape: match nearest(value.trim(), NAMES) {
                Some(near) => format!("observe or maintain: did you mean '{near}'?"),
                None => "observe or maintain".to_owned(),
            },
        })?;
        Ok(Ruling {
            mode,
            set_by: SetBy::Property,
        })
    }

    /// The mode of a table whose properties say nothing, or are not known.
    pub fn of_name(&self, table: &TableId) -> Ruling {
        let (mut databases, catalog) = (Vec::new(), table.catalog.to_string());
        for scope in Scope::around(table) {
            if let Scope::Database(database) = scope {
                databases.push(database.to_string());
            }
        }
        let nearest = [
            ("table", &self.tables, vec![table.to_string()]),
            ("database", &self.databases, databases),
            ("catalog", &self.catalogs, vec![catalog]),
        ];
        for (of, rules, names) in nearest {
            let fits = |pattern: &str| names.iter().any(|name| matches(pattern, name));
            let fitting = rules.iter().filter(|(pattern, _)| fits(pattern));
            if let Some((name, mode)) =
                fitting.max_by_key(|(pattern, mode)| weight(pattern, **mode))
            {
                return Ruling {
                    mode: *mode,
                    set_by: SetBy::Name {
                        of,
                        name: name.clone(),
                    },
                };
            }
        }
        match self.everywhere {
            Some(mode) => Ruling {
                mode,
                set_by: SetBy::Everywhere,
            },
            None => Ruling {
                mode: Mode::default(),
                set_by: SetBy::Default,
            },
        }
    }

    /// Another number for each other set of modes; `None` where none of them is to observe.
    pub(crate) fn fingerprint(&self) -> Option<u64> {
        let named = [&self.catalogs, &self.databases, &self.tables];
        let mut modes = named.into_iter().flat_map(BTreeMap::values);
        let observes =
            self.everywhere == Some(Mode::Observe) || modes.any(|mode| *mode == Mode::Observe);
        observes.then(|| xxh3_64(format!("{self:?}").as_bytes()))
    }
}

/// Of several names that fit, the one that says most counts: one without wildcards, else the one with the most letters. Of two
/// that say as much, the one that begins nothing.
fn weight(pattern: &str, mode: Mode) -> (bool, usize, bool) {
    let is_wild = |letter: &char| matches!(letter, '*' | '?');
    let letters = pattern.chars().filter(|letter| !is_wild(letter)).count();
    let is_whole = letters == pattern.chars().count();
    (is_whole, letters, mode == Mode::Observe)
}

/// Whether a name is of this form: `*` stands for any letters or none, `?` for one.
fn matches(pattern: &str, name: &str) -> bool {
    WildMatch::new(pattern).matches(name)
}

/// The section as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    default: Option<Mode>,
    #[serde(default)]
    catalog: BTreeMap<String, Mode>,
    #[serde(default)]
    database: BTreeMap<String, Mode>,
    #[serde(default)]
    table: BTreeMap<String, Mode>,
}

impl TryFrom<Written> for Modes {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let check = |names: &BTreeMap<String, Mode>, dots: usize, problem: &str| {
            let is_short = |name: &&String| !name.contains('*') && name.matches('.').count() < dots;
            names.keys().find(is_short).map_or(Ok(()), |name| {
                Err(format!(
                    "'{name}' is no {problem}, with * and ? for what may be anything"
                ))
            })
        };
        check(
            &written.database,
            1,
            "database: write it as catalog.namespace",
        )?;
        check(
            &written.table,
            2,
            "table: write it as catalog.namespace.table",
        )?;
        Ok(Self {
            everywhere: written.default,
            catalogs: written.catalog,
            databases: written.database,
            tables: written.table,
        })
    }
}

/// One mode for all, or a section of them.
impl<'de> Deserialize<'de> for Modes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Modes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "observe, maintain, or a section with default, catalog, database and table",
                )
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Modes, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Modes, A::Error> {
                let written = Written::deserialize(MapAccessDeserializer::new(map))?;
                written.try_into().map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl FromStr for Modes {
    type Err = String;

    /// From one word, for all tables.
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self {
            everywhere: Some(text.parse()?),
            ..Self::default()
        })
    }
}
