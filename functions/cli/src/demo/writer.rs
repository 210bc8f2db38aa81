//! One of the demo's tables while it is being written: drafts become files, files become snapshots.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::SchemaRef;
use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::{arrow::schema_to_arrow_schema, spec::Struct};
use icepress_catalog::LoadedTable;
use icepress_model::{SpecId, TableId};
use icepress_storage::{PutMode, WriteOptions};
use icepress_table::{CommitContext, partition_path};
use icepress_writer::{AddedFile, add_delete_files, append_files};

use super::parquet_file::{Content, Draft, encode, position_delete_schema};

/// How many files are written at a time.
const FILES_AT_ONCE: usize = 8;

/// Writes one table.
#[derive(Debug)]
pub(super) struct TableWriter {
    context: CommitContext,
    table: TableId,
    metadata: Arc<icepress_catalog::metadata::Metadata>,
    arrow_schema: SchemaRef,
}

impl TableWriter {
    /// A writer for the table as it is.
    pub(super) fn new(context: CommitContext, loaded: &LoadedTable) -> Result<Self> {
        Ok(Self {
            context,
            table: loaded.table.clone(),
            metadata: Arc::clone(&loaded.metadata),
            arrow_schema: Arc::new(schema_to_arrow_schema(loaded.metadata.current_schema())?),
        })
    }

    /// The table's schema as Arrow has it, with field ids.
    pub(super) fn arrow_schema(&self) -> &SchemaRef {
        &self.arrow_schema
    }

    /// A data file named `name` in the folder of its partition.
    pub(super) fn rows(
        &self,
        name: &str,
        partition: Struct,
        columns: Vec<ArrayRef>,
    ) -> Result<Draft> {
        Ok(Draft {
            location: self.location(name, &partition),
            partition,
            content: Content::Rows,
            batch: RecordBatch::try_new(Arc::clone(&self.arrow_schema), columns)?,
        })
    }

    /// A position delete file: `deleted` holds data files with positions in them, in any order.
    pub(super) fn position_deletes(
        &self,
        name: &str,
        partition: Struct,
        mut deleted: Vec<(&str, i64)>,
    ) -> Result<Draft> {
        // The specification wants them sorted by file and position.
        deleted.sort_unstable();
        let first = deleted.first().map(|(path, _)| *path);
        let only = first
            .filter(|first| deleted.iter().all(|(path, _)| path == first))
            .map(str::to_owned);
        let paths = StringArray::from_iter_values(deleted.iter().map(|(path, _)| path));
        let positions = Int64Array::from_iter_values(deleted.iter().map(|(_, pos)| *pos));
        Ok(Draft {
            location: self.location(name, &partition),
            partition,
            content: Content::PositionDeletes { only },
            batch: RecordBatch::try_new(
                position_delete_schema(),
                vec![Arc::new(paths), Arc::new(positions)],
            )?,
        })
    }

    /// An equality delete file on the table's column number `column`, with these values.
    pub(super) fn equality_deletes(
        &self,
        name: &str,
        partition: Struct,
        column: usize,
        values: ArrayRef,
    ) -> Result<Draft> {
        let schema = self.arrow_schema.project(&[column])?;
        let field = schema
            .fields()
            .first()
            .context("an equality delete file needs a column")?;
        let field_ids = self
            .metadata
            .current_schema()
            .field_id_by_name(field.name())
            .into_iter()
            .collect();
        Ok(Draft {
            location: self.location(name, &partition),
            partition,
            content: Content::EqualityDeletes { field_ids },
            batch: RecordBatch::try_new(Arc::new(schema), vec![values])?,
        })
    }

    /// Writes the files and commits them in one snapshot.
    pub(super) async fn commit(&self, drafts: Vec<Draft>) -> Result<()> {
        let only_rows = drafts.iter().all(|draft| draft.content == Content::Rows);
        let files: Vec<AddedFile> = futures::stream::iter(drafts)
            .map(|draft| self.write(draft))
            .buffered(FILES_AT_ONCE)
            .try_collect()
            .await?;
        if only_rows {
            append_files(&self.context, &self.table, &files).await?;
        } else {
            let base = self.context.catalog.load(&self.table).await?;
            add_delete_files(&self.context, &base, &files).await?;
        }
        Ok(())
    }

    async fn write(&self, draft: Draft) -> Result<AddedFile> {
        let metadata = Arc::clone(&self.metadata);
        let location = draft.location.clone();
        let (content, file) = tokio::task::spawn_blocking(move || {
            let spec_id = metadata.default_partition_spec_id();
            encode(&draft, spec_id, metadata.current_schema())
        })
        .await??;
        self.context
            .storage
            .put(
                &location,
                content,
                PutMode::CreateOnly,
                &WriteOptions::default(),
            )
            .await?;
        Ok(AddedFile {
            spec_id: SpecId(self.metadata.default_partition_spec_id()),
            file,
        })
    }

    fn location(&self, name: &str, partition: &Struct) -> String {
        let spec = self.metadata.default_partition_spec();
        let folder = partition_path(spec, self.metadata.default_partition_type(), partition);
        let slash = if folder.is_empty() { "" } else { "/" };
        format!(
            "{}/data/{folder}{slash}{name}.parquet",
            self.metadata.location()
        )
    }
}
