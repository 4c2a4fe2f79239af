//! The SSH CA: hosts that trust it, certificates of hosts, and its replacement.

mod host_cert;
mod rotation;
pub(crate) mod trust_ca;
