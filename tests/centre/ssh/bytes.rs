//! Between pipes, every byte arrives unchanged, and no other byte arrives.

use std::io::{Read as _, Write as _};
use std::thread;

use ring::digest::{SHA256, digest};

use super::{Operator, shared};

/// Returns some MiB that contain every byte value and that do not compress.
fn noise() -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(8 << 20);
    while bytes.len() < 8 << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes
}

#[test]
fn piped_bytes_come_back_unchanged() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-bytes");
    operator.knows("bytes-1", centre.host.as_ref().unwrap());
    let sent = noise();
    let mut child = operator.start(&["bytes-1", "--", "tee /dev/stderr"]);
    let mut stdin = child.stdin.take().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (out, err) = thread::scope(|scope| {
        scope.spawn(|| {
            stdin.write_all(&sent).unwrap();
            drop(stdin);
        });
        let err = scope.spawn(move || {
            let mut got = Vec::new();
            stderr.read_to_end(&mut got).map(|_| got)
        });
        let mut got = Vec::new();
        stdout.read_to_end(&mut got).unwrap();
        (got, err.join().unwrap().unwrap())
    });
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!((out.len(), err.len()), (sent.len(), sent.len()));
    let hash = |bytes: &[u8]| digest(&SHA256, bytes).as_ref().to_vec();
    assert_eq!(hash(&out), hash(&sent));
    assert_eq!(hash(&err), hash(&sent));
}

#[test]
fn one_direction_ends_and_the_other_goes_on() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-half");
    operator.knows("half-1", centre.host.as_ref().unwrap());
    // This command prints nothing before the end of its input.
    let said = operator.given(&["half-1", "--", "wc -c; echo after"], &"x".repeat(100_000));
    assert_eq!(
        (said.code, &*said.stdout),
        (0, "100000\nafter\n"),
        "{said:?}"
    );
    // A command may also end before the end of its input.
    let said = operator.given(&["half-1", "--", "head -c 3; exit 4"], "abcdef");
    assert_eq!((said.code, &*said.stdout), (4, "abc"), "{said:?}");
}

#[test]
fn pipes_get_no_terminal_without_tt() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-tty");
    operator.knows("tty-1", centre.host.as_ref().unwrap());
    for (args, tty) in [
        (&[][..], false),
        (&["-t"], false),
        (&["-T"], false),
        (&["-tt"], true),
    ] {
        let args = [args, &["tty-1", "--", "tty"]].concat();
        let said = operator.ssh(&args);
        let is_tty = said.stdout.starts_with("/dev/pts/");
        assert_eq!((is_tty, said.code == 0), (tty, tty), "{args:?}: {said:?}");
    }
}

#[test]
fn a_reader_that_stops_ends_the_command() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-head");
    operator.knows("head-1", centre.host.as_ref().unwrap());
    let mut child = operator.start(&["head-1", "--", "yes"]);
    let mut two = [0; 4];
    child.stdout.take().unwrap().read_exact(&mut two).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
}
