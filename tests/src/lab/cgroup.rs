//! A cgroup per login, as systemd makes them: on a machine without it all logins share one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;

use super::journal::Journal;
use super::mounts;
use super::undo::Undo;

/// Makes the lab's cgroup and returns the PAM line that puts each login into its own below it.
pub(super) fn hook(journal: &Journal, id: &str, root: &Path) -> Result<String> {
    let group = mounts::unified_cgroups()?.join(id);
    journal.before(Undo::RemoveCgroups {
        path: group.clone(),
    })?;
    fs::create_dir(&group)?;
    let program = root.join("cgroup-hook");
    // The hook's parent is the login's sshd. Removing the group at the end is the lab's.
    let script = format!(
        "#!/bin/sh\n\
         [ \"$PAM_TYPE\" = open_session ] || exit 0\n\
         mkdir {group}/login-$PPID && echo $PPID > {group}/login-$PPID/cgroup.procs\n",
        group = group.display()
    );
    fs::write(&program, script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700))?;
    Ok(format!(
        "session required pam_exec.so quiet {}\n",
        program.display()
    ))
}
