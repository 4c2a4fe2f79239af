//! A command with a token: its signals, its exit status and its secrets.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use vctl_tests::centre::Centre;
use vctl_tests::lab::eventually;

use super::{Workstation, machine, person};

fn logged_in<'a>(centre: &'a Centre, name: &str) -> Workstation<'a> {
    let workstation = Workstation::new(centre);
    let password = person(centre, name, 3600, 7200);
    let said = workstation.given(
        &["login", "--username", name, "--password-stdin"],
        &password,
    );
    assert_eq!(said.code, 0, "{said:?}");
    workstation
}

#[test]
fn it_ends_as_the_command_did() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = logged_in(centre, "exec-status");
    for (script, code) in [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 77", 77),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
    ] {
        let said = workstation.run(&["exec", "--", "sh", "-c", script]);
        assert_eq!((said.code, &*said.stderr), (code, ""), "{script}");
    }
    assert_eq!(
        workstation.run(&["exec", "--", "no-such-command"]).code,
        127
    );
    assert_eq!(workstation.run(&["exec", "--", "/etc/passwd"]).code, 126);
    assert_eq!(workstation.run(&["exec"]).code, 2);
}

#[test]
fn it_has_the_token_and_what_it_was_given_and_standard_input() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = logged_in(centre, "exec-env");
    let token = workstation.token();
    let said = workstation.given(
        &[
            "exec",
            "--",
            "sh",
            "-c",
            "echo $VAULT_TOKEN $VAULT_ADDR; cat",
        ],
        "in\0put",
    );
    assert_eq!(said.code, 0);
    assert_eq!(
        said.stdout,
        format!("{token} {}\nin\0put", centre.bao.address())
    );

    let admin = centre.bao.admin().unwrap();
    for (mount, version, path) in [
        ("exec-kv1", "1", "exec-kv1/db"),
        ("exec-kv2", "2", "exec-kv2/data/db"),
    ] {
        let engine = json!({"type": "kv", "options": {"version": version}});
        admin.post(&format!("sys/mounts/{mount}"), &engine).unwrap();
        let secret = json!({"password": format!("of {mount}"), "port": 5432});
        let secret = if version == "2" {
            json!({"data": secret})
        } else {
            secret
        };
        // For a moment after the mount, Vault upgrades a versioned engine and refuses writes.
        let written = || Ok(admin.post(path, &secret).is_ok());
        assert!(eventually(Duration::from_secs(20), written).unwrap());
    }
    let policy = "path \"exec-kv1/*\" { capabilities = [\"read\"] }\npath \"exec-kv2/data/*\" { capabilities = [\"read\"] }";
    admin
        .post("sys/policies/acl/exec-kv", &json!({"policy": policy}))
        .unwrap();
    let reader = centre
        .person("exec-reader", &["vctl-user", "exec-kv"])
        .unwrap();
    for (path, code, out) in [
        ("exec-kv1/db#password", 0, "of exec-kv1"),
        ("exec-kv2/db#password", 0, "of exec-kv2"),
        ("exec-kv2/data/db#port", 0, "5432"),
        ("exec-kv2/db#none", 66, ""),
        ("exec-kv2/none#none", 78, ""),
        ("exec-kv3/db#password", 77, ""),
    ] {
        let mut command = workstation.command(&[
            "exec",
            "--env",
            &format!("GIVEN={path}"),
            "--",
            "sh",
            "-c",
            "printf %s \"$GIVEN\"",
        ]);
        let output = command
            .env("VAULT_TOKEN", reader.token().expose())
            .output()
            .unwrap();
        let (stdout, stderr) = (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        );
        assert_eq!(
            (output.status.code(), &*stdout),
            (Some(code), out),
            "{path}: {stderr}"
        );
        assert!(!stderr.contains("of exec"));
    }
    assert_eq!(
        workstation
            .run(&["exec", "--env", "A B=c#d", "--", "true"])
            .code,
        2
    );
}

/// Prints each signal that arrives, and ends at the first SIGTERM.
const TELLS: &str = "trap 'echo INT' INT; trap 'echo HUP' HUP; trap 'echo USR1' USR1; trap 'echo TERM; exit 3' TERM; echo ready; while :; do sleep 0.05; done";

#[test]
fn signals_are_the_commands_and_each_comes_once() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = logged_in(centre, "exec-signals");
    let mut terminal = workstation.before_a_person(&["exec", "--", "sh", "-c", TELLS]);
    terminal.wait_for("ready").unwrap();
    let vctl = Pid::from_raw(i32::try_from(terminal.id()).unwrap());
    for (signal, name) in [
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGINT, "INT"),
    ] {
        kill(vctl, signal).unwrap();
        terminal.wait_for(name).unwrap();
    }
    // The terminal already sends Ctrl-C to the command.
    terminal.type_in("\u{3}").unwrap();
    terminal
        .wait_until(|shown| shown.matches("INT").count() == 2)
        .unwrap();
    kill(vctl, Signal::SIGTERM).unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(3));
    let shown = terminal.shown();
    for (name, times) in [("HUP", 1), ("USR1", 1), ("INT", 2), ("TERM", 1)] {
        assert_eq!(shown.matches(name).count(), times, "{name}: {shown}");
    }
}

#[test]
fn the_token_of_a_command_is_renewed_while_it_runs() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    let [role_id, secret_id] = machine(centre, "exec-long", 4, 3600);
    let mut command =
        workstation.command(&["exec", "--", "sh", "-c", "echo $VAULT_TOKEN; read end"]);
    command
        .env("VCTL_ROLE_ID", role_id)
        .env("VCTL_SECRET_ID", secret_id);
    let piped = std::process::Stdio::piped;
    let mut child = command.stdin(piped()).stdout(piped()).spawn().unwrap();
    let mut token = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut token).unwrap();
    // The token is now older than its first lifetime, so vctl renewed it.
    let age = || {
        let known = workstation.asked_of(token.trim_end());
        assert!(!known.is_null(), "the command's token expired");
        let renewed = known["last_renewal_time"].as_u64().unwrap_or(0);
        Ok(renewed > known["creation_time"].as_u64().unwrap() + 7)
    };
    assert!(eventually(Duration::from_secs(30), age).unwrap());
    drop(child.stdin.take());
    assert!(child.wait().unwrap().code().is_some());
}
