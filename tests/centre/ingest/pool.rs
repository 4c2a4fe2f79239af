//! The pool works for days: it replaces tokens and credentials before they expire, and revokes them at the end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use vctl_common::pg::{PgError, Pool};
use vctl_common::secret::Secret;
use vctl_common::vault::{Auth, Vault, VaultError};
use vctl_tests::centre::{Centre, DATABASE, Options};
use vctl_tests::lab::eventually;

use vctl_tests::pool_fixture::{
    as_root, block_on, database_ttl, logins, pool, short_lived, vault_settings,
};

/// Returns the duration of the spec of days. `VCTL_TEST_DAYS_S` makes it longer.
fn days() -> Duration {
    let seconds = std::env::var("VCTL_TEST_DAYS_S").ok();
    Duration::from_secs(seconds.and_then(|s| s.parse().ok()).unwrap_or(20))
}

async fn answer(pool: &Pool) -> Result<String, PgError> {
    let client = pool.get().await?;
    let row = client.query_one("select session_user::text", &[]).await?;
    Ok(row.get(0))
}

/// Like `answer`, in a transaction that takes almost a third of a login's lifetime.
async fn slow_answer(pool: &Pool) -> Result<String, PgError> {
    let mut client = pool.get().await?;
    let transaction = client.transaction().await?;
    transaction.execute("select pg_sleep(0.7)", &[]).await?;
    let row = transaction
        .query_one("select session_user::text", &[])
        .await?;
    transaction.commit().await?;
    Ok(row.get(0))
}

#[test]
fn it_works_for_days() {
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    // The token lives 4 s, at most 9 s, and the login lives 3 s. So each of them expires several times in 20 s.
    let auth = short_lived(&centre, "days", 4, 9);
    database_ttl(&centre, 3);
    let vault = Vault::connect(&vault_settings(&centre), auth).unwrap();
    let mut seen = BTreeSet::new();
    let mut tokens = BTreeSet::new();
    block_on(async {
        let pool = pool(&centre, &vault);
        let start = Instant::now();
        while start.elapsed() < days() {
            // This query is so long that a connection from the pool needs enough remaining lifetime by design.
            let login = slow_answer(&pool).await;
            seen.insert(
                login.unwrap_or_else(|error| panic!("after {:?}: {error:?}", start.elapsed())),
            );
            tokens.insert(vault.token().await.unwrap().expose().clone());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        pool.close().await;
        vault.revoke_self().await.unwrap();
    });
    // If the pool used a credential until it expired, the number would be lower. If the pool made a credential for each
    // query, the number would be higher.
    let seconds = days().as_secs();
    let logins_seen = u64::try_from(seen.len()).unwrap();
    assert!(
        (seconds / 3..=seconds).contains(&logins_seen),
        "{logins_seen} logins"
    );
    // Each token lives at most 9 s, and a renewal does not create a new token.
    let tokens_seen = u64::try_from(tokens.len()).unwrap();
    assert!(
        (seconds / 9..=seconds / 4).contains(&tokens_seen),
        "{tokens_seen} tokens"
    );
    assert!(eventually(Duration::from_secs(10), || Ok(logins(&centre).is_empty())).unwrap());
}

#[test]
fn its_credentials_are_given_back_at_the_end() {
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    let person = centre.person("quits", &["vctl-user"]).unwrap();
    let token = person.get("auth/token/lookup-self").unwrap();
    let token = token["data"]["id"].as_str().unwrap().to_owned();
    let vault = Vault::connect(&vault_settings(&centre), Auth::Token(Secret::new(token))).unwrap();
    block_on(async {
        let pool = pool(&centre, &vault);
        answer(&pool).await.unwrap();
        assert_eq!(logins(&centre).len(), 1);
        pool.close().await;
        assert!(matches!(pool.get().await.err().unwrap(), PgError::Closed));
        // The token belongs to the user, and the pool does not revoke it.
        vault.lookup_self().await.unwrap();
    });
    assert!(eventually(Duration::from_secs(10), || Ok(logins(&centre).is_empty())).unwrap());
}

#[test]
fn a_connection_that_broke_gives_its_credential_back() {
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    let vault = as_root(&centre);
    block_on(async {
        let pool = pool(&centre, &vault);
        let first = answer(&pool).await.unwrap();
        let end =
            "select pg_terminate_backend(pid) from pg_stat_activity where usename like 'ro/%'";
        centre.postgres.psql(DATABASE, end).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let second = answer(&pool).await.unwrap();
        assert_ne!(first, second);
        let start = Instant::now();
        while logins(&centre) != [second.clone()] {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "{:?}",
                logins(&centre)
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        pool.close().await;
    });
}

#[test]
fn a_revoked_credential_breaks_only_its_transaction() {
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    let vault = as_root(&centre);
    block_on(async {
        let pool = pool(&centre, &vault);
        let mut client = pool.get().await.unwrap();
        let transaction = client.transaction().await.unwrap();
        transaction.execute("select 1", &[]).await.unwrap();
        let all = "sys/leases/revoke-prefix/database/creds/vctl-ro";
        vault.write(all, &json!({"sync": true})).await.unwrap();
        let error = PgError::from(transaction.execute("select 1", &[]).await.unwrap_err());
        assert!(
            matches!(error, PgError::Broken(_)) && error.is_retryable(),
            "{error:?}"
        );
        drop(transaction);
        drop(client);
        answer(&pool).await.unwrap();
        pool.close().await;
    });
}

#[test]
fn a_machine_with_a_revoked_token_logs_in_again() {
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    let auth = short_lived(&centre, "again", 3600, 7200);
    let vault = Vault::connect(&vault_settings(&centre), auth).unwrap();
    block_on(async {
        let pool = pool(&centre, &vault);
        let first = answer(&pool).await.unwrap();
        let old = vault.token().await.unwrap();
        let admin = as_root(&centre);
        let revoke = json!({"token": old.expose()});
        admin.write("auth/token/revoke", &revoke).await.unwrap();
        // Postgres loses the logins of the revoked token.
        let start = Instant::now();
        while logins(&centre).contains(&first) {
            assert!(start.elapsed() < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_ne!(answer(&pool).await.unwrap(), first);
        assert_ne!(vault.token().await.unwrap().expose(), old.expose());
        pool.close().await;
    });
}

#[test]
fn a_command_asks_vault_for_nothing_but_its_credential() {
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    let vault = as_root(&centre);
    let before = asked(&centre).len();
    block_on(async {
        let pool = pool(&centre, &vault);
        for _ in 0..10 {
            answer(&pool).await.unwrap();
        }
        let asked = asked(&centre).split_off(before);
        assert_eq!(asked, ["database/creds/vctl-ro"]);
        pool.close().await;
    });
}

/// Returns the paths in the server's own log of requests.
fn asked(centre: &Centre) -> Vec<String> {
    let log = std::fs::read_to_string(centre.bao.audit_log()).unwrap();
    let entries = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let requests = entries.filter(|entry: &serde_json::Value| entry["type"] == "request");
    let path = |entry: serde_json::Value| entry["request"]["path"].as_str().unwrap().to_owned();
    requests.map(path).collect()
}

#[test]
fn a_wrapped_secret_is_opened_once() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let settings = vault_settings(centre);
    let vault = as_root(centre);
    block_on(async {
        let path = "auth/approle/role/wrapped";
        vault
            .write(path, &json!({"token_policies": ["vctl-user"]}))
            .await
            .unwrap();
        let ttl = Duration::from_mins(1);
        let path = format!("{path}/secret-id");
        let wrapped = vault.write_wrapped(&path, &json!({}), ttl).await.unwrap();
        assert_eq!(wrapped.ttl, ttl);
        // As setup does: a look opens nothing.
        for _ in 0..2 {
            let looked = Vault::look_up_wrapped(&settings, &wrapped.token).await;
            looked.unwrap();
        }
        let opened = Vault::unwrap(&settings, &wrapped.token).await.unwrap();
        assert!(opened["secret_id"].is_string());
        let again = Vault::unwrap(&settings, &wrapped.token).await.unwrap_err();
        assert!(matches!(again, VaultError::WrapInvalid), "{again:?}");
        let looked = Vault::look_up_wrapped(&settings, &wrapped.token).await;
        let error = looked.unwrap_err();
        assert!(matches!(error, VaultError::WrapInvalid), "{error:?}");
    });
}
