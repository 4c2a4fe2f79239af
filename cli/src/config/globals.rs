//! Options of every command.

use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueHint};

use crate::config::{self, Loaded};
use crate::error::CliError;
use crate::files::home;
use crate::ui::ask::Interaction;
use crate::ui::notice;

/// The options of every command, as given on the command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Globals {
    /// Key and text of each setting given as a flag.
    flags: Vec<(String, String)>,
    no_input: bool,
    /// Whether to print durations at the end.
    pub(crate) debug_timing: bool,
    pub(crate) verbose: u8,
}

impl Globals {
    /// Returns the configuration of flags, environment, files and defaults.
    ///
    /// # Errors
    /// All invalid settings in one error.
    pub(crate) fn load(&self) -> Result<Loaded, CliError> {
        config::load(&self.flags).inspect(note_problems)
    }

    /// Like [`load`](Self::load), but ignores settings that a directory's file may not set. Also returns whether there
    /// were any.
    pub(crate) fn load_without_refused(&self) -> Result<(Loaded, bool), CliError> {
        config::load_without_refused(&self.flags).inspect(|(loaded, _)| note_problems(loaded))
    }

    /// Returns the options that give another vctl process the same configuration.
    pub(crate) fn options(&self) -> Vec<String> {
        let given = self.flags.iter();
        let words = given.map(|(name, text)| format!("--{}={text}", name.replace('_', "-")));
        words.collect()
    }

    /// Returns whether prompts are allowed.
    pub(crate) fn interaction(&self) -> Interaction {
        Interaction::of_process(self.no_input)
    }
}

/// Notes once which directory replaces `HOME`, and which settings files could not be read.
fn note_problems(loaded: &Loaded) {
    home::report();
    for why in &loaded.passed_over {
        notice::note_once(&format!("{why}; continuing without it"));
    }
}

const HEADING: &str = "Options of every command";

// Written by hand: clap's derive would need the key table again, as a struct.
impl Args for Globals {
    fn augment_args(command: Command) -> Command {
        let command = command
            .arg(
                Arg::new("no_input")
                    .long("no-input")
                    .action(ArgAction::SetTrue)
                    .global(true)
                    .help_heading(HEADING)
                    .help("Never ask and never open a browser: end with an error instead"),
            )
            .arg(
                Arg::new("debug_timing")
                    .long("debug-timing")
                    .action(ArgAction::SetTrue)
                    .global(true)
                    .help_heading(HEADING)
                    .help("Print durations on stderr at the end"),
            )
            .arg(
                Arg::new("verbose")
                    .long("verbose")
                    .short('v')
                    .action(ArgAction::Count)
                    .global(true)
                    .help_heading(HEADING)
                    .help("Log connections to Vault and Postgres on stderr; given twice, also logs of libraries"),
            );
        config::flags().fold(command, |command, key| {
            let (first, _) = key.doc.split_once(". ").unwrap_or((key.doc, ""));
            let help = format!(
                "{} [env: {}]",
                first.trim_end_matches('.'),
                config::env_of(key.name).join(", ")
            );
            command.arg(
                Arg::new(key.name)
                    .long(key.flag())
                    .value_name("VALUE")
                    .global(true)
                    .value_hint(if key.kind == "absolute path" {
                        ValueHint::FilePath
                    } else {
                        ValueHint::Other
                    })
                    .hide_short_help(key.name != "vault_addr")
                    .help_heading(HEADING)
                    // A manual page shows the long help of options that the short help hides.
                    .long_help(help.clone())
                    .help(help),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Globals {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = config::flags().filter_map(|key| {
            let text = matches.get_one::<String>(key.name)?;
            Some((key.name.to_owned(), absolute_path(key.kind, text)))
        });
        Ok(Self {
            flags: flags.collect(),
            no_input: matches.get_flag("no_input"),
            debug_timing: matches.get_flag("debug_timing"),
            verbose: matches.get_count("verbose"),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Makes a path on the command line absolute, relative to the working directory.
fn absolute_path(kind: &str, text: &str) -> String {
    let absolute = || {
        std::path::absolute(Path::new(text))
            .ok()?
            .into_os_string()
            .into_string()
            .ok()
    };
    if kind == "absolute path" && !text.is_empty() {
        absolute().unwrap_or_else(|| text.to_owned())
    } else {
        text.to_owned()
    }
}
