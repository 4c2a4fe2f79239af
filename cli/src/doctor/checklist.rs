//! The order of the checks, and the results that each needs from earlier ones.

use std::time::Duration;

use tokio::time::timeout;

use super::config::Site;
use super::runner::{Course, Known, both, known};
use super::seal::Heard;
use super::tls::Greeting;
use super::token::Session;
use super::{Finding, Probe};
use super::{clock, config, database, dns, schema, seal, ssh, tcp, tls, token};
use crate::centre::capabilities;
use crate::config::Loaded;
use crate::error::CliError;
use crate::ui::ask::Interaction;

/// Time limit for revoking the credentials, as for every command.
const FAREWELL: Duration = Duration::from_secs(3);

/// Makes all checks.
pub(crate) async fn examine(
    loaded: &Result<Loaded, CliError>,
    interaction: Interaction,
    course: &mut Course<'_>,
) {
    let site = course
        .probe(Probe::Config, Ok(()), async |()| config::judge(loaded))
        .await;

    let found = course
        .probe(Probe::VaultDns, known(&site), async |site| {
            dns::probe(&site.vault.host, site.vault.port, "VCTL_VAULT_ADDR").await
        })
        .await;
    let address = course
        .probe(Probe::VaultTcp, known(&found), async |addresses| {
            tcp::probe(addresses, "`VCTL_VAULT_ADDR`, and that Vault runs").await
        })
        .await;
    let believed = course
        .probe(
            Probe::VaultTls,
            both(&site, &address),
            async |(site, address)| {
                if !site.vault.tls {
                    return Finding::pass("plain http, which never leaves this machine", ());
                }
                let trust = &site.settings.vault.trust;
                tls::probe(*address, &site.vault.host, trust, Greeting::Vault).await
            },
        )
        .await;
    let heard = course
        .probe(Probe::Seal, both(&site, &believed), async |(site, ())| {
            seal::probe(&site.settings.vault).await
        })
        .await;
    let _ = course
        .probe(Probe::Clock, known(&heard), async |heard| {
            clock::judge_own(heard.ahead)
        })
        .await;
    let session = course
        .probe(Probe::Token, both(&site, &heard), async |(site, _)| {
            token::probe(site.loaded, interaction).await
        })
        .await;
    let needs = known(&site).map(|site| capabilities::needs(site.loaded, &site.settings.vault));
    let rights = course
        .probe(
            Probe::Capabilities,
            both(&needs, &session),
            async |(needs, session)| super::capabilities::probe(needs, session).await,
        )
        .await;
    let _ = course
        .probe(
            Probe::Ssh,
            both(&site, &session),
            async |(site, session)| ssh::probe(site.loaded, &site.settings.vault, session).await,
        )
        .await;
    let ready = both(&rights, &session).map(|((), session)| session);
    examine_postgres(&site, ready, &heard, course).await;
}

/// Makes the checks of Postgres. Only the login needs something from Vault.
async fn examine_postgres(
    site: &Known<Site<'_>>,
    ready: Known<&Session>,
    heard: &Known<Heard>,
    course: &mut Course<'_>,
) {
    let found = course
        .probe(Probe::DbDns, known(site), async |site| {
            dns::probe(
                &site.settings.db.host,
                site.settings.db.port,
                "VCTL_DB_HOST",
            )
            .await
        })
        .await;
    let address = course
        .probe(Probe::DbTcp, known(&found), async |addresses| {
            tcp::probe(
                addresses,
                "`VCTL_DB_HOST`, `VCTL_DB_PORT`, and that Postgres runs",
            )
            .await
        })
        .await;
    let believed = course
        .probe(
            Probe::DbTls,
            both(site, &address),
            async |(site, address)| {
                let db = &site.settings.db;
                let (name, trust) = (db.tls_name(), &db.trust);
                tls::probe(*address, name, trust, Greeting::Postgres).await
            },
        )
        .await;
    let ready = known(&believed).and(ready);
    let ready = ready.and_then(|session| Ok((known(site)?, session)));
    let store = course
        .probe(Probe::DbLogin, ready, async |(site, session)| {
            database::probe(&site.settings.db, session).await
        })
        .await;
    let _ = course
        .probe(
            Probe::DbClock,
            both(&store, heard),
            async |(store, heard)| match store.ahead().await {
                Ok(ahead) => clock::judge_postgres(ahead, heard.ahead),
                Err(error) => Finding::failed(error),
            },
        )
        .await;
    let _ = course
        .probe(Probe::Schema, known(&store), async |store| {
            schema::probe(store).await
        })
        .await;
    if let Ok(store) = store {
        // The credentials expire by themselves if this fails.
        let _: Result<(), _> = timeout(FAREWELL, store.close()).await;
    }
}
