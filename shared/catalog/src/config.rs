//! Configuration: which catalogs there are, from `icepress.toml` or from what PyIceberg is configured with.
//!
//! The files and the environment are read once, by [`Sources::read`]; [`load_configuration`] is a pure function of what
//! was read. Property names are Iceberg's own. Keys of AWS are found by `aws-config`'s chain unless a catalog names its own (`keys`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::{Path, PathBuf},
};

use icepress_model::CatalogName;
use thiserror::Error;

mod keys;
mod known;
mod nearest;
mod places;
mod properties;
mod pyiceberg;
mod references;
mod s3;
mod values;

pub use nearest::{nearest, unknown, unknown_field};
pub use properties::{CatalogKind, CatalogProperties};
pub use references::SecretReference;

/// The file that configures Icepress itself.
const ICEPRESS_FILE: &str = "icepress.toml";
/// The file that configures PyIceberg.
const PYICEBERG_FILE: &str = ".pyiceberg.yaml";
/// Names [`ICEPRESS_FILE`] where it doesn't lie in the working directory.
const ICEPRESS_FILE_VARIABLE: &str = "ICEPRESS_CONFIG";

/// A configuration that can't be used: where it is wrong, and what it should look like.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigurationError {
    /// A file can't be read or isn't what it should be.
    #[error("{}: {message}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A setting is missing or wrong.
    #[error("{origin}: {key}: {message}")]
    Setting {
        /// The file, or the environment.
        origin: String,
        /// The setting.
        key: String,
        /// What is wrong, and what it should look like.
        message: String,
    },
    /// There is no such catalog.
    #[error("no catalog '{name}' is configured: {known}")]
    NoSuchCatalog {
        /// What was asked for.
        name: String,
        /// Which there are, or where they would be looked for.
        known: String,
    },
}

/// A file that was read.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it lies.
    pub path: PathBuf,
    /// What it says.
    pub content: String,
}

impl fmt::Debug for SourceFile {
    /// Without the content, which may have secrets in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("SourceFile");
        shown.field("path", &self.path).finish_non_exhaustive()
    }
}

/// Everything that configuration is made of.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// `icepress.toml`.
    pub icepress: Option<SourceFile>,
    /// PyIceberg's file.
    pub pyiceberg: Option<SourceFile>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
}

impl fmt::Debug for Sources {
    /// Without the environment's values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("icepress", &self.icepress)
            .field("pyiceberg", &self.pyiceberg)
            .field("environment", &self.environment.keys())
            .finish()
    }
}

impl Sources {
    /// Reads the files: `icepress_file`, or what `ICEPRESS_CONFIG` names, or `icepress.toml` of the working directory;
    /// and the first `.pyiceberg.yaml` of `PYICEBERG_HOME`, the home directory and the working directory, in that
    /// order, which is PyIceberg's.
    pub fn read(
        environment: BTreeMap<String, String>,
        working_directory: &Path,
        icepress_file: Option<&Path>,
    ) -> Result<Self, ConfigurationError> {
        let named = icepress_file
            .map(Path::to_owned)
            .or_else(|| environment.get(ICEPRESS_FILE_VARIABLE).map(PathBuf::from));
        let icepress = match named {
            Some(path) => Some(read_file(&path)?.ok_or_else(|| ConfigurationError::File {
                file: path,
                message: "there is no such file".to_owned(),
            })?),
            None => read_file(&working_directory.join(ICEPRESS_FILE))?,
        };
        let folders = ["PYICEBERG_HOME", "HOME"]
            .into_iter()
            .filter_map(|variable| environment.get(variable).map(PathBuf::from))
            .chain([working_directory.to_owned()]);
        let mut pyiceberg = None;
        for folder in folders {
            let file = read_file(&folder.join(PYICEBERG_FILE))?;
            // An empty one is passed over, as PyIceberg does.
            if let Some(file) = file.filter(|file| !file.content.trim().is_empty()) {
                pyiceberg = Some(file);
                break;
            }
        }
        Ok(Self {
            icepress,
            pyiceberg,
            environment,
        })
    }
}

fn read_file(path: &Path) -> Result<Option<SourceFile>, ConfigurationError> {
    match fs::read_to_string(path) {
        Ok(content) => Ok(Some(SourceFile {
            path: path.to_owned(),
            content,
        })),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(ConfigurationError::File {
            file: path.to_owned(),
            message: format!("it can't be read: {error}"),
        }),
    }
}

/// The configuration.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The catalogs, by name.
    pub catalogs: BTreeMap<CatalogName, CatalogProperties>,
    /// The catalog that is meant where none is named: PyIceberg's `default-catalog`, else `default`.
    pub default_catalog: CatalogName,
    /// Everything in `icepress.toml` that is not a catalog.
    pub settings: toml::Table,
    /// The file that the settings are from; empty where there is none.
    pub settings_origin: String,
    /// What is ignored, a line each, for people to see.
    pub warnings: Vec<String>,
}

impl Configuration {
    /// The catalog `name`, without regard to case where there's no exact match (PyIceberg has none). The error lists
    /// those that exist.
    pub fn catalog(&self, name: &str) -> Result<&CatalogProperties, ConfigurationError> {
        let exact = self.catalogs.get(&CatalogName::from(name));
        let alike = || {
            self.catalogs
                .values()
                .find(|catalog| catalog.name().as_str().eq_ignore_ascii_case(name))
        };
        exact.or_else(alike).ok_or_else(|| {
            let names: Vec<&str> = self.catalogs.keys().map(CatalogName::as_str).collect();
            let known = if names.is_empty() {
                format!(
                    "there is none at all; make {ICEPRESS_FILE} with a section [catalog.{name}], or configure PyIceberg \
                     ({PYICEBERG_FILE}, PYICEBERG_CATALOG__{}__URI)",
                    name.to_uppercase()
                )
            } else {
                format!("there are {}", names.join(", "))
            };
            ConfigurationError::NoSuchCatalog {
                name: name.to_owned(),
                known,
            }
        })
    }
}

/// Puts the configuration together. A catalog of `icepress.toml` hides PyIceberg's of the same name.
pub fn load_configuration(sources: &Sources) -> Result<Configuration, ConfigurationError> {
    let mut found = pyiceberg::catalogs(sources)?;
    let mut of_our_own = BTreeSet::new();
    let mut settings = toml::Table::new();
    let mut settings_origin = String::new();
    if let Some(file) = &sources.icepress {
        settings =
            file.content
                .parse()
                .map_err(|error: toml::de::Error| ConfigurationError::File {
                    file: file.path.clone(),
                    message: format!(
                        "it is not valid TOML: {}",
                        syntax_error(&error, &file.content)
                    ),
                })?;
        let origin = file.path.display().to_string();
        settings_origin.clone_from(&origin);
        for (name, values) in values::toml_catalogs(&origin, settings.remove("catalog"))? {
            found
                .catalogs
                .retain(|other, _| !other.eq_ignore_ascii_case(&name));
            of_our_own.insert(name.clone());
            found.catalogs.insert(name, (origin.clone(), values));
        }
    }
    let mut configuration = Configuration {
        catalogs: BTreeMap::new(),
        default_catalog: CatalogName(
            found
                .default_catalog
                .unwrap_or_else(|| "default".to_owned()),
        ),
        settings,
        settings_origin,
        warnings: found.warnings,
    };
    for (name, (origin, values)) in found.catalogs {
        let is_our_own = of_our_own.contains(&name);
        let name = CatalogName(name);
        let properties = CatalogProperties::new(name.clone(), origin, values);
        match is_our_own {
            true => properties.check_own()?,
            false => properties.check()?,
        }
        configuration.warnings.extend(properties.warnings());
        configuration.catalogs.insert(name, properties);
    }
    Ok(configuration)
}

/// What is wrong with a file, and where. Not the line itself, as the error would have it: there may be a secret in it.
fn syntax_error(error: &toml::de::Error, content: &str) -> String {
    let before = error.span().and_then(|span| content.get(..span.start));
    match before {
        None => error.message().to_owned(),
        Some(before) => {
            let line = before.matches('\n').count() + 1;
            let column = before
                .rsplit('\n')
                .next()
                .unwrap_or_default()
                .chars()
                .count()
                + 1;
            format!("line {line}, column {column}: {}", error.message())
        }
    }
}

#[cfg(test)]
mod tests;
