//! Makes the recorded session from a request and the kernel's facts. Pure.

use std::net::IpAddr;

use vctl_common::session::{Auth, Origin, SessionOpened, Stamp};
use vctl_common::time::BootNs;

use super::auth_info;
use super::login::LoginFacts;
use super::protocol::StampRequest;

/// PAM services that run work without a user at a terminal: their sessions are `detached`.
const DAEMONS: [&str; 6] = ["cron", "crond", "anacron", "atd", "at", "systemd-user"];

/// PAM services that change the user inside a session. The child has the mark already; another session would
/// only cut the first in two.
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
/// `marked_at` is the start of the kernel's recording, `None` before it. The link of a detached session is
/// added later, by `Registry::detached_from`.
pub fn session_record(
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
        // A daemon does not authenticate, so its environment says nothing about the login.
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

/// Returns the address of the client, which is PAM's remote host, and the port that belongs to it.
fn source(request: &StampRequest) -> (Option<IpAddr>, Option<u16>) {
    let mut words = request
        .ssh_connection
        .as_deref()
        .unwrap_or_default()
        .split(' ');
    let connection = words.next().and_then(address);
    let port = words.next().and_then(|port| port.parse().ok());
    match request.rhost.as_deref().and_then(address) {
        // sshd itself sets PAM_RHOST; a connection that differs belongs to something else.
        Some(rhost) => (Some(rhost), port.filter(|_| connection == Some(rhost))),
        None => (connection, port.filter(|_| connection.is_some())),
    }
}

/// Reads an address, without the zone that a link-local one may carry.
fn address(text: &str) -> Option<IpAddr> {
    text.split('%').next()?.parse().ok()
}

/// Returns the terminal as ps(1) names it. `ssh`, `cron` and the like mean that there is none.
fn terminal(pam_tty: &str) -> Option<&str> {
    let name = pam_tty.strip_prefix("/dev/").unwrap_or(pam_tty);
    (name.starts_with("pts/") || name.starts_with("tty") || name == "console").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vctl_common::id::ProcessId;

    fn open(request: &StampRequest) -> SessionOpened {
        let facts = LoginFacts {
            leader: ProcessId {
                tgid: 4242,
                start: BootNs(900),
            },
            login_uid: Some(1000),
            audit_session: None,
            cgroup: None,
        };
        session_record(request, &facts, Stamp::InTime, Some(BootNs(1002)))
    }

    #[test]
    fn an_ssh_login_is_a_login_with_its_source() {
        let session = open(&StampRequest::fixture());
        assert_eq!(session.origin, Origin::Login);
        assert_eq!(session.auth.method.as_deref(), Some("password"));
        assert_eq!(session.source_ip, Some("10.0.0.9".parse().unwrap()));
        assert_eq!(
            (session.source_port, session.remote_host, session.tty),
            (Some(51022), None, None)
        );
        assert_eq!(
            (session.opened_at, session.marked_at),
            (BootNs(1000), Some(BootNs(1002)))
        );
    }

    #[test]
    fn a_connection_that_contradicts_pam_gives_no_port() {
        let forged = StampRequest {
            ssh_connection: Some("192.0.2.1 1 10.0.0.1 22".to_owned()),
            ..StampRequest::fixture()
        };
        let session = open(&forged);
        assert_eq!(session.source_ip, Some("10.0.0.9".parse().unwrap()));
        assert_eq!(session.source_port, None);
    }

    #[test]
    fn a_host_name_in_rhost_stays_beside_the_address() {
        let named = StampRequest {
            rhost: Some("laptop.example.com".to_owned()),
            ..StampRequest::fixture()
        };
        let session = open(&named);
        assert_eq!(session.remote_host.as_deref(), Some("laptop.example.com"));
        assert_eq!(
            (session.source_ip, session.source_port),
            (Some("10.0.0.9".parse().unwrap()), Some(51022))
        );
    }

    #[test]
    fn a_link_local_address_loses_its_zone() {
        let zoned = StampRequest {
            rhost: Some("fe80::1%eth0".to_owned()),
            ssh_connection: Some("fe80::1%eth0 50000 fe80::2%eth0 22".to_owned()),
            ..StampRequest::fixture()
        };
        assert_eq!(open(&zoned).source_ip, Some("fe80::1".parse().unwrap()));
        assert_eq!(open(&zoned).source_port, Some(50000));
    }

    #[test]
    fn work_of_a_daemon_is_detached_and_has_nobodys_key() {
        for service in DAEMONS {
            let detached = StampRequest {
                service: service.to_owned(),
                ..StampRequest::fixture()
            };
            let session = open(&detached);
            assert_eq!(session.origin, Origin::Detached { from: None }, "{service}");
            assert_eq!(session.auth, Auth::default(), "{service}");
        }
    }

    #[test]
    fn terminals_are_named_as_ps_names_them() {
        for (pam, tty) in [
            ("/dev/pts/3", Some("pts/3")),
            ("pts/3", Some("pts/3")),
            ("/dev/tty1", Some("tty1")),
            ("ssh", None),
            ("cron", None),
            (":0", None),
        ] {
            assert_eq!(terminal(pam), tty, "{pam}");
        }
    }

    #[test]
    fn changing_user_inside_a_session_opens_none() {
        assert!(is_inside_a_session("sudo") && is_inside_a_session("su-l"));
        assert!(!is_inside_a_session("sshd") && !is_inside_a_session("login"));
    }
}
