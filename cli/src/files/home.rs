//! The home directory, which never belongs to another user: docs/home.md.
//!
//! `sudo -E`, `su -m` and sudoers with `env_keep += HOME` run vctl with the `HOME` of another user. Files that
//! root wrote there would not be writable for their owner, and files of the owner would decide which servers
//! root trusts.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, Uid, User, faccessat, geteuid, getuid};

use crate::ui::notice;

/// Environment variable of a home directory for vctl only.
const VARIABLE: &str = "VCTL_HOME";

/// The home directory, and a note about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    /// `None`: no files can be read or stored.
    pub(crate) dir: Option<PathBuf>,
    /// The reason why the directory of the environment is not used.
    pub(crate) instead: Option<String>,
}

/// Returns the home directory of this process.
pub(crate) fn dir() -> Option<PathBuf> {
    current().dir
}

/// Finds the home directory of this process, with a note.
pub(crate) fn current() -> Home {
    find(&|name| env::var_os(name))
}

/// Prints once that another directory than `HOME` is used.
pub(crate) fn report() {
    if let Some(why) = current().instead {
        notice::note_once(&why);
    }
}

/// Uses `VCTL_HOME`, `HOME` or the account's home, the first that does not belong to another user.
pub(crate) fn find(env: &dyn Fn(&str) -> Option<OsString>) -> Home {
    let set = |name| env(name).filter(|value| !value.is_empty());
    let account = || {
        let account = User::from_uid(getuid()).ok().flatten();
        account
            .map(|account| account.dir)
            .filter(|dir| dir.is_absolute() && is_ours(dir))
    };
    if let Some(named) = set(VARIABLE) {
        return match reason_against(VARIABLE, &named) {
            None => own(Some(named.into())),
            Some(why) => Home {
                dir: None,
                instead: Some(format!("{why}: no files are read or stored")),
            },
        };
    }
    let Some(named) = set("HOME") else {
        return own(account());
    };
    let Some(why) = reason_against("HOME", &named) else {
        return own(Some(named.into()));
    };
    let dir = account();
    let instead = match &dir {
        Some(dir) => format!("{why}: vctl uses `{}`, as with `sudo -H`", dir.display()),
        None => {
            format!(
                "{why}: no files are read or stored; `{VARIABLE}` can name a directory of your own"
            )
        }
    };
    Home {
        dir,
        instead: Some(instead),
    }
}

fn own(dir: Option<PathBuf>) -> Home {
    Home { dir, instead: None }
}

/// Returns the reason why the directory of a variable is not used.
fn reason_against(variable: &str, named: &OsStr) -> Option<String> {
    let path = Path::new(named);
    if !path.is_absolute() {
        let why = "which is not an absolute path";
        return Some(format!("`{variable}` is `{}`, {why}", path.display()));
    }
    if is_ours(path) {
        return None;
    }
    let owner = fs::metadata(path).map(|metadata| metadata.uid());
    let why = match owner {
        Ok(0) | Err(_) => "which this user cannot enter".to_owned(),
        Ok(uid) => format!("which belongs to {}", name_of(uid)),
    };
    Some(format!("`{variable}` is `{}`, {why}", path.display()))
}

fn name_of(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => format!("the user `{}`", user.name),
        _ => format!("user id {uid}"),
    }
}

/// Returns whether a directory does not belong to another user. A directory of root is accepted if this user
/// can enter it, because a container may have such a home; so is a missing directory.
pub(crate) fn is_ours(dir: &Path) -> bool {
    match fs::metadata(dir) {
        Ok(metadata) if metadata.uid() == geteuid().as_raw() => true,
        Ok(metadata) if metadata.uid() == 0 => {
            let (search, effective) = (AccessFlags::X_OK, AtFlags::AT_EACCESS);
            faccessat(AT_FDCWD, dir, search, effective).is_ok()
        }
        Ok(_) => false,
        Err(error) => matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> Home {
        find(&|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn vctl_home_overrides_home_and_home_the_account() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let text = |dir: &tempfile::TempDir| dir.path().to_str().unwrap().to_owned();
        let (one, other) = (text(&one), text(&other));
        let both = found(&[("HOME", &one), ("VCTL_HOME", &other)]);
        assert_eq!(both, own(Some(other.clone().into())));
        let empty = found(&[("HOME", &one), ("VCTL_HOME", "")]);
        assert_eq!(empty, own(Some(one.into())));
        let account = User::from_uid(getuid()).unwrap().unwrap().dir;
        assert_eq!(found(&[]).dir, Some(account.clone()));
        assert_eq!(found(&[("HOME", "")]).dir, Some(account));
    }

    #[test]
    fn a_relative_home_is_reported_and_not_used() {
        let home = found(&[("HOME", "home/alice")]);
        assert_eq!(home.dir, found(&[]).dir);
        assert!(home.instead.unwrap().contains("not an absolute path"));
        let home = found(&[("VCTL_HOME", "x"), ("HOME", "/")]);
        assert_eq!(home.dir, None);
    }

    #[test]
    fn a_home_of_another_user_is_reported_and_not_used() {
        if !geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(dir.path(), Some(4242), None).unwrap();
        let text = dir.path().to_str().unwrap();
        let home = found(&[("HOME", text)]);
        assert_eq!(home.dir, found(&[]).dir);
        let why = home.instead.unwrap();
        assert!(why.contains(text) && why.contains("user id 4242"), "{why}");
        assert_eq!(found(&[("VCTL_HOME", text), ("HOME", "/")]).dir, None);
    }
}
