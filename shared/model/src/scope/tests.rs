use super::*;

#[test]
fn a_table_lies_in_its_catalog_each_level_of_its_namespace_and_itself() {
    let table: TableId = "lake.sales.eu.orders".parse().unwrap();
    let around = Scope::around(&table);
    let named: Vec<String> = around.iter().map(Scope::to_string).collect();
    assert_eq!(
        named,
        [
            "catalog lake",
            "database lake.sales",
            "database lake.sales.eu",
            "table lake.sales.eu.orders"
        ]
    );
    assert!(around.iter().all(|scope| scope.covers(&table)));
    for other in [
        "pond.sales.eu.orders",
        "lake.salesmen.eu.orders",
        "lake.eu.sales.orders",
    ] {
        let other: TableId = other.parse().unwrap();
        let covering = around.iter().filter(|scope| scope.covers(&other)).count();
        assert_eq!(covering, usize::from(other.catalog == table.catalog));
    }
}
