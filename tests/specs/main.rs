//! The promises of vctl on a real host: one file for each promise.
#![allow(clippy::unwrap_used, reason = "a spec that cannot go on has failed")]
mod lab;
mod login;
mod phase;
mod attribution;
mod exec;
mod exit;
mod fork_chain;
mod compat_exec;
mod stamp;
mod late;
mod second_stamp;
mod sshd_in_session;
mod restart;
mod metrics;
mod local_log;
mod modes;
mod setup;
mod probe_btf;
mod pid_namespace;
mod pins;
mod socket;
mod full;
mod flood;
mod hostile;
mod redaction;
mod release;
