//! A cgroup per login, as systemd makes it. Without systemd all logins of a machine share one cgroup.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;

use super::journal::Journal;
use super::mounts;
use super::undo::Undo;

/// Makes the lab's cgroup and returns the PAM line that moves each login into a separate cgroup below it.
pub(super) fn hook(journal: &Journal, id: &str, root: &Path) -> Result<String> {
    let group = mounts::unified_cgroups()?.join(id);
    journal.before(Undo::RemoveCgroups {
        path: group.clone(),
    })?;
    fs::create_dir(&group)?;
    let program = root.join("cgroup-hook");
    // The parent of the hook is the sshd of the login. The lab removes the group at the end.
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
