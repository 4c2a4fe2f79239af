//! The TCP sockets of a process: those of a server that waits for connections differ from those of one connection.

use std::collections::HashSet;

use procfs::net::TcpState;
use procfs::process::{FDTarget, Process};

/// A socket of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Socket {
    port: u16,
    state: TcpState,
}

/// Returns whether the process is a server: see [`waits`]. One of which the sockets cannot be read is none.
pub(super) fn is_listener(tgid: u32) -> bool {
    waits(&of(tgid).unwrap_or_default())
}

/// Returns whether a process with these sockets waits for connections, and is not itself at the end of one.
///
/// A login to root also waits for connections when it forwards a port or X11, at another port than that of its own
/// connection. A server has a connection for a moment, at the port at which it waits.
fn waits(sockets: &[Socket]) -> bool {
    let is_waiting = |socket: &&Socket| socket.state == TcpState::Listen;
    let ports: HashSet<u16> = sockets
        .iter()
        .filter(is_waiting)
        .map(|socket| socket.port)
        .collect();
    !ports.is_empty() && sockets.iter().all(|socket| ports.contains(&socket.port))
}

fn of(tgid: u32) -> Option<Vec<Socket>> {
    let process = Process::new(tgid.cast_signed()).ok()?;
    let inodes: HashSet<u64> = process
        .fd()
        .ok()?
        .filter_map(|fd| match fd.ok()?.target {
            FDTarget::Socket(inode) => Some(inode),
            _ => None,
        })
        .collect();
    // In the network namespace of the process. Without IPv6 there is no table of it.
    let tables = [process.tcp().ok()?, process.tcp6().unwrap_or_default()];
    let entries = tables.into_iter().flatten();
    let ours = entries.filter(|entry| inodes.contains(&entry.inode));
    let sockets = ours.map(|entry| Socket {
        port: entry.local_address.port(),
        state: entry.state,
    });
    Some(sockets.collect())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn socket(port: u16, state: TcpState) -> Socket {
        Socket { port, state }
    }

    #[test]
    fn a_server_waits_and_a_login_that_forwards_does_not() {
        let [listen, connected] = [TcpState::Listen, TcpState::Established];
        assert!(waits(&[socket(22, listen.clone())]));
        assert!(waits(&[
            socket(22, listen.clone()),
            socket(22, connected.clone())
        ]));
        assert!(!waits(&[]));
        assert!(!waits(&[socket(22, connected.clone())]));
        assert!(!waits(&[socket(22, connected), socket(6010, listen)]));
    }

    #[test]
    fn the_sockets_of_a_process_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let sockets = of(std::process::id()).unwrap();
        assert!(sockets.contains(&socket(port, TcpState::Listen)));
        let other = client.local_addr().unwrap().port();
        assert!(sockets.contains(&socket(other, TcpState::Established)));
    }
}
