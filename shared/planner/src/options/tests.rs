//! Properties override options; what can't be read is named with its shape.

use super::*;

fn with(pairs: &[(&str, &str)]) -> Result<PlanOptions, InvalidProperty> {
    let properties = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    PlanOptions::default().for_table(&"c.ns.t".parse().unwrap(), &properties)
}

#[test]
fn defaults_are_icebergs() {
    let options = with(&[]).unwrap();
    assert_eq!(options.target(), Bytes(536_870_912));
    assert_eq!(options.min_file_size(), 402_653_184);
    assert_eq!(options.max_file_size(), 966_367_641);
    assert_eq!(options.min_input_files, 5);
}

#[test]
fn our_target_wins_over_the_tables() {
    let iceberg = ("write.target-file-size-bytes", "1000");
    assert_eq!(with(&[iceberg]).unwrap().target(), Bytes(1000));
    let ours = ("icepress.target-file-size-bytes", "2000");
    assert_eq!(with(&[iceberg, ours]).unwrap().target(), Bytes(2000));
}

#[test]
fn each_property_is_read() {
    let options = with(&[
        ("icepress.enabled", "false"),
        ("icepress.min-input-files", "7"),
        ("icepress.delete-ratio-threshold", "0.25"),
        ("icepress.delete-file-threshold", "9"),
        ("icepress.light-rewrites", "false"),
        ("icepress.max-group-bytes", "11"),
        ("icepress.max-group-files", "12"),
        ("icepress.max-plan-bytes", "13"),
        ("icepress.max-plan-files", "14"),
        ("icepress.max-plan-groups", "15"),
        ("icepress.verify-rows", "all"),
        ("icepress.merge-pages", "never"),
        ("write.delete.granularity", "PARTITION"),
    ])
    .unwrap();
    let expected = PlanOptions {
        enabled: false,
        target_file_size: None,
        min_input_files: 7,
        delete_ratio_threshold: 0.25,
        delete_file_threshold: 9,
        light_rewrites: false,
        delete_granularity: Some(DeleteGranularity::Partition),
        max_group_bytes: Bytes(11),
        max_group_files: 12,
        max_plan_bytes: Bytes(13),
        max_plan_files: 14,
        max_plan_groups: 15,
        verify_rows: VerifyRows::All,
        merge_pages: MergePages::Never,
        ceiling: Ceiling::default(),
        turn: 0,
        separable: false,
        force: false,
        origins: options.origins.clone(),
    };
    assert!(
        options
            .origins
            .values()
            .all(|origin| origin == "table c.ns.t")
    );
    assert_eq!(options.origins.len(), 12);
    assert_eq!(options, expected);
}

#[test]
fn a_bad_value_is_named_with_its_shape() {
    for (property, value) in [
        ("icepress.enabled", "yes"),
        ("icepress.target-file-size-bytes", "512MB"),
        ("write.target-file-size-bytes", "0"),
        ("icepress.min-input-files", "1"),
        ("icepress.delete-ratio-threshold", "NaN"),
        ("icepress.delete-ratio-threshold", "1.5"),
        ("icepress.max-group-files", "4"),
        ("icepress.max-plan-files", "-3"),
        ("icepress.verify-rows", "some"),
        ("icepress.merge-pages", "yes"),
        ("write.delete.granularity", "table"),
    ] {
        let error = with(&[(property, value)]).unwrap_err().to_string();
        assert!(error.starts_with("table c.ns.t: the property"), "{error}");
        assert!(error.contains(property) && error.contains(value), "{error}");
    }
}

/// A worker's limits hold whatever a table asks for, down to one file; lost races alone never go below what is worth it.
#[test]
fn groups_are_no_larger_than_a_worker_gets_through() {
    let options = |ceiling| PlanOptions {
        ceiling,
        ..with(&[("icepress.max-group-bytes", "9000000000")]).unwrap()
    };
    let lost = options(Ceiling {
        after_losses: Some(1),
        ..Ceiling::default()
    });
    assert_eq!((lost.group_files(), lost.enough_files()), (5, 5));
    assert_eq!(lost.group_bytes(), 9_000_000_000);
    let small = options(Ceiling {
        files: Some(1),
        bytes: Some(Bytes(1_000)),
        ..Ceiling::default()
    });
    assert_eq!((small.group_files(), small.enough_files()), (1, 2));
    assert_eq!(small.group_bytes(), 1_000);
    let told = small.other_than_default();
    let of = |name: &str| told.iter().find(|setting| setting.name == name).unwrap();
    assert_eq!(of("max-group-bytes").value, "1000");
    assert_eq!(of("max-group-bytes").set_by, "what optimizers get through");
    let bytes = &lost.other_than_default()[0];
    assert_eq!(
        (bytes.name.as_str(), bytes.value.as_str()),
        ("max-group-bytes", "9000000000")
    );
    assert_eq!(bytes.set_by, "table c.ns.t");
    assert!(PlanOptions::default().other_than_default().is_empty());
}
