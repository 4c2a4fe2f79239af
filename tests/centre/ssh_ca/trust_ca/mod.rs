//! `vctl trust-ca` on a real sshd with an `/etc/ssh` of its own, through a real `ssh`.

mod image;
mod install;
mod refusals;
mod sudo;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::OnceLock;

use vctl_tests::centre::{Centre, DATABASE, Machine, Options};
use vctl_tests::terminal::Terminal;

use crate::login::{Said, Workstation};

/// A user with a key on a host and with the right to change the inventory.
pub(crate) struct Administrator<'a> {
    pub(crate) centre: &'a Centre,
    pub(crate) at: Workstation<'a>,
}

/// Returns the centre that these specs share, with an account for logins.
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

impl<'a> Administrator<'a> {
    pub(crate) fn new(centre: &'a Centre, name: &str) -> Self {
        Self::with(centre, name, &["vctl-user", "vctl-ssh", "vctl-admin"])
    }

    /// Returns a user with these policies.
    pub(crate) fn with(centre: &'a Centre, name: &str, policies: &[&str]) -> Self {
        let password = crate::login::person(centre, name, 3600, 7200);
        let admin = centre.bao.admin().unwrap();
        let policies = serde_json::json!({"policies": policies});
        admin
            .post(&format!("auth/userpass/users/{name}"), &policies)
            .unwrap();
        let new = Self::nobody(centre);
        let login = ["login", "--username", name, "--password-stdin"];
        let said = new.at.given(&login, &password);
        assert_eq!(said.code, 0, "{said:?}");
        new
    }

    /// Returns a user without a login to Vault.
    pub(crate) fn nobody(centre: &'a Centre) -> Self {
        let new = Self {
            centre,
            at: Workstation::new(centre),
        };
        new.own_ssh();
        new
    }

    /// Writes an `ssh` that uses a configuration file, as OpenSSH would if it used HOME. The script records its calls.
    fn own_ssh(&self) {
        let (home, bin) = (self.at.home(""), self.at.home("bin"));
        fs::create_dir(&bin).unwrap();
        fs::create_dir(self.at.home(".ssh")).unwrap();
        let key = self.at.home("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status();
        assert!(made.unwrap().success());
        let home = home.display();
        let config = format!(
            "IdentityFile {home}/key\nUserKnownHostsFile {home}/.ssh/known_by_ssh\n\
             StrictHostKeyChecking accept-new\n"
        );
        fs::write(self.at.home("ssh_config"), config).unwrap();
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$*\" >>{home}/ssh-calls\nexec /usr/bin/ssh -F {home}/ssh_config \"$@\"\n"
        );
        let ssh = bin.join("ssh");
        fs::write(&ssh, script).unwrap();
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Starts a host that accepts this user's own key, and adds it to the inventory.
    pub(crate) fn machine(&self, name: &str) -> Machine {
        let machine = self.centre.machine(name).unwrap();
        let key = fs::read_to_string(self.at.home("key.pub")).unwrap();
        machine.authorize(&key).unwrap();
        self.sql(&format!(
            "insert into vctl.servers (hostname, ip, ssh_port, ssh_user) \
             values ('{name}', '127.0.0.1', {}, '{}')",
            machine.port(),
            machine.user()
        ));
        self.remembers(&format!("{name} {}\n", machine.public_key()));
        machine
    }

    /// Adds a line to the `known_hosts` of vctl.
    pub(crate) fn remembers(&self, line: &str) {
        let path = self.at.home(".ssh/known_hosts");
        let before = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, before + line).unwrap();
    }

    pub(crate) fn sql(&self, sql: &str) -> String {
        self.centre.postgres.psql(DATABASE, sql).unwrap()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.at.command(args);
        let path = format!("{}:/usr/bin:/bin", self.at.home("bin").display());
        command.env("PATH", path);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Said {
        self.command(args).output().unwrap().into()
    }

    pub(crate) fn before_a_person(&self, args: &[&str]) -> Terminal {
        Terminal::start(self.command(args), 200).unwrap()
    }

    /// Returns whether the host accepts a certificate.
    pub(crate) fn logs_in(&self, host: &str) -> bool {
        let said = self.run(&["ssh", "-q", "--server", host, "--", "true"]);
        assert!(said.code == 0 || said.code == 77, "{said:?}");
        said.code == 0
    }

    pub(crate) fn applied(&self, host: &str) -> bool {
        let sql =
            format!("select ca_applied_at is not null from vctl.servers where hostname = '{host}'");
        self.sql(&sql) == "t"
    }
}

/// A key that no CA signs with, as a line and as a fingerprint.
pub(crate) const OTHER: [&str; 2] = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ",
    "SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE",
];
