//! The home directory, which is never that of another user: `docs/home.md`.
//!
//! `sudo -E`, `su -m` and sudoers with `env_keep += HOME` run vctl with the `HOME` of another user. What root
//! wrote there its owner could no longer change, and what its owner wrote there would decide whom root trusts.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, Uid, User, faccessat, geteuid, getuid};

use crate::ui::notice;

/// Names a home directory for vctl alone.
const VARIABLE: &str = "VCTL_HOME";

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    /// `None`: nothing can be read or kept.
    pub(crate) dir: Option<PathBuf>,
    /// Why it is not the directory in the environment.
    pub(crate) instead: Option<String>,
}

/// Returns the directory for files of the person who runs this.
pub(crate) fn dir() -> Option<PathBuf> {
    here().dir
}

/// Finds the home directory of this process.
pub(crate) fn here() -> Home {
    find(&|name| env::var_os(name))
}

/// Says once that another directory than `HOME` is used.
pub(crate) fn report() {
    if let Some(why) = here().instead {
        notice::note_once(&why);
    }
}

/// Finds it by `VCTL_HOME`, then `HOME`, then the account, as long as it does not belong to another user.
pub(crate) fn find(env: &dyn Fn(&str) -> Option<OsString>) -> Home {
    let set = |name| env(name).filter(|value| !value.is_empty());
    let account = || {
        let account = User::from_uid(getuid()).ok().flatten();
        account
            .map(|account| account.dir)
            .filter(|dir| dir.is_absolute() && is_ours(dir))
    };
    if let Some(named) = set(VARIABLE) {
        return match trouble(VARIABLE, &named) {
            None => own(Some(named.into())),
            Some(why) => Home {
                dir: None,
                instead: Some(format!("{why}: nothing is read or kept")),
            },
        };
    }
    let Some(named) = set("HOME") else {
        return own(account());
    };
    let Some(why) = trouble("HOME", &named) else {
        return own(Some(named.into()));
    };
    let dir = account();
    let instead = match &dir {
        Some(dir) => format!("{why}: vctl uses `{}`, as with `sudo -H`", dir.display()),
        None => {
            format!("{why}: nothing is read or kept; `{VARIABLE}` can name a directory of your own")
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

/// Says why the directory that a variable names is not used.
fn trouble(variable: &str, named: &OsStr) -> Option<String> {
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
        Ok(0) | Err(_) => "which this user cannot look into".to_owned(),
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

/// Says whether a directory is one of ours: not of another user. One of root's counts, as a container may have
/// such a home, when we may look into it; so does one that is not there.
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
    fn vctl_home_wins_over_home_and_home_over_the_account() {
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
    fn a_relative_home_is_not_used_and_is_named() {
        let home = found(&[("HOME", "home/alice")]);
        assert_eq!(home.dir, found(&[]).dir);
        assert!(home.instead.unwrap().contains("not an absolute path"));
        let home = found(&[("VCTL_HOME", "x"), ("HOME", "/")]);
        assert_eq!(home.dir, None);
    }

    #[test]
    fn a_home_of_another_user_is_not_used_and_is_named() {
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
