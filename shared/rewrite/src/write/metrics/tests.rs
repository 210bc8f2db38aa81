use arrow_array::{Float32Array, Float64Array, Int32Array, StructArray};
use arrow_schema::Field;
use iceberg::spec::{NestedField, StructType};

use super::*;

#[test]
fn only_values_that_are_there_and_not_numbers_count() {
    let leaf = |id, primitive| {
        NestedField::optional(id, format!("c{id}"), Type::Primitive(primitive)).into()
    };
    let fields = vec![
        leaf(1, PrimitiveType::Float),
        leaf(2, PrimitiveType::Int),
        NestedField::optional(
            3,
            "s",
            Type::Struct(StructType::new(vec![
                leaf(4, PrimitiveType::Int),
                leaf(5, PrimitiveType::Double),
            ])),
        )
        .into(),
    ];
    let mut nans = NanCounts::new(&fields);
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let doubles: ArrayRef = Arc::new(Float64Array::from(vec![Some(f64::NAN), None]));
    let inner = StructArray::from(vec![
        (
            Arc::new(Field::new("c4", DataType::Int32, true)),
            Arc::clone(&ints),
        ),
        (Arc::new(Field::new("c5", DataType::Float64, true)), doubles),
    ]);
    let floats: ArrayRef = Arc::new(Float32Array::from(vec![f32::NAN, -f32::NAN]));
    let columns: Vec<ArrayRef> = vec![floats, ints, Arc::new(inner)];
    nans.add(&columns);
    nans.add(&columns);
    assert_eq!(nans.of(1), Some(4));
    assert_eq!(nans.of(2), None);
    assert_eq!(nans.of(5), Some(2));
    nans.clear();
    assert_eq!(nans.of(1), Some(0));
}
