//! The flags of all keys of the configuration, and `--config`.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{self, ConfigError, KEYS, Loaded, TABLE};
use crate::proc::host::host_name;

/// `--config`, and the flags that set keys.
#[derive(Debug)]
pub struct Settings {
    file: Option<PathBuf>,
    pub(crate) flags: Vec<(String, String)>,
}

impl Settings {
    /// Returns the configuration of flags, environment, file and defaults.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let loaded = config::load(&config::Inputs {
            flags: &self.flags,
            env: &|name| std::env::var_os(name),
            file: self.file.as_deref(),
            host_name: &host_name(),
        })?;
        config::remember(&loaded);
        Ok(loaded)
    }
}

// By hand: clap's derive would need the key table a second time, as a struct.
impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("PATH")
            .value_parser(clap::value_parser!(PathBuf))
            .env("VCTL_AGENT_CONFIG")
            .hide_env_values(true)
            .help(format!(
                "Configuration file [default: {}]",
                config::DEFAULT_FILE
            ));
        KEYS.iter().fold(command.arg(file), |command, key| {
            let default = match key.default {
                "" => String::new(),
                default => format!(" [default: {default}]"),
            };
            let (first, _) = key.doc.split_once(". ").unwrap_or((key.doc, ""));
            let env = (TABLE.env)(key.name).join(", ");
            let mut arg = Arg::new(key.name)
                .long(key.flag())
                .value_name(if key.is_switch() { "BOOL" } else { "VALUE" })
                .help_heading("Configuration")
                .help(format!(
                    "{}{default} [env: {env}]",
                    first.trim_end_matches('.')
                ))
                .long_help(format!("{}{default} [env: {env}]", key.doc));
            if key.is_switch() {
                arg = arg.num_args(0..=1).default_missing_value("true");
            }
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self {
            file: matches.get_one::<PathBuf>("config").cloned(),
            flags: KEYS
                .iter()
                .filter_map(|key| {
                    let text = matches.get_one::<String>(key.name)?;
                    Some((key.name.to_owned(), text.clone()))
                })
                .collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
