//! The lines of ssh_config(5) that have OpenSSH go through vctl.

use std::path::Path;

use vctl_common::foreign_file::{self, Pipes};

use super::quote;
use crate::error::CliError;
use crate::inventory::Host;

/// What the lines lead to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paths<'a> {
    pub(crate) vctl: &'a Path,
    pub(crate) agent: &'a Path,
}

/// The lines, and which hosts they leave out: their names, or their users', cannot be written there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rendered<'a> {
    pub(crate) text: String,
    pub(crate) left_out: Vec<&'a str>,
}

/// Of so many hosts one `Host` line is: the time `ssh` takes for it grows with the square. With 10,000 hosts
/// it reads the file in 30 ms like this, and in 330 where one line names them all.
const NAMES: usize = 50;

/// 200,000 hosts.
const MOST: u64 = 64 << 20;

const HEAD: &str = "\
# By `vctl ssh-config`, which writes it anew: what is changed here is lost. docs/openssh.md says what the
# lines are for.
";

/// Writes the lines for these hosts.
///
/// `asks_user`: this `ssh` refuses users' names that mean something to a shell, so that they can be
/// handed on.
pub(crate) fn render<'a>(
    hosts: &'a [Host],
    paths: Paths<'_>,
    asks_user: bool,
) -> Result<Rendered<'a>, CliError> {
    let (vctl, agent) = (quote::path(paths.vctl)?, quote::path(paths.agent)?);
    let can = |host: &&Host| quote::is_name(&host.name) && quote::is_user(&host.ssh_user);
    let (hosts, left_out): (Vec<&Host>, Vec<&Host>) = hosts.iter().partition(can);
    let mut blocks: Vec<String> = vec![HEAD.to_owned()];
    blocks.extend(hosts.iter().map(|host| own_lines(host)));
    let user = if asks_user { " --user '%r'" } else { "" };
    blocks.extend(hosts.chunks(NAMES).map(|hosts| {
        let names: Vec<&str> = hosts.iter().map(|host| &*host.name).collect();
        // `%n` is one of these names; `%h` may be what a `HostName` further down makes of it.
        format!(
            "
Host {}
    ProxyCommand '{vctl}' proxy{user} %n %p
    ProxyUseFdpass no
    IdentityAgent \"{agent}\"
    IdentitiesOnly no
    IdentityFile none
    PubkeyAuthentication yes
    PubkeyAcceptedAlgorithms ssh-ed25519-cert-v01@openssh.com
    PreferredAuthentications publickey
    KnownHostsCommand \"{vctl}\" known-hosts --for %I %H
",
            names.join(" ")
        )
    }));
    Ok(Rendered {
        text: blocks.concat(),
        left_out: left_out.iter().map(|host| &*host.name).collect(),
    })
}

/// Says whether a file that was written like this says something of a host.
pub(crate) fn is_about(file: &Path, host: &str) -> bool {
    let text = foreign_file::read(file, MOST, Pipes::Refused).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut names = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("HostKeyAlias "));
    names.any(|name| name == host)
}

fn own_lines(host: &Host) -> String {
    let Host {
        name,
        ssh_user: user,
        ssh_port: port,
        ..
    } = host;
    // By its name whatever its port: OpenSSH would write the port into known_hosts, too.
    format!("\nHost {name}\n    User {user}\n    Port {port}\n    HostKeyAlias {name}\n")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn host(name: &str, user: &str) -> Host {
        Host {
            ssh_user: user.to_owned(),
            ..crate::inventory::tests::host(name)
        }
    }

    fn rendered(hosts: &[Host], asks_user: bool) -> Rendered<'_> {
        let paths = Paths {
            vctl: Path::new("/usr/bin/vctl"),
            agent: Path::new("/home/x/.vctl/ssh/agent.sock"),
        };
        render(hosts, paths, asks_user).unwrap()
    }

    #[test]
    fn every_host_has_its_lines_and_all_have_the_rest() {
        let hosts = [host("db-1", "root"), host("web-1", "ubuntu")];
        let rendered = rendered(&hosts, true);
        let text = rendered.text.strip_prefix(HEAD).unwrap();
        let expected = "
Host db-1
    User root
    Port 22
    HostKeyAlias db-1

Host web-1
    User ubuntu
    Port 22
    HostKeyAlias web-1

Host db-1 web-1
    ProxyCommand '/usr/bin/vctl' proxy --user '%r' %n %p
    ProxyUseFdpass no
    IdentityAgent \"/home/x/.vctl/ssh/agent.sock\"
    IdentitiesOnly no
    IdentityFile none
    PubkeyAuthentication yes
    PubkeyAcceptedAlgorithms ssh-ed25519-cert-v01@openssh.com
    PreferredAuthentications publickey
    KnownHostsCommand \"/usr/bin/vctl\" known-hosts --for %I %H
";
        assert_eq!(text, expected);
    }

    #[test]
    fn no_line_names_very_many_hosts() {
        let hosts: Vec<Host> = (0..120)
            .map(|n| host(&format!("web-{n}"), "root"))
            .collect();
        let rendered = rendered(&hosts, true);
        let lines = rendered
            .text
            .lines()
            .filter(|line| line.starts_with("Host "));
        let longest = lines.map(|line| line.split(' ').count() - 1).max();
        assert_eq!(longest, Some(NAMES));
        assert_eq!(rendered.text.matches("ProxyCommand").count(), 3);
    }

    #[test]
    fn a_value_with_a_meaning_of_its_own_is_not_written() {
        let hosts = [
            host("web-1\n    ProxyCommand x", "root"),
            host("web-2 *", "root"),
            host("web-3", "root\n    ProxyCommand x"),
            host("web-4", "$(x)"),
        ];
        let rendered = rendered(&hosts, true);
        assert_eq!(rendered.text, HEAD);
        assert_eq!(rendered.left_out.len(), hosts.len());
    }

    #[test]
    fn it_is_about_those_whom_it_names_and_no_others() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), rendered(&[host("web-1", "root")], true).text).unwrap();
        assert!(is_about(file.path(), "web-1"));
        assert!(!is_about(file.path(), "web"));
        assert!(!is_about(Path::new("/nowhere/config"), "web-1"));
    }

    #[test]
    fn no_user_is_handed_to_a_shell_by_an_ssh_that_takes_any() {
        let hosts = [host("web-1", "root")];
        assert!(!rendered(&hosts, false).text.contains("%r"));
    }
}
