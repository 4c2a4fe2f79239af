//! Accesses as JSON. `docs/audit-json.md` specifies it.

use std::borrow::Cow;

use serde::Serialize;
use vctl_common::id::{CertSerial, SessionId};

use crate::audit::model::{Access, Hop, OnHost};
use crate::audit::table::detailed;
use crate::session::linux::signal_name;
use crate::ui::records::Records;
use crate::ui::time;

#[derive(Serialize)]
struct AccessJson<'a> {
    time: String,
    recorded_at: String,
    replayed: bool,
    closed_at: Option<String>,
    /// The whole display name.
    person: &'a str,
    /// The short name, as lists show it.
    name: &'a str,
    host: &'a str,
    login_user: &'a str,
    target_addr: Option<String>,
    target_port: Option<u16>,
    jump_via: &'a [String],
    result: &'a str,
    exit_code: Option<i32>,
    error: Option<&'a str>,
    serial: Option<CertSerial>,
    ca_fingerprint: Option<&'a str>,
    key_id: Option<&'a str>,
    hops: Vec<HopJson<'a>>,
    command: Option<&'a str>,
    source_ip: Option<String>,
    source_port: Option<u16>,
    client_host: Option<&'a str>,
    client_user: Option<&'a str>,
    vctl_version: Option<&'a str>,
    sessions: &'a [SessionId],
    contradicted_sessions: &'a [SessionId],
    on_host: Option<OnHostJson>,
}

/// The host's record of the end, if the client does not know it.
#[derive(Serialize)]
struct OnHostJson {
    /// `exited`, `killed`, `ended`, `open`, `unknown`.
    state: &'static str,
    exit_code: Option<u8>,
    signal: Option<String>,
    ended_at: Option<String>,
}

impl From<OnHost> for OnHostJson {
    fn from(on_host: OnHost) -> Self {
        let (state, exit_code, signal, at) = match on_host {
            OnHost::Exited { code, at } => ("exited", Some(code), None, Some(at)),
            OnHost::Killed { signal, at } => ("killed", None, Some(signal_name(signal)), Some(at)),
            OnHost::Ended { at } => ("ended", None, None, Some(at)),
            OnHost::Open => ("open", None, None, None),
            OnHost::Unknown => ("unknown", None, None, None),
        };
        Self {
            state,
            exit_code,
            signal: signal.map(Cow::into_owned),
            ended_at: at.map(time::nanos),
        }
    }
}

#[derive(Serialize)]
struct HopJson<'a> {
    host: &'a str,
    serial: Option<CertSerial>,
    ca_fingerprint: Option<&'a str>,
}

/// Accesses, for every output format.
pub(crate) struct Accesses;

impl Records for Accesses {
    const NAME: &'static str = "accesses";
    const VERSION: u32 = 1;
    const COLUMNS: &'static [&'static str] = &[
        "time",
        "user",
        "host",
        "source_ip",
        "client_user",
        "target",
        "jump",
        "result",
        "client_host",
        "source",
        "serial",
        "command",
        "vctl",
        "error",
        "sessions",
        "contradicted_sessions",
    ];
    type Record = Access;

    fn json(&self, access: &Access) -> impl Serialize {
        AccessJson::new(access)
    }

    /// Returns all columns, with or without `--full`: programs need stable columns.
    fn cells(&self, access: &Access) -> Vec<String> {
        detailed(access).into()
    }

    /// Returns the serial, which `vctl session` accepts.
    fn name(&self, access: &Access) -> String {
        let serial = access.serial.map(|serial| serial.to_string());
        serial.unwrap_or_else(|| "-".to_owned())
    }
}

impl<'a> AccessJson<'a> {
    fn new(access: &'a Access) -> Self {
        let hop = |hop: &'a Hop| HopJson {
            host: &hop.host,
            serial: hop.serial,
            ca_fingerprint: hop.ca_fingerprint.as_deref(),
        };
        Self {
            time: time::nanos(access.opened_at),
            recorded_at: time::nanos(access.recorded_at),
            replayed: access.replayed,
            closed_at: access.closed_at.map(time::nanos),
            person: access.person.display_name(),
            name: access.person.name(),
            host: &access.host,
            login_user: &access.login_user,
            target_addr: access.target_addr.map(|addr| addr.to_string()),
            target_port: access.target_port,
            jump_via: &access.jump_via,
            result: &access.result,
            exit_code: access.exit_code,
            error: access.error.as_deref(),
            serial: access.serial,
            ca_fingerprint: access.ca_fingerprint.as_deref(),
            key_id: access.key_id.as_deref(),
            hops: access.hops.iter().map(hop).collect(),
            command: access.command.as_deref(),
            source_ip: access.source_ip.map(|ip| ip.to_string()),
            source_port: access.source_port,
            client_host: access.client_host.as_deref(),
            client_user: access.client_user.as_deref(),
            vctl_version: access.vctl_version.as_deref(),
            sessions: &access.sessions,
            contradicted_sessions: &access.contradicted,
            on_host: access.on_host.map(OnHostJson::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{accesses, rendered};
    use crate::ui::format::OutputFormat;
    use crate::ui::json::schema;
    use crate::ui::records;

    #[test]
    fn every_access_fits_the_schema() {
        let document =
            rendered(|out| records::write(out, OutputFormat::Json, &Accesses, &accesses()));
        let document = serde_json::from_str(&document).unwrap();
        schema::assert_fits(schema::OF_ACCESSES, None, &document);
        let lines =
            rendered(|out| records::write(out, OutputFormat::Jsonl, &Accesses, &accesses()));
        assert_eq!(lines.lines().count(), accesses().len());
        for line in lines.lines() {
            let access = serde_json::from_str(line).unwrap();
            schema::assert_fits(schema::OF_ACCESSES, Some("access"), &access);
        }
    }
}
