//! Where what is recorded is shipped to, and as whom.

use std::path::PathBuf;

use vctl_common::centre::Settings;
use vctl_common::host::{HostName, InvalidHostName};

use crate::config::{CentreError, Config};

/// Where the centre is, and who this host is there.
#[derive(Clone, Debug)]
pub struct Destination {
    pub settings: Settings,
    /// As the inventory has it.
    pub host: HostName,
    pub approle_mount: String,
    pub role_id_file: PathBuf,
    pub secret_id_file: PathBuf,
}

/// There is no way to the centre.
#[derive(Debug, thiserror::Error)]
pub enum NoDestination {
    #[error("there is nowhere to ship to: {} not set", .0.join(" and "))]
    NotSet(Vec<&'static str>),
    #[error(transparent)]
    Settings(#[from] CentreError),
    #[error("this host cannot have the name it would ship under (key `host`)")]
    Host(#[from] InvalidHostName),
}

impl NoDestination {
    pub fn hint(&self) -> String {
        match self {
            Self::NotSet(_) => "set them in /etc/vctl/agent.yaml, or keep everything on this host \
                                with `collect --local`"
                .to_owned(),
            Self::Settings(error) => error.hint(),
            Self::Host(_) => "set `host` to the name it has in the inventory".to_owned(),
        }
    }
}

impl Destination {
    /// Returns the way from this host to the centre that is configured.
    ///
    /// # Errors
    /// A key without which there is none is not set; the host's name cannot be in an inventory.
    pub fn of(config: &Config) -> Result<Self, NoDestination> {
        let centre = &config.centre;
        let keys = [
            ("`vault_addr`", centre.vault_addr.is_none()),
            ("`db_host`", centre.db_host.is_none()),
        ];
        let missing: Vec<_> = keys.into_iter().filter(|(_, missing)| *missing).collect();
        if !missing.is_empty() {
            let keys = missing.into_iter().map(|(key, _)| key).collect();
            return Err(NoDestination::NotSet(keys));
        }
        let host: HostName = config.host.parse()?;
        let mut settings = centre.settings()?;
        settings.db.application_name = format!("vctl-agent {host}");
        Ok(Self {
            settings,
            host,
            approle_mount: centre.approle_mount.clone(),
            role_id_file: centre.role_id_file.clone(),
            secret_id_file: centre.secret_id_file.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_to_ship_is_named() {
        let mut config = Config {
            host: "web-1".to_owned(),
            ..Config::default()
        };
        let text = |config: &Config| Destination::of(config).unwrap_err().to_string();
        assert_eq!(
            text(&config),
            "there is nowhere to ship to: `vault_addr` and `db_host` not set"
        );
        config.centre.vault_addr = Some("https://vault.example.org:8200".to_owned());
        assert_eq!(
            text(&config),
            "there is nowhere to ship to: `db_host` not set"
        );
        config.centre.db_host = Some("db.example.org".to_owned());
        assert_eq!(Destination::of(&config).unwrap().host.as_str(), "web-1");
        "Web 1".clone_into(&mut config.host);
        assert!(Destination::of(&config).is_err());
    }
}
