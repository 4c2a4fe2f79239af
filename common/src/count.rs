//! A number and its noun, in the singular or the plural.

use std::fmt::Display;

/// Returns `1 day` or `3 days`; the plural adds an `s`.
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(count: N, one: &str) -> String {
    if count == N::from(1) {
        format!("1 {one}")
    } else {
        format!("{count} {one}s")
    }
}

/// Returns the form of a word that goes with a number: `is` or `are`, `its` or `their`.
pub fn form<'a, N: Copy + PartialEq + From<u8>>(
    count: N,
    one: &'a str,
    several: &'a str,
) -> &'a str {
    if count == N::from(1) { one } else { several }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_all_others_are_plural() {
        assert_eq!(counted(1_u64, "day"), "1 day");
        assert_eq!(counted(0_usize, "host"), "0 hosts");
        assert_eq!(counted(21_i64, "event"), "21 events");
        assert_eq!(form(1_u32, "is", "are"), "is");
        assert_eq!(form(2_u32, "is", "are"), "are");
    }
}
