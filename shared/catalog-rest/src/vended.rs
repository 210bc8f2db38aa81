//! A table's files as its server wants them reached: endpoint and region that it names for the table, and credentials
//! that it hands out for it, by prefix of location.
//!
//! Credentials are renewed by asking the server again, before they end: the SDK asks [`VendedCredentials`] whenever the
//! ones that it has run out, also in the middle of a rewrite.

mod keys;
mod storage;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use aws_credential_types::provider::SharedCredentialsProvider;
use icepress_catalog::{CatalogError, LoadedTable};
use icepress_model::TableId;
use icepress_storage::{AwsEnvironment, Storage, StorageRouter};

use crate::{
    base::Core,
    session::Session,
    types::{Config, LoadedBody, StorageCredential},
};
pub(crate) use keys::{Access, VendedCredentials};
use storage::PrefixedStorage;

/// Tables whose storages are kept open at a time.
const MOST: usize = 1_000;
/// What a server may say about S3; keys are not among them.
const S3_SETTINGS: [&str; 9] = [
    "s3.endpoint",
    "s3.region",
    "client.region",
    "s3.path-style-access",
    "s3.force-virtual-addressing",
    "s3.sse.type",
    "s3.sse.key",
    "s3.sse.md5",
    "s3.acl",
];
/// And all that begins so: tags, storage class, and what would be refused by its name.
const S3_WRITES: &str = "s3.write.";

/// The open storages by table.
#[derive(Debug, Default)]
pub(crate) struct TableStorages {
    by_table: Mutex<HashMap<TableId, Open>>,
}

#[derive(Debug)]
struct Open {
    /// What it was made of, without the keys.
    made_of: MadeOf,
    storage: Option<Arc<dyn Storage>>,
}

/// The settings by prefix, and whether there are keys for it; the prefix is empty for all locations.
type MadeOf = BTreeMap<String, (Config, bool)>;

impl TableStorages {
    pub(crate) fn get(&self, table: &TableId) -> Option<Arc<dyn Storage>> {
        let by_table = self.by_table.lock().unwrap_or_else(PoisonError::into_inner);
        by_table.get(table)?.storage.clone()
    }
}

/// Keeps a storage for the table as the answer to its load says, if it says anything of the kind.
pub(crate) async fn remember(
    core: &Arc<Core>,
    session: &Session,
    storages: &TableStorages,
    loaded: &LoadedTable,
    body: &LoadedBody,
) -> Result<(), CatalogError> {
    let table = &loaded.table;
    let mut access = Access::new(
        &session.said,
        body.config.as_ref(),
        body.storage_credentials.as_deref(),
    );
    if !session.options.wants_keys {
        access.forget_keys();
    }
    let made_of = access.made_of();
    {
        let by_table = storages
            .by_table
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if by_table
            .get(table)
            .is_some_and(|open| open.made_of == made_of)
        {
            return Ok(());
        }
    }
    let storage = open(core, session, table, &access).await?;
    let mut by_table = storages
        .by_table
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if by_table.len() >= MOST {
        by_table.clear();
    }
    by_table.insert(table.clone(), Open { made_of, storage });
    Ok(())
}

async fn open(
    core: &Arc<Core>,
    session: &Session,
    table: &TableId,
    access: &Access,
) -> Result<Option<Arc<dyn Storage>>, CatalogError> {
    if access.is_nothing() {
        return Ok(None);
    }
    let mut by_prefix: Vec<(String, Arc<dyn Storage>)> = Vec::new();
    for prefix in access.prefixes() {
        // The user's own settings stand, since they may know another way to the same store.
        let settings = access.settings(prefix);
        let properties = session.properties.merged(settings, []);
        let options = properties
            .s3_options()
            .map_err(|error| CatalogError::Configuration {
                catalog: core.name.to_string(),
                message: format!("table {table}: the server's settings for its files: {error}"),
            })?;
        if let Some(endpoint) = &options.endpoint {
            may_go_to(core, table, endpoint).await?;
        }
        let aws = match access.keys(prefix) {
            None => core.aws.clone(),
            Some(keys) => {
                let vended = VendedCredentials::new(core, table, prefix, keys);
                let vended = SharedCredentialsProvider::new(vended);
                let config = core.aws.config().await.to_builder();
                AwsEnvironment::from_config(config.credentials_provider(vended).build())
            }
        };
        let router = StorageRouter::new(aws, options, core.reach.clone(), core.ambient.clone());
        by_prefix.push((prefix.to_owned(), Arc::new(router)));
    }
    Ok(Some(Arc::new(PrefixedStorage::new(by_prefix))))
}

/// Whether the table's files may be reached there: where the user says, or where the server may say.
async fn may_go_to(core: &Core, table: &TableId, endpoint: &str) -> Result<(), CatalogError> {
    let own = core.aws.endpoint_of("S3").await;
    if own.as_deref() == Some(endpoint) {
        return Ok(());
    }
    let what = format!("the files of table {table}");
    core.opening
        .endpoints
        .check(&what, endpoint)
        .map_err(|message| CatalogError::Configuration {
            catalog: core.name.to_string(),
            message,
        })
}

/// The server's settings for S3 in a map of properties.
fn s3_settings(config: &Config) -> Config {
    let is_said = |key: &str| S3_SETTINGS.contains(&key) || key.starts_with(S3_WRITES);
    let said = config.iter().filter(|(key, _)| is_said(key));
    said.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests;
