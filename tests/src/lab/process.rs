//! Finds a lab's processes in /proc.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::Result;
use nix::unistd::Pid;

/// Returns the processes that run `program` and have `argument` on their command line.
pub fn running(program: &Path, argument: &Path) -> Result<Vec<Pid>> {
    let argument = argument.as_os_str().as_bytes();
    select(|process| {
        // sshd joins its arguments into a title, so this searches for a part of the command line.
        fs::read_link(process.join("exe")).is_ok_and(|exe| exe == program)
            && fs::read(process.join("cmdline"))
                .is_ok_and(|line| line.windows(argument.len()).any(|part| part == argument))
    })
}

/// Returns the processes that run `program` in the directory `directory`.
pub fn working_in(program: &Path, directory: &Path) -> Result<Vec<Pid>> {
    select(|process| {
        fs::read_link(process.join("exe")).is_ok_and(|exe| exe == program)
            && fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == directory)
    })
}

/// Returns the processes that belong to a user, or that became root after that user's login.
pub fn of_user(uid: u32) -> Result<Vec<Pid>> {
    let text = uid.to_string();
    select(|process| {
        let login_uid = fs::read_to_string(process.join("loginuid"));
        login_uid.is_ok_and(|login_uid| login_uid.trim() == text) || real_uid(process) == Some(uid)
    })
}

/// Returns the state letter of a process, as in ps(1); `None` when it is gone.
pub fn state(pid: u32) -> Option<char> {
    field(Path::new(&format!("/proc/{pid}")), "State:")?
        .chars()
        .next()
}

fn real_uid(process: &Path) -> Option<u32> {
    field(process, "Uid:")?.parse().ok()
}

fn field(process: &Path, name: &str) -> Option<String> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next().map(str::to_owned)
}

/// Zombies have ended, so they do not count.
fn select(wanted: impl Fn(&Path) -> bool) -> Result<Vec<Pid>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(pid) = name.and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let alive = field(&path, "State:").is_some_and(|state| state != "Z" && state != "X");
        if alive && wanted(&path) {
            pids.push(Pid::from_raw(pid));
        }
    }
    Ok(pids)
}
