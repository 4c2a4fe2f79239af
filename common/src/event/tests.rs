use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::*;

#[test]
fn argv_keeps_empty_items_and_a_cut_last_one() {
    assert_eq!(split_argv(b""), Vec::<Vec<u8>>::new());
    assert_eq!(split_argv(b"\0"), [b"".to_vec()]);
    assert_eq!(split_argv(b"a\0\0b\0\0"), [&b"a"[..], b"", b"b", b""]);
    assert_eq!(split_argv(b"a\0b"), [&b"a"[..], b"b"]);
}

#[test]
fn a_wait_status_tells_code_signal_and_core() {
    assert_eq!(ExitStatus::from_wait(0x0300), ExitStatus::Code(3));
    assert_eq!(
        ExitStatus::from_wait(9),
        ExitStatus::Signal {
            signal: 9,
            core_dumped: false
        }
    );
    assert_eq!(
        ExitStatus::from_wait(0x8b),
        ExitStatus::Signal {
            signal: 11,
            core_dumped: true
        }
    );
}

#[test]
fn terminals_are_named_as_ps_names_them() {
    let tty = |major, minor| Tty(Device { major, minor }).to_string();
    assert_eq!(tty(136, 3), "pts/3");
    assert_eq!(tty(137, 0), "pts/256");
    assert_eq!(tty(4, 1), "tty1");
    assert_eq!(tty(4, 64), "ttyS0");
    assert_eq!(tty(204, 64), "204:64");
}

/// Records, valid and damaged, with the expected result of each. Tests and fuzzers found them.
#[test]
fn each_record_of_the_corpus_is_what_it_was() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/src/testdata/records");
    let mut seen: Vec<String> = std::fs::read_dir(corpus)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let outcome = match decode(&std::fs::read(&path).unwrap()) {
                Ok(event) => match event.kind {
                    EventKind::Exec(exec) => format!("exec of {} items", exec.argv.len()),
                    EventKind::ExecFailed { errno, .. } => {
                        format!("failed exec, errno {errno}")
                    }
                    EventKind::Exit(exit) => format!("exit, {:?}", exit.status),
                    EventKind::CgroupMove(moved) => format!("move to {}", moved.to.0),
                },
                Err(error) => error.to_string(),
            };
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            format!("{name}: {outcome}\n")
        })
        .collect();
    seen.sort();
    assert_eq!(seen.concat(), include_str!("../testdata/records.txt"));
}

#[test]
fn every_kind_of_record_says_its_phase() {
    let phases = [Phase::User, Phase::LoginSetup, Phase::Logout, Phase::User];
    for (bits, wanted) in (0_u32..).zip(phases) {
        let header = |kind: u16, len: usize| {
            let mut header = Header::read_from_bytes(&[0; size_of::<Header>()]).unwrap();
            (header.kind, header.len) = (kind, u32::try_from(len).unwrap());
            header
        };
        for kind in [wire::KIND_EXEC, wire::KIND_EXEC_FAILED] {
            let mut exec = Exec::read_from_bytes(&[0; size_of::<Exec>()]).unwrap();
            exec.header = header(kind, size_of::<Exec>());
            exec.flags = bits << wire::EXEC_PHASE_SHIFT | wire::EXEC_SCRIPT;
            assert_eq!(decode(exec.as_bytes()).unwrap().phase, wanted);
        }
        let mut exit = Exit::read_from_bytes(&[0; size_of::<Exit>()]).unwrap();
        exit.header = header(wire::KIND_EXIT, size_of::<Exit>());
        exit.status = bits << wire::EXIT_PHASE_SHIFT | 0x0300;
        let event = decode(exit.as_bytes()).unwrap();
        assert_eq!(event.phase, wanted);
        let EventKind::Exit(ended) = event.kind else {
            panic!("{event:?}");
        };
        // An old reader that does not know phases reads the same status.
        assert_eq!(ended.status, ExitStatus::Code(3));
        let mut moved = CgroupMove::read_from_bytes(&[0; size_of::<CgroupMove>()]).unwrap();
        moved.header = header(wire::KIND_CGROUP_MOVE, size_of::<CgroupMove>());
        moved.phase = bits;
        assert_eq!(decode(moved.as_bytes()).unwrap().phase, wanted);
    }
}

/// The database reads these two bits of the record at this offset, in `vctl.is_users_exec`.
#[test]
fn the_phase_of_an_exec_lies_where_the_database_looks() {
    let at = std::mem::offset_of!(Exec, flags) * 8 + wire::EXEC_PHASE_SHIFT as usize;
    assert_eq!((at / 8, at % 8, wire::PHASE_MASK), (141, 0, 3));
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(
        kind in 0_u16..6,
        mut bytes in proptest::collection::vec(any::<u8>(), 0..500),
    ) {
        let _ = decode(&bytes);
        // The same bytes with a valid kind and length.
        if bytes.len() >= 6 {
            let len = u32::try_from(bytes.len()).unwrap();
            bytes[..4].copy_from_slice(&len.to_ne_bytes());
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn whatever_an_exec_says_its_strings_come_from_its_tail(
        lengths in (any::<u16>(), any::<u16>(), any::<u16>(), any::<u32>()),
        split in (0_u16..40, 0_u16..40, 0_u16..40, 0_u32..90),
        honest in any::<bool>(),
        tail in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut exec = Exec::read_from_bytes(&[0; size_of::<Exec>()]).unwrap();
        (exec.exe_len, exec.cwd_len, exec.filename_len, exec.argv_len) =
            if honest { split } else { lengths };
        exec.header.kind = wire::KIND_EXEC;
        exec.header.len = u32::try_from(size_of::<Exec>() + tail.len()).unwrap();
        let sum = u64::from(exec.exe_len)
            + u64::from(exec.cwd_len)
            + u64::from(exec.filename_len)
            + u64::from(exec.argv_len);
        let bytes = [exec.as_bytes(), &tail].concat();
        let decoded = decode(&bytes);
        prop_assert_eq!(decoded.is_ok(), sum == tail.len() as u64);
        if let Ok(KernelEvent { kind: EventKind::Exec(event), .. }) = decoded {
            let strings = [event.exe.path, event.cwd, event.filename].concat();
            prop_assert_eq!(strings, &tail[..tail.len() - exec.argv_len as usize]);
        }
    }
}
