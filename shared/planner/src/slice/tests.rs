use icepress_model::{GroupReason, Health, InputFile, PlanTotals, Rows, SequenceNumber};
use proptest::prelude::*;

use super::*;

fn plan(sizes: &[u64], tier: Tier) -> TablePlan {
    let group = |size: &u64| Group {
        spec_id: SpecId(0),
        partition: serde_json::Value::Null,
        partition_name: format!("p={}", size % 3),
        reason: GroupReason::EnoughFiles,
        tier,
        inputs: vec![InputFile {
            path: "f".to_owned(),
            size: Bytes(*size),
            rows: Rows(1),
            sequence_number: SequenceNumber(1),
            first_row_id: None,
            deletes: Vec::new(),
        }],
        deletes: Vec::new(),
        target_file_size: Bytes(1),
        shares_deletes: false,
        without: None,
    };
    TablePlan {
        base: None,
        groups: sizes.iter().map(group).collect(),
        left_alone: Vec::new(),
        health: Health {
            score: 0.0,
            amoro_score: 0.0,
        },
        totals: PlanTotals::default(),
        follow_up: false,
        settings: Vec::new(),
    }
}

fn bytes(groups: &[Group]) -> u64 {
    groups.iter().map(|group| group.input_bytes().get()).sum()
}

#[test]
fn light_groups_go_together_or_not_at_all() {
    let light = plan(&[1, 2, 3], Tier::Light);
    assert_eq!(
        slice(light.clone(), 0, |_| true),
        Sliced::Whole(light.clone())
    );
    assert_eq!(
        slice(light, 0, |groups| groups.len() < 3),
        Sliced::Inseparable
    );
}

proptest! {
    #[test]
    fn a_slice_is_within_what_is_allowed_and_loses_nothing(
        sizes in prop::collection::vec(1..100u64, 1..30), most in 0..1_000u64,
    ) {
        let whole = plan(&sizes, Tier::Full);
        let total = bytes(&whole.groups);
        match slice(whole.clone(), 0, |groups| bytes(groups) <= most) {
            Sliced::Whole(same) => {
                prop_assert_eq!(same, whole);
                prop_assert!(total <= most);
            }
            Sliced::Part(part) => {
                prop_assert!(bytes(&part.groups) <= most && part.follow_up);
                let left: u64 = part.left_alone.iter().map(|left| left.bytes.get()).sum();
                prop_assert_eq!(bytes(&part.groups) + left, total);
                // No group that was left out would still fit.
                let smallest = sizes.iter().filter(|size| **size + bytes(&part.groups) <= most);
                let taken: Vec<u64> = part.groups.iter().map(|group| bytes(std::slice::from_ref(group))).collect();
                for size in smallest {
                    let there = sizes.iter().filter(|other| *other == size).count();
                    prop_assert_eq!(taken.iter().filter(|other| *other == size).count(), there);
                }
            }
            Sliced::Nothing => prop_assert!(sizes.iter().all(|size| *size > most)),
            Sliced::Inseparable => prop_assert!(false, "none is light"),
        }
    }
}
