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
    /// Whether it is large enough as it is, and may be copied whole.
    pub(super) whole: bool,
    /// Its share of what its file has beside columns: footer and indices, which is most of a small file. Row groups that are
    /// joined share one, about as large as the largest of theirs.
    pub(super) footer: u64,
}

/// What a row group of them all is of a file, with its share of the footer.
pub(super) fn joined(atoms: &[Atom]) -> u64 {
    let bytes: u64 = atoms.iter().map(|atom| atom.bytes).sum();
    bytes.saturating_add(footer(atoms))
}

/// What a row group of them all adds to a footer.
pub(super) fn footer(atoms: &[Atom]) -> u64 {
    atoms.iter().map(|atom| atom.footer).max().unwrap_or(0)
}

/// How large things are to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) file: u64,
    pub(super) row_group: u64,
    pub(super) rows: u64,
}

impl Sizes {
    /// The same in bytes of inputs, of which `ratio` are left once they are written.
    pub(super) fn before(self, ratio: f64) -> Self {
        let before = |bytes: u64| ((bytes as f64 / ratio) as u64).max(1);
        Self {
            file: before(self.file),
            row_group: before(self.row_group),
            rows: self.rows,
        }
    }
}

/// Whether something is so much larger than wanted that it should be divided.
fn is_too_large(bytes: u64, wanted: u64) -> bool {
    bytes > wanted.saturating_add(wanted / TOLERANCE)
}

/// Fails where a row group is so large that it should be divided.
pub(super) fn check(atoms: &[Atom], sizes: Sizes) -> Sound<()> {
    let is_large = |atom: &Atom| {
        is_too_large(atom.bytes, sizes.row_group)
            || is_too_large(atom.bytes, sizes.file)
            || atom.rows > sizes.rows
    };
    match atoms.iter().any(is_large) {
        true => Err(refused("a row group is to be divided")),
        false => Ok(()),
    }
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// A row group of the first so many atoms.
    RowGroup(usize),
    /// The end of the file.
    EndOfFile,
}

/// What comes next of the files that `atoms` become, once `open` bytes are in the file that is open. Their order is kept: what
/// lay near one another still does, and no file spans a wider range of keys than its part of the inputs.
pub(super) fn next(atoms: &[Atom], sizes: Sizes, open: u64) -> Next {
    let mut count = atoms.len();
    // The last file takes in a small rest.
    if is_too_large(open.saturating_add(joined(atoms)), sizes.file) {
        let (mut bytes, mut footer) = (open, 0);
        let is_full = |atom: &Atom| {
            let held = bytes.saturating_add(footer);
            let full = held > 0 && held.saturating_add(atom.bytes / 2) >= sizes.file;
            bytes = bytes.saturating_add(atom.bytes);
            footer = footer.max(atom.footer);
            full
        };
        count = atoms.iter().position(is_full).unwrap_or(atoms.len());
    }
    match row_groups(&atoms[..count], sizes).first() {
        Some(first) => Next::RowGroup(*first),
        None => Next::EndOfFile,
    }
}

/// How many atoms each row group of a file has; they become about equally large.
fn row_groups(file: &[Atom], sizes: Sizes) -> Vec<usize> {
    let all: u64 = file.iter().map(|atom| atom.bytes).sum();
    let count = all.div_ceil(sizes.row_group.saturating_add(sizes.row_group / TOLERANCE));
    // Each goes into the part of the file that its middle lies in.
    let part = |before: u64, atom: &Atom| {
        let middle = u128::from(before + atom.bytes / 2);
        middle * u128::from(count) / u128::from(all.max(1))
    };
    let mut groups: Vec<usize> = Vec::new();
    let (mut before, mut rows, mut open) = (0, 0u64, 0);
    let mut after_whole = false;
    for atom in file {
        let wanted = part(before, atom);
        before += atom.bytes;
        let is_alone = std::mem::replace(&mut after_whole, atom.whole) || atom.whole;
        match groups.last_mut() {
            Some(group)
                if !is_alone && wanted == open && rows.saturating_add(atom.rows) <= sizes.rows =>
            {
                *group += 1;
            }
            _ => {
                groups.push(1);
                (rows, open) = (0, wanted);
            }
        }
        rows = rows.saturating_add(atom.rows);
    }
    groups
}
