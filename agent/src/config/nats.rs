//! Settings of the way to the central store, and of NATS.

use std::path::PathBuf;
use std::str::FromStr;

use vctl_common::config::{Key, list, put, text, text_or_none};
use vctl_common::tls::Trust;
use vctl_common::value_names;

use super::Config;
use super::centre::CentreError;
use crate::nats::Nats;

/// Keys of the way to the central store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatsConfig {
    pub ship: Ship,
    pub url: Vec<String>,
    pub key_file: PathBuf,
    pub ca_cert: Option<PathBuf>,
}

/// Who writes to Postgres.
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
        if self.nats.url.is_empty() {
            return Err(CentreError::NotSet(vec!["`nats_url`"]));
        }
        Ok(Nats {
            servers: self.nats.url.clone(),
            key_file: self.nats.key_file.clone(),
            trust: Trust::of_file(self.nats.ca_cert.clone()),
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

pub(super) const SHIP: Key<Config> = Key {
    name: "ship",
    kind: "`postgres` or `jetstream`",
    default: "postgres",
    doc: "Way to the central store. With `jetstream` the agent publishes its records to NATS, holds no connection to \
          Postgres, and `vctl session end` does not reach this host; `vctl-agent ingest` stores the records. With \
          `postgres` the agent stores them itself.",
    switch: false,
    set: |config, raw| put(&mut config.nats.ship, raw.one()),
    get: |config| text(&config.nats.ship),
};

pub(super) const NATS_URL: Key<Config> = Key {
    name: "nats_url",
    kind: "list of `tls://host:port`",
    default: "",
    doc: "Address of the NATS server, or the addresses of a cluster. `ship: jetstream` and `ingest` need it.",
    switch: false,
    set: |config, raw| {
        let servers: Vec<String> = raw.list()?;
        let servers = servers
            .iter()
            .map(|text| server(text))
            .collect::<Result<_, _>>()?;
        config.nats.url = servers;
        Ok(())
    },
    get: |config| list(&config.nats.url),
};

pub(super) const NATS_KEY_FILE: Key<Config> = Key {
    name: "nats_key_file",
    kind: "absolute path",
    default: "/etc/vctl/nats.key",
    doc: "File with the nkey seed of this machine, from `vctl-agent nats-key`, or a credentials file of `nsc`.",
    switch: false,
    set: |config, raw| put(&mut config.nats.key_file, raw.absolute_path()),
    get: |config| text(&config.nats.key_file.display()),
};

pub(super) const NATS_CA_CERT: Key<Config> = Key {
    name: "nats_ca_cert",
    kind: "absolute path",
    default: "",
    doc: "PEM file with the only CAs to trust for NATS. Default: the CA that this agent was built with, if any, and \
          those of the system.",
    switch: false,
    set: |config, raw| put(&mut config.nats.ca_cert, raw.absolute_path().map(Some)),
    get: |config| text_or_none(config.nats.ca_cert.as_ref().map(|path| path.display())),
};

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
