//! The description of an access, as the access log takes it.

use std::net::SocketAddr;

use serde_json::{Value, json};
use uuid::Uuid;

use super::access_store::{COMMAND_LENGTH, cut};
use super::route_plan::Target;
use crate::ssh_ca::user_certificate::Credential;

/// What all accesses of one run have in common.
pub(super) struct RunDescription {
    /// Name of the remote program, or the command without its secrets. The host records the full command.
    pub(super) command: Option<String>,
    /// Version of vctl, and the program that it works for.
    pub(super) version: String,
}

impl RunDescription {
    /// Describes the attempt with this id. `credentials` has an entry for each hop in order, `None` for a hop without a
    /// certificate; it may be shorter.
    pub(super) fn describe(
        &self,
        attempt: Uuid,
        jumps: &[Target],
        target: &Target,
        credentials: &[Option<&Credential>],
        source: Option<SocketAddr>,
    ) -> Value {
        let of_hop = |index: usize| credentials.get(index).copied().flatten();
        let own = of_hop(jumps.len());
        let hops = jumps.iter().enumerate().map(|(index, jump)| {
            let credential = of_hop(index);
            json!({
                "hostname": jump.name,
                "ca_fingerprint": credential.map(|credential| &credential.ca_fingerprint),
                "cert_serial": credential.and_then(|credential| credential.serial),
            })
        });
        json!({
            // It is not always known here whether a row was stored, so it may be sent twice.
            "attempt_id": attempt,
            "hostname": target.name,
            "login_user": target.user,
            "target_addr": target.addr.ip(),
            "target_port": target.addr.port(),
            "jump_via": jumps.iter().map(|jump| &jump.name).collect::<Vec<_>>(),
            "ca_fingerprint": own.map(|own| &own.ca_fingerprint),
            "cert_serial": own.and_then(|own| own.serial),
            "key_id": own.map(|own| own.certificate.key_id()),
            "command": self.command.as_deref().map(|command| cut(command, COMMAND_LENGTH)),
            "source_ip": source.map(|source| source.ip()),
            "source_port": source.map(|source| source.port()),
            "client_host": client_host(),
            "client_user": std::env::var("USER").ok(),
            "vctl_version": self.version,
            "hops": hops.collect::<Vec<_>>(),
        })
    }
}

fn client_host() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}
