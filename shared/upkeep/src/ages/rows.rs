//! Files that have old rows beside others, written anew without them.
//!
//! They are rewritten as every file is, with the deletes applied that they have, in the table's own order and keeping the ids of rows;
//! what comes of it is committed by the rules for rewrites. Small ones of a partition become one.

use std::collections::HashSet;

use icepress_catalog::LoadedTable;
use icepress_model::{Attempt, Bytes, Group, GroupTask, OldRows, ProcessId};
use icepress_planner::{base_of, group_all};
use icepress_rewrite::{RewriteContext, rewrite_group};
use icepress_table::{FinishedGroup, Rewritten, scan::open_snapshot};

use crate::UpkeepError;

/// So many bytes of files one run writes anew; the next goes on.
pub const MOST_BYTES: Bytes = Bytes(5 << 30);
const TARGET_SIZE: &str = "write.target-file-size-bytes";

/// How they are written anew.
pub(super) struct RowWork<'a> {
    pub(super) engine: &'a RewriteContext,
    pub(super) process: &'a ProcessId,
    pub(super) attempt: Attempt,
    pub(super) old: OldRows,
}

impl RowWork<'_> {
    /// Writes the files at `paths` anew; `None` where none of them has a row that goes, or can be read.
    pub(super) async fn rewrite(
        &self,
        loaded: &LoadedTable,
        paths: &HashSet<String>,
    ) -> Result<Option<Rewritten>, UpkeepError> {
        let (table, metadata) = (&loaded.table, &loaded.metadata);
        let refused = |message: String| UpkeepError::refused(table, message);
        let scan = open_snapshot(self.engine.storage.as_ref(), table, metadata).await?;
        let location = &loaded.metadata_location;
        let Some(base) = base_of(&scan, metadata, location) else {
            return Ok(None);
        };
        let (groups, _) = group_all(&scan, metadata).map_err(|error| refused(error.to_string()))?;
        let target = metadata.properties().get(TARGET_SIZE);
        let target = target.and_then(|text| text.trim().parse().ok()).map(Bytes);
        let mut finished = Vec::new();
        for mut group in groups {
            group.inputs.retain(|input| paths.contains(&input.path));
            if group.inputs.is_empty() {
                continue;
            }
            let index = u32::try_from(finished.len()).unwrap_or(u32::MAX);
            let task = GroupTask {
                table: table.clone(),
                process: self.process.clone(),
                index,
                base: base.clone(),
                group: Group {
                    without: Some(self.old),
                    target_file_size: target.unwrap_or(group.target_file_size),
                    ..group
                },
                pace: None,
            };
            let written = rewrite_group(self.engine, metadata, &task, self.attempt).await;
            let result = written.map_err(|failure| UpkeepError::NotWritten {
                message: failure.message,
            })?;
            finished.push(FinishedGroup {
                index,
                group: task.group,
                result,
            });
        }
        Ok((!finished.is_empty()).then_some(Rewritten {
            base,
            groups: finished,
        }))
    }
}
