//! One file for each promise of the project.

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
mod stream;
mod visible;
mod token;
mod operator;
mod ssh;
mod grants;
mod far;
mod at_once;
mod many;
mod catalogs;
mod stall;
mod reading;
mod picker;
mod mcp;
mod audit_verify;
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
    /// 50 users at once on one account: no event with the wrong serial
    Attribution,
    /// 1,600 exec/s inside a session: no loss, and the exact number of a forced loss
    Sustained,
    /// 1,600 exec/s outside of sessions: no records and no CPU
    Outside,
    /// An idle session: wake-ups, CPU, memory; and the start time of the agent
    Idle,
    /// Cost of recording, compared with no watcher, bpftrace and (with --auditd) auditd
    Cost,
    /// Time from an exec until its event would survive a power cut
    Durable,
    /// Number of events that the ring holds while the agent is stopped
    Capacity,
    /// kill -9 every five seconds under load
    Kill9,
    /// Response time of `vctl`
    Cli,
    /// Cost in instructions, in a guest that counts them
    Instructions,
    /// Rate from the spool to committed rows, compared with `\copy` and single INSERTs
    Ingest,
    /// Time to find one session among millions of events, and time to drop a day
    History,
    /// A thousand agents reconnect at once
    Agents,
    /// A thousand agents through JetStream, with a consumer and a server killed, compared with the direct way
    Stream,
    /// Time from an exec to its row, while a session is busy
    Visible,
    /// A token of ten seconds, renewed while the server stops and returns
    Token,
    /// `vctl ssh` compared with OpenSSH and an existing certificate
    Ssh,
    /// Time that command grants add to the host lookup of `vctl ssh`
    Grants,
    /// Commands far from the servers: delay lines of 50 and 150 ms, and round trips by server
    Far,
    /// 500 hosts through `vctl proxy`, 50 at a time
    Many,
    /// 10,000 commands of 50 users: database logins that they leave, and the size of Postgres' catalogs
    Catalogs,
    /// One forward that is not read: its effect on other forwards, and memory
    Stall,
    /// `vctl list`, `audit` and `session --list`, with their credentials
    Reading,
    /// The picker with 50,000 hosts
    Picker,
    /// `vctl mcp`: its first answer, and a warm `vctl_list`
    Mcp,
    /// `vctl audit verify` of an audit log of 2 GiB with 17,000 signatures: memory and rate
    AuditVerify,
    /// Postgres and the agent killed, connections cut, Vault sealed, while the agent ships events
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
            Self::Stream => stream::run(bench),
            Self::Visible => visible::run(bench),
            Self::Token => token::run(bench),
            Self::Ssh => ssh::run(bench),
            Self::Grants => grants::run(bench),
            Self::Far => far::run(bench),
            Self::Many => many::run(bench),
            Self::Catalogs => catalogs::run(bench),
            Self::Stall => stall::run(bench),
            Self::Reading => reading::run(bench),
            Self::Picker => picker::run(bench),
            Self::Mcp => mcp::run(bench),
            Self::AuditVerify => audit_verify::run(bench),
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
