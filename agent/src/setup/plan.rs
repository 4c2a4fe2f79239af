//! Reads the host and returns the steps that are missing. Refuses a host on which a step could lock users out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::SetupOptions;
use super::agent_yaml::agent_yaml;
use super::enrolment::Enrolment;
use super::error::SetupError;
use super::host::Host;
use super::journal::Journal;
use super::preflight::{collector_answers, machine_is_ready, pam_line, program_runs};
use super::shipped::{
    AGENT, CENTRE_CONF, COLLECT, DIRECTORIES, NODE, SSHD_SNIPPET, SSHD_SNIPPET_FILE, TMPFILES,
    TMPFILES_FILE, Unit,
};
use super::units::{UnitFile, hidden_tmpfiles, unit_of};
use super::wanted::{NewText, Wanted, steps_of};
use super::{kernels, sshd, systemd, unused};
use crate::check::{self, SshdFact};
use crate::config::{Config, Mode};
use crate::pam::{self, LineOptions};

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// Files that stay as they are, each with the reason.
    pub(super) kept: Vec<String>,
    /// Commands that setup leaves to the user.
    pub(super) next: Vec<String>,
    /// Whether the host ships its records to the central store.
    pub(super) ships: bool,
    /// Digest of the enrolment that the steps apply.
    pub(super) enrolment: Option<String>,
}

#[derive(Debug)]
pub(super) enum Step {
    Directory {
        path: String,
        mode: u32,
    },
    File(NewText),
    /// Moves a unit away that another program left: systemd would use it instead of that of the package.
    RemoveUnit {
        path: String,
        /// The link is removed, and its target stays.
        is_link: bool,
    },
    /// Removes a file of an earlier setup: the package has it now, and systemd would use this one instead.
    RemoveOwn {
        path: String,
    },
    /// Tests the configuration, and reloads sshd.
    ReloadSshd {
        /// The unit of the running sshd.
        unit: Option<&'static str>,
    },
    /// Enables and starts a unit; restarts it if it runs with an older configuration.
    Unit {
        name: &'static str,
        has_changed: bool,
        /// It runs an older program: the file was replaced.
        runs_replaced: bool,
    },
    PamLine {
        line: LineOptions,
        /// Socket at which the collector must answer first, if systemd runs it.
        socket: Option<PathBuf>,
    },
}

impl Step {
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Directory { path, mode } => {
                format!("create the directory {path} (mode {mode:04o})")
            }
            Self::File(file) if file.path == SSHD_SNIPPET_FILE => format!(
                "write {SSHD_SNIPPET_FILE}: sshd uses PAM, so PAM's account rules apply to each login; passwords by \
                 keyboard-interactive stay off"
            ),
            Self::File(file) if file.replaces && file.kind.is_secret() => format!(
                "replace {} for good; `--undo` restores only a file from before the first setup",
                file.path
            ),
            Self::File(file) if file.replaces => {
                format!("replace {}; `--undo` restores the old file", file.path)
            }
            Self::File(file) => format!("write {}", file.path),
            Self::RemoveUnit { path, is_link } => {
                let link = if *is_link { "the link " } else { "" };
                format!(
                    "remove {link}{path}, which runs another program than vctl-agent; `--undo` restores it"
                )
            }
            Self::RemoveOwn { path } => format!(
                "remove {path}, which an earlier setup wrote: the package has this file now"
            ),
            Self::ReloadSshd { unit: Some(unit) } => {
                format!("test sshd's configuration with `sshd -t`, and reload {unit}")
            }
            Self::ReloadSshd { unit: None } => {
                "test sshd's configuration with `sshd -t`".to_owned()
            }
            Self::Unit {
                name,
                runs_replaced: true,
                ..
            } => format!("enable and restart {name}, which runs an older {AGENT}"),
            Self::Unit {
                name, has_changed, ..
            } => {
                let verb = if *has_changed { "restart" } else { "start" };
                format!("enable and {verb} {name}")
            }
            Self::PamLine { line, .. } => format!(
                "add one line to /etc/pam.d/{}: {}",
                line.service,
                pam::line(line)
            ),
        }
    }
}

pub(super) fn plan(
    host: &Host,
    options: &SetupOptions,
    journal: Option<&Journal>,
) -> Result<Plan, SetupError> {
    program_runs(host)?;
    sshd::test(host)?;
    let enrolment = options.enroll.as_deref().map(Enrolment::read);
    let enrolment = enrolment.transpose()?;
    let (agent_yaml, config) = agent_yaml(host, options, enrolment.as_ref())?;
    let confined = machine_is_ready(host, &config)?;
    let ships = enrolment.is_some()
        || (config.centre.centre(&config.host).is_ok()
            && host
                .at(&config.centre.role_id_file.to_string_lossy())
                .exists());
    let mut next = Vec::new();
    if !host.is_this_machine() {
        let is_strict = options.strict || config.mode == Mode::Strict;
        next.extend(kernels::check(host, is_strict)?);
    }
    let mut files = agent_yaml.into_iter().collect::<Vec<_>>();
    let mut kept = Vec::new();
    let digest = new_enrolment(enrolment.as_ref(), journal, &config, &mut kept);
    if let (Some(enrolment), Some(_)) = (&enrolment, &digest) {
        if host.is_this_machine() {
            unused::check(&config, enrolment.wrapped_secret_id())?;
        }
        files.extend(id_files(&config, enrolment));
    }
    let units = if ships {
        vec![COLLECT, NODE]
    } else {
        vec![COLLECT]
    };
    let mut removed = Vec::new();
    for unit in &units {
        match unit_of(host, unit, journal)? {
            UnitFile::OfPackage => {}
            UnitFile::Wanted(file) => files.push(file),
            hiding => hides_package(hiding, &mut removed, &mut kept),
        }
    }
    if ships {
        let path = format!("/etc/systemd/system/{}.d/centre.conf", COLLECT.name);
        files.push(Wanted::shipped(&path, CENTRE_CONF));
    }
    if !host.at("/usr/lib/tmpfiles.d/vctl.conf").exists() {
        files.push(Wanted::shipped(TMPFILES_FILE, TMPFILES));
    } else if let Some(path) = hidden_tmpfiles(host, journal)? {
        removed.push(Step::RemoveOwn { path });
    }
    let before = sshd::settings(host);
    let (snippet, sshd) = sshd_snippet(host, before)?;
    let mut steps = Vec::new();
    let mut made = BTreeSet::new();
    for (path, mode) in DIRECTORIES {
        // An image gets /run when it boots.
        if (host.is_this_machine() || !path.starts_with("/run")) && !host.at(path).is_dir() {
            directory(host, path, mode, &mut made, &mut steps)?;
        }
    }
    let mut edited = Vec::new();
    let files = steps_of(host, files, journal, &mut edited)?;
    let has_changed = !files.is_empty() || !removed.is_empty();
    push_files(host, files, &mut made, &mut steps)?;
    steps.extend(removed);
    let snippet = steps_of(host, snippet.into_iter().collect(), journal, &mut edited)?;
    kept.extend(
        edited
            .iter()
            .map(|path| format!("{path} was edited after the setup")),
    );
    if !snippet.is_empty() {
        push_files(host, snippet, &mut made, &mut steps)?;
        let running = sshd::Running::of(host);
        steps.push(Step::ReloadSshd {
            unit: running.unit(),
        });
        next.extend(running.next("which runs without PAM and records no login until then"));
    }
    push_units(host, &units, has_changed, &mut steps, &mut next);
    if let Some(line) = pam_line(host, options, &config, sshd)? {
        if let Some((seen, fix)) = confined {
            return Err(SetupError::Confined { seen, fix });
        }
        collector_answers(host, options, &config)?;
        let socket = systemd::runs(host).then(|| config.socket());
        steps.push(Step::PamLine { line, socket });
    }
    if !host.is_this_machine() {
        next.push("run `vctl-agent check` on the host after its first boot".to_owned());
    }
    Ok(Plan {
        steps,
        kept,
        next,
        ships,
        enrolment: digest,
    })
}

/// Returns the snippet if sshd needs it, and the settings with it.
fn sshd_snippet(host: &Host, before: SshdFact) -> Result<(Option<Wanted>, SshdFact), SetupError> {
    if check::sshd(&before).0 == Some(true) {
        return Ok((None, before));
    }
    if !sshd::reads_snippets(host) {
        return Err(SetupError::NoInclude);
    }
    // The first value of a keyword counts.
    let after = match before {
        SshdFact::Effective(text) => SshdFact::Effective(format!("{SSHD_SNIPPET}{text}")),
        SshdFact::Files(mut texts) => {
            texts.insert(0, SSHD_SNIPPET.to_owned());
            SshdFact::Files(texts)
        }
        SshdFact::NotInstalled => SshdFact::NotInstalled,
    };
    let snippet = Wanted::snippet(SSHD_SNIPPET_FILE, SSHD_SNIPPET);
    Ok((Some(snippet), after))
}

/// Adds the step or the note for a unit that hides that of the package.
fn hides_package(unit: UnitFile, removed: &mut Vec<Step>, kept: &mut Vec<String>) {
    match unit {
        UnitFile::OfPackage | UnitFile::Wanted(_) => {}
        UnitFile::Foreign { path, is_link } => removed.push(Step::RemoveUnit { path, is_link }),
        UnitFile::OfSetup(path) => removed.push(Step::RemoveOwn { path }),
        UnitFile::OfUser(path) => kept.push(format!(
            "{path}, which systemd uses instead of the unit of the package"
        )),
    }
}

/// Returns the digest of an enrolment that no setup has applied: Vault opens its secret id only once.
fn new_enrolment(
    enrolment: Option<&Enrolment>,
    journal: Option<&Journal>,
    config: &Config,
    kept: &mut Vec<String>,
) -> Option<String> {
    let digest = enrolment?.digest();
    let Some(journal) = journal else {
        return Some(digest);
    };
    if journal.earlier_enrolments.contains(&digest) {
        kept.push(format!(
            "{}, because a newer enrolment than this one was applied",
            config.centre.secret_id_file.display()
        ));
        return None;
    }
    (journal.enrolment.as_ref() != Some(&digest)).then_some(digest)
}

fn id_files(config: &Config, enrolment: &Enrolment) -> [Wanted; 2] {
    let (role_id, secret_id) = enrolment.ids();
    let centre = &config.centre;
    [
        (&centre.role_id_file, role_id),
        (&centre.secret_id_file, secret_id),
    ]
    .map(|(path, text)| Wanted::secret(&path.to_string_lossy(), &text))
}

fn push_units(
    host: &Host,
    units: &[Unit],
    has_changed: bool,
    steps: &mut Vec<Step>,
    next: &mut Vec<String>,
) {
    if !systemd::enables(host) {
        let option = if units.len() > 1 { "" } else { " --local" };
        next.push(if host.is_this_machine() {
            format!(
                "systemd does not run here, so start the collector yourself: {AGENT} collect{option}"
            )
        } else {
            "this machine has no systemctl for the image, so enable the units in it yourself".to_owned()
        });
        return;
    }
    for unit in units {
        let is_active = !host.is_this_machine() || systemd::is(host, "is-active", unit.name);
        let runs_replaced = systemd::runs_replaced(host, unit.name);
        let is_enabled = || systemd::is(host, "is-enabled", unit.name);
        if has_changed || runs_replaced || !is_active || !is_enabled() {
            steps.push(Step::Unit {
                name: unit.name,
                has_changed: has_changed && is_active && host.is_this_machine(),
                runs_replaced,
            });
        }
    }
}

/// Adds the steps that write files, with the directories that they need.
fn push_files(
    host: &Host,
    files: Vec<NewText>,
    made: &mut BTreeSet<String>,
    steps: &mut Vec<Step>,
) -> Result<(), SetupError> {
    for file in files {
        let parent = Path::new(&file.path).parent().unwrap_or(Path::new("/"));
        let parent = parent.to_string_lossy().into_owned();
        let mode = if parent == "/etc/vctl" { 0o700 } else { 0o755 };
        directory(host, &parent, mode, made, steps)?;
        steps.push(Step::File(file));
    }
    Ok(())
}

/// Adds the directory and its missing parents.
fn directory(
    host: &Host,
    path: &str,
    mode: u32,
    made: &mut BTreeSet<String>,
    steps: &mut Vec<Step>,
) -> Result<(), SetupError> {
    if host.at(path).is_dir() || made.contains(path) {
        return Ok(());
    }
    // A file, or a link without a target.
    if fs::symlink_metadata(host.entry(path)?).is_ok() {
        let path = path.to_owned();
        return Err(SetupError::NotADirectory { path });
    }
    if let Some(parent) = Path::new(path).parent() {
        directory(host, &parent.to_string_lossy(), 0o755, made, steps)?;
    }
    made.insert(path.to_owned());
    steps.push(Step::Directory {
        path: path.to_owned(),
        mode,
    });
    Ok(())
}
