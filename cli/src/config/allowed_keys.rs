//! The keys that a configuration file may set, by the trust in that file.

use vctl_common::config::{Origin, Refusal, Source};

/// Secrets, which no configuration file may contain.
pub(super) const ENVIRONMENT_ONLY: [&str; 2] = ["role_id", "secret_id"];

/// Keys that a directory's file may set before the user trusts it, each with the reason.
///
/// They choose how something is done. A key that is in no list is refused, and a test fails.
pub(super) const MAY: [(&str, &str); 4] = [
    (
        "ssh_direct_first",
        "each route to a host checks the same host key",
    ),
    ("ssh_keepalive", "ssh only gives up sooner or later"),
    ("sync_probe_timeout", "sync only takes longer, or gives up"),
    ("sync_probe_concurrency", "sync only takes longer"),
];

/// Keys that a directory's file may set only after the user trusts it, each with what it decides.
pub(super) const AFTER_TRUST: [(&str, &str); 41] = [
    ("vault_addr", SERVER),
    ("vault_namespace", SERVER),
    ("vault_ca_cert", CA),
    ("auth_method", IDENTITY),
    ("oidc_mount", IDENTITY),
    ("oidc_role", IDENTITY),
    // Another user may listen on that port, and would get the code from the browser.
    ("oidc_callback_port", IDENTITY),
    ("userpass_mount", IDENTITY),
    ("username", IDENTITY),
    ("approle_mount", IDENTITY),
    ("approle_self_role", IDENTITY),
    ("role_id_file", SECRETS),
    ("secret_id_file", SECRETS),
    ("sink_path", SECRETS),
    ("db_host", SERVER),
    ("db_port", SERVER),
    ("db_name", SERVER),
    ("db_server_name", CA),
    ("db_ca_cert", CA),
    ("db_role_ro", ROLE),
    ("db_role_rw", ROLE),
    ("db_role_identity", ROLE),
    ("db_role_audit_ro", ROLE),
    ("db_role_audit_write", ROLE),
    ("db_role_audit_ingest", ROLE),
    ("db_role_prune", ROLE),
    ("db_role_status", ROLE),
    ("db_role_session_end", ROLE),
    ("db_role_revoke", ROLE),
    ("db_role_migrate", ROLE),
    ("db_migration_owner", ROLE),
    ("database_mount", ROLE),
    ("db_login_keep", SECRETS),
    ("ssh_mount", CA),
    ("ca_role", CA),
    ("ssh_sign", "how long a certificate is valid"),
    // It may be `root`, or another user's account on the host.
    ("ssh_default_user", IDENTITY),
    // `vctl sync` and `vctl add` write it to the inventory of all users.
    ("dc_rules", "the data centres in the inventory"),
    ("kernel_retention_days", DELETED),
    ("session_retention_days", DELETED),
    ("access_retention_days", DELETED),
];
const SERVER: &str = "which server is trusted";
const CA: &str = "which CA is trusted";
const IDENTITY: &str = "which user you log in as";
const ROLE: &str = "which role is used";
const SECRETS: &str = "where secrets are";
const DELETED: &str = "which records are deleted";

/// Returns the reason why a file may not set a key.
pub(super) fn refuse(key: &str, at: &Source) -> Option<Refusal> {
    let Source::File { origin, .. } = at else {
        return None;
    };
    if ENVIRONMENT_ONLY.contains(&key) {
        let variable = key.to_ascii_uppercase();
        return Some(Refusal {
            why: format!(
                "is a secret, which no configuration file may contain: set `VCTL_{variable}`, or name a file with `{key}_file`"
            ),
            untrusted: false,
        });
    }
    let is_free = MAY.iter().any(|(name, _)| *name == key);
    if *origin != Origin::Directory || is_free {
        return None;
    }
    let decides = AFTER_TRUST.iter().find(|(name, _)| *name == key);
    let decides = decides.map_or("something unknown", |(_, decides)| decides);
    Some(Refusal {
        why: format!("decides {decides}, and this directory's file is not trusted"),
        untrusted: true,
    })
}
