//! What is wrong with a table's manifests, for people: every change, before and after.

use icepress_table::{Duplicate, FileRepair, Repairs};

use super::counted;

/// What was found or, where it was `applied`, mended. Duplicates are mended only `with_duplicates`.
pub(crate) fn of_repairs(found: &Repairs, applied: bool, with_duplicates: bool) -> String {
    let mut text = String::new();
    for file in &found.files {
        text.push_str(&of_file(file));
    }
    for manifest in &found.manifests {
        text.push_str(&format!("{}\n", manifest.path));
        for fault in &manifest.faults {
            text.push_str(&format!("  {fault}\n"));
        }
    }
    for duplicate in &found.duplicates {
        text.push_str(&of_duplicate(duplicate, applied && with_duplicates));
    }
    let doubled = found.duplicates.iter().filter(|it| it.changes_rows());
    let doubled: u64 = doubled
        .map(|it| it.rows * it.dropped_sequence_numbers.len() as u64)
        .sum();
    if doubled > 0 && !(applied && with_duplicates) {
        text.push_str(&format!(
            "CHANGES WHAT READERS SEE: with --drop-duplicates {} that they read twice now are read once\n",
            counted(doubled, "row")
        ));
    }
    for left in &found.left {
        text.push_str(&format!(
            "{}\n  can't be repaired: {}\n  {}\n",
            left.file, left.what, left.advice
        ));
    }
    text
}

fn of_file(file: &FileRepair) -> String {
    let mut text = format!("{} ({})\n", file.path, file.kind);
    for correction in &file.corrections {
        text.push_str(&format!(
            "  {}: {} → {}\n",
            correction.what, correction.before, correction.after
        ));
    }
    text
}

fn of_duplicate(duplicate: &Duplicate, dropped: bool) -> String {
    let others: Vec<String> = duplicate
        .dropped_sequence_numbers
        .iter()
        .map(i64::to_string)
        .collect();
    let listings = duplicate.dropped_sequence_numbers.len() as u64 + 1;
    let fate = if dropped {
        "now once"
    } else {
        "--drop-duplicates lists it once"
    };
    format!(
        "{} ({})\n  listed {}, {fate}: at sequence number {}, and no more at {}\n",
        duplicate.path,
        duplicate.kind,
        counted(listings, "time"),
        duplicate.kept_sequence_number,
        others.join(", ")
    )
}
