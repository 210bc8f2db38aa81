//! Whether the state file is sound and can be written.

use async_trait::async_trait;

use super::SqliteStore;
use crate::{Examine, Finding};

#[async_trait]
impl Examine for SqliteStore {
    async fn examine(&self) -> Vec<Finding> {
        let file = &self.file;
        let subject = format!("state file {}", file.path.display());
        let checked = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&file.readers)
            .await;
        let sound: String = match checked {
            Ok(sound) => sound,
            Err(error) => error.to_string(),
        };
        let sound = if sound == "ok" {
            Finding::well(&subject, "is sound")
        } else {
            Finding::wrong(
                &subject,
                format!("is damaged: {sound}"),
                "remove it: icepress looks at every table anew, and loses nothing but history",
            )
        };
        let writable = match file.begin().await {
            Ok(_rolled_back) => Finding::well(&subject, "can be written"),
            Err(error) => Finding::wrong(
                &subject,
                error.to_string(),
                "give yourself the right to write it, or choose another file with --state",
            ),
        };
        vec![sound, writable]
    }
}
