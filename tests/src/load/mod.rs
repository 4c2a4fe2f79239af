//! Load with facts that do not come from the agent: a spawner that writes its own ledger, a very cheap child, and
//! the counters of the kernel.

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
