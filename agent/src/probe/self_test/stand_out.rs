//! What the first child of the self-test makes of itself.

use std::fs::{self, File};
use std::io;

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::unistd::{Gid, Uid, geteuid, setresgid, setresuid, setsid};
use vctl_common::wire;

/// Ids of nobody in particular, each another. The login uid is that of `nobody`: where audit is on,
/// it logs that it was set.
const REAL_UID: u32 = 103;
const REAL_GID: u32 = 101;
const EFFECTIVE_GID: u32 = 102;
const LOGIN_UID: &str = "65534";

/// Makes ids differ that lie side by side in the kernel, and takes a terminal: an offset that is off
/// by one member then reads something else. What the agent may not do here stays as it was, and
/// proves a little less.
pub(super) fn stand_out() -> Option<(PtyMaster, File)> {
    let login_uid = "/proc/self/loginuid";
    if fs::read_to_string(login_uid).is_ok_and(|uid| uid == wire::UNSET.to_string()) {
        let _ = fs::write(login_uid, LOGIN_UID);
    }
    let (real, effective) = (Gid::from_raw(REAL_GID), Gid::from_raw(EFFECTIVE_GID));
    let _ = setresgid(real, effective, effective);
    // Still root in effect: what follows needs it.
    let _ = setresuid(Uid::from_raw(REAL_UID), geteuid(), geteuid());
    terminal().ok()
}

/// Opens a terminal, which becomes that of this process.
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
