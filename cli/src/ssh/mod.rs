//! `vctl ssh`: from a name to a remote command that ran, with a record of it.
//!
//! In this order: [`destination`] is what was typed; [`target`] finds the host and [`way`] the ways to it; [`dial`] and [`hop`] connect,
//! [`host_key`] decides whom to believe and [`certificate`] gets us in; [`access`] writes it down
//! before anybody is let in; [`session`] and [`forward`] are what the connection is for. [`port`] is the way
//! for a client that logs in by itself.

mod destination;
mod target;
mod connect;
mod deadlines;
mod dial;
mod host_key;
mod known_hosts;
mod config_files;
mod revoked_keys;
mod hop;
mod tcp_transport;
mod handler;
mod access;
mod access_outbox;
mod session;
mod forward;
mod error;
mod run;
pub(crate) mod access_store;

pub(crate) use access::{AccessLog, End, Row};
pub(crate) use connect::{Issuer, Means, Plan, Target};
pub(crate) use destination::Destination;
pub(crate) use error::SshError;
pub(crate) use forward::{Endpoint, Forwards, Local, Proxy, Remote};
pub(crate) use host_key::{HostKeys, KnownHostsFiles};
pub(crate) use known_hosts::{KnownHosts, key_of_line};
pub(crate) use run::{Request, Use, run};
pub(crate) use session::{Input, Output, PtyWish, Signals};
pub(crate) use target::{Wanted, plan};
pub(crate) use tcp_transport::{Port, Stream, reach as reach_port};
