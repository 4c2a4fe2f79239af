//! Checks the centre in the way `collect` and `node` use it. Nothing is consumed: a wrapped secret
//! id stays wrapped, and the token is revoked.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::runtime;
use tokio::time::timeout;
use vctl_common::causes::WithCauses;
use vctl_common::centre::DbRole;
use vctl_common::pg::{Pool, PoolLimits};
use vctl_common::secret::Secret;
use vctl_common::time::wall_now;
use vctl_common::vault::secret_id::{is_wrapped, read};
use vctl_common::vault::{Auth, SecretIdSource, Vault, health};

use super::facts::{Asked, CentreFact, CentreFacts};
use crate::centre::{Centre, enrolment};
use crate::config::{CentreError, Config};

/// The file that vctl-enroll.service applies and then removes.
const ENROLMENT: &str = "/etc/vctl/enroll.json";
/// Exists while vctl-enroll.path is enabled.
const ENABLED: &str = "/etc/systemd/system/paths.target.wants/vctl-enroll.path";
/// Time limit for each of the two servers.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects to Vault and Postgres, if the configuration names them.
pub(super) fn look(config: &Config) -> CentreFact {
    let centre = match config.centre.centre(&config.host) {
        Ok(centre) => centre,
        // If only one is set, that is a mistake; without both, the host works alone.
        Err(CentreError::NotSet(keys)) if keys.len() > 1 => return not_configured(),
        Err(error) => return CentreFact::Wrong(WithCauses(&error).to_string()),
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            let facts = runtime.block_on(ask(&centre));
            // A query to a name server that does not answer runs on a thread that cannot be
            // stopped.
            runtime.shutdown_background();
            CentreFact::Asked(Box::new(facts))
        }
        Err(error) => CentreFact::Wrong(WithCauses(&error).to_string()),
    }
}

/// Tells a host of a golden image from one that shall work alone.
fn not_configured() -> CentreFact {
    let has_file = Path::new(ENROLMENT).exists();
    if has_file || Path::new(ENABLED).is_symlink() {
        return CentreFact::AwaitsEnrolment { has_file };
    }
    CentreFact::NotConfigured
}

async fn ask(centre: &Centre) -> CentreFacts {
    let settings = &centre.settings.vault;
    let mut facts = CentreFacts {
        vault_addr: settings.addr.clone(),
        postgres_addr: format!("{}:{}", centre.settings.db.host, centre.settings.db.port),
        ..CentreFacts::default()
    };
    let answer = timeout(PATIENCE, health(settings)).await;
    match answer {
        Ok(Ok(health)) if health.sealed || !health.initialized => {
            facts.vault = Asked::failed("it is sealed", Some("unseal it: vault operator unseal"));
            return facts;
        }
        Ok(Ok(health)) => {
            // Vault reports whole seconds; half a second more is closer on average.
            let theirs = health.server_time + Duration::from_millis(500);
            facts.clock = Some(("Vault", difference(wall_now(), theirs)));
            facts.vault = Asked::Works(health.version);
        }
        Ok(Err(error)) => {
            facts.vault = Asked::failed(WithCauses(&error).to_string(), error.hint().as_deref());
            return facts;
        }
        Err(_) => {
            facts.vault = silent();
            return facts;
        }
    }
    let vault = match credential(centre) {
        Ok(Some(vault)) => vault,
        Ok(None) => {
            facts.enrolled = Asked::Waits;
            return facts;
        }
        Err(why) => {
            let hint = "enrol the host: vctl host enroll HOST";
            facts.enrolled = Asked::failed(why, Some(hint));
            return facts;
        }
    };
    match timeout(PATIENCE, enrolment(&vault, &centre.host)).await {
        Ok(Ok(enrolment)) => {
            facts.enrolled = Asked::Works(enrolment.approle().to_owned());
            let role = DbRole::AuditIngest(enrolment);
            let asked = timeout(PATIENCE, postgres(&vault, centre, role, &mut facts.clock)).await;
            facts.postgres = asked.unwrap_or_else(|_| silent());
        }
        Ok(Err(error)) => {
            facts.enrolled = Asked::failed(WithCauses(&error).to_string(), error.hint().as_deref());
        }
        Err(_) => facts.enrolled = silent(),
    }
    let _ = timeout(Duration::from_secs(1), vault.revoke_self()).await;
    facts
}

/// Returns this host's login to Vault; `None` while its secret id is wrapped, as it can be opened
/// only once.
fn credential(centre: &Centre) -> Result<Option<Vault>, String> {
    let path = &centre.role_id_file;
    let unreadable =
        |error: io::Error| format!("cannot read the role id `{}`: {error}", path.display());
    let role_id = fs::read_to_string(path).map_err(unreadable)?;
    let secret_id = read(&centre.secret_id_file).map_err(|error| WithCauses(&error).to_string())?;
    if is_wrapped(&secret_id) {
        return Ok(None);
    }
    let auth = Auth::AppRole {
        mount: centre.approle_mount.clone(),
        role_id: Secret::new(role_id.trim().to_owned()),
        secret_id: SecretIdSource::File(centre.secret_id_file.clone()),
    };
    let vault = Vault::connect(&centre.settings.vault, auth);
    vault
        .map(Some)
        .map_err(|error| WithCauses(&error).to_string())
}

async fn postgres(
    vault: &Vault,
    centre: &Centre,
    role: DbRole,
    clock: &mut Option<(&'static str, f64)>,
) -> Asked {
    let limits = PoolLimits::default();
    let pool = match Pool::new(vault.clone(), &centre.settings.db, role, limits) {
        Ok(pool) => pool,
        Err(error) => {
            return Asked::failed(WithCauses(&error).to_string(), error.hint().as_deref());
        }
    };
    let answer = async {
        let client = pool.get().await?;
        let sql = "select schema_version::text, clock_timestamp() from vctl.compat_v1()";
        let asked = wall_now();
        let row = client.query_one(sql, &[]).await?;
        let answered = wall_now();
        let version: String = row.try_get(0)?;
        let theirs: SystemTime = row.try_get(1)?;
        let way = answered.duration_since(asked).unwrap_or_default();
        Ok::<_, vctl_common::pg::PgError>((version, difference(asked + way / 2, theirs)))
    };
    let answer = answer.await;
    pool.close().await;
    match answer {
        Ok((version, ahead)) => {
            *clock = Some(("Postgres", ahead));
            Asked::Works(version)
        }
        Err(error) => Asked::failed(WithCauses(&error).to_string(), error.hint().as_deref()),
    }
}

/// Returns by how many seconds our clock is ahead of theirs.
fn difference(ours: SystemTime, theirs: SystemTime) -> f64 {
    match ours.duration_since(theirs) {
        Ok(ahead) => ahead.as_secs_f64(),
        Err(behind) => -behind.duration().as_secs_f64(),
    }
}

fn silent() -> Asked {
    Asked::failed(
        format!("no answer within {} s", PATIENCE.as_secs()),
        Some("check for a firewall between the two"),
    )
}
