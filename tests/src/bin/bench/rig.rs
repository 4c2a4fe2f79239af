//! A lab for measurements, and sessions with load.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use vctl_tests::lab::{self, Certificate, Lab};
use vctl_tests::load::ledger::{self, Row};
use vctl_tests::load::spawn::Outcome;

use crate::Options;

/// Settings that all scenarios share.
#[derive(Debug)]
pub(crate) struct Bench {
    /// Removed with all its files when the run ends.
    scratch: tempfile::TempDir,
    pub(crate) cache: PathBuf,
    pub(crate) short: bool,
    pub(crate) minutes: u64,
    /// True when audit may be enabled on this machine.
    pub(crate) auditd: bool,
}

pub(crate) const MIB: f64 = 1_048_576.0;

impl Bench {
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let Options {
            disk,
            cache,
            short,
            minutes,
            auditd,
            ..
        } = options;
        fs::create_dir_all(cache)?;
        Ok(Self {
            scratch: tempfile::Builder::new().prefix("vctl-").tempdir_in(disk)?,
            cache: fs::canonicalize(cache)?,
            short: *short,
            minutes: *minutes,
            auditd: *auditd,
        })
    }

    /// Returns the first value in a full run, the second in a quick run.
    pub(crate) fn full_or_short<T>(&self, full: T, short: T) -> T {
        if self.short { short } else { full }
    }

    /// Creates a directory on the disk that is measured.
    pub(crate) fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = tempfile::Builder::new()
            .prefix(name)
            .tempdir_in(self.scratch.path())?
            .keep();
        Ok(path)
    }

    /// Starts a lab with its spool on the measured disk, because a lab's own directory may be in memory.
    pub(crate) fn rig(&self, options: &lab::Options) -> Result<Rig> {
        let directory = self.directory("rig-")?;
        let spool = directory.join("spool");
        // Debug logs would add to the cost.
        let keys = [
            ("spool_dir", spool.display().to_string()),
            ("log_level", "info".to_owned()),
        ];
        let mut options = options.clone();
        options.agent.splice(0..0, keys);
        Ok(Rig {
            lab: Lab::start(&options)?,
            // One short path for all rigs. The path is in every record, so it must have the usual length.
            child: self.scratch.path().join("child"),
            directory,
            spool,
        })
    }
}

/// A running lab and the sessions opened in it.
pub(crate) struct Rig {
    pub(crate) lab: Lab,
    child: PathBuf,
    pub(crate) directory: PathBuf,
    pub(crate) spool: PathBuf,
}

/// Arguments of the spawner, without ledger and stamp. Without `child`, the spawner runs the libc-free child.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoadArguments(BTreeMap<&'static str, String>);

impl LoadArguments {
    pub(crate) fn with(mut self, name: &'static str, value: impl Display) -> Self {
        self.0.insert(name, format!("{value}"));
        self
    }
}

/// A load that is running.
pub(crate) struct Load {
    process: Child,
    ledger: PathBuf,
}

/// A load that is over, with the outcome that the spawner printed.
pub(crate) struct Done {
    /// Pid of the spawner, which is the leader of the session.
    pub(crate) leader: u32,
    pub(crate) outcome: Outcome,
    pub(crate) rows: Vec<Row>,
}

impl Rig {
    /// Starts a load that does not belong to a session.
    pub(crate) fn load_outside(&self, arguments: &LoadArguments) -> Result<Load> {
        self.load(arguments, None)
    }

    /// Starts a load as a login: the spawner runs the PAM hook first, as sshd does. So the spawner is the leader of the
    /// session, and each of its children causes an exec event and an exit event.
    pub(crate) fn load_in_session(
        &self,
        certificate: &Certificate,
        arguments: &LoadArguments,
    ) -> Result<Load> {
        self.load(arguments, Some(certificate))
    }

    fn load(&self, arguments: &LoadArguments, login: Option<&Certificate>) -> Result<Load> {
        let ledger = tempfile::Builder::new()
            .prefix("ledger-")
            .tempfile_in(&self.directory)?
            .into_temp_path()
            .keep()?;
        // The figures are defined for a working directory of three components.
        let cwd = Path::new("/usr/share/doc");
        let mut command = Command::new(self.lab.programs.directory.join("spawner"));
        command
            .current_dir(if cwd.is_dir() { cwd } else { Path::new("/") })
            .arg("--ledger")
            .arg(&ledger);
        if !arguments.0.contains_key("child") {
            command.arg("--child").arg(&self.child);
        }
        for (name, value) in &arguments.0 {
            command.arg(format!("--{name}")).arg(value);
        }
        if let Some(certificate) = login {
            command
                .arg("--stamp")
                .arg(&self.lab.programs.agent)
                .arg("--stamp-config")
                .arg(&self.lab.agent.config)
                .envs(pam_environment(certificate, self.lab.user())?);
        }
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run `spawner`")?;
        Ok(Load { process, ledger })
    }

    /// Opens a session without any work. It ends when it is dropped.
    pub(crate) fn idle_session(&self, certificate: &Certificate) -> Result<Idle> {
        let hold = self.directory.join(format!("idle-{}", certificate.serial));
        let arguments = LoadArguments::default()
            .with("count", 0)
            .with("hold", hold.display());
        let load = self.load_in_session(certificate, &arguments)?;
        wait_for_stamp(&hold)?;
        Ok(Idle {
            load: Some(load),
            hold,
        })
    }

    /// Ends the agent and detaches its probe.
    pub(crate) fn detach(&mut self) -> Result<()> {
        self.lab.agent.stop()?;
        let output = self.lab.agent.run("detach", &[])?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "`vctl-agent detach` failed: {}",
            said.trim()
        );
        Ok(())
    }

    /// Runs `vctl session --local` on this rig's spool.
    pub(crate) fn vctl_session(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.lab.programs.vctl);
        command
            .args(["session", "--local", "--spool"])
            .arg(&self.spool)
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn agent_pid(&self) -> Result<u32> {
        self.lab.agent.pid().context("the agent does not run")
    }
}

impl Load {
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn wait(self) -> Result<Done> {
        let leader = self.pid();
        let output = self.process.wait_with_output()?;
        ensure!(
            output.status.success(),
            "the spawner ended with {}",
            output.status
        );
        Ok(Done {
            leader,
            outcome: serde_json::from_slice(&output.stdout)?,
            rows: ledger::read(&self.ledger)?,
        })
    }
}

/// Waits longer than 5 s. After 5 s without events the agent reads the ring less often.
pub(crate) fn settle() {
    std::thread::sleep(Duration::from_secs(7));
}

/// Waits until a load, started with `--hold`, has run the hook.
pub(crate) fn wait_for_stamp(hold: &Path) -> Result<()> {
    wait_for("the stamp", Duration::from_secs(10), || {
        Ok(hold.exists().then_some(()))
    })
}

/// A session without any work. It ends when it is dropped.
pub(crate) struct Idle {
    load: Option<Load>,
    hold: PathBuf,
}

impl Drop for Idle {
    fn drop(&mut self) {
        // The spawner ends when its file is gone. An error here would show in the measurement.
        let _ = fs::remove_file(&self.hold);
        if let Some(load) = self.load.take() {
            let _ = load.wait();
        }
    }
}

/// Returns the environment that sshd gives to a PAM session hook (OpenSSH with `UsePAM yes`).
pub(crate) fn pam_environment(
    certificate: &Certificate,
    user: &str,
) -> Result<[(&'static str, String); 6]> {
    let file = certificate
        .certificate
        .as_ref()
        .context("there is no certificate")?;
    let line = fs::read_to_string(file)?;
    let mut fields = line.split(' ');
    let (Some(kind), Some(blob)) = (fields.next(), fields.next()) else {
        bail!("`{}` is not a certificate", file.display());
    };
    Ok([
        ("PAM_TYPE", "open_session".to_owned()),
        ("PAM_SERVICE", "sshd".to_owned()),
        ("PAM_USER", user.to_owned()),
        ("PAM_RHOST", "127.0.0.1".to_owned()),
        ("SSH_CONNECTION", "127.0.0.1 40000 127.0.0.1 22".to_owned()),
        (
            "SSH_AUTH_INFO_0",
            format!("publickey {kind} {}", blob.trim()),
        ),
    ])
}

/// Repeats `done` until it returns a value.
pub(crate) fn wait_for<T>(
    what: &str,
    within: Duration,
    mut done: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begin = Instant::now();
    loop {
        if let Some(found) = done()? {
            return Ok(found);
        }
        ensure!(
            begin.elapsed() < within,
            "{what} did not happen within {} s",
            within.as_secs()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
