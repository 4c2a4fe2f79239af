//! Secrets server, Postgres and sshd in the background, for trying vctl by hand.
mod keep;
mod state;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vctl_tests::{centre, lab};

use state::Directory;

const DEFAULT_STATE: &str = "/run/vctl-stack";

#[derive(Parser)]
#[command(name = "stack", about = "Run a centre on loopback in the background")]
struct Arguments {
    /// Directory with the state of one stack; each directory is another stack
    #[arg(long, global = true, default_value = DEFAULT_STATE)]
    state: PathBuf,
    /// The command that the user typed, if it is not this program
    #[arg(long, global = true, hide = true)]
    called: Option<String>,
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Start it, unless it is up
    Up {
        /// Start only the servers: no roles, no policies, no schema
        #[arg(long)]
        bare: bool,
    },
    /// End the stack and undo all changes
    Down,
    /// Print the environment for a shell that administers the stack: `eval "$(cargo xtask stack env)"`
    Env,
    /// Run the stack in the foreground
    #[command(hide = true)]
    Keep {
        #[arg(long)]
        bare: bool,
    },
    /// Undo the changes in a journal when its owner has ended
    #[command(hide = true)]
    Guard { journal: PathBuf },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let stack = called(arguments.called, &arguments.state);
    let directory = Directory::new(arguments.state);
    let done = match arguments.task {
        Task::Up { bare } => up(&directory, &stack, bare),
        Task::Down => down(&directory),
        Task::Env => env(&directory, &stack),
        Task::Keep { bare } => keep::run(&directory, bare),
        Task::Guard { journal } => lab::undo_when_its_owner_is_gone(&journal),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the command that finds this stack again from another directory or shell.
fn called(called: Option<String>, state: &Path) -> String {
    let mut command = called.unwrap_or_else(|| {
        let program = std::env::current_exe().unwrap_or_else(|_| "stack".into());
        let sudo = std::env::var_os("SUDO_USER").map_or("", |_| "sudo ");
        format!("{sudo}{}", program.display())
    });
    if state != Path::new(DEFAULT_STATE) {
        // A relative path would name another directory there.
        let state = std::path::absolute(state).unwrap_or_else(|_| state.to_owned());
        let state = state.display().to_string();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
        let word = if state.bytes().all(is_plain) {
            state
        } else {
            centre::shell_word(&state)
        };
        command.push_str(" --state ");
        command.push_str(&word);
    }
    command
}

fn up(directory: &Directory, stack: &str, bare: bool) -> Result<()> {
    if let Some(why) = centre::missing() {
        anyhow::bail!("this machine cannot run the stack: {why}");
    }
    // Undoes the changes of a killed stack, with its state.
    lab::repair()?;
    if let Some(state) = directory.running()? {
        return say(&format!("already up\n{}", state.summary(stack)));
    }
    let started = Instant::now();
    // The program is fetched here and not in the background, so the user sees the progress.
    centre::Binary::find()?;
    let state = keep::start(directory, bare)?;
    say(&format!(
        "up after {:.1} s\n{}",
        started.elapsed().as_secs_f32(),
        state.summary(stack)
    ))
}

fn down(directory: &Directory) -> Result<()> {
    lab::repair()?;
    let Some(state) = directory.running()? else {
        ensure!(
            !directory.is_held()?,
            "the stack is being started: try again when it is up"
        );
        return say("the stack is not up");
    };
    // The pid still belongs to the owner, because the owner holds the lock of the state.
    kill(Pid::from_raw(state.pid.cast_signed()), Signal::SIGTERM)?;
    let asked = Instant::now();
    while directory.is_held()? {
        ensure!(
            asked.elapsed() < Duration::from_mins(1),
            "the stack (pid {}) does not end",
            state.pid
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    say("down: the machine is as it was")
}

fn env(directory: &Directory, stack: &str) -> Result<()> {
    let state = directory
        .running()?
        .with_context(|| format!("the stack is not up: run `{stack} up`"))?;
    say(state.exports().trim_end())
}

fn say(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("cannot write to stdout")
}
