//! Bytes in hexadecimal, in lower case.

use std::fmt::Write as _;

pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_has_two_digits() {
        assert_eq!(encode(&[0, 10, 0xab, 255]), "000aabff");
        assert_eq!(encode(&[]), "");
    }
}
