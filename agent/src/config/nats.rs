//! Settings of the way to the central store, and of NATS.

use std::path::PathBuf;
use std::str::FromStr;

use vctl_common::config::Raw;
use vctl_common::tls::Trust;
use vctl_common::value_names;

use super::Config;
use super::centre::CentreError;
use crate::nats::Nats;

/// Keys of the way to the central store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatsConfig {
    pub ship: Ship,
    pub nats_url: Vec<String>,
    pub nats_key_file: PathBuf,
    pub nats_ca_cert: Option<PathBuf>,
}

/// The program that writes to Postgres.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ship {
    /// The agent itself.
    #[default]
    Postgres,
    /// `vctl-agent ingest`, which reads what the agent publishes.
    JetStream,
}

value_names!(Ship { "postgres" => Postgres, "jetstream" => JetStream });

impl Config {
    /// Returns the settings of NATS; `name` is shown in the server's list of connections.
    ///
    /// # Errors
    /// `nats_url` is not set.
    pub fn nats(&self, name: &str) -> Result<Nats, CentreError> {
        if self.nats.nats_url.is_empty() {
            return Err(CentreError::NotSet(vec!["`nats_url`"]));
        }
        Ok(Nats {
            servers: self.nats.nats_url.clone(),
            key_file: self.nats.nats_key_file.clone(),
            trust: Trust::of_file(self.nats.nats_ca_cert.clone()),
            name: name.to_owned(),
        })
    }
}

/// Takes `tls://host:port`.
fn server(text: &str) -> Result<String, String> {
    let wrong = || {
        format!(
            "`{}` is not an address such as `tls://nats.example.net:4222`",
            text.escape_debug()
        )
    };
    let rest = text.strip_prefix("tls://").ok_or_else(wrong)?;
    let address = async_nats::ServerAddr::from_str(text).map_err(|_| wrong())?;
    if rest.contains(['@', '/', '?', '#']) || address.host().is_empty() {
        return Err(wrong());
    }
    Ok(text.to_owned())
}

/// Reads `nats_url`.
pub(super) fn servers(raw: &Raw) -> Result<Vec<String>, String> {
    let servers = raw.list()?;
    servers.iter().map(|text| server(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_nats_has_tls() {
        for text in [
            "tls://nats.example.net:4222",
            "tls://127.0.0.1:14222",
            "tls://nats",
        ] {
            server(text).unwrap();
        }
        for text in [
            "nats://x:4222",
            "x:4222",
            "",
            "tls://",
            "tls://a@b",
            "tls://a/b",
            "ws://x",
        ] {
            assert!(server(text).is_err(), "{text}");
        }
    }
}
