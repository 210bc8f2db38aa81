use std::path::PathBuf;

use super::sqlite_file;

#[test]
fn each_client_s_way_of_writing_it_is_understood() {
    for (uri, file) in [
        ("sqlite:////abs/a b.db", "/abs/a b.db"),
        ("sqlite:///rel/x.db", "rel/x.db"),
        (
            "sqlite+pysqlite:////abs/x%20y.db?timeout=5",
            "/abs/x%20y.db",
        ),
        ("jdbc:sqlite:/abs/x.db", "/abs/x.db"),
        ("jdbc:sqlite:rel.db", "rel.db"),
        ("jdbc:sqlite:/abs/x%20.db?journal_mode=WAL", "/abs/x%20.db"),
        ("jdbc:sqlite:file:/abs/x.db", "/abs/x.db"),
        ("jdbc:sqlite:file:///abs/x%20y.db?mode=rw", "/abs/x y.db"),
    ] {
        assert_eq!(sqlite_file(uri), Ok(PathBuf::from(file)), "{uri}");
    }
}

#[test]
fn what_is_no_sqlite_file_is_refused_without_showing_a_password() {
    for uri in [
        "sqlite://",
        "sqlite:///:memory:",
        "jdbc:sqlite::memory:",
        "jdbc:sqlite:",
        "/x.db",
    ] {
        assert!(
            sqlite_file(uri).unwrap_err().contains("sqlite:////folder"),
            "{uri}"
        );
    }
    let message = sqlite_file("postgresql+psycopg2://me:secret@host/db").unwrap_err();
    assert!(message.contains("not supported yet"), "{message}");
    assert!(!message.contains("secret"), "{message}");
}
