//! `vctl config`

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::centre::context;
use crate::centre::globals::Globals;
use crate::config::{self, DirectoryFile, Setting, TRUST_HINT, TrustedFiles};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::files::home;
use crate::ui::ask::{Interaction, confirmed};
use crate::ui::form::Form;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice};

/// Show the settings in effect, and where each of them comes from
///
/// As a file that would set the same, with the source of each value behind it: an option, an
/// environment variable, a line of a file, or the default. Asks no server. What `.vctl/config.yaml` of
/// the current directory may not set before it is trusted is shown as refused.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl config                                     What is in effect here
  vctl config -o json                             The same for programs
  vctl config example > ~/.config/vctl/config.yaml    A file to begin with, all commented out
  vctl config trust                               Show what this directory's file sets, ask, and trust it")]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: Option<ConfigCommand>,

    /// Form of the output
    #[arg(long, short, value_name = "FORM", value_parser = Form::among(Form::OF_DOCUMENT), default_value = "table")]
    output: Form,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print a file with every key and its default, commented out
    Example,
    Trust(TrustArgs),
    /// Trust the file of a directory no longer
    Untrust {
        /// The directory
        #[arg(value_name = "DIR", default_value = ".")]
        directory: PathBuf,
    },
}

/// Trust `.vctl/config.yaml` of a directory, until it changes
///
/// Prints what the file sets and asks. Records the file's path and the SHA-256 of its bytes in
/// `~/.vctl/trusted`: another file in that place, a changed one and a copy elsewhere are not trusted. From a
/// trusted file vctl takes every key, as from your own.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl config trust             The file of the current directory
  vctl config trust --yes DIR   Another one, without a question
  vctl config trust --list      The files that are trusted, and those that changed since")]
struct TrustArgs {
    /// The directory
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,

    /// Do not ask; needed where there is no terminal
    #[arg(long, short)]
    yes: bool,

    /// Print the files that were trusted, and whether they still are
    #[arg(long, conflicts_with_all = ["directory", "yes"])]
    list: bool,
}

pub(crate) fn run(args: &ConfigArgs, globals: &Globals) -> Result<(), Stop> {
    match &args.command {
        None => show(args.output, globals),
        Some(ConfigCommand::Example) => {
            let mut screen = Screen::for_people();
            write!(screen, "{}", config::example())?;
            Ok(screen.flush()?)
        }
        Some(ConfigCommand::Trust(args)) if args.list => {
            let mut screen = Screen::for_people();
            let width = screen.layout(false).width;
            config::text::write_trusted(&mut screen, &TrustedFiles::find().all()?, width)?;
            Ok(screen.flush()?)
        }
        Some(ConfigCommand::Trust(args)) => trust(args, globals.interaction()),
        Some(ConfigCommand::Untrust { directory }) => {
            notice::done(if TrustedFiles::find().remove(directory)? {
                "not trusted any more"
            } else {
                "it was not trusted"
            });
            Ok(())
        }
    }
}

fn show(output: Form, globals: &Globals) -> Result<(), Stop> {
    let (loaded, has_refused) = globals.load_without_refused()?;
    let refused = if has_refused { refused()? } else { Vec::new() };
    let mut screen = Screen::for_form(output);
    if output.is_for_people() {
        let layout = screen.layout(false);
        config::text::write(&mut screen, &loaded, &refused, layout)?;
    } else {
        config::text::write_for_programs(&mut screen, output, &loaded, &refused)?;
    }
    screen.flush()?;
    if has_refused {
        notice::note(&format!(
            "this directory's file is not trusted, and other commands end with an error here: {TRUST_HINT}"
        ));
    }
    Ok(())
}

fn refused() -> Result<Vec<Setting>, CliError> {
    let Some(file) = DirectoryFile::read(Path::new("."))? else {
        return Ok(Vec::new());
    };
    let mut settings = file.settings()?;
    settings.retain(|setting| setting.needs_trust);
    Ok(settings)
}

fn trust(args: &TrustArgs, interaction: Interaction) -> Result<(), Stop> {
    home::report();
    let Some(file) = DirectoryFile::read(&args.directory)? else {
        let message = format!("`{}` has no `.vctl/config.yaml`", args.directory.display());
        return Err(CliError::new(Exit::NotFound, message).into());
    };
    let set = file.settings()?;
    let mut screen = Screen::for_people();
    config::text::write_set(&mut screen, &file.path, &set)?;
    screen.flush()?;
    if !args.yes && interaction == Interaction::Never {
        let message = "there is no terminal to ask on before trusting this file";
        let error = CliError::new(Exit::Usage, message);
        return Err(error.hint("read what it sets, then say `--yes`").into());
    }
    let agreed =
        context::run_without_store(async { Ok(args.yes || confirmed("Trust this file?").await?) })?;
    if !agreed {
        return Err(CliError::new(Exit::Failure, "the file is not trusted").into());
    }
    TrustedFiles::find().add(&file)?;
    notice::done("trusted until it changes; `vctl config untrust` ends that");
    Ok(())
}
