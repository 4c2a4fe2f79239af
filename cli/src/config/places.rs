//! Which file a value may come from, and what a file that came with a directory may not say.

use std::env;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use vctl_common::config::{ConfigFile, Origin, Source};

/// In the working directory, and in no directory above it.
pub(super) const DIRECTORY_FILE: &str = ".vctl/config.yaml";

/// Returns the files to read, weakest first.
pub(super) fn files() -> Vec<ConfigFile> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    let mut files = Vec::new();
    let user = set("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::home_dir().map(|home| home.join(".config")));
    if let Some(dir) = user {
        files.push(ConfigFile {
            path: dir.join("vctl/config.yaml"),
            required: false,
            origin: Origin::Own,
            distrust: distrust_own,
        });
    }
    files.push(match set("VCTL_CONFIG") {
        Some(path) => ConfigFile {
            path: path.into(),
            required: true,
            origin: Origin::Own,
            distrust: distrust_own,
        },
        None => ConfigFile {
            path: DIRECTORY_FILE.into(),
            required: false,
            origin: Origin::Directory,
            distrust: distrust_directory,
        },
    });
    files
}

fn distrust_own(_: &Path, meta: &Metadata) -> io::Result<Option<&'static str>> {
    Ok(if is_of_another(meta) {
        Some("is owned by another user")
    } else if meta.mode() & 0o022 != 0 {
        Some("can be written by other users")
    } else {
        None
    })
}

/// A checkout may belong to a group, so that group may write it; what somebody else put into a
/// directory such as `/tmp` is not for us, even as a link to a file of ours.
fn distrust_directory(path: &Path, meta: &Metadata) -> io::Result<Option<&'static str>> {
    if is_of_another(meta) {
        return Ok(Some("is owned by another user"));
    }
    if meta.mode() & 0o002 != 0 {
        return Ok(Some("can be written by every user"));
    }
    let Some(dir) = path.parent() else {
        return Ok(None);
    };
    let dir = fs::symlink_metadata(dir)?;
    Ok(if is_of_another(&dir) {
        Some("is in a directory that is owned by another user")
    } else if dir.mode() & 0o002 != 0 {
        Some("is in a directory that every user can write")
    } else {
        None
    })
}

fn is_of_another(meta: &Metadata) -> bool {
    meta.uid() != 0 && meta.uid() != nix::unistd::geteuid().as_raw()
}

/// Why a key may not be written at a place.
pub(super) fn refuse(key: &str, at: &Source) -> Option<String> {
    let Source::File { origin, .. } = at else {
        return None;
    };
    match (key, origin) {
        ("role_id" | "secret_id", _) => Some(format!(
            "is a secret, which no configuration file may hold: set `VCTL_{}`, or name a file with `{key}_file`",
            key.to_ascii_uppercase()
        )),
        (
            "vault_ca_cert" | "db_ca_cert" | "db_server_name" | "role_id_file" | "secret_id_file"
            | "sink_path" | "kernel_retention_days" | "session_retention_days"
            | "access_retention_days",
            Origin::Directory,
        ) => Some(
            "is not for the file of a directory: it decides whom to trust, where secrets lie or what is deleted. Set it in ~/.config/vctl/config.yaml or in the environment".to_owned(),
        ),
        _ => None,
    }
}
