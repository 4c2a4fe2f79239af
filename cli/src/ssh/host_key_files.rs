//! The files about host keys that ssh_config(5) names: `UserKnownHostsFile`, `GlobalKnownHostsFile` and
//! `RevokedHostKeys`.
//!
//! Which of them apply to a host is decided by `ssh -G`. It is asked only where one of the keywords stands in a file
//! that `ssh` reads, so most connections start no process for it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::unistd::{User, getuid};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::route_plan::Target;
use crate::files::home;
use crate::files::ssh_config_reader::{EXPANDED, Reader, SYSTEM};
use crate::files::state_dir::StateDir;
use crate::ui::notice;

/// Time limit of `ssh -G`: `Match exec` may run any command.
const PATIENCE: Duration = Duration::from_secs(10);

const REVOKED: &str = "revokedhostkeys";
const KNOWN: [&str; 2] = ["userknownhostsfile", "globalknownhostsfile"];

/// Host-key settings of ssh_config for one host.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct HostKeyFiles {
    /// Files with known keys, beside the default ones.
    pub(super) known: Vec<PathBuf>,
    /// The keys in it are refused. An error is one, too: a key that cannot be checked is refused.
    pub(super) revoked: Option<Result<PathBuf, String>>,
}

/// Asks `ssh` for the files of a host, where ssh_config has any.
pub(super) async fn of(target: &Target) -> HostKeyFiles {
    let home = home::dir();
    let reading = tokio::task::spawn_blocking(move || {
        let keywords = keywords(home.as_deref());
        (home, keywords)
    });
    let Ok((home, keywords)) = reading.await else {
        return HostKeyFiles::default();
    };
    if !keywords.revoked && !keywords.known {
        return HostKeyFiles::default();
    }
    let said = match timeout(PATIENCE, ssh(home.as_deref(), target)).await {
        Ok(said) => said,
        Err(_) => Err(format!(
            "`ssh -G` did not end within {} s",
            PATIENCE.as_secs()
        )),
    };
    let files = said.and_then(|text| Said::read(&text, home, target));
    files.unwrap_or_else(|why| {
        if !keywords.revoked {
            notice::note_once(&format!(
                "known_hosts files of ssh_config are not read: {why}"
            ));
        }
        HostKeyFiles {
            known: Vec::new(),
            revoked: keywords.revoked.then_some(Err(why)),
        }
    })
}

/// Keywords that stand somewhere in the files that `ssh` reads, whatever host they are for.
#[derive(Default)]
struct Keywords {
    revoked: bool,
    known: bool,
}

fn keywords(home: Option<&Path>) -> Keywords {
    let mut found = Keywords::default();
    let own = home.map(|home| (home.join(".ssh/config"), home.join(".ssh")));
    let system = PathBuf::from(SYSTEM);
    let system = system.parent().map(|dir| (system.clone(), dir.to_owned()));
    // Written by `vctl ssh-config` from the inventory, perhaps with thousands of hosts.
    let ours = StateDir::find().file("ssh").join("config");
    for (file, relative_to) in own.into_iter().chain(system) {
        let mut reader = Reader {
            home: home.unwrap_or(Path::new("/")),
            relative_to: &relative_to,
            but: Some(&ours),
            take: &mut |_, words| {
                let keyword = words.first().map(|word| word.to_ascii_lowercase());
                let keyword = keyword.unwrap_or_default();
                found.revoked |= keyword == REVOKED;
                found.known |= KNOWN.contains(&&*keyword);
            },
            unread: Vec::new(),
        };
        // `ssh` passes over a file that is missing. One that it cannot read says nothing to vctl either.
        let _ = reader.read(&file);
        // The keyword may stand in a file that only `ssh` finds.
        found.revoked |= reader.unread.iter().any(|(_, why)| why == EXPANDED);
    }
    found
}

/// Returns what `ssh -G` prints for a host.
async fn ssh(home: Option<&Path>, target: &Target) -> Result<String, String> {
    let account = User::from_uid(getuid()).ok().flatten();
    // `ssh` reads the files of the account's home, whatever `HOME` is.
    let is_its_home = account.is_some_and(|account| Some(&*account.dir) == home);
    let mut command = Command::new("ssh");
    if !is_its_home {
        command.args(["-F", "/dev/stdin"]);
    }
    let (name, port) = name_and_port(target);
    let mut child = command
        .args(["-G", "-l", &target.user, "-p", &port, "--", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot run `ssh -G`: {error}"))?;
    if let Some(mut stdin) = child.stdin.take()
        && !is_its_home
    {
        let own = home.map(|home| format!("Include \"{}/.ssh/config\"\n", home.display()));
        let text = format!("{}Match all\nInclude {SYSTEM}\n", own.unwrap_or_default());
        // An `ssh` that ended early says why.
        let _ = stdin.write_all(text.as_bytes()).await;
    }
    let output = child
        .wait_with_output()
        .await
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`ssh -G` fails: {}", said.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the name as a user types it for `ssh`: known_hosts has `[ADDRESS]:PORT` for another port than 22.
fn name_and_port(target: &Target) -> (&str, String) {
    let name = target.name.strip_prefix('[');
    let name = name.and_then(|name| name.split_once("]:"));
    let name = name.map_or(&*target.name, |(name, _)| name);
    (name, target.addr.port().to_string())
}

/// The lines of `ssh -G`, with what tokens stand for.
struct Said<'a> {
    text: &'a str,
    home: Option<PathBuf>,
    name: &'a str,
}

impl<'a> Said<'a> {
    fn read(
        text: &'a str,
        home: Option<PathBuf>,
        target: &'a Target,
    ) -> Result<HostKeyFiles, String> {
        let said = Self {
            text,
            home,
            name: name_and_port(target).0,
        };
        if said.value("hostname").is_none() {
            return Err("`ssh -G` names no host".to_owned());
        }
        Ok(said.files())
    }

    fn value(&self, keyword: &str) -> Option<&'a str> {
        let mut lines = self.text.lines().filter_map(|line| line.split_once(' '));
        lines
            .find(|(first, _)| *first == keyword)
            .map(|(_, value)| value)
    }

    fn files(&self) -> HostKeyFiles {
        let mut known = Vec::new();
        for keyword in KNOWN {
            // `ssh -G` prints several names without quotes: one with a blank cannot be told from two.
            for name in self.value(keyword).unwrap_or_default().split(' ') {
                if !name.is_empty()
                    && name != "none"
                    && let Some(path) = self.expanded(name)
                {
                    known.push(path);
                }
            }
        }
        let revoked = self.value(REVOKED).filter(|name| *name != "none");
        let revoked = revoked.map(|name| {
            // Older versions of OpenSSH expand no tokens here.
            let literal = Path::new(name);
            if literal.is_absolute() && literal.exists() {
                return Ok(literal.to_owned());
            }
            self.expanded(name).ok_or_else(|| {
                format!("`RevokedHostKeys {name}` has a token that vctl does not expand")
            })
        });
        HostKeyFiles { known, revoked }
    }

    /// Expands `~`, tokens and variables of the environment. Returns nothing where one is unknown here.
    fn expanded(&self, name: &str) -> Option<PathBuf> {
        let mut text = String::new();
        let mut rest = match name.strip_prefix("~/") {
            Some(below) => {
                text = format!("{}/", self.home.as_ref()?.to_str()?);
                below
            }
            None if name.starts_with('~') => return None,
            None => name,
        };
        while let Some(at) = rest.find(['%', '$']) {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(variable) = rest.strip_prefix("${") {
                let (variable, after) = variable.split_once('}')?;
                text.push_str(&env::var(variable).ok()?);
                rest = after;
                continue;
            }
            let Some(token) = rest.strip_prefix('%') else {
                text.push('$');
                rest = &rest[1..];
                continue;
            };
            text.push_str(&self.token(token.chars().next()?)?);
            rest = token.get(1..)?;
        }
        text.push_str(rest);
        Some(text.into())
    }

    fn token(&self, token: char) -> Option<String> {
        let value = |keyword| self.value(keyword).map(str::to_owned);
        match token {
            '%' => Some("%".to_owned()),
            'd' => Some(self.home.as_ref()?.to_str()?.to_owned()),
            'h' => value("hostname"),
            'i' => Some(getuid().to_string()),
            'k' => value("hostkeyalias").or_else(|| Some(self.name.to_owned())),
            'n' => Some(self.name.to_owned()),
            'p' => value("port"),
            'r' => value("user"),
            'u' => User::from_uid(getuid())
                .ok()
                .flatten()
                .map(|user| user.name),
            _ => None,
        }
    }
}
