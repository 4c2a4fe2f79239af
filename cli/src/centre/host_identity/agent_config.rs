//! The agent.yaml of a host, with the addresses of the centre from this configuration.

use std::path::Path;

use vctl_common::host::HostName;

use crate::config::Config;

/// Files on the host with the CA certificates of Vault and Postgres.
const VAULT_CA: &str = "/etc/vctl/vault-ca.pem";
const DB_CA: &str = "/etc/vctl/db-ca.pem";

/// Returns the file for a host: the required keys, and those whose value is not the agent's default.
pub(crate) fn text(host: &HostName, config: &Config) -> String {
    let agents = [
        ("host", Some(host.to_string()), ""),
        ("vault_addr", Some(config.vault_addr.clone()), ""),
        ("vault_namespace", config.vault_namespace.clone(), ""),
        (
            "vault_ca_cert",
            named(config.vault_ca_cert.as_deref(), VAULT_CA),
            "",
        ),
        (
            "approle_mount",
            Some(config.approle_mount.clone()),
            "approle",
        ),
        (
            "database_mount",
            Some(config.database_mount.clone()),
            "database",
        ),
        ("db_host", Some(config.db_host.clone()), ""),
        ("db_port", Some(config.db_port.to_string()), "5432"),
        ("db_name", Some(config.db_name.clone()), "vctl"),
        ("db_server_name", config.db_server_name.clone(), ""),
        ("db_ca_cert", named(config.db_ca_cert.as_deref(), DB_CA), ""),
    ];
    let set = agents.into_iter().filter_map(|(key, value, default)| {
        let value = value.filter(|value| value != default)?;
        Some(format!("{key}: {}\n", quoted(&value)))
    });
    set.collect()
}

/// Returns the keys that name a CA file, with the path on this machine and the path on the host.
pub(crate) fn authorities(config: &Config) -> Vec<(&'static str, &Path, &'static str)> {
    let files = [
        ("vault_ca_cert", config.vault_ca_cert.as_deref(), VAULT_CA),
        ("db_ca_cert", config.db_ca_cert.as_deref(), DB_CA),
    ];
    let files = files.into_iter();
    files
        .filter_map(|(key, here, there)| Some((key, here?, there)))
        .collect()
}

fn named(here: Option<&Path>, there: &str) -> Option<String> {
    here.map(|_| there.to_owned())
}

/// Quotes a value that YAML would otherwise read as another type, such as one with a colon.
fn quoted(value: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/".contains(&b);
    let is_number = value.bytes().all(|b| b.is_ascii_digit());
    if is_number
        || value.bytes().all(is_plain)
            && value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
    {
        value.to_owned()
    } else {
        serde_json::Value::from(value).to_string()
    }
}
