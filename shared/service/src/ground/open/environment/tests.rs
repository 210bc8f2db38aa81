use super::*;

fn variables(changes: &[(&str, Option<&str>)]) -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> = [
        ("ICEPRESS_STATE_TABLE", "icepress-state"),
        ("ICEPRESS_BUCKETS", "4"),
        (
            "ICEPRESS_QUEUE_URL_TEMPLATE",
            "https://sqs.eu-west-1.amazonaws.com/1/icepress-tasks-{bucket}",
        ),
        ("ICEPRESS_PAYLOAD_LOCATION", "s3://icepress-payloads/plans"),
        ("ICEPRESS_CATALOGS", r#"{"glue":{"type":"glue"}}"#),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    for (name, value) in changes {
        match value {
            Some(value) => variables.insert((*name).to_owned(), (*value).to_owned()),
            None => variables.remove(*name),
        };
    }
    variables
}

#[test]
fn a_whole_environment_is_read() {
    let read = CloudEnvironment::read(&variables(&[(
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        Some("3538"),
    )]))
    .unwrap();
    assert_eq!(read.buckets.0.get(), 4);
    assert_eq!(
        read.catalogs[&CatalogName::from("glue")].get("type"),
        Some("glue")
    );
    assert_eq!(read.memory_mebibytes, Some(3538));
    assert_eq!(read.limits, Limits::default());
    assert_eq!(read.deployment, None);
    let named = variables(&[("ICEPRESS_DEPLOYMENT", Some("lake"))]);
    let named = CloudEnvironment::read(&named).unwrap();
    assert_eq!(named.deployment.as_deref(), Some("lake"));
    let limits = r#"{"catalog":{"glue":{"max-concurrent-tasks":7}}}"#;
    let read = CloudEnvironment::read(&variables(&[("ICEPRESS_LIMITS", Some(limits))])).unwrap();
    let of_table = read
        .limits
        .configured(&"glue.sales.orders".parse().unwrap());
    assert_eq!(of_table.quotas[0].1.tasks, Some(7));
    let wrong = variables(&[("ICEPRESS_LIMITS", Some(r#"{"glue":{}}"#))]);
    let error = CloudEnvironment::read(&wrong).unwrap_err().to_string();
    assert!(error.contains("ICEPRESS_LIMITS"), "{error}");
}

#[test]
fn what_is_missing_or_wrong_is_named_with_what_it_should_be() {
    let cases = [
        ("ICEPRESS_STATE_TABLE", None, "is not set"),
        ("ICEPRESS_BUCKETS", Some("0"), "1 or more"),
        (
            "ICEPRESS_QUEUE_URL_TEMPLATE",
            Some("https://sqs/q"),
            "{bucket}",
        ),
        (
            "ICEPRESS_PAYLOAD_LOCATION",
            Some("/tmp"),
            "s3://bucket/prefix",
        ),
        ("ICEPRESS_CATALOGS", Some("glue"), "JSON object"),
        ("ICEPRESS_MEMORY_MB", Some("lots"), "MiB"),
        ("ICEPRESS_TIMES", Some(r#"{"lease":0}"#), "1 or more"),
        ("ICEPRESS_TIMES", Some(r#"{"leese":9}"#), "lease_guard"),
        ("ICEPRESS_MODE", Some("observ"), "did you mean 'observe'?"),
        (
            "ICEPRESS_MODE",
            Some(r#"{"tabel":{"glue.*":"observe"}}"#),
            "did you mean 'table'?",
        ),
        (
            "ICEPRESS_MODE",
            Some(r#"{"table":{"glue.*":"obsrve"}}"#),
            "did you mean 'observe'?",
        ),
    ];
    for (name, value, expected) in cases {
        let error = CloudEnvironment::read(&variables(&[(name, value)]))
            .unwrap_err()
            .to_string();
        assert!(error.contains(name) && error.contains(expected), "{error}");
    }
}

#[test]
fn times_that_are_set_replace_the_defaults_and_leave_the_others() {
    let times = r#"{"lease":9,"longest_backoff":30}"#;
    let read = CloudEnvironment::read(&variables(&[("ICEPRESS_TIMES", Some(times))])).unwrap();
    let before = crate::Settings::embedded(icepress_model::WorkerId::from("worker"));
    let mut after = before.clone();
    read.times.apply(&mut after);
    assert_eq!(after.lease_ttl.as_secs(), 9);
    assert_eq!(after.longest_backoff.as_secs(), 30);
    assert_eq!(after.claim_ttl, before.claim_ttl);
}

#[test]
fn a_mode_is_one_word_for_all_or_an_object() {
    let table = "glue.sales.orders".parse().unwrap();
    let mode = |text: &str| {
        let read = CloudEnvironment::read(&variables(&[("ICEPRESS_MODE", Some(text))]));
        read.unwrap().modes.of_name(&table).mode
    };
    assert_eq!(mode(" "), crate::Mode::Maintain);
    assert_eq!(mode("observe"), crate::Mode::Observe);
    let by_name = r#"{"default":"observe","table":{"glue.sales.*":"maintain"}}"#;
    assert_eq!(mode(by_name), crate::Mode::Maintain);
    let by_name = r#"{"default":"observe","table":{"glue.marts.*":"maintain"}}"#;
    assert_eq!(mode(by_name), crate::Mode::Observe);
}

/// A function's log is read by more people than may know what its catalogs are opened with.
#[test]
fn no_error_and_no_print_of_an_environment_shows_a_secret() {
    for catalogs in [
        r#"{"lake":{"type":"rest","credential":"hidden""#,
        r#"{"lake":{"type":"rest","credential":["hidden"]}}"#,
        r#"{"lake":"hidden"}"#,
        "hidden",
        r#""hidden""#,
    ] {
        let variables = variables(&[("ICEPRESS_CATALOGS", Some(catalogs))]);
        let error = CloudEnvironment::read(&variables).unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(!said.contains("hidden"), "{said}");
        assert!(
            said.contains("ICEPRESS_CATALOGS") && said.contains("line 1, column"),
            "{said}"
        );
    }
    for name in [
        "ICEPRESS_LIMITS",
        "ICEPRESS_TIMES",
        "ICEPRESS_BUCKETS",
        "ICEPRESS_MEMORY_MB",
        "ICEPRESS_MODE",
    ] {
        let variables = variables(&[(name, Some(r#"{"lease":"hidden"}"#))]);
        let error = CloudEnvironment::read(&variables).unwrap_err().to_string();
        assert!(!error.contains("hidden") && error.contains(name), "{error}");
    }
    let catalogs = r#"{"lake":{"type":"rest","uri":"https://me:hidden@host","header.x":"hidden","token":"hidden"}}"#;
    let read =
        CloudEnvironment::read(&variables(&[("ICEPRESS_CATALOGS", Some(catalogs))])).unwrap();
    assert!(!format!("{read:?} {:?}", read.configuration()).contains("hidden"));
}

#[test]
fn names_that_nothing_reads_are_told() {
    let with = |catalogs: &str| {
        CloudEnvironment::read(&variables(&[("ICEPRESS_CATALOGS", Some(catalogs))]))
    };
    let error = with(r#"{"lake":{"type":"glue","icepress.comit-lock":"true"}}"#).unwrap_err();
    assert!(
        error.to_string().contains("'icepress.commit-lock'"),
        "{error}"
    );
    let warnings = with(r#"{"lake":{"type":"glue","client.regoin":"x"}}"#)
        .unwrap()
        .configuration()
        .warnings;
    assert!(
        warnings[0].contains("ICEPRESS_CATALOGS") && warnings[0].contains("client.region"),
        "{warnings:?}"
    );
    let wrong = variables(&[("ICEPRESS_TIMES", Some(r#"{"leese":9}"#))]);
    let error = CloudEnvironment::read(&wrong).unwrap_err().to_string();
    assert!(error.contains("did you mean 'lease'"), "{error}");
}
