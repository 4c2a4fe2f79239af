//! The order of the checks, and the results that each needs from earlier ones.

use std::time::Duration;

use tokio::time::timeout;

use super::config::Endpoints;
use super::runner::{Earlier, Runner, both, earlier};
use super::seal::SealStatus;
use super::server_kind::ServerKind;
use super::token::Session;
use super::{Check, CheckResult};
use super::{clock, config, database, dns, schema, seal, ssh, ssh_config, tcp, tls, token};
use crate::centre::capabilities;
use crate::config::Loaded;
use crate::error::CliError;
use crate::files::state_dir::StateDir;
use crate::openssh::SocketDir;
use crate::ui::ask::Interaction;

/// Time limit for revoking the credentials, as for every command.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(3);

/// Makes all checks.
pub(crate) async fn run_all(
    loaded: &Result<Loaded, CliError>,
    interaction: Interaction,
    runner: &Runner<'_>,
) {
    let site = runner
        .check(Check::Config, Ok(()), async |()| config::judge(loaded))
        .await;
    // A Postgres that hangs delays no check of Vault.
    let (vault, reached) = tokio::join!(
        Box::pin(check_vault(&site, interaction, runner)),
        reach_postgres(&site, runner)
    );
    let ready = both(&vault.rights, &vault.session).map(|((), session)| session);
    let ready = earlier(&reached).and(ready);
    use_postgres(&site, ready, &vault.seal, runner).await;
    let _ = runner
        .check(Check::SshConfig, Ok(()), async |()| {
            ssh_config::check(&SocketDir::of(&StateDir::find()).config())
        })
        .await;
}

/// Results of the checks of Vault that those of Postgres need.
struct VaultResults {
    seal: Earlier<SealStatus>,
    session: Earlier<Session>,
    rights: Earlier<()>,
}

/// Makes the checks of Vault.
async fn check_vault(
    site: &Earlier<Endpoints<'_>>,
    interaction: Interaction,
    runner: &Runner<'_>,
) -> VaultResults {
    let (seal, session) = Box::pin(reach_vault(site, interaction, runner)).await;
    let needs = earlier(site).map(|site| capabilities::needs(site.loaded, &site.settings.vault));
    let rights = runner.check(
        Check::Capabilities,
        both(&needs, &session),
        async |(needs, session)| super::capabilities::check(needs, session).await,
    );
    let signs = runner.check(Check::Ssh, both(site, &session), async |(site, session)| {
        ssh::check(site.loaded, &site.settings.vault, session).await
    });
    let (rights, _) = tokio::join!(rights, signs);
    VaultResults {
        seal,
        session,
        rights,
    }
}

/// Makes the checks of Vault up to the token.
async fn reach_vault(
    site: &Earlier<Endpoints<'_>>,
    interaction: Interaction,
    runner: &Runner<'_>,
) -> (Earlier<SealStatus>, Earlier<Session>) {
    let found = runner
        .check(Check::VaultDns, earlier(site), async |site| {
            dns::check(&site.vault.host, site.vault.port, "VCTL_VAULT_ADDR").await
        })
        .await;
    let address = runner
        .check(Check::VaultTcp, earlier(&found), async |addresses| {
            tcp::check(addresses, "`VCTL_VAULT_ADDR`, and that Vault runs").await
        })
        .await;
    let tls_verified = runner
        .check(
            Check::VaultTls,
            both(site, &address),
            async |(site, address)| {
                if !site.vault.tls {
                    return CheckResult::pass("plain http, which never leaves this machine", ());
                }
                let trust = &site.settings.vault.trust;
                tls::check(*address, &site.vault.host, trust, ServerKind::Vault).await
            },
        )
        .await;
    let seal = runner
        .check(
            Check::Seal,
            both(site, &tls_verified),
            async |(site, ())| seal::check(&site.settings.vault).await,
        )
        .await;
    let _ = runner
        .check(Check::Clock, earlier(&seal), async |seal| {
            clock::judge_own_clock(seal.offset)
        })
        .await;
    let session = runner
        .check(Check::Token, both(site, &seal), async |(site, _)| {
            token::check(site.loaded, interaction).await
        })
        .await;
    (seal, session)
}

/// Makes the checks of Postgres that need nothing from Vault.
async fn reach_postgres(site: &Earlier<Endpoints<'_>>, runner: &Runner<'_>) -> Earlier<()> {
    let found = runner
        .check(Check::DbDns, earlier(site), async |site| {
            dns::check(
                &site.settings.db.host,
                site.settings.db.port,
                "VCTL_DB_HOST",
            )
            .await
        })
        .await;
    let address = runner
        .check(Check::DbTcp, earlier(&found), async |addresses| {
            tcp::check(
                addresses,
                "`VCTL_DB_HOST`, `VCTL_DB_PORT`, and that Postgres runs",
            )
            .await
        })
        .await;
    runner
        .check(
            Check::DbTls,
            both(site, &address),
            async |(site, address)| {
                let db = &site.settings.db;
                let (name, trust) = (db.tls_name(), &db.trust);
                tls::check(*address, name, trust, ServerKind::Postgres).await
            },
        )
        .await
}

/// Makes the checks of Postgres that need a login.
async fn use_postgres(
    site: &Earlier<Endpoints<'_>>,
    ready: Earlier<&Session>,
    seal: &Earlier<SealStatus>,
    runner: &Runner<'_>,
) {
    let ready = ready.and_then(|session| Ok((earlier(site)?, session)));
    let store = runner
        .check(Check::DbLogin, ready, async |(site, session)| {
            database::check(&site.settings.db, session).await
        })
        .await;
    let clock = runner.check(
        Check::DbClock,
        both(&store, seal),
        async |(store, seal)| match store.clock_offset().await {
            Ok(ahead) => clock::judge_postgres_clock(ahead, seal.offset),
            Err(error) => CheckResult::failed(error),
        },
    );
    let schema = runner.check(Check::Schema, earlier(&store), async |store| {
        schema::check(store).await
    });
    let _ = tokio::join!(clock, schema);
    if let Ok(store) = store {
        // The credentials expire by themselves if this fails.
        let _: Result<(), _> = timeout(REVOKE_TIMEOUT, store.close()).await;
    }
}
