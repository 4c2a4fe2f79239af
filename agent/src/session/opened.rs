//! A request and the kernel's facts to the session that is recorded, pure.

use std::net::IpAddr;

use vctl_common::session::{Auth, Origin, SessionOpened, Stamp};
use vctl_common::time::BootNs;

use super::auth_info;
use super::login::LoginFacts;
use super::protocol::StampRequest;

/// PAM services that run work for somebody who is not there: what they open is `detached`.
const DAEMONS: [&str; 6] = ["cron", "crond", "anacron", "atd", "at", "systemd-user"];

/// PAM services that change user inside a session. Fork has handed the mark on already; another
/// session would only cut the first in two.
const INSIDE: [&str; 8] = [
    "su",
    "su-l",
    "sudo",
    "sudo-i",
    "runuser",
    "runuser-l",
    "doas",
    "polkit-1",
];

/// Returns whether a PAM service opens no session of its own.
pub fn is_inside_a_session(service: &str) -> bool {
    INSIDE.contains(&service)
}

pub fn is_detached(service: &str) -> bool {
    DAEMONS.contains(&service)
}

/// Returns the session that a login opens.
///
/// `marked_at` is when the kernel began to record it, `None` while it has not. A detached session
/// comes without its link; `Registry::detached_from` knows it.
pub fn opened(
    request: &StampRequest,
    facts: &LoginFacts,
    stamp: Stamp,
    marked_at: Option<BootNs>,
) -> SessionOpened {
    let detached = is_detached(&request.service);
    let (source_ip, source_port) = source(request);
    SessionOpened {
        id: request.session_id,
        origin: if detached {
            Origin::Detached { from: None }
        } else {
            Origin::Login
        },
        login_user: request.user.clone(),
        service: request.service.clone(),
        // A daemon authenticates nobody, so whatever its environment says there is not true.
        auth: match &request.auth_info {
            Some(info) if !detached => auth_info::parse(info),
            _ => Auth::default(),
        },
        source_ip,
        source_port,
        remote_host: request
            .rhost
            .as_deref()
            .filter(|host| !host.is_empty() && *host != "UNKNOWN" && address(host).is_none())
            .map(ToOwned::to_owned),
        tty: request
            .tty
            .as_deref()
            .and_then(terminal)
            .map(ToOwned::to_owned),
        leader: facts.leader,
        login_uid: facts.login_uid,
        audit_session: facts.audit_session,
        cgroup: facts.cgroup,
        opened_at: request.hook_started,
        marked_at,
        stamp,
    }
}

/// Returns where the client is: PAM's remote host, and the port that belongs to it.
fn source(request: &StampRequest) -> (Option<IpAddr>, Option<u16>) {
    let mut words = request
        .ssh_connection
        .as_deref()
        .unwrap_or_default()
        .split(' ');
    let connection = words.next().and_then(address);
    let port = words.next().and_then(|port| port.parse().ok());
    match request.rhost.as_deref().and_then(address) {
        // PAM_RHOST is sshd's own word; a connection that disagrees belongs to something else.
        Some(rhost) => (Some(rhost), port.filter(|_| connection == Some(rhost))),
        None => (connection, port.filter(|_| connection.is_some())),
    }
}

/// Reads an address, without the zone that a link-local one may carry.
fn address(text: &str) -> Option<IpAddr> {
    text.split('%').next()?.parse().ok()
}

/// Returns the terminal, as ps(1) names it. `ssh`, `cron` and the like only stand for "none".
fn terminal(pam_tty: &str) -> Option<&str> {
    let name = pam_tty.strip_prefix("/dev/").unwrap_or(pam_tty);
    (name.starts_with("pts/") || name.starts_with("tty") || name == "console").then_some(name)
}
