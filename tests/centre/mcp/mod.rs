//! `vctl mcp`: tools for AI agents on a real sshd, OpenBao and Postgres.

mod exec;
mod idle;
mod protocol;
mod sdk;

use vctl_tests::centre::Host;

use crate::ssh::Operator;

pub(crate) use vctl_tests::mcp_client::Client;

/// Adds the shared host to the inventory, without its key in `known_hosts`.
fn host_of(operator: &Operator<'_>, name: &str, host: &Host) {
    operator.inventory(name, "127.0.0.1", host.port(), host.user());
}
