//! Every method logs in, and shows its result only on the terminal that started it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use vctl_tests::centre::Centre;

use super::{Said, Workstation, give, machine, person};

/// Expects that the token works, that only its owner can read it, and that the output does not show it.
fn is_logged_in(workstation: &Workstation<'_>, said: &str, as_whom: &str) {
    let token = workstation.token();
    assert_eq!(workstation.asked_of(&token)["display_name"], as_whom);
    assert!(!said.contains(&token), "{said}");
    let mode = |path: &str| {
        fs::metadata(workstation.home(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode(".vctl"), mode(".vctl/token")), (0o700, 0o600));
}

#[test]
fn a_password_from_a_pipe() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    let password = person(centre, "login-pipe", 3600, 7200);
    let args = ["login", "--username", "login-pipe", "--password-stdin"];
    let said = workstation.given(&args, &format!("{password}\n"));
    assert_eq!((said.code, &*said.stdout), (0, ""), "{said:?}");
    assert!(!said.stderr.contains(&password));
    is_logged_in(&workstation, &said.stderr, "userpass-login-pipe");
    // Administrators find this user in the database when they grant rights.
    let seen = centre
        .ask("select vctl_version from vctl.seen_users where vault_user = 'userpass-login-pipe'");
    assert_eq!(seen.unwrap(), env!("CARGO_PKG_VERSION"));

    let said = workstation.given(&args, "wrong");
    assert_eq!(said.code, 77, "{said:?}");
    // The home still has its earlier files.
    is_logged_in(&workstation, &said.stderr, "userpass-login-pipe");
    for (input, code) in [("", 2), ("\n", 2)] {
        assert_eq!(workstation.given(&args, input).code, code);
    }
}

#[test]
fn a_password_that_is_typed_is_not_shown() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    let password = person(centre, "login-typed", 3600, 7200);
    let args = ["login", "--method", "userpass", "--username", "login-typed"];
    let mut terminal = workstation.before_a_person(&args);
    terminal
        .wait_for("Password of login-typed at https://")
        .unwrap();
    terminal.wait_for_silence().unwrap();
    terminal.type_in(&format!("{password}\r")).unwrap();
    assert!(terminal.end().unwrap().success(), "{}", terminal.shown());
    let shown = terminal.shown();
    let full_or_less = ["for 1h00m", "for 59m"];
    let lasts = full_or_less.map(|lasts| format!("logged in as login-typed, {lasts}"));
    assert!(lasts.iter().any(|lasts| shown.contains(lasts)), "{shown}");
    assert!(!terminal.shown().contains(&password));
    assert!(terminal.echoes().unwrap());
    is_logged_in(&workstation, &terminal.shown(), "userpass-login-typed");

    // Ctrl-C at the prompt restores the terminal.
    let mut terminal = workstation.before_a_person(&args);
    terminal.wait_for_silence().unwrap();
    terminal.type_in("\u{3}").unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(130));
    assert!(terminal.echoes().unwrap());
    // With `--no-input`, vctl does not ask.
    let mut terminal = workstation.before_a_person(&[&args[..], &["--no-input"]].concat());
    assert_eq!(terminal.end().unwrap().code(), Some(77));
}

#[test]
fn an_approle_by_values_files_and_wrapped() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let [role_id, secret_id] = machine(centre, "login-approle", 3600, 7200);
    let by = |variables: &[(&str, &str)]| {
        let workstation = Workstation::new(centre);
        let mut command = workstation.command(&["login", "--method", "approle"]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        if output.status.success() {
            is_logged_in(&workstation, &said, "approle");
            assert!(!said.contains(&secret_id));
        }
        (output.status.code().unwrap(), said)
    };
    assert_eq!(
        by(&[("VCTL_ROLE_ID", &role_id), ("VCTL_SECRET_ID", &secret_id)]).0,
        0
    );

    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (role_file, secret_file) = (
        file("role_id", &format!("{role_id}\n")),
        file("secret_id", &secret_id),
    );
    let files = [
        ("VCTL_ROLE_ID_FILE", &*role_file),
        ("VCTL_SECRET_ID_FILE", &*secret_file),
    ];
    assert_eq!(by(&files).0, 0);

    let admin = centre.bao.admin().unwrap();
    let wrapped = admin
        .wrapped("auth/approle/role/login-approle/secret-id")
        .unwrap();
    let wrapped_file = file("wrapped", wrapped.expose());
    let files = [
        ("VCTL_ROLE_ID_FILE", &*role_file),
        ("VCTL_SECRET_ID_FILE", &*wrapped_file),
    ];
    assert_eq!(by(&files).0, 0);
    // vctl unwrapped the secret id once, and stored the result in the same file.
    assert_ne!(fs::read_to_string(&wrapped_file).unwrap(), wrapped.expose());
    assert_eq!(by(&files).0, 0);
    let stolen = file("stolen", wrapped.expose());
    let (code, said) = by(&[
        ("VCTL_ROLE_ID_FILE", &role_file),
        ("VCTL_SECRET_ID_FILE", &stolen),
    ]);
    assert_eq!(code, 77);
    assert!(said.contains("may have been stolen"), "{said}");

    let (code, said) = by(&[("VCTL_ROLE_ID", &role_id), ("VCTL_SECRET_ID", "none")]);
    assert_eq!(code, 77, "{said}");
    let (code, said) = by(&[("VCTL_ROLE_ID", &role_id)]);
    assert_eq!(code, 78);
    assert!(said.contains("VCTL_SECRET_ID_FILE"), "{said}");
    let (code, said) = by(&[
        ("VCTL_ROLE_ID", &role_id),
        ("VCTL_SECRET_ID_FILE", "/nowhere"),
    ]);
    assert_eq!(code, 78);
    assert!(said.contains("/nowhere"), "{said}");
}

#[test]
fn a_wrapped_secret_id_in_the_environment_is_opened_once() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let [role_id, _] = machine(centre, "login-wrapped", 3600, 7200);
    let admin = centre.bao.admin().unwrap();
    let wrapped = admin.wrapped("auth/approle/role/login-wrapped/secret-id");
    let wrapped = wrapped.unwrap();
    let workstation = Workstation::new(centre);
    let list = |secret_id: (&str, &str)| -> Said {
        let mut command = workstation.command(&["list"]);
        let ids = [("VCTL_ROLE_ID", &*role_id), secret_id];
        command.envs(ids).output().unwrap().into()
    };
    for run in 1..=2 {
        let said = list(("VCTL_SECRET_ID", wrapped.expose()));
        assert_eq!(said.code, 0, "run {run}: {said:?}");
    }
    // The token is valid, so no secret id is needed.
    let said = list(("VCTL_SECRET_ID_FILE", "/nowhere"));
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn a_token_that_was_got_elsewhere() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    let client = centre.person("login-brought", &["vctl-user"]).unwrap();
    let token = client.token().expose();
    let said = workstation.given(&["login", "--token-stdin"], token);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(workstation.token(), token);
    is_logged_in(&workstation, &said.stderr, "userpass-login-brought");
    assert!(workstation.known()["ttl_s"].as_u64().unwrap() > 60);
    let said = workstation.given(&["login", "--token-stdin"], "hvs.nobody");
    assert_eq!(said.code, 77, "{said:?}");
    assert!(said.stderr.contains("rejected the token"), "{said:?}");
    assert_eq!(workstation.token(), token);
}

#[test]
fn a_stored_approle_logs_in_without_a_person() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    let password = person(centre, "login-register", 3600, 7200);
    let args = [
        "login",
        "--username",
        "login-register",
        "--password-stdin",
        "--register",
    ];
    let said = workstation.given(&args, &password);
    assert_eq!(said.code, 0, "{said:?}");
    for file in ["role-id", "secret-id"] {
        let metadata = fs::metadata(workstation.home(".vctl").join(file)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }
    is_logged_in(&workstation, &said.stderr, "userpass-login-register");
    fs::remove_file(workstation.home(".vctl/token")).unwrap();
    is_logged_in(&workstation, "", "approle");
    let said = workstation.given(&args, &password);
    assert!(said.stderr.contains("already"), "{said:?}");
    let said = workstation.run(&["logout", "--all"]);
    assert_eq!(said.code, 0, "{said:?}");
    let left: Vec<_> = fs::read_dir(workstation.home(".vctl"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["token.lock"]);
}

#[test]
fn logging_out_of_all_leaves_no_page_and_no_cache() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    let state = workstation.home(".vctl");
    for dir in ["", "pages", "spool"] {
        fs::create_dir(state.join(dir)).unwrap();
    }
    for file in [
        "pages/0193f3a1-7c4e-7d61-9f0a-2b5c6d7e8f90.html",
        "db-server",
        "recent.json",
        "inventory.json",
        "grants.json",
        "last-login",
        "token-sink",
        "mcp_known_hosts",
        "spool/0193f3a1.access",
    ] {
        fs::write(state.join(file), "x").unwrap();
    }
    assert_eq!(workstation.run(&["logout", "--all"]).code, 0);
    let left = fs::read_dir(&state).unwrap();
    let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    // Trust in hosts is no cache, the access log still lacks the rows in the spool, and other commands wait for the lock.
    assert_eq!(left, ["mcp_known_hosts", "spool", "token.lock"]);
}

/// Disables the entity of the user that is logged in at this workstation.
fn disable(workstation: &Workstation<'_>) {
    let me = workstation.asked_of(&workstation.token());
    let id = me["entity_id"].as_str().unwrap();
    let admin = workstation.centre.bao.admin().unwrap();
    let path = format!("identity/entity/id/{id}");
    admin.post(&path, &json!({"disabled": true})).unwrap();
}

#[test]
fn a_disabled_user_is_not_told_of_a_wrong_mount() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let at = Workstation::new(centre);
    let password = person(centre, "login-disabled", 3600, 7200);
    let by_name = ["login", "--username", "login-disabled", "--password-stdin"];
    assert_eq!(at.given(&by_name, &password).code, 0);
    disable(&at);
    let said = at.given(&by_name, &password);
    assert_eq!(said.code, 77, "{said:?}");
    assert!(said.stderr.contains("`vctl revoke`"), "{said:?}");
    assert!(!said.stderr.contains("MOUNT"), "{said:?}");

    let [role_id, secret_id] = machine(centre, "login-disabled", 3600, 7200);
    let at = Workstation::new(centre);
    let by_role = |mount: &str| {
        let mut command = at.command(&["login", "--method", "approle"]);
        command.env("VCTL_ROLE_ID", &role_id);
        command.env("VCTL_SECRET_ID", &secret_id);
        command.env("VCTL_APPROLE_MOUNT", mount);
        give(command, "")
    };
    assert_eq!(by_role("approle").code, 0);
    disable(&at);
    let said = by_role("approle");
    assert_eq!(said.code, 77, "{said:?}");
    assert!(said.stderr.contains("`vctl revoke`"), "{said:?}");
    let said = by_role("moved");
    assert_eq!(said.code, 78, "{said:?}");
    assert!(said.stderr.contains("`VCTL_APPROLE_MOUNT`"), "{said:?}");
}
