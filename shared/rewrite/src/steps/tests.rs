use std::sync::Arc;

use arrow_array::{Int64Array, ListArray, StringViewArray, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::Field;
use proptest::prelude::*;

use super::*;

fn texts(lengths: &[usize]) -> ArrayRef {
    Arc::new(StringViewArray::from_iter_values(
        lengths.iter().map(|length| "x".repeat(*length)),
    ))
}

proptest! {
    #[test]
    fn steps_hold_all_rows_in_order_and_no_more_bytes_than_they_may(
        lengths in prop::collection::vec(prop_oneof![0usize..40, 0usize..4000], 0..200),
        wanted in 1u64..3000, most in 1u64..9000, fewest in 1usize..50,
    ) {
        let columns = [texts(&lengths), Arc::new(Int64Array::from(vec![1; lengths.len()])) as ArrayRef];
        let steps = steps(&columns, lengths.len(), wanted, most, fewest);
        let all: Vec<usize> = steps.iter().cloned().flatten().collect();
        prop_assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
        let bytes = |rows: &Range<usize>| lengths[rows.clone()].iter().map(|l| *l as u64 + 2 * FIXED).sum::<u64>();
        for step in &steps {
            prop_assert!(step.len() == 1 || bytes(step) <= most);
        }
        for pair in steps.windows(2) {
            let next = bytes(&(pair[1].start..pair[1].start + 1));
            let full = bytes(&pair[0]) >= wanted && pair[0].len() >= fewest;
            prop_assert!(full || bytes(&pair[0]) + next > most);
        }
    }
}

#[test]
fn values_in_lists_and_structs_count_for_their_row() {
    let inner = texts(&[1000, 0, 500, 200]);
    let element = Arc::new(Field::new("element", inner.data_type().clone(), true));
    let list = ListArray::new(
        element,
        OffsetBuffer::new(vec![0, 1, 1, 4].into()),
        inner,
        None,
    );
    let field = Field::new("l", list.data_type().clone(), true);
    let outer = StructArray::new(vec![field].into(), vec![Arc::new(list) as ArrayRef], None);
    let sizes = row_sizes(&[Arc::new(outer)], 3);
    assert_eq!(sizes, [2 * FIXED + 1000, FIXED, 4 * FIXED + 700]);
}

#[test]
fn shared_values_take_no_memory_for_each_row() {
    let long = texts(&[1_000_000]);
    let rows =
        arrow_select::take::take(&long, &arrow_array::UInt32Array::from(vec![0; 1000]), None);
    let rows = rows.unwrap();
    assert_eq!(decoded_bytes(&rows), 1000 * FIXED);
    assert_eq!(steps(&[rows], 1000, 1 << 20, 8 << 20, 1).len(), 500);
}
