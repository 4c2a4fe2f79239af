//! Bytes of files in /proc → facts, pure.

/// `USER_HZ` is 100 on every architecture we know.
pub const NS_PER_TICK: u64 = 10_000_000;

/// What we need of `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub ppid: u32,
    /// Controlling terminal as `major << 20 | minor`, 0 for none.
    pub tty: u32,
    /// Start in clock ticks after boot.
    pub start_ticks: u64,
}

/// Reads all of `/proc/<pid>/stat`.
///
/// The name in field 2 may hold spaces and `)`, so fields are counted from the last `)`. Source:
/// proc_pid_stat(5).
pub fn stat(bytes: &[u8]) -> Option<Stat> {
    let after_name = bytes.get(memchr::memrchr(b')', bytes)? + 1..)?;
    let text = std::str::from_utf8(after_name).ok()?;
    // The state, field 3, comes first.
    let mut fields = text.split_ascii_whitespace();
    let ppid = fields.nth(1)?.parse().ok()?;
    let tty: i32 = fields.nth(2)?.parse().ok()?;
    let start_ticks = fields.nth(14)?.parse().ok()?;
    Some(Stat {
        ppid,
        tty: tty_device(tty.cast_unsigned()),
        start_ticks,
    })
}

/// Turns the device number of field 7 (bits 31 to 20 and 7 to 0 minor, 15 to 8 major) into the one
/// the probe writes.
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

/// Reads the path of the unified hierarchy from `/proc/<pid>/cgroup`.
pub fn cgroup_path(file: &[u8]) -> Option<&[u8]> {
    file.split(|&b| b == b'\n')
        .find_map(|line| line.strip_prefix(b"0::"))
}

/// Reads where the unified hierarchy is mounted from `/proc/self/mountinfo`.
pub fn cgroup2_mount(mountinfo: &[u8]) -> Option<&[u8]> {
    mountinfo.split(|&b| b == b'\n').find_map(|line| {
        let mut fields = line.split(|&b| b == b' ');
        let mount_point = fields.nth(4)?;
        let fs_type = fields.skip_while(|field| *field != b"-").nth(1)?;
        (fs_type == b"cgroup2").then_some(mount_point)
    })
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
        let line = b"42 (a) b) S 7 42 42 34819 42 4194304 1 0 0 0 0 0 0 0 20 0 1 0 98765 1 1";
        let expected = Stat {
            ppid: 7,
            tty: 136 << 20 | 3,
            start_ticks: 98765,
        };
        assert_eq!(stat(line), Some(expected));
    }

    #[test]
    fn a_stat_cut_anywhere_is_no_stat() {
        let line = b"42 (sh) S 7 42 42 0 42 4194304 1 0 0 0 0 0 0 0 20 0 1 0 98765";
        assert!(stat(line).is_some());
        let last = line.len() - 5;
        assert!((0..last).all(|end| stat(&line[..end]).is_none()));
    }

    #[test]
    fn ids_and_cgroup_are_found_by_their_label() {
        let status = b"Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t5\t6\t6\t6\n";
        assert_eq!(status_ids(status, b"Uid:"), Some([1000, 0]));
        assert_eq!(status_ids(status, b"Gid:"), Some([5, 6]));
        assert_eq!(
            cgroup_path(b"1:cpu:/x\n0::/user.slice\n"),
            Some(&b"/user.slice"[..])
        );
    }

    #[test]
    fn the_unified_hierarchy_is_found_on_a_hybrid_host() {
        let info = b"30 23 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                     31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup2_mount(info), Some(&b"/sys/fs/cgroup/unified"[..]));
    }

    #[test]
    fn a_mapping_tells_device_and_inode() {
        let maps = b"55d0-55d4 r--p 00000000 fe:01 1835 /usr/bin/x\n7f00-7f01 rw-p 0 00:00 0\n";
        assert_eq!(mapped_file(maps, b"/usr/bin/x"), Some((0xfe, 1, 1835)));
    }
}
