//! One line of the audit log of Vault or OpenBao.
//!
//! Vault hashes most values. Clear are the time, the path, the display name and the address; a serial is clear only if
//! the mount is tuned with `audit_non_hmac_response_keys=serial_number`.

use std::borrow::Cow;
use std::time::SystemTime;

use jiff::Timestamp;
use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;
use vctl_common::id::CertSerial;

/// A line that was understood.
#[derive(Debug)]
pub(super) enum Entry<'a> {
    Signing(Signing<'a>),
    Other { at: Option<SystemTime> },
}

/// A request to an SSH engine to sign a key, or the answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signing<'a> {
    pub(super) at: Option<SystemTime>,
    pub(super) request_id: Cow<'a, str>,
    pub(super) namespace: Cow<'a, str>,
    pub(super) mount: String,
    pub(super) accessor: Cow<'a, str>,
    pub(super) role: String,
    pub(super) person: Cow<'a, str>,
    pub(super) address: Cow<'a, str>,
    pub(super) step: Step,
}

/// The step of a signing that a line records.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Requested,
    Refused,
    Signed(CertSerial),
    /// Signed. The log has only the hash of the serial.
    Hashed,
    /// Signed. The log has no serial, because the client asked for a wrapped response.
    NoSerial,
}

/// A line is not an entry of an audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAnEntry {
    #[error("the line is not JSON, or is damaged")]
    NotJson,
    #[error("the line is JSON, but not an entry of an audit log")]
    OtherJson,
}

/// The start of any entry. Its content is checked for valid JSON, and not stored.
#[derive(Deserialize)]
struct Any<'a> {
    #[serde(borrow, default)]
    time: Cow<'a, str>,
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    request: Option<IgnoredAny>,
}

/// An entry whose path may be one that signs. Clients decide the types of values in `response`, so these are not parsed
/// before the path is known.
#[derive(Deserialize)]
struct MaySign<'a> {
    #[serde(borrow, default)]
    time: Cow<'a, str>,
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    auth: Option<Auth<'a>>,
    #[serde(borrow)]
    request: Option<Request<'a>>,
    #[serde(borrow, default)]
    error: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    response: Option<Response<'a>>,
}

#[derive(Default, Deserialize)]
struct Auth<'a> {
    #[serde(borrow, default)]
    display_name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow, default)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    path: Cow<'a, str>,
    #[serde(borrow, default)]
    mount_type: Cow<'a, str>,
    #[serde(borrow, default)]
    mount_accessor: Cow<'a, str>,
    #[serde(borrow, default)]
    remote_address: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Namespace<'a>,
}

#[derive(Default, Deserialize)]
struct Namespace<'a> {
    #[serde(borrow, default)]
    path: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    data: Option<Data<'a>>,
    wrap_info: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow, default)]
    serial_number: Cow<'a, str>,
    error: Option<IgnoredAny>,
}

/// The paths of an SSH engine that sign a key, below the mount. `issue` also creates the key.
const SIGNING: [&str; 2] = ["/sign/", "/issue/"];

/// Maximum length of the `prefix` that Vault may write before each entry.
const PREFIX: usize = 256;

/// Parses a line.
///
/// # Errors
/// The line is not an entry.
pub(super) fn parse(line: &[u8]) -> Result<Entry<'_>, NotAnEntry> {
    let start = line.iter().take(PREFIX).position(|&byte| byte == b'{');
    let line = &line[start.ok_or(NotAnEntry::NotJson)?..];
    let may_sign = SIGNING
        .iter()
        .any(|path| memmem::find(line, path.as_bytes()).is_some());
    if may_sign {
        let entry: MaySign<'_> =
            serde_json::from_slice(line).map_err(|error| not_an_entry(&error))?;
        return entry.parse(line);
    }
    let any: Any<'_> = serde_json::from_slice(line).map_err(|error| not_an_entry(&error))?;
    if !is_a_kind(&any.kind) || any.request.is_none() {
        return Err(NotAnEntry::OtherJson);
    }
    Ok(Entry::Other {
        at: time(&any.time),
    })
}

fn not_an_entry(error: &serde_json::Error) -> NotAnEntry {
    if error.is_data() {
        NotAnEntry::OtherJson
    } else {
        NotAnEntry::NotJson
    }
}

fn is_a_kind(kind: &str) -> bool {
    matches!(kind, "request" | "response")
}

fn time(text: &str) -> Option<SystemTime> {
    text.parse::<Timestamp>().ok().map(SystemTime::from)
}

impl<'a> MaySign<'a> {
    /// Returns the entry in `line`, from which `self` was parsed.
    fn parse(self, line: &'a [u8]) -> Result<Entry<'a>, NotAnEntry> {
        let at = time(&self.time);
        let request = match self.request {
            Some(request) if is_a_kind(&self.kind) => request,
            _ => return Err(NotAnEntry::OtherJson),
        };
        let Some((mount, role)) = mount_and_role(&request) else {
            return Ok(Entry::Other { at });
        };
        let step = if self.kind == "request" {
            if self.error.is_empty() {
                Step::Requested
            } else {
                Step::Refused
            }
        } else if self.error.is_empty() {
            let answer: Result<Answer<'_>, _> = serde_json::from_slice(line);
            // Another engine at this path. An older Vault does not write the type of the mount.
            answer.map_or(Step::NoSerial, |answer| step(answer.response.as_ref()))
        } else {
            Step::Refused
        };
        Ok(Entry::Signing(Signing {
            at,
            request_id: request.id,
            namespace: request.namespace.path,
            mount,
            accessor: request.mount_accessor,
            role,
            person: self.auth.unwrap_or_default().display_name,
            address: request.remote_address,
            step,
        }))
    }
}

/// Returns mount and role if an SSH engine signs at this path.
fn mount_and_role(request: &Request<'_>) -> Option<(String, String)> {
    // An older Vault does not write the type.
    if !matches!(&*request.mount_type, "ssh" | "") {
        return None;
    }
    let split = |path: &&str| request.path.rsplit_once(path);
    let (mount, role) = SIGNING.iter().find_map(split)?;
    let is_role = !role.is_empty() && !role.contains('/');
    is_role.then(|| (mount.to_owned(), role.to_owned()))
}

fn step(response: Option<&Response<'_>>) -> Step {
    let Some(response) = response else {
        return Step::Refused;
    };
    let serial = response
        .data
        .as_ref()
        .map_or("", |data| &data.serial_number);
    let is_refused = response
        .data
        .as_ref()
        .is_none_or(|data| data.error.is_some());
    match u64::from_str_radix(serial, 16)
        .ok()
        .and_then(CertSerial::new)
    {
        Some(serial) if !serial_has_sign(response) => Step::Signed(serial),
        _ if serial.starts_with("hmac-") => Step::Hashed,
        _ if response.wrap_info.is_none() && is_refused => Step::Refused,
        _ => Step::NoSerial,
    }
}

/// Returns whether the serial begins with `+`, which `from_str_radix` accepts and Vault does not write.
fn serial_has_sign(response: &Response<'_>) -> bool {
    let data = response.data.as_ref();
    data.is_some_and(|data| data.serial_number.starts_with('+'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(path: &str, kind: &str, response: &str) -> String {
        format!(
            r#"{{"time":"2026-11-29T03:05:54.634419003Z","type":"{kind}","auth":{{"display_name":"userpass-\u0061lbert"}},"request":{{"id":"5f95","mount_type":"ssh","mount_accessor":"ssh_1","namespace":{{"id":"root"}},"path":"{path}","remote_address":"192.0.2.1"}},"response":{response}}}"#
        )
    }

    fn signing(line: &str) -> Signing<'_> {
        match parse(line.as_bytes()) {
            Ok(Entry::Signing(signing)) => signing,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_signature_has_its_serial_as_a_number() {
        let line = line(
            "team/ssh/sign/sre-core",
            "response",
            r#"{"data":{"serial_number":"bcbfaae7e0316b4e","signed_key":"hmac-sha256:02"}}"#,
        );
        let found = signing(&line);
        assert_eq!(
            found.step,
            Step::Signed(CertSerial::new(13_600_777_312_557_689_678).unwrap())
        );
        assert_eq!((&*found.mount, &*found.role), ("team/ssh", "sre-core"));
        assert_eq!(
            (&*found.person, &*found.address),
            ("userpass-albert", "192.0.2.1")
        );
        assert!(found.at.is_some());
        let prefixed = format!("@cee: {line}");
        assert_eq!(signing(&prefixed).step, found.step);
    }

    #[test]
    fn each_answer_is_told_apart() {
        for (response, step) in [
            (
                r#"{"data":{"serial_number":"hmac-sha256:7c8a"}}"#,
                Step::Hashed,
            ),
            (r#"{"data":{"error":"hmac-sha256:21"}}"#, Step::Refused),
            (r#"{"wrap_info":{"ttl":60}}"#, Step::NoSerial),
            (r#"{"data":{"serial_number":"+1f"}}"#, Step::NoSerial),
            (r#"{"data":{"serial_number":"0"}}"#, Step::NoSerial),
            ("null", Step::Refused),
            ("{}", Step::Refused),
        ] {
            assert_eq!(
                signing(&line("ssh/sign/r", "response", response)).step,
                step,
                "{response}"
            );
            assert_eq!(
                signing(&line("ssh/issue/r", "response", response)).step,
                step
            );
        }
        assert_eq!(
            signing(&line("ssh/sign/r", "request", "null")).step,
            Step::Requested
        );
    }

    #[test]
    fn other_entries_are_recognised() {
        for path in [
            "ssh/roles/sign/",
            "sys/mounts",
            "secret/data/sign/a/b",
            "ssh/sign/",
        ] {
            let line = line(path, "request", "null");
            assert!(
                matches!(parse(line.as_bytes()), Ok(Entry::Other { at: Some(_) })),
                "{path}"
            );
        }
        let pki = line(
            "pki/issue/web",
            "response",
            r#"{"data":{"serial_number":"1f"}}"#,
        );
        let pki = pki.replace(r#""mount_type":"ssh""#, r#""mount_type":"pki""#);
        assert!(matches!(parse(pki.as_bytes()), Ok(Entry::Other { .. })));
    }

    #[test]
    fn a_client_cannot_make_a_line_unreadable_by_its_values() {
        for value in ["true", "1", "null", "[]", "{}"] {
            let data = format!(r#"{{"data":{{"serial_number":{value},"error":{value}}}}}"#);
            let stored = line("cubbyhole/a/sign/b", "response", &data);
            let stored = stored.replace(r#""mount_type":"ssh""#, r#""mount_type":"cubbyhole""#);
            let entry = parse(stored.as_bytes());
            assert!(matches!(entry, Ok(Entry::Other { at: Some(_) })), "{value}");
            // An older Vault.
            let stored = stored.replace(r#""mount_type":"cubbyhole","#, "");
            assert_eq!(signing(&stored).step, Step::NoSerial, "{value}");
        }
    }

    #[test]
    fn a_line_of_another_kind_is_named() {
        let whole = line("ssh/sign/r", "request", "null");
        for (text, problem) in [
            ("", NotAnEntry::NotJson),
            ("plain text", NotAnEntry::NotJson),
            (&whole[..whole.len() - 9], NotAnEntry::NotJson),
            (
                "{\"@level\":\"info\",\"path\":\"/sign/\"}",
                NotAnEntry::OtherJson,
            ),
            ("{\"type\":\"request\"}", NotAnEntry::OtherJson),
            ("{\"type\":[],\"request\":{}}", NotAnEntry::OtherJson),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err(), problem, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_line_causes_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..400) {
            let _ = parse(&bytes);
            let whole = line("ssh/sign/r", "response", r#"{"data":{"serial_number":"1f"}}"#);
            let _ = parse(&whole.as_bytes()[..cut.min(whole.len())]);
        }
    }
}
