use std::sync::Arc;

use icepress_model::TimestampMs;
use icepress_storage::LocalStorage;

use super::*;

fn config(pairs: &[(&str, &str)]) -> Config {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn credential(prefix: &str, key: &str) -> StorageCredential {
    StorageCredential {
        prefix: prefix.to_owned(),
        config: config(&[
            ("s3.access-key-id", key),
            ("s3.secret-access-key", "secret"),
            ("s3.session-token", "token"),
            ("s3.session-token-expires-at-ms", "5000000"),
        ]),
    }
}

#[test]
fn the_longest_prefix_is_taken() {
    let local = || Arc::new(LocalStorage::new()) as Arc<dyn Storage>;
    let (any, bucket, table) = (local(), local(), local());
    let storage = PrefixedStorage::new(vec![
        (String::new(), Arc::clone(&any)),
        ("s3://lake/".to_owned(), Arc::clone(&bucket)),
        ("s3a://lake/sales/orders".to_owned(), Arc::clone(&table)),
    ]);
    let is = |location: &str, expected: &Arc<dyn Storage>| {
        std::ptr::addr_eq(storage.of(location), Arc::as_ptr(expected))
    };
    assert!(is("s3://lake/sales/orders/data/a.parquet", &table));
    assert!(is("s3n://lake/sales/orders/data/a.parquet", &table));
    assert!(is("s3://lake/sales/returns/data/a.parquet", &bucket));
    assert!(is("s3://elsewhere/a.parquet", &any));
    assert!(is("/tmp/a.parquet", &any));
}

#[test]
fn what_the_server_says_is_laid_over_each_other() {
    let catalog = config(&[
        ("s3.endpoint", "http://a"),
        ("s3.region", "r1"),
        ("prefix", "p"),
    ]);
    let table = config(&[("s3.endpoint", "http://b")]);
    let credentials = [
        credential("s3://lake/t", "K"),
        StorageCredential {
            prefix: "gs".to_owned(),
            config: config(&[("gcs.oauth2.token", "x")]),
        },
    ];
    let access = Access::new(&catalog, Some(&table), Some(&credentials));
    assert_eq!(access.prefixes().collect::<Vec<_>>(), ["", "s3://lake/t"]);
    let settings = config(&[("s3.endpoint", "http://b"), ("s3.region", "r1")]);
    assert_eq!(access.settings(""), settings);
    assert_eq!(access.settings("s3://lake/t"), settings);
    assert!(access.keys("").is_none());
    assert!(access.keys("s3://lake/t").is_some());
    assert!(!access.is_nothing());
    assert!(Access::new(&config(&[("prefix", "p")]), None, None).is_nothing());
    // New keys alone make no new storage; another endpoint does.
    let renewed = [credential("s3://lake/t", "L")];
    assert_eq!(
        Access::new(&catalog, Some(&table), Some(&renewed)).made_of(),
        access.made_of()
    );
    assert_ne!(
        Access::new(&catalog, None, Some(&renewed)).made_of(),
        access.made_of()
    );
}

#[test]
fn keys_are_renewed_before_they_end() {
    let until = |expires: Option<i64>, given: i64| {
        let mut config = credential("", "K").config;
        match expires {
            Some(end) => {
                config.insert("s3.session-token-expires-at-ms".to_owned(), end.to_string())
            }
            None => config.remove("s3.session-token-expires-at-ms"),
        };
        let access = Access::new(&config, None, None);
        access.keys("").unwrap().use_until(TimestampMs(given)).get()
    };
    const MINUTE: i64 = 60_000;
    assert_eq!(until(Some(60 * MINUTE), 0), 55 * MINUTE);
    assert_eq!(until(Some(4 * MINUTE), 0), 2 * MINUTE);
    // Over already: asked for anew at once.
    assert_eq!(until(Some(MINUTE), 2 * MINUTE), MINUTE);
    assert_eq!(until(None, MINUTE), 11 * MINUTE);
}
