//! Port forwarding: `-L`, `-R`, `-D`; and agent forwarding: `-A`.

mod serve;
mod socks;
mod spec;

pub(crate) use serve::Forwarding;
pub(crate) use spec::{Endpoint, Local, Proxy, Remote};

/// The requested forwardings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forwards {
    pub(crate) local: Vec<Local>,
    pub(crate) remote: Vec<Remote>,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) agent: bool,
}

impl Forwards {
    pub(crate) fn has_ports(&self) -> bool {
        !(self.local.is_empty() && self.remote.is_empty() && self.proxies.is_empty())
    }
}
