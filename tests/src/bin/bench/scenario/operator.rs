//! A user with a certificate, for `vctl ssh` and for OpenSSH.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use vctl_tests::centre::{Centre, DATABASE, Host, Secret};
use vctl_tests::lab::Programs;

use super::ssh::NAME;

/// The way from a workstation to the servers.
pub(super) struct Way {
    /// Name of the host in the inventory.
    pub(super) name: &'static str,
    pub(super) ssh_port: u16,
    /// Settings of `vctl`.
    pub(super) environment: Vec<(&'static str, String)>,
}

/// A user that is logged in to Vault, knows the host, and also has a certificate.
pub(super) struct Operator<'a> {
    pub(super) centre: &'a Centre,
    host: &'a Host,
    home: PathBuf,
    vctl: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl<'a> Operator<'a> {
    pub(super) fn new(centre: &'a Centre, host: &'a Host, home: &Path) -> Result<Self> {
        let way = Way {
            name: NAME,
            ssh_port: host.port(),
            environment: centre.environment(),
        };
        Self::by(way, centre, host, home)
    }

    pub(super) fn by(way: Way, centre: &'a Centre, host: &'a Host, home: &Path) -> Result<Self> {
        let Way {
            name,
            ssh_port,
            environment,
        } = way;
        let operator = Self {
            centre,
            host,
            home: home.to_owned(),
            vctl: Programs::find()?.vctl,
            environment,
        };
        operator.log_in()?;
        fs::create_dir(home.join(".ssh"))?;
        operator.make_certificate()?;
        operator.knows_at(name, host, ssh_port, None)?;
        operator.write_proxied_config()?;
        Ok(operator)
    }

    /// Adds a host to the inventory, to `known_hosts` and to the configuration of OpenSSH.
    pub(super) fn knows(&self, name: &str, host: &Host, via: Option<&str>) -> Result<()> {
        self.knows_at(name, host, host.port(), via)
    }

    fn knows_at(&self, name: &str, host: &Host, port: u16, via: Option<&str>) -> Result<()> {
        let jump = via.map_or("null".to_owned(), |via| format!("'{via}'"));
        let sql = format!(
            "insert into vctl.servers (hostname, ip, ssh_port, ssh_user, jump_via) \
             values ('{name}', '127.0.0.1', {}, '{}', {jump})",
            port,
            host.user()
        );
        self.centre.postgres.psql(DATABASE, &sql)?;
        let known = self.home.join(".ssh/known_hosts");
        append(&known, &format!("{name} {}\n", host.public_key()))?;
        let lines = format!(
            "Host {name}\n HostName 127.0.0.1\n Port {}\n User {}\n HostKeyAlias {name}\n \
             IdentityFile {}\n IdentitiesOnly yes\n BatchMode yes\n ProxyJump {}\n \
             UserKnownHostsFile {}\n GlobalKnownHostsFile none\n",
            port,
            host.user(),
            self.home.join("key").display(),
            via.unwrap_or("none"),
            known.display(),
        );
        append(&self.home.join("plain"), &lines)
    }

    fn log_in(&self) -> Result<()> {
        let admin = self.centre.bao.admin()?;
        let password = Secret::random()?;
        let user = json!({"password": password.expose(), "policies": ["vctl-user", "vctl-ssh", "vctl-auditor"]});
        admin.post(&format!("auth/userpass/users/{NAME}"), &user)?;
        let file = self.home.join("password");
        fs::write(&file, password.expose())?;
        let mut login = self.with_centre();
        login
            .args(["login", "--username", NAME, "--password-stdin"])
            .stdin(fs::File::open(&file)?);
        let output = login.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cannot log in: {said}");
        Ok(())
    }

    fn make_certificate(&self) -> Result<()> {
        let key = self.home.join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status()?;
        ensure!(made.success(), "cannot make a key");
        let wish = json!({
            "public_key": fs::read_to_string(self.home.join("key.pub"))?,
            "valid_principals": self.host.user(),
            "ttl": "1800s",
            // For the jump hosts.
            "extensions": {"permit-port-forwarding": ""},
        });
        let signed = self.centre.bao.admin()?.post("ssh/sign/sre-core", &wish)?;
        let certificate = signed["data"]["signed_key"]
            .as_str()
            .context("nothing was signed")?;
        Ok(fs::write(self.home.join("key-cert.pub"), certificate)?)
    }

    pub(super) fn with_centre(&self) -> Command {
        let mut command = Command::new(&self.vctl);
        command
            .env_clear()
            .env("HOME", &self.home)
            .envs(self.environment.iter().cloned());
        command
    }

    pub(super) fn vctl(&self, environment: &[(&str, &str)], args: &[&str]) -> Command {
        let mut command = self.with_centre();
        command
            .args(["ssh", "-q", "--server"])
            .args(args)
            .envs(environment.iter().copied());
        command
    }

    pub(super) fn openssh(&self, options: &[&str], args: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command
            .env_clear()
            .env("HOME", &self.home)
            .env("PATH", "/usr/bin:/bin")
            .arg("-F")
            .arg(self.home.join("plain"))
            .args(options)
            .args(args);
        command
    }

    /// Writes the settings of `ssh` through `vctl proxy`, for the hosts that the inventory has now.
    pub(super) fn write_proxied_config(&self) -> Result<()> {
        let lines = self.with_centre().arg("ssh-config").output()?;
        ensure!(lines.status.success(), "`vctl ssh-config` failed");
        Ok(fs::write(self.home.join("proxied"), lines.stdout)?)
    }

    /// Returns `ssh` with the settings that `vctl ssh-config --install` makes.
    pub(super) fn proxied(&self, args: &[&str]) -> Command {
        self.proxied_to(NAME, args)
    }

    /// Like `proxied`, to another host of the inventory.
    pub(super) fn proxied_to(&self, name: &str, args: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command
            .env_clear()
            .env("HOME", &self.home)
            .env("PATH", "/usr/bin:/bin")
            .envs(self.centre.environment())
            .arg("-F")
            .arg(self.home.join("proxied"))
            .args(["-o", "BatchMode=yes"])
            // `ssh` must not read the home that the system has for this account.
            .args([
                "-o",
                "UserKnownHostsFile=none",
                "-o",
                "GlobalKnownHostsFile=none",
            ])
            .arg(name)
            .args(args);
        command
    }
}

fn append(path: &Path, text: &str) -> Result<()> {
    let mut file = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
