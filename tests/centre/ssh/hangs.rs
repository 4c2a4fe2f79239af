//! vctl gives up on a server that does not answer: before the deadline, with exit code 255, and with the reason in the
//! row.

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use nix::sys::socket::{Backlog, listen};
use vctl_tests::centre::Island;

use super::{Operator, shared};

#[test]
fn a_silent_server_is_given_up() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-tarpit");
    // The kernel accepts these connections, but no process ever does.
    let tarpit = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = tarpit.local_addr().unwrap().port();
    operator.inventory("tarpit-1", "127.0.0.1", port, "root");
    let said = operator.ssh(&["tarpit-1", "--", "true"]);
    assert_eq!(said.code, 255, "{said:?}");
    assert!(
        said.stderr
            .contains("the SSH handshake to `tarpit-1` did not complete within 15 s")
    );
    let rows = operator.accesses("tarpit-1");
    assert_eq!((rows.len(), &rows[0]["result"]), (1, &"failed".into()));
}

#[test]
fn an_address_without_an_answer_is_given_up() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-blackhole");
    let (_hole, port) = black_hole();
    operator.inventory("blackhole-1", "127.0.0.1", port, "root");
    let said = operator.ssh(&["blackhole-1", "--", "true"]);
    assert_eq!(said.code, 255, "{said:?}");
    assert!(
        said.stderr
            .contains("the TCP connection to `blackhole-1` did not complete within 10 s")
    );
    assert_eq!(operator.accesses("blackhole-1")[0]["result"], "failed");
}

#[test]
fn a_jump_host_that_opens_no_channel_is_given_up() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-nochannel");
    let island = Island::new().unwrap();
    let jump = centre.another_host_on(&island, "nochannel").unwrap();
    let (_hole, port) = island.within(black_hole).unwrap();
    operator.inventory(
        "nochannel-j",
        "127.0.0.1",
        island.door(jump.port()).unwrap(),
        jump.user(),
    );
    operator.remembers(&format!("nochannel-j {}\n", jump.public_key()));
    operator.inventory("nochannel-1", "127.0.0.1", port, "root");
    operator.jumps("nochannel-1", "nochannel-j");
    let said = operator.ssh(&["nochannel-1", "--", "true"]);
    assert_eq!(said.code, 255, "{said:?}");
    assert!(
        said.stderr.contains("did not complete within 15 s"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_server_that_hangs_up_in_the_middle() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-reset");
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    operator.inventory(
        "reset-1",
        "127.0.0.1",
        server.local_addr().unwrap().port(),
        "root",
    );
    thread::spawn(move || {
        for mut stream in server.incoming().flatten() {
            // Unread data makes the kernel reset the connection when it is closed.
            let _ = stream.read(&mut [0; 1]);
        }
    });
    let said = operator.ssh(&["reset-1", "--", "true"]);
    assert_eq!(said.code, 255, "{said:?}");
    assert!(
        said.stderr
            .contains("the SSH handshake to `reset-1` failed"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_server_that_speaks_something_else() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-flood");
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    operator.inventory(
        "flood-1",
        "127.0.0.1",
        server.local_addr().unwrap().port(),
        "root",
    );
    thread::spawn(move || {
        for mut stream in server.incoming().flatten() {
            let piece = vec![b'\x1b'; 65536];
            while std::io::Write::write_all(&mut stream, &piece).is_ok() {}
        }
    });
    let said = operator.ssh(&["flood-1", "--", "true"]);
    assert_eq!(said.code, 255, "{}", said.code);
    assert!(!said.stderr.contains('\x1b'), "{}", said.stderr);
}

/// Returns a port with a full queue: a client that connects gets no answer.
pub(crate) fn black_hole() -> (Vec<TcpStream>, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    let within = std::time::Duration::from_millis(300);
    let mut full = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&addr, within) {
        full.push(stream);
    }
    // The listener stays open until the end of this process, and never accepts a connection.
    std::mem::forget(listener);
    (full, addr.port())
}
