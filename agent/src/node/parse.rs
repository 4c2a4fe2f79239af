//! Parses files of `/proc` and `/etc` to numbers. No I/O.

/// Returns the load averages of 1, 5 and 15 minutes from `/proc/loadavg`.
pub(super) fn load(text: &str) -> Option<[f32; 3]> {
    let mut words = text.split_ascii_whitespace();
    let mut next = || {
        words
            .next()?
            .parse()
            .ok()
            .filter(|load: &f32| load.is_finite())
    };
    Some([next()?, next()?, next()?])
}

/// Size and usage of the memory or of a file system.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usage {
    pub(super) total_bytes: u64,
    pub(super) used_percent: f32,
}

/// Returns memory from `/proc/meminfo`. Memory that the kernel would free on demand counts as
/// unused: (total - available) / total.
pub(super) fn memory(text: &str) -> Option<Usage> {
    let kib = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let number = line.strip_prefix(':')?.split_ascii_whitespace().next()?;
        number.parse().ok()
    };
    let total = kib("MemTotal")?.checked_mul(1024)?;
    let available = kib("MemAvailable")?.checked_mul(1024)?;
    usage(total, total.checked_sub(available)?, total)
}

/// Returns a file system as df(1) shows it: the used part of the blocks that users may have.
pub(super) fn disk(block_bytes: u64, blocks: u64, free: u64, available: u64) -> Option<Usage> {
    let used = blocks.checked_sub(free)?;
    usage(
        blocks.checked_mul(block_bytes)?,
        used,
        used.checked_add(available)?,
    )
}

fn usage(total_bytes: u64, used: u64, of: u64) -> Option<Usage> {
    if of == 0 {
        return None;
    }
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a percentage for people"
    )]
    let used_percent = (used as f64 / of as f64 * 100.0).clamp(0.0, 100.0) as f32;
    Some(Usage {
        total_bytes,
        used_percent,
    })
}

/// Returns whole seconds since the boot from `/proc/uptime`.
pub(super) fn uptime_s(text: &str) -> Option<u64> {
    let seconds = text.split_ascii_whitespace().next()?;
    seconds.split('.').next()?.parse().ok()
}

/// Returns the name of the system from os-release(5): `PRETTY_NAME`, else `NAME` and `VERSION_ID`.
pub(super) fn os_name(text: &str) -> Option<String> {
    let value = |wanted: &str| {
        text.lines().rev().find_map(|line| {
            let (name, value) = line.trim().split_once('=')?;
            let value = unquoted(value);
            (name == wanted && !value.is_empty()).then_some(value)
        })
    };
    value("PRETTY_NAME").or_else(|| match (value("NAME")?, value("VERSION_ID")) {
        (name, Some(version)) => Some(format!("{name} {version}")),
        (name, None) => Some(name),
    })
}

/// Removes the quotes of a shell word, and the backslashes before escaped characters.
fn unquoted(value: &str) -> String {
    let quoted = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(literal) = quoted('\'') {
        return literal.to_owned();
    }
    let mut out = String::new();
    let mut chars = quoted('"').unwrap_or(value).chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('\\' | '"' | '$' | '`')) => out.extend(chars.next()),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn load_is_the_first_three_numbers() {
        assert_eq!(
            load("0.52 0.58 12.59 2/1234 98\n"),
            Some([0.52, 0.58, 12.59])
        );
        for bad in ["", "0.5 0.5", "a b c", "nan nan nan 1/2 3"] {
            assert_eq!(load(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn memory_that_the_kernel_would_give_back_is_not_used() {
        let meminfo = "MemTotal:       1000 kB\nMemFree:         10 kB\nMemAvailable:    750 kB\n";
        let used = memory(meminfo).unwrap();
        assert_eq!(used.total_bytes, 1_024_000);
        assert!((used.used_percent - 25.0).abs() < 0.001, "{used:?}");
        assert_eq!(memory("MemTotal: 0 kB\nMemAvailable: 0 kB\n"), None);
        assert_eq!(memory("MemTotal: 1 kB\nMemAvailable: 2 kB\n"), None);
    }

    #[test]
    fn a_disk_is_full_when_users_can_write_nothing_more() {
        // 5 % are reserved for root.
        let full = disk(4096, 1000, 50, 0).unwrap();
        assert!((full.used_percent - 100.0).abs() < 0.001, "{full:?}");
        assert_eq!(full.total_bytes, 4_096_000);
        assert_eq!(disk(4096, 0, 0, 0), None);
    }

    #[test]
    fn uptime_is_in_whole_seconds() {
        assert_eq!(uptime_s("350735.47 234388.90\n"), Some(350_735));
        assert_eq!(uptime_s("up"), None);
    }

    #[test]
    fn the_system_has_the_name_it_gives_itself() {
        let debian = "NAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(os_name(debian).unwrap(), "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(
            os_name("NAME=Rocky\nVERSION_ID='9.4'\n").unwrap(),
            "Rocky 9.4"
        );
        assert_eq!(os_name("PRETTY_NAME=\"a\\\"b\\$c\"\n").unwrap(), "a\"b$c");
        assert_eq!(os_name("# nothing\n"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC{0,200}") {
            let _ = (load(&text), memory(&text), uptime_s(&text), os_name(&text));
        }
    }
}
