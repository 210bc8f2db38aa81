//! `shared/README.md` says who may import whom, and where things are: both are held against what is there.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const PREFIX: &str = "icepress-";

/// How the map's tables of crates begin.
const HEADINGS: [&str; 3] = [
    "| crate | what it knows",
    "| helper | what it is",
    "| program | what it is",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The crates of a table of the map, in its order, each with what it imports: the first and the last column.
fn drawn(map: &str, heading: &str) -> Vec<(String, BTreeSet<String>)> {
    let table = map.split(heading).nth(1).expect("the table is there");
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let names = |cell: &str| -> Vec<String> {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect()
        };
        let first = names(cells[0]).remove(0);
        let imports = names(cells[cells.len() - 1]).into_iter().collect();
        (first, imports)
    })
    .collect()
}

/// The crates of a folder, each with what its manifest imports of ours; what only tests need is not counted.
fn built(folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let crates = fs::read_dir(root().join(folder)).unwrap();
    let manifests = crates
        .map(|entry| entry.unwrap().path().join("Cargo.toml"))
        .filter(|manifest| manifest.exists());
    manifests
        .map(|manifest| {
            let folder = manifest.parent().unwrap().file_name().unwrap();
            let text = fs::read_to_string(&manifest).unwrap();
            let manifest: toml::Table = text.parse().unwrap();
            let mut imports = BTreeSet::new();
            for kind in ["dependencies", "build-dependencies"] {
                let all = manifest.get(kind).and_then(toml::Value::as_table);
                let ours = all
                    .into_iter()
                    .flatten()
                    .filter_map(|(name, _)| name.strip_prefix(PREFIX));
                imports.extend(ours.map(str::to_owned));
            }
            (folder.to_str().unwrap().to_owned(), imports)
        })
        .collect()
}

fn map() -> String {
    fs::read_to_string(root().join("shared/README.md")).unwrap()
}

#[test]
fn the_map_names_every_crate_with_what_it_imports() {
    let map = map();
    for (heading, folder) in HEADINGS.into_iter().zip(["shared", "tests", "functions"]) {
        let drawn: BTreeMap<_, _> = drawn(&map, heading).into_iter().collect();
        assert_eq!(
            drawn,
            built(folder),
            "drawn on the left, built on the right"
        );
    }
}

#[test]
fn arrows_point_one_way() {
    let map = map();
    let mut above = BTreeSet::new();
    for heading in HEADINGS {
        for (name, imports) in drawn(&map, heading) {
            let below: Vec<_> = imports.difference(&above).collect();
            assert!(
                below.is_empty(),
                "{name} imports {below:?}, which do not stand above it"
            );
            if !heading.starts_with("| program") {
                above.insert(name);
            }
        }
    }
}

#[test]
fn what_the_map_points_at_is_there() {
    let map = map();
    let shared = root().join("shared");
    let mut links = 0;
    for link in map.split("](").skip(1) {
        let target = link.split(')').next().unwrap();
        assert!(shared.join(target).exists(), "{target} is not there");
        links += 1;
    }
    assert!(links > 20, "{links} links were found");
}
