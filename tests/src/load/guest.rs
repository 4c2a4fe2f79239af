//! Programs inside a guest: how they start the agent, and the results that they send to the program outside.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::bpf_cost::BpfCost;
use super::process_cost::{Memory, ProcessCost};
use super::spawn::Outcome;
use crate::lab::{PATIENCE, eventually};

/// Directory of the probe's pins.
pub const PINS: &str = "/sys/fs/bpf/vctl";

/// Certificates as sshd passes them to PAM. The agent does not judge them; sshd does.
const CERTIFICATES: &str =
    include_str!("../../../agent/src/session/testdata/auth_info/certificates.txt");

/// One watcher in a separate boot. A nanosecond is an instruction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Watched {
    /// Rounds without the watcher, and with it. Those of the agent alternate.
    pub none: Vec<Outcome>,
    pub with: Vec<Outcome>,
    pub ready_ns: u64,
    /// CPU time of the watcher's processes over `cpu_load`.
    pub cost: ProcessCost,
    pub cpu_load: Outcome,
    pub agent: Option<AgentCost>,
}

/// Values that only the agent has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentCost {
    /// Rounds outside of all sessions while the probe is attached.
    pub outside: Vec<Outcome>,
    pub idle_memory: Memory,
    pub loaded_memory: Memory,
    /// Cost over `bpf_load`.
    pub bpf: BpfCost,
    pub bpf_load: Outcome,
    /// Cost over `outside_bpf_load`, outside of all sessions.
    pub outside_bpf: BpfCost,
    pub outside_bpf_load: Outcome,
}

/// Starts the agent with its usual directories and waits until it reports that it is ready.
pub fn start_agent() -> Result<Child> {
    let socket = "/tmp/ready";
    let ready = UnixDatagram::bind(socket)?;
    ready.set_read_timeout(Some(Duration::from_mins(1)))?;
    let agent = Command::new("vctl-agent")
        .args(["collect", "--local", "--log-level", "warn"])
        .env("NOTIFY_SOCKET", socket)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .context("cannot run `vctl-agent`")?;
    let mut buffer = [0; 1024];
    loop {
        let length = ready.recv(&mut buffer).context("the agent is not ready")?;
        let said = buffer.get(..length).unwrap_or_default();
        if said
            .split(|&byte| byte == b'\n')
            .any(|line| line == b"READY=1")
        {
            // The next agent of this guest binds it again.
            std::fs::remove_file(socket)?;
            return Ok(agent);
        }
    }
}

/// Waits until the agent has loaded the probes for failed execs. It does so after its start, for many seconds in an
/// emulator, and does not answer a hook meanwhile.
pub fn await_failed_execs(pins: &Path) -> Result<()> {
    let is_pinned = |name: &str| pins.join(name).exists();
    let ready = eventually(PATIENCE, || {
        let are_exits = ["link___x64_sys_execve", "link___arm64_sys_execve"]
            .into_iter()
            .any(is_pinned);
        // A kernel without a 32-bit table has only the first of these.
        Ok(are_exits || is_pinned("prog_exec_failed") && is_pinned("prog_compat_failed"))
    })?;
    ensure!(ready, "the programs for failed execs are not loaded");
    Ok(())
}

/// Runs the hook as sshd does, and then the shell script of the login in this process's session.
pub fn log_in(serial: u64, script: &str) -> Result<()> {
    let hook = Command::new("vctl-agent")
        .arg("stamp")
        .env("PAM_TYPE", "open_session")
        .env("PAM_SERVICE", "sshd")
        .env("PAM_USER", "root")
        .env("PAM_RHOST", "127.0.0.1")
        .env("SSH_CONNECTION", "127.0.0.1 40000 127.0.0.1 22")
        .env("SSH_AUTH_INFO_0", auth_info(serial)?)
        .status();
    let status = hook.context("cannot run `vctl-agent`")?;
    ensure!(status.success(), "the hook ended with {status}");
    let status = Command::new("sh").args(["-c", script]).status()?;
    ensure!(status.success(), "the work ended with {status}");
    Ok(())
}

fn auth_info(serial: u64) -> Result<&'static str> {
    let (_, rest) = CERTIFICATES
        .split_once(&format!("\nserial {serial}\n"))
        .with_context(|| format!("no certificate has serial {serial}"))?;
    let line = rest.lines().find_map(|line| line.strip_prefix("info "));
    line.context("the certificate has no line `info`")
}
