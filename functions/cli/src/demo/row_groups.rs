//! Counts the row groups of a table's live data files, from the footers of the files themselves.

use anyhow::{Context as _, Result};
use iceberg::spec::{Manifest, ManifestContentType, ManifestList, TableMetadata};
use icepress_storage::Storage;
use icepress_table::footer::{FOOTER_MEMORY, read_footer};

/// Live data files, and the row groups in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) data_files: u64,
    pub(super) row_groups: u64,
}

/// Counts in the current snapshot.
pub(super) async fn count(metadata: &TableMetadata, storage: &dyn Storage) -> Result<Counted> {
    let mut counted = Counted::default();
    let Some(snapshot) = metadata.current_snapshot() else {
        return Ok(counted);
    };
    let content = storage.read(snapshot.manifest_list()).await?;
    let list = ManifestList::parse_with_version(&content, metadata.format_version())?;
    for manifest_file in list.entries() {
        if manifest_file.content != ManifestContentType::Data {
            continue;
        }
        let content = storage.read(&manifest_file.manifest_path).await?;
        let manifest = Manifest::parse_avro(&content)?;
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            let (path, size) = (entry.file_path(), entry.file_size_in_bytes());
            let footer = read_footer(storage, path, size, FOOTER_MEMORY)
                .await
                .with_context(|| format!("footer of {path}"))?;
            counted.data_files += 1;
            counted.row_groups += footer.num_row_groups() as u64;
        }
    }
    Ok(counted)
}
