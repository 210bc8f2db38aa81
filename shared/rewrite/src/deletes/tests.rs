use std::collections::HashMap;

use proptest::prelude::*;

use super::key_set::KeySet;

proptest! {
    /// The set is a map from keys to the greatest number, whatever the keys.
    #[test]
    fn a_key_set_is_a_map_to_the_greatest_number(
        keys in prop::collection::vec((prop::collection::vec(0u8..3, 0..4), 0i64..9), 0..300),
    ) {
        let mut set = KeySet::default();
        let mut model: HashMap<Vec<u8>, i64> = HashMap::new();
        for (key, sequence) in &keys {
            let number = set.insert(key, *sequence).unwrap();
            prop_assert!(set.sequence_of(number) >= *sequence);
            let known = model.entry(key.clone()).or_insert(*sequence);
            *known = (*known).max(*sequence);
        }
        prop_assert_eq!(set.is_empty(), keys.is_empty());
        for (key, _) in &keys {
            prop_assert_eq!(set.deleted_at(key), model.get(key).copied());
        }
        prop_assert_eq!(set.deleted_at(b"\x07none"), None);
        prop_assert_eq!(set.keys().count(), model.len());
        // What is no key is not made one.
        set.raise(b"\x07none", 9);
        prop_assert_eq!(set.deleted_at(b"\x07none"), None);
        for (key, sequence) in &model {
            set.raise(key, sequence + 1);
            prop_assert_eq!(set.deleted_at(key), Some(sequence + 1));
        }
        prop_assert!(set.memory() >= model.keys().map(|key| key.len() as u64).sum());
    }
}
