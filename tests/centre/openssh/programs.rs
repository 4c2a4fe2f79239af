//! Each program that speaks SSH, directly and through a jump host.

use std::fs;
use std::process::Command;

use vctl_tests::centre::{Host, Island};

use super::{Desk, shared};
use crate::login::{Said, give};

/// What the matrix connects to.
struct Way<'a> {
    name: &'a str,
    host: &'a Host,
    via: &'a [&'a str],
}

#[test]
fn every_program_gets_in_with_no_key_on_disk_and_one_row_each() {
    let Some(centre) = shared() else { return };
    let desk = Desk::new(centre, "ossh-matrix");
    let direct = centre.another_host("ossh-d").unwrap();
    desk.operator.knows("ossh-direct", &direct);
    // Only the jump host leads to the other.
    let island = Island::new().unwrap();
    let jump = centre.another_host_on(&island, "ossh-j").unwrap();
    let inner = centre.another_host_on(&island, "ossh-i").unwrap();
    let door = island.door(jump.port()).unwrap();
    desk.operator
        .inventory("ossh-jump", "127.0.0.1", door, jump.user());
    desk.operator
        .remembers(&format!("ossh-jump {}\n", jump.public_key()));
    desk.operator.knows("ossh-inner", &inner);
    desk.operator.jumps("ossh-inner", "ossh-jump");
    desk.install();
    let ways = [
        Way {
            name: "ossh-direct",
            host: &direct,
            via: &[],
        },
        Way {
            name: "ossh-inner",
            host: &inner,
            via: &["ossh-jump"],
        },
    ];
    for way in &ways {
        let mut connections = 0;
        for (what, run) in PROGRAMS {
            run(&desk, way);
            connections += 1;
            let rows = desk.recorded(way.name, way.host, connections);
            let row = &rows[connections - 1];
            assert_eq!(
                row["jump_via"],
                serde_json::json!(way.via),
                "{what}: {row:#}"
            );
        }
    }
    // Once for each connection to the host behind it.
    let log = jump.log();
    assert_eq!(
        log.matches("Accepted publickey").count(),
        PROGRAMS.len(),
        "{log}"
    );
    desk.has_no_key();
}

type Run = fn(&Desk<'_>, &Way<'_>);

const PROGRAMS: &[(&str, Run)] = &[
    ("ssh", ssh),
    ("scp", scp),
    ("sftp", sftp),
    ("rsync", rsync),
    ("git", git),
    ("ansible", ansible),
];

fn ssh(desk: &Desk<'_>, way: &Way<'_>) {
    let host = way.name;
    let said = desk.ssh(&[host, "echo in; exit 7"]);
    assert_eq!((said.code, &*said.stdout), (7, "in\n"), "{said:?}");
}

fn scp(desk: &Desk<'_>, way: &Way<'_>) {
    let host = way.name;
    let there = format!(
        "/tmp/{host}-{}",
        desk.home("").file_name().unwrap().display()
    );
    let from = desk.home("work/sent");
    let text: String = (0..100_000).map(|number| number.to_string()).collect();
    fs::write(&from, &text).unwrap();
    let to = format!("{host}:{there}");
    let output = desk
        .command("scp", &["-q", from.to_str().unwrap(), &to])
        .output()
        .unwrap();
    let said = Said::from(output);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(fs::read_to_string(&there).unwrap(), text);
    fs::remove_file(there).unwrap();
}

fn sftp(desk: &Desk<'_>, way: &Way<'_>) {
    let host = way.name;
    let said = give(desk.command("sftp", &["-q", "-b", "-", host]), "pwd\n");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.stdout.contains("Remote working directory: /"),
        "{said:?}"
    );
}

fn rsync(desk: &Desk<'_>, way: &Way<'_>) {
    let host = way.name;
    let shell = format!("ssh -F {}", desk.config().display());
    let got = desk.home("work/got");
    let from = format!("{host}:/etc/hosts");
    let args = ["-e", &shell, &from, got.to_str().unwrap()];
    let said = Said::from(desk.operator.at.program("rsync", &args).output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(fs::read(&got).unwrap(), fs::read("/etc/hosts").unwrap());
    fs::remove_file(got).unwrap();
}

fn git(desk: &Desk<'_>, way: &Way<'_>) {
    let host = way.name;
    let there = format!(
        "/tmp/{host}-{}.git",
        desk.home("").file_name().unwrap().display()
    );
    let made = desk
        .operator
        .at
        .program("git", &["init", "-q", "--bare", &there])
        .status();
    assert!(made.unwrap().success());
    // On the host git serves nobody what is another's.
    let owned = Command::new("chown")
        .args(["-R", way.host.user(), &there])
        .status();
    assert!(owned.unwrap().success());
    let clone = desk.home("work/clone");
    let url = format!("{host}:{there}");
    let mut command = desk
        .operator
        .at
        .program("git", &["clone", "-q", &url, clone.to_str().unwrap()]);
    command.env(
        "GIT_SSH_COMMAND",
        format!("ssh -F {}", desk.config().display()),
    );
    let said = Said::from(command.output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    assert!(clone.join(".git").is_dir());
    fs::remove_dir_all(clone).unwrap();
    fs::remove_dir_all(there).unwrap();
}

fn ansible(desk: &Desk<'_>, way: &Way<'_>) {
    let host = way.name;
    let inventory = format!("{host},");
    // It runs `ssh` several times, and one connection for a while: by itself, for a minute.
    let persist = "-o ControlMaster=auto -o ControlPersist=5s";
    let args = format!("-F {} {persist}", desk.config().display());
    let mut command = desk
        .operator
        .at
        .program("ansible", &["all", "-i", &inventory, "-m", "ping"]);
    command
        .env("LC_ALL", "C.UTF-8")
        .env("ANSIBLE_SSH_ARGS", args);
    let said = Said::from(command.output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.contains("\"ping\": \"pong\""), "{said:?}");
}
