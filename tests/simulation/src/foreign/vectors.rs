//! Deletion vectors of the foreign writer: one a data file, which says all that was deleted by position before, in the
//! place of the one that was.

use std::collections::{BTreeMap, BTreeSet};

use iceberg::spec::{DataContentType, DataFileBuilder, DataFileFormat, Operation};
use icepress_catalog::LoadedTable;

use super::{Done, GaveUp, Work, Writer};
use crate::{
    reader::{Identity, LiveFile},
    vectors::write_vectors,
};

impl Writer {
    /// The live vectors of some data files.
    pub(super) fn vectors_of(
        &self,
        base: &LoadedTable,
        of: impl Fn(&str) -> bool,
    ) -> Result<Vec<Identity>, GaveUp> {
        let live = self.oracle.reader().live(&base.metadata).map_err(GaveUp)?;
        let is_meant = |file: &&LiveFile| {
            let path = file.file.referenced_data_file();
            file.is_vector() && path.is_some_and(|path| of(&path))
        };
        Ok(live
            .iter()
            .filter(is_meant)
            .map(LiveFile::identity)
            .collect())
    }

    /// Hides rows of some data files, all in one Puffin file.
    pub(super) async fn delete_by_vectors(&mut self, base: &LoadedTable) -> Done {
        let live = self.live_rows(base)?;
        let hidden = self
            .oracle
            .reader()
            .hidden(&base.metadata)
            .map_err(GaveUp)?;
        let mut work = Work::default();
        let mut vectors: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
        for (path, rows) in live {
            if self.engine.below(2) == 0 {
                continue;
            }
            for row in rows {
                if self.engine.below(4) == 0 {
                    let before = || hidden.get(&path).cloned().unwrap_or_default();
                    let positions = vectors.entry(path.clone()).or_insert_with(before);
                    positions.insert(row.position);
                    work.change.removed.insert(row.row.id);
                }
            }
        }
        if vectors.is_empty() {
            return Ok(());
        }
        work.removed
            .extend(self.vectors_of(base, |path| vectors.contains_key(path))?);
        let (content, placed) = write_vectors(&vectors).await?;
        let size = content.len() as u64;
        let path = self.put(base, "vectors", "puffin", content).await?;
        let files = self.oracle.reader().live(&base.metadata).map_err(GaveUp)?;
        for vector in placed {
            let data = files
                .iter()
                .find(|file| file.file.file_path() == vector.path);
            let data = data.ok_or_else(|| GaveUp(format!("{} is gone", vector.path)))?;
            let entry = DataFileBuilder::default()
                .content(DataContentType::PositionDeletes)
                .file_path(path.clone())
                .file_format(DataFileFormat::Puffin)
                .partition(data.file.partition().clone())
                .partition_spec_id(data.spec_id)
                .record_count(vector.rows)
                .file_size_in_bytes(size)
                .referenced_data_file(Some(vector.path))
                .content_offset(Some(vector.offset))
                .content_size_in_bytes(Some(vector.length))
                .build();
            work.added
                .push(entry.map_err(|error| GaveUp(error.to_string()))?);
        }
        self.graveyard.extend(&work.change.removed);
        self.commit(base, work, Operation::Delete).await
    }
}
