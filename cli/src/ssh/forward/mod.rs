//! Port forwarding: `-L`, `-R`, `-D`; and agent forwarding: `-A`.

mod serve;
mod socks;
mod spec;

pub(crate) use serve::Forwarding;
pub(crate) use spec::{Endpoint, LocalForward, RemoteForward, SocksForward};

/// The requested forwardings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forwards {
    pub(crate) local: Vec<LocalForward>,
    pub(crate) remote: Vec<RemoteForward>,
    pub(crate) proxies: Vec<SocksForward>,
    pub(crate) agent: bool,
}

impl Forwards {
    pub(crate) fn has_ports(&self) -> bool {
        !(self.local.is_empty() && self.remote.is_empty() && self.proxies.is_empty())
    }
}
