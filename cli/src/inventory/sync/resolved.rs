//! The settings that `ssh -G` prints for a name.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Timeout of `ssh -G`: `Match exec` may run any command, and host names may need DNS.
const PATIENCE: Duration = Duration::from_secs(10);

/// The parameters of `ssh -G`.
#[derive(Clone, Debug)]
pub(crate) struct Ssh {
    /// A file other than the default.
    pub(crate) config: Option<PathBuf>,
    /// The user of this machine, which ssh prints if no user is set.
    pub(crate) local_user: String,
    /// All users in the files.
    pub(crate) users: BTreeSet<String>,
}

/// The settings of ssh for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SshSettings {
    /// A DNS name or an address.
    pub(crate) hostname: String,
    pub(crate) port: u16,
    pub(crate) user: Option<String>,
    /// In the order of `ProxyJump`: the first one is reached from this machine.
    pub(crate) jumps: Vec<ProxyJumpHop>,
    pub(crate) has_command: bool,
}

/// One item of `ProxyJump`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyJumpHop {
    pub(crate) user: Option<String>,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

impl ProxyJumpHop {
    /// Parses `[user@]host[:port]`, also as a URL and with an IPv6 address in brackets.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix("ssh://").unwrap_or(text);
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, text),
        };
        let bracketed = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (host, port) = match bracketed {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => match rest.split_once(':') {
                // Two colons without brackets: an IPv6 address.
                Some((_, port)) if port.contains(':') => (rest, None),
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let port = port.map(|port| port.parse::<u16>().ok().filter(|&port| port != 0));
        if host.is_empty() || port == Some(None) {
            return Err(format!("`{text}` is not a valid jump host"));
        }
        Ok(Self {
            user,
            host: host.to_owned(),
            port: port.flatten(),
        })
    }

    /// Returns the name in the inventory: lower case.
    pub(super) fn name(&self) -> String {
        self.host.to_lowercase()
    }
}

impl Ssh {
    /// Returns the settings of ssh for a name, or an error.
    pub(crate) async fn ask(&self, name: &str) -> Result<SshSettings, String> {
        let mut command = Command::new("ssh");
        if let Some(config) = &self.config {
            command.arg("-F").arg(config);
        }
        command
            .args(["-G", "--", name])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = timeout(PATIENCE, command.output()).await;
        let output = output
            .map_err(|_| format!("`ssh -G` did not answer within {}s", PATIENCE.as_secs()))?;
        let output = output.map_err(|error| format!("cannot run `ssh -G`: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("`ssh -G` failed: {}", said.trim()));
        }
        self.read(&String::from_utf8_lossy(&output.stdout))
    }

    fn read(&self, text: &str) -> Result<SshSettings, String> {
        let value = |keyword: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            let (_, value) = lines.find(|(first, _)| *first == keyword)?;
            Some(value.trim().to_owned())
        };
        let is_said = |user: &String| *user != self.local_user || self.users.contains(user);
        let jumps = value("proxyjump").filter(|jumps| jumps != "none");
        let jumps = jumps.iter().flat_map(|jumps| jumps.split(','));
        let jumps: Result<Vec<ProxyJumpHop>, String> =
            jumps.map(|jump| ProxyJumpHop::read(jump.trim())).collect();
        Ok(SshSettings {
            hostname: value("hostname").ok_or("`ssh -G` did not print a host name")?,
            port: value("port")
                .and_then(|port| port.parse().ok())
                .unwrap_or(22),
            user: value("user").filter(is_said),
            jumps: jumps?,
            has_command: value("proxycommand").is_some_and(|command| command != "none"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh() -> Ssh {
        Ssh {
            config: None,
            local_user: "albert".to_owned(),
            users: BTreeSet::new(),
        }
    }

    #[test]
    fn all_settings_of_ssh_are_parsed() {
        let asked = ssh().read(
            "host web\nuser deploy\nhostname 10.0.0.7\nport 2222\nproxyjump a@edge:2200,inner\n",
        );
        let asked = asked.unwrap();
        assert_eq!((&*asked.hostname, asked.port), ("10.0.0.7", 2222));
        assert_eq!(asked.user.as_deref(), Some("deploy"));
        let jumps: Vec<_> = asked
            .jumps
            .iter()
            .map(|hop| (&*hop.host, hop.port))
            .collect();
        assert_eq!(jumps, [("edge", Some(2200)), ("inner", None)]);
        assert!(!asked.has_command);
    }

    #[test]
    fn the_local_user_is_not_a_user_of_the_file() {
        let text = "user albert\nhostname web\nport 22\n";
        assert_eq!(ssh().read(text).unwrap().user, None);
        let mut said = ssh();
        said.users.insert("albert".to_owned());
        assert_eq!(said.read(text).unwrap().user.as_deref(), Some("albert"));
    }

    #[test]
    fn a_jump_has_a_host_and_optional_user_and_port() {
        let parts = |text| ProxyJumpHop::read(text).map(|hop| (hop.user, hop.host, hop.port));
        let user = |user: &str| Some(user.to_owned());
        assert_eq!(parts("edge"), Ok((None, "edge".to_owned(), None)));
        assert_eq!(
            parts("ssh://a@b@c:22"),
            Ok((user("a@b"), "c".to_owned(), Some(22)))
        );
        assert_eq!(
            parts("[2001:db8::1]:22"),
            Ok((None, "2001:db8::1".to_owned(), Some(22)))
        );
        assert_eq!(
            parts("2001:db8::1"),
            Ok((None, "2001:db8::1".to_owned(), None))
        );
        for bad in ["", "a@", "edge:", "edge:0", "edge:x"] {
            assert!(ProxyJumpHop::read(bad).is_err(), "{bad}");
        }
    }
}
