//! vctl sends a secret only to the intended server, and a settings file in the working directory cannot change this.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use vctl_tests::centre::Centre;

use super::{Workstation, give, machine, person};

#[test]
fn a_directory_cannot_have_a_secret_sent_elsewhere() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    let password = person(centre, "whom-person", 3600, 7200);
    let args = ["login", "--username", "whom-person", "--password-stdin"];
    assert_eq!(workstation.given(&args, &password).code, 0);
    let token = workstation.token();

    // The author of the file listens here without TLS, so the spec can see every byte.
    let thief = TcpListener::bind("127.0.0.1:0").unwrap();
    thief.set_nonblocking(true).unwrap();
    let addr = format!("http://{}", thief.local_addr().unwrap());
    fs::create_dir(workstation.home("work/.vctl")).unwrap();
    let file = workstation.home("work/.vctl/config.yaml");
    fs::write(&file, format!("vault_addr: {addr}\n")).unwrap();
    let [role_id, secret_id] = machine(centre, "whom-machine", 3600, 7200);
    let ids = [("VCTL_ROLE_ID", &*role_id), ("VCTL_SECRET_ID", &*secret_id)];
    let given = [("VAULT_TOKEN", &*token)];
    for (args, variables) in [
        (&["token"][..], &[][..]),
        (&["fleet"], &[]),
        (&["exec", "--", "true"], &[]),
        (&["agent", "--once"], &[]),
        (&["token"], &ids),
        (&["login", "--method", "approle"], &ids),
        (&["token"], &given),
        (&["fleet"], &given),
        (
            &["login", "--method", "userpass", "--username", "whom-person"],
            &[],
        ),
    ] {
        let mut command = workstation.command(args);
        command
            .env_remove("VCTL_VAULT_ADDR")
            .env_remove("VAULT_ADDR");
        let output = command.envs(variables.iter().copied()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{args:?}: {said}");
        assert!(said.contains("`vctl config trust`"), "{args:?}: {said}");
        assert!(output.stdout.is_empty());
        assert!(thief.accept().is_err(), "{args:?} sent bytes there");
    }
    // A secret from a pipe is not for this server either.
    for args in [&args[..], &["login", "--token-stdin"]] {
        let mut command = workstation.command(args);
        command
            .env_remove("VCTL_VAULT_ADDR")
            .env_remove("VAULT_ADDR");
        let said = give(command, &password);
        assert_eq!(said.code, 78, "{args:?}: {said:?}");
        assert!(thief.accept().is_err(), "{args:?} sent bytes there");
    }
    // `vctl logout` does not ask another Vault either, but it deletes the token.
    fs::remove_file(&file).unwrap();
    let mut command = workstation.command(&["logout"]);
    command.env("VCTL_VAULT_ADDR", &addr);
    let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(
        said.contains("where it stays valid until it expires"),
        "{said}"
    );
    assert!(thief.accept().is_err());
    assert!(!workstation.home(".vctl/token").exists());

    for key in [
        "sink_path: /tmp/x",
        "vault_ca_cert: /tmp/x",
        "secret_id_file: /tmp/x",
        "secret_id: x",
    ] {
        fs::write(&file, format!("{key}\n")).unwrap();
        let said = workstation.run(&["token"]);
        assert_eq!(said.code, 78, "{key}: {said:?}");
        assert!(said.stderr.contains("config.yaml:1"), "{said:?}");
    }
}

#[test]
fn a_token_is_not_sent_to_another_address_or_namespace() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    let password = person(centre, "whom-bound", 3600, 7200);
    let args = ["login", "--username", "whom-bound", "--password-stdin"];
    assert_eq!(workstation.given(&args, &password).code, 0);
    for (name, value) in [
        ("VCTL_VAULT_ADDR", "https://127.0.0.1:1"),
        ("VCTL_VAULT_NAMESPACE", "team"),
    ] {
        let output = workstation
            .command(&["token"])
            .env(name, value)
            .output()
            .unwrap();
        assert_eq!(
            (output.status.code(), output.stdout.len()),
            (Some(77), 0),
            "{name}"
        );
    }
    let output = workstation
        .command(&["token", "--vault-addr", "http://vault.example"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(77));
}

#[test]
fn a_token_file_that_others_can_write_is_refused() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    let password = person(centre, "whom-files", 3600, 7200);
    let args = ["login", "--username", "whom-files", "--password-stdin"];
    let log_in = || assert_eq!(workstation.given(&args, &password).code, 0);
    log_in();
    let (dir, token) = (workstation.home(".vctl"), workstation.home(".vctl/token"));
    let refused = |why: &str| {
        let said = workstation.run(&["token"]);
        assert_eq!((said.code, &*said.stdout), (78, ""), "{why}: {said:?}");
        assert!(said.stderr.contains(why), "{said:?}");
    };
    fs::set_permissions(&token, fs::Permissions::from_mode(0o666)).unwrap();
    refused("other users can write the file");
    let elsewhere = workstation.home("elsewhere");
    fs::rename(&token, &elsewhere).unwrap();
    symlink(&elsewhere, &token).unwrap();
    refused("not a regular file");
    let before = fs::read(&elsewhere).unwrap();
    assert_ne!(workstation.given(&args, &password).code, 0);
    assert_eq!(fs::read(&elsewhere).unwrap(), before);
    fs::remove_dir_all(&dir).unwrap();
    symlink("/tmp", &dir).unwrap();
    refused("is not a directory");
    assert!(!std::path::Path::new("/tmp/token").exists());
    fs::remove_file(&dir).unwrap();
    log_in();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    workstation.token();
    assert_eq!(
        fs::metadata(&dir).unwrap().permissions().mode() & 0o777,
        0o700
    );
}
