//! How large rows are once decoded, and batches cut into steps that memory has room for.
//!
//! Texts and bytes are views: a value that thousands of rows share lies once in the dictionary's buffer, and a batch of
//! them is small. Whoever copies values out of views (the encoder, the keys of equality deletes) multiplies it, and goes
//! by steps.

use std::ops::Range;

use arrow_array::{Array, ArrayRef, cast::AsArray};
use arrow_schema::DataType;

/// Bytes of a view, of a number or an offset, about: what a value takes whatever its length.
const FIXED: u64 = 16;

/// Cuts `rows` rows into steps of about `wanted` bytes, of `fewest` rows at least unless they have more than `most`
/// bytes. A row is never cut.
pub(crate) fn steps(
    columns: &[ArrayRef],
    rows: usize,
    wanted: u64,
    most: u64,
    fewest: usize,
) -> Vec<Range<usize>> {
    let sizes = row_sizes(columns, rows);
    let mut steps = Vec::new();
    let (mut start, mut bytes) = (0, 0u64);
    for (row, size) in sizes.iter().enumerate() {
        let full = bytes >= wanted && row - start >= fewest;
        if row > start && (full || bytes.saturating_add(*size) > most) {
            steps.push(start..row);
            (start, bytes) = (row, 0);
        }
        bytes = bytes.saturating_add(*size);
    }
    if start < rows {
        steps.push(start..rows);
    }
    steps
}

/// The bytes of each row, its values copied.
fn row_sizes(columns: &[ArrayRef], rows: usize) -> Vec<u64> {
    let mut sizes = vec![0; rows];
    for column in columns {
        add_sizes(column, &mut sizes);
    }
    sizes
}

fn add_sizes(array: &ArrayRef, sizes: &mut [u64]) {
    let add_lengths = |sizes: &mut [u64], lengths: &mut dyn Iterator<Item = u32>| {
        for (size, length) in sizes.iter_mut().zip(lengths) {
            *size += FIXED + u64::from(length);
        }
    };
    let add_elements = |sizes: &mut [u64], offsets: &[i32], elements: &ArrayRef| {
        let mut element_sizes = vec![0; elements.len()];
        add_sizes(elements, &mut element_sizes);
        for (size, range) in sizes.iter_mut().zip(offsets.windows(2)) {
            let elements = range[0] as usize..range[1] as usize;
            *size += FIXED + element_sizes[elements].iter().sum::<u64>();
        }
    };
    match array.data_type() {
        DataType::Utf8View => add_lengths(sizes, &mut array.as_string_view().lengths()),
        DataType::BinaryView => add_lengths(sizes, &mut array.as_binary_view().lengths()),
        DataType::Struct(_) => {
            for child in array.as_struct().columns() {
                add_sizes(child, sizes);
            }
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            add_elements(sizes, list.value_offsets(), list.values());
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let entries: ArrayRef = std::sync::Arc::new(map.entries().clone());
            add_elements(sizes, map.value_offsets(), &entries);
        }
        DataType::FixedSizeBinary(length) => {
            let size = FIXED + u64::from(length.unsigned_abs());
            sizes.iter_mut().for_each(|row| *row += size);
        }
        _ => sizes.iter_mut().for_each(|row| *row += FIXED),
    }
}

/// The memory that a decoded column takes beside the buffers that its views point into, which are pages and
/// dictionaries.
pub(crate) fn decoded_bytes(array: &ArrayRef) -> u64 {
    match array.data_type() {
        DataType::Utf8View | DataType::BinaryView => array.len() as u64 * FIXED,
        DataType::Struct(_) => array.as_struct().columns().iter().map(decoded_bytes).sum(),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            decoded_bytes(list.values()) + list.len() as u64 * 4
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let columns = map.entries().columns().iter();
            columns.map(decoded_bytes).sum::<u64>() + map.len() as u64 * 4
        }
        _ => array.get_buffer_memory_size() as u64,
    }
}

#[cfg(test)]
mod tests;
