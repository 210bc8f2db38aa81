//! Identifiers: of tables, of what happens to them, and of who does it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The plain number.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The plain text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id! {
    /// A lease's fencing number: it grows with every change of a bucket's owner and never shrinks or repeats.
    Epoch(u64)
}
number_id! {
    /// An Iceberg snapshot.
    SnapshotId(i64)
}
number_id! {
    /// An Iceberg sequence number: the order of commits to one table.
    SequenceNumber(i64)
}
number_id! {
    /// The id of a row in a table of format version 3 (specification, *Row Lineage*).
    RowId(i64)
}
number_id! {
    /// An Iceberg schema of one table.
    SchemaId(i32)
}
number_id! {
    /// An Iceberg partition spec of one table.
    SpecId(i32)
}
number_id! {
    /// Which try at a task this is, from 1. Only the newest may report.
    Attempt(u32)
}
text_id! {
    /// The name under which a catalog is configured.
    CatalogName
}
text_id! {
    /// Where a table's `metadata.json` lies: the state of a table, as its catalog names it.
    MetadataLocation
}
text_id! {
    /// One maintenance run of one table. Part of the names of the files that it writes.
    ProcessId
}
text_id! {
    /// Who works: one function instance, or one thread of a process.
    WorkerId
}

impl ProcessId {
    /// A process id from a fresh UUID: 32 hexadecimal digits.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid.simple().to_string())
    }
}

/// One task of a process. There is one task for each group, so this names the group too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// The process it belongs to.
    pub process: ProcessId,
    /// Its number in the process, from 0: the index of its group in the plan.
    pub index: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:05}", self.process, self.index)
    }
}

/// A namespace: one or more levels, none of them empty. Written with dots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Namespace(pub Vec<String>);

impl Namespace {
    /// A namespace of the levels that dots separate in `text`.
    pub fn from_dotted(text: &str) -> Self {
        Self(text.split('.').map(str::to_owned).collect())
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// A database: one namespace of one catalog. What a census lists in one go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DatabaseId {
    /// The catalog.
    pub catalog: CatalogName,
    /// The namespace in it.
    pub namespace: Namespace,
}

impl fmt::Display for DatabaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.catalog, self.namespace)
    }
}

/// A table, by the name that people use: `catalog.namespace.table`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableId {
    /// The catalog.
    pub catalog: CatalogName,
    /// The namespace in it.
    pub namespace: Namespace,
    /// The table's own name.
    pub name: String,
}

impl TableId {
    /// The database that the table is in.
    pub fn database(&self) -> DatabaseId {
        DatabaseId {
            catalog: self.catalog.clone(),
            namespace: self.namespace.clone(),
        }
    }

    /// The name without the catalog: `namespace.table`.
    pub fn name_in_catalog(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.catalog, self.namespace, self.name)
    }
}

/// A database name that can't be one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is no database: write it as catalog.namespace")]
pub struct InvalidDatabase(pub String);

impl FromStr for DatabaseId {
    type Err = InvalidDatabase;

    /// Reads `catalog.namespace`; the namespace may have several levels.
    fn from_str(text: &str) -> Result<Self, InvalidDatabase> {
        let parts = text.split_once('.');
        let (catalog, namespace) = parts.ok_or_else(|| InvalidDatabase(text.to_owned()))?;
        Ok(Self {
            catalog: CatalogName::from(catalog),
            namespace: Namespace::from_dotted(namespace),
        })
    }
}

/// A table name that can't be one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is no table name: write it as catalog.namespace.table")]
pub struct InvalidName(pub String);

impl FromStr for TableId {
    type Err = InvalidName;

    /// Reads `catalog.namespace.table`; the namespace may have several levels.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let parts: Vec<&str> = text.split('.').collect();
        if parts.len() < 3 || parts.iter().any(|part| part.is_empty()) {
            return Err(InvalidName(text.to_owned()));
        }
        Ok(Self {
            catalog: CatalogName::from(parts[0]),
            namespace: Namespace(
                parts[1..parts.len() - 1]
                    .iter()
                    .map(|level| (*level).to_owned())
                    .collect(),
            ),
            name: parts[parts.len() - 1].to_owned(),
        })
    }
}
