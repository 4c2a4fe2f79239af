//! Records of accesses: the beginning and the end of a connection, as its client recorded them.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use vctl_common::hex;

use super::{Kind, Record, Severity, merge};
use crate::audit::model::{Access, Hop};
use crate::ui::time;

/// Returns the record of the beginning or the end of an access.
pub(crate) fn record(id: i64, access: &Access, is_end: bool) -> Record {
    let (action, name, phase) = if is_end {
        ("access-ended", "ended", "end")
    } else {
        ("access-opened", "opened", "start")
    };
    let outcome = match access.result.as_str() {
        _ if !is_end => None,
        "ok" => Some("success"),
        "failed" | "refused" => Some("failure"),
        // The client does not know it.
        _ => Some("unknown"),
    };
    let kind = Kind {
        id: format!("access-{}-{name}", identity(id, access)),
        action,
        category: "session",
        phase,
        outcome,
        dataset: "vctl.access",
        severity: Severity::Event,
    };
    let mut fields = common(id, access);
    if is_end {
        merge(&mut fields, end(access));
    }
    let time = if is_end { access.closed_at } else { None };
    Record::new(kind, time.unwrap_or(access.opened_at), fields)
}

/// Returns a text that is unique for the access, and the same in each export and after a restore. The number alone is
/// not unique: a restored database gives the numbers of rows that it lost to new rows.
fn identity(id: i64, access: &Access) -> String {
    let (opened_at, person) = (time::nanos(access.opened_at), access.person.display_name());
    let content = format!("{id} {opened_at} {person}");
    hex::encode(&Sha256::digest(content)[..16])
}

fn common(id: i64, access: &Access) -> Value {
    let person = &access.person;
    let mut users = vec![access.login_user.as_str(), person.name()];
    users.retain(|user| !user.is_empty());
    users.dedup();
    let ips = [access.source_ip, access.target_addr];
    let ips: Vec<String> = ips.iter().flatten().map(ToString::to_string).collect();
    let hop = |hop: &Hop| {
        json!({
            "host": hop.host,
            "serial": hop.serial.map(|serial| serial.to_string()),
            "ca_fingerprint": hop.ca_fingerprint,
        })
    };
    json!({
        "event": { "start": time::nanos(access.opened_at) },
        "host": { "name": access.host, "hostname": access.host },
        "user": { "name": access.login_user },
        "source": {
            "ip": access.source_ip.map(|ip| ip.to_string()),
            "port": access.source_port,
        },
        "destination": {
            "ip": access.target_addr.map(|ip| ip.to_string()),
            "port": access.target_port,
        },
        "related": { "user": users, "hosts": [access.host], "ip": ips },
        "vctl": {
            // The database login that wrote the row proves the person.
            "person": {
                "name": person.name(),
                "display_name": person.display_name(),
                "verified": true,
            },
            "certificate": {
                "serial": access.serial.map(|serial| serial.to_string()),
                "key_id": access.key_id,
                "ca_fingerprint": access.ca_fingerprint,
            },
            "access": {
                "id": id.to_string(),
                "recorded_at": time::nanos(access.recorded_at),
                "replayed": access.replayed,
                "command": access.command,
                "jump_via": access.jump_via,
                "hops": access.hops.iter().map(hop).collect::<Vec<_>>(),
                "client_host": access.client_host,
                "client_user": access.client_user,
                "vctl_version": access.vctl_version,
            },
        },
    })
}

fn end(access: &Access) -> Value {
    let nanos = access
        .closed_at
        .and_then(|closed_at| closed_at.duration_since(access.opened_at).ok())
        .and_then(|duration| u64::try_from(duration.as_nanos()).ok());
    json!({
        "event": { "end": access.closed_at.map(time::nanos), "duration": nanos },
        "error": { "message": access.error },
        "vctl": { "access": { "result": access.result, "exit_code": access.exit_code } },
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fixture::accesses;

    #[test]
    fn ids_differ_for_accesses_with_one_number() {
        let [access, ..] = accesses();
        let id = |access: &Access| record(42, access, false).id;
        let mut later = access.clone();
        later.opened_at += Duration::from_micros(1);
        assert_ne!(id(&access), id(&later));
        let mut ended = access.clone();
        ended.result = "failed".to_owned();
        assert_eq!(id(&access), id(&ended));
    }
}
