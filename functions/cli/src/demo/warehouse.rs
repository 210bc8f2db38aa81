//! The demo's warehouse: a folder with an SQLite catalog in PyIceberg's own layout, PyIceberg's configuration for it,
//! and the tables.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use iceberg::{TableCreation, spec::FormatVersion};
use icepress_catalog::{Catalog, LoadedTable, SqlCatalog, metadata::stage_new_table};
use icepress_model::{CatalogName, Namespace, TableId, ambient::Ambient};
use icepress_storage::Storage;
use icepress_table::{CommitContext, CommitPolicy};

use super::{Definition, writer::TableWriter};
use crate::failure::Failure;

/// The namespace of the demo's tables.
const NAMESPACE: &str = "shop";

/// A folder, which goes with the last owner unless it is to be kept.
#[derive(Debug)]
pub(super) enum Folder {
    /// Removed in the end.
    Temporary(tempfile::TempDir),
    /// Kept.
    Kept(PathBuf),
}

impl Folder {
    /// A fresh folder in the system's place for temporary files.
    pub(super) fn temporary(keep: bool) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("icepress-demo-")
            .tempdir()
            .map_err(|error| Failure::Work(format!("no temporary folder can be made: {error}")))?;
        Ok(if keep {
            Self::Kept(folder.keep())
        } else {
            Self::Temporary(folder)
        })
    }

    /// The folder that a person named, which must be empty or not exist yet.
    pub(super) fn given(folder: &Path) -> Result<Self, Failure> {
        let wrong =
            |problem: String| Failure::Use(format!("--warehouse {}: {problem}", folder.display()));
        fs::create_dir_all(folder).map_err(|error| wrong(error.to_string()))?;
        let folder = folder
            .canonicalize()
            .map_err(|error| wrong(error.to_string()))?;
        let mut content = fs::read_dir(&folder).map_err(|error| wrong(error.to_string()))?;
        if content.next().is_some() {
            return Err(wrong(
                "it is not empty: name an empty folder, or one that does not exist yet".to_owned(),
            ));
        }
        Ok(Self::Kept(folder))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(folder) => folder,
        }
    }

    /// Whether it stays.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self, Self::Kept(_))
    }
}

/// A catalog without tables, and how to make some.
#[derive(Debug)]
pub(super) struct Warehouse {
    location: String,
    catalog: Arc<SqlCatalog>,
    storage: Arc<dyn Storage>,
    ambient: Ambient,
}

impl Warehouse {
    /// Makes the catalog in `folder`, and `.pyiceberg.yaml` for it: what a PyIceberg user has.
    pub(super) async fn create(
        folder: &Path,
        catalog: &CatalogName,
        storage: Arc<dyn Storage>,
        ambient: Ambient,
    ) -> Result<Self> {
        let uri = format!("sqlite:///{}", folder.join("catalog.db").display());
        let location = format!("file://{}", folder.join("warehouse").display());
        // A JSON string is a YAML string, whatever signs the folder's name has.
        let configuration = format!(
            "catalog:\n  {}:\n    type: sql\n    uri: {}\n    warehouse: {}\n",
            serde_json::to_string(catalog)?,
            serde_json::to_string(&uri)?,
            serde_json::to_string(&location)?,
        );
        fs::write(folder.join(".pyiceberg.yaml"), configuration)?;
        let name = catalog.clone();
        let catalog = SqlCatalog::create(name, &uri, Arc::clone(&storage), ambient.clone()).await?;
        Ok(Self {
            location,
            catalog: Arc::new(catalog),
            storage,
            ambient,
        })
    }

    /// What the table is called.
    fn table_id(&self, definition: &Definition) -> TableId {
        TableId {
            catalog: self.catalog.name().clone(),
            namespace: Namespace::from_dotted(NAMESPACE),
            name: definition.name.to_owned(),
        }
    }

    /// The table as it is now.
    pub(super) async fn load(&self, definition: &Definition) -> Result<LoadedTable> {
        Ok(self.catalog.load(&self.table_id(definition)).await?)
    }

    /// Makes an empty table of format version 2.
    pub(super) async fn create_table(&self, definition: &Definition) -> Result<TableWriter> {
        let table = self.table_id(definition);
        let creation = TableCreation::builder()
            .name(definition.name.to_owned())
            .location(format!("{}/{NAMESPACE}/{}", self.location, definition.name))
            .schema(definition.schema.clone())
            .partition_spec(definition.spec.clone())
            .format_version(FormatVersion::V2)
            .build();
        let staged = stage_new_table(&*self.storage, &self.ambient, &table, creation).await?;
        self.catalog.register(&table, &staged.location).await?;
        let loaded = self.catalog.load(&table).await?;
        let context = CommitContext {
            catalog: Arc::clone(&self.catalog) as Arc<dyn Catalog>,
            storage: Arc::clone(&self.storage),
            ambient: self.ambient.clone(),
            policy: CommitPolicy::default(),
        };
        TableWriter::new(context, &loaded)
    }
}
