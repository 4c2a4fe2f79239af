//! OpenSSH and what is built on it, with a key that exists only in memory.
//!
//! `ssh` runs `vctl proxy`, which carries its bytes ([`proxy`]) and is its agent ([`agent`]): the one
//! process that holds the key, the certificate and the row of the access log. What ties the two ends
//! together is the signature of the host's key over this one key exchange: the proxy sees it pass
//! ([`key_exchange`]), and `ssh` shows it to its agent ([`message`]). The agent socket that `ssh` is told of
//! ([`switchboard`]) holds nothing and knows nobody: it connects whoever shows a signature with the proxy
//! that has seen it ([`meeting_place`]).
//!
//! [`config`] and [`include`] have `ssh` do all that, and [`known_hosts`] tells it whom to believe.

mod socket_dir;
mod key_exchange;
mod message;
mod disconnect;
mod fd_pass;
mod agent;
mod agent_mux;
mod proxy;
mod quote;
mod config;
mod include;
mod known_hosts;
pub(crate) mod without_include;

pub(crate) use agent_mux::{Ending, run as run_switchboard};
pub(crate) use config::{Paths, is_about, render};
pub(crate) use disconnect::Told;
pub(crate) use fd_pass::{hand_over, is_wanted as passes_descriptor};
pub(crate) use include::Include;
pub(crate) use known_hosts::{Occasion, name, write as write_known_hosts};
pub(crate) use proxy::{Request, run as run_proxy};
pub(crate) use socket_dir::MeetingPlace;
