//! Where outputs go: the table's own location provider, and names that no other attempt has.

use iceberg::spec::{Datum, PrimitiveLiteral, TableMetadata, Transform};
use iceberg::transform::create_transform_function;
use icepress_model::{Attempt, GroupTask};

use crate::failure::{Result, unsupported};

/// How many bits of the hash go into a path, and how many folders they make (Iceberg's `LocationProviders`).
const HASH_BITS: u32 = 20;
const FOLDERS: usize = 3;
const BITS_PER_FOLDER: usize = 4;

/// Names the files of one attempt at one group.
#[derive(Debug, Clone)]
pub(crate) struct Locations {
    /// The data location, without a slash at its end.
    root: String,
    layout: Layout,
    /// The partition as path segments; empty for an unpartitioned spec.
    partition: String,
    /// The part of the file names that the attempt fixes.
    stem: String,
    files: u32,
}

#[derive(Debug, Clone)]
enum Layout {
    /// `root/partition/name`.
    Plain,
    /// `root/hash/context/partition/name`, where S3 spreads requests over the hash.
    Hashed {
        /// Set where the data lies outside the table's location: the table's last two folders.
        context: Option<String>,
        with_partition: bool,
    },
}

/// The folder that a table's new data and delete files go below, without a slash at its end: the one that it declares,
/// else `data` in its location.
pub fn data_folder(metadata: &TableMetadata) -> String {
    let property = |key: &str| metadata.properties().get(key).map(String::as_str);
    let hashed = is_true(metadata, "write.object-storage.enabled", false);
    let declared = property("write.data.path")
        .or_else(|| property("write.object-storage.path").filter(|_| hashed))
        .or_else(|| property("write.folder-storage.path"));
    match declared {
        Some(location) => location.trim_end_matches('/').to_owned(),
        None => format!("{}/data", metadata.location().trim_end_matches('/')),
    }
}

fn is_true(metadata: &TableMetadata, key: &str, default: bool) -> bool {
    let value = metadata.properties().get(key);
    value.map_or(default, |value| value.eq_ignore_ascii_case("true"))
}

impl Locations {
    /// For `partition`, the path form of the group's partition.
    pub(crate) fn new(
        metadata: &TableMetadata,
        task: &GroupTask,
        attempt: Attempt,
        partition: String,
    ) -> Result<Self> {
        let property = |key: &str| metadata.properties().get(key).map(String::as_str);
        if let Some(custom) = property("write.location-provider.impl") {
            return Err(unsupported(format!(
                "files of this table are named by a class of its writers ({custom}), which can't be run here: remove \
                 write.location-provider.impl to have it rewritten"
            )));
        }
        let hashed = is_true(metadata, "write.object-storage.enabled", false);
        let table_location = metadata.location().trim_end_matches('/');
        let root = data_folder(metadata);
        let layout = if hashed {
            Layout::Hashed {
                context: (!root.starts_with(table_location)).then(|| context(table_location)),
                with_partition: is_true(metadata, "write.object-storage.partitioned-paths", true),
            }
        } else {
            Layout::Plain
        };
        Ok(Self {
            root,
            layout,
            partition,
            stem: format!("{:05}-{}-{}", task.index, attempt, task.process),
            files: 0,
        })
    }

    /// The location of the next data file.
    pub(crate) fn next(&mut self) -> Result<String> {
        self.next_with(".parquet")
    }

    /// The location of the next file, whose name ends so.
    pub(crate) fn next_with(&mut self, ending: &str) -> Result<String> {
        self.files += 1;
        let name = format!("{}-{:05}{ending}", self.stem, self.files);
        let in_partition = if self.partition.is_empty() {
            name.clone()
        } else {
            format!("{}/{name}", self.partition)
        };
        let root = &self.root;
        Ok(match &self.layout {
            Layout::Plain => format!("{root}/{in_partition}"),
            Layout::Hashed {
                context,
                with_partition,
            } => {
                let name = if *with_partition { in_partition } else { name };
                let hash = hash_folders(&name)?;
                match (context, with_partition) {
                    (Some(context), _) => format!("{root}/{hash}/{context}/{name}"),
                    (None, true) => format!("{root}/{hash}/{name}"),
                    (None, false) => format!("{root}/{hash}-{name}"),
                }
            }
        })
    }
}

/// The last two folders of a table's location.
fn context(location: &str) -> String {
    let path = location
        .split_once("://")
        .map_or(location, |(_, rest)| rest);
    let folders: Vec<&str> = path
        .split('/')
        .filter(|folder| !folder.is_empty())
        .collect();
    folders[folders.len().saturating_sub(2)..].join("/")
}

/// `0101/0110/1001/10110010`: the last 20 bits of the name's 32-bit Murmur3 hash.
fn hash_folders(name: &str) -> Result<String> {
    let bits = format!("{:0width$b}", hash(name)?, width = HASH_BITS as usize);
    let mut folders: Vec<&str> = (0..FOLDERS)
        .map(|folder| &bits[folder * BITS_PER_FOLDER..(folder + 1) * BITS_PER_FOLDER])
        .collect();
    folders.push(&bits[FOLDERS * BITS_PER_FOLDER..]);
    Ok(folders.join("/"))
}

/// The last 20 bits of the Murmur3 hash of a text. Iceberg's bucket transform is that very hash, without its sign,
/// modulo the number of buckets; 2²⁰ buckets leave its last 20 bits.
fn hash(name: &str) -> Result<i32> {
    let failed = |error| unsupported(format!("{name} can't be hashed: {error}"));
    let bucket = create_transform_function(&Transform::Bucket(1 << HASH_BITS))
        .and_then(|transform| transform.transform_literal_result(&Datum::string(name)))
        .map_err(failed)?;
    match bucket.literal() {
        PrimitiveLiteral::Int(bits) => Ok(*bits),
        other => Err(unsupported(format!("{name} hashes to {other:?}"))),
    }
}

#[cfg(test)]
mod tests;
