use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_key_names_one_table_and_reads_back(
        catalog in "[a-z%/.]{1,6}",
        levels in prop::collection::vec("[a-z%/.2F5]{0,6}", 0..4),
        name in "[^\u{0}]{1,8}",
    ) {
        let table = TableId {
            catalog: CatalogName(catalog),
            namespace: Namespace(levels),
            name,
        };
        prop_assert_eq!(to_table(&of_table(&table)), Ok(table));
    }
}

#[test]
fn dots_in_a_level_make_another_key() {
    let table = |levels: &[&str]| TableId {
        catalog: CatalogName::from("lake"),
        namespace: Namespace(levels.iter().map(|level| (*level).to_owned()).collect()),
        name: "orders".to_owned(),
    };
    assert_ne!(of_table(&table(&["a.b"])), of_table(&table(&["a", "b"])));
    assert_ne!(of_table(&table(&["a/b"])), of_table(&table(&["a", "b"])));
}

#[test]
fn what_is_no_key_is_an_error() {
    assert!(to_table("orders").is_err());
    assert!(to_table("lake/sales%2/orders").is_err());
    assert!(to_table("lake/sales%41/orders").is_err());
}
