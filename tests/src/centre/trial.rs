//! Hosts and users of a centre for trying vctl by hand, and the settings that a shell needs for it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{Centre, DATABASE, Host, Secret};
use crate::lab::directory_of_programs;

/// A user who logs in to Vault with a name and a password.
pub struct Person {
    pub name: &'static str,
    pub password: Secret,
}

/// Hosts in the inventory, and two users who may log in to them.
pub struct Trial {
    pub hosts: Vec<(&'static str, Host)>,
    pub people: Vec<Person>,
    /// File that a shell reads. It contains no secrets, so every account may read it.
    pub settings: PathBuf,
}

/// Names and policies of the two users.
const PEOPLE: &[(&str, &[&str])] = &[
    ("alice", &["vctl-user", "vctl-ssh"]),
    ("bob", &["vctl-user", "vctl-ssh", "vctl-auditor"]),
];

/// Names of the hosts.
const HOSTS: &[&str] = &["web-1", "web-2"];

impl Trial {
    /// Starts the hosts and adds the users.
    ///
    /// # Errors
    /// When the centre is bare, because then it has neither policies nor an inventory.
    pub fn start(centre: &Centre) -> Result<Self> {
        let mut hosts = Vec::new();
        for &name in HOSTS {
            let host = centre.another_host(name)?;
            let certificate = centre.host_certificate(name, &host.public_key())?;
            host.show_certificate(&certificate)?;
            centre.put_into_inventory(name, host.port(), host.user())?;
            hosts.push((name, host));
        }
        let mut people = Vec::new();
        for &(name, policies) in PEOPLE {
            people.push(centre.add_person(name, policies)?);
        }
        Ok(Self {
            hosts,
            people,
            settings: centre.write_settings()?,
        })
    }

    /// Returns three commands that lead from a new shell to the first host, as the first user.
    pub fn first_steps(&self) -> Vec<String> {
        let person = self.people.first();
        let host = self.hosts.first();
        person.zip(host).map_or_else(Vec::new, |(person, host)| {
            first_steps(&self.settings, person, host.0).to_vec()
        })
    }
}

/// Returns the commands for a new shell: settings, login, host.
pub fn first_steps(settings: &Path, person: &Person, host: &str) -> [String; 3] {
    [
        format!(". {}", settings.display()),
        person.login_line(),
        format!("vctl ssh {host}"),
    ]
}

impl Person {
    /// Returns a shell line that logs this user in without a question.
    pub fn login_line(&self) -> String {
        format!(
            "echo {} | vctl login --username {} --password-stdin",
            self.password.expose(),
            self.name
        )
    }
}

impl Centre {
    /// Adds a user of `userpass` with a new password.
    pub fn add_person(&self, name: &'static str, policies: &[&str]) -> Result<Person> {
        let password = Secret::random()?;
        let user = json!({"password": password.expose(), "policies": policies});
        let admin = self.bao.admin()?;
        admin.post(&format!("auth/userpass/users/{name}"), &user)?;
        Ok(Person { name, password })
    }

    /// Makes Vault sign a host key for that name and for loopback.
    pub fn host_certificate(&self, name: &str, public_key: &str) -> Result<String> {
        let request = json!({
            "public_key": public_key,
            "cert_type": "host",
            "valid_principals": format!("{name},127.0.0.1"),
        });
        let signed = self.bao.admin()?.post("ssh/sign/vctl-host", &request)?;
        let certificate = signed["data"]["signed_key"].as_str();
        Ok(certificate
            .context("Vault signed no host certificate")?
            .to_owned())
    }

    /// Adds a host on loopback to the inventory, or changes its port and its account.
    pub fn put_into_inventory(&self, name: &str, port: u16, account: &str) -> Result<()> {
        let sql = format!(
            "insert into vctl.servers (hostname, ip, ssh_port, ssh_user, dc, last_seen_up) \
             values ('{name}', '127.0.0.1', {port}, '{account}', 'local', now()) \
             on conflict (hostname) do update set ssh_port = excluded.ssh_port, \
             ssh_user = excluded.ssh_user, dc = excluded.dc, last_seen_up = excluded.last_seen_up"
        );
        self.postgres.psql(DATABASE, &sql).map(drop)
    }

    /// Writes the addresses of this centre and the path of `vctl`, for a shell of any account.
    pub fn write_settings(&self) -> Result<PathBuf> {
        let path = self.root.join("settings.sh");
        let programs = directory_of_programs()?;
        let programs = programs.to_str().context("the path is not UTF-8")?;
        let mut text = format!(
            "# Settings of vctl for this shell, without secrets.\n\
             unset VAULT_TOKEN\n\
             export PATH={}:\"$PATH\"\n",
            shell_word(programs)
        );
        for (name, value) in self.environment() {
            writeln!(text, "export {name}={}", shell_word(&value))?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(path)
    }
}

/// Quotes a value as one shell word.
pub fn shell_word(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::shell_word;

    #[test]
    fn a_value_with_a_quote_is_one_word_of_shell() {
        assert_eq!(shell_word("it's"), "'it'\\''s'");
    }
}
