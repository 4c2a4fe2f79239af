//! vctl gives up on a server that does not answer: before the deadline, with exit code 255, and with the reason in the
//! row.

use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{Backlog, listen};
use nix::unistd::Pid;
use serde_json::json;
use vctl_tests::centre::Island;
use vctl_tests::fixture::await_that;

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

#[test]
fn ctrl_c_while_connecting_has_a_row() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-hangs-stop");
    operator.at.run(&["ssh-config", "--install"]);
    for (host, proxy) in [("stop-ssh", false), ("stop-proxy", true)] {
        let (_full, port) = black_hole();
        operator.inventory(host, "127.0.0.1", port, "root");
        let port_text = port.to_string();
        let mut command: Command = if proxy {
            operator.at.command(&["proxy", host, &port_text])
        } else {
            operator.command(&[host, "--", "true"])
        };
        let mut vctl = command.spawn().unwrap();
        await_that("vctl connects to the host", || {
            unanswered_connections(port) > 0
        });
        kill(Pid::from_raw(vctl.id().cast_signed()), Signal::SIGINT).unwrap();
        assert_eq!(vctl.wait().unwrap().code(), Some(130));
        let rows = operator.accesses(host);
        assert_eq!(rows.len(), 1, "{rows:?}");
        let expected = (&json!("closed"), &json!("ended by signal 2 to vctl"));
        assert_eq!((&rows[0]["result"], &rows[0]["error"]), expected);
    }
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

/// Returns the number of connections to this port that were begun, and to which the kernel got no answer.
fn unanswered_connections(port: u16) -> usize {
    const SYN_SENT: &str = "02";
    let to = format!(":{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let unanswered = table.lines().filter(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        columns.len() > 3 && columns[2].ends_with(&to) && columns[3] == SYN_SENT
    });
    unanswered.count()
}
