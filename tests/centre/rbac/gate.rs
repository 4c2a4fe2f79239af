//! Without a grant, no gated command does anything; with one, it costs no further request.

use std::fs;

use serde_json::json;
use vctl_tests::centre::Centre;

use crate::mcp::Client;

use super::{ADMIN, PLAIN, User, adds_host, knows, narrowed, sql};

#[test]
fn without_a_grant_no_gated_command_does_anything() {
    let Some(centre) = narrowed() else { return };
    let user = User::new(centre, "gate-none", PLAIN);
    adds_host(centre, "gate-1", "seoul");
    let host = centre.host.as_ref().unwrap();
    let (port, address) = (
        host.port().to_string(),
        format!("{}@127.0.0.1:{}", host.user(), host.port()),
    );
    let hashed = format!("[127.0.0.1]:{port}");
    knows(&user, centre, &["gate-1", &hashed]);
    let config = user.at.home("ssh_config");
    fs::write(&config, "Host gate-2\n  HostName 127.0.0.1\n").unwrap();
    let config = config.to_str().unwrap();
    let before = host.log();
    for (command, args) in [
        ("ssh", &["ssh", "gate-1", "--", "true"][..]),
        ("ssh", &["ssh", "--server", "gate-1", "--", "true"]),
        ("ssh", &["ssh", "-N", "gate-1"]),
        ("ssh", &["ssh", "-W", "127.0.0.1:1", "gate-1"]),
        ("ssh", &["ssh", &address, "--", "true"]),
        ("ssh", &["proxy", "gate-1", &port]),
        ("exec", &["exec", "--", "touch", "ran"]),
        ("sync", &["sync", "--dry-run", "--config", config]),
        ("trust-ca", &["trust-ca", "gate-1", "--dry-run"]),
    ] {
        // The proxy sends its reason to `ssh`, after a greeting of its own.
        let (said, stdout) = if args[0] == "proxy" {
            (user.messages(args), "SSH-2.0-vctl")
        } else {
            (user.run(args), "")
        };
        assert_eq!(
            (said.code, &*said.stdout),
            (77, stdout),
            "{args:?}: {said:?}"
        );
        let refused = format!("`gate-none` may not run `vctl {command}`");
        assert!(said.stderr.contains(&refused), "{args:?}: {said:?}");
        let line = format!("`vctl rbac grant GROUP {command}`");
        assert!(said.stderr.contains(&line), "{args:?}: {said:?}");
        assert!(
            said.stderr.contains("member add GROUP userpass-gate-none"),
            "{said:?}"
        );
    }
    // The tool of `vctl mcp` has the same gate.
    let mut client = Client::start(user.at.command(&["mcp"]));
    let arguments = json!({"host": "gate-1", "command": "touch ran"});
    let result = client.result(1, "vctl_ssh_exec", &arguments);
    let text = result["content"][0]["text"].as_str().unwrap();
    assert_eq!(result["isError"], true, "{result}");
    assert!(
        text.contains("`gate-none` may not run `vctl ssh`"),
        "{text}"
    );
    assert!(text.contains("`vctl rbac grant GROUP ssh`"), "{text}");
    drop(client);
    assert!(!user.at.home("work/ran").exists());
    // Nothing reached the host, and each refused login has a row without a certificate.
    assert_eq!(host.log(), before);
    let rows = "select count(*), count(cert_serial), count(*) filter (where result = 'refused') \
        from vctl.access_log where vault_user = 'userpass-gate-none'";
    assert_eq!(sql(centre, rows), "7|0|7");
    for args in [
        &["token"][..],
        &["list"],
        &["whoami"],
        &["rbac", "group", "list"],
    ] {
        assert_eq!(user.run(args).code, 0, "{args:?}");
    }
}

#[test]
fn a_grant_takes_effect_with_the_next_command() {
    let Some(centre) = narrowed() else { return };
    let (admin, user) = (
        User::new(centre, "effect-admin", ADMIN),
        User::new(centre, "effect", PLAIN),
    );
    let run = || user.run(&["exec", "--", "true"]).code;
    assert_eq!(run(), 77);
    user.is_in(&admin, "effect", &["exec"]);
    assert_eq!(run(), 0);
    let said = user.run(&["sync", "--dry-run", "--config", "/dev/null"]);
    assert!(
        said.stderr.contains("`vctl rbac grant effect sync`"),
        "{said:?}"
    );
    admin.ok(&["rbac", "revoke", "effect", "exec"]);
    assert_eq!(run(), 77);
    admin.ok(&["rbac", "grant", "effect", "*"]);
    assert_eq!(run(), 0);
    admin.ok(&["rbac", "group", "delete", "effect", "--yes"]);
    assert_eq!(run(), 77);
    // An administrator needs no grant.
    assert_eq!(admin.run(&["exec", "--", "true"]).code, 0);
}

#[test]
fn a_schema_without_grants_never_allows() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let database = "rbac_old_schema";
    centre.create_database_with_schema(database).unwrap();
    let old = "drop function vctl.caller_grants_v1";
    centre.postgres.psql(database, old).unwrap();
    for (name, policies, code) in [
        ("old-schema", PLAIN, 78),
        ("old-schema-admin", ADMIN, 0),
        ("old-schema-sre", &["vctl-user", "sre-admin"], 0),
    ] {
        let user = User::new(centre, name, policies);
        let mut command = user.at.command(&["exec", "--", "true"]);
        let said: crate::login::Said = command
            .env("VCTL_DB_NAME", database)
            .output()
            .unwrap()
            .into();
        assert_eq!(said.code, code, "{name}: {said:?}");
        if code != 0 {
            let why = "command grants are not initialised";
            assert!(said.stderr.contains(why), "{said:?}");
            let hint = "an administrator must run `vctl migrate`";
            assert!(said.stderr.contains(hint), "{said:?}");
        }
    }
}

#[test]
fn a_check_asks_the_mount_that_signs() {
    let Some(centre) = narrowed() else { return };
    let db = "check_mount";
    centre.create_database_with_schema(db).unwrap();
    // The state after a rotation of the CA.
    let rotated = "insert into vctl.ca_keys (fingerprint, public_key, mount, state) values
         ('SHA256:' || repeat('a', 43), 'ssh-ed25519 AAAA', 'ssh', 'retired'),
         ('SHA256:' || repeat('b', 43), 'ssh-ed25519 BBBB', 'ssh-next', 'active')";
    centre.postgres.psql(db, rotated).unwrap();
    let user = User::new(centre, "check-rotated", &["vctl-user"]);
    let mut command = user.at.command(&["rbac", "check", "ssh"]);
    let output = command.env("VCTL_DB_NAME", db).output().unwrap();
    assert_eq!(output.status.code(), Some(77), "{output:?}");
    let stated = String::from_utf8(output.stdout).unwrap();
    assert!(stated.contains("`ssh-next/sign/sre-core`"), "{stated}");
}

#[test]
fn a_check_names_the_layer_that_denies() {
    let Some(centre) = narrowed() else { return };
    let admin = User::new(centre, "check-admin", ADMIN);
    adds_host(centre, "check-1", "seoul");
    let no_grant = User::new(centre, "check-none", PLAIN);
    let no_policy = User::new(centre, "check-reader", &["vctl-user"]);
    no_policy.is_in(&admin, "check-readers", &["ssh", "prune"]);
    let scoped = User::new(centre, "check-scoped", PLAIN);
    scoped.is_in(&admin, "check-scoped", &["ssh:dc=seoul,user=deploy"]);
    let layer = |user: &User<'_>, args: &[&str]| -> Vec<bool> {
        let said = user.run(&[&["rbac", "check"], args, &["-o", "json"]].concat());
        let verdict: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
        let layers = verdict["layers"].as_array().unwrap();
        let layers: Vec<bool> = layers
            .iter()
            .map(|layer| layer["allowed"] == true)
            .collect();
        let allowed = layers.iter().all(|&allowed| allowed);
        assert_eq!(verdict["allowed"], allowed);
        assert_eq!(said.code, if allowed { 0 } else { 77 }, "{said:?}");
        layers
    };
    let (yes, no) = (true, false);
    for (user, args, grant, policy) in [
        (&no_grant, &["ssh"][..], no, yes),
        (&no_grant, &["proxy"], no, yes),
        (&no_grant, &["exec"], no, yes),
        (&no_grant, &["list"], yes, yes),
        (&no_grant, &["audit"], yes, no),
        (&no_grant, &["rbac"], no, no),
        (&no_grant, &["rbac", "group", "list"], yes, yes),
        (&no_grant, &["rbac", "group", "show"], yes, yes),
        (&no_grant, &["rbac", "group", "create"], no, no),
        (&no_policy, &["ssh"], yes, no),
        (&no_policy, &["prune"], yes, no),
        (&no_policy, &["ssh", "--host", "check-1"], yes, no),
        (&scoped, &["ssh"], no, yes),
        (&scoped, &["ssh", "--host", "check-1"], no, yes),
        (
            &scoped,
            &["ssh", "--host", "check-1", "--user", "deploy"],
            yes,
            yes,
        ),
        (&scoped, &["ssh", "deploy@check-1"], yes, yes),
        // An address with a user is outside the inventory, also if a host has it.
        (&scoped, &["ssh", "deploy@127.0.0.1"], no, yes),
        (&no_policy, &["session", "end"], yes, no),
        (&no_policy, &["host"], yes, no),
        (&no_policy, &["ca", "ssh-rotate"], yes, no),
        (&no_policy, &["ca", "ssh-print"], yes, yes),
        (&no_policy, &["status"], yes, yes),
        (&admin, &["rbac"], yes, yes),
        (&admin, &["ssh"], yes, no),
        (&admin, &["sync"], yes, yes),
    ] {
        assert_eq!(layer(user, args), [grant, policy], "{} {args:?}", user.name);
    }
    let said = no_grant.run(&["rbac", "check", "ssh"]);
    assert!(said.stdout.contains("App grant     denies"), "{said:?}");
    assert!(said.stderr.contains("by the grants of vctl"), "{said:?}");
    assert!(
        said.stderr.contains("vctl rbac grant GROUP ssh"),
        "{said:?}"
    );
    let said = no_policy.run(&["rbac", "check", "ssh"]);
    assert!(said.stderr.contains("by the policies of Vault"), "{said:?}");
    assert!(said.stderr.contains("the policy `vctl-ssh`"), "{said:?}");
    assert_eq!(admin.run(&["rbac", "check", "frobnicate"]).code, 2);
    let at_host = ["rbac", "check", "exec", "--host", "check-1"];
    assert_eq!(admin.run(&at_host).code, 2);
    let said = admin.run(&["rbac", "check", "session", "frobnicate"]);
    let reason = "`vctl session` has no subcommand `frobnicate`";
    assert!(said.code == 2 && said.stderr.contains(reason), "{said:?}");
    let said = admin.run(&["rbac", "check", "rbac", "group"]);
    let reason = "its subcommands: list, show, create, delete";
    assert!(said.code == 2 && said.stderr.contains(reason), "{said:?}");
    let said = admin.run(&["rbac", "check", "ssh", "@x"]);
    assert!(
        said.code == 2 && said.stderr.contains("is not a host"),
        "{said:?}"
    );
}
