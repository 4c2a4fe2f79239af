//! Runs other programs and shows their command lines.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Tells the user the next step.
#[allow(clippy::print_stderr, reason = "stderr is where a task talks")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// Runs a command on the terminal; a status other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    say(&format!("$ {line}"));
    let status = command
        .status()
        .with_context(|| format!("cannot run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// Returns the cargo that runs this task.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

/// A program that cargo built.
pub(crate) struct Built {
    pub(crate) name: String,
    pub(crate) is_test: bool,
    pub(crate) executable: PathBuf,
    /// Directory of its package.
    pub(crate) directory: PathBuf,
}

/// Runs a cargo command that builds, and returns the programs it built.
pub(crate) fn build(args: &[&str]) -> Result<Vec<Built>> {
    let mut command = cargo(args);
    say(&format!("$ {}", line(&command)));
    command
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped());
    let output = command.spawn()?.wait_with_output()?;
    if !output.status.success() {
        bail!("`{}` ended with {}", line(&command), output.status);
    }
    let messages = output.stdout.split(|&byte| byte == b'\n');
    let built = messages.filter_map(|message| {
        let message: serde_json::Value = serde_json::from_slice(message).ok()?;
        Some(Built {
            name: message["target"]["name"].as_str()?.to_owned(),
            is_test: message["profile"]["test"].as_bool()?,
            executable: message["executable"].as_str()?.into(),
            directory: Path::new(message["manifest_path"].as_str()?)
                .parent()?
                .to_owned(),
        })
    });
    Ok(built.collect())
}

/// Builds every program with these options of cargo, and returns them.
pub(crate) fn build_programs(options: &[&str]) -> Result<Vec<Built>> {
    let packages = [
        "-p",
        "vctl-agent",
        "-p",
        "vctl",
        "-p",
        "vctl-tests",
        "--bins",
    ];
    build(&[&["build"], options, &packages].concat())
}

/// Replaces this process with one of the built programs, run as root, so that it receives Ctrl-C
/// and signals itself. Returns only on failure.
pub(crate) fn become_program(built: &[Built], name: &str, args: &[&str]) -> Result<()> {
    let program = built.iter().find(|built| built.name == name);
    let program = program.with_context(|| format!("no {name} was built"))?;
    let program = program
        .executable
        .to_str()
        .context("the target directory's path is not UTF-8")?;
    Err(as_root(program).args(args).exec())
        .with_context(|| format!("cannot run `{program}` as root"))
}

/// Returns the program as root would run it: with sudo, unless this process is root.
pub(crate) fn as_root(program: &str) -> Command {
    if nix::unistd::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
