//! Names of two parts, of three, and of more.

use icepress_model::CatalogName;

use super::table;

fn read(text: &str) -> Result<String, String> {
    let chosen = CatalogName::from("default");
    table(text, &chosen, |name| name.as_str() == "lake")
        .map(|table| format!("{}|{}|{}", table.catalog, table.namespace, table.name))
        .map_err(|failure| failure.to_string())
}

#[test]
fn a_first_part_that_is_a_catalog_is_one() {
    for (text, expected) in [
        ("shop.orders", "default|shop|orders"),
        ("lake.shop.orders", "lake|shop|orders"),
        ("lake.shop.eu.orders", "lake|shop.eu|orders"),
        ("pond.shop.orders", "default|pond.shop|orders"),
        // A namespace may be called as a catalog is.
        ("lake.orders", "default|lake|orders"),
    ] {
        assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_name_is_refused() {
    for text in ["", "orders", "shop.", ".orders", "shop..orders", "."] {
        let message = read(text).unwrap_err();
        assert!(message.contains("is no table name"), "{message}");
    }
}
