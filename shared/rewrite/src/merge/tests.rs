//! Pages merged, against rows decoded: the same rows, the same entries for manifests, and nothing that bytes of anybody's
//! could do to us.

mod bytes;
mod distinct;
mod rows;
mod whole;

use super::layout::{Atom, Next, Sizes, check, joined, next};

/// A row group that is large enough as it is stands alone, between others that are joined.
#[test]
fn what_is_copied_whole_is_a_row_group_of_its_own() {
    let whole = Atom {
        whole: true,
        ..atom(1, 60)
    };
    let atoms = [
        atom(0, 10),
        atom(0, 10),
        whole,
        whole,
        atom(2, 10),
        atom(2, 10),
    ];
    let mut left = &atoms[..];
    let mut counts = Vec::new();
    while let Next::RowGroup(count) = next(left, SIZES, 0) {
        counts.push(count);
        left = &left[count..];
    }
    assert_eq!(counts, [2, 1, 1, 2]);
}

fn atom(file: usize, bytes: u64) -> Atom {
    Atom {
        file,
        row_group: 0,
        rows: bytes,
        bytes,
        whole: false,
        footer: 0,
    }
}

const SIZES: Sizes = Sizes {
    file: 1000,
    row_group: 300,
    rows: u64::MAX,
};

/// The row groups of each file.
fn files(atoms: &[Atom], sizes: Sizes) -> Vec<Vec<Vec<Atom>>> {
    let (mut files, mut left, mut open) = (vec![Vec::new()], atoms, 0);
    while !left.is_empty() {
        match next(left, sizes, open) {
            Next::EndOfFile => {
                assert!(open > 0, "a file without a row group");
                (open, _) = (0, files.push(Vec::new()));
            }
            Next::RowGroup(count) => {
                let (group, rest) = left.split_at(count);
                open += joined(group);
                files.last_mut().unwrap().push(group.to_vec());
                left = rest;
            }
        }
    }
    files
}

#[test]
fn row_groups_become_about_equally_large_in_the_order_of_the_inputs() {
    let atoms: Vec<Atom> = (0..25).map(|file| atom(file, 100)).collect();
    let made = files(&atoms, SIZES);
    let flat: Vec<Atom> = made.iter().flatten().flatten().copied().collect();
    assert_eq!(flat, atoms);
    assert_eq!(made.len(), 3);
    for row_group in made.iter().flatten() {
        assert!((2..=4).contains(&row_group.len()), "{made:?}");
    }
    // A small rest stays with the last file.
    assert_eq!(files(&atoms[..12], SIZES).len(), 1);
    // Footers count, or what is made of small files is too large; but those of one row group are joined into one.
    let small: Vec<Atom> = (0..20)
        .map(|file| Atom {
            footer: 100,
            ..atom(file, 20)
        })
        .collect();
    let counts = |sizes| files(&small, sizes).len();
    assert_eq!(
        (counts(SIZES), counts(Sizes { file: 250, ..SIZES })),
        (1, 3)
    );
    // Half as many bytes come out of it: files take in twice as many.
    assert_eq!(files(&atoms, SIZES.before(0.5)).len(), 1);
}

#[test]
fn what_is_to_be_divided_is_not_merged() {
    for atom in [atom(0, 376), atom(0, 5000)] {
        assert!(check(&[atom], SIZES).is_err());
    }
    assert!(check(&[atom(0, 300)], SIZES).is_ok());
    let rows = Sizes { rows: 99, ..SIZES };
    assert!(check(&[atom(0, 100)], rows).is_err());
    let few = Sizes { rows: 250, ..SIZES };
    let atoms: Vec<Atom> = (0..6).map(|file| atom(file, 100)).collect();
    for row_group in files(&atoms, few).iter().flatten() {
        assert!(row_group.len() <= 2);
    }
    assert_eq!(next(&[], SIZES, 0), Next::EndOfFile);
}
