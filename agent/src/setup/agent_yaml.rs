//! The configuration of the agent: the old file, the lines that setup adds, and the check of both.

use std::fs;
use std::io;
use std::path::Path;

use vctl_common::atomic_file::{Durability, NewFile, Unfinished};

use super::SetupOptions;
use super::enrolment::{Enrolment, merged};
use super::error::SetupError;
use super::host::Host;
use super::journal::{unreadable, unwritable};
use super::wanted::Wanted;
use crate::config::{Config, ConfigError, DEFAULT_FILE, Source, distrust};

/// Returns the new agent.yaml, if it differs, and the configuration that it gives.
pub(super) fn agent_yaml(
    host: &Host,
    options: &SetupOptions,
    enrolment: Option<&Enrolment>,
) -> Result<(Option<Wanted>, Config), SetupError> {
    let path = host.real(DEFAULT_FILE)?;
    let old = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(unreadable(&path, source)),
    };
    is_trusted(&path)?;
    // Its own mistakes first, each with its line.
    let config = host.config()?;
    let mut lines: Vec<&str> = enrolment.into_iter().flat_map(Enrolment::lines).collect();
    if options.strict {
        lines.push("mode: strict");
    }
    let text = merged(&old, &lines)?;
    if text == old {
        return Ok((None, config));
    }
    let config = with_lines(host, &text)?;
    if enrolment.is_some() {
        let centre = config.centre.centre(&config.host);
        centre.map_err(|source| SetupError::Centre {
            path: host.at(DEFAULT_FILE).display().to_string(),
            source,
        })?;
        let authorities = [
            ("vault_ca_cert", &config.centre.vault_ca_cert),
            ("db_ca_cert", &config.centre.db_ca_cert),
        ];
        for (key, file) in authorities {
            if let Some(file) = file
                && !host.at(&file.to_string_lossy()).is_file()
            {
                let path = file.display().to_string();
                return Err(SetupError::NoAuthority { key, path });
            }
        }
    }
    Ok((Some(Wanted::settings(DEFAULT_FILE, &text)), config))
}

/// Refuses an old file that the agent would refuse: setup keeps its owner and mode, and a strict line would then refuse
/// every login.
fn is_trusted(path: &Path) -> Result<(), SetupError> {
    let Ok(meta) = fs::metadata(path) else {
        return Ok(());
    };
    match distrust(path, &meta) {
        Some(why) => Err(SetupError::Untrusted {
            path: path.display().to_string(),
            why,
        }),
        None => Ok(()),
    }
}

/// Reads the text as the agent would.
fn with_lines(host: &Host, text: &str) -> Result<Config, SetupError> {
    let file = host
        .at("/etc")
        .join(format!(".vctl-agent-setup-{}.yaml", std::process::id()));
    NewFile::private(Durability::Unsynced, Unfinished::OneName)
        .replace(&file, |out| out.write_all(text.as_bytes()))
        .map_err(|source| unwritable(&file, source))?;
    let config = host.config_in(&file);
    let _ = fs::remove_file(&file);
    config.map_err(|source| new_lines(host, source))
}

/// Names agent.yaml in the error, and not the file with the new lines, which no longer exists.
fn new_lines(host: &Host, mut error: ConfigError) -> SetupError {
    let named = host.at(DEFAULT_FILE);
    match &mut error {
        ConfigError::Unreadable { path, .. } | ConfigError::Unsafe { path, .. } => {
            path.clone_from(&named);
        }
        ConfigError::Invalid(problems) => {
            for problem in problems {
                if let Source::File { path, .. } = &mut problem.at {
                    path.clone_from(&named);
                }
            }
        }
    }
    SetupError::NewLines {
        path: named.display().to_string(),
        source: error,
    }
}
