//! The nearest default holds; what makes no sense is named with its section.

use icepress_model::Bytes;

use super::*;
use crate::VerifyRows;

fn read(json: &str) -> Result<PlanDefaults, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

fn of(defaults: &PlanDefaults, table: &str) -> PlanOptions {
    let table = table.parse().unwrap();
    defaults.of(&PlanOptions::default(), &table).unwrap()
}

#[test]
fn the_nearest_default_holds_and_a_tables_own_property_before_all() {
    let defaults = read(
        r#"{
            "min-input-files": 7, "verify-rows": "all", "delete-ratio-threshold": 0.5,
            "catalog": {"lake": {"min-input-files": 8, "target-file-size-bytes": 1000}},
            "database": {"lake.sales.eu": {"min-input-files": 9, "light-rewrites": false}}
        }"#,
    )
    .unwrap();
    let elsewhere = of(&defaults, "other.sales.t");
    assert_eq!(elsewhere.min_input_files, 7);
    assert_eq!(elsewhere.verify_rows, VerifyRows::All);
    let in_catalog = of(&defaults, "lake.ns.t");
    assert_eq!(in_catalog.min_input_files, 8);
    assert_eq!(in_catalog.target(), Bytes(1000));
    let in_database = of(&defaults, "lake.sales.eu.t");
    assert_eq!(in_database.min_input_files, 9);
    assert!(!in_database.light_rewrites);
    assert_eq!(in_database.delete_ratio_threshold, 0.5);
    assert_eq!(
        in_database.origins.get("min-input-files").unwrap(),
        "[plan.database.\"lake.sales.eu\"]"
    );
    let table: TableId = "lake.sales.eu.t".parse().unwrap();
    for (property, value) in [
        ("icepress.min-input-files", "10"),
        ("write.target-file-size-bytes", "2000"),
    ] {
        let own = HashMap::from([(property.to_owned(), value.to_owned())]);
        let options = in_database.for_table(&table, &own).unwrap();
        let settings: HashMap<_, _> = options.settings().into_iter().collect();
        let name = property.split_once('.').unwrap().1;
        assert_eq!(settings[name], value);
        assert_eq!(options.origins[name], "table lake.sales.eu.t");
    }
}

#[test]
fn what_makes_no_sense_is_named_with_its_section() {
    for (json, expected) in [
        (
            r#"{"min-input-file": 7}"#,
            &["unknown field `min-input-file`"][..],
        ),
        (
            r#"{"catalogs": {}}"#,
            &["unknown field `catalogs`", "`catalog`"],
        ),
        (
            r#"{"catalog": {"a": {"max-groups-bytes": 7}}}"#,
            &["unknown field `max-groups-bytes`", "`max-group-bytes`"],
        ),
        (
            r#"{"min-input-files": 1}"#,
            &["[plan]", "icepress.min-input-files", "2 or more"],
        ),
        (
            r#"{"database": {"a.b": {"max-group-bytes": "5GB"}}}"#,
            &["[plan.database.\"a.b\"]", "max-group-bytes", "5GB"],
        ),
        (r#"{"database": {"ab": {}}}"#, &["'ab' is no database"]),
        (r#"{"enabled": {"a": 1}}"#, &["true or false"]),
    ] {
        let error = read(json).unwrap_err();
        for part in expected {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
    // Judged together with what holds around it.
    let together = r#"{"min-input-files": 2, "catalog": {"a": {"max-group-files": 3}}}"#;
    assert_eq!(of(&read(together).unwrap(), "a.b.c").max_group_files, 3);
}
