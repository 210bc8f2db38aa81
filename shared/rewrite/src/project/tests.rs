use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields};
use iceberg::spec::{MappedField, NameMapping};

use super::{KnownColumns, column::FileColumn, tree::file_columns};
use crate::tests::support::{TestTable, people_fields};

fn leaf(name: &str) -> Arc<Field> {
    Arc::new(Field::new(name, DataType::Int64, true))
}

fn ids(column: &FileColumn) -> Vec<Option<i32>> {
    std::iter::once(column.id)
        .chain(column.children.iter().flat_map(ids))
        .collect()
}

/// Elements, keys and values are found under the specification's names, whatever the file calls them.
#[test]
fn c37_name_mappings_reach_into_lists_and_maps() {
    let entries = Field::new(
        "map",
        DataType::Struct(Fields::from(vec![leaf("k"), leaf("v")])),
        false,
    );
    let fields = Fields::from(vec![
        Field::new("l", DataType::List(leaf("item")), true),
        Field::new("m", DataType::Map(Arc::new(entries), false), true),
        Field::new("unknown", DataType::Int64, true),
    ]);
    let mapped = |id, name: &str, below| MappedField::new(Some(id), vec![name.to_owned()], below);
    let mapping = NameMapping::new(vec![
        MappedField::new(None, vec!["unknown".to_owned()], vec![]),
        mapped(1, "l", vec![mapped(2, "element", vec![])]),
        mapped(
            3,
            "m",
            vec![mapped(4, "key", vec![]), mapped(5, "value", vec![])],
        ),
    ]);
    let json = serde_json::to_string(&mapping).unwrap();
    let properties = [("schema.name-mapping.default", json.as_str())];
    let table = TestTable::with_properties(people_fields(), &properties);
    let known = KnownColumns::of(&table.metadata, table.metadata.current_schema()).unwrap();
    let columns = file_columns("f", &fields, 4, &known).unwrap();
    assert_eq!(ids(&columns[0]), [Some(1), Some(2)]);
    assert_eq!(ids(&columns[1]), [Some(3), Some(4), Some(5)]);
    assert_eq!(ids(&columns[2]), [None]);
    assert!(columns[2].is_ignored);
    assert_eq!((columns[1].first_leaf, columns[1].leaves), (1, 2));
    assert!(file_columns("f", &fields, 5, &known).is_err());
}
