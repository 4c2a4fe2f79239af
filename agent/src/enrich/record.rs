//! Converts one record from the ring's form to the spool's form. No I/O.

use vctl_common::event::{self, DecodeError};
use vctl_common::wire::{self, CgroupMove, Exec, Exit, Header};
use vctl_redact::Redactor;
use zerocopy::IntoBytes;

use crate::attribute;
use crate::session::registry::Registry;

/// Reads the header of a record and checks that the record is complete. Only such a record may be
/// attributed to a session.
///
/// # Errors
/// The bytes are not such a record.
pub fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
    let header = event::header(bytes)?;
    // The ring adds no padding, so the real length must be the stated one.
    if header.len as usize != bytes.len() {
        let says = header.len as usize;
        return Err(DecodeError::WrongLength {
            len: bytes.len(),
            says,
        });
    }
    match header.kind {
        wire::KIND_EXEC | wire::KIND_EXEC_FAILED => {
            event::exec_tail(&event::fixed(bytes)?, bytes)?;
        }
        wire::KIND_EXIT => {
            event::fixed::<Exit>(bytes)?;
        }
        wire::KIND_CGROUP_MOVE => {
            event::fixed::<CgroupMove>(bytes)?;
        }
        kind => return Err(DecodeError::UnknownKind { kind }),
    }
    Ok(header)
}

/// Writes an exec record in the spool's form to `record`, whose content is replaced: paths in
/// ordinary order, secrets masked, contradictions marked.
///
/// `whole_path` is called for a path that is too deep for the probe, with `exe` or `cwd`. Its
/// result is used if it ends in the names that the probe saw.
///
/// # Errors
/// The bytes are not an exec record, or a path is too long.
pub fn exec(
    bytes: &[u8],
    registry: &Registry,
    redactor: &Redactor,
    whole_path: impl Fn(&Header, &str) -> Option<Vec<u8>>,
    record: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let mut exec: Exec = event::fixed(bytes)?;
    let tail = event::exec_tail(&exec, bytes)?;
    if let Some(session) = registry.get(exec.header.session) {
        exec.flags |= attribute::disagreements(&exec, session, registry);
    }
    record.clear();
    record.resize(size_of::<Exec>(), 0);
    let path = |exec: &mut Exec, truncated: u32, link: &str, names: &[u8], record: &mut Vec<u8>| {
        let begin = record.len();
        super::append_path(names, record);
        if exec.flags & truncated != 0
            && let Some(path) = whole_path(&exec.header, link)
            && path.len() <= wire::PATH_MAX
            && path.ends_with(&record[begin..])
        {
            record.truncate(begin);
            record.extend_from_slice(&path);
            exec.flags &= !truncated;
        }
    };
    // A failed exec has no executable.
    if exec.header.kind == wire::KIND_EXEC {
        let truncated = wire::EXEC_EXE_TRUNCATED;
        path(&mut exec, truncated, "exe", tail.exe, record);
    }
    let exe_end = record.len();
    let truncated = wire::EXEC_CWD_TRUNCATED;
    path(&mut exec, truncated, "cwd", tail.cwd, record);
    let cwd_end = record.len();
    record.extend_from_slice(tail.filename);
    let filename_end = record.len();
    record.extend_from_slice(tail.argv);
    let (strings, argv) = record.split_at_mut(filename_end);
    // The requested file name also shows the program.
    let program = match &strings[size_of::<Exec>()..exe_end] {
        [] => &strings[cwd_end..],
        exe => exe,
    };
    if redactor.redact(program, argv) {
        exec.flags |= wire::EXEC_REDACTED;
    }
    let too_long = DecodeError::WrongTail {
        tail: bytes.len().saturating_sub(size_of::<Exec>()),
        strings: record.len() - size_of::<Exec>(),
    };
    let length = |bytes: usize| u16::try_from(bytes).map_err(|_| too_long);
    exec.exe_len = length(exe_end - size_of::<Exec>())?;
    exec.cwd_len = length(cwd_end - exe_end)?;
    exec.header.len = u32::try_from(record.len()).map_err(|_| too_long)?;
    record[..size_of::<Exec>()].copy_from_slice(exec.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vctl_common::event::{EventKind, ExecEvent, KernelEvent};
    use vctl_redact::RedactRules;
    use zerocopy::FromBytes;

    use super::*;

    fn redactor() -> Redactor {
        Redactor::new(&RedactRules::default()).unwrap()
    }

    /// Converts one record as the collector does.
    fn stored(bytes: &[u8], deep: Option<&[u8]>) -> Result<Vec<u8>, DecodeError> {
        let header = header(bytes)?;
        let mut record = Vec::new();
        match header.kind {
            wire::KIND_EXEC | wire::KIND_EXEC_FAILED => {
                let whole_path = |_: &Header, _: &str| deep.map(<[u8]>::to_vec);
                exec(
                    bytes,
                    &Registry::default(),
                    &redactor(),
                    whole_path,
                    &mut record,
                )?;
            }
            _ => record.extend_from_slice(bytes),
        }
        Ok(record)
    }

    fn exec_of(event: &KernelEvent) -> Option<&ExecEvent> {
        match &event.kind {
            EventKind::Exec(exec) | EventKind::ExecFailed { exec, .. } => Some(exec),
            _ => None,
        }
    }

    /// Returns a record with these strings: executable, directory, file name, argv.
    fn record_of(fixed: [u8; size_of::<Exec>()], kind: u16, strings: [&[u8]; 4]) -> Vec<u8> {
        let mut exec = Exec::read_from_bytes(&fixed).unwrap();
        let [exe, cwd, filename, argv] = strings.map(<[u8]>::len);
        exec.exe_len = u16::try_from(exe).unwrap();
        exec.cwd_len = u16::try_from(cwd).unwrap();
        exec.filename_len = u16::try_from(filename).unwrap();
        exec.argv_len = u32::try_from(argv).unwrap();
        exec.header.kind = kind;
        let tail = strings.concat();
        exec.header.len = u32::try_from(size_of::<Exec>() + tail.len()).unwrap();
        [exec.as_bytes(), &tail].concat()
    }

    #[test]
    fn a_path_that_grows_beyond_its_length_is_no_record() {
        let long = vec![b'x'; usize::from(u16::MAX)];
        let bytes = record_of(
            [0; size_of::<Exec>()],
            wire::KIND_EXEC,
            [&long, b"", b"", b""],
        );
        assert!(matches!(
            stored(&bytes, None),
            Err(DecodeError::WrongTail { .. })
        ));
    }

    #[test]
    fn a_move_that_is_cut_short_is_no_record() {
        let mut header = Header::read_from_bytes(&[0; size_of::<Header>()]).unwrap();
        header.kind = wire::KIND_CGROUP_MOVE;
        header.len = u32::try_from(size_of::<Header>()).unwrap();
        let refused = super::header(header.as_bytes());
        assert!(matches!(refused, Err(DecodeError::Truncated { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_or_a_record_that_readers_take(
            kind in 0_u16..6,
            mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            // Otherwise almost none would pass the first check.
            if bytes.len() >= 6 {
                let len = u32::try_from(bytes.len()).unwrap();
                bytes[..4].copy_from_slice(&len.to_ne_bytes());
                bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            }
            if let Ok(record) = stored(&bytes, None) {
                prop_assert!(event::decode(&record).is_ok());
            }
        }

        #[test]
        fn an_exec_is_stored_as_the_same_event(
            fixed in proptest::array::uniform32(any::<u8>()),
            failed in any::<bool>(),
            flags in any::<u32>(),
            exe in proptest::collection::vec(any::<u8>(), 0..60),
            cwd in proptest::collection::vec(any::<u8>(), 0..60),
            filename in proptest::collection::vec(any::<u8>(), 0..60),
            argv in proptest::collection::vec(any::<u8>(), 0..200),
            deep in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..80)),
        ) {
            let mut whole = [0; size_of::<Exec>()];
            for (byte, random) in whole.iter_mut().zip(fixed.iter().cycle()) {
                *byte = *random;
            }
            let mut exec = Exec::read_from_bytes(&whole).unwrap();
            exec.flags = flags;
            whole.copy_from_slice(exec.as_bytes());
            let kind = if failed { wire::KIND_EXEC_FAILED } else { wire::KIND_EXEC };
            let bytes = record_of(whole, kind, [&exe, &cwd, &filename, &argv]);
            let record = stored(&bytes, deep.as_deref()).unwrap();
            let (before, after) = (event::decode(&bytes).unwrap(), event::decode(&record).unwrap());
            prop_assert_eq!(
                (before.process, before.session_seq, before.cpu_seq, before.at, before.attribution),
                (after.process, after.session_seq, after.cpu_seq, after.at, after.attribution)
            );
            let (before, after) = (exec_of(&before).unwrap(), exec_of(&after).unwrap());
            // Masking keeps the position of every byte, and the NUL between items.
            let lengths = |exec: &ExecEvent| exec.argv.iter().map(Vec::len).collect::<Vec<_>>();
            prop_assert_eq!(lengths(before), lengths(after));
            prop_assert_eq!(&before.filename, &after.filename);
            prop_assert!(after.redacted || before.argv == after.argv);
            prop_assert_eq!(before.audit_session, after.audit_session);
        }

        #[test]
        fn a_record_cut_anywhere_is_no_record(cut in 0_usize..300) {
            let bytes = record_of(
                [0; size_of::<Exec>()],
                wire::KIND_EXEC,
                [b"true\0bin\0", b"root\0", b"true", b"true\0--help\0"],
            );
            let cut = cut % bytes.len();
            prop_assert!(stored(&bytes[..cut], None).is_err());
            // The same with a correct length.
            let mut consistent = bytes[..cut].to_vec();
            if let Some(len) = consistent.get_mut(..4) {
                len.copy_from_slice(&u32::try_from(cut).unwrap().to_ne_bytes());
            }
            prop_assert!(stored(&consistent, None).is_err());
        }
    }
}
