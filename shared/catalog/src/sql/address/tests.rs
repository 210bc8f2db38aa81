use std::path::PathBuf;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::{Address, Login};

fn sqlite_file(uri: &str) -> Result<PathBuf, String> {
    match Address::parse(uri, Login::default())? {
        Address::Sqlite(file) => Ok(file),
        Address::Postgres(_) => panic!("{uri}"),
    }
}

fn postgres(uri: &str, login: Login<'_>) -> PgConnectOptions {
    match Address::parse(uri, login) {
        Ok(Address::Postgres(options)) => *options,
        other => panic!("{uri}: {other:?}"),
    }
}

#[test]
fn each_client_s_way_of_writing_a_file_is_understood() {
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
fn each_client_s_way_of_writing_a_server_is_understood() {
    let nobody = Login::default();
    for uri in [
        "postgresql+psycopg2://me:p%40ss@db.host:6432/lake?sslmode=require&connect_timeout=3",
        "postgresql://me:p%40ss@db.host:6432/lake?sslmode=require",
        "postgres://db.host:6432/lake?user=me&password=p%40ss&sslmode=require",
        "jdbc:postgresql://db.host:6432/lake?user=me&password=p%40ss&sslmode=require&loginTimeout=9",
    ] {
        let options = postgres(uri, nobody);
        assert_eq!(options.get_host(), "db.host", "{uri}");
        assert_eq!(options.get_port(), 6432, "{uri}");
        assert_eq!(options.get_username(), "me", "{uri}");
        assert_eq!(options.get_database(), Some("lake"), "{uri}");
        assert!(
            matches!(options.get_ssl_mode(), PgSslMode::Require),
            "{uri}"
        );
    }
    let beside = Login {
        user: Some("beside"),
        password: Some("secret"),
    };
    let options = postgres(
        "jdbc:postgresql://h/lake?ssl=true&currentSchema=ice",
        beside,
    );
    assert_eq!(options.get_username(), "beside");
    assert!(matches!(options.get_ssl_mode(), PgSslMode::VerifyFull));
    assert_eq!(options.get_options(), Some("-c search_path=ice"));
    // What the address says itself wins.
    assert_eq!(
        postgres("postgresql://me@h/lake", beside).get_username(),
        "me"
    );
}

#[test]
fn what_is_no_database_is_refused_without_showing_a_password() {
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
    for (uri, said) in [
        ("mysql+pymysql://me:secret@host/db", "'mysql+pymysql:…'"),
        ("jdbc:mysql://host/db?password=secret", "not supported"),
        ("postgresql://me:secret@host:port/db", "port"),
        ("postgresql://me:secret@host/db?sslmode=perhaps", "perhaps"),
    ] {
        let message = Address::parse(uri, Login::default()).unwrap_err();
        assert!(message.contains(said), "{message}");
        assert!(!message.contains("secret"), "{message}");
    }
}
