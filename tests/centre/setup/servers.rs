//! The servers of the specs are those that the environment chooses.

use std::process::Command;

use vctl_tests::centre::{Binary, Centre, PostgresPrograms};

/// `cargo xtask versions` runs this spec first and prints its line into the report.
#[test]
fn the_centre_runs_the_chosen_programs() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let chosen = PostgresPrograms::find().unwrap().server.join("postgres");
    let printed = Command::new(chosen).arg("--version").output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    // `postgres (PostgreSQL) 18.4`; packages of Debian add their own version.
    let postgres = printed.split(' ').nth(2).unwrap().trim();
    let running = "select split_part(current_setting('server_version'), ' ', 1)";
    let running = centre.postgres.psql("postgres", running).unwrap();
    assert_eq!(running, postgres);

    let chosen = Binary::find().unwrap();
    let running = centre.bao.anonymous().unwrap().get("sys/seal-status");
    let running = running.unwrap()["version"].as_str().unwrap().to_owned();
    assert!(chosen.version.contains(&running), "{running}: {chosen:?}");
    let name = if chosen.is_openbao {
        "OpenBao"
    } else {
        "Vault"
    };
    println!("servers: Postgres {postgres}, {name} {running}");
}
