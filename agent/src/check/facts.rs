//! What this host looks like: thin reads under a given root.

use std::path::Path;

use crate::config::Config;

#[derive(Clone, Debug, Default)]
pub struct HostFacts {}

pub(super) fn collect(_root: &Path, _config: &Config) -> HostFacts {
    HostFacts::default()
}
