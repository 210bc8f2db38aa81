//! `commit-large`: the commit of one group of two files in a table of 1.5 million, MB at the peak and CPU-seconds.
//!
//! The table has a hundred files a partition and 20 columns with statistics. First no delete file is live, so that manifests of
//! other partitions are carried over by name; then one is, and everything is looked into. The table is written, and committed
//! to, by processes of their own, so that the peak memory is the commit's; the manifests' bytes come from the page cache. MB
//! of the manifests as they lie on disk stand beside it. `commit-large FILES` makes a table of another size.

use std::{path::Path, process::Command, sync::Arc};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes as Buffer;
use iceberg::{TableCreation, spec::serialize_data_file_to_json};
use icepress_catalog::{SqlCatalog, metadata::stage_new_table};
use icepress_model::{
    BaseState, Bytes, CatalogName, Group, GroupReason, GroupResult, InputFile, Inspection,
    ProcessId, Rows, SchemaId, SequenceNumber, SnapshotId, SpecId, TableId, Tier, ambient::Ambient,
};
use icepress_storage::{LocalStorage, PutMode, Storage, WriteOptions};
use icepress_table::{
    CommitContext, CommitPolicy, FinishedGroup, commit_groups, partition_to_json, partition_type,
};
use icepress_writer::{AddedFile, add_delete_files, append_files};

use crate::{
    measure::{cpu_seconds, peak_rss_mb},
    plan::{ENTRIES_A_MANIFEST, data_file, delete_file, empty_table},
};

/// Data files of the table.
pub(crate) const FILES: u32 = 1_500_000;

/// Makes the table, commits to it in both states, prints the line.
pub(crate) fn run(files: u32) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let written = in_process("write", folder, files)?;
    let passed_over = in_process("commit", folder, files)?;
    in_process("delete", folder, files)?;
    let looked_into = in_process("commit", folder, files)?;
    println!(
        "commit-large files={files} {written} no_deletes: {passed_over} with_deletes: {looked_into}"
    );
    Ok(())
}

fn in_process(role: &str, folder: &Path, files: u32) -> Result<String> {
    let output = Command::new(std::env::current_exe()?)
        .args(["commit-large", role])
        .arg(folder)
        .arg(files.to_string())
        .output()?;
    ensure!(
        output.status.success(),
        "commit-large {role}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// One of the things to be done, in its own process.
pub(crate) fn run_role(role: &str, folder: &str, files: u32) -> Result<()> {
    let folder = Path::new(folder);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let table = Table::open(folder).await?;
        match role {
            "write" => table.write(folder, files).await,
            "delete" => table.delete(folder).await,
            "commit" => table.commit(folder, files).await,
            other => bail!("no role {other}"),
        }
    })
}

struct Table {
    id: TableId,
    catalog: Arc<SqlCatalog>,
    context: CommitContext,
}

impl Table {
    async fn open(folder: &Path) -> Result<Self> {
        let ambient = Ambient::system();
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::new());
        let name = CatalogName::from("bench");
        let uri = format!("sqlite:///{}/catalog.db", folder.display());
        let catalog = SqlCatalog::create(name, &uri, Arc::clone(&storage), ambient.clone()).await?;
        let catalog = Arc::new(catalog);
        Ok(Self {
            id: "bench.ns.table".parse()?,
            context: CommitContext {
                catalog: Arc::clone(&catalog) as _,
                storage,
                ambient,
                policy: CommitPolicy::default(),
            },
            catalog,
        })
    }

    async fn write(&self, folder: &Path, files: u32) -> Result<()> {
        let like = empty_table(folder).map_err(|error| anyhow::anyhow!("{error}"))?;
        let creation = TableCreation::builder()
            .name(self.id.name.clone())
            .location(folder.join("table").display().to_string())
            .schema(like.current_schema().as_ref().clone())
            .partition_spec(
                like.default_partition_spec()
                    .as_ref()
                    .clone()
                    .into_unbound(),
            )
            .build();
        let (storage, ambient) = (self.context.storage.as_ref(), &self.context.ambient);
        let staged = stage_new_table(storage, ambient, &self.id, creation).await?;
        self.catalog.register(&self.id, &staged.location).await?;
        let metadata = self.context.catalog.load(&self.id).await?.metadata;
        let numbers: Vec<u32> = (0..files).collect();
        for some in numbers.chunks(ENTRIES_A_MANIFEST) {
            let added = some.iter().map(|number| {
                let file = data_file(&metadata, *number);
                file.map(|file| AddedFile {
                    spec_id: SpecId(metadata.default_partition_spec_id()),
                    file,
                })
            });
            let added = added.collect::<Result<Vec<_>, _>>();
            let added = added.map_err(|error| anyhow::anyhow!("{error}"))?;
            append_files(&self.context, &self.id, &added).await?;
        }
        let mut bytes = 0;
        for entry in std::fs::read_dir(folder.join("table/metadata"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".avro") && !name.starts_with("snap-") {
                bytes += entry.metadata()?.len();
            }
        }
        println!("manifests_mb={:.0}", bytes as f64 / 1e6);
        Ok(())
    }

    async fn delete(&self, folder: &Path) -> Result<()> {
        let base = self.context.catalog.load(&self.id).await?;
        let file = delete_file(&base.metadata, 50).map_err(|error| anyhow::anyhow!("{error}"))?;
        let spec_id = SpecId(base.metadata.default_partition_spec_id());
        let _ = folder;
        add_delete_files(&self.context, &base, &[AddedFile { spec_id, file }]).await?;
        Ok(())
    }

    /// Replaces the first two files of a partition in the middle that are there still.
    async fn commit(&self, folder: &Path, files: u32) -> Result<()> {
        let loaded = self.context.catalog.load(&self.id).await?;
        let metadata = &loaded.metadata;
        let snapshot = metadata.current_snapshot().context("no snapshot")?;
        let base = BaseState {
            metadata_location: loaded.metadata_location.clone(),
            snapshot_id: SnapshotId(snapshot.snapshot_id()),
            starting_sequence_number: SequenceNumber(snapshot.sequence_number()),
            schema_id: SchemaId(metadata.current_schema_id()),
            format_version: 2,
        };
        // Another pair once the table has deletes.
        let commits = metadata.snapshots().count() as u32;
        let appends = files.div_ceil(ENTRIES_A_MANIFEST as u32);
        let first = files / 200 * 100 + (commits - appends) * 2;
        let spec_id = SpecId(metadata.default_partition_spec_id());
        let types = partition_type(metadata, spec_id)?;
        let file = |number| data_file(metadata, number).map_err(|error| anyhow::anyhow!("{error}"));
        let (one, other) = (file(first)?, file(first + 1)?);
        let sequence_number = i64::from(first) / ENTRIES_A_MANIFEST as i64 + 1;
        let input = |file: &iceberg::spec::DataFile| InputFile {
            path: file.file_path().to_owned(),
            size: Bytes(file.file_size_in_bytes()),
            rows: Rows(file.record_count()),
            sequence_number: SequenceNumber(sequence_number),
            first_row_id: None,
            deletes: Vec::new(),
        };
        let output = folder
            .join(format!("output-{first}.parquet"))
            .display()
            .to_string();
        let content = Buffer::from_static(b"not read");
        let json = serialize_data_file_to_json(one.clone(), &types, metadata.format_version())?;
        let mut json: serde_json::Value = serde_json::from_str(&json)?;
        let rows = one.record_count() + other.record_count();
        json["file_path"] = output.clone().into();
        json["record_count"] = rows.into();
        json["file_size_in_bytes"] = content.len().into();
        for counts in ["value_counts", "null_value_counts", "column_sizes"] {
            json[counts] = serde_json::Value::Null;
        }
        let options = WriteOptions::default();
        let storage = &self.context.storage;
        storage
            .put(&output, content, PutMode::CreateOnly, &options)
            .await?;
        let finished = FinishedGroup {
            index: 0,
            group: Group {
                spec_id,
                partition: partition_to_json(one.partition(), &types)?,
                partition_name: String::new(),
                reason: GroupReason::EnoughFiles,
                tier: Tier::Full,
                inputs: vec![input(&one), input(&other)],
                deletes: Vec::new(),
                target_file_size: Bytes::mebibytes(512),
                shares_deletes: false,
                without: None,
            },
            result: GroupResult {
                data_files: vec![json],
                delete_files: Vec::new(),
                rows_in: Rows(rows),
                rows_deleted: Rows(0),
                rows_out: Rows(rows),
                bytes_out: Bytes(8),
                row_groups_in: 2,
                row_groups_out: 1,
                seen: Inspection::default(),
                ways: icepress_model::Ways::default(),
            },
        };
        let process = ProcessId::from_uuid(self.context.ambient.uuid());
        let begun = cpu_seconds().map_err(|error| anyhow::anyhow!("{error}"))?;
        let outcome =
            commit_groups(&self.context, &self.id, &process, &base, vec![finished]).await?;
        ensure!(outcome.committed == [0], "the group was not committed");
        let ended = cpu_seconds().map_err(|error| anyhow::anyhow!("{error}"))?;
        let peak = peak_rss_mb().map_err(|error| anyhow::anyhow!("{error}"))?;
        println!("cpu_s={:.1} peak_rss_mb={peak:.0}", ended - begun);
        Ok(())
    }
}
