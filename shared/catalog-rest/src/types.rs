//! The protocol's bodies, as far as we need them; all else in an answer is passed over. The shapes are those of the
//! specification's `rest-catalog-open-api.yaml`.

use std::collections::BTreeMap;

use iceberg::{TableRequirement, TableUpdate};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Text properties.
pub(crate) type Config = BTreeMap<String, String>;

/// Answer of `GET /v1/config`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ServerConfig {
    #[serde(default)]
    pub(crate) defaults: BTreeMap<String, Option<String>>,
    #[serde(default)]
    pub(crate) overrides: BTreeMap<String, Option<String>>,
    /// `METHOD /path` of what the server can do; older servers don't say.
    pub(crate) endpoints: Option<Vec<String>>,
}

/// Answer of `GET …/namespaces`.
#[derive(Debug, Deserialize)]
pub(crate) struct NamespacesBody {
    #[serde(default)]
    pub(crate) namespaces: Vec<Vec<String>>,
    #[serde(rename = "next-page-token")]
    pub(crate) next_page_token: Option<String>,
}

/// Answer of `GET …/tables`.
#[derive(Debug, Deserialize)]
pub(crate) struct TablesBody {
    #[serde(default)]
    pub(crate) identifiers: Vec<Identifier>,
    #[serde(rename = "next-page-token")]
    pub(crate) next_page_token: Option<String>,
}

/// A table's name.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Identifier {
    pub(crate) namespace: Vec<String>,
    pub(crate) name: String,
}

/// Answer of a load; that of a commit has the first two fields.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LoadedBody {
    pub(crate) metadata_location: Option<String>,
    pub(crate) metadata: Value,
    #[serde(default)]
    pub(crate) config: Option<Config>,
    #[serde(default)]
    pub(crate) storage_credentials: Option<Vec<StorageCredential>>,
}

/// The part of a load's answer that says where the table is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LocationBody {
    pub(crate) metadata_location: Option<String>,
}

/// Access to the files whose locations begin with `prefix`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct StorageCredential {
    pub(crate) prefix: String,
    pub(crate) config: Config,
}

/// Answer of `GET …/credentials`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct CredentialsBody {
    pub(crate) storage_credentials: Vec<StorageCredential>,
}

/// Body of a commit.
#[derive(Debug, Serialize)]
pub(crate) struct CommitBody<'a> {
    pub(crate) identifier: Identifier,
    pub(crate) requirements: &'a [TableRequirement],
    pub(crate) updates: &'a [TableUpdate],
}

/// Body of an answer that tells of an error.
#[derive(Debug, Deserialize)]
pub(crate) struct ErrorBody {
    pub(crate) error: ErrorModel,
}

/// The error itself.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ErrorModel {
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default, rename = "type")]
    pub(crate) kind: String,
}

/// Answer of an OAuth2 token endpoint.
#[derive(Deserialize)]
pub(crate) struct TokenBody {
    pub(crate) access_token: String,
    /// Seconds.
    pub(crate) expires_in: Option<u64>,
}

/// Error answer of an OAuth2 token endpoint (RFC 6749, section 5.2).
#[derive(Debug, Deserialize)]
pub(crate) struct TokenErrorBody {
    pub(crate) error: String,
    pub(crate) error_description: Option<String>,
}
