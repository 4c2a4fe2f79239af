//! Results that the program inside the guest sends to the program outside.

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
