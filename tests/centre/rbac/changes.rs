//! Changes of groups: the users that may make them, refusals, and the record of each.

use serde_json::{Value, json};
use vctl_tests::centre::{Centre, Login};

use super::{ADMIN, PLAIN, User, narrowed, sql};

#[test]
fn each_change_is_recorded_with_its_author_and_both_states() {
    let Some(centre) = narrowed() else { return };
    let admin = User::new(centre, "record-admin", ADMIN);
    let user = User::new(centre, "record-user", PLAIN);
    admin.ok(&["rbac", "group", "create", "record", "The", "first"]);
    admin.ok(&["rbac", "group", "create", "record", "The second"]);
    // The part after the auth mount is enough for a user with a recorded login.
    admin.ok(&["rbac", "member", "add", "record", "record-user"]);
    admin.ok(&["rbac", "grant", "record", "ssh:user=root,dc=seoul", "exec"]);
    // Each of these changes nothing.
    admin.ok(&["rbac", "group", "create", "record"]);
    admin.ok(&["rbac", "member", "add", "record", "record-user"]);
    admin.ok(&["rbac", "grant", "record", "exec"]);
    admin.ok(&["rbac", "revoke", "record", "exec"]);
    admin.ok(&["rbac", "revoke", "record", "exec"]);
    admin.ok(&["rbac", "member", "remove", "record", &user.name]);
    admin.ok(&["rbac", "member", "add", "record", &user.name]);
    // A group is deleted while it is assigned: the record has its members and grants.
    admin.ok(&["rbac", "group", "delete", "record", "--yes"]);

    let log = admin.json(&["rbac", "log", "--group", "record"]);
    let changes = log["changes"].as_array().unwrap();
    let shown: Vec<[&Value; 3]> = changes
        .iter()
        .rev()
        .map(|change| [&change["action"], &change["before"], &change["after"]])
        .collect();
    let member = json!({"member": user.name});
    let exec = json!({"command": "exec", "scope": ""});
    let ssh = json!({"command": "ssh", "scope": "dc=seoul,user=root"});
    let (first, second) = (
        json!({"description": "The first"}),
        json!({"description": "The second"}),
    );
    let all = json!({"description": "The second", "members": [user.name], "grants": [ssh]});
    let none = &Value::Null;
    let wanted = [
        [&json!("create group"), none, &first],
        [&json!("describe group"), &first, &second],
        [&json!("add member"), none, &member],
        [&json!("grant"), none, &ssh],
        [&json!("grant"), none, &exec],
        [&json!("revoke"), &exec, none],
        [&json!("remove member"), &member, none],
        [&json!("add member"), none, &member],
        [&json!("delete group"), &all, none],
    ];
    assert_eq!(shown, wanted);
    assert!(changes.iter().all(|one| one["changed_by"] == admin.name));
    let of_user = admin.json(&["rbac", "log", "--user", "RECORD-USER", "-n", "2"]);
    assert_eq!(of_user["changes"].as_array().unwrap().len(), 2);
    let actions = of_user["changes"].as_array().unwrap().iter();
    let actions: Vec<&Value> = actions.map(|change| &change["action"]).collect();
    assert_eq!(actions, ["delete group", "add member"]);
    let table = admin.ok(&["rbac", "log", "--group", "record"]);
    assert!(table.contains("The second, 1 member, 1 grant"), "{table}");
}

#[test]
fn a_grant_of_an_unknown_command_can_be_revoked() {
    let Some(centre) = narrowed() else { return };
    let admin = User::new(centre, "future-admin", ADMIN);
    for (args, said) in [
        (&["create", "future"][..], "created the group `future`"),
        (
            &["create", "future", "x"],
            "changed the description of the group `future`",
        ),
        (&["create", "future", "x"], "nothing changed"),
    ] {
        let found = admin.run(&[&["rbac", "group"], args].concat());
        assert!(found.code == 0 && found.stderr.contains(said), "{found:?}");
    }
    sql(
        centre,
        "insert into vctl.rbac_grants (group_name, command) values ('future', 'reboot')",
    );
    admin.ok(&["rbac", "revoke", "future", "reboot"]);
    let group = admin.json(&["rbac", "group", "show", "future"]);
    assert_eq!(group["groups"][0]["grants"], json!([]));
}

/// Words after `vctl rbac`, the exit status, and a part of the error.
const REFUSED: &[(&[&str], i32, &str)] = &[
    (
        &["group", "create", "bad'; drop"],
        2,
        "is not the name of a group",
    ),
    (
        &["group", "create", "bad\nly"],
        2,
        "is not the name of a group",
    ),
    (
        &["group", "create", "bad\u{1b}[31m"],
        2,
        "is not the name of a group",
    ),
    (&["group", "create", ""], 2, "is empty"),
    (
        &["group", "create", "bad2", "x\ny"],
        2,
        "control character U+000A",
    ),
    (&["member", "add", "bad", "x\u{7}"], 2, "control character"),
    (
        &["member", "add", "absent", "bad-user"],
        66,
        "there is no group `absent`",
    ),
    (
        &["member", "add", "everyone", "bad-user"],
        2,
        "every person is a member",
    ),
    (
        &["grant", "bad", "reboot"],
        2,
        "`*`, `ssh`, `exec`, `sync`, `prune`, `trust-ca`",
    ),
    (
        &["grant", "bad", "list"],
        2,
        "not a command that can be granted",
    ),
    (
        &["grant", "bad", "ssh:moon=full"],
        2,
        "the conditions are `dc`, `host` and `user`",
    ),
    (
        &["grant", "bad", "exec:dc=seoul"],
        2,
        "`exec` takes no scope",
    ),
    (
        &["grant", "absent", "ssh"],
        66,
        "there is no group `absent`",
    ),
    (
        &["revoke", "absent", "ssh"],
        66,
        "there is no group `absent`",
    ),
    (
        &["group", "show", "absent"],
        66,
        "there is no group `absent`",
    ),
    (
        &["group", "delete", "absent", "--yes"],
        66,
        "there is no group `absent`",
    ),
    (&["group", "delete", "bad"], 2, "use `--yes`"),
    (
        &["group", "delete", "everyone", "--yes"],
        2,
        "cannot be deleted",
    ),
    (&["assign"], 2, "there is no terminal"),
    (&["assign", "bad"], 2, "there is no terminal"),
    (&["grant", "bad"], 2, "there is no terminal"),
];

#[test]
fn bad_input_is_refused_by_name_and_changes_nothing() {
    let Some(centre) = narrowed() else { return };
    let admin = User::new(centre, "bad-admin", ADMIN);
    User::new(centre, "bad-user", PLAIN);
    admin.ok(&["rbac", "group", "create", "bad"]);
    let before = state(centre, "bad");
    let (long, most) = ("a".repeat(200), "a".repeat(2_000));
    let long_name: (&[&str], i32, &str) = (
        &["group", "create", &long],
        2,
        "200 characters; the limit is 63",
    );
    let long_user: (&[&str], i32, &str) = (
        &["member", "add", "bad", &most],
        2,
        "2000 characters; the limit is 1024",
    );
    for (args, code, why) in REFUSED.iter().chain([&long_name, &long_user]) {
        let said = admin.run(&[&["rbac"], *args].concat());
        assert_eq!(
            (said.code, &*said.stdout),
            (*code, ""),
            "{args:?}: {said:?}"
        );
        assert!(said.stderr.contains(why), "{args:?}: {said:?}");
        let escaped = said.stderr.chars().all(|c| c == '\n' || !c.is_control());
        assert!(escaped, "{args:?}: {said:?}");
    }
    assert_eq!(state(centre, "bad"), before);
    // A quote in a name that Vault gives is data.
    admin.ok(&["rbac", "member", "add", "bad", "oidc-o'neill\"; --"]);
    let shown = admin.json(&["rbac", "group", "show", "bad"]);
    assert_eq!(shown["groups"][0]["members"], json!(["oidc-o'neill\"; --"]));
}

#[test]
fn a_user_without_an_admin_policy_changes_nothing() {
    let Some(centre) = narrowed() else { return };
    let admin = User::new(centre, "unentitled-admin", ADMIN);
    let user = User::new(centre, "unentitled", PLAIN);
    admin.ok(&["rbac", "group", "create", "unentitled"]);
    let before = state(centre, "unentitled");
    for args in [
        &["group", "create", "unentitled-2"][..],
        &["member", "add", "unentitled", "unentitled"],
        &["member", "remove", "unentitled", "unentitled"],
        &["grant", "unentitled", "ssh"],
        &["revoke", "unentitled", "ssh"],
        &["assign", "unentitled", "unentitled"],
        &["group", "delete", "unentitled", "--yes"],
    ] {
        let said = user.run(&[&["rbac"], args].concat());
        assert_eq!(said.code, 77, "{args:?}: {said:?}");
        let why = "only a user with an admin policy may";
        assert!(said.stderr.contains(why), "{args:?}: {said:?}");
    }
    assert_eq!(state(centre, "unentitled"), before);
}

/// Returns the numbers of groups whose names begin with `name`, of their members, grants and changes.
fn state(centre: &Centre, name: &str) -> String {
    let count = |table: &str, column: &str| {
        format!("(select count(*) from vctl.{table} where {column} like '{name}%')")
    };
    sql(
        centre,
        &format!(
            "select {}, {}, {}, {}",
            count("rbac_groups", "name"),
            count("rbac_members", "group_name"),
            count("rbac_grants", "group_name"),
            count("rbac_change", "group_name")
        ),
    )
}

#[test]
fn users_are_listed_with_version_login_and_groups() {
    let Some(centre) = narrowed() else { return };
    let admin = User::new(centre, "users-admin", ADMIN);
    let user = User::new(centre, "users-one", PLAIN);
    user.is_in(&admin, "users", &[]);
    admin.ok(&["rbac", "assign", "users", "users-admin", "oidc-users-never"]);
    let list = user.json(&["rbac", "users"]);
    let find = |name: &str| {
        let users = list["users"].as_array().unwrap().iter();
        users
            .clone()
            .find(|user| user["display_name"] == name)
            .unwrap()
            .clone()
    };
    let one = find(&user.name);
    assert_eq!(
        (&one["name"], &one["groups"]),
        (&json!("users-one"), &json!(["users"]))
    );
    assert_eq!(one["vctl_version"], env!("CARGO_PKG_VERSION"));
    assert!(one["last_login_age_s"].as_u64().unwrap() < 600, "{one}");
    assert_eq!(find(&admin.name)["groups"], json!(["users"]));
    let never = find("oidc-users-never");
    assert_eq!(
        (&never["last_login"], &never["name"]),
        (&Value::Null, &json!("users-never"))
    );
    let table = user.ok(&["rbac", "users"]);
    let row = table
        .lines()
        .find(|line| line.starts_with("users-never"))
        .unwrap();
    assert!(row.contains("never"), "{row}");
    for format in ["wide", "jsonl", "yaml", "csv", "name"] {
        let text = user.ok(&["rbac", "users", "-o", format]);
        assert!(text.contains("userpass-users-one"), "{format}: {text}");
    }
}

/// Runs SQL as the holder of a token, and returns Postgres' refusal.
fn refused(centre: &Centre, login: Login<'_>, sql: &str) -> String {
    match centre.postgres.psql_as(login, sql) {
        Ok(answer) => panic!("`{sql}` was not refused: {answer}"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn the_record_cannot_be_forged_or_changed() {
    let Some(centre) = narrowed() else { return };
    let admin = centre
        .person("forging", &["vctl-user", "vctl-admin"])
        .unwrap();
    let rw = admin.credential("vctl-rw").unwrap();
    // The name of the author comes from the login, not from the client.
    let as_another = "select vctl.rbac_create_group_v1('userpass-another', 'forged', null)";
    let why = refused(centre, rw.login(), as_another);
    assert!(
        why.contains("is not the one of `userpass-another`"),
        "{why}"
    );
    for statement in [
        "insert into vctl.rbac_grants (group_name, command) values ('everyone', '*')",
        "insert into vctl.rbac_members (group_name, vault_user) values ('everyone', 'x')",
        "delete from vctl.rbac_groups",
        "insert into vctl.rbac_change (action, group_name, after) values ('grant', 'x', '{}')",
        "update vctl.rbac_change set changed_by = 'x'",
        "delete from vctl.rbac_change",
        "truncate vctl.rbac_change",
        "select vctl.record_rbac('userpass-another', 'grant', 'x', null, '{}')",
        "select vctl.person_key('x')",
    ] {
        let why = refused(centre, rw.login(), statement);
        assert!(why.contains("permission denied"), "{statement}: {why}");
    }
    // Neither does the owner of the schema change a row, nor a superuser by mistake.
    let owner = admin.credential("vctl-migrator").unwrap();
    for change in [
        "update vctl.rbac_change set changed_by = 'x'",
        "delete from vctl.rbac_change",
    ] {
        let why = refused(
            centre,
            owner.login(),
            &format!("set role vctl_owner; {change}"),
        );
        assert!(why.contains("permission denied"), "{change}: {why}");
        let why = refused(centre, centre.postgres.superuser("vctl"), change);
        assert!(why.contains("never changed or deleted"), "{change}: {why}");
    }
    // A login finds its own grants alone, whatever it sends.
    let reader = centre.person("forging-reader", &["vctl-user"]).unwrap();
    let ro = reader.credential("vctl-ro").unwrap();
    let own = "select count(*) from vctl.caller_grants_v1() where group_name <> 'everyone'";
    assert_eq!(centre.postgres.psql_as(ro.login(), own).unwrap(), "0");
}
