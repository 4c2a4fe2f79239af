//! `vctl-agent`: parse, run, exit.

use std::fs;
use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use vctl_agent::args::{
    CheckArgs, Cli, CliCommand, CollectArgs, IngestArgs, OutputFormat, PamLineCommand, SetupArgs,
};
use vctl_agent::config::{CentreError, Config, ConfigError, LogLevel};
use vctl_agent::ingest::{self, StreamLimits};
use vctl_agent::nats;
use vctl_agent::node::{self, NodeOptions};
use vctl_agent::pam::{self, Change, LineOptions};
use vctl_agent::setup::{self, Answer, SetupError, SetupOptions, User};
use vctl_agent::stderr::{Log, visible};
use vctl_agent::store::Route;
use vctl_agent::{check, hook, manual, pipeline, probe};
use vctl_common::atomic_file::{Durability, NewFile, Unfinished};
use vctl_common::charset;
use vctl_common::yes_no::is_yes;

fn main() -> ExitCode {
    if let Some(code) = probe::self_test::child(std::env::args_os()) {
        return code;
    }
    // Before clap, which takes longer than the rest of a stamp.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|command| command == "stamp") {
        return ExitCode::from(hook::run(arguments));
    }
    charset::set_from_environment();
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: CliCommand) -> anyhow::Result<ExitCode> {
    match command {
        CliCommand::Collect(args) => collect(&args).map(|()| ExitCode::SUCCESS),
        // Reached only by `vctl-agent help stamp` and the like: `main` handles the command itself.
        CliCommand::Stamp { arguments } => Ok(ExitCode::from(hook::run(arguments.into_iter()))),
        CliCommand::Check(args) => self::check(&args),
        CliCommand::Setup(args) => set_up(args),
        CliCommand::PamLine(command) => pam_line(command),
        CliCommand::Detach(args) => {
            let config = args.settings.load()?.config;
            log_to_stderr(config.log_level);
            detach(&config)
        }
        CliCommand::Help { command } => {
            print(&manual::help(command.as_deref())?)?;
            Ok(ExitCode::SUCCESS)
        }
        CliCommand::Version => {
            print(&format!("vctl-agent {}\n", env!("CARGO_PKG_VERSION")))?;
            Ok(ExitCode::SUCCESS)
        }
        CliCommand::Man { to: None } => {
            print(&manual::page())?;
            Ok(ExitCode::SUCCESS)
        }
        CliCommand::Man {
            to: Some(directory),
        } => {
            manual::write(&directory)?;
            Ok(ExitCode::SUCCESS)
        }
        CliCommand::Ingest(args) => ingest(&args),
        CliCommand::NatsKey(args) => {
            let config = args.settings.load()?.config;
            let key = nats::public_key_or_new(&config.nats.nats_key_file)?;
            print(&format!("{} {key}\n", config.host))?;
            Ok(ExitCode::SUCCESS)
        }
        CliCommand::NatsAccounts(args) => {
            let list = fs::read_to_string(&args.list)
                .with_context(|| format!("cannot read `{}`", args.list.display()))?;
            let accounts = nats::accounts(nats::Users {
                list: &list,
                ingest: &args.ingest,
                operators: &args.operator,
                may_be_empty: args.no_hosts,
            })
            .with_context(|| format!("cannot use `{}`", args.list.display()))?;
            match args.out {
                // The server reads it as a user of its own.
                Some(out) => NewFile {
                    mode: Some(0o644),
                    ..NewFile::private(Durability::Synced, Unfinished::OneName)
                }
                .replace(&out, |file| file.write_all(accounts.as_bytes()))
                .with_context(|| format!("cannot write `{}`", out.display()))?,
                None => print(&accounts)?,
            }
            Ok(ExitCode::SUCCESS)
        }
        CliCommand::Node(args) => {
            let config = args.settings.load()?.config;
            log_to_stderr(config.log_level);
            let options = NodeOptions {
                interval: args.interval,
                once: args.once,
                hostname: args.hostname,
            };
            node::run(&config, &options)
        }
    }
}

/// The user at the terminal, or a script with `--yes`.
struct Terminal {
    yes: bool,
}

impl User for Terminal {
    fn tell(&mut self, text: &str) {
        // A closed pipe must not stop a setup between two steps.
        let _ = print(text);
    }

    fn confirm(&mut self) -> Answer {
        if self.yes {
            return Answer::Yes;
        }
        if !io::stdin().is_terminal() {
            return Answer::CannotAsk;
        }
        self.tell("Continue? [y/N] ");
        let _ = io::stdout().flush();
        let mut line = String::new();
        let _ = io::stdin().read_line(&mut line);
        if is_yes(&line) {
            Answer::Yes
        } else {
            Answer::No
        }
    }
}

fn set_up(args: SetupArgs) -> anyhow::Result<ExitCode> {
    let mut user = Terminal { yes: args.yes };
    let options = SetupOptions {
        root: args.root,
        enroll: args.enroll,
        strict: args.strict,
    };
    if args.undo {
        return match setup::undo(&options, &mut user) {
            Err(busy @ SetupError::Busy) => {
                complain(&busy.into());
                Ok(ExitCode::from(SetupError::BUSY))
            }
            undone => Ok(undone.map(|()| ExitCode::SUCCESS)?),
        };
    }
    let Some(report) = setup::run(&options, &mut user)? else {
        return Ok(ExitCode::SUCCESS);
    };
    print(&report.to_text())?;
    Ok(if report.failed() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn pam_line(command: PamLineCommand) -> anyhow::Result<ExitCode> {
    let change = match command {
        PamLineCommand::Add {
            line,
            strict,
            program,
        } => pam::add(&LineOptions {
            root: line.root,
            service: line.service,
            program,
            strict,
        })?,
        PamLineCommand::Remove(line) => pam::remove(&LineOptions {
            root: line.root,
            service: line.service,
            program: String::new(),
            strict: false,
        })?,
        PamLineCommand::List { root } => {
            let lines = pam::stamp_lines(&root, &[]).into_iter();
            let lines = lines.map(|line| format!("{}:{}\n", line.file, line.line));
            print(&lines.collect::<String>())?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    print(&match change {
        Change::Added { file } => {
            format!("Added the line to {file}. Keep this shell until a second login has worked.\n")
        }
        Change::Removed { file, lines: 1 } => format!("Removed the line from {file}.\n"),
        Change::Removed { file, lines } => format!("Removed {lines} lines from {file}.\n"),
        Change::Unchanged { place: Some(place) } => {
            format!("Nothing to do: the line is there already, {place}.\n")
        }
        Change::Unchanged { place: None } => {
            "Nothing to do: no PAM file has the stamp line.\n".to_owned()
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

fn detach(config: &Config) -> anyhow::Result<ExitCode> {
    let dir = config.pin_dir.display();
    if probe::detach(&config.pin_dir)? {
        print(&format!("Removed the probe pinned in {dir}.\n"))?;
    } else {
        print(&format!("There is no probe pinned in {dir}.\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn collect(args: &CollectArgs) -> anyhow::Result<()> {
    let loaded = args.settings.load()?;
    if args.print_config {
        return print(&loaded.effective());
    }
    let route = if args.local {
        None
    } else {
        Some(Route::of(&loaded.config)?)
    };
    log_to_stderr(loaded.config.log_level);
    pipeline::collect(loaded.config, route)
}

fn ingest(args: &IngestArgs) -> anyhow::Result<ExitCode> {
    let config = args.settings.load()?.config;
    let nats = config.nats(&format!("vctl-agent ingest {}", config.host))?;
    let centre = config.centre.centre(&config.host)?;
    log_to_stderr(config.log_level);
    let limits = StreamLimits {
        replicas: usize::from(args.replicas),
        max_bytes: args.max_bytes.bytes(),
    };
    ingest::run(&nats, &centre, limits)?;
    Ok(ExitCode::SUCCESS)
}

fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let config = args.settings.load()?.config;
    let report = check::run(&config, args.local);
    if args.output != OutputFormat::Table {
        charset::write_for_programs();
    }
    print(&match args.output {
        OutputFormat::Table => report.to_text(),
        OutputFormat::Json => report.to_json(),
        OutputFormat::Jsonl => report.to_json_lines(),
        OutputFormat::Csv => report.to_csv(),
        OutputFormat::Name => report.to_names(),
    })?;
    Ok(if report.failed() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn log_to_stderr(level: LogLevel) {
    // At `debug`, aya logs each instruction that it changes in the probe.
    let targets = Targets::new()
        .with_default(LevelFilter::from(level))
        .with_target("aya_obj", LevelFilter::WARN)
        .with_target("aya::bpf", LevelFilter::WARN);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| Log)
        // Colours are control characters, which `Log` escapes.
        .with_ansi(false)
        // The journal of systemd has its own clock.
        .without_time()
        .with_target(false);
    tracing_subscriber::registry()
        .with(lines.with_filter(targets))
        .init();
}

fn print(text: &str) -> anyhow::Result<()> {
    let text = charset::shown(text);
    match io::stdout().lock().write_all(text.as_bytes()) {
        // `| head` closes the pipe early.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to stdout"),
    }
}

#[allow(clippy::print_stderr, reason = "the one place that prints errors")]
fn complain(error: &anyhow::Error) {
    let hint = match error.downcast_ref::<ConfigError>() {
        Some(ConfigError::Unsafe { .. }) => Some("chown root: and chmod go-w that file"),
        Some(ConfigError::Invalid(_)) => Some("`vctl-agent collect --help` lists every key"),
        _ => None,
    };
    let hint = hint.or(match error.downcast_ref::<CentreError>() {
        Some(CentreError::NotSet(_)) => {
            Some("set them in /etc/vctl/agent.yaml, or keep everything on this host with `collect --local`")
        }
        Some(CentreError::Host(_)) => Some("set `host` to the name it has in the inventory"),
        None => None,
    });
    let hint = hint
        .map(str::to_owned)
        .or_else(|| error.downcast_ref().and_then(SetupError::hint));
    // The error of a configuration has one line for each problem.
    let lines: Vec<String> = error.to_string().lines().map(visible).collect();
    eprintln!("error: {}", lines.join("\n"));
    for cause in error.chain().skip(1) {
        eprintln!("  caused by: {}", visible(&cause.to_string()));
    }
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
}
