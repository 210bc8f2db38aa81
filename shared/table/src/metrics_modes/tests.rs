use iceberg::spec::{NestedField, PrimitiveType, StructType};

use super::*;

#[test]
fn modes_are_read_as_java_writes_them() {
    assert_eq!(MetricsMode::parse("None"), Some(MetricsMode::None));
    assert_eq!(MetricsMode::parse("COUNTS"), Some(MetricsMode::Counts));
    assert_eq!(MetricsMode::parse("full"), Some(MetricsMode::Full));
    assert_eq!(
        MetricsMode::parse("truncate(7)"),
        Some(MetricsMode::Truncate(7))
    );
    for wrong in [
        "truncate",
        "truncate()",
        "truncate(0)",
        "truncate(-1)",
        "some",
    ] {
        assert_eq!(MetricsMode::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn the_first_columns_are_those_of_the_upper_levels() {
    let leaf = |id| {
        NestedField::optional(id, format!("c{id}"), Type::Primitive(PrimitiveType::Int)).into()
    };
    let nested = Type::Struct(StructType::new(vec![leaf(3), leaf(4)]));
    let fields = vec![
        leaf(1),
        NestedField::optional(2, "s", nested).into(),
        leaf(5),
    ];
    assert_eq!(first_leaves(&fields, 4), None);
    assert_eq!(first_leaves(&fields, 3), Some(HashSet::from([1, 5, 3])));
    assert_eq!(first_leaves(&fields, 1), Some(HashSet::from([1])));
}
