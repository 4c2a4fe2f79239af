//! Programs inside a guest: how they start the agent, and the results that they send to the program outside.

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::bpf_cost::BpfCost;
use super::process_cost::{Memory, ProcessCost};
use super::spawn::Outcome;

/// One watcher in a separate boot. A nanosecond is an instruction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Watched {
    /// Rounds before the start of the watcher, and with it.
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
            return Ok(agent);
        }
    }
}
