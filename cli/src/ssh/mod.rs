//! `vctl ssh`: from a name to a remote command that ran, with a record of it.
//!
//! In this order: [`target`] finds the host and [`way`] the ways to it; [`dial`] and [`hop`] connect,
//! [`host_key`] decides whom to believe and [`certificate`] gets us in; [`access`] writes it down
//! before anybody is let in; [`session`] and [`forward`] are what the connection is for.

mod target;
mod way;
mod deadlines;
mod dial;
mod host_key;
mod known_hosts;
mod certificate;
mod hop;
mod handler;
mod access;
mod spool;
mod session;
mod forward;
mod error;
mod run;

pub(crate) use certificate::{Credential, Extensions, Wish};
pub(crate) use forward::{Endpoint, Forwards, Local, Proxy, Remote};
pub(crate) use run::{Request, Use, run};
pub(crate) use session::PtyWish;
pub(crate) use target::{Wanted, plan};
pub(crate) use way::{Plan, Target};
