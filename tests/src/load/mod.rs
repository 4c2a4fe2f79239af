//! Load whose truth does not come from what is measured: a spawner that writes its own ledger, a
//! child that costs next to nothing, and the counters of the kernel read from outside the agent.

pub mod child;
pub mod pace;
pub mod ledger;
pub mod spawn;
pub mod compare;
pub mod stats;
pub mod process_cost;
pub mod bpf_cost;
pub mod peer;
pub mod guest;
