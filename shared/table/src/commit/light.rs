//! Light groups: data files that stay, and whose deletes were written anew.
//!
//! What must hold before one is committed, beside what holds for every group: each delete file that it speaks for is
//! live and the very one that was read; no data file gets a second vector; and position deletes are numbered so that
//! they apply to the data file that they name. What holds after: a delete file goes only when each surviving data file
//! that it could match has what it said in its new delete files (case C46), which `cleanup` sees to.

use std::collections::{HashMap, HashSet};

use icepress_catalog::LoadedTable;
use icepress_model::Tier;

use super::{
    FinishedGroup,
    accepted::{Conversion, NewDelete, Refusal, Taken, identity},
    live::{EntryRef, LiveTable},
};
use crate::manifests::{Entry, OutputFile, Version};

/// Delete entries of the live table, by what tells them apart. `None` where two share it.
pub(super) type LiveDeletes<'a> = HashMap<(&'a str, Option<u64>), Option<EntryRef>>;

/// Indexes the live delete entries.
pub(super) fn live_deletes(live: &LiveTable) -> LiveDeletes<'_> {
    let mut by_identity = HashMap::with_capacity(live.deletes.len());
    for place in &live.deletes {
        by_identity
            .entry(live.entry(*place).file.identity())
            .and_modify(|known| *known = None)
            .or_insert(Some(*place));
    }
    by_identity
}

/// Checks a light group's new delete files against its inputs, live at `inputs`.
pub(super) fn conversion(
    loaded: &LoadedTable,
    live: &LiveTable,
    live_deletes: &LiveDeletes<'_>,
    finished: &FinishedGroup,
    inputs: &[EntryRef],
    taken: &Taken,
) -> Result<Conversion, Refusal> {
    let group = &finished.group;
    debug_assert_eq!(group.tier, Tier::Light);
    if !finished.result.data_files.is_empty() {
        let reason = "a rewrite of delete files has new data files: refused";
        return Err(Refusal::gate(reason.to_owned()));
    }
    let mut conversion = Conversion {
        rewritten: rewritten_deletes(live, live_deletes, finished)?,
        ..Conversion::default()
    };
    let by_path: HashMap<&str, usize> = group
        .inputs
        .iter()
        .enumerate()
        .map(|(index, input)| (input.path.as_str(), index))
        .collect();
    let needs_vectors = Version::of(&loaded.metadata) >= Version::V3;
    let live_paths: HashSet<&str> = live_deletes.keys().map(|(path, _)| *path).collect();
    let mut own = HashSet::new();
    let mut named = HashSet::new();
    for json in &finished.result.delete_files {
        let file: OutputFile = serde_json::from_value(json.clone())
            .map_err(|error| format!("a new delete file's description can't be read: {error}"))
            .map_err(Refusal::gate)?;
        let path = &file.file_path;
        if file.content != 1 {
            return Err(Refusal::gate(format!(
                "its new file {path} holds no position deletes"
            )));
        }
        let about: Vec<usize> = match &file.referenced_data_file {
            Some(referenced) => by_path
                .get(referenced.as_str())
                .copied()
                .into_iter()
                .collect(),
            // Position deletes of several data files: any of those that had deletes.
            None if !file.is_vector() => {
                let rewritten = conversion.rewritten.iter().enumerate();
                rewritten
                    .filter(|(_, rewritten)| !rewritten.is_empty())
                    .map(|(index, _)| index)
                    .collect()
            }
            None => Vec::new(),
        };
        if about.is_empty() {
            return Err(Refusal::gate(format!(
                "its new delete file {path} is about none of its data files"
            )));
        }
        if let Some(index) = about.iter().find(|index| !named.insert(**index)) {
            return Err(Refusal::gate(format!(
                "two of its new delete files are about {}",
                group.inputs[*index].path
            )));
        }
        if file.is_vector() != needs_vectors {
            let (has, wants) = match needs_vectors {
                true => ("position deletes", "wants deletion vectors"),
                false => ("a deletion vector", "has none"),
            };
            return Err(Refusal::from(format!(
                "its new file {path} holds {has}, and the table's format version {wants} now"
            )));
        }
        if file.is_vector()
            && (file.content_offset.is_none() || file.content_size_in_bytes.is_none())
        {
            return Err(Refusal::gate(format!(
                "its new file {path} does not say where a vector lies"
            )));
        }
        if live_paths.contains(path.as_str()) || taken.outputs.contains(path) {
            return Err(Refusal::gate(format!(
                "its new file {path} is in the table already"
            )));
        }
        let (offset_path, offset) = file.identity();
        if !own.insert((offset_path.to_owned(), offset)) {
            return Err(Refusal::gate(format!(
                "its new file {path} is to be added twice"
            )));
        }
        let rewritten = about.iter().flat_map(|index| &conversion.rewritten[*index]);
        let rewritten = || rewritten.clone().map(|place| live.entry(*place));
        let Some(sequence_number) = rewritten().map(|delete| delete.sequence_number).max() else {
            return Err(Refusal::gate(format!(
                "its new delete file {path} hides rows of a data file that no delete file was about: refused"
            )));
        };
        let mut data = about.iter().map(|index| live.entry(inputs[*index]));
        let data_rows: u64 = data.clone().map(|data| data.file.rows).sum();
        if let Some(newer) = data.find(|data| sequence_number < data.sequence_number) {
            return Err(Refusal::gate(format!(
                "its new delete file {path} would not apply to {}: refused",
                newer.file.path
            )));
        }
        // A vector holds each position once: no vector that takes its place can have fewer.
        let vectors = rewritten().filter(|delete| delete.file.is_vector());
        let least = vectors.map(|delete| delete.file.rows).max().unwrap_or(1);
        let rows = u64::try_from(file.record_count).unwrap_or(0);
        if rows < least.max(1) || rows > data_rows {
            return Err(Refusal::gate(format!(
                "its new delete file {path} hides {} of the {data_rows} rows of {}, where {least} were hidden before: \
                 refused",
                file.record_count, group.inputs[about[0]].path
            )));
        }
        if file.is_vector() {
            conversion.with_vector.extend(&about);
        }
        conversion.deletes.push(NewDelete {
            file,
            sequence_number,
        });
    }
    check_counts(live, finished, inputs, &conversion).map_err(Refusal::gate)?;
    Ok(conversion)
}

/// For each input the live entries of the deletes that were read for it: each still there, and unchanged.
fn rewritten_deletes(
    live: &LiveTable,
    live_deletes: &LiveDeletes<'_>,
    finished: &FinishedGroup,
) -> Result<Vec<HashSet<EntryRef>>, String> {
    let group = &finished.group;
    let mut places = Vec::with_capacity(group.deletes.len());
    for delete in &group.deletes {
        let path = &delete.path;
        let place = match live_deletes.get(&identity(delete)) {
            Some(Some(place)) => *place,
            Some(None) => return Err(format!("the table lists {path} more than once")),
            None => {
                return Err(format!(
                    "{path} is not in the table any more: another writer removed it"
                ));
            }
        };
        let Entry {
            sequence_number,
            file,
            ..
        } = live.entry(place);
        let seen = (*sequence_number, file.rows, file.size);
        if seen
            != (
                delete.sequence_number.get(),
                delete.rows.get(),
                delete.size.get(),
            )
        {
            return Err(format!(
                "{path} is another file now than the one that was read"
            ));
        }
        places.push(place);
    }
    let rewritten_of = |indices: &Vec<u32>| {
        let rewritten = indices
            .iter()
            .map(|index| places.get(*index as usize).copied());
        rewritten
            .collect::<Option<HashSet<EntryRef>>>()
            .ok_or_else(|| "its plan names a delete file that it does not have".to_owned())
    };
    group
        .inputs
        .iter()
        .map(|input| rewritten_of(&input.deletes))
        .collect()
}

/// Rows before = rows after, by the count of deletes.
fn check_counts(
    live: &LiveTable,
    finished: &FinishedGroup,
    inputs: &[EntryRef],
    conversion: &Conversion,
) -> Result<(), String> {
    let result = &finished.result;
    let rows: u64 = inputs
        .iter()
        .map(|place| live.entry(*place).file.rows)
        .sum();
    let hidden: u64 = conversion
        .deletes
        .iter()
        .map(|delete| delete.file.record_count.unsigned_abs())
        .sum();
    if rows != result.rows_in.get() || hidden != result.rows_deleted.get() {
        return Err(format!(
            "{} rows with {} deleted were found where the table has {rows} and the new delete files hide {hidden}: \
             refused",
            result.rows_in, result.rows_deleted
        ));
    }
    if rows.checked_sub(hidden) != Some(result.rows_out.get()) {
        return Err(format!(
            "{rows} rows in and {hidden} deleted do not make {} rows out: refused",
            result.rows_out
        ));
    }
    Ok(())
}
