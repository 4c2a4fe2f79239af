//! Connects the specs of the pool to a centre as `vctl` and `vctl-agent` do, with other limits.
#![allow(clippy::unwrap_used, reason = "a spec that cannot go on has failed")]

use std::future::Future;
use std::time::Duration;

use crate::centre::{Centre, DATABASE, DB_NAME};
use serde_json::json;
use vctl_common::centre::{DbRole, DbSettings, VaultSettings};
use vctl_common::pg::{PgError, Pool, PoolLimits};
use vctl_common::secret::Secret;
use vctl_common::tls::Trust;
use vctl_common::vault::{Auth, SecretIdSource, Vault};

/// Runs `work` on the same kind of runtime as `vctl`.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(work)
}

pub fn vault_settings(centre: &Centre) -> VaultSettings {
    let mut settings = VaultSettings::new(centre.bao.address());
    settings.trust = Trust::File(centre.pki.ca().to_owned());
    settings.timeout = Duration::from_secs(5);
    settings
}

pub fn db_settings(centre: &Centre) -> DbSettings {
    let mut settings = DbSettings::new("127.0.0.1");
    settings.port = centre.postgres.port;
    DATABASE.clone_into(&mut settings.name);
    settings.server_name = Some(DB_NAME.to_owned());
    settings.trust = Trust::File(centre.pki.ca().to_owned());
    settings.connect_timeout = Duration::from_secs(5);
    settings
}

pub fn as_root(centre: &Centre) -> Vault {
    let token = Secret::new(centre.bao.root_token().expose().to_owned());
    Vault::connect(&vault_settings(centre), Auth::Token(token)).unwrap()
}

pub fn pool(centre: &Centre, vault: &Vault) -> Pool {
    pool_of(centre, vault, DbRole::Ro).unwrap()
}

pub fn pool_of(centre: &Centre, vault: &Vault, role: DbRole) -> Result<Pool, PgError> {
    Pool::new(
        vault.clone(),
        &db_settings(centre),
        role,
        PoolLimits::default(),
    )
}

/// Creates a machine whose tokens and database logins live for seconds, and returns its login settings.
pub fn short_lived(centre: &Centre, name: &str, ttl_s: u64, max_ttl_s: u64) -> Auth {
    let ids = centre.machine_login(name, ttl_s, max_ttl_s).unwrap();
    let [role_id, secret_id] = ids.map(|id| Secret::new(id.expose().to_owned()));
    Auth::AppRole {
        mount: "approle".to_owned(),
        role_id,
        secret_id: SecretIdSource::Value(secret_id),
    }
}

/// Changes the lifetime of new logins of `vctl-ro`.
pub fn database_ttl(centre: &Centre, seconds: u64) {
    let admin = centre.bao.admin().unwrap();
    let mut role = admin.get("database/roles/vctl-ro").unwrap()["data"].take();
    role["default_ttl"] = json!(format!("{seconds}s"));
    role["max_ttl"] = json!(format!("{}s", 2 * seconds));
    admin.post("database/roles/vctl-ro", &role).unwrap();
}

/// Returns the current logins of `vctl-ro` in Postgres.
pub fn logins(centre: &Centre) -> Vec<String> {
    let sql = "select rolname from pg_roles where rolname like 'ro/%'";
    let names = centre.postgres.psql(DATABASE, sql).unwrap();
    names.lines().map(str::to_owned).collect()
}
