//! Runs other programs and shows their command lines.

use std::io::{Read as _, Write as _};
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

/// Runs a command, shows its output as it comes, and returns whether it succeeded and what it printed.
///
/// # Errors
/// The command cannot be started, or its output cannot be read.
pub(crate) fn run_and_read(command: &mut Command) -> Result<(bool, String)> {
    let line = line(command);
    say(&format!("$ {line}"));
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{line}`"))?;
    let mut printed = Vec::new();
    let mut output = child.stdout.take().context("stdout is a pipe")?;
    let mut buffer = [0; 8192];
    loop {
        let read = output.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        std::io::stdout().write_all(&buffer[..read])?;
        std::io::stdout().flush()?;
        printed.extend_from_slice(&buffer[..read]);
    }
    let is_success = child.wait()?.success();
    Ok((is_success, String::from_utf8_lossy(&printed).into_owned()))
}

/// Runs a command without the terminal, and returns its output; its messages are in the error.
pub(crate) fn quietly(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output();
    let output = output.with_context(|| format!("cannot run `{program}`"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let [errors, printed] = [errors.trim(), printed.trim()];
        bail!(
            "`{program}` ended with {}: {errors}{}{printed}",
            output.status,
            if errors.is_empty() || printed.is_empty() {
                ""
            } else {
                "\n"
            }
        );
    }
    Ok(printed)
}

/// Returns cargo, the one that runs this task.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    // `cargo run` describes this package in these variables. The build script of ring watches them, so with them cargo
    // would build ring and all that depends on it again after each direct use of cargo, and the other way round.
    let of_package =
        |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(of_package) {
            command.env_remove(name);
        }
    }
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
    build(&[&["build"], options, PROGRAMS, &["--bins"]].concat())
}

/// Builds vctl-agent, vctl and one program of the specs' package, and what guards it while it runs.
///
/// The other programs of that package would be half of the building in a fresh clone.
pub(crate) fn build_program(name: &str) -> Result<Vec<Built>> {
    let programs = [
        "--bin",
        "vctl-agent",
        "--bin",
        "vctl",
        "--bin",
        "stack",
        "--bin",
        name,
    ];
    build(&[&["build"], PROGRAMS, &programs].concat())
}

const PROGRAMS: &[&str] = &["-p", "vctl-agent", "-p", "vctl", "-p", "vctl-tests"];

/// Runs one of the built programs as root in our place, so that Ctrl-C and kill reach it itself. Returns
/// only when that fails.
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

/// Variables that choose the servers of the specs and of the stack.
const CHOSEN_SERVERS: &[&str] = &["VCTL_TEST_POSTGRES_BIN", "VCTL_TEST_VAULT_BIN"];

/// Returns the program as root would run it: with sudo, unless this process is root.
pub(crate) fn as_root(program: &str) -> Command {
    if nix::unistd::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    // sudo drops variables.
    let chosen = CHOSEN_SERVERS.iter().filter_map(|name| {
        let value = std::env::var(name).ok()?;
        Some(format!("{name}={value}"))
    });
    command.arg("env").args(chosen).arg(program);
    command
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
