//! Which keys a range holds.

use icepress_model::{DatabaseId, Namespace};

use super::*;

fn holds(range: &KeyRange, table: &TableId) -> bool {
    let key = key::of_table(table);
    range.from <= key && key < range.before
}

fn table(catalog: &str, levels: &[&str], name: &str) -> TableId {
    TableId {
        catalog: CatalogName::from(catalog),
        namespace: Namespace(levels.iter().map(|level| (*level).to_owned()).collect()),
        name: name.to_owned(),
    }
}

/// A range is the scope put in terms of keys: both say the same of every table, however odd its name.
#[test]
fn a_range_holds_what_its_scope_covers() {
    let names = ["a", "a.b", "a/b", "a0", "a!", "ab", "a%", "ä", "\u{10FFFF}"];
    let mut tables = Vec::new();
    for catalog in names {
        for level in names {
            for name in names {
                tables.push(table(catalog, &[level], name));
                tables.push(table(catalog, &[level, "b"], name));
            }
        }
    }
    let scopes: Vec<Scope> = names
        .iter()
        .flat_map(|name| {
            let catalog = CatalogName::from("a");
            let namespace = Namespace(vec![(*name).to_owned()]);
            [
                Scope::Catalog(CatalogName::from(*name)),
                Scope::Database(DatabaseId { catalog, namespace }),
                Scope::Table(table("a", &["a"], name)),
            ]
        })
        .collect();
    for scope in &scopes {
        let range = KeyRange::new(Some(scope), None);
        let mut covered = 0;
        for table in &tables {
            assert_eq!(holds(&range, table), scope.covers(table), "{scope} {table}");
            covered += u32::from(scope.covers(table));
        }
        assert!(covered > 0, "{scope}");
    }
    let all = KeyRange::new(None, None);
    assert!(tables.iter().all(|table| holds(&all, table)));
}

#[test]
fn a_key_that_was_printed_is_read_and_another_text_is_not() {
    let key = TableKey::of(&table("lake", &["a/b", "c"], "t%"));
    assert_eq!(TableKey::parse(key.as_str()), Ok(key));
    assert!(TableKey::parse("orders").unwrap_err().contains("orders"));
}
