//! What goes into which file and row group, told from footers alone.

use super::{Sound, refused};

/// What is too large by one part in so many is left as it is.
const TOLERANCE: u64 = 4;

/// A row group of an input, which stays whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Atom {
    /// The input's index.
    pub(super) file: usize,
    /// The row group's index in it.
    pub(super) row_group: usize,
    pub(super) rows: u64,
    /// Bytes of the columns that are kept.
    pub(super) bytes: u64,
}

/// How large things are to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) file: u64,
    pub(super) row_group: u64,
    pub(super) rows: u64,
}

/// The files that `atoms` become, each with its row groups. Their order is kept: what lay near one another still does, and
/// no file spans a wider range of keys than its part of the inputs.
pub(super) fn layout(atoms: &[Atom], sizes: Sizes) -> Sound<Vec<Vec<Vec<Atom>>>> {
    let too_large = |bytes: u64, wanted: u64| bytes > wanted.saturating_add(wanted / TOLERANCE);
    for atom in atoms {
        let is_large = too_large(atom.bytes, sizes.row_group)
            || too_large(atom.bytes, sizes.file)
            || atom.rows > sizes.rows;
        if is_large {
            return Err(refused("a row group is to be divided"));
        }
    }
    let mut left: u64 = atoms.iter().map(|atom| atom.bytes).sum();
    let mut files: Vec<Vec<Atom>> = Vec::new();
    let mut held = 0;
    for atom in atoms {
        // The last file takes in a small rest.
        let rest_fits = !too_large(held + left, sizes.file);
        let is_full = held + atom.bytes / 2 >= sizes.file && !rest_fits;
        match files.last_mut() {
            Some(file) if !is_full => file.push(*atom),
            _ => {
                files.push(vec![*atom]);
                held = 0;
            }
        }
        held += atom.bytes;
        left -= atom.bytes;
    }
    Ok(files
        .into_iter()
        .map(|file| row_groups(file, sizes))
        .collect())
}

/// The row groups of a file, about equally large.
fn row_groups(file: Vec<Atom>, sizes: Sizes) -> Vec<Vec<Atom>> {
    let all: u64 = file.iter().map(|atom| atom.bytes).sum();
    let count = all.div_ceil(sizes.row_group.saturating_add(sizes.row_group / TOLERANCE));
    // Each goes into the part of the file that its middle lies in.
    let part = |before: u64, atom: &Atom| {
        let middle = u128::from(before + atom.bytes / 2);
        middle * u128::from(count) / u128::from(all.max(1))
    };
    let mut groups: Vec<Vec<Atom>> = Vec::new();
    let (mut before, mut rows, mut open) = (0, 0u64, 0);
    for atom in file {
        let wanted = part(before, &atom);
        before += atom.bytes;
        match groups.last_mut() {
            Some(group) if wanted == open && rows + atom.rows <= sizes.rows => group.push(atom),
            _ => {
                groups.push(vec![atom]);
                (rows, open) = (0, wanted);
            }
        }
        rows += atom.rows;
    }
    groups
}
