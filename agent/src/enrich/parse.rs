//! Parses files of /proc. No I/O.

/// `USER_HZ` is 100 on every known architecture.
pub const NS_PER_TICK: u64 = 10_000_000;

/// Reads the controlling terminal from `/proc/<pid>/stat`, as `major << 20 | minor`; 0 means none.
///
/// The name in field 2 may contain spaces and `)`, so fields are counted from the last `)`. Source:
/// proc_pid_stat(5).
pub fn tty(stat: &[u8]) -> Option<u32> {
    let after_name = stat.get(memchr::memrchr(b')', stat)? + 1..)?;
    let text = std::str::from_utf8(after_name).ok()?;
    // The state, field 3, comes first.
    let raw: i32 = text.split_ascii_whitespace().nth(4)?.parse().ok()?;
    Some(tty_device(raw.cast_unsigned()))
}

/// Converts the device number of field 7 (bits 31 to 20 and 7 to 0 minor, 15 to 8 major) to the
/// probe's form.
fn tty_device(raw: u32) -> u32 {
    let major = raw >> 8 & 0xfff;
    let minor = raw & 0xff | raw >> 12 & 0xf_ff00;
    major << 20 | minor
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

    #[test]
    fn a_name_with_parentheses_and_spaces_shifts_no_field() {
        let line = b"42 (a) b) S 7 42 42 34819 42 4194304 1";
        assert_eq!(tty(line), Some(136 << 20 | 3));
        assert_eq!(tty(&line[..20]), None);
    }

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
}
