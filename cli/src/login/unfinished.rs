//! Unfinished files with a secret: a command that is killed before it names its new file leaves one.

use std::fs;
use std::path::Path;
use std::time::Duration;

use vctl_common::atomic_file::{Unfinished, unfinished_target};

use super::approle::{ROLE_ID, SECRET_ID};
use crate::files::state_dir::StateDir;

/// Age after which no process is about to name a file. Writing one takes milliseconds.
const ABANDONED: Duration = Duration::from_mins(1);

/// Names that the login itself writes: also the first part of a name.
const OF_THE_LOGIN: [&str; 2] = ["token", "db-login"];

/// Names that other commands write, which may run during a logout.
const OF_OTHERS: [&str; 3] = ["token-sink", ROLE_ID, SECRET_ID];

/// Removes all that no running process is about to name.
pub(super) fn remove_abandoned(state: &StateDir) {
    let all = [&OF_THE_LOGIN[..], &OF_OTHERS].concat();
    remove(state.path(), ABANDONED, is_of(&all));
}

/// Removes those of tokens and database logins, of any age.
pub(super) fn remove_of_login(state: &StateDir) {
    remove(state.path(), Duration::ZERO, is_of(&OF_THE_LOGIN));
}

/// Removes all of any age, also those of a token sink elsewhere. There, other programs may have files with similar names.
pub(super) fn remove_all(state: &StateDir, sink: &Path) {
    remove_of_login(state);
    remove(state.path(), Duration::ZERO, is_of(&OF_OTHERS));
    if let (Some(dir), Some(name)) = (
        sink.parent(),
        sink.file_name().and_then(|name| name.to_str()),
    ) {
        let wanted = Some((name, Unfinished::NewName));
        remove(dir, Duration::ZERO, |file| {
            unfinished_target(file) == wanted
        });
    }
}

/// Returns a test for the unfinished files of these names. A name is also the first part of a name.
fn is_of(names: &[&str]) -> impl Fn(&str) -> bool {
    |file| {
        unfinished_target(file).is_some_and(|(target, _)| {
            let mut rest = names.iter().filter_map(|name| target.strip_prefix(name));
            rest.any(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }
}

fn remove(dir: &Path, least_age: Duration, is_wanted: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_old_enough = || {
            let written = entry.metadata().and_then(|metadata| metadata.modified());
            least_age.is_zero()
                || written.is_ok_and(|written| written.elapsed().is_ok_and(|age| age > least_age))
        };
        if name.to_str().is_some_and(&is_wanted) && is_old_enough() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    const ID: &str = "0196e1f2a3b47c8d9e0f1a2b3c4d5e6f";

    #[test]
    fn only_unfinished_files_with_a_secret_are_removed() {
        let home = tempfile::tempdir().unwrap();
        let secrets = ["token", "db-login.vctl-ro.2", "token-sink", ROLE_ID];
        let secrets = secrets.map(|name| format!(".{name}.{ID}"));
        let secrets = [&secrets[..], &[".secret-id.new".to_owned()]].concat();
        let others = [
            "token".to_owned(),
            "token.lock".to_owned(),
            ".token.bak".to_owned(),
            format!(".tokens.{ID}"),
            format!(".hosts.json.{ID}"),
        ];
        for name in secrets.iter().chain(&others) {
            fs::write(home.path().join(name), "x").unwrap();
        }
        let state = StateDir::at(home.path());
        // A process may be about to name them.
        remove_abandoned(&state);
        assert!(home.path().join(&secrets[0]).exists());
        let first = File::options()
            .write(true)
            .open(home.path().join(&secrets[0]));
        let first = first.unwrap();
        let written = first.metadata().unwrap().modified().unwrap();
        first.set_modified(written - ABANDONED * 2).unwrap();
        remove_abandoned(&state);
        assert!(!home.path().join(&secrets[0]).exists());
        remove_all(&state, &home.path().join("token-sink"));
        let left = fs::read_dir(home.path()).unwrap();
        let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        let mut kept = others.map(std::ffi::OsString::from);
        kept.sort();
        assert_eq!(left, kept);
    }

    #[test]
    fn similar_names_beside_a_token_sink_are_of_other_programs() {
        let (home, app) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let unfinished = app.path().join(format!(".env.{ID}"));
        let others = [
            "env".to_owned(),
            ".env".to_owned(),
            ".env.new".to_owned(),
            ".env.local.new".to_owned(),
            format!(".env.local.{ID}"),
            format!(".envrc.{ID}"),
        ];
        for name in &others {
            fs::write(app.path().join(name), "x").unwrap();
        }
        fs::write(&unfinished, "x").unwrap();
        remove_all(&StateDir::at(home.path()), &app.path().join("env"));
        assert!(!unfinished.exists());
        for name in &others {
            assert!(app.path().join(name).exists(), "{name}");
        }
    }
}
