//! What the program inside the guest tells the one outside.

use serde::{Deserialize, Serialize};

use super::bpf_cost::BpfCost;
use super::process_cost::{Memory, ProcessCost};
use super::spawn::Outcome;

/// One watcher in a boot of its own. A nanosecond is an instruction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Watched {
    /// Rounds before the watcher ran, and with it.
    pub none: Vec<Outcome>,
    pub with: Vec<Outcome>,
    pub ready_ns: u64,
    /// Of the watcher's processes, over `cpu_load`.
    pub cost: ProcessCost,
    pub cpu_load: Outcome,
    pub agent: Option<AgentCost>,
}

/// What is asked of the agent alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentCost {
    /// Rounds outside of every session while the probe is attached.
    pub outside: Vec<Outcome>,
    pub idle_memory: Memory,
    pub loaded_memory: Memory,
    /// Over `bpf_load`.
    pub bpf: BpfCost,
    pub bpf_load: Outcome,
}
