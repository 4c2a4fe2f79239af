//! The table of all settings.

use vctl_common::config::{Key, Raw, Span, Table, optional, optional_path, secret, text};
use vctl_common::key;

use super::value::{
    address, concurrency, days, days_of_events, hidden, host, lasting, mount, name, port,
    some_path, some_word, word,
};
use super::{Config, Method, allowed_keys, rules};

pub(super) static TABLE: Table<Config> = Table {
    keys: KEYS,
    env: names_in_the_environment,
    has_flag: |key| FLAGS.contains(&key),
    refuse: allowed_keys::refuse,
};

/// Keys that have a command line option. The others are rarely changed for a single run.
pub(super) const FLAGS: [&str; 7] = [
    "vault_addr",
    "vault_namespace",
    "vault_ca_cert",
    "db_host",
    "db_port",
    "db_name",
    "db_ca_cert",
];

fn names_in_the_environment(key: &str) -> Vec<String> {
    let own = match key {
        "db_server_name" => "VCTL_DB_SERVERNAME".to_owned(),
        "sink_path" => "VCTL_SINK".to_owned(),
        key => format!("VCTL_{}", key.to_ascii_uppercase()),
    };
    match key {
        // Vault's own variable, only for the address.
        "vault_addr" => vec![own, "VAULT_ADDR".to_owned()],
        _ => vec![own],
    }
}

pub(super) fn defaults() -> Config {
    let text = String::new;
    // Placeholders: the table sets the defaults.
    TABLE.defaults(Config {
        vault_addr: text(),
        vault_namespace: None,
        vault_ca_cert: None,
        auth_method: Method::Oidc,
        oidc_mount: text(),
        oidc_role: text(),
        oidc_callback_port: 0,
        userpass_mount: text(),
        username: None,
        approle_mount: text(),
        approle_self_role: text(),
        role_id: None,
        secret_id: None,
        role_id_file: None,
        secret_id_file: None,
        sink_path: None,
        db_host: text(),
        db_port: 0,
        db_name: text(),
        db_server_name: None,
        db_ca_cert: None,
        db_role_ro: text(),
        db_role_rw: text(),
        db_role_identity: text(),
        db_role_audit_ro: text(),
        db_role_audit_write: text(),
        db_role_audit_ingest: text(),
        db_role_prune: text(),
        db_role_status: text(),
        db_role_session_end: text(),
        db_role_revoke: text(),
        db_role_migrate: text(),
        db_migration_owner: text(),
        database_mount: text(),
        db_login_keep: Span::default(),
        ssh_mount: text(),
        ca_role: text(),
        ssh_sign: Span::default(),
        ssh_direct_first: false,
        ssh_keepalive: Span::default(),
        ssh_default_user: text(),
        sync_probe_timeout: Span::default(),
        sync_probe_concurrency: 0,
        dc_rules: Vec::new(),
        kernel_retention_days: 0,
        session_retention_days: 0,
        access_retention_days: 0,
    })
}

/// All keys, in the order of `vctl config` and of the documentation.
static KEYS: &[Key<Config>] = &[
    key! { vault_addr: "`https://host:port`" = "https://vault.sre.local", address, text,
    "The Vault or OpenBao server. Plain `http` is for loopback only." },
    key! { vault_namespace: "text" = "", some_word, optional,
    "Vault's namespace. Default: none." },
    key! { vault_ca_cert: "absolute path" = "", some_path, optional_path,
    "PEM file with the only CAs to trust for Vault. Default: the CA that was compiled into this \
      vctl, if any, and the CAs of the system." },
    key! { auth_method: "`oidc`, `approle`, `userpass` or `token`" = "oidc", Raw::one, text,
    "Login method of `vctl login`: single sign-on in a browser, an AppRole, username and password, \
      or an existing token." },
    key! { oidc_mount: "mount" = "oidc", mount, text,
    "Mount of Vault's OIDC method." },
    key! { oidc_role: "name" = "vctl", name, text,
    "Role of the OIDC method." },
    key! { oidc_callback_port: "port" = "8250", port, text,
    "Port on loopback for the redirect of the browser. The role and the provider must allow \
      `http://localhost:PORT/oidc/callback`." },
    key! { userpass_mount: "mount" = "userpass", mount, text,
    "Mount of Vault's userpass method." },
    key! { username: "text" = "", some_word, optional,
    "Username for `userpass`. Default: your user name on this machine (`USER`)." },
    key! { approle_mount: "mount" = "approle", mount, text,
    "Mount of Vault's AppRole method." },
    key! { approle_self_role: "name" = "vctl-user", name, text,
    "AppRole whose role id and secret id `vctl login --register` stores." },
    key! { role_id: "secret" = "", hidden, secret,
    "Role id for the login by AppRole. From the environment only." },
    key! { secret_id: "secret" = "", hidden, secret,
    "Secret id for the login by AppRole, or its wrapping token. From the environment only." },
    key! { role_id_file: "absolute path" = "", some_path, optional_path,
    "File with the role id. Default: `role-id` in the state directory, which `vctl login \
      --register` writes." },
    key! { secret_id_file: "absolute path" = "", some_path, optional_path,
    "File with the secret id, or its wrapping token. Default: `secret-id` in the \
      state directory." },
    key! { sink_path: "absolute path" = "", some_path, optional_path,
    "File to which `vctl agent` writes a valid token. Default: `token-sink` in the state directory." },
    key! { db_host: "host name or address" = "vctl-postgres.sre.local", host, text,
    "Host of the central Postgres." },
    key! { db_port: "port" = "5432", port, text,
    "Port of the central Postgres." },
    key! { db_name: "text" = "vctl", word, text,
    "Database of the central Postgres." },
    key! { db_server_name: "host name" = "", some_word, optional,
    "Name in the certificate of Postgres, if you connect through a tunnel. Default: `db_host`." },
    key! { db_ca_cert: "absolute path" = "", some_path, optional_path,
    "PEM file with the only CAs to trust for Postgres. Default: the CA that was compiled into this \
      vctl, if any, and the CAs of the system." },
    key! { db_role_ro: "name" = "vctl-ro", name, text,
    "Role of Vault's database engine that reads the inventory." },
    key! { db_role_rw: "name" = "vctl-rw", name, text,
    "Role of Vault's database engine that changes the inventory." },
    key! { db_role_identity: "name" = "vctl-identity", name, text,
    "Role of Vault's database engine that records logins to Vault." },
    key! { db_role_audit_ro: "name" = "vctl-audit-ro", name, text,
    "Role of Vault's database engine that reads accesses, sessions and events." },
    key! { db_role_audit_write: "name" = "vctl-audit-writer", name, text,
    "Role of Vault's database engine that writes your own accesses." },
    key! { db_role_audit_ingest: "name" = "vctl-audit-ingest", name, text,
    "Prefix of the database roles with which hosts ship events; `-` and the name of the host's AppRole follow." },
    key! { db_role_prune: "name" = "vctl-pruner", name, text,
    "Role of Vault's database engine that deletes old records." },
    key! { db_role_status: "name" = "vctl-status", name, text,
    "Prefix of the database roles with which hosts report their status; `-` and the name of the host's \
      AppRole follow." },
    key! { db_role_session_end: "name" = "vctl-session-end", name, text,
    "Role of Vault's database engine that requests the end of live sessions." },
    key! { db_role_revoke: "name" = "vctl-revoke", name, text,
    "Role of Vault's database engine that records revocations, and ends the sessions of a user." },
    key! { db_role_migrate: "name" = "vctl-migrator", name, text,
    "Role of Vault's database engine that changes the schema." },
    key! { db_migration_owner: "name" = "vctl_owner", name, text,
    "Postgres role that owns the schema; `vctl migrate` switches to it." },
    key! { database_mount: "mount" = "database", mount, text,
    "Mount of Vault's database engine." },
    key! { db_login_keep: "time, `0s` to disable" = "30m", Raw::one, text,
    "How long commands share one database login, in `~/.vctl`; at most half of the login's lease. Below one \
      minute, each command creates its own login and revokes it." },
    key! { ssh_mount: "mount" = "ssh", mount, text,
    "Mount of Vault's SSH engine." },
    key! { ca_role: "name" = "sre-core", name, text,
    "Role of the SSH engine for hosts that have no other role in the inventory." },
    key! { ssh_sign: "time" = "30m", lasting, text,
    "Requested validity of a certificate. A certificate within a scope has the lifetime of its role." },
    key! { ssh_direct_first: "`true` or `false`" = "true", Raw::boolean, text,
    "Whether to try a direct connection before the jump host." },
    key! { ssh_keepalive: "time" = "15s", lasting, text,
    "Time without data from an SSH server after which vctl sends a keepalive. After three keepalives without \
      an answer, the connection ends." },
    key! { ssh_default_user: "name" = "ubuntu", name, text,
    "User to log in as on hosts that have no user in the inventory." },
    key! { sync_probe_timeout: "time" = "3s", lasting, text,
    "Maximum wait of `vctl sync` for the SSH port of a host." },
    key! { sync_probe_concurrency: "number, 1 to 128" = "32", concurrency, text,
    "Number of hosts that `vctl sync` tests at the same time." },
    key! { dc_rules: "list of `{name: TEXT, prefixes: [TEXT, ..]}`"
    = "[{name: incheon, prefixes: [\"10.40.0.\", \"192.168.10.\"]}, {name: seoul-onprem, prefixes: [\"192.168.201.\", \"192.168.190.\", \"192.168.110.\"]}]",
    rules::read, |rules: &Vec<_>| rules::show(rules),
    "Data centre of an address: the first rule with a prefix of the address, else `unknown`. In the \
      environment, YAML in one line." },
    key! { kernel_retention_days: "days, at least 1" = "14", days_of_events, text,
    "Retention period of events, for `vctl prune` and the warnings of `vctl retention`." },
    key! { session_retention_days: "days, 0 for ever" = "365", days, text,
    "Retention period of sessions, after their end." },
    key! { access_retention_days: "days, 0 for ever" = "1095", days, text,
    "Retention period of accesses." },
];
