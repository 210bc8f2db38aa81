//! What every request of a catalog needs, and the one request that all parts make: loading a table.

use std::sync::Arc;

use icepress_catalog::{CatalogError, CommitToken, LoadedTable, metadata::parse_metadata};
use icepress_model::{Bytes, CatalogName, MetadataLocation, TableId, ambient::Ambient};
use icepress_storage::{AwsEnvironment, Reach};
use reqwest::header::HeaderMap;
use tokio::sync::OnceCell;

use crate::{
    session::{Opening, Session, parse},
    types::LoadedBody,
};

/// What requests need; shared with the credentials of tables' storages, which ask for new ones by themselves.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) name: CatalogName,
    pub(crate) opening: Opening,
    pub(crate) session: OnceCell<Session>,
    pub(crate) aws: AwsEnvironment,
    /// Where tables' files may lie, whatever the server says.
    pub(crate) reach: Reach,
    pub(crate) ambient: Ambient,
}

impl Core {
    pub(crate) async fn session(&self) -> Result<&Session, CatalogError> {
        self.session.get_or_try_init(|| self.opening.open()).await
    }

    /// The table's state with everything that the server says about it, in an answer of no more than `most`.
    pub(crate) async fn load(
        &self,
        table: &TableId,
        most: Option<Bytes>,
    ) -> Result<(LoadedTable, LoadedBody), CatalogError> {
        let session = self.session().await?;
        let url = session.url(&session.table_path(table), &[]);
        let answer = match most {
            Some(most) => session.client.get_up_to(&url, most).await,
            None => session.client.get(&url, &HeaderMap::new()).await,
        };
        let answer = answer.map_err(|failure| failure.into_table_error(table))?;
        let body = parse(&answer.body, &url).map_err(|failure| failure.into_table_error(table))?;
        loaded(table, body)
    }
}

/// A table out of the answer to a load or a commit.
pub(crate) fn loaded(
    table: &TableId,
    mut body: LoadedBody,
) -> Result<(LoadedTable, LoadedBody), CatalogError> {
    let metadata_location = location(table, body.metadata_location.as_deref())?;
    let json = serde_json::to_vec(&body.metadata.take()).unwrap_or_default();
    let metadata = parse_metadata(table, &metadata_location, &json)?;
    let loaded = LoadedTable {
        table: table.clone(),
        metadata_location,
        metadata: Arc::new(metadata),
        token: CommitToken::default(),
    };
    Ok((loaded, body))
}

/// The location in an answer. A table that has none is being created in a transaction that is not committed yet.
pub(crate) fn location(
    table: &TableId,
    said: Option<&str>,
) -> Result<MetadataLocation, CatalogError> {
    said.map(MetadataLocation::from)
        .ok_or_else(|| CatalogError::Unavailable {
            catalog: table.catalog.to_string(),
            message: format!("table {table}: the server names no metadata file for it"),
            source: None,
        })
}
