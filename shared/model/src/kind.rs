//! What a process is for. All kinds have one life (protocols.md, section 3); they differ in what their tasks do and in who
//! may do it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The kind of a process.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessKind {
    /// Data files, or their delete files, are written anew. Also the look at a table that is to tell which of them.
    #[default]
    Rewrite,
    /// Manifests are clustered and merged.
    Manifests,
    /// Snapshots are let go of, with the files that nobody needs then.
    Expire,
    /// Files under the table's location that no state of it ever names are deleted.
    Orphans,
    /// Partitions or rows that are older than the table wants are taken out.
    AgeOut,
    /// Tags are made, and taken away when their time is over.
    Tags,
    /// Statistics are written for query planners.
    Statistics,
}

impl ProcessKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Rewrite,
        Self::Manifests,
        Self::Expire,
        Self::Orphans,
        Self::AgeOut,
        Self::Tags,
        Self::Statistics,
    ];

    /// Its name in rows, settings and commands.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rewrite => "rewrite",
            Self::Manifests => "manifests",
            Self::Expire => "expire",
            Self::Orphans => "orphans",
            Self::AgeOut => "age-out",
            Self::Tags => "tags",
            Self::Statistics => "statistics",
        }
    }

    /// Whether its tasks delete files, and so are done by nobody but who may.
    pub const fn deletes(self) -> bool {
        matches!(self, Self::Expire | Self::Orphans)
    }
}

impl fmt::Display for ProcessKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no kind has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is no kind of process that this version knows")]
pub struct UnknownKind(pub String);

impl FromStr for ProcessKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let named = Self::ALL.into_iter().find(|kind| kind.name() == text);
        named.ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_by_its_name() {
        for kind in ProcessKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{kind}\""), "one name everywhere");
        }
        assert_eq!(
            "vacuum".parse::<ProcessKind>(),
            Err(UnknownKind("vacuum".to_owned()))
        );
    }
}
