//! One catalog's properties, under Iceberg's own names.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use icepress_model::{CatalogName, without_login};
use icepress_storage::AssumedRole;

use super::{ConfigurationError, values::Values};

/// Parts of keys whose values are shown to nobody.
const SECRETS: [&str; 8] = [
    "secret",
    "token",
    "password",
    "credential",
    "access-key",
    "passphrase",
    "authorization",
    "api-key",
];

/// What is shown instead of a secret.
const HIDDEN: &str = "***";

/// The types that there is an adapter for, for people.
const SUPPORTED: &str = "sql, glue, rest, s3tables, dynamodb and hadoop";
/// Iceberg's names for a role to work as.
const ROLE: &str = "client.assume-role.";
/// As long as a session lasts unless `client.assume-role.timeout-sec` says otherwise.
const SESSION: Duration = Duration::from_secs(3600);

/// The kinds of catalog that there is an adapter for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatalogKind {
    /// SQL on SQLite.
    Sql,
    /// AWS Glue.
    Glue,
    /// Iceberg's REST protocol; also S3 Tables, which speaks it.
    Rest,
    /// Iceberg's own catalog on DynamoDB.
    DynamoDb,
    /// Directories with numbered metadata files.
    Hadoop,
}

/// A catalog's properties.
#[derive(Clone, PartialEq, Eq)]
pub struct CatalogProperties {
    name: CatalogName,
    origin: String,
    pub(super) values: Values,
    /// Whose values came out of a store of secrets.
    pub(super) hidden: BTreeSet<String>,
}

impl CatalogProperties {
    pub(super) fn new(name: CatalogName, origin: String, values: Values) -> Self {
        Self {
            name,
            origin,
            values,
            hidden: BTreeSet::new(),
        }
    }

    /// Properties that no file says, for a catalog that a program makes itself.
    pub fn of(name: CatalogName, values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            name,
            origin: "the program".to_owned(),
            values: values.into_iter().collect(),
            hidden: BTreeSet::new(),
        }
    }

    /// The same, as configured there: a variable, say.
    pub fn from(self, origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            ..self
        }
    }

    /// The same catalog as its server wants it: `defaults` where nothing is set here, `overrides` in any case.
    pub fn merged(
        &self,
        defaults: impl IntoIterator<Item = (String, String)>,
        overrides: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let mut values: Values = defaults.into_iter().collect();
        values.extend(self.values.clone());
        values.extend(overrides);
        Self {
            name: self.name.clone(),
            origin: self.origin.clone(),
            values,
            hidden: self.hidden.clone(),
        }
    }

    /// The properties whose names begin with `prefix`, without it.
    pub fn beginning_with<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.values
            .iter()
            .filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value.as_str())))
    }

    /// The name that it's configured under.
    pub fn name(&self) -> &CatalogName {
        &self.name
    }

    /// The file that it's configured in, or the environment.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// A property.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// The names of all properties.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// A property that must be there; `example` is what it should look like.
    pub fn required(&self, key: &str, example: &str) -> Result<&str, ConfigurationError> {
        self.get(key)
            .ok_or_else(|| self.wrong(key, format!("is missing: it should look like {example}")))
    }

    /// A property that is `true` or `false`.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, ConfigurationError> {
        match self.get(key).map(str::to_lowercase).as_deref() {
            None => Ok(None),
            Some("true" | "1" | "yes" | "on") => Ok(Some(true)),
            Some("false" | "0" | "no" | "off") => Ok(Some(false)),
            Some(other) => {
                Err(self.wrong(key, format!("is '{other}': it should be true or false")))
            }
        }
    }

    /// A property that is a number of milliseconds.
    pub fn milliseconds(&self, key: &str) -> Result<Option<Duration>, ConfigurationError> {
        self.get(key)
            .map(|text| {
                text.parse().map(Duration::from_millis).map_err(|_| {
                    self.wrong(
                        key,
                        format!("is '{text}': it should be a number of milliseconds, like 5000"),
                    )
                })
            })
            .transpose()
    }

    /// Which adapter it takes: by `type`, by Java's `catalog-impl`, else by what the `uri` begins with, as PyIceberg does.
    pub fn kind(&self) -> Result<CatalogKind, ConfigurationError> {
        if let Some(kind) = self.get("type") {
            return match kind.to_lowercase().as_str() {
                "sql" | "jdbc" => Ok(CatalogKind::Sql),
                "glue" => Ok(CatalogKind::Glue),
                "rest" | "s3tables" => Ok(CatalogKind::Rest),
                "dynamodb" => Ok(CatalogKind::DynamoDb),
                "hadoop" => Ok(CatalogKind::Hadoop),
                other => Err(self.unsupported("type", other)),
            };
        }
        if let Some(class) = self.get("catalog-impl") {
            return match class {
                "org.apache.iceberg.jdbc.JdbcCatalog" => Ok(CatalogKind::Sql),
                "org.apache.iceberg.aws.glue.GlueCatalog" => Ok(CatalogKind::Glue),
                "org.apache.iceberg.aws.dynamodb.DynamoDbCatalog" => Ok(CatalogKind::DynamoDb),
                "org.apache.iceberg.hadoop.HadoopCatalog" => Ok(CatalogKind::Hadoop),
                "org.apache.iceberg.rest.RESTCatalog"
                | "software.amazon.s3tables.iceberg.S3TablesCatalog" => Ok(CatalogKind::Rest),
                other => Err(self.unsupported("catalog-impl", other)),
            };
        }
        let scheme = self
            .get("uri")
            .map(|uri| uri.split(':').next().unwrap_or_default().to_lowercase());
        match scheme.as_deref() {
            None => Err(self.wrong("type", format!("is missing: supported are {SUPPORTED}"))),
            // Which database, the adapter tells.
            Some(scheme) if scheme.starts_with("sqlite") || scheme.starts_with("postgres") || scheme == "jdbc" => {
                Ok(CatalogKind::Sql)
            }
            Some("http" | "https") => Ok(CatalogKind::Rest),
            Some("thrift") => Err(self.unsupported("uri", "hive")),
            Some(other) => Err(self.wrong(
                "type",
                format!("is missing, and a uri of '{other}:' does not tell it: supported are {SUPPORTED}"),
            )),
        }
    }

    /// The role that all of this catalog's AWS is reached as (`client.assume-role.arn`, as Java has it, or PyIceberg's
    /// `client.role-arn`); `None` where it is the caller's own.
    pub fn assumed_role(&self) -> Result<Option<AssumedRole>, ConfigurationError> {
        let key = |rest: &str| format!("{ROLE}{rest}");
        let (arn_key, session_key) = match self.get(&key("arn")) {
            Some(_) => (key("arn"), key("session-name")),
            None => (
                "client.role-arn".to_owned(),
                "client.role-session-name".to_owned(),
            ),
        };
        let Some(arn) = self.get(&arn_key) else {
            return match self.beginning_with(ROLE).next() {
                None => Ok(None),
                Some((name, _)) => Err(self.wrong(
                    &key(name),
                    format!("is set, but {ROLE}arn, the role itself, is not"),
                )),
            };
        };
        // arn:PARTITION:iam::ACCOUNT:role/NAME
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        if !matches!(parts[..], ["arn", _, "iam", "", account, role] if !account.is_empty() && role.starts_with("role/"))
        {
            let message =
                format!("is '{arn}': it should look like arn:aws:iam::123456789012:role/icepress");
            return Err(self.wrong(&arn_key, message));
        }
        let timeout = key("timeout-sec");
        let session_length = match self.get(&timeout) {
            None => SESSION,
            Some(text) => match text.parse() {
                Ok(seconds @ 900..=43200) => Duration::from_secs(seconds),
                _ => {
                    let message = format!("is '{text}': it should be 900 to 43200 seconds");
                    return Err(self.wrong(&timeout, message));
                }
            },
        };
        Ok(Some(AssumedRole {
            arn: arn.to_owned(),
            external_id: self.get(&key("external-id")).map(str::to_owned),
            session_name: self.get(&session_key).unwrap_or("icepress").to_owned(),
            session_length,
            tags: self
                .beginning_with("client.assume-role.tags.")
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            region: self.get(&key("region")).map(str::to_owned),
        }))
    }

    /// Whether its tables lie in table buckets of S3 Tables, where the bucket alone says the storage class and S3 refuses
    /// a write that names another (AWS: "Supported Amazon S3 object-level API operations for S3 Tables").
    pub(super) fn lies_in_table_buckets(&self) -> bool {
        let is = |key: &str, value: &str| {
            let found = self.get(key);
            found.is_some_and(|found| found.eq_ignore_ascii_case(value))
        };
        let warehouse = self.get("warehouse").unwrap_or_default();
        is("type", "s3tables")
            || is("rest.signing-name", "s3tables")
            || warehouse.contains(":s3tables:")
            || warehouse.contains(":s3tablescatalog/")
    }

    /// The first of several properties that is set.
    pub fn first(&self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| self.get(key)).map(str::to_owned)
    }

    /// An error about one of the properties.
    pub fn wrong(&self, key: &str, message: String) -> ConfigurationError {
        ConfigurationError::Setting {
            origin: self.origin.clone(),
            key: format!("catalog {}: {key}", self.name),
            message,
        }
    }

    fn unsupported(&self, key: &str, kind: &str) -> ConfigurationError {
        let known = matches!(kind, "hive" | "nessie" | "bigquery" | "in-memory");
        let what = if known {
            "is not supported yet"
        } else {
            "is not known"
        };
        self.wrong(
            key,
            format!("a catalog of type '{kind}' {what}: supported are {SUPPORTED}"),
        )
    }

    /// What nothing reads and looks like a slip, a line each.
    pub fn warnings(&self) -> Vec<String> {
        let slip = |(key, right)| {
            format!(
                "{}: catalog {}: nothing reads {key}: did you mean {right}?",
                self.origin, self.name
            )
        };
        self.slips().map(slip).collect()
    }
}

impl fmt::Debug for CatalogProperties {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: BTreeMap<&str, String> = self
            .values
            .iter()
            .map(|(key, value)| {
                let is_hidden = self.hidden.contains(key);
                let value = if is_hidden {
                    HIDDEN.to_owned()
                } else {
                    shown(key, value)
                };
                (key.as_str(), value)
            })
            .collect();
        f.debug_struct("CatalogProperties")
            .field("name", &self.name.as_str())
            .field("origin", &self.origin)
            .field("values", &shown)
            .finish_non_exhaustive()
    }
}

/// A property's value as it may be printed.
fn shown(key: &str, value: &str) -> String {
    let lower = key.to_lowercase();
    let is_secret =
        lower.starts_with("header.") || SECRETS.iter().any(|secret| lower.contains(secret));
    if is_secret {
        HIDDEN.to_owned()
    } else {
        without_login(value)
    }
}
