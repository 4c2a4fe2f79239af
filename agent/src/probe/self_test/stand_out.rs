//! Unusual ids and a terminal for the first child of the self-test.

use std::fs::{self, File};
use std::io;

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::unistd::{Gid, Uid, geteuid, setresgid, setresuid, setsid};
use vctl_common::wire;

/// Ids that no process has, all different. The login uid is that of `nobody`: with audit, the
/// kernel logs the change.
const REAL_UID: u32 = 103;
const REAL_GID: u32 = 101;
const EFFECTIVE_GID: u32 = 102;
const LOGIN_UID: &str = "65534";

/// Sets different ids in fields that are neighbours in the kernel, and opens a terminal: an offset
/// that is wrong by one member then reads another value. Ids that the agent may not set stay as
/// they were, so fewer offsets are proven.
pub(super) fn stand_out() -> Option<(PtyMaster, File)> {
    let login_uid = "/proc/self/loginuid";
    if fs::read_to_string(login_uid).is_ok_and(|uid| uid == wire::UNSET.to_string()) {
        let _ = fs::write(login_uid, LOGIN_UID);
    }
    let (real, effective) = (Gid::from_raw(REAL_GID), Gid::from_raw(EFFECTIVE_GID));
    let _ = setresgid(real, effective, effective);
    // The effective user stays root, which the next steps need.
    let _ = setresuid(Uid::from_raw(REAL_UID), geteuid(), geteuid());
    terminal().ok()
}

/// Opens a terminal as the controlling terminal of this process.
fn terminal() -> io::Result<(PtyMaster, File)> {
    setsid()?;
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let terminal = File::options()
        .read(true)
        .write(true)
        .open(ptsname_r(&master)?)?;
    Ok((master, terminal))
}
