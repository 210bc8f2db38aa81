//! `night [FILES]`: what a night takes of a table that is written all day. 2,000 files of 142 KB came in 20 commits and are to be
//! rewritten, manifests with them; 2,000 others were replaced yesterday and are in no snapshot that is to stay; a hundred files
//! are nobody's, and were found a while ago. One `icepress run --once` with `[maintain]` does it all, on a local disk.
//!
//! The command is the one that lies beside this program (or `ICEPRESS_BIN`), so that its start is counted, and all it looks at is
//! what a user has.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};
use async_trait::async_trait;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Struct, TableMetadata,
};
use icepress_catalog::{Catalog, SqlCatalog};
use icepress_model::{
    Bytes, CatalogName, MetadataLocation, Namespace, SpecId, TableId, TimestampMs,
    ambient::{Ambient, Clock},
};
use icepress_storage::{LocalStorage, PutMode, Storage, WriteOptions};
use icepress_table::{CommitContext, CommitPolicy};
use icepress_writer::{AddedFile, RemovedFile, append_files, overwrite_files};
use serde_json::Value;

use crate::{events, tables::SMALL};

/// The table is as old as that, and its first files are gone for half of it.
const PAST: Duration = Duration::from_secs(8 * 24 * 3600);
const COMMITS: u64 = 20;
const STRAYS: u64 = 100;
const NAMESPACE: &str = "bench";
const TABLE: &str = "events";

/// Days ago.
#[derive(Debug)]
struct PastClock {
    system: Ambient,
    ago: Duration,
}

#[async_trait]
impl Clock for PastClock {
    fn now(&self) -> TimestampMs {
        let ago = i64::try_from(self.ago.as_millis()).unwrap_or(i64::MAX);
        TimestampMs(self.system.clock.now().get() - ago)
    }
    fn monotonic(&self) -> Duration {
        self.system.clock.monotonic()
    }
    async fn sleep(&self, duration: Duration) {
        self.system.clock.sleep(duration).await;
    }
}

/// Makes the table, has its night, prints the line.
pub(crate) fn run(files: u64) -> Result<()> {
    SMALL.make()?;
    // Beside the files that it links.
    let folder = tempfile::tempdir_in(crate::tables::root()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let night = Night {
        folder: folder.path().to_owned(),
        files,
    };
    runtime.block_on(night.make())?;
    night.configure()?;
    // What one look finds goes with a later one.
    let looked = night.icepress(&["maintain", "bench.events", "--only", "orphans"])?;
    ensure!(looked.status.success(), "the first look for orphans failed");
    let before = night.data_files()?;
    let spent = night.run_once()?;
    let after = night.data_files()?;
    ensure!(
        before as u64 == 2 * files + STRAYS && (after as u64) <= files + files / 20,
        "{before} data files before, {after} afterwards: {}",
        spent.told
    );
    println!(
        "night files={files} bytes_mb={:.0} s={:.2} cpu_s={:.2} peak_rss_mb={:.0} data_files={before}->{after} did={}",
        SMALL
            .inputs(|_| Vec::new())?
            .iter()
            .take(files as usize)
            .map(|it| it.size.get())
            .sum::<u64>() as f64
            / 1e6,
        spent.seconds,
        spent.cpu_seconds,
        spent.peak_rss_mb,
        spent.told,
    );
    Ok(())
}

/// What the run took.
struct Spent {
    seconds: f64,
    cpu_seconds: f64,
    peak_rss_mb: f64,
    told: String,
}

struct Ended {
    status: std::process::ExitStatus,
    output: Vec<u8>,
    peak_rss_mb: f64,
}

struct Night {
    folder: PathBuf,
    files: u64,
}

impl Night {
    fn warehouse(&self) -> Result<String> {
        let folder = self.folder.to_str().context("a folder that is not UTF-8")?;
        Ok(format!("file://{folder}/warehouse"))
    }

    fn table_folder(&self) -> PathBuf {
        self.folder.join("warehouse").join(NAMESPACE).join(TABLE)
    }

    fn data_files(&self) -> Result<usize> {
        Ok(fs::read_dir(self.table_folder().join("data"))?.count())
    }

    async fn make(&self) -> Result<()> {
        let data = self.table_folder().join("data");
        fs::create_dir_all(&data)?;
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::new());
        let uri = format!("sqlite:///{}", self.folder.join("catalog.db").display());
        let name = CatalogName::from("default");
        let system = Ambient::system();
        let catalog = SqlCatalog::create(name.clone(), &uri, Arc::clone(&storage), system.clone());
        let catalog = Arc::new(catalog.await?);
        let namespace = Namespace::from_dotted(NAMESPACE);
        catalog.create_namespace(&namespace).await?;
        let table = TableId {
            catalog: name,
            namespace,
            name: TABLE.to_owned(),
        };
        // As it is: whoever makes a table by its schema alone gives its columns other ids than the files have.
        let location = format!("{}/{NAMESPACE}/{TABLE}", self.warehouse()?);
        let row_group = Bytes(128 << 20);
        let metadata = events::table(&SMALL, Path::new(&location), 2, row_group)?;
        let first_state = format!("{location}/metadata/00000-{}.metadata.json", system.uuid());
        let written = serde_json::to_vec::<TableMetadata>(&metadata)?;
        let options = WriteOptions::default();
        storage
            .put(&first_state, written.into(), PutMode::CreateOnly, &options)
            .await?;
        catalog
            .register(&table, &MetadataLocation::from(first_state.as_str()))
            .await?;
        let context = |ago: Duration| CommitContext {
            catalog: Arc::clone(&catalog) as Arc<dyn Catalog>,
            storage: Arc::clone(&storage),
            ambient: Ambient {
                clock: Arc::new(PastClock {
                    system: system.clone(),
                    ago,
                }),
                ..system.clone()
            },
            policy: CommitPolicy::default(),
        };
        let first = context(PAST);
        let replaced = self.link(&data, "old")?;
        append_files(&first, &table, &replaced).await?;
        let live = self.link(&data, "new")?;
        let size = live.len().div_ceil(COMMITS as usize);
        for (number, some) in live.chunks(size).enumerate() {
            let then = context(PAST / 2 - Duration::from_secs(60) * number as u32);
            if number == 0 {
                let base = catalog.load(&table).await?;
                let gone: Vec<RemovedFile> = replaced
                    .iter()
                    .map(|it| RemovedFile::of(&it.file))
                    .collect();
                overwrite_files(&then, &base, some, &gone).await?;
            } else {
                append_files(&then, &table, some).await?;
            }
        }
        let now = u64::try_from(system.now().get()).unwrap_or_default();
        let then = SystemTime::UNIX_EPOCH + Duration::from_millis(now) - PAST;
        for number in 0..STRAYS {
            let path = data.join(format!("left-{number}.parquet"));
            fs::write(&path, "left")?;
            fs::File::options()
                .write(true)
                .open(path)?
                .set_modified(then)?;
        }
        Ok(())
    }

    /// The bench's files under names of the table's.
    fn link(&self, data: &Path, name: &str) -> Result<Vec<AddedFile>> {
        let inputs = SMALL.inputs(|_| Vec::new())?;
        let mut files = Vec::new();
        for (number, input) in inputs.iter().take(self.files as usize).enumerate() {
            let file = format!("{name}-{number:05}.parquet");
            fs::hard_link(&input.path, data.join(&file))?;
            let path = format!("{}/{NAMESPACE}/{TABLE}/data/{file}", self.warehouse()?);
            files.push(AddedFile {
                spec_id: SpecId(0),
                file: data_file(path, input.size.get(), input.rows.get())?,
            });
        }
        Ok(files)
    }

    fn configure(&self) -> Result<()> {
        let folder = self.folder.display();
        let warehouse = self.warehouse()?;
        let text = format!(
            "[maintain]\nexpire = true\nmanifests = true\norphans = true\n\n[catalog.default]\ntype = \"sql\"\n\
             uri = \"sqlite:///{folder}/catalog.db\"\nwarehouse = \"{warehouse}\"\n"
        );
        Ok(fs::write(self.folder.join("icepress.toml"), text)?)
    }

    fn icepress(&self, words: &[&str]) -> Result<Ended> {
        let beside = std::env::current_exe()?.with_file_name("icepress");
        let binary = std::env::var_os("ICEPRESS_BIN").map_or(beside, PathBuf::from);
        let child = Command::new(&binary)
            .arg("--state")
            .arg(self.folder.join("state.db"))
            .arg("--json")
            .args(words)
            .current_dir(&self.folder)
            .env("HOME", &self.folder)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| {
                format!(
                    "{}: build it with cargo build --release --bin icepress",
                    binary.display()
                )
            })?;
        watched(child)
    }

    fn run_once(&self) -> Result<Spent> {
        let clock = Ambient::system().clock;
        let (began, cpu) = (clock.monotonic(), children_cpu_seconds()?);
        let ended = self.icepress(&["run", "--once"])?;
        let seconds = (clock.monotonic() - began).as_secs_f64();
        let told: Value =
            serde_json::from_slice(&ended.output).context("what it told is no JSON")?;
        ensure!(ended.status.success(), "the night failed: {told}");
        let table = &told["tables"][0];
        if table["maintained"].as_array().is_none_or(Vec::is_empty) {
            bail!("nothing was done beside the rewrite: {told}");
        }
        Ok(Spent {
            seconds,
            cpu_seconds: children_cpu_seconds()? - cpu,
            peak_rss_mb: ended.peak_rss_mb,
            told: table["maintained"].to_string(),
        })
    }
}

/// The output of a process, and the most memory that it had.
fn watched(mut child: Child) -> Result<Ended> {
    let status = format!("/proc/{}/status", child.id());
    let mut output = child.stdout.take().context("its output")?;
    let reader = std::thread::spawn(move || {
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut output, &mut read).map(|_| read)
    });
    let mut peak_rss_mb = 0.0_f64;
    let ended = loop {
        // Of a process that has ended nothing is told any more.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes =
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        peak_rss_mb = peak_rss_mb.max(kibibytes.unwrap_or(0.0) * 1024.0 / 1e6);
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        // Of another process, in real time.
        #[allow(clippy::disallowed_methods)]
        std::thread::sleep(Duration::from_millis(5));
    };
    let output = reader.join().ok().context("reading its output")??;
    Ok(Ended {
        status: ended,
        output,
        peak_rss_mb,
    })
}

/// CPU seconds of processes that were started here and have ended, from `/proc` as in [`crate::measure`].
fn children_cpu_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, words) = stat.rsplit_once(')').context("/proc/self/stat is odd")?;
    let words: Vec<&str> = words.split_whitespace().collect();
    let ticks = |index: usize| -> Result<f64> {
        Ok(words
            .get(index)
            .context("/proc/self/stat is short")?
            .parse()?)
    };
    Ok((ticks(13)? + ticks(14)?) / 100.0)
}

fn data_file(path: String, size: u64, rows: u64) -> Result<DataFile> {
    Ok(DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(path)
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .partition_spec_id(0)
        .record_count(rows)
        .file_size_in_bytes(size)
        .build()?)
}
