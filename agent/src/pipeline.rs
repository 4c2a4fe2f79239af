//! (to come)

use crate::config::Config;

pub fn collect(_config: Config) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
