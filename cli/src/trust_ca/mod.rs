//! `vctl trust-ca`: makes a host's sshd trust the SSH CA of Vault.
//!
//! One script does the work. [`script`] generates it; [`bootstrap`] runs it on a host through the operator's own ssh,
//! [`image`] on a root directory, [`cloud_init`] at the first boot. [`report`] parses its output.

pub(crate) mod bootstrap;
pub(crate) mod cloud_init;
pub(crate) mod image;
pub(crate) mod report;
pub(crate) mod script;
pub(crate) mod store;

pub(crate) use bootstrap::BootstrapTarget;
pub(crate) use report::{ScriptOutcome, ScriptReport};
pub(crate) use script::{Fingerprint, Mode, TrustSpec};
