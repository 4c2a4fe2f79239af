//! Ordinary work. Each command contains a name that only its user uses.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;
use vctl_tests::lab::Lab;

/// Writes the script that both use into the shared home.
pub(crate) fn prepare(lab: &Lab) -> Result<()> {
    let script = lab.home().join("report.sh");
    fs::write(
        &script,
        "#!/bin/sh\nwc -l /etc/hosts > \"$1\"\ncat \"$1\"\n",
    )?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    // The prompt shows when a command is done. There is no history and there are no colours.
    fs::write(
        lab.home().join(".bash_profile"),
        "PS1='ready> '\nunset HISTFILE\n",
    )?;
    Ok(())
}

/// Returns the lines that a user types.
pub(crate) fn of(name: &str) -> Vec<String> {
    let become_root = if name == "alice" {
        format!("sudo -n cp /etc/hostname {name}-3")
    } else {
        format!("sudo -n su -c 'cp /etc/hostname {name}-3'")
    };
    vec![
        // A pipeline.
        format!("cut -d: -f7 /etc/passwd | sort | uniq -c | grep -v {name}-1 | tail -n 1"),
        // A script.
        format!("./report.sh {name}-2"),
        become_root,
        // A background job that outlives the login.
        format!("setsid nohup sh -c 'sleep 0.7; touch {name}-4' > /dev/null 2>&1 &"),
        // A command that fails.
        format!("ls {name}-5"),
        // A command that is killed by a signal.
        format!("sh -c 'kill -TERM $$' {name}-6"),
    ]
}

/// Returns the names that each prove one line of a user's work.
pub(crate) fn names(name: &str) -> Vec<String> {
    (1..=of(name).len())
        .map(|number| format!("{name}-{number}"))
        .collect()
}
