//! Candidates for completion, by kind of argument.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use clap_complete::{ArgValueCompleter, CompletionCandidate};
use jiff::Timestamp;
use vctl_common::centre::Settings;

use crate::config;
use crate::files::state_dir::StateDir;
use crate::inventory::cache::{Recent, RecentFile, SnapshotFile};
use crate::inventory::{Host, order};
use crate::ui::help;

/// Completes the name of a host.
pub(crate) fn host() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| begun(typed, host_names(), ""))
}

/// Completes the name of a host before a `=`.
pub(crate) fn host_and_value() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| begun(typed, host_names(), "="))
}

/// Completes `HOST` and `USER@HOST`.
pub(crate) fn destination() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let typed = typed.to_string_lossy();
        match typed.rsplit_once('@') {
            None => begun(OsStr::new(&*typed), host_names(), ""),
            Some((user, host)) => begun(OsStr::new(host), host_names(), "")
                .into_iter()
                .map(|candidate| candidate.add_prefix(format!("{user}@")))
                .collect(),
        }
    })
}

/// Completes the name of a data centre.
pub(crate) fn data_centre() -> ArgValueCompleter {
    of_hosts(|host| host.dc)
}

/// Completes the login user on a host.
pub(crate) fn login_user() -> ArgValueCompleter {
    of_hosts(|host| host.ssh_user)
}

/// Completes a role of the SSH CA.
pub(crate) fn ca_role() -> ArgValueCompleter {
    of_hosts(|host| host.ca_role)
}

/// Completes the name of a person, from the last lists of sessions and accesses.
pub(crate) fn person() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| begun(typed, recent().people, ""))
}

/// Completes a serial or a session id, from the last lists of sessions and accesses.
pub(crate) fn session() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| begun(typed, recent().sessions, ""))
}

/// Completes the name of a command of vctl.
pub(crate) fn command() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let command = help::root();
        let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
        let names = shown.map(|one| one.get_name().to_owned());
        begun(typed, names.collect(), "")
    })
}

fn of_hosts(name: fn(Host) -> String) -> ArgValueCompleter {
    ArgValueCompleter::new(move |typed: &OsStr| {
        let names: BTreeSet<String> = hosts().into_iter().map(name).collect();
        let names = names.into_iter().filter(|name| !name.is_empty());
        begun(typed, names.collect(), "")
    })
}

/// Returns the names that begin with the typed text, ignoring case.
fn begun(typed: &OsStr, names: Vec<String>, after: &str) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy().to_lowercase();
    let names = names.into_iter();
    let names = names.filter(|name| name.to_lowercase().starts_with(&typed));
    names
        .filter(|name| name.chars().all(is_harmless))
        .map(|name| CompletionCandidate::new(name + after))
        .collect()
}

/// Returns whether a character is safe in a shell without quotes. Names come from hosts and other users, and
/// a shell would run a command in `$(` and `)`.
fn is_harmless(c: char) -> bool {
    c.is_alphanumeric() || "._@:+%-/,".contains(c)
}

/// Returns the cached names; none if they cannot be used.
fn host_names() -> Vec<String> {
    let names = place().and_then(|(state, settings)| {
        let file = SnapshotFile::in_dir(&state, &settings);
        file.names(Timestamp::now()).ok()
    });
    let mut names = names.unwrap_or_default();
    names.sort_by(|one, other| order::by_name(one, other));
    names
}

fn hosts() -> Vec<Host> {
    let hosts = place().and_then(|(state, settings)| {
        let file = SnapshotFile::in_dir(&state, &settings);
        file.read(Timestamp::now()).ok()
    });
    hosts.map_or_else(Vec::new, |snapshot| snapshot.hosts)
}

fn recent() -> Recent {
    let recent = place().map(|(state, settings)| RecentFile::in_dir(&state, &settings).read());
    recent.unwrap_or_default()
}

fn place() -> Option<(StateDir, Settings)> {
    let loaded = config::load(&[]).ok()?;
    Some((StateDir::find(), config::settings(&loaded)))
}
