//! The real agent as a child of the lab.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::journal::Journal;
use super::recorded::{PATIENCE, slowness};
use super::undo::Undo;
use crate::load::guest::await_failed_execs;

/// One agent with its own configuration, pins and spool.
pub struct Agent {
    program: PathBuf,
    pub config: PathBuf,
    pub log: PathBuf,
    /// Runs before the agent, in a mount namespace that only this agent sees.
    pub before: Option<&'static str>,
    /// Stores its records on the host only.
    local: bool,
    pin_dir: PathBuf,
    child: Option<Child>,
    ready: UnixDatagram,
    ready_path: PathBuf,
}

impl Agent {
    /// Writes the agent's configuration; `start` runs it.
    ///
    /// `keys` are added to the paths that keep this agent inside `directory`, and override them. With `vault_addr` among
    /// them the agent ships its records.
    pub(super) fn prepare(
        journal: &Journal,
        program: &Path,
        directory: &Path,
        pin_dir: &Path,
        keys: &[(&str, String)],
    ) -> Result<Self> {
        let path = |name: &str| directory.join(name).display().to_string();
        let mut values = BTreeMap::from([
            ("host", "lab".to_owned()),
            ("spool_dir", path("spool")),
            ("run_dir", path("run")),
            ("pending_dir", path("pending")),
            ("pin_dir", pin_dir.display().to_string()),
            ("log_level", "info".to_owned()),
        ]);
        values.extend(keys.iter().map(|(key, value)| (*key, value.clone())));
        let config = directory.join("agent.yaml");
        let lines = values
            .iter()
            .map(|(key, value)| format!("{key}: {value}\n"));
        fs::write(&config, lines.collect::<String>())?;
        let ready_path = directory.join("ready");
        let ready = UnixDatagram::bind(&ready_path)?;
        journal.before(Undo::RemoveTree {
            path: pin_dir.to_owned(),
        })?;
        journal.before(Undo::EndProcess {
            program: program.to_owned(),
            argument: config.clone(),
        })?;
        Ok(Self {
            program: program.to_owned(),
            config,
            log: directory.join("agent.log"),
            before: None,
            local: !values.contains_key("vault_addr"),
            pin_dir: pin_dir.to_owned(),
            child: None,
            ready,
            ready_path,
        })
    }

    /// Returns the line of a PAM session stack that runs this agent's hook.
    pub(super) fn hook(&self, stopwatch: Option<&(PathBuf, PathBuf)>) -> String {
        let (program, config) = (self.program.display(), self.config.display());
        let stopwatch = stopwatch.map_or_else(String::new, |(stopwatch, file)| {
            format!("{} {} ", stopwatch.display(), file.display())
        });
        format!(
            "session required pam_exec.so quiet type=open_session {stopwatch}{program} stamp --config {config}\n"
        )
    }

    /// Starts the agent and waits until it reports that it is ready.
    pub fn start(&mut self) -> Result<()> {
        // The last lines of an earlier agent must not count for this agent.
        self.ready.set_nonblocking(true)?;
        let mut buffer = [0; 1024];
        while self.ready.recv(&mut buffer).is_ok() {}
        self.ready.set_nonblocking(false)?;
        self.spawn()?;
        self.await_ready()?;
        if slowness() > 1 {
            // In an emulator this takes longer than a hook waits, and the first login would be late.
            await_failed_execs(&self.pin_dir)?;
        }
        Ok(())
    }

    /// Starts the agent without waiting.
    pub fn spawn(&mut self) -> Result<()> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let child = self
            .command("collect")
            .args(self.local.then_some("--local"))
            .env("NOTIFY_SOCKET", &self.ready_path)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    fn await_ready(&mut self) -> Result<()> {
        let asked = Instant::now();
        self.ready
            .set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut buffer = [0; 1024];
        while asked.elapsed() < PATIENCE {
            match self.ready.recv(&mut buffer) {
                Ok(len)
                    if buffer[..len]
                        .split(|&b| b == b'\n')
                        .any(|line| line == b"READY=1") =>
                {
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(status) = self.child()?.try_wait()? {
                bail!("the agent ended with {status}: {}", self.last_words());
            }
        }
        bail!(
            "the agent is not ready after {PATIENCE:?}: {}",
            self.last_words()
        )
    }

    /// Runs another command of the agent with the same configuration.
    pub fn run(&self, command: &str, args: &[&str]) -> Result<Output> {
        Ok(self
            .command(command)
            .args(args)
            .stdin(Stdio::null())
            .output()?)
    }

    /// Ends the agent with SIGTERM, as systemd does, and waits for it.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait()
    }

    /// Kills the agent with SIGKILL.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGKILL)?;
        self.wait()
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid().context("the agent does not run")?;
        Ok(kill(Pid::from_raw(pid.cast_signed()), signal)?)
    }

    pub fn wait(&mut self) -> Result<ExitStatus> {
        let status = self.child()?.wait()?;
        self.child = None;
        Ok(status)
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Returns the end of the log.
    pub fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(4000)..]).into_owned()
    }

    pub fn command(&self, command: &str) -> Command {
        let mut built = match self.before {
            None => Command::new(&self.program),
            Some(script) => {
                let mut unshare = Command::new("unshare");
                unshare.args(["--mount", "--propagation", "slave", "sh", "-c"]);
                // Both replace themselves, so that the child's pid is the agent's.
                unshare.arg(format!("{script}\nexec \"$0\" \"$@\""));
                unshare.arg(&self.program);
                unshare
            }
        };
        built.arg(command).arg("--config").arg(&self.config);
        built
    }

    fn child(&mut self) -> Result<&mut Child> {
        self.child.as_mut().context("the agent does not run")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // The journal ends the process. This only reaps the zombie.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
