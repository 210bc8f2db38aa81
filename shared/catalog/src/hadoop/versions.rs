//! A table's numbered metadata files, and the hint that tells where to begin looking.
//!
//! The hint may be old or missing: from where it points one goes on to the last number without a gap, and without it the
//! folder is listed. That is how Java finds the newest, and what makes the next number the only one to be won.

use bytes::Bytes as Buffer;
use futures::{FutureExt as _, future::try_join_all};
use icepress_storage::{PutMode, Storage, StorageError, StorageErrorKind, WriteOptions};

const HINT: &str = "version-hint.text";
/// What the names end with, in the order in which Java looks for them; the last is an old form of the one before.
const ENDS: [&str; 3] = [".metadata.json", ".gz.metadata.json", ".metadata.json.gz"];

/// A metadata file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    /// Its number.
    pub(super) number: u64,
    /// Where it lies.
    pub(super) location: String,
}

/// The metadata folder of one table, or of what may be one.
#[derive(Debug)]
pub(super) struct Versions<'a> {
    storage: &'a dyn Storage,
    /// Without a slash at its end.
    folder: String,
}

impl<'a> Versions<'a> {
    /// Of the table in `table_folder`.
    pub(super) fn new(storage: &'a dyn Storage, table_folder: &str) -> Self {
        Self {
            storage,
            folder: format!("{table_folder}/metadata"),
        }
    }

    /// Where the file of a version belongs; `extension` as the compression has it.
    pub(super) fn file(&self, number: u64, extension: &str) -> String {
        self.file_of(&format!("v{number}{extension}"))
    }

    /// Where a file of that name lies.
    pub(super) fn file_of(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// Whether there is a table at all.
    pub(super) async fn exist(&self) -> Result<bool, StorageError> {
        Ok(self.hint().await?.is_some() || self.highest_listed().await?.is_some())
    }

    /// The newest version; `None` where there is no table. A hint that points to a missing file is an error, as for Java:
    /// nobody could say what the table is.
    pub(super) async fn newest(&self) -> Result<Option<Version>, StorageError> {
        let (first, was_hinted) = match self.hint().await? {
            Some(number) => (number, true),
            None => match self.highest_listed().await? {
                Some(number) => (number, false),
                None => return Ok(None),
            },
        };
        let Some(mut newest) = self.find(first).await? else {
            return if was_hinted && self.hint().await?.is_some() {
                Err(StorageError {
                    kind: StorageErrorKind::NotFound,
                    action: "read",
                    location: self.file(first, ENDS[0]),
                    source: Some(format!("{HINT} points to it").into()),
                })
            } else {
                // Dropped while we looked.
                Ok(None)
            };
        };
        while let Some(next) = self.find(newest.number + 1).await? {
            newest = next;
        }
        Ok(Some(newest))
    }

    async fn find(&self, number: u64) -> Result<Option<Version>, StorageError> {
        let looks = ENDS.map(|end| {
            let location = self.file(number, end);
            async move {
                match self.storage.info(&location).await {
                    Ok(_) => Ok(Some(Version { number, location })),
                    Err(error) if error.kind == StorageErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error),
                }
            }
            .boxed()
        });
        Ok(try_join_all(looks).await?.into_iter().flatten().next())
    }

    async fn hint(&self) -> Result<Option<u64>, StorageError> {
        match self.storage.read(&self.file_of(HINT)).await {
            // What is no number is no hint: Java lists the folder then.
            Ok(content) => Ok(std::str::from_utf8(&content)
                .ok()
                .and_then(|text| text.lines().next())
                .and_then(|line| line.trim().parse().ok())),
            Err(error) if error.kind == StorageErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn highest_listed(&self) -> Result<Option<u64>, StorageError> {
        let prefix = self.file_of("v");
        let (mut highest, mut next): (_, Option<String>) = (None, None);
        loop {
            let page = self.storage.list(&prefix, next.as_deref()).await?;
            let numbers = page
                .objects
                .iter()
                .filter_map(|object| number_of(object.location.get(prefix.len()..)?));
            highest = highest.max(numbers.max());
            next = page.next;
            if next.is_none() {
                return Ok(highest);
            }
        }
    }

    /// Leaves the hint at `number`, unless it is there or further already. It is only a hint: that it can't be written is
    /// no failure. Says whether it is there.
    pub(super) async fn hint_at(&self, number: u64) -> bool {
        if matches!(self.hint().await, Ok(Some(hinted)) if hinted >= number) {
            return true;
        }
        // Hadoop's local file system keeps a checksum beside each file, and would find ours wrong.
        let is_local = self.folder.starts_with('/') || self.folder.starts_with("file:");
        if is_local {
            let checksum = self.file_of(&format!(".{HINT}.crc"));
            self.storage.delete(&[checksum]).await;
        }
        let written = self
            .storage
            .put(
                &self.file_of(HINT),
                Buffer::from(number.to_string()),
                PutMode::Overwrite,
                &WriteOptions::default(),
            )
            .await;
        if let Err(error) = &written {
            tracing::debug!(%error, "the version hint could not be written: readers look further by themselves");
        }
        written.is_ok()
    }
}

/// The number of a file whose name is `v` and this.
fn number_of(rest: &str) -> Option<u64> {
    let digits = ENDS.iter().find_map(|end| rest.strip_suffix(end))?;
    // `v1.gz.metadata.json` ends with the shorter form too.
    digits.strip_suffix(".gz").unwrap_or(digits).parse().ok()
}
