//! A server that was idle until its credentials had expired. The lifetimes are seconds instead of hours.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use vctl_tests::centre::{Centre, Options};
use vctl_tests::lab::eventually;
use vctl_tests::pool_fixture::{database_ttl, logins};

use super::Client;
use crate::login::{Workstation, machine, person};

/// Lifetimes of database credentials and tokens, in seconds.
const CREDENTIAL_TTL: u64 = 3;
const TOKEN_TTL: u64 = 6;

/// Longest wait for their end.
const PATIENCE: Duration = Duration::from_secs(40);

#[test]
fn an_idle_server_works_or_names_the_next_step() {
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    logs_in_once(&centre);
    database_ttl(&centre, CREDENTIAL_TTL);
    let list = |client: &mut Client, id: u32| client.result(id, "vctl_list", &json!({}));
    let works = |answer: &Value| answer["structuredContent"]["count"].is_u64();

    // A machine logs in again by itself.
    let [role_id, secret_id] = machine(&centre, "mcp-idle-machine", TOKEN_TTL, TOKEN_TTL);
    let ids = [("VCTL_ROLE_ID", &*role_id), ("VCTL_SECRET_ID", &*secret_id)];
    let at_machine = Workstation::new(&centre);
    let mut command = at_machine.command(&["mcp"]);
    command.envs(ids);
    let mut machine = Client::start(command);
    let first = list(&mut machine, 1);
    assert!(works(&first), "{first}");
    let old = cached_token(&at_machine);

    // A person with a token of an hour, and a person with a token of seconds.
    let people = [("mcp-idle-hour", 3600), ("mcp-idle-seconds", TOKEN_TTL)].map(|(name, ttl)| {
        let password = person(&centre, name, ttl, ttl);
        let at = Workstation::new(&centre);
        let login = ["login", "--username", name, "--password-stdin"];
        assert_eq!(at.given(&login, &password).code, 0);
        at
    });
    let mut people = people.map(|at| (Client::start(at.command(&["mcp"])), at));
    for (client, _) in &mut people {
        let first = list(client, 1);
        assert!(works(&first), "{first}");
    }
    let expiring = cached_token(&people[1].1);

    let ended = eventually(PATIENCE, || {
        let is_over = |token: &str| people[1].1.asked_of(token).is_null();
        Ok(logins(&centre).is_empty() && is_over(&old) && is_over(&expiring))
    });
    assert!(ended.unwrap(), "the credentials have not expired");

    let again = list(&mut machine, 2);
    assert!(works(&again), "{again}");
    let [(hour, _), (seconds, _)] = &mut people;
    let again = list(hour, 2);
    assert!(works(&again), "{again}");
    let refused = list(seconds, 2);
    assert_eq!(refused["isError"], true, "{refused}");
    let text = refused["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("run `vctl login`"), "{text}");
}

#[test]
fn an_idle_server_keeps_no_connection_to_postgres() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let name = "mcp-idle-closed";
    let password = person(centre, name, 3600, 7200);
    let at = Workstation::new(centre);
    let login = ["login", "--username", name, "--password-stdin"];
    assert_eq!(at.given(&login, &password).code, 0);
    let mut client = Client::start(at.command(&["mcp"]));
    let sql =
        format!("select count(*) from pg_stat_activity where usename like '%/userpass-{name}~%'");
    let connections = || centre.ask(&sql).unwrap();
    for id in 1..=2 {
        let list = client.result(id, "vctl_list", &json!({}));
        assert!(list["structuredContent"]["count"].is_u64(), "{list}");
        assert_eq!(connections(), "1");
        let closed = eventually(PATIENCE, || Ok(connections() == "0"));
        assert!(closed.unwrap(), "call {id}");
    }
    assert_eq!(client.leave(), Some(0));
}

/// Checks that calls share one login at Vault and one at Postgres, also if the token cannot be cached.
fn logs_in_once(centre: &Centre) {
    let [role_id, secret_id] = machine(centre, "mcp-once", 3600, 3600);
    let ids = [("VCTL_ROLE_ID", &*role_id), ("VCTL_SECRET_ID", &*secret_id)];
    for is_cached in [true, false] {
        let at = Workstation::new(centre);
        if !is_cached {
            // Not a directory, so no file can be in it.
            fs::write(at.home(".vctl"), "").unwrap();
        }
        let mut command = at.command(&["mcp"]);
        command.envs(ids);
        let mut client = Client::start(command);
        let seen = [1, 2].map(|id| {
            let list = client.result(id, "vctl_list", &json!({}));
            assert!(list["structuredContent"]["count"].is_u64(), "{list}");
            logins(centre)
        });
        assert_eq!(seen[0].len(), 1, "{seen:?}");
        assert_eq!(seen[0], seen[1], "cached: {is_cached}");
        assert_eq!(client.leave(), Some(0));
        // The next command uses the login of a cached token. Any other ends with the server.
        if is_cached {
            assert_eq!(logins(centre), seen[0]);
            assert_eq!(at.given(&["logout"], "").code, 0);
        }
        let ended = eventually(PATIENCE, || Ok(logins(centre).is_empty()));
        assert!(ended.unwrap(), "cached: {is_cached}");
    }
}

/// Returns the token of the cache, without a request.
fn cached_token(at: &Workstation<'_>) -> String {
    let file = fs::read_to_string(at.home(".vctl/token")).unwrap();
    let cached: Value = serde_json::from_str(&file).unwrap();
    cached["token"].as_str().unwrap().to_owned()
}
