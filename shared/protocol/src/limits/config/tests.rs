use super::*;

fn limits(json: &str) -> Result<Limits, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

fn orders() -> TableId {
    "lake.sales.orders".parse().unwrap()
}

#[test]
fn the_nearest_priority_and_window_hold_and_the_quotas_of_all_scopes() {
    let limits = limits(
        r#"{"catalog": {"lake": {"priority": 1, "maintenance-window": "22:00-06:00", "max-concurrent-tasks": 100},
                        "pond": {"priority": 9}},
            "database": {"lake.sales": {"priority": 2, "max-dollars-a-month": 0.5}},
            "table": {"lake.sales.orders": {"max-bytes-a-day": 7, "max-concurrent-tasks": 3}}}"#,
    )
    .unwrap();
    let properties = HashMap::from([
        ("icepress.max-concurrent-tasks".to_owned(), "2".to_owned()),
        (
            "icepress.maintenance-window".to_owned(),
            "Sun 00:00-24:00".to_owned(),
        ),
    ]);
    let of_table = limits.of(&orders(), &properties).unwrap();
    assert_eq!(of_table.priority, 2);
    assert_eq!(of_table.window.unwrap().to_string(), "Sun 00:00-24:00");
    let quotas: Vec<(String, Quota)> = of_table
        .quotas
        .into_iter()
        .map(|(scope, quota)| (scope.to_string(), quota))
        .collect();
    let quota = |tasks, bytes: Option<u64>, cost: Option<u64>| Quota {
        tasks,
        bytes_a_day: bytes.map(Bytes),
        cost_a_month: cost.map(NanoDollars),
    };
    assert_eq!(
        quotas,
        [
            ("catalog lake".to_owned(), quota(Some(100), None, None)),
            (
                "database lake.sales".to_owned(),
                quota(None, None, Some(500_000_000))
            ),
            (
                "table lake.sales.orders".to_owned(),
                quota(Some(2), Some(7), None)
            ),
        ]
    );
    let other: TableId = "lake.press.news".parse().unwrap();
    let configured = limits.configured(&other);
    assert_eq!((configured.priority, configured.quotas.len()), (1, 1));
    assert_eq!(Limits::default().configured(&other), TableLimits::default());
}

#[test]
fn what_makes_no_sense_is_refused_and_named() {
    for (json, what) in [
        (r#"{"tables": {}}"#, "unknown field `tables`"),
        (r#"{"table": {"orders": {}}}"#, "'orders' is no table name"),
        (
            r#"{"database": {"lake": {}}}"#,
            "write it as catalog.namespace",
        ),
        (
            r#"{"catalog": {"lake": {"max-tasks": 1}}}"#,
            "unknown field `max-tasks`",
        ),
        (
            r#"{"catalog": {"lake": {"priority": 101}}}"#,
            "catalog lake: priority is '101'",
        ),
        (
            r#"{"catalog": {"lake": {"max-dollars-a-month": -1}}}"#,
            "0 or more",
        ),
        (
            r#"{"catalog": {"lake": {"maintenance-window": "never"}}}"#,
            "is no maintenance window",
        ),
    ] {
        let error = limits(json).unwrap_err();
        assert!(error.contains(what), "{json}: {error}");
    }
    for (name, value) in [
        ("icepress.priority", "high"),
        ("icepress.priority", "-101"),
        ("icepress.max-bytes-a-day", "1TB"),
        ("icepress.max-dollars-a-month", "NaN"),
        ("icepress.max-concurrent-tasks", "-1"),
        ("icepress.maintenance-window", "22-6"),
    ] {
        let properties = HashMap::from([(name.to_owned(), value.to_owned())]);
        let error = Limits::default().of(&orders(), &properties).unwrap_err();
        assert!(error.to_string().contains(&format!("'{value}'")), "{error}");
    }
}
