//! The gate of `vctl ssh` costs no request of its own, to Postgres or to Vault.

use std::fs;

use super::relay::Relay;
use super::{ADMIN, PLAIN, User, adds_host, knows, narrowed};

/// Parts of the statements that look up the host and the grants.
const LOOKUPS: [&str; 2] = ["from step join vctl.servers", "vctl.caller_grants_v1()"];

#[test]
fn grants_arrive_in_the_round_trip_of_the_host_lookup() {
    let Some(centre) = narrowed() else { return };
    let admin = User::new(centre, "trips-admin", ADMIN);
    let user = User::new(centre, "trips", PLAIN);
    adds_host(centre, "trips-1", "seoul");
    knows(&user, centre, &["trips-1"]);
    user.is_in(
        &admin,
        "trips",
        &["ssh:user=other", "ssh:host=web-*", "ssh"],
    );
    let relay = Relay::start(centre, LOOKUPS);
    let requests = || fs::read_to_string(centre.bao.audit_log()).unwrap();
    let before = requests().len();
    let mut command = user
        .at
        .command(&["ssh", "--server", "trips-1", "--", "true"]);
    let output = command.env("VCTL_DB_PORT", relay.port.to_string()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    let seen = relay.seen();
    assert!(!seen.waited, "{seen:?}");
    assert_eq!(seen.connections, 1, "{seen:?}");
    for text in LOOKUPS {
        let times = seen.statements.iter().filter(|one| one.contains(text));
        assert_eq!(times.count(), 1, "{text}: {seen:?}");
    }
    // A grant allows the login, so nothing asks Vault for the policies.
    let requests = requests().split_off(before);
    let own = requests.lines().filter(|line| line.contains(&user.name));
    let own: Vec<&str> = own.collect();
    assert!(own.iter().any(|line| line.contains("ssh/sign/")), "{own:?}");
    assert!(
        !own.iter()
            .any(|line| line.contains("auth/token/lookup-self")),
        "{own:?}"
    );
}
