//! The catalog: listings, loading and locating; the commit is in `commit`, the tables' files in `vended`.

use std::sync::Arc;

use async_trait::async_trait;
use icepress_catalog::{
    Catalog, CatalogError, CommitError, ListedTable, LoadedTable, Located, TableChange, TablePage,
    config::{CatalogProperties, ConfigurationError},
};
use icepress_model::{Bytes, CatalogName, DatabaseId, Namespace, TableId, ambient::Ambient};
use icepress_storage::{AwsEnvironment, Reach, Storage};
use reqwest::header::{HeaderMap, HeaderValue, IF_NONE_MATCH};
use tokio::sync::OnceCell;

use crate::{
    base::{Core, location},
    commit::Commit,
    endpoints::Endpoints,
    errors::{Failure, FailureKind},
    http::HttpClient,
    options::RestOptions,
    session::{Opening, parse},
    types::{LocationBody, NamespacesBody, TablesBody},
    vended::{self, TableStorages},
};

/// The namespaces below the most that are looked into; a server that lists a namespace as its own child ends here.
const DEEPEST: usize = 32;

/// A catalog behind Iceberg's REST protocol.
#[derive(Debug)]
pub struct RestCatalog {
    pub(crate) core: Arc<Core>,
    storages: TableStorages,
}

impl RestCatalog {
    /// The catalog that the properties name, with the files of its tables within `reach`. Sends nothing: the server is asked
    /// at first use, so that one that is down keeps nobody from the others.
    pub fn connect(
        properties: &CatalogProperties,
        aws: &AwsEnvironment,
        http: &HttpClient,
        reach: Reach,
        ambient: Ambient,
    ) -> Result<Self, ConfigurationError> {
        let options = RestOptions::new(properties)?;
        Ok(Self {
            core: Arc::new(Core {
                name: properties.name().clone(),
                opening: Opening {
                    endpoints: Endpoints::new(properties, &options.uri)?,
                    options,
                    properties: properties.clone(),
                    http: http.clone(),
                    aws: aws.with_keys(properties.signing_keys()?),
                    ambient: ambient.clone(),
                },
                session: OnceCell::new(),
                aws: aws.with_keys(properties.file_keys()?),
                reach,
                ambient,
            }),
            storages: TableStorages::default(),
        })
    }

    /// The table, with the keys that its files are reached by put aside for later.
    async fn load_and_remember(
        &self,
        table: &TableId,
        most: Option<Bytes>,
    ) -> Result<LoadedTable, CatalogError> {
        let (loaded, body) = self.core.load(table, most).await?;
        let session = self.core.session().await?;
        vended::remember(&self.core, session, &self.storages, &loaded, &body).await?;
        Ok(loaded)
    }

    /// The namespaces right below `parent`, all pages of them.
    async fn children(&self, parent: Option<&Namespace>) -> Result<Vec<Namespace>, CatalogError> {
        let session = self.core.session().await?;
        let mut found = Vec::new();
        let mut token = String::new();
        loop {
            let parent_value = parent.map(|parent| session.options.separator.query_value(parent));
            let page_size = session.options.page_size.map(|size| size.to_string());
            let mut query = Vec::new();
            query.extend(parent_value.as_deref().map(|value| ("parent", value)));
            query.push(("pageToken", token.as_str()));
            query.extend(page_size.as_deref().map(|size| ("pageSize", size)));
            let url = session.url("namespaces", &query);
            let answer = match session.client.get(&url, &HeaderMap::new()).await {
                Ok(answer) => answer,
                // Dropped since it was listed.
                Err(failure) if failure.kind == FailureKind::NotFound && parent.is_some() => {
                    return Ok(Vec::new());
                }
                Err(failure) => return Err(failure.into_catalog_error(&self.core.name)),
            };
            let page: NamespacesBody = parse(&answer.body, &url)
                .map_err(|failure| failure.into_catalog_error(&self.core.name))?;
            found.extend(page.namespaces.into_iter().map(Namespace));
            match page
                .next_page_token
                .filter(|next| !next.is_empty() && *next != token)
            {
                Some(next) => token = next,
                None => break,
            }
        }
        // Servers that don't know the parameter list everything, again and again.
        if let Some(parent) = parent {
            found.retain(|child| child.0.len() > parent.0.len() && child.0.starts_with(&parent.0));
        }
        Ok(found)
    }
}

#[async_trait]
impl Catalog for RestCatalog {
    fn name(&self) -> &CatalogName {
        &self.core.name
    }

    async fn list_namespaces(&self) -> Result<Vec<Namespace>, CatalogError> {
        let is_flat = self.core.session().await?.options.is_flat;
        let mut found = self.children(None).await?;
        found.retain(|namespace| !namespace.0.is_empty());
        if is_flat {
            return Ok(found);
        }
        let mut next = 0;
        while let Some(parent) = found.get(next).cloned() {
            next += 1;
            if parent.0.len() < DEEPEST {
                for child in self.children(Some(&parent)).await? {
                    if !found.contains(&child) {
                        found.push(child);
                    }
                }
            }
        }
        Ok(found)
    }

    async fn list_tables(
        &self,
        database: &DatabaseId,
        next: Option<&str>,
    ) -> Result<TablePage, CatalogError> {
        let session = self.core.session().await?;
        let token = next.unwrap_or_default();
        let page_size = session.options.page_size.map(|size| size.to_string());
        let mut query = vec![("pageToken", token)];
        query.extend(page_size.as_deref().map(|size| ("pageSize", size)));
        let url = session.url(&session.tables_path(&database.namespace), &query);
        let answer = match session.client.get(&url, &HeaderMap::new()).await {
            Ok(answer) => answer,
            // The namespace was dropped.
            Err(failure) if failure.kind == FailureKind::NotFound => {
                return Ok(TablePage::default());
            }
            Err(failure) => return Err(failure.into_catalog_error(&self.core.name)),
        };
        let page: TablesBody = parse(&answer.body, &url)
            .map_err(|failure| failure.into_catalog_error(&self.core.name))?;
        Ok(TablePage {
            next: page
                .next_page_token
                .filter(|next| !next.is_empty() && next != token),
            tables: page
                .identifiers
                .into_iter()
                .filter(|identifier| identifier.namespace == database.namespace.0)
                .map(|identifier| ListedTable {
                    table: TableId {
                        catalog: self.core.name.clone(),
                        namespace: database.namespace.clone(),
                        name: identifier.name,
                    },
                    metadata_location: None,
                })
                .collect(),
        })
    }

    async fn load(&self, table: &TableId) -> Result<LoadedTable, CatalogError> {
        self.load_and_remember(table, None).await
    }

    async fn load_up_to(&self, table: &TableId, most: Bytes) -> Result<LoadedTable, CatalogError> {
        self.load_and_remember(table, Some(most)).await
    }

    async fn locate(&self, table: &TableId, seen: Option<&str>) -> Result<Located, CatalogError> {
        let session = self.core.session().await?;
        let url = session.url(&session.table_path(table), &[("snapshots", "refs")]);
        let mut headers = HeaderMap::new();
        let etag = seen.and_then(|etag| HeaderValue::from_str(etag).ok());
        let was_asked_with_etag = etag.is_some();
        headers.extend(etag.map(|etag| (IF_NONE_MATCH, etag)));
        let answer = match session.client.get(&url, &headers).await {
            Ok(answer) => answer,
            Err(failure) => return Err(failure.into_table_error(table)),
        };
        if answer.status == 304 && was_asked_with_etag {
            return Ok(Located::AsSeen);
        }
        if answer.status == 304 {
            let message = format!("{url} answered 304 to a question without If-None-Match");
            return Err(Failure::new(FailureKind::Invalid, message).into_table_error(table));
        }
        let body: LocationBody =
            parse(&answer.body, &url).map_err(|failure| failure.into_table_error(table))?;
        Ok(Located::At {
            location: location(table, body.metadata_location.as_deref())?,
            tag: answer.etag,
        })
    }

    async fn table_storage(
        &self,
        table: &TableId,
    ) -> Result<Option<Arc<dyn Storage>>, CatalogError> {
        if let Some(storage) = self.storages.get(table) {
            return Ok(Some(storage));
        }
        self.load(table).await?;
        Ok(self.storages.get(table))
    }

    async fn commit(
        &self,
        base: &LoadedTable,
        change: TableChange,
    ) -> Result<LoadedTable, CommitError> {
        Commit::new(&self.core, base, change)?.run().await
    }

    fn is_overtaken(&self, base: &LoadedTable, now: &LoadedTable) -> bool {
        let (base, now) = (&base.metadata, &now.metadata);
        // The requirements of a commit that moves main. The sequence number rules out that main moved on and was set back:
        // a snapshot on top of another must be numbered above all that the table has.
        base.uuid() != now.uuid()
            || base.current_snapshot_id() != now.current_snapshot_id()
            || base.last_sequence_number() != now.last_sequence_number()
    }
}
