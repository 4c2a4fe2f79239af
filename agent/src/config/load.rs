//! Loads the agent's configuration from one file, the environment and flags.

use std::error::Error;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

use vctl_common::causes::WithCauses;
use vctl_common::config::{self, ConfigError, ConfigFile, Need, Origin, Problem, Source};

use super::{Config, Loaded, TABLE};

pub const DEFAULT_FILE: &str = "/etc/vctl/agent.yaml";

/// Sources of values, besides the defaults.
pub struct Inputs<'a> {
    /// Key name and text of each flag given.
    pub flags: &'a [(String, String)],
    /// Looks up one environment variable; an empty value counts as not set.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// From `--config`; it must exist.
    pub file: Option<&'a Path>,
    /// The kernel's name of this host.
    pub host_name: &'a str,
}

/// Returns the configuration that results from the inputs.
///
/// # Errors
/// A named file that does not exist, a file that others than root can write, invalid YAML, an
/// unknown key, a value that its key does not accept.
pub fn load(inputs: &Inputs<'_>) -> Result<Loaded, ConfigError> {
    let (loaded, problems) = merge(inputs)?;
    if problems.is_empty() {
        Ok(loaded)
    } else {
        Err(ConfigError::Invalid(problems))
    }
}

/// The configuration of this process, for hints that name a setting.
static LOADED: OnceLock<Loaded> = OnceLock::new();

/// Stores the configuration of this process, for [`placed`].
pub fn remember(loaded: &Loaded) {
    let _ = LOADED.set(loaded.clone());
}

/// Returns a hint that names each setting by the place that decides it.
pub fn placed(hint: &str) -> String {
    match LOADED.get() {
        Some(loaded) => loaded.placed(hint),
        None => hint.to_owned(),
    }
}

/// Returns an error and its causes in one line, with its hint as [`placed`].
pub fn with_hint(error: &dyn Error, hint: Option<String>) -> String {
    let text = WithCauses(error).to_string();
    match hint {
        Some(hint) => format!("{text} ({})", placed(&hint)),
        None => text,
    }
}

/// Returns the best possible configuration, with a list of problems for syslog.
///
/// Used by the stamper, because a mistake in the file must not lock users out: an unreadable value
/// counts as absent. A host that must stay strict in any case sets `--mode strict` in the PAM line.
pub fn load_for_stamp(file: Option<&Path>, flags: &[(String, String)]) -> (Config, Vec<String>) {
    // The environment is deliberately not used: with `user_readenv=1`, pam_env lets users set it.
    let merge = |files: &[ConfigFile]| {
        let inputs = config::Inputs {
            flags,
            env: &|_| None,
            files,
        };
        TABLE.merge(Config::default(), &inputs)
    };
    let mut said = Vec::new();
    let merged = merge(&[the_file(file)]).or_else(|error| {
        said.push(error.to_string());
        merge(&[])
    });
    match merged {
        Ok((loaded, problems)) => {
            let problems = problems.into_iter().chain(too_small_spool(&loaded));
            said.extend(problems.map(|problem| problem.to_string()));
            (loaded.config, said)
        }
        Err(error) => {
            said.push(error.to_string());
            (Config::default(), said)
        }
    }
}

fn merge(inputs: &Inputs<'_>) -> Result<(Loaded, Vec<Problem>), ConfigError> {
    let mut start = Config::default();
    if !inputs.host_name.is_empty() {
        inputs.host_name.clone_into(&mut start.host);
    }
    let inputs = config::Inputs {
        flags: inputs.flags,
        env: inputs.env,
        files: &[the_file(inputs.file)],
    };
    let (loaded, mut problems) = TABLE.merge(start, &inputs)?;
    problems.extend(too_small_spool(&loaded));
    Ok((loaded, problems))
}

fn too_small_spool(loaded: &Loaded) -> Option<Problem> {
    let config = &loaded.config;
    if config.spool_cap.bytes() >= config.segment_size.bytes().saturating_mul(2) {
        return None;
    }
    let cap = loaded.source_of("spool_cap");
    let at = match cap {
        Source::Default => loaded.source_of("segment_size"),
        written => written,
    };
    let what = format!(
        "`spool_cap` {} holds less than two segments of `segment_size` {}",
        config.spool_cap, config.segment_size
    );
    Some(Problem::new(at.clone(), what))
}

fn the_file(named: Option<&Path>) -> ConfigFile {
    ConfigFile {
        path: named.unwrap_or(Path::new(DEFAULT_FILE)).to_owned(),
        need: match named {
            Some(_) => Need::Named,
            // Without it the agent would ship no records and refuse no login, without any message.
            None => Need::IfThere,
        },
        origin: |_, _| Origin::Own,
        distrust,
    }
}

/// The file decides what is recorded, so as root it must belong to root and not be writable by
/// others.
pub(crate) fn distrust(_: &Path, meta: &Metadata) -> Option<&'static str> {
    let as_root = nix::unistd::geteuid().is_root();
    if as_root && meta.uid() != 0 {
        Some("is not owned by root")
    } else if as_root && meta.mode() & 0o022 != 0 {
        Some("can be written by others than root")
    } else {
        None
    }
}
