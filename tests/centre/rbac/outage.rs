//! While Postgres is away, only grants that it confirmed in the last 24 hours allow a command.

use std::fs;

use serde_json::{Value, json};
use vctl_tests::centre::{Centre, Options};

use super::{ADMIN, PLAIN, User};

#[test]
fn confirmed_grants_allow_for_a_day_without_postgres() {
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    let admin = User::new(&centre, "away-admin", ADMIN);
    let (fresh, used) = (
        User::new(&centre, "away-fresh", PLAIN),
        User::new(&centre, "away-used", PLAIN),
    );
    let run = |user: &User<'_>| user.run(&["exec", "--", "true"]);
    assert_eq!(run(&used).code, 0);
    admin.ok(&["rbac", "revoke", "everyone", "*"]);
    assert_eq!(run(&used).code, 77);
    centre.postgres.kill().unwrap();

    // The login of this user was before the revocation, and Postgres has confirmed nothing since.
    let said = run(&fresh);
    assert_eq!(said.code, 0, "{said:?}");
    let note = "using the grants that Postgres confirmed";
    assert!(said.stderr.contains(note), "{said:?}");
    // The refusal of this user is cached too.
    let said = run(&used);
    assert!(said.code == 77 && said.stderr.contains(note), "{said:?}");
    for args in [&["rbac", "whoami"][..], &["rbac", "check", "exec"]] {
        let said = fresh.run(args);
        assert!(said.code == 0 && said.stderr.contains(note), "{said:?}");
    }

    let file = fresh.at.home(".vctl/grants.json");
    let stored: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let with = |key: &str, value: Value| {
        let mut changed = stored.clone();
        changed[key] = value;
        fs::write(&file, changed.to_string()).unwrap();
        run(&fresh)
    };
    for (key, value, why) in [
        (
            "confirmed_at",
            json!("2020-01-01T00:00:00Z"),
            "not used after 24 h",
        ),
        (
            "confirmed_at",
            json!("2120-01-01T00:00:00Z"),
            "a time in the future",
        ),
        (
            "display_name",
            json!(used.name),
            "no grants of this user are cached",
        ),
        ("version", json!(2), "damaged"),
    ] {
        let said = with(key, value);
        assert_eq!(said.code, 69, "{key}: {said:?}");
        assert!(said.stderr.contains(why), "{key}: {said:?}");
        assert!(said.stderr.contains("`vctl exec` is refused"), "{said:?}");
    }
    let said = fresh.run(&["rbac", "check", "exec", "-o", "json"]);
    assert_eq!(said.code, 69, "{said:?}");
    let verdict: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(verdict["layers"][0]["allowed"], false, "{verdict}");
    assert_ne!(verdict["layers"][0]["fix"], "", "{verdict}");
    fs::remove_file(&file).unwrap();
    assert_eq!(run(&fresh).code, 69);
    // Vault still confirms the admin policy.
    fs::remove_file(admin.at.home(".vctl/grants.json")).unwrap();
    assert_eq!(run(&admin).code, 0);
    centre.bao.kill().unwrap();
    assert_eq!(run(&admin).code, 69);
}
