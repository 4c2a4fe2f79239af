//! OpenSSH and its relatives through `vctl proxy`: without a key on disk, and with one row for each connection. The row
//! has the serial that the host's sshd saw.

mod host_keys;
mod install;
mod matrix;
mod programs;
mod reasons;
mod serials;
mod shared_login;
mod stalled;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use vctl_tests::centre::{Centre, Host};
use vctl_tests::lab::eventually;

use crate::login::Said;
use crate::ssh::{Operator, shared};

const PATIENCE: Duration = Duration::from_secs(30);

/// The earlier content of the user's ~/.ssh/config: every line conflicts with vctl. The files of the real home must have
/// no effect, because `ssh` takes its home from the system and not from `HOME`.
const BEFORE: &str = "\
Host *
    IdentityFile ~/.ssh/id_none
    IdentitiesOnly yes
    PreferredAuthentications password
    UserKnownHostsFile none
    GlobalKnownHostsFile none
";

/// A user of OpenSSH.
struct Desk<'a> {
    operator: Operator<'a>,
}

impl<'a> Desk<'a> {
    fn new(centre: &'a Centre, name: &str) -> Self {
        let desk = Self {
            operator: Operator::new(centre, name),
        };
        fs::create_dir_all(desk.home(".ssh")).unwrap();
        fs::write(desk.config(), BEFORE).unwrap();
        desk
    }

    fn home(&self, path: &str) -> PathBuf {
        self.operator.at.home(path)
    }

    fn config(&self) -> PathBuf {
        self.home(".ssh/config")
    }

    fn install(&self) {
        let said = self.operator.at.run(&["ssh-config", "--install"]);
        assert_eq!(said.code, 0, "{said:?}");
    }

    /// Returns `ssh`, `scp` or `sftp` as a command.
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let config = self.config();
        let args = [&["-F", config.to_str().unwrap()], args].concat();
        self.operator.at.program(program, &args)
    }

    fn ssh(&self, args: &[&str]) -> Said {
        self.command("ssh", args).output().unwrap().into()
    }

    /// Returns this user's accesses to a host when all of them are closed.
    fn closed(&self, host: &str, count: usize) -> Vec<Value> {
        let mut rows = Vec::new();
        let all_closed = || {
            rows = self.operator.accesses(host);
            let is_closed = |row: &Value| !row["closed_at"].is_null();
            Ok(rows.len() >= count && rows.iter().all(is_closed))
        };
        let done = eventually(PATIENCE, all_closed).unwrap();
        assert!(done && rows.len() == count, "{count} of {host}: {rows:#?}");
        rows
    }

    /// Expects this number of accesses. Each one ended as an access through a proxy, and has a serial of its own. sshd
    /// must have accepted exactly these serials, each once.
    fn recorded(&self, name: &str, host: &Host, count: usize) -> Vec<Value> {
        let rows = self.closed(name, count);
        let mut serials = Vec::new();
        for row in &rows {
            assert_eq!(row["result"], "closed", "{row:#}");
            assert_eq!(row["exit_code"], Value::Null, "{row:#}");
            assert_eq!(row["error"], Value::Null, "{row:#}");
            serials.push(row["cert_serial"].to_string());
        }
        serials.sort();
        let mut seen = accepted(&host.log());
        seen.sort();
        assert_eq!(serials, seen, "the access log and the log of sshd differ");
        rows
    }

    /// Expects that the home contains neither a private key nor a certificate.
    fn has_no_key(&self) {
        for directory in [".ssh", ".vctl", ".vctl/ssh"] {
            for entry in fs::read_dir(self.home(directory)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    let text = fs::read(&path).unwrap();
                    let text = String::from_utf8_lossy(&text);
                    let found =
                        text.contains("PRIVATE KEY") || text.contains("-cert-v01@openssh.com AAAA");
                    assert!(!found, "{}", path.display());
                }
            }
        }
    }
}

/// Returns the serials of the accepted certificates, in the order of sshd's log.
fn accepted(log: &str) -> Vec<String> {
    let lines = log
        .lines()
        .filter(|line| line.starts_with("Accepted publickey"));
    let serial = |line: &str| {
        let rest = line.split("(serial ").nth(1)?;
        Some(rest.split(')').next()?.to_owned())
    };
    lines
        .map(|line| serial(line).unwrap_or_else(|| line.to_owned()))
        .collect()
}
