//! Bytes as text.

use std::fmt::Write as _;

/// The bytes as digits of lower-case hexadecimal, two each.
///
/// ```
/// assert_eq!(gnomon_schemas::hex::of(&[0, 171]), "00ab");
/// ```
pub fn of(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}
