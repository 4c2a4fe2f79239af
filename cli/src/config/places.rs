//! Which file a value may come from, and what a file that came with a directory may not say.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use vctl_common::config::{ConfigFile, Origin, Problem, Source};
use vctl_common::tls::BUILT_IN_CA;

use super::Loaded;

/// In the working directory, and in no directory above it.
pub(super) const DIRECTORY_FILE: &str = ".vctl/config.yaml";

/// Returns the files to read, weakest first.
pub(super) fn files(env: &dyn Fn(&str) -> Option<OsString>) -> Vec<ConfigFile> {
    let set = |name| env(name).filter(|value| !value.is_empty());
    let absolute = |path: &PathBuf| path.is_absolute();
    let mut files = Vec::new();
    // The specification of XDG has a relative path ignored.
    let user = set("XDG_CONFIG_HOME").map(PathBuf::from).filter(absolute);
    let user = user.or_else(|| {
        let home = set("HOME").map(PathBuf::from).filter(absolute);
        Some(home?.join(".config"))
    });
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

fn distrust_own(_: &Path, meta: &Metadata) -> Option<&'static str> {
    if is_of_another(meta) {
        Some("is owned by another user")
    } else if meta.mode() & 0o022 != 0 {
        Some("can be written by other users")
    } else {
        None
    }
}

/// A checkout may belong to a group, so that group may write it; what somebody else put into a
/// directory such as `/tmp` is not for us, even as a link to a file of ours.
fn distrust_directory(path: &Path, meta: &Metadata) -> Option<&'static str> {
    if is_of_another(meta) {
        return Some("is owned by another user");
    }
    if meta.mode() & 0o002 != 0 {
        return Some("can be written by every user");
    }
    let Ok(dir) = fs::symlink_metadata(path.parent()?) else {
        return Some("is in a directory that cannot be looked at");
    };
    if is_of_another(&dir) {
        Some("is in a directory that is owned by another user")
    } else if dir.mode() & 0o002 != 0 && !dir.is_symlink() {
        Some("is in a directory that every user can write")
    } else {
        None
    }
}

fn is_of_another(meta: &Metadata) -> bool {
    meta.uid() != 0 && meta.uid() != nix::unistd::geteuid().as_raw()
}

/// Secrets, which no file of settings may hold.
pub(super) const ENVIRONMENT_ONLY: [&str; 2] = ["role_id", "secret_id"];

/// What whoever made a directory has no say in.
const OWN_ONLY: [(&str, &str); 9] = [
    ("vault_ca_cert", TRUST),
    ("db_ca_cert", TRUST),
    ("db_server_name", TRUST),
    ("role_id_file", SECRETS),
    ("secret_id_file", SECRETS),
    ("sink_path", SECRETS),
    ("kernel_retention_days", DELETED),
    ("session_retention_days", DELETED),
    ("access_retention_days", DELETED),
];
const TRUST: &str = "whom to believe";
const SECRETS: &str = "where secrets lie";
const DELETED: &str = "what is deleted";

/// Why a key may not be written at a place.
pub(super) fn refuse(key: &str, at: &Source) -> Option<String> {
    let Source::File { origin, .. } = at else {
        return None;
    };
    if ENVIRONMENT_ONLY.contains(&key) {
        let variable = key.to_ascii_uppercase();
        return Some(format!(
            "is a secret, which no configuration file may hold: set `VCTL_{variable}`, or name a file with `{key}_file`"
        ));
    }
    let (_, decides) = OWN_ONLY.iter().find(|(own, _)| *own == key)?;
    (*origin == Origin::Directory).then(|| {
        format!(
            "decides {decides}, so a directory cannot: it belongs into ~/.config/vctl/config.yaml, the environment or an option"
        )
    })
}

/// Tells that a directory chose the Postgres server and nobody said by which authority to know it.
///
/// It is told a password, so one that the system trusts for any host of the world is not enough.
pub(super) fn unbelievable_database(loaded: &Loaded) -> Option<Problem> {
    let believable = loaded.config.db_ca_cert.is_some() || BUILT_IN_CA.is_some();
    (loaded.is_from_directory("db_host") && !believable).then(|| Problem {
        at: loaded.source_of("db_host").clone(),
        what: "`db_host` of a directory needs an authority of your own to know it by: set `db_ca_cert` in ~/.config/vctl/config.yaml or `VCTL_DB_CA_CERT`, or `VCTL_DB_HOST` if you mean that host".to_owned(),
    })
}
