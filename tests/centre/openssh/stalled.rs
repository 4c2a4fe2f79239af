//! `vctl proxy` with an `ssh` that reads nothing for a while: the proxy holds little data, loses no data, and ends with
//! its `ssh`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use vctl_tests::lab::eventually;

use super::{Desk, PATIENCE};
use crate::ssh::shared;

/// More bytes than the windows, pipes and sockets on the way hold.
const TOTAL: u64 = 64 << 20;

/// The limit of the proxy's memory for these bytes, in kB.
const HELD: u64 = 24 << 10;

/// An `ssh` that prints many bytes into an unread pipe, and its proxy.
struct Stalled {
    ssh: Child,
    proxy: u32,
    held: u64,
}

impl Stalled {
    fn new(desk: &Desk<'_>) -> Self {
        let script = format!("echo up; read x; head -c {TOTAL} /dev/zero");
        let mut command = desk.command("ssh", &["stalled-1", &script]);
        let mut ssh = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut up = [0; 3];
        ssh.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
        let proxy = child_of(ssh.id());
        let before = kb(proxy, "VmRSS:");
        ssh.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        let mut last = 0;
        let is_still = || {
            let passed = passed(proxy);
            let is_still = passed > 1 << 20 && passed == last;
            last = passed;
            thread::sleep(Duration::from_millis(300));
            Ok(is_still)
        };
        assert!(eventually(PATIENCE, is_still).unwrap());
        let held = kb(proxy, "VmHWM:").saturating_sub(before);
        Self { ssh, proxy, held }
    }
}

fn child_of(pid: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().next().unwrap().parse().unwrap()
}

fn kb(pid: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Returns the number of bytes that the process has written so far.
fn passed(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.unwrap().parse().unwrap()
}

#[test]
fn a_stalled_proxy_holds_little_and_loses_nothing() {
    let Some(centre) = shared() else { return };
    let desk = Desk::new(centre, "stalled");
    desk.operator
        .knows("stalled-1", centre.host.as_ref().unwrap());
    desk.install();
    let mut stalled = Stalled::new(&desk);
    assert!(stalled.held < HELD, "{} kB", stalled.held);
    let mut output = stalled.ssh.stdout.take().unwrap();
    let read = std::io::copy(&mut output, &mut std::io::sink()).unwrap();
    assert_eq!(read, TOTAL);
    assert!(stalled.ssh.wait().unwrap().success());

    // If `ssh` ends during the stall, the proxy ends too, and closes its row.
    let mut stalled = Stalled::new(&desk);
    stalled.ssh.kill().unwrap();
    stalled.ssh.wait().unwrap();
    // The new parent may leave the proxy as a zombie.
    let stat = format!("/proc/{}/stat", stalled.proxy);
    let is_gone = || Ok(fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ")));
    assert!(eventually(PATIENCE, is_gone).unwrap());
    desk.closed("stalled-1", 2);
}
