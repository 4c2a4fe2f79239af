//! The number of round trips that each command needs. Far from the servers, users wait for each of them.
//!
//! The counts come from a proxy in front of each server and do not depend on the speed of the machine. A number that
//! falls is progress: lower it here too.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use vctl_tests::centre::{DATABASE, FarServers};

use crate::login::{Said, Workstation, person};
use crate::ssh::shared;

/// Long enough that an answer never arrives before the client has sent its next request.
const ROUND_TRIP: Duration = Duration::from_millis(20);

const NAME: &str = "round-trips";

/// Runs of each command.
const ATTEMPTS: usize = 3;

/// A command, and its highest number of round trips to Vault, Postgres and sshd, and of flights: those that follow each
/// other, whatever the server, so that a user waits for each. With Postgres 14 to 16; a newer one needs no request for TLS:
/// one less. The goodbye to Postgres is one of them: the server answers it, but no user waits for that.
const LIMITS: [(&[&str], [u32; 4]); 6] = [
    (&["token"], [0, 0, 0, 0]),
    (&["list"], [0, 6, 0, 6]),
    // It asks Vault over several connections side by side, and `ssh` over two.
    (&["status"], [16, 6, 0, 9]),
    (&["ssh", "-q", NAME, "--", "true"], [4, 7, 6, 9]),
    // After `ssh`, so that there is an access to list.
    (&["audit"], [0, 6, 0, 6]),
    (&["session", "--list"], [0, 6, 0, 6]),
];

/// The highest number of flights of a command that creates its database login.
const WITHOUT_LOGIN: u32 = 11;

#[test]
fn no_command_needs_more_round_trips_than_stated() {
    let Some(centre) = shared() else { return };
    let far = FarServers::start(centre, ROUND_TRIP).unwrap();
    let host = centre.host.as_ref().unwrap();
    let sql = format!(
        "insert into vctl.servers (hostname, ip, ssh_port, ssh_user) values ('{NAME}', '127.0.0.1', {}, '{}')",
        far.ssh_port(),
        host.user()
    );
    centre.postgres.psql(DATABASE, &sql).unwrap();
    let password = person(centre, NAME, 3600, 7200);
    let policies = json!({"policies": ["vctl-user", "vctl-ssh", "vctl-auditor"]});
    let admin = centre.bao.admin().unwrap();
    admin
        .post(&format!("auth/userpass/users/{NAME}"), &policies)
        .unwrap();
    let at = Workstation::new(centre);
    std::fs::create_dir(at.home(".ssh")).unwrap();
    let known = format!("{NAME} {}\n", host.public_key());
    std::fs::write(at.home(".ssh/known_hosts"), known).unwrap();
    let run = |args: &[&str], input: Stdio| -> Said {
        let mut command = at.command(args);
        command.envs(far.environment()).stdin(input);
        command.output().unwrap().into()
    };
    let file = at.home("password");
    std::fs::write(&file, password).unwrap();
    let given = std::fs::File::open(&file).unwrap().into();
    let said = run(&["login", "--username", NAME, "--password-stdin"], given);
    assert_eq!(said.code, 0, "{said:?}");
    let version = centre.postgres.psql(DATABASE, "show server_version_num");
    let has_direct_tls = version.unwrap().parse::<u32>().unwrap() >= 170_000;
    let saved = u32::from(has_direct_tls);
    let mut wrong = Vec::new();
    for (args, mut limits) in LIMITS {
        for limit in [1, 3] {
            limits[limit] = limits[limit].saturating_sub(saved);
        }
        // The first run fills caches, and leaves its database login.
        run(args, Stdio::null());
        far.take();
        // A slow machine may send a request later than it could, never earlier: the lowest count is the right one.
        let mut fewest = [u32::MAX; 4];
        for _ in 0..ATTEMPTS {
            let said = run(args, Stdio::null());
            let crossings = far.take();
            assert_eq!(said.code, 0, "{args:?}: {said:?}");
            let counts = crossings.round_trips().map(|(_, count)| count);
            let counts = counts.into_iter().chain([crossings.flights]);
            for (fewest, count) in fewest.iter_mut().zip(counts) {
                *fewest = count.min(*fewest);
            }
        }
        let of = ["vault", "postgres", "sshd", "all of them"];
        for ((of, needed), limit) in of.into_iter().zip(fewest).zip(limits) {
            if needed > limit {
                wrong.push((args, of, needed, limit));
            }
        }
    }
    for args in [&["list"][..], &["audit"], &["session", "--list"]] {
        let mut fewest = u32::MAX;
        for _ in 0..ATTEMPTS {
            for file in std::fs::read_dir(at.home(".vctl")).unwrap().flatten() {
                if file.file_name().to_string_lossy().starts_with("db-login.") {
                    std::fs::remove_file(file.path()).unwrap();
                }
            }
            far.take();
            let said = run(args, Stdio::null());
            assert_eq!(said.code, 0, "{args:?}: {said:?}");
            fewest = fewest.min(far.take().flights);
        }
        if fewest > WITHOUT_LOGIN {
            wrong.push((args, "all of them, without a login", fewest, WITHOUT_LOGIN));
        }
    }
    assert!(wrong.is_empty(), "more round trips: {wrong:#?}");
}
