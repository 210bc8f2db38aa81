use super::*;

/// The specification's table of *minimum bytes* for a precision.
#[test]
fn decimals_take_as_few_bytes_as_hold_them() {
    for (precision, bytes) in [
        (19, 9),
        (20, 9),
        (21, 9),
        (22, 10),
        (28, 12),
        (29, 13),
        (38, 16),
    ] {
        assert_eq!(decimal_bytes(precision), bytes, "{precision}");
    }
}
