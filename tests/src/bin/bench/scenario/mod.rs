//! One file per promise.

mod attribution;
mod logins;
mod sustained;
mod outside;
mod durable;
mod idle;
mod cost;
mod syscall;
mod capacity;
mod kill9;
mod cli;
mod instructions;
mod ingest;
mod history;
mod agents;
mod visible;
mod token;
mod ssh;
mod stall;
mod reading;
mod picker;
mod ingest_faults;
mod soak;

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;

use super::report::Findings;
use super::rig::Bench;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// 1,000 logins over sshd: sessions, serials, and how long the stamp takes
    Logins,
    /// 50 people at once on one account: no event with the wrong serial
    Attribution,
    /// 1,600 exec/s inside a session: nothing lost, and a forced loss told to the event
    Sustained,
    /// 1,600 exec/s outside of sessions: no records and no CPU
    Outside,
    /// An idle session: wake-ups, CPU, memory; and how fast the agent starts
    Idle,
    /// What being recorded costs, beside nothing, bpftrace and (with --auditd) auditd
    Cost,
    /// From an exec until it would survive a power cut
    Durable,
    /// How many events the ring holds while the agent is stopped
    Capacity,
    /// kill -9 every five seconds under load
    Kill9,
    /// How fast `vctl` answers
    Cli,
    /// The cost in instructions, in a guest that counts them
    Instructions,
    /// From the spool to committed rows, beside `\copy` and single INSERTs
    Ingest,
    /// How fast one session is found among millions of events, and a day of them dropped
    History,
    /// A thousand agents come back at once
    Agents,
    /// From an exec to its row, while a session is busy
    Visible,
    /// A token of ten seconds, kept alive while the server comes and goes
    Token,
    /// `vctl ssh` beside OpenSSH with a certificate that is ready
    Ssh,
    /// One forward that is not read, what it costs the others, and memory
    Stall,
    /// `vctl list`, `audit` and `session --list`, credential and all
    Reading,
    /// The picker before 50,000 hosts
    Picker,
    /// Postgres and the agent killed, connections cut, Vault sealed, while events are shipped
    IngestFaults,
    /// Memory over an hour of load
    Soak,
}

impl Scenario {
    pub(crate) fn all_but_soak() -> Vec<Self> {
        let all = Self::value_variants().iter().copied();
        all.filter(|scenario| *scenario != Self::Soak).collect()
    }

    pub(crate) fn run(self, bench: &Bench) -> Result<Findings> {
        match self {
            Self::Logins => logins::run(bench),
            Self::Attribution => attribution::run(bench),
            Self::Sustained => sustained::run(bench),
            Self::Outside => outside::run(bench),
            Self::Idle => idle::run(bench),
            Self::Cost => cost::run(bench),
            Self::Durable => durable::run(bench),
            Self::Capacity => capacity::run(bench),
            Self::Kill9 => kill9::run(bench),
            Self::Cli => cli::run(bench),
            Self::Instructions => instructions::run(bench),
            Self::Ingest => ingest::run(bench),
            Self::History => history::run(bench),
            Self::Agents => agents::run(bench),
            Self::Visible => visible::run(bench),
            Self::Token => token::run(bench),
            Self::Ssh => ssh::run(bench),
            Self::Stall => stall::run(bench),
            Self::Reading => reading::run(bench),
            Self::Picker => picker::run(bench),
            Self::IngestFaults => ingest_faults::run(bench),
            Self::Soak => soak::run(bench),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}
