//! `ProxyUseFdpass`: `ssh` expects a connected descriptor from its proxy, and waits until the proxy has ended.
//!
//! The proxy is also the agent of its connection, so it cannot end. It starts itself again behind a socket, and passes
//! the other end of that socket to `ssh`.

use std::env;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::process::{Command, Stdio};

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockaddrLike, SockaddrStorage, getsockname, sendmsg,
};
use nix::sys::stat::fstat;

/// Set for the second process, which uses the socket.
const CONNECTED: &str = "VCTL_PROXY_CONNECTED";

/// Returns whether stdin and stdout are one socket on which `ssh` waits for a descriptor.
pub(crate) fn is_wanted() -> bool {
    env::var_os(CONNECTED).is_none() && is_one_socket() && is_child_of_ssh()
}

fn is_one_socket() -> bool {
    let place = |fd: &dyn AsFd| {
        fstat(fd.as_fd())
            .ok()
            .map(|stat| (stat.st_dev, stat.st_ino))
    };
    let is_unix = |address: SockaddrStorage| address.family() == Some(AddressFamily::Unix);
    let stdin = io::stdin();
    place(&stdin).is_some()
        && place(&stdin) == place(&io::stdout())
        && getsockname::<SockaddrStorage>(stdin.as_raw_fd()).is_ok_and(is_unix)
}

/// Returns whether the parent is `ssh`. Other programs also run a proxy on one socket, and speak SSH over it. Without
/// /proc the parent is taken for `ssh`.
fn is_child_of_ssh() -> bool {
    let name = std::fs::read_to_string(format!("/proc/{}/comm", parent_id()));
    name.is_ok_and(|name| name.trim_end() == "ssh") || !cfg!(target_os = "linux")
}

/// Starts the proxy behind a socket, and passes the socket to `ssh`.
pub(crate) fn hand_over() -> io::Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    let both = OwnedFd::from(ours.try_clone()?);
    Command::new(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env(CONNECTED, "1")
        .stdin(Stdio::from(both))
        .stdout(Stdio::from(OwnedFd::from(ours)))
        .spawn()?;
    let descriptors = [theirs.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&descriptors)];
    let byte = [IoSlice::new(&[0])];
    let stdout = io::stdout().as_raw_fd();
    sendmsg::<()>(stdout, &byte, &message, MsgFlags::empty(), None)?;
    Ok(())
}
