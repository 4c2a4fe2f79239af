//! The configuration files, weakest first.

use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use vctl_common::config::{ConfigFile, Need, Origin};

use super::directory_file::{DIRECTORY_FILE, distrust_directory, is_of_another};
use super::trusted;
use crate::files::home;

/// Returns the files to read, weakest first.
pub(super) fn files(env: &dyn Fn(&str) -> Option<OsString>) -> Vec<ConfigFile> {
    let set = |name| env(name).filter(|value| !value.is_empty());
    let absolute = |path: &PathBuf| path.is_absolute();
    let mut files = Vec::new();
    // The XDG specification requires to ignore relative paths.
    let user = set("XDG_CONFIG_HOME").map(PathBuf::from).filter(absolute);
    // `sudo -E` also passes this variable of another user.
    let user = user.filter(|dir| home::is_ours(dir));
    let user = user.or_else(|| Some(home::find(env).dir?.join(".config")));
    if let Some(dir) = user {
        files.push(ConfigFile {
            path: dir.join("vctl/config.yaml"),
            need: Need::IfReadable,
            origin: |_, _| Origin::Own,
            distrust: distrust_own,
        });
    }
    files.push(match set("VCTL_CONFIG") {
        Some(path) => ConfigFile {
            path: path.into(),
            need: Need::Named,
            origin: |_, _| Origin::Own,
            distrust: distrust_own,
        },
        None => ConfigFile {
            path: DIRECTORY_FILE.into(),
            need: Need::IfReadable,
            origin: |_, bytes| {
                if trusted::of_working_directory(bytes) {
                    Origin::Trusted
                } else {
                    Origin::Directory
                }
            },
            distrust: distrust_directory,
        },
    });
    files
}

fn distrust_own(_: &Path, meta: &Metadata) -> Option<&'static str> {
    if is_of_another(meta) {
        Some("is owned by another user")
    } else if meta.mode() & 0o022 != 0 {
        Some("can be written by other users")
    } else {
        None
    }
}
