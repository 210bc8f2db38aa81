//! What goes wrong is said in one line that names table and file, and nothing is half done.

use std::{fs, os::unix::fs::PermissionsExt as _};

use iceberg::spec::PrimitiveType;
use icepress_model::{Bytes, RewriteFailureKind, Rows};

use super::support::{TestTable, people, people_fields, required};

fn one_file() -> (TestTable, String) {
    let mut table = TestTable::new(people_fields());
    let rows: Vec<(i64, Option<&str>)> = (0..500).map(|id| (id, Some("x"))).collect();
    let path = table.data(1, &people(&rows));
    (table, path)
}

/// Rewrites, expects a failure of a kind that names table and file, and leaves no output behind.
#[track_caller]
fn fails(table: &TestTable, path: &str, kind: RewriteFailureKind, what: &str) {
    let failure = table.rewrite().unwrap_err();
    assert_eq!(failure.kind, kind, "{failure}");
    assert!(
        failure.message.starts_with("table lake.shop.orders: "),
        "{failure}"
    );
    assert!(failure.message.contains(path), "{failure}");
    assert!(failure.message.contains(what), "{failure}");
    assert!(!failure.message.contains('\n'), "{failure}");
    let outputs = table.folder.path().join("table/data");
    let left = fs::read_dir(outputs).map_or(0, Iterator::count);
    assert_eq!(left, 0);
}

#[test]
fn c39_a_truncated_file_is_corrupt_at_every_length() {
    let (table, path) = one_file();
    let whole = fs::read(&path).unwrap();
    for length in [0, 3, 11, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        fails(
            &table,
            &path,
            RewriteFailureKind::CorruptFile,
            "the manifest says",
        );
    }
    // The same with a manifest that has the short size: the content itself tells.
    for length in [3, 11, whole.len() / 2, whole.len() - 1] {
        let (mut table, path) = one_file();
        fs::write(&path, &whole[..length]).unwrap();
        table.group.inputs[0].size = Bytes(length as u64);
        fails(&table, &path, RewriteFailureKind::CorruptFile, "is corrupt");
    }
}

#[test]
fn c39_damaged_bytes_never_make_a_short_result() {
    let (table, path) = one_file();
    let whole = fs::read(&path).unwrap();
    let mut failed = 0;
    for at in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        fs::write(&path, &damaged).unwrap();
        match table.rewrite() {
            Ok(result) => assert_eq!(result.rows_out, Rows(500)),
            Err(failure) => {
                failed += 1;
                assert!(failure.message.contains(&path), "{failure}");
            }
        }
    }
    assert!(failed > 10);
}

#[test]
fn c39_a_file_with_other_rows_than_its_manifest_says_is_corrupt() {
    let (mut table, path) = one_file();
    table.group.inputs[0].rows = Rows(501);
    fails(
        &table,
        &path,
        RewriteFailureKind::CorruptFile,
        "it has 500 rows, and the manifest says 501",
    );
}

#[test]
fn a_file_that_vanished_is_named() {
    let (table, path) = one_file();
    fs::remove_file(&path).unwrap();
    fails(
        &table,
        &path,
        RewriteFailureKind::FileVanished,
        "no such object",
    );
}

#[test]
fn a_delete_file_that_vanished_is_named() {
    let (mut table, path) = one_file();
    table.delete_positions(1, &[(path.as_str(), 1)]);
    let deletes = table.group.deletes[0].path.clone();
    fs::remove_file(&deletes).unwrap();
    fails(
        &table,
        &deletes,
        RewriteFailureKind::FileVanished,
        "no such object",
    );
}

#[test]
fn a_refused_read_is_named() {
    let (table, path) = one_file();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&path).is_ok() {
        // The superuser reads everything: nothing to see here.
        return;
    }
    fails(
        &table,
        &path,
        RewriteFailureKind::PermissionDenied,
        "permission",
    );
}

#[test]
fn other_files_than_parquet_and_encrypted_ones_are_refused() {
    let (mut table, path) = one_file();
    fs::write(&path, b"ORC and nothing but ORC").unwrap();
    table.group.inputs[0].size = Bytes(23);
    fails(
        &table,
        &path,
        RewriteFailureKind::CorruptFile,
        "not Parquet",
    );
    fs::write(&path, b"PARE\x04\0\0\0\0\0\0\0PARE").unwrap();
    table.group.inputs[0].size = Bytes(16);
    fails(&table, &path, RewriteFailureKind::Unsupported, "encrypted");
}

#[test]
fn a_required_column_that_a_file_lacks_is_refused() {
    let mut fields = people_fields();
    fields.push(required(3, "age", PrimitiveType::Int));
    let mut table = TestTable::new(fields);
    let path = table.data(1, &people(&[(1, None)]));
    fails(
        &table,
        &path,
        RewriteFailureKind::Unsupported,
        "column 'age' is required",
    );
}

#[test]
fn a_null_in_a_required_column_is_corrupt() {
    let fields = vec![
        required(1, "id", PrimitiveType::Long),
        required(2, "name", PrimitiveType::String),
    ];
    let mut table = TestTable::new(fields);
    table.data(1, &people(&[(1, None)]));
    let failure = table.rewrite().unwrap_err();
    assert_eq!(failure.kind, RewriteFailureKind::CorruptFile);
    assert!(failure.message.contains("name"), "{failure}");
}

#[test]
fn c40_a_row_group_that_does_not_fit_is_refused_with_a_reason() {
    let (mut table, path) = one_file();
    table.memory_cap = Bytes(2000);
    fails(
        &table,
        &path,
        RewriteFailureKind::OverMemory,
        "give the optimizer more memory",
    );
}
