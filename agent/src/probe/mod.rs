//! (to come)

use crate::config::Config;

pub fn detach(_config: &Config) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
