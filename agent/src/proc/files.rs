//! Small files of `/proc/<pid>`. No I/O.

use vctl_common::wire::UNSET;

/// Reads the login uid or the audit session id, which write "not set" as 4294967295.
pub fn parse_id(file: &[u8]) -> Option<u32> {
    let raw: u32 = std::str::from_utf8(file).ok()?.trim().parse().ok()?;
    (raw != UNSET).then_some(raw)
}

/// Returns the path in the unified hierarchy from all of `/proc/<pid>/cgroup`.
pub fn parse_cgroup(file: &[u8]) -> Option<&str> {
    let line = file
        .split(|&b| b == b'\n')
        .find_map(|line| line.strip_prefix(b"0::"))?;
    std::str::from_utf8(line).ok()
}

/// Reads real and effective id from the line of `/proc/<pid>/status` that begins with `label`.
pub fn status_ids(status: &[u8], label: &[u8]) -> Option<[u32; 2]> {
    let line = status
        .split(|&b| b == b'\n')
        .find_map(|line| line.strip_prefix(label))?;
    let mut ids = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    Some([ids.next()?.parse().ok()?, ids.next()?.parse().ok()?])
}

/// Reads major, minor and inode of the first mapping of `path` from `/proc/<pid>/maps`.
pub fn mapped_file(maps: &[u8], path: &[u8]) -> Option<(u32, u32, u64)> {
    let line = maps
        .split(|&b| b == b'\n')
        .find(|line| line.ends_with(path))?;
    let text = std::str::from_utf8(line.strip_suffix(path)?).ok()?;
    let mut fields = text.split_ascii_whitespace().skip(3);
    let (major, minor) = fields.next()?.split_once(':')?;
    let hex = |text| u32::from_str_radix(text, 16).ok();
    Some((hex(major)?, hex(minor)?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_are_found_by_their_label() {
        let status = b"Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t5\t6\t6\t6\n";
        assert_eq!(status_ids(status, b"Uid:"), Some([1000, 0]));
        assert_eq!(status_ids(status, b"Gid:"), Some([5, 6]));
    }

    #[test]
    fn a_mapping_tells_device_and_inode() {
        let maps = b"55d0-55d4 r--p 00000000 fe:01 1835 /usr/bin/x\n7f00-7f01 rw-p 0 00:00 0\n";
        assert_eq!(mapped_file(maps, b"/usr/bin/x"), Some((0xfe, 1, 1835)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse_id(&bytes);
            parse_cgroup(&bytes);
            status_ids(&bytes, b"Uid:");
            mapped_file(&bytes, b"/x");
        }
    }
}
