//! Pages merged, against rows decoded: the same rows, the same entries for manifests, and nothing that bytes of anybody's
//! could do to us.

mod bytes;
mod rows;

use super::layout::{Atom, Sizes, layout};

fn atom(file: usize, bytes: u64) -> Atom {
    Atom {
        file,
        row_group: 0,
        rows: bytes,
        bytes,
    }
}

const SIZES: Sizes = Sizes {
    file: 1000,
    row_group: 300,
    rows: u64::MAX,
};

#[test]
fn row_groups_become_about_equally_large_in_the_order_of_the_inputs() {
    let atoms: Vec<Atom> = (0..25).map(|file| atom(file, 100)).collect();
    let files = layout(&atoms, SIZES).unwrap();
    let flat: Vec<Atom> = files.iter().flatten().flatten().copied().collect();
    assert_eq!(flat, atoms);
    assert_eq!(files.len(), 3);
    for row_group in files.iter().flatten() {
        assert!((2..=4).contains(&row_group.len()), "{files:?}");
    }
    // A small rest stays with the last file.
    let files = layout(&atoms[..12], SIZES).unwrap();
    assert_eq!(files.len(), 1);
}

#[test]
fn what_is_to_be_divided_is_not_merged() {
    for atom in [atom(0, 376), atom(0, 5000)] {
        assert!(layout(&[atom], SIZES).is_err());
    }
    let rows = Sizes { rows: 99, ..SIZES };
    assert!(layout(&[atom(0, 100)], rows).is_err());
    let few = Sizes { rows: 250, ..SIZES };
    let atoms: Vec<Atom> = (0..6).map(|file| atom(file, 100)).collect();
    for row_group in layout(&atoms, few).unwrap().iter().flatten() {
        assert!(row_group.len() <= 2);
    }
    assert!(layout(&[], SIZES).unwrap().is_empty());
}
