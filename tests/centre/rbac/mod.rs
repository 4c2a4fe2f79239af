//! Command grants: the gate before gated commands, changes and their record, and requests without the client.
//!
//! These specs share a centre of their own, in which the group `everyone` has no grant.

mod changes;
mod gate;
mod matrix;
mod outage;
mod pickers;
mod relay;
mod round_trips;
mod scopes;
mod slow;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;

use serde_json::{Value, json};
use vctl_tests::centre::{Centre, DATABASE, Host, Options};

use crate::login::{Said, Workstation, person};

/// Returns the centre with one host in which an administrator has revoked `*` from `everyone`.
fn narrowed() -> Option<&'static Centre> {
    static NARROWED: OnceLock<Option<Centre>> = OnceLock::new();
    let start = || {
        let centre = Centre::or_skip(&Options {
            host: true,
            ..Options::default()
        })?;
        enforce_scopes(&centre);
        let admin = User::new(&centre, "narrowing", ADMIN);
        // Until then, every user may run every command.
        let user = User::new(&centre, "before-narrowing", PLAIN);
        assert_eq!(user.grants(), ["*"]);
        let said = admin.run(&["exec", "--", "true"]);
        assert_eq!(said.code, 0, "{said:?}");
        let said = admin.run(&["rbac", "revoke", "everyone", "*"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.stderr.contains("no group has a grant now"), "{said:?}");
        drop((admin, user));
        Some(centre)
    };
    NARROWED.get_or_init(start).as_ref()
}

/// Path of the scope file of this centre.
fn scope_file(centre: &Centre) -> PathBuf {
    centre.root().join("scopes.json")
}

/// Creates the roles of all scopes that these specs grant, and makes the host accept those of the data centre `seoul`.
fn enforce_scopes(centre: &Centre) {
    let host = centre.host.as_ref().unwrap();
    let account = host.user();
    let of_account = json!({"users": [account]});
    let scopes = json!({
        "dc=seoul": of_account,
        "dc=busan": of_account,
        "host=web-*": of_account,
        "dc=seoul,host=db-*": of_account,
        (format!("user={account}")): {},
        (format!("dc=seoul,user={account}")): {},
        (format!("dc=busan,user={account}")): {},
        "user=other": {},
        "dc=seoul,user=root": {},
        "dc=seoul,user=deploy": {},
        "dc=short": {"users": [account], "ttl_s": 900, "max_ttl_s": 900},
    });
    let file = scope_file(centre);
    fs::write(&file, scopes.to_string()).unwrap();
    let output = centre.setup().env("SCOPES", &file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    accepts_scopes(host, &["dc=seoul", "host=web-*", "dc=short"]);
}

/// Makes a host accept certificates of these scopes, as `vctl trust-ca` does.
fn accepts_scopes(host: &Host, places: &[&str]) {
    let principals = places.iter().map(|place| format!(" %u@{place}"));
    let lines = format!(
        "AuthorizedPrincipalsCommand /usr/bin/printf %%s\\n %u{}\n\
         AuthorizedPrincipalsCommandUser nobody\n",
        principals.collect::<String>()
    );
    host.configure(&lines).unwrap();
}

const PLAIN: &[&str] = &["vctl-user", "vctl-ssh"];
const ADMIN: &[&str] = &["vctl-user", "vctl-admin"];

/// A user with policies in Vault, logged in at a workstation.
struct User<'a> {
    at: Workstation<'a>,
    /// Whole display name.
    name: String,
}

impl<'a> User<'a> {
    fn new(centre: &'a Centre, name: &str, policies: &[&str]) -> Self {
        let password = person(centre, name, 3600, 7200);
        let admin = centre.bao.admin().unwrap();
        let path = format!("auth/userpass/users/{name}");
        admin.post(&path, &json!({"policies": policies})).unwrap();
        let at = Workstation::new(centre);
        let login = ["login", "--username", name, "--password-stdin"];
        let said = at.given(&login, &password);
        assert_eq!(said.code, 0, "{said:?}");
        Self {
            at,
            name: format!("userpass-{name}"),
        }
    }

    fn run(&self, args: &[&str]) -> Said {
        self.at.run(args)
    }

    /// Runs a command whose standard output is not text, and returns its first line. The input ends after that line.
    fn messages(&self, args: &[&str]) -> Said {
        let mut command = self.at.command(args);
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = pipes.stderr(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = Vec::new();
        output.read_until(b'\n', &mut line).unwrap();
        drop(child.stdin.take());
        output.read_to_end(&mut Vec::new()).unwrap();
        let ended = child.wait_with_output().unwrap();
        Said {
            code: ended.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&line).trim_end().to_owned(),
            stderr: String::from_utf8(ended.stderr).unwrap(),
        }
    }

    /// Runs a command that must succeed, and returns its standard output.
    fn ok(&self, args: &[&str]) -> String {
        let said = self.run(args);
        assert_eq!(said.code, 0, "{args:?}: {said:?}");
        said.stdout
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[args, &["-o", "json"]].concat())).unwrap()
    }

    /// Returns the user's own grants.
    fn grants(&self) -> Vec<String> {
        let lines = self.ok(&["rbac", "whoami", "-o", "name"]);
        lines.lines().map(str::to_owned).collect()
    }

    /// Creates a group with this user as its member, and with these grants.
    fn is_in(&self, admin: &User<'_>, group: &str, grants: &[&str]) {
        admin.ok(&["rbac", "group", "create", group]);
        admin.ok(&["rbac", "member", "add", group, &self.name]);
        if !grants.is_empty() {
            admin.ok(&[&["rbac", "grant", group], grants].concat());
        }
    }
}

/// Runs SQL as the superuser.
fn sql(centre: &Centre, sql: &str) -> String {
    centre.postgres.psql(DATABASE, sql).unwrap()
}

/// Adds the host of the centre to the inventory under this name, and to the user's `known_hosts`.
fn adds_host(centre: &Centre, name: &str, dc: &str) {
    let host = centre.host.as_ref().unwrap();
    let (port, user) = (host.port(), host.user());
    sql(
        centre,
        &format!(
            "insert into vctl.servers (hostname, ip, ssh_port, ssh_user, dc) \
             values ('{name}', '127.0.0.1', {port}, '{user}', '{dc}') on conflict do nothing"
        ),
    );
}

fn knows(user: &User<'_>, centre: &Centre, names: &[&str]) {
    let host = centre.host.as_ref().unwrap();
    let path = user.at.home(".ssh/known_hosts");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let lines = names
        .iter()
        .map(|name| format!("{name} {}\n", host.public_key()));
    fs::write(path, lines.collect::<String>()).unwrap();
}
