//! While Postgres is away: vctl reads some cached data, does not read other data, and refuses some commands.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use vctl_tests::centre::{Centre, DATABASE, Options};

use crate::login::{Said, Workstation, person};

/// A user at a workstation of a centre that can stop its Postgres.
struct Outage<'a> {
    centre: &'a Centre,
    at: Workstation<'a>,
    name: String,
    password: String,
}

impl<'a> Outage<'a> {
    fn new(centre: &'a Centre, name: &str, policies: &[&str]) -> Self {
        let password = person(centre, name, 3600, 7200);
        let outage = Self {
            centre,
            at: Workstation::new(centre),
            name: name.to_owned(),
            password,
        };
        outage.may(policies);
        outage.log_in();
        outage
    }

    fn may(&self, policies: &[&str]) {
        let path = format!("auth/userpass/users/{}", self.name);
        let admin = self.centre.bao.admin().unwrap();
        admin.post(&path, &json!({"policies": policies})).unwrap();
    }

    fn log_in(&self) {
        let arguments = ["login", "--username", &self.name, "--password-stdin"];
        let said = self.at.given(&arguments, &self.password);
        assert_eq!(said.code, 0, "{said:?}");
    }

    fn sql(&self, sql: &str) {
        self.centre.postgres.psql(DATABASE, sql).unwrap();
    }

    fn with_hosts(&self) {
        self.sql(
            "insert into vctl.servers (hostname, ip, dc, jump_via) values \
             ('edge', '192.0.2.1', 'seoul', null), ('web-1', '192.0.2.2', 'seoul', 'edge'), \
             ('web-2', '192.0.2.3', 'incheon', 'edge'), ('old', '192.0.2.4', 'seoul', null); \
             update vctl.servers set last_seen_up = now() where hostname = 'edge'; \
             update vctl.servers set state = 'retired' where hostname = 'old'; \
             insert into vctl.server_status (hostname, agent_version, addresses) values \
             ('web-1', '0.1.0', '{2001:db8::2}')",
        );
    }

    fn file(&self) -> PathBuf {
        self.at.home(".vctl/inventory.json")
    }

    /// Changes the time of the cached data.
    fn kept_at(&self, time: &str) {
        let mut kept = self.kept();
        kept["taken_at"] = json!(time);
        fs::write(self.file(), kept.to_string()).unwrap();
    }

    fn kept(&self) -> Value {
        serde_json::from_slice(&fs::read(self.file()).unwrap()).unwrap()
    }

    fn run(&self, args: &[&str]) -> Said {
        self.at.run(args)
    }

    fn names(&self, args: &[&str]) -> Vec<String> {
        let said = self.run(&[args, &["-o", "name"]].concat());
        assert_eq!(said.code, 0, "{said:?}");
        said.stdout.lines().map(str::to_owned).collect()
    }
}

#[test]
fn cached_data_is_read_and_nothing_is_changed() {
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    let outage = Outage::new(&centre, "outage-reader", &["vctl-user", "vctl-admin"]);
    // vctl does not cache an inventory that the user may not read.
    assert_eq!(outage.run(&["list"]).code, 0);
    assert!(!outage.file().exists());
    let said = outage.run(&["cache", "refresh"]);
    assert_eq!(said.code, 66, "{said:?}");
    outage.with_hosts();
    // vctl does not cache a list of one host as the whole inventory.
    assert_eq!(outage.run(&["list", "web-1"]).code, 0);
    assert!(!outage.file().exists());
    assert_eq!(outage.run(&["list"]).code, 0);
    let mode = fs::metadata(outage.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let live = outage.run(&["list", "--all", "-o", "json"]);
    assert_eq!(live.stderr, "");
    let mut live: Value = serde_json::from_str(&live.stdout).unwrap();

    centre.postgres.kill().unwrap();
    let said = outage.run(&["list", "--all", "-o", "json"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.stderr.contains("cannot reach Postgres") && said.stderr.contains("s ago"),
        "{said:?}"
    );
    let kept: Value = serde_json::from_str(&said.stdout).unwrap();
    for host in live["hosts"].as_array_mut().unwrap() {
        host["liveness"] = json!("?");
        for seen in ["last_seen_up", "agent_version", "agent_reported_at"] {
            host[seen] = Value::Null;
        }
    }
    assert_eq!(kept, live);
    assert_eq!(outage.names(&["list"]), ["web-2", "edge", "web-1"]);
    assert_eq!(outage.names(&["list", "2001:db8::2"]), ["web-1"]);
    assert_eq!(outage.names(&["list", "eb"]), ["web-2", "web-1"]);
    assert_eq!(outage.names(&["list", "old"]), ["old"]);
    assert_eq!(
        outage.names(&["list", "--route", "web-2"]),
        ["edge", "web-2"]
    );
    assert_eq!(outage.run(&["list", "%"]).code, 66);
    let table = outage.run(&["list"]).stdout;
    assert!(!table.contains("up") && !table.contains("down"), "{table}");

    let config = outage.at.home("ssh_config");
    fs::write(&config, "Host web-3\n  HostName 127.0.0.1\n  Port 1\n").unwrap();
    for change in [
        &["add", "web-3", "--ip", "192.0.2.9"][..],
        &["edit", "web-1", "--dc", "busan"],
        &["delete", "web-1", "--yes"],
        &["dbedit", "--col", "dc", "web-1=busan"],
        &["sync", "--config", config.to_str().unwrap()],
    ] {
        let said = outage.run(change);
        assert_eq!(said.code, 69, "{change:?}: {said:?}");
        let why = "the inventory cannot be changed while Postgres is unreachable";
        assert!(said.stderr.contains(why), "{change:?}: {said:?}");
    }
    let said = outage.run(&["cache", "refresh"]);
    assert_eq!((said.code, said.stdout.as_str()), (69, ""), "{said:?}");

    centre.postgres.start().unwrap();
    let said = outage.run(&["list"]);
    assert_eq!(said.stderr, "");
    assert!(said.stdout.contains("1 of 3 hosts up") || said.stdout.contains("2 of 3 hosts up"));
}

#[test]
fn the_cache_expires_and_follows_the_rights_in_vault() {
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    let outage = Outage::new(&centre, "outage-refused", &["vctl-user"]);
    outage.with_hosts();
    assert_eq!(outage.run(&["list"]).code, 0);
    let taken = outage.kept()["taken_at"].as_str().unwrap().to_owned();

    // Postgres answers, but with the wrong identity.
    let mut other = outage.at.command(&["list"]);
    let said: Said = other
        .env("VCTL_DB_SERVERNAME", "not.this.example")
        .output()
        .unwrap()
        .into();
    assert_eq!(said.stdout, "", "{said:?}");
    assert!(said.stderr.contains("is not trusted as"), "{said:?}");
    // Postgres runs, but Vault denies the access.
    outage.may(&["vctl-ssh"]);
    outage.log_in();
    let said = outage.run(&["list"]);
    assert_eq!((said.code, said.stdout.as_str()), (77, ""), "{said:?}");
    centre.postgres.kill().unwrap();
    let said = outage.run(&["list"]);
    assert_eq!((said.code, said.stdout.as_str()), (77, ""), "{said:?}");
    outage.may(&["vctl-user"]);
    outage.log_in();
    assert_eq!(outage.run(&["list"]).code, 0);

    // The cache is of another database, though of the same Vault.
    let mut other = outage.at.command(&["list"]);
    let said: Said = other
        .env("VCTL_DB_NAME", "staging")
        .output()
        .unwrap()
        .into();
    assert_eq!((said.code, said.stdout.as_str()), (69, ""), "{said:?}");
    assert!(
        said.stderr.contains("belong to another inventory"),
        "{said:?}"
    );

    for (time, why) in [
        ("2020-01-01T00:00:00Z", "they are not used after 7 days"),
        ("2120-01-01T00:00:00Z", "in the future"),
    ] {
        outage.kept_at(time);
        let said = outage.run(&["list"]);
        assert_eq!((said.code, said.stdout.as_str()), (69, ""), "{said:?}");
        assert!(said.stderr.contains(why), "{said:?}");
    }
    outage.kept_at(&taken);
    assert_eq!(outage.run(&["list"]).code, 0);

    // vctl does not trust a cache file that other users can write.
    fs::set_permissions(outage.file(), fs::Permissions::from_mode(0o666)).unwrap();
    let said = outage.run(&["list"]);
    assert_eq!(said.code, 69, "{said:?}");
    assert!(
        said.stderr.contains("other users can write the file"),
        "{said:?}"
    );
    fs::set_permissions(outage.file(), fs::Permissions::from_mode(0o600)).unwrap();

    // vctl does not use the cache if it cannot ask Vault.
    let mut nobody = outage.at.command(&["list"]);
    let said: Said = nobody
        .env("VAULT_TOKEN", "hvs.nobody")
        .output()
        .unwrap()
        .into();
    assert_eq!((said.code, said.stdout.as_str()), (77, ""), "{said:?}");
    centre.bao.kill().unwrap();
    let said = outage.run(&["list"]);
    assert_eq!((said.code, said.stdout.as_str()), (69, ""), "{said:?}");
}

#[test]
fn the_cache_is_shown_renewed_and_removed() {
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    let outage = Outage::new(&centre, "outage-cache", &["vctl-user"]);
    outage.with_hosts();
    let said = outage.run(&["cache", "status"]);
    assert_eq!((said.code, said.stdout.as_str()), (0, ""), "{said:?}");
    assert!(said.stderr.contains("no hosts are cached"), "{said:?}");
    let said = outage.run(&["cache", "refresh"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.contains("inventory.json"), "{said:?}");

    let json = |args: &[&str]| -> Value {
        let said = outage.run(&[args, &["-o", "json"]].concat());
        assert_eq!(said.code, 0, "{said:?}");
        serde_json::from_str(&said.stdout).unwrap()
    };
    let status = json(&["cache", "status"]);
    let cache = &status["caches"][0];
    assert_eq!(
        (&cache["hosts"], &cache["usable"], &cache["problem"]),
        (&json!(4), &json!(true), &Value::Null)
    );
    assert_eq!(
        cache["taken_at"].as_str().unwrap().len(),
        "2026-11-24T00:00:00Z".len()
    );
    for form in ["wide", "jsonl", "yaml", "csv", "name"] {
        let said = outage.run(&["cache", "status", "-o", form]);
        assert!(said.stdout.contains("inventory.json"), "{form}: {said:?}");
    }
    // The cache commands need neither Postgres nor a token.
    centre.postgres.kill().unwrap();
    assert_eq!(outage.run(&["logout"]).code, 0);
    outage.kept_at("2020-01-01T00:00:00Z");
    let cache = &json(&["cache", "status"])["caches"][0];
    assert_eq!(cache["usable"], json!(false));
    assert!(cache["problem"].as_str().unwrap().contains("7 days"));
    assert_eq!(json(&["cache", "clear"])["caches"], json!([]));
    assert!(!outage.file().exists());
    assert_eq!(outage.run(&["cache", "clear"]).code, 0);

    centre.postgres.start().unwrap();
    outage.log_in();
    assert_eq!(outage.run(&["list"]).code, 0);
    assert!(outage.file().exists());
    assert_eq!(outage.run(&["logout", "--all"]).code, 0);
    assert!(!outage.file().exists());
}
