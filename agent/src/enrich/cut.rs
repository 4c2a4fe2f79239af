//! Cuts exec records of a session that is over its byte budget. No I/O.

use vctl_common::event::{self, DecodeError};
use vctl_common::wire::{self, Exec};
use zerocopy::IntoBytes;

use crate::session::registry::Cut;

const LONG: usize = 4096;
const SHORT: usize = 256;

/// Cuts an exec record in the spool's form. It is already masked, so no half of a secret stays.
/// Returns whether anything was cut; the record then says so, with the former length of argv.
///
/// # Errors
/// The bytes are not an exec record.
pub fn exec(record: &mut Vec<u8>, cut: Cut) -> Result<bool, DecodeError> {
    let (argv_max, path_max) = match cut {
        Cut::Nothing => return Ok(false),
        Cut::Long => (LONG, usize::MAX),
        Cut::All => (SHORT, SHORT),
    };
    let mut exec: Exec = event::fixed(record)?;
    let tail = event::exec_tail(&exec, record)?;
    // The end of a path says more than its beginning; for the given file name both are equally
    // good.
    let end = |path: &[u8]| path[path.len() - path.len().min(path_max)..].to_vec();
    let begin = |bytes: &[u8], max: usize| bytes[..bytes.len().min(max)].to_vec();
    let (exe, cwd) = (end(tail.exe), end(tail.cwd));
    let (filename, argv) = (begin(tail.filename, path_max), begin(tail.argv, argv_max));
    let lengths = [exe.len(), cwd.len(), filename.len(), argv.len()];
    let before = [
        tail.exe.len(),
        tail.cwd.len(),
        tail.filename.len(),
        tail.argv.len(),
    ];
    if lengths == before {
        return Ok(false);
    }
    exec.flags |= wire::EXEC_OVER_BUDGET;
    let flags = [
        wire::EXEC_EXE_TRUNCATED,
        wire::EXEC_CWD_TRUNCATED,
        0,
        wire::EXEC_ARGV_TRUNCATED,
    ];
    for ((flag, after), before) in flags.into_iter().zip(lengths).zip(before) {
        exec.flags |= if after < before { flag } else { 0 };
    }
    let strings = [exe, cwd, filename, argv].concat();
    let wrong = DecodeError::WrongTail {
        tail: record.len(),
        strings: strings.len(),
    };
    let short = |len: usize| u16::try_from(len).map_err(|_| wrong);
    (exec.exe_len, exec.cwd_len) = (short(lengths[0])?, short(lengths[1])?);
    exec.filename_len = short(lengths[2])?;
    exec.argv_len = u32::try_from(lengths[3]).map_err(|_| wrong)?;
    let len = size_of::<Exec>() + strings.len();
    exec.header.len = u32::try_from(len).map_err(|_| wrong)?;
    record.clear();
    record.extend_from_slice(exec.as_bytes());
    record.extend_from_slice(&strings);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use vctl_common::event::{EventKind, ExecEvent};
    use zerocopy::FromBytes;

    use super::*;

    /// Returns a record with strings of these lengths.
    fn record(lengths: [u16; 3], argv: u32) -> Vec<u8> {
        let mut exec = Exec::read_from_bytes(&[0; size_of::<Exec>()]).unwrap();
        exec.header.kind = wire::KIND_EXEC;
        [exec.exe_len, exec.cwd_len, exec.filename_len] = lengths;
        (exec.argv_len, exec.argv_true_len) = (argv, argv);
        let tail = lengths.map(u32::from).iter().sum::<u32>() + argv;
        exec.header.len = u32::try_from(size_of::<Exec>()).unwrap() + tail;
        let mut record = exec.as_bytes().to_vec();
        record.resize(exec.header.len as usize, b'x');
        record
    }

    fn decoded(record: &[u8]) -> ExecEvent {
        match event::decode(record).unwrap().kind {
            EventKind::Exec(exec) => *exec,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_short_stays_as_it_is() {
        let whole = record([20, 20, 20], 200);
        for cut in [Cut::Nothing, Cut::Long, Cut::All] {
            let mut bytes = whole.clone();
            assert!(!exec(&mut bytes, cut).unwrap());
            assert_eq!(bytes, whole);
        }
    }

    #[test]
    fn a_long_argv_is_cut_marked_and_its_length_kept() {
        let mut bytes = record([20, 4000, 20], 100_000);
        assert!(exec(&mut bytes, Cut::Long).unwrap());
        let event = decoded(&bytes);
        assert_eq!(event.argv[0].len(), LONG);
        assert!(event.argv_truncated && event.over_budget && !event.cwd_truncated);
        assert_eq!((event.argv_true_len, event.cwd.len()), (100_000, 4000));
    }

    #[test]
    fn far_over_the_budget_no_string_is_long() {
        let mut bytes = record([4096, 4096, 4096], 100_000);
        assert!(exec(&mut bytes, Cut::All).unwrap());
        assert_eq!(bytes.len(), size_of::<Exec>() + 4 * SHORT);
        let event = decoded(&bytes);
        assert!(event.exe.path_truncated && event.cwd_truncated && event.over_budget);
    }
}
