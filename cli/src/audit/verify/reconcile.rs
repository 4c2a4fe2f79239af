//! The comparison: signatures, accesses and sessions with the same serial. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use vctl_common::id::CertSerial;

use super::log::AuditLog;
use super::model::{
    Counts, Exception, FailedAttempt, Kind, LoggedAccess, SeenSession, Signature, Span,
};
use super::names::Name;
use super::store::StoredRecords;
use crate::ssh_ca::host_certificate;

/// Maximum time from a signature to the row of the attempt that it was for: `vctl ssh` writes it after its time limits.
const ATTEMPT: Duration = Duration::from_mins(2);

/// The result of a comparison.
#[derive(Debug, Default)]
pub(crate) struct Reconciled<'a> {
    /// Ordered by time.
    pub(crate) exceptions: Vec<Exception<'a>>,
    /// Records in the window.
    pub(crate) compared: Counts,
    /// Records outside of the window.
    pub(crate) outside: Counts,
    /// Host certificates in the window, for which there are no accesses.
    pub(crate) host_certificates: u64,
    /// Signatures with a row in the access log.
    pub(crate) matched: u64,
}

/// Everything that is recorded about one serial.
struct Group<'a> {
    serial: CertSerial,
    signatures: &'a [Signature],
    accesses: &'a [LoggedAccess],
    sessions: &'a [SeenSession],
}

/// Compares the records in `window`. Records outside of it only explain others.
pub(crate) fn reconcile<'a>(
    log: &'a AuditLog,
    stored: &'a StoredRecords,
    window: Span,
) -> Reconciled<'a> {
    let mut found = Reconciled::default();
    let known = log
        .signatures
        .partition_point(|signature| signature.serial.is_none());
    let (without_serial, signatures) = log.signatures.split_at(known);
    for (kind, signatures) in [
        (Kind::SignatureWithoutSerial, without_serial),
        (Kind::RequestWithoutResponse, &log.unanswered[..]),
    ] {
        let inside = signatures
            .iter()
            .filter(|signature| window.contains(signature.at));
        found.exceptions.extend(inside.map(|signature| Exception {
            kind,
            at: signature.at,
            serial: None,
            signature: Some(signature),
            accesses: &[],
            sessions: &[],
            attempt: None,
        }));
    }
    let role = |signature: &Signature| log.names.text(signature.role);
    let (mut signatures, mut accesses, mut sessions) =
        (signatures, &stored.accesses[..], &stored.sessions[..]);
    loop {
        let next = [
            signatures.first().and_then(|signature| signature.serial),
            accesses.first().map(|access| access.serial),
            sessions.first().map(|session| session.serial),
        ];
        let Some(serial) = next.into_iter().flatten().min() else {
            break;
        };
        let group = Group {
            serial,
            signatures: split_front(&mut signatures, |one| one.serial == Some(serial)),
            accesses: split_front(&mut accesses, |one| one.serial == serial),
            sessions: split_front(&mut sessions, |one| one.serial == serial),
        };
        let is_unused = group.accesses.is_empty() && group.sessions.is_empty();
        let of_host = |signature: &Signature| role(signature) == host_certificate::ROLE;
        if is_unused && group.signatures.iter().all(of_host) {
            let inside = |signature: &&Signature| window.contains(signature.at);
            found.host_certificates += group.signatures.iter().filter(inside).count() as u64;
            continue;
        }
        found.take(&group, window);
    }
    found
        .exceptions
        .sort_by_key(|exception| (exception.at, exception.serial, exception.kind));
    found.explain(&stored.attempts);
    found
}

/// Removes and returns the items at the front that belong to a group.
fn split_front<'a, T>(items: &mut &'a [T], belongs: impl Fn(&T) -> bool) -> &'a [T] {
    let end = items.iter().take_while(|item| belongs(item)).count();
    let (front, rest) = items.split_at(end);
    *items = rest;
    front
}

impl<'a> Reconciled<'a> {
    /// Compares the records of one serial. Each kind of exception is listed once, at the time of its first record: a user
    /// can use one certificate for any number of accesses, and each exception has all records of its serial.
    fn take(&mut self, group: &Group<'a>, window: Span) {
        let signature = group.signatures.first();
        let has_access = group.accesses.iter().any(|access| access.is_ours);
        let mut exceptions: Vec<Exception<'a>> = Vec::new();
        let mut except =
            |kind, at, signature| match exceptions.iter_mut().find(|listed| listed.kind == kind) {
                Some(listed) if at < listed.at => (listed.at, listed.signature) = (at, signature),
                Some(_) => {}
                None => exceptions.push(Exception {
                    kind,
                    at,
                    serial: Some(group.serial),
                    signature,
                    accesses: group.accesses,
                    sessions: group.sessions,
                    attempt: None,
                }),
            };
        for one in group.signatures {
            if !window.contains(one.at) {
                self.outside.signatures += 1;
                continue;
            }
            self.compared.signatures += 1;
            self.matched += u64::from(has_access);
            if !has_access {
                except(Kind::SignatureWithoutAccess, one.at, Some(one));
            }
            if differs(one, group.accesses, group.sessions) {
                except(Kind::IdentityDiffers, one.at, Some(one));
            }
        }
        for access in group.accesses {
            if !window.contains(access.at) {
                self.outside.accesses += 1;
                continue;
            }
            self.compared.accesses += 1;
            if signature.is_none() || !access.is_ours {
                except(Kind::AccessWithoutSignature, access.at, signature);
            }
        }
        for session in group.sessions {
            if !window.contains(session.signed_at) {
                self.outside.sessions += 1;
                continue;
            }
            self.compared.sessions += 1;
            if !has_access {
                except(Kind::SessionWithoutAccess, session.opened_at, signature);
            }
            if signature.is_none() {
                except(Kind::SessionWithoutSignature, session.opened_at, None);
            }
        }
        self.exceptions.append(&mut exceptions);
    }

    /// Names the attempt that each unused certificate may have been signed for: the first one of the same person after
    /// it, without another unused certificate between them. An attempt explains at most one certificate.
    fn explain(&mut self, attempts: &'a [FailedAttempt]) {
        // The exceptions of each person, oldest first: the exceptions are ordered by time.
        let mut unused: BTreeMap<Name, Vec<(SystemTime, &mut Exception<'a>)>> = BTreeMap::new();
        for exception in &mut self.exceptions {
            let is_unused = exception.accesses.is_empty() && exception.sessions.is_empty();
            if exception.kind == Kind::SignatureWithoutAccess
                && is_unused
                && let Some(signature) = exception.signature
            {
                let of_person = unused.entry(signature.person).or_default();
                of_person.push((signature.at, exception));
            }
        }
        for (person, signed) in unused {
            let mut later = signed.into_iter().peekable();
            let mut earlier = Vec::new();
            let first = attempts.partition_point(|attempt| attempt.person < person);
            for attempt in attempts[first..]
                .iter()
                .take_while(|one| one.person == person)
            {
                while let Some(one) = later.next_if(|(at, _)| *at <= attempt.at) {
                    earlier.push(one);
                }
                let Some((at, exception)) = earlier.pop() else {
                    continue;
                };
                if attempt
                    .at
                    .duration_since(at)
                    .is_ok_and(|after| after <= ATTEMPT)
                {
                    exception.attempt = Some(attempt);
                } else {
                    // The others are older still.
                    earlier.clear();
                }
            }
        }
    }
}

/// Returns whether a row or a session names another person than the token that Vault signed for.
fn differs(signature: &Signature, accesses: &[LoggedAccess], sessions: &[SeenSession]) -> bool {
    let person = signature.person;
    let other = |key_id: Option<Name>| key_id.is_some_and(|key_id| key_id != person);
    let mut accesses = accesses.iter();
    accesses.any(|access| access.person != person || other(access.key_id))
        || sessions.iter().any(|session| other(session.key_id))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use vctl_common::id::SessionId;

    use super::super::model::Place;
    use super::*;

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000 + second)
    }

    const WINDOW: std::ops::Range<u64> = 100..200;

    /// Builds the three sides; each record is (serial, second, person).
    #[derive(Default)]
    struct Sides {
        log: AuditLog,
        stored: StoredRecords,
    }

    impl Sides {
        fn signed(mut self, serial: u64, second: u64, person: &str) -> Self {
            self.push_signed(CertSerial::new(serial), second, person, "sre-core");
            self
        }

        fn push_signed(
            &mut self,
            serial: Option<CertSerial>,
            second: u64,
            person: &str,
            role: &str,
        ) {
            let names = &mut self.log.names;
            let signature = Signature {
                serial,
                request: None,
                at: at(second),
                mount: names.of("ssh"),
                role: names.of(role),
                person: names.of(person),
                address: names.of("192.0.2.1"),
                place: Place { file: 0, line: 1 },
            };
            self.log.signatures.push(signature);
            self.log
                .signatures
                .sort_by_key(|signature| signature.serial);
        }

        fn accessed(mut self, serial: u64, second: u64, person: &str) -> Self {
            let names = &mut self.log.names;
            self.stored.accesses.push(LoggedAccess {
                id: 7,
                hop: 0,
                serial: CertSerial::new(serial).unwrap(),
                ca: Some(names.of("SHA256:ca")),
                is_ours: true,
                person: names.of(person),
                key_id: None,
                host: names.of("web-1"),
                at: at(second),
            });
            self.stored.accesses.sort_by_key(|access| access.serial);
            self
        }

        fn logged_in(mut self, serial: u64, second: u64, key_id: &str) -> Self {
            let names = &mut self.log.names;
            self.stored.sessions.push(SeenSession {
                id: SessionId::generate(),
                serial: CertSerial::new(serial).unwrap(),
                ca: names.of("SHA256:ca"),
                key_id: Some(names.of(key_id)),
                host: names.of("web-1"),
                opened_at: at(second),
                signed_at: at(second),
            });
            self.stored.sessions.sort_by_key(|session| session.serial);
            self
        }

        /// Returns the kinds and serials of the exceptions.
        fn exceptions(&self) -> Vec<(Kind, u64)> {
            let found = self.reconciled();
            let pair = |exception: &Exception<'_>| {
                (exception.kind, exception.serial.map_or(0, CertSerial::get))
            };
            found.exceptions.iter().map(pair).collect()
        }

        fn reconciled(&self) -> Reconciled<'_> {
            let window = Span {
                from: at(WINDOW.start),
                to: at(WINDOW.end),
            };
            reconcile(&self.log, &self.stored, window)
        }
    }

    #[test]
    fn a_whole_access_is_not_an_exception() {
        let sides = Sides::default()
            .signed(1, 110, "userpass-a")
            .accessed(1, 111, "userpass-a")
            .logged_in(1, 112, "userpass-a")
            .signed(2, 120, "userpass-a")
            .accessed(2, 121, "userpass-a");
        assert_eq!(sides.exceptions(), []);
        let found = sides.reconciled();
        assert_eq!(found.matched, 2);
        let counts = Counts {
            signatures: 2,
            accesses: 2,
            sessions: 1,
        };
        assert_eq!(found.compared, counts);
    }

    #[test]
    fn each_missing_side_has_its_kind() {
        let a = "userpass-a";
        for (sides, kinds) in [
            (
                Sides::default().signed(1, 110, a),
                vec![Kind::SignatureWithoutAccess],
            ),
            (
                Sides::default().accessed(1, 110, a),
                vec![Kind::AccessWithoutSignature],
            ),
            (
                Sides::default().signed(1, 110, a).logged_in(1, 112, a),
                vec![Kind::SignatureWithoutAccess, Kind::SessionWithoutAccess],
            ),
            (
                Sides::default().accessed(1, 110, a).logged_in(1, 112, a),
                vec![Kind::AccessWithoutSignature, Kind::SessionWithoutSignature],
            ),
            (
                Sides::default().logged_in(1, 110, a),
                vec![Kind::SessionWithoutAccess, Kind::SessionWithoutSignature],
            ),
        ] {
            let kinds: Vec<_> = kinds.into_iter().map(|kind| (kind, 1)).collect();
            assert_eq!(sides.exceptions(), kinds);
        }
    }

    #[test]
    fn another_person_in_a_row_or_session_is_an_exception() {
        let (a, b) = ("userpass-a", "userpass-b");
        let row = Sides::default()
            .signed(1, 110, a)
            .accessed(1, 111, a)
            .accessed(1, 112, b);
        assert_eq!(row.exceptions(), [(Kind::IdentityDiffers, 1)]);
        let session = Sides::default()
            .signed(1, 110, a)
            .accessed(1, 111, a)
            .logged_in(1, 112, b);
        assert_eq!(session.exceptions(), [(Kind::IdentityDiffers, 1)]);
    }

    #[test]
    fn a_row_with_a_foreign_ca_is_not_an_access() {
        let mut sides = Sides::default().signed(1, 110, "a").accessed(1, 111, "a");
        sides.stored.accesses[0].is_ours = false;
        assert_eq!(
            sides.exceptions(),
            [
                (Kind::SignatureWithoutAccess, 1),
                (Kind::AccessWithoutSignature, 1)
            ]
        );
    }

    #[test]
    fn records_outside_of_the_window_only_explain_others() {
        let outside = Sides::default()
            .signed(1, 99, "a")
            .accessed(2, 201, "a")
            .logged_in(3, 50, "a");
        assert_eq!(outside.exceptions(), []);
        let each = Counts {
            signatures: 1,
            accesses: 1,
            sessions: 1,
        };
        assert_eq!(outside.reconciled().outside, each);
        let explained = Sides::default().signed(1, 99, "a").accessed(1, 101, "a");
        assert_eq!(explained.exceptions(), []);
        let explained = Sides::default().signed(1, 199, "a").accessed(1, 201, "a");
        assert_eq!(explained.exceptions(), []);
    }

    #[test]
    fn host_certificates_need_no_access() {
        let mut sides = Sides::default();
        sides.push_signed(CertSerial::new(5), 110, "oidc-admin", "vctl-host");
        assert_eq!(sides.exceptions(), []);
        sides.push_signed(CertSerial::new(6), 250, "oidc-admin", "vctl-host");
        assert_eq!(sides.reconciled().host_certificates, 1);
        let used = sides.logged_in(5, 112, "oidc-admin");
        assert_eq!(
            used.exceptions(),
            [
                (Kind::SignatureWithoutAccess, 5),
                (Kind::SessionWithoutAccess, 5)
            ]
        );
    }

    #[test]
    fn exceptions_do_not_grow_with_the_uses_of_one_certificate() {
        let mut sides = Sides::default();
        for second in 110..160 {
            sides = sides.accessed(1, second, "a").logged_in(1, second, "a");
            sides = sides.signed(2, second, "a").logged_in(2, second, "b");
        }
        // Before the window: it does not set the time.
        let sides = sides.accessed(1, 99, "a");
        assert_eq!(
            sides.exceptions(),
            [
                (Kind::AccessWithoutSignature, 1),
                (Kind::SessionWithoutSignature, 1),
                (Kind::SignatureWithoutAccess, 2),
                (Kind::SessionWithoutAccess, 2),
                (Kind::IdentityDiffers, 2),
            ]
        );
        let found = sides.reconciled();
        assert!(found.exceptions.iter().all(|one| one.at == at(110)));
        assert_eq!(found.exceptions[0].accesses.len(), 51);
        let all = Counts {
            signatures: 50,
            accesses: 50,
            sessions: 100,
        };
        assert_eq!(found.compared, all);
    }

    #[test]
    fn a_failed_attempt_explains_a_signature_of_its_person() {
        for (person, second, is_named) in [
            ("a", 110, true),
            ("a", 230, true),
            ("a", 231, false),
            ("a", 109, false),
            ("b", 110, false),
        ] {
            let mut sides = Sides::default().signed(1, 110, "a");
            let names = &mut sides.log.names;
            sides.stored.attempts = vec![FailedAttempt {
                id: 8,
                person: names.of(person),
                host: names.of("web-1"),
                at: at(second),
            }];
            assert_eq!(sides.exceptions(), [(Kind::SignatureWithoutAccess, 1)]);
            let found = sides.reconciled();
            assert_eq!(
                found.exceptions[0].attempt.is_some(),
                is_named,
                "{person} at {second}"
            );
        }
    }

    #[test]
    fn an_attempt_explains_at_most_one_unused_certificate() {
        let sides = Sides::default().signed(4, 105, "a").signed(3, 110, "a");
        let mut sides = sides.signed(2, 111, "a").signed(1, 112, "b");
        let names = &mut sides.log.names;
        let mut attempt = |id, person, second| FailedAttempt {
            id,
            person: names.of(person),
            host: names.of("web-1"),
            at: at(second),
        };
        sides.stored.attempts = vec![attempt(7, "a", 104), attempt(8, "a", 120)];
        sides
            .stored
            .attempts
            .extend([attempt(9, "a", 225), attempt(10, "b", 120)]);
        let explained = |sides: &Sides| {
            let found = sides.reconciled();
            let named = found.exceptions.iter().filter_map(|one| {
                let id = one.attempt?.id;
                Some((one.serial?.get(), id))
            });
            named.collect::<Vec<_>>()
        };
        assert_eq!(explained(&sides), [(3, 9), (2, 8), (1, 10)]);
        // A certificate with a session was used, so it does not belong to an attempt that failed.
        let sides = sides.logged_in(2, 112, "a");
        assert_eq!(explained(&sides), [(4, 9), (3, 8), (1, 10)]);
    }

    #[test]
    fn a_signature_without_serial_is_an_exception() {
        let mut sides = Sides::default().signed(1, 110, "a").accessed(1, 110, "a");
        sides.push_signed(None, 120, "userpass-m", "sre-core");
        sides.push_signed(None, 250, "userpass-m", "sre-core");
        sides.log.unanswered = vec![sides.log.signatures[0].clone()];
        assert_eq!(
            sides.exceptions(),
            [
                (Kind::SignatureWithoutSerial, 0),
                (Kind::RequestWithoutResponse, 0)
            ]
        );
    }
}
