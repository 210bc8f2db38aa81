//! Files that are marked before they go: by a tag on the object, which says since when. A later run deletes what is marked for
//! long enough, or a lifecycle rule of the bucket's does; who looks meanwhile finds everything in its place.
//!
//! The tag is all that is remembered, so that nothing can contradict it.

use std::{collections::BTreeMap, time::Duration};

use icepress_model::TimestampMs;
use icepress_storage::{Storage, StorageError, StorageErrorKind};

use crate::DeadFile;

/// The tag's key; its value is a moment, as in `2026-11-29T01:02:03Z`.
pub(crate) const TAG: &str = "icepress-quarantine";

/// How a run marks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quarantine {
    /// For how long a file is marked before it goes.
    pub(crate) age: Duration,
    pub(crate) now: TimestampMs,
}

/// What is to become of a file that would go otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It was marked for long enough.
    Over,
    /// It is marked, and not for long enough.
    Inside,
    /// It is not marked.
    Outside,
    /// It is not there any more.
    Gone,
}

impl Quarantine {
    /// Asks for the file's tags, and nothing else.
    pub(crate) async fn look(
        self,
        storage: &dyn Storage,
        file: &DeadFile,
    ) -> Result<Admission, StorageError> {
        let tags = tags_of(storage, &file.path).await?;
        Ok(tags.map_or(Admission::Gone, |tags| self.judge(&tags)))
    }

    /// The same, and marks what is not marked.
    pub(crate) async fn admit(
        self,
        storage: &dyn Storage,
        file: &DeadFile,
    ) -> Result<Admission, StorageError> {
        let Some(mut tags) = tags_of(storage, &file.path).await? else {
            return Ok(Admission::Gone);
        };
        let found = self.judge(&tags);
        if found != Admission::Outside {
            return Ok(found);
        }
        let since = jiff::Timestamp::from_millisecond(self.now.get());
        let since = since.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let since = since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        tags.insert(TAG.to_owned(), since);
        storage.set_tags(&file.path, &tags).await?;
        Ok(found)
    }

    fn judge(self, tags: &BTreeMap<String, String>) -> Admission {
        // A value that nobody can read begins anew.
        match tags.get(TAG).and_then(|value| moment(value)) {
            None => Admission::Outside,
            Some(since) if since + self.age <= self.now => Admission::Over,
            Some(_) => Admission::Inside,
        }
    }
}

/// Takes the mark off a file that is needed again; returns whether it had one.
pub(crate) async fn release(storage: &dyn Storage, location: &str) -> Result<bool, StorageError> {
    // One that is gone and needed is told of by whoever reads the table.
    let Some(mut tags) = tags_of(storage, location).await? else {
        return Ok(false);
    };
    if tags.remove(TAG).is_none() {
        return Ok(false);
    }
    storage.set_tags(location, &tags).await?;
    Ok(true)
}

/// `None` where it is gone.
async fn tags_of(
    storage: &dyn Storage,
    location: &str,
) -> Result<Option<BTreeMap<String, String>>, StorageError> {
    match storage.tags(location).await {
        Err(error) if error.kind == StorageErrorKind::NotFound => Ok(None),
        tags => tags.map(Some),
    }
}

fn moment(value: &str) -> Option<TimestampMs> {
    let moment: jiff::Timestamp = value.parse().ok()?;
    Some(TimestampMs(moment.as_millisecond()))
}
