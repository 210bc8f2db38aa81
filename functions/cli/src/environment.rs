//! What the command reads from its environment, once, at start.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use crate::failure::Failure;

#[cfg(test)]
mod tests;

/// The environment, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    /// `ICEPRESS_STATE`: the state file.
    pub(crate) state: Option<PathBuf>,
    /// `XDG_STATE_HOME`: where a user's state lies.
    pub(crate) state_home: Option<PathBuf>,
    /// `HOME`.
    pub(crate) home: Option<PathBuf>,
    /// `ICEPRESS_LOG`: what to log, in place of `-v`, as in `icepress_service=debug`.
    pub(crate) log: Option<String>,
    /// The working directory.
    pub(crate) working_directory: PathBuf,
    /// Every variable that is valid text: what catalogs are configured with has names of the user's own in it.
    pub(crate) variables: BTreeMap<String, String>,
}

impl Environment {
    /// Reads the process's environment.
    pub(crate) fn read() -> Result<Self, Failure> {
        let working_directory = env::current_dir().map_err(|error| {
            Failure::Use(format!("the working directory can't be found: {error}"))
        })?;
        Ok(Self::from_variables(env::vars_os(), working_directory))
    }

    fn from_variables(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        working_directory: PathBuf,
    ) -> Self {
        let variables: BTreeMap<OsString, OsString> = variables.into_iter().collect();
        let path = |name: &str| {
            variables
                .get(&OsString::from(name))
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        Self {
            state: path("ICEPRESS_STATE"),
            state_home: path("XDG_STATE_HOME"),
            home: path("HOME"),
            log: path("ICEPRESS_LOG").map(|text| text.to_string_lossy().into_owned()),
            working_directory,
            variables: variables
                .iter()
                .filter_map(|(name, value)| Some((name.to_str()?.into(), value.to_str()?.into())))
                .collect(),
        }
    }

    /// The state file: the one asked for, else the variable's, else `icepress/state.db` in the user's state directory.
    pub(crate) fn state_file(&self, asked_for: Option<&Path>) -> Result<PathBuf, Failure> {
        let users_own = || {
            // The XDG specification: a relative path is invalid and is to be ignored.
            let state_home = self.state_home.clone().filter(|path| path.is_absolute());
            state_home.or_else(|| Some(self.home.as_ref()?.join(".local/state")))
        };
        asked_for
            .map(Path::to_path_buf)
            .or_else(|| self.state.clone())
            .or_else(|| users_own().map(|folder| folder.join("icepress/state.db")))
            .ok_or_else(|| {
                Failure::Use(
                    "there is no place for the state: set HOME, or name a file with --state or ICEPRESS_STATE"
                        .to_owned(),
                )
            })
    }
}
