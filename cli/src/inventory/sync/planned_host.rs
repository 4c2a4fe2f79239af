//! A host that `vctl sync` imports.

use std::net::IpAddr;

/// A host to import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedHost {
    pub(crate) name: String,
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    pub(crate) user: Option<String>,
    pub(crate) jump: Option<String>,
}
