//! Sizes in bytes, as text for people.

/// Returns at most three digits and a binary unit: `0 B`, `512 B`, `1.5 MiB`, `720 GiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    // Rounds up to the next unit: 1023.6 would be printed as 1024.
    while size >= 1023.5 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if size < 9.95 {
        format!("{size:.1} {}", UNITS[unit])
    } else {
        format!("{size:.0} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_three_digits_at_most() {
        let shown = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10 << 20, "10 MiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (720 << 30, "720 GiB"),
            (u64::MAX, "16384 PiB"),
        ];
        for (number, text) in shown {
            assert_eq!(bytes(number), text);
        }
    }
}
