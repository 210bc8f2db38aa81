//! Words for people.

/// `1 file`, `2 files`.
pub(crate) fn several(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}
