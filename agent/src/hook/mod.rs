//! `vctl-agent stamp`, the PAM session hook: asks the collector for a stamp, and leaves a file without one.

mod client;
mod stamp;
mod syslog;

pub use stamp::run;
