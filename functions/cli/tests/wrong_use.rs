//! Wrong use and wrong configuration: exit code 2, one clear line, nothing on the standard output.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use support::run;

fn refused(folder: &std::path::Path, arguments: &[&str], expected: &[&str]) {
    let said = run(folder, arguments);
    assert_eq!(said.code, 2, "{arguments:?}: {}", said.stderr);
    assert_eq!(said.stdout, "", "{arguments:?}");
    let errors = said.errors();
    assert_eq!(errors.len(), 1, "{arguments:?}: {}", said.stderr);
    for part in expected {
        assert!(errors[0].contains(part), "{part} in {:?}", errors[0]);
    }
}

#[test]
fn a_catalog_that_is_not_configured_is_named_with_those_that_are() {
    let folder = tempfile::tempdir().unwrap();
    refused(
        folder.path(),
        &["run", "--once"],
        &["no catalog 'default'", "none at all"],
    );
    fs::write(
        folder.path().join("icepress.toml"),
        "[catalog.lake]\ntype = \"sql\"\nuri = \"sqlite:////nowhere/catalog.db\"\n",
    )
    .unwrap();
    refused(
        folder.path(),
        &["tables"],
        &["no catalog 'default'", "there are lake"],
    );
    refused(
        folder.path(),
        &["tables", "--catalog", "pond", "--json"],
        &["no catalog 'pond'", "there are lake"],
    );
    refused(
        folder.path(),
        &["tables", "--catalog", "lake"],
        &["there is no file /nowhere/catalog.db"],
    );
}

#[test]
fn a_configuration_that_makes_no_sense_is_named_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    refused(
        folder.path(),
        &["run", "--once", "--config", "absent.toml"],
        &["absent.toml", "there is no such file"],
    );
    fs::write(folder.path().join("icepress.toml"), "[catalog\n").unwrap();
    refused(
        folder.path(),
        &["run", "--once"],
        &["icepress.toml", "not valid TOML"],
    );
    fs::write(
        folder.path().join("icepress.toml"),
        "[catalog.default]\ntype = \"abacus\"\n",
    )
    .unwrap();
    refused(
        folder.path(),
        &["run", "--once"],
        &["icepress.toml", "abacus"],
    );
}

#[test]
fn names_amounts_and_folders_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let made = run(
        folder.path(),
        &["demo", "--no-run", "--warehouse", "w", "--json"],
    );
    assert_eq!(made.code, 0, "{}", made.stderr);
    let warehouse = folder.path().join("w");
    let warehouse = warehouse.as_path();
    refused(
        warehouse,
        &["plan", "orders"],
        &["'orders' is no table name"],
    );
    refused(
        warehouse,
        &["plan", "shop.absent"],
        &["default.shop.absent"],
    );
    refused(
        warehouse,
        &["compact", "shop.absent"],
        &["default.shop.absent"],
    );
    refused(
        warehouse,
        &["run", "--once", "shop.absent"],
        &["default.shop.absent"],
    );
    refused(warehouse, &["verify", "shop.orders"], &["--snapshot"]);
    refused(
        warehouse,
        &["verify", "shop.orders", "--snapshot", "1", "--against", "2"],
        &["there is no snapshot 1"],
    );
    refused(
        folder.path(),
        &["demo", "--warehouse", "w"],
        &["--warehouse", "it is not empty"],
    );
    refused(warehouse, &["plan"], &["required"]);
    refused(warehouse, &["--memory", "plenty", "tables"], &["512MiB"]);
}

#[test]
fn help_and_completions_need_no_configuration() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        ["--help"].as_slice(),
        &["--version"],
        &["help", "run"],
        &["completions", "bash"],
        &["completions", "zsh"],
        &["completions", "fish"],
    ] {
        let said = run(folder.path(), arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.stderr);
        assert!(said.stdout.contains("icepress"), "{arguments:?}");
    }
}

/// The file that every command takes, and the states that `tables` shows, are told apart.
#[test]
fn the_state_of_tables_is_a_file_or_states() {
    let folder = tempfile::tempdir().unwrap();
    let made = run(
        folder.path(),
        &["demo", "--no-run", "--warehouse", "w", "--json"],
    );
    assert_eq!(made.code, 0, "{}", made.stderr);
    let warehouse = folder.path().join("w");
    for (arguments, file) in [
        (
            &["tables", "--state", "a/one.db", "--json"][..],
            Some("a/one.db"),
        ),
        (&["--state", "two.db", "tables", "--json"], Some("two.db")),
        (&["tables", "--state", "new,due", "--json"], None),
    ] {
        fs::create_dir_all(warehouse.join("a")).unwrap();
        let said = run(&warehouse, arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.stderr);
        assert_eq!(
            said.json()["tables"].as_array().unwrap().len(),
            3,
            "{arguments:?}"
        );
        assert!(
            file.is_none_or(|file| warehouse.join(file).is_file()),
            "{arguments:?}"
        );
    }
}
