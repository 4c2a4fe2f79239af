//! Steps of a login that vctl does not wait for, at a server that answers otherwise than the last time.

use std::fs;

use serde_json::{Value, json};
use vctl_tests::centre::Centre;
use vctl_tests::lab::{PATIENCE, eventually};

use super::User;

impl User<'_> {
    /// Returns the file with everything that vctl knows about servers.
    fn known_file(&self) -> Value {
        serde_json::from_slice(&fs::read(self.at.home(".vctl/db-server")).unwrap()).unwrap()
    }

    /// Returns what vctl knows about the server of the centre.
    fn known(&self) -> Value {
        let database = self.database();
        self.known_file()["servers"][&database].clone()
    }

    /// Replaces what vctl knows about the server of the centre.
    fn replace_known(&self, known: &Value) {
        let mut file = self.known_file();
        file["servers"][self.database()] = known.clone();
        fs::write(self.at.home(".vctl/db-server"), file.to_string()).unwrap();
    }

    fn knows(&self, shortcuts: &Value) {
        let mut known = self.known();
        known["shortcuts"] = shortcuts.clone();
        self.replace_known(&known);
    }

    fn database(&self) -> String {
        let file = self.known_file();
        let databases = file["servers"].as_object().unwrap().keys();
        let port = format!(":{}/", self.at.centre.postgres.port);
        let mut ours = databases.filter(|database| database.contains(&port));
        ours.next().unwrap().clone()
    }

    /// Returns whether Postgres accepts TLS without a request for it.
    fn has_direct_tls(&self) -> bool {
        let version: u32 = self.psql("show server_version_num").parse().unwrap();
        version >= 170_000
    }

    /// Runs `vctl list`, which must read Postgres.
    fn list_is_right(&self) {
        let said = self.list();
        assert!(!said.stderr.contains("cached"), "{said:?}");
    }
}

#[test]
fn a_known_server_is_remembered_for_a_day() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let user = User::new(centre, "dbs-known");
    user.list_is_right();
    let learned = json!({"direct_tls": user.has_direct_tls(), "scram": true});
    assert_eq!(user.known()["shortcuts"], learned);
    // The next command changes nothing in the file.
    let before = user.known();
    user.list_is_right();
    assert_eq!(user.known(), before);
    // What the file says would be wrong for this server.
    let wrong = json!({"direct_tls": !user.has_direct_tls(), "scram": false});
    for learned_at in ["2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"] {
        user.replace_known(&json!({"learned": learned_at, "shortcuts": wrong}));
        user.list_is_right();
        assert_eq!(user.known()["shortcuts"], learned, "{learned_at}");
    }
    user.knows(&wrong);
    let mut other = user.known_file();
    other["version"] = json!(7);
    fs::write(user.at.home(".vctl/db-server"), other.to_string()).unwrap();
    user.list_is_right();
    assert_eq!(user.known()["shortcuts"], learned);
    // What is known about another server stays.
    let mut other = user.known_file();
    let fact = json!({"learned": user.known()["learned"], "shortcuts": wrong});
    other["servers"]["db.example.net:5432/vctl"] = fact.clone();
    other["servers"]
        .as_object_mut()
        .unwrap()
        .remove(&user.database());
    fs::write(user.at.home(".vctl/db-server"), other.to_string()).unwrap();
    user.list_is_right();
    assert_eq!(user.known()["shortcuts"], learned);
    assert_eq!(
        user.known_file()["servers"]["db.example.net:5432/vctl"],
        fact
    );
    for damaged in [&b""[..], b"{", b"\xff\xfe", b"[]"] {
        fs::write(user.at.home(".vctl/db-server"), damaged).unwrap();
        user.list_is_right();
        assert_eq!(user.known()["shortcuts"], learned);
    }
}

#[test]
fn a_server_without_direct_tls_is_asked_for_it() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let user = User::new(centre, "dbs-direct");
    user.list_is_right();
    user.knows(&json!({"direct_tls": true, "scram": true}));
    // The second command uses what the first one learned.
    user.list_is_right();
    user.list_is_right();
    let shortcuts = json!({"direct_tls": user.has_direct_tls(), "scram": true});
    assert_eq!(user.known()["shortcuts"], shortcuts);
}

#[test]
fn a_server_that_wants_no_scram_any_more_is_used() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let user = User::new(centre, "dbs-scram");
    user.list_is_right();
    let (login, hba) = (user.login(), centre.postgres.data().join("pg_hba.conf"));
    for method in ["password", "trust", "scram-sha-256"] {
        let rest = fs::read_to_string(&hba).unwrap();
        let line = format!("hostssl all \"{login}\" 127.0.0.1/32 {method}\n");
        fs::write(&hba, format!("{line}{rest}")).unwrap();
        let method_now = || {
            let rule = "select auth_method from pg_hba_file_rules where line_number = 1";
            Ok(user.psql(rule) == method)
        };
        user.psql("select pg_reload_conf()");
        assert!(eventually(PATIENCE, method_now).unwrap());
        // The server may take a moment to use the file.
        let learned = || {
            user.knows(&json!({"direct_tls": false, "scram": true}));
            user.list_is_right();
            Ok(user.known()["shortcuts"]["scram"] == json!(method == "scram-sha-256"))
        };
        assert!(eventually(PATIENCE, learned).unwrap(), "{method}");
        user.list_is_right();
        assert_eq!(user.login(), login, "{method}");
    }
}
