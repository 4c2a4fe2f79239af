//! `vctl ssh`: connects to a host, runs a command there, and records the access.
//!
//! 1. [`destination`] parses the argument.
//! 2. [`target`] finds the host and its jump hosts: the [`route_plan`].
//! 3. [`gate`] checks the grants of the user. Meanwhile [`early_connection`] connects by the [`cached_plan`] and waits for
//!    the [`confirmation`].
//! 4. [`connect`] tries the routes through [`dial`] and [`hop`], with [`russh_settings`] and [`deadlines`].
//! 5. [`host_key`] verifies the host.
//! 6. [`signing`] requests the certificates; [`access`] writes the row of the access log before one is offered.
//! 7. [`first_channel`], [`session`] and [`forward`] use the connection.
//! 8. [`access_end`] completes the row.
//!
//! [`tcp_transport`] connects for a client that logs in by itself.

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
mod russh_settings;
mod deadlines;
mod dial;
mod host_key;
mod known_hosts;
mod host_key_files;
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
pub(crate) use gate::{complete, plan};
pub(crate) use host_key::{HostKeys, KnownHostsFiles, UnknownKeys};
pub(crate) use known_hosts::{KnownHosts, key_of_line};
pub(crate) use route_plan::{RoutePlan, Target};
pub(crate) use run::{ConnectionUse, SshRequest, ended_by_signal, run};
pub(crate) use session::{CaptureEnd, CommandState, Input, Output, OutputStream, PtyWish, Signals};
pub(crate) use signing::Signing;
pub(crate) use target::{HostSelector, LookedUpHost, look_up};
pub(crate) use tcp_transport::{SshPort, Stream, open_port};
pub(crate) use unended::Row;
