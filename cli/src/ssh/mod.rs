//! `vctl ssh`: connects to a host, runs a command there, and records the access.
//!
//! In this order: [`destination`] parses the argument; [`target`] finds the host and its jump hosts ([`route_plan`]);
//! [`gate`] checks the grants of the user; [`early_connection`] meanwhile connects by the [`cached_plan`], which waits for the
//! [`confirmation`]; [`connect`] tries the routes; [`dial`] and [`hop`] connect; [`host_key`] verifies the host; [`signing`] requests the certificates; [`access`] writes the access-log row before
//! a certificate is offered; [`session`] and [`forward`] use the connection. [`tcp_transport`] connects for a client
//! that logs in by itself.

mod destination;
mod target;
mod gate;
mod route_plan;
mod confirmation;
mod cached_plan;
mod early_connection;
mod connect;
mod connect_context;
mod first_channel;
mod client_config;
mod deadlines;
mod dial;
mod host_key;
mod known_hosts;
mod config_files;
mod revoked_keys;
mod hop;
mod tcp_transport;
mod handler;
mod signing;
mod unended;
mod access;
mod access_end;
mod access_description;
mod access_outbox;
mod access_replay;
mod session;
mod forward;
mod error;
mod run;
mod exec;
pub(crate) mod access_store;

pub(crate) use access::AccessLog;
pub(crate) use access_end::End;
pub(crate) use confirmation::Confirmation;
pub(crate) use connect_context::{ConnectContext, Issuer};
pub(crate) use destination::Destination;
pub(crate) use error::SshError;
pub(crate) use exec::{Executed, Places, exec};
pub(crate) use first_channel::FirstChannel;
pub(crate) use forward::{Endpoint, Forwards, LocalForward, RemoteForward, SocksForward};
pub(crate) use gate::{choose_roles, plan};
pub(crate) use host_key::{HostKeys, KnownHostsFiles, UnknownKeys};
pub(crate) use known_hosts::{KnownHosts, key_of_line};
pub(crate) use route_plan::{RoutePlan, Target};
pub(crate) use run::{ConnectionUse, SshRequest, ended_by_signal, run};
pub(crate) use session::{CaptureEnd, CommandState, Input, Output, OutputStream, PtyWish, Signals};
pub(crate) use signing::Signing;
pub(crate) use target::{HostSelector, LookedUpHost, look_up};
pub(crate) use tcp_transport::{SshPort, Stream, open_port};
pub(crate) use unended::Row;
