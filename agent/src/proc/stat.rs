//! The text of `/proc/<pid>/stat`. Pure. Source: proc_pid_stat(5).

/// The facts of `/proc/<pid>/stat` that are needed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub ppid: u32,
    /// In clock ticks after boot.
    pub start_ticks: u64,
    /// Its last thread has ended, and its parent has not waited for it.
    pub is_zombie: bool,
    /// Its last thread ends now or has ended: the probe at its exit has run, or is about to.
    pub is_exiting: bool,
}

/// `PF_EXITING` of the kernel.
const EXITING: u32 = 4;

/// Reads all of `/proc/<pid>/stat`.
pub fn parse_stat(stat: &[u8]) -> Option<Stat> {
    // Field 3, the state, is the first here; then ppid 4, flags 9, num_threads 20, starttime 22.
    let mut fields = behind_name(stat)?.split_ascii_whitespace();
    let state = fields.next()?;
    let ppid = fields.next()?.parse().ok()?;
    let flags: u32 = fields.nth(4)?.parse().ok()?;
    let threads: u32 = fields.nth(10)?.parse().ok()?;
    let start_ticks = fields.nth(1)?.parse().ok()?;
    // State and flags are of the first thread. It may have ended while others run.
    let is_last = threads <= 1;
    let is_zombie = is_last && matches!(state, "Z" | "X" | "x");
    Some(Stat {
        ppid,
        start_ticks,
        is_zombie,
        is_exiting: is_zombie || is_last && flags & EXITING != 0,
    })
}

/// Reads the controlling terminal, as `major << 20 | minor`; 0 means none.
pub fn tty(stat: &[u8]) -> Option<u32> {
    // The state, field 3, comes first.
    let mut fields = behind_name(stat)?.split_ascii_whitespace();
    let raw: i32 = fields.nth(4)?.parse().ok()?;
    Some(tty_device(raw.cast_unsigned()))
}

/// Converts the device number of field 7 (bits 31 to 20 and 7 to 0 minor, 15 to 8 major) to the
/// probe's form.
fn tty_device(raw: u32) -> u32 {
    let major = raw >> 8 & 0xfff;
    let minor = raw & 0xff | raw >> 12 & 0xf_ff00;
    major << 20 | minor
}

/// Reads the name, which the process can choose, and the letter of the state.
pub fn name_and_state(stat: &[u8]) -> Option<(&[u8], char)> {
    let state = behind_name(stat)?.trim_start().chars().next()?;
    let from = memchr::memchr(b'(', stat)? + 1;
    let name = stat.get(from..memchr::memrchr(b')', stat)?)?;
    Some((name, state))
}

/// Returns the fields from the third on. The name in field 2 may contain spaces and `)`, so they begin behind the last `)`.
fn behind_name(stat: &[u8]) -> Option<&str> {
    let from = memchr::memrchr(b')', stat)? + 1;
    std::str::from_utf8(stat.get(from..)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stat(state: &str, flags: u32, threads: u32) -> String {
        let [four, ten] = [4, 10].map(|count| "0 ".repeat(count));
        format!("7 (sshd: a) R x) {state} 1 {four}{flags} {ten}{threads} 0 500 0 0\n")
    }

    #[test]
    fn a_process_has_ended_with_its_last_thread() {
        let of = |state, flags, threads| {
            let stat = parse_stat(stat(state, flags, threads).as_bytes()).unwrap();
            assert_eq!((stat.ppid, stat.start_ticks), (1, 500));
            (stat.is_zombie, stat.is_exiting)
        };
        assert_eq!(of("S", 0x40_0000, 1), (false, false));
        assert_eq!(of("R", 0x40_0004, 1), (false, true));
        assert_eq!(of("Z", 0x40_0004, 1), (true, true));
        assert_eq!(of("X", 0x40_0004, 0), (true, true));
        // The first thread has ended, and another one runs.
        assert_eq!(of("Z", 0x40_0004, 2), (false, false));
        assert_eq!(of("R", 0x40_0004, 2), (false, false));
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_shifts_no_field() {
        let line = b"42 (a) b) S 7 42 42 34819 42 4194304 1";
        assert_eq!(tty(line), Some(136 << 20 | 3));
        assert_eq!(tty(&line[..20]), None);
        assert_eq!(name_and_state(line), Some((&b"a) b"[..], 'S')));
        assert_eq!(name_and_state(&line[..9]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse_stat(&bytes);
            tty(&bytes);
            name_and_state(&bytes);
        }
    }
}
