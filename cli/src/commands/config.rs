//! `vctl config`: settings and their sources, and trust in a directory's file.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::centre::context;
use crate::config::globals::Globals;
use crate::config::{self, DirectoryFile, Setting, TRUST_HINT, TrustedFiles};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::files::home;
use crate::ui::ask::{Interaction, confirmed};
use crate::ui::format::OutputFormat;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice};

/// Show the settings in effect, and where each value comes from
///
/// The output has the format of the configuration file. A comment names the source of each value: an
/// option, an environment variable, a line of a file, or the default. vctl does not connect to a server.
/// Settings that `.vctl/config.yaml` of the current directory may not set before you trust it are shown
/// as refused.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl config                          Show the settings in effect
  vctl config -o json                  The same, for programs
  vctl config example > config.yaml    Print a template with all keys
  vctl config trust                    Review and trust this directory's file")]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: Option<ConfigCommand>,

    /// Output format
    #[arg(long, short, value_name = "FORMAT", value_parser = OutputFormat::among(OutputFormat::OF_DOCUMENT), default_value = "table")]
    output: OutputFormat,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print a template with every key and its default, commented out
    Example,
    Trust(TrustArgs),
    /// Remove the trust in a directory's file
    Untrust {
        /// Directory of the file
        #[arg(value_name = "DIR", default_value = ".")]
        directory: PathBuf,
    },
}

/// Trust `.vctl/config.yaml` of a directory, until it changes
///
/// Prints the settings of the file and asks for confirmation. Then vctl records the path and the SHA-256 of
/// the file in `~/.vctl/trusted`, and uses all its settings. A changed file or a copy in another directory
/// is not trusted.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl config trust             Trust the file of the current directory
  vctl config trust --yes DIR   Trust the file of DIR without confirmation
  vctl config trust --list      List trusted files, and those that have changed")]
struct TrustArgs {
    /// Directory of the file
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,

    /// Do not ask for confirmation; needed without a terminal
    #[arg(long, short)]
    yes: bool,

    /// List the trusted files, and whether they have changed
    #[arg(long, conflicts_with_all = ["directory", "yes"])]
    list: bool,
}

pub(crate) fn run(args: &ConfigArgs, globals: &Globals) -> Result<(), Stop> {
    // Not by clap: it would then also refuse the options of every command before a subcommand.
    if args.command.is_some() && !args.output.is_for_people() {
        let error = CliError::new(
            Exit::Usage,
            "`--output` is for `vctl config` without a subcommand",
        );
        return Err(error.hint("leave it out").into());
    }
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
                "no longer trusted"
            } else {
                "the file was not trusted"
            });
            Ok(())
        }
    }
}

fn show(output: OutputFormat, globals: &Globals) -> Result<(), Stop> {
    let (loaded, has_refused) = globals.load_without_refused()?;
    let refused = if has_refused { refused()? } else { Vec::new() };
    let mut screen = Screen::for_format(output);
    if output.is_for_people() {
        let layout = screen.layout(false);
        config::text::write(&mut screen, &loaded, &refused, layout)?;
    } else {
        config::text::write_for_programs(&mut screen, output, &loaded, &refused)?;
    }
    screen.flush()?;
    if has_refused {
        notice::note(&format!(
            "this directory's file is not trusted, so other commands fail here: {TRUST_HINT}"
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
    if !args.yes {
        let hint = "read its settings above, then use `--yes`";
        interaction.require("trusting a file needs confirmation", hint)?;
    }
    let agreed = context::run_without_store(async {
        Ok(args.yes || confirmed(interaction, "Trust this file?").await?)
    })?;
    if !agreed {
        return Err(CliError::new(Exit::Failure, "the file is not trusted").into());
    }
    TrustedFiles::find().add(&file)?;
    notice::done("trusted until it changes; `vctl config untrust` removes the trust");
    Ok(())
}
