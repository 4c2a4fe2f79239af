//! `vctl ssh` on a real sshd, with a certificate of a real Vault, and its row in a real Postgres.

mod clocks;
mod files;
mod outage_cache;
mod picker;
mod status;
mod verify;
mod bytes;
mod extensions;
mod host_keys;
mod ways;
mod hangs;
mod lost_routes;
mod refusals;
mod ports;
mod terminal;
mod outage;
mod outbox;
mod odd;
mod descriptors;
mod early;
mod ignored_signals;
mod modes;
mod destinations;
mod stalls;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use vctl_tests::centre::{Centre, DATABASE, Host, Options};
use vctl_tests::terminal::Terminal;

use crate::login::{Said, Workstation, give, person};

pub(crate) use hangs::black_hole;

/// Returns the centre with one host that these specs share.
pub(crate) fn shared() -> Option<&'static Centre> {
    static SHARED: OnceLock<Option<Centre>> = OnceLock::new();
    let start = || {
        Centre::or_skip(&Options {
            host: true,
            ..Options::default()
        })
    };
    SHARED.get_or_init(start).as_ref()
}

/// A user at a workstation with the right to log in, and with hosts in an inventory of their own.
pub(crate) struct Operator<'a> {
    centre: &'a Centre,
    pub(crate) at: Workstation<'a>,
    name: String,
    password: String,
}

impl<'a> Operator<'a> {
    pub(crate) fn new(centre: &'a Centre, name: &str) -> Self {
        let password = person(centre, name, 3600, 7200);
        let admin = centre.bao.admin().unwrap();
        let policies = serde_json::json!({"policies": ["vctl-user", "vctl-ssh"]});
        admin
            .post(&format!("auth/userpass/users/{name}"), &policies)
            .unwrap();
        let at = Workstation::new(centre);
        let said = at.given(
            &["login", "--username", name, "--password-stdin"],
            &password,
        );
        assert_eq!(said.code, 0, "{said:?}");
        Self {
            centre,
            at,
            name: name.to_owned(),
            password,
        }
    }

    /// Adds a policy, and logs in again with it.
    pub(crate) fn may(&self, policy: &str) {
        self.has(&["vctl-user", "vctl-ssh", policy]);
    }

    /// Logs in again without one of the two usual policies.
    pub(crate) fn loses(&self, policy: &str) {
        let rest: Vec<&str> = ["vctl-user", "vctl-ssh"]
            .into_iter()
            .filter(|other| *other != policy)
            .collect();
        self.has(&rest);
    }

    fn has(&self, policies: &[&str]) {
        let policies = serde_json::json!({"policies": policies});
        let user = format!("auth/userpass/users/{}", self.name);
        let admin = self.centre.bao.admin().unwrap();
        admin.post(&user, &policies).unwrap();
        self.log_in_again();
    }

    pub(crate) fn log_in_again(&self) {
        self.log_in_with(&[]);
    }

    /// Logs in with other settings, such as another address of Vault.
    pub(crate) fn log_in_with(&self, settings: &[(&'static str, String)]) {
        let login = ["login", "--username", &self.name, "--password-stdin"];
        let mut command = self.at.command(&login);
        command.envs(settings.iter().cloned());
        let said = give(command, &self.password);
        assert_eq!(said.code, 0, "{said:?}");
    }

    /// Adds a host to the inventory and to this user's `known_hosts`.
    pub(crate) fn knows(&self, name: &str, host: &Host) {
        self.inventory(name, "127.0.0.1", host.port(), host.user());
        self.remembers(&format!("{name} {}\n", host.public_key()));
    }

    pub(crate) fn inventory(&self, name: &str, ip: &str, port: u16, user: &str) {
        let sql = format!(
            "insert into vctl.servers (hostname, ip, ssh_port, ssh_user) \
             values ('{name}', '{ip}', {port}, '{user}')"
        );
        self.centre.postgres.psql(DATABASE, &sql).unwrap();
    }

    pub(crate) fn jumps(&self, name: &str, via: &str) {
        let sql = format!("update vctl.servers set jump_via = '{via}' where hostname = '{name}'");
        self.centre.postgres.psql(DATABASE, &sql).unwrap();
    }

    fn known_hosts(&self) -> PathBuf {
        self.at.home(".ssh/known_hosts")
    }

    pub(crate) fn remembers(&self, line: &str) {
        let path = self.known_hosts();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut text = fs::read_to_string(&path).unwrap_or_default();
        text.push_str(line);
        fs::write(&path, text).unwrap();
    }

    fn ssh(&self, args: &[&str]) -> Said {
        self.at.run(&[&["ssh", "-q"], args].concat())
    }

    fn given(&self, args: &[&str], input: &str) -> Said {
        self.at.given(&[&["ssh", "-q"], args].concat(), input)
    }

    fn before_a_person(&self, args: &[&str]) -> Terminal {
        self.at.before_a_person(&[&["ssh", "-q"], args].concat())
    }

    fn command(&self, args: &[&str]) -> Command {
        self.at.command(&[&["ssh", "-q"], args].concat())
    }

    /// Starts `vctl ssh` with pipes for its input and its outputs.
    fn start(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Returns this user's accesses to a host from Postgres, the oldest first.
    pub(crate) fn accesses(&self, host: &str) -> Vec<Value> {
        let sql = format!(
            "select coalesce(json_agg(a order by id), '[]') from (select l.*, \
                (select json_agg(h order by hop) from vctl.access_hop h where h.access_id = l.id) as hops \
             from vctl.access_log l where vault_user = 'userpass-{}' and hostname = '{host}') a",
            self.name
        );
        let rows = self.centre.postgres.psql(DATABASE, &sql).unwrap();
        serde_json::from_str(&rows).unwrap()
    }
}
