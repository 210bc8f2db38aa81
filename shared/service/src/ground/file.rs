//! What `icepress.toml` says beside its catalogs: one struct that names every section there is.

use icepress_catalog::config::{Configuration, ConfigurationError, unknown_field};
use icepress_coordination::limits::Limits;
use icepress_planner::PlanDefaults;
use serde::{Deserialize, de::IgnoredAny};

use super::{maintain::MaintainDefaults, mode::Modes};

/// The sections of `icepress.toml`. One that is none of them is an error, and so is a key that its section does not
/// know: a budget with a letter too few would hold nobody, without a word.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSettings {
    /// `[limits.…]`: quotas, maintenance windows and priorities.
    #[serde(default)]
    pub limits: Limits,
    /// `[plan]`: how tables are planned whose properties don't say.
    #[serde(default)]
    pub plan: PlanDefaults,
    /// `[maintain]`: which upkeep is done by itself beside rewrites.
    #[serde(default)]
    pub maintain: MaintainDefaults,
    /// `mode`, or `[mode]`: which tables are only observed.
    #[serde(default)]
    pub mode: Modes,
    /// `[catalog.…]` is taken out before, by whoever reads catalogs. It stands here so that a misspelt one is told.
    #[serde(default, rename = "catalog")]
    _catalog: IgnoredAny,
}

impl FileSettings {
    /// Reads them. The error names section and key, and the nearest right name.
    pub fn read(configuration: &Configuration) -> Result<Self, ConfigurationError> {
        Self::deserialize(configuration.settings.clone()).map_err(|error| {
            // "unknown field …", and in the next line "in `limits.catalog.default`".
            let text = error.to_string();
            let path = text.lines().find_map(|line| line.strip_prefix("in `"));
            ConfigurationError::Setting {
                origin: configuration.settings_origin.clone(),
                key: path
                    .map_or("the file", |path| path.trim_end_matches('`'))
                    .to_owned(),
                message: unknown_field(error.message())
                    .unwrap_or_else(|| error.message().to_owned()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use icepress_catalog::config::{SourceFile, Sources, load_configuration};

    use super::*;

    fn read(toml: &str) -> Result<FileSettings, String> {
        let sources = Sources {
            icepress: Some(SourceFile {
                path: "icepress.toml".into(),
                content: toml.to_owned(),
            }),
            ..Sources::default()
        };
        let configuration = load_configuration(&sources).unwrap();
        FileSettings::read(&configuration).map_err(|error| error.to_string())
    }

    #[test]
    fn sections_and_keys_that_nothing_reads_are_named_with_the_nearest_right_name() {
        for (toml, expected) in [
            (
                "[limit.catalog.default]\npriority = 3",
                &["icepress.toml", "`limit`", "'limits'"][..],
            ),
            (
                "[catalogs.lake]\ntype = 'glue'",
                &["`catalogs`", "'catalog'"],
            ),
            ("[catalgo.lake]\ntype = 'glue'", &["`catalgo`", "'catalog'"]),
            ("[runs]\nthreads = 2", &["`runs`", "limits", "catalog"]),
            ("max-dollars-a-month = 3", &["`max-dollars-a-month`"]),
            (
                "[limits.catalog.default]\nmax-dollar-a-month = 3",
                &[
                    "limits.catalog.default",
                    "`max-dollar-a-month`",
                    "'max-dollars-a-month'",
                ],
            ),
            (
                "[limits.databse.\"default.f\"]\npriority = 3",
                &["limits", "`databse`", "'database'"],
            ),
            (
                "[plan]\nmin-input-file = 3",
                &["plan", "`min-input-file`", "'min-input-files'"],
            ),
            (
                "[plan.catalog.default]\nmax-group-byte = 3",
                &["plan.catalog.default", "'max-group-bytes'"],
            ),
            (
                "[plan.database.\"default.f\"]\nmin-input-files = 1",
                &["[plan.database.\"default.f\"]", "min-input-files"],
            ),
            (
                "[limits.catalog.default]\npriority = 'high'",
                &["limits.catalog.default.priority"],
            ),
            (
                "mode = 'observ'",
                &["icepress.toml: mode", "'observ'", "'observe'"],
            ),
            (
                "[mode.catlog]\ndefault = 'observe'",
                &["mode", "`catlog`", "'catalog'"],
            ),
            (
                "[mode.catalog]\ndefault = 'of'",
                &["mode", "'of'", "observe or maintain"],
            ),
        ] {
            let error = read(toml).unwrap_err();
            for part in expected {
                assert!(error.contains(part), "{part} in {error}");
            }
        }
    }

    #[test]
    fn what_is_known_is_read() {
        let read = read("[catalog.a]\ntype = 'glue'\n[limits.catalog.a]\npriority = 7").unwrap();
        let table = "a.b.c".parse().unwrap();
        assert_eq!(read.limits.configured(&table).priority, 7);
        let read_mode = super::tests::read("mode = 'observe'").unwrap().mode;
        assert_eq!(read_mode.of_name(&table).mode, crate::Mode::Observe);
        let read =
            super::tests::read("[plan]\nmin-input-files = 6\nlight-rewrites = false").unwrap();
        let options = read
            .plan
            .of(&icepress_planner::PlanOptions::default(), &table);
        let options = options.unwrap();
        assert!(!options.light_rewrites && options.min_input_files == 6);
    }
}
