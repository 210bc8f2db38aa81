//! New files: as the rewrite describes them, and as they lie in storage.

use std::collections::{HashMap, HashSet};

use futures::{FutureExt as _, StreamExt as _, stream};
use icepress_storage::StorageErrorKind;

use super::{CONCURRENT_CHECKS, Validation};
use crate::{
    TableError,
    commit::{
        FinishedGroup,
        accepted::{Accepted, Taken},
        live::Survivors,
    },
    delete_index::DataFiles as _,
    manifests::OutputFile,
};

impl Validation<'_> {
    /// Groups with an output that is not in storage as it was written.
    pub(super) async fn wrong_outputs(
        &self,
        by_index: &HashMap<u32, &FinishedGroup>,
        accepted: &[Accepted],
        checked: &mut HashSet<String>,
    ) -> Result<HashMap<u32, String>, TableError> {
        let mut wrong = HashMap::new();
        let mut requests = Vec::new();
        for group in accepted {
            let modified = &by_index[&group.index].result.seen.modified;
            if !modified.is_empty() && modified.len() != group.outputs.len() {
                let message = format!(
                    "{} of its {} new files were looked at after they were written: refused",
                    modified.len(),
                    group.outputs.len()
                );
                wrong.insert(group.index, message);
                continue;
            }
            for (place, output) in group.new_files().enumerate() {
                if !checked.contains(&output.file_path) {
                    let (index, modified) = (group.index, modified.get(place));
                    let info = self.storage.info(&output.file_path);
                    requests.push(info.map(move |answer| (index, output, modified, answer)));
                }
            }
        }
        let mut answers = stream::iter(requests).buffered(CONCURRENT_CHECKS);
        while let Some((index, output, modified, answer)) = answers.next().await {
            let path = &output.file_path;
            let message = match answer {
                Ok(info) if i64::try_from(info.size.get()) != Ok(output.file_size_in_bytes) => {
                    let claimed = output.file_size_in_bytes;
                    format!(
                        "its new file {path} has {} bytes, not {claimed}: refused",
                        info.size.get()
                    )
                }
                Ok(info) if modified.is_some_and(|modified| *modified != info.modified) => {
                    format!(
                        "its new file {path} was written again after the rewrite, at {} ms and not at {} ms: refused",
                        info.modified.get(),
                        modified.map_or(0, |modified| modified.get())
                    )
                }
                Ok(_) => {
                    checked.insert(path.clone());
                    continue;
                }
                Err(error) if error.kind == StorageErrorKind::NotFound => {
                    format!("its new file {path} does not exist: refused")
                }
                Err(source) => {
                    return Err(TableError::of_storage(&self.loaded.table, source));
                }
            };
            wrong.entry(index).or_insert(message);
        }
        Ok(wrong)
    }
}

/// The new files of a group, as its result describes them: each a data file, none in the table, none added twice.
pub(super) fn described(
    finished: &FinishedGroup,
    before: &Survivors<'_>,
    taken: &Taken,
) -> Result<Vec<OutputFile>, String> {
    let mut outputs = Vec::with_capacity(finished.result.data_files.len());
    let mut own = HashSet::new();
    for json in &finished.result.data_files {
        let output: OutputFile = serde_json::from_value(json.clone())
            .map_err(|error| format!("a new file's description can't be read: {error}"))?;
        let path = &output.file_path;
        if output.content != 0 {
            return Err(format!("its new file {path} is no data file"));
        }
        if output.record_count < 0 || output.file_size_in_bytes < 0 {
            return Err(format!("its new file {path} has a negative count"));
        }
        if before.has_path(path) {
            return Err(format!("its new file {path} is in the table already"));
        }
        if !own.insert(path.clone()) || taken.outputs.contains(path) {
            return Err(format!("its new file {path} is to be added twice"));
        }
        outputs.push(output);
    }
    Ok(outputs)
}
