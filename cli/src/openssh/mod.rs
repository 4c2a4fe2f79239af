//! `ssh`, scp and git through vctl, with a key that exists only in memory.
//!
//! `ssh` runs `vctl proxy`, which relays its bytes ([`proxy`]) and is its agent ([`agent`]): this one process holds the
//! key, the certificate and the access-log row. The connection and the agent request are matched by the signature of the
//! host's key over this key exchange: the proxy reads it from the relayed bytes ([`key_exchange`]), and `ssh` sends it
//! to its agent ([`message`]). The agent socket in the configuration of `ssh` ([`agent_mux`]) holds no key: it forwards
//! each request to the proxy that has seen the same signature ([`socket_dir`]).
//!
//! [`ssh_config_lines`] and [`include`] configure `ssh` for this, and [`known_hosts_command`] gives it the host keys.

mod socket_dir;
mod key_exchange;
mod message;
mod disconnect;
mod fd_pass;
mod agent;
mod agent_mux;
mod proxy;
mod quote;
mod ssh_config_lines;
mod include;
mod known_hosts_command;
pub(crate) mod without_include;

pub(crate) use agent_mux::{Ending, run as run_agent_mux};
pub(crate) use disconnect::SshProgress;
pub(crate) use fd_pass::{hand_over, is_wanted as passes_descriptor};
pub(crate) use include::Include;
pub(crate) use known_hosts_command::{
    KnownHostsQuery, is_certificate, name, write as write_known_hosts,
};
pub(crate) use proxy::{ProxyRequest, run as run_proxy};
pub(crate) use socket_dir::SocketDir;
pub(crate) use ssh_config_lines::{Paths, is_about, program, render};
