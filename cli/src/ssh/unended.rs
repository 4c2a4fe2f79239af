//! The accesses of one run that have no stored end yet, from the request for their certificates to the end.
//!
//! A route is dropped in the middle of a step when another one is faster, and vctl can be stopped at any time. So an
//! access is here until its end is stored: a step that was dropped is done again. Postgres stores an attempt once, by its
//! id, and closes a row once.

use std::collections::BTreeSet;

use serde_json::Value;
use vctl_common::id::CertSerial;

use super::access_description::RunDescription;
use super::access_end::End;
use super::access_outbox::OutboxEntry;
use super::signing::Signing;
use crate::ssh_ca::user_certificate::Credential;

/// A row that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    Stored(i64),
    Queued(OutboxEntry),
}

/// How far the record of an access has got.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// Vault signs its certificates.
    Signing(Signing),
    /// Its row is being written.
    Writing(Value),
    Written(Row),
}

/// An access with an end that is not stored yet.
#[derive(Clone, Debug)]
pub(super) struct EndedAccess {
    pub(super) stage: Stage,
    pub(super) end: End,
}

/// Names an ended access in this process.
pub(super) type Key = u64;

/// The accesses of one run.
#[derive(Debug, Default)]
pub(super) struct Unended {
    signing: Vec<Signing>,
    writing: Vec<Value>,
    open: Vec<Row>,
    ended: Vec<(Key, EndedAccess)>,
    next: Key,
    /// Serials in rows that were written, or are being written.
    recorded: BTreeSet<CertSerial>,
}

impl Unended {
    pub(super) fn sign(&mut self, signing: Signing) {
        self.signing.push(signing);
    }

    /// Notes that the row of an access is being written, and that its certificates are in that row.
    pub(super) fn write(&mut self, access: Value, serials: impl IntoIterator<Item = CertSerial>) {
        self.signing.retain(|signing| {
            let id = signing.id.to_string();
            access["attempt_id"].as_str() != Some(&id)
        });
        self.recorded.extend(serials);
        self.writing.push(access);
    }

    /// Notes the result of writing the row of an access; `None` if it cannot be stored.
    pub(super) fn written(&mut self, access: &Value, row: Option<&Row>) {
        self.writing.retain(|other| other != access);
        self.open.extend(row.cloned());
    }

    /// Notes the end of the access with this row.
    pub(super) fn end_row(&mut self, row: Row, end: &End) -> Key {
        self.open.retain(|other| *other != row);
        self.end(Stage::Written(row), end)
    }

    /// Notes the end of the accesses that wait for certificates. Returns whether there were any.
    pub(super) fn end_signing(&mut self, end: &End) -> bool {
        let signing = std::mem::take(&mut self.signing);
        for one in &signing {
            // One row has the certificates of both.
            if !signing.iter().any(|other| one.is_part_of(other)) {
                self.end(Stage::Signing(one.clone()), end);
            }
        }
        !signing.is_empty()
    }

    /// Notes the end of all accesses except the one with the row `kept`. Returns whether there were any.
    pub(super) fn end_all(&mut self, kept: Option<&Row>, end: &End) -> bool {
        let mut any = self.end_signing(end);
        for access in std::mem::take(&mut self.writing) {
            any = true;
            self.end(Stage::Writing(access), end);
        }
        for row in std::mem::take(&mut self.open) {
            if Some(&row) == kept {
                self.open.push(row);
            } else {
                any = true;
                self.end(Stage::Written(row), end);
            }
        }
        any
    }

    fn end(&mut self, stage: Stage, end: &End) -> Key {
        let (key, end) = (self.next, end.clone());
        self.next += 1;
        self.ended.push((key, EndedAccess { stage, end }));
        key
    }

    /// Returns the ended accesses.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.ended.iter().map(|(key, _)| *key).collect()
    }

    /// Returns an ended access, unless its end is stored.
    pub(super) fn get(&self, key: Key) -> Option<EndedAccess> {
        let mut ended = self.ended.iter();
        ended.find_map(|(of, access)| (*of == key).then(|| access.clone()))
    }

    /// Notes the next stage of an ended access; `None` if its end is stored or cannot be stored.
    pub(super) fn advance(&mut self, key: Key, stage: Option<Stage>) {
        match stage {
            None => self.ended.retain(|(of, _)| *of != key),
            Some(stage) => {
                let mut ended = self.ended.iter_mut();
                if let Some((_, access)) = ended.find(|(of, _)| *of == key) {
                    access.stage = stage;
                }
            }
        }
    }

    /// Describes an ended access with the certificates that Vault has signed for it. Returns `None` if another row has all
    /// of them.
    pub(super) fn signed(
        &mut self,
        signing: &Signing,
        signed: &[Option<Credential>],
        run: &RunDescription,
    ) -> Option<Stage> {
        let serials = signed.iter().flatten().filter_map(|one| one.serial);
        let serials: Vec<CertSerial> = serials.collect();
        if serials.len() == signed.len() && self.has_recorded(&serials) {
            return None;
        }
        self.recorded.extend(serials);
        let signed: Vec<_> = signed.iter().map(Option::as_ref).collect();
        let (jumps, target) = (&signing.jumps, &signing.target);
        let access = run.describe(signing.id, jumps, target, &signed, None);
        Some(Stage::Writing(access))
    }

    fn has_recorded(&self, serials: &[CertSerial]) -> bool {
        serials.iter().all(|serial| self.recorded.contains(serial))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::error::CliError;
    use crate::exit_code::Exit;
    use crate::inventory::tests::host;
    use crate::ssh::Target;
    use crate::ssh::signing::{self, RequestedCertificate};

    fn lost() -> End {
        End::closed(Some("lost".to_owned()))
    }

    fn requested() -> RequestedCertificate {
        signing::request(async { Err(CliError::new(Exit::Unavailable, "no Vault")) })
    }

    fn attempt(jumps: &[&str], hops: Vec<RequestedCertificate>) -> Signing {
        let target = |name: &str| Target::of(&host(name), "ssh");
        let jumps: Vec<_> = jumps.iter().map(|name| target(name)).collect();
        Signing::new(&jumps, &target("web-1"), hops)
    }

    #[test]
    fn all_stages_but_the_row_in_use_end() {
        let mut unended = Unended::default();
        unended.sign(attempt(&[], vec![requested()]));
        unended.write(json!({"attempt_id": "1"}), []);
        for access in ["2", "3"] {
            let access = json!({ "attempt_id": access });
            unended.write(access.clone(), []);
            let row = Row::Stored(access["attempt_id"].as_str().unwrap().parse().unwrap());
            unended.written(&access, Some(&row));
        }
        assert!(unended.end_all(Some(&Row::Stored(3)), &lost()));
        let stages = unended.keys().into_iter().map(|key| {
            let EndedAccess { stage, end } = unended.get(key).unwrap();
            assert_eq!(end, lost());
            match stage {
                Stage::Signing(_) => "signing".to_owned(),
                Stage::Writing(access) => access["attempt_id"].to_string(),
                Stage::Written(row) => format!("{row:?}"),
            }
        });
        let stages: Vec<_> = stages.collect();
        assert_eq!(stages, ["signing", "\"1\"", "Stored(2)"]);
        // The row in use has no end yet.
        assert!(unended.end_all(None, &lost()));
        assert_eq!(unended.keys().len(), 4);
        assert!(!unended.end_all(None, &lost()));
    }

    #[test]
    fn an_end_stays_until_it_is_stored() {
        let mut unended = Unended::default();
        let key = unended.end_row(Row::Stored(7), &lost());
        assert!(unended.get(key).is_some() && unended.get(key).is_some());
        unended.advance(key, None);
        assert!(unended.get(key).is_none() && unended.keys().is_empty());
        // A second call that was running too.
        unended.advance(key, Some(Stage::Written(Row::Stored(7))));
        assert!(unended.keys().is_empty());
    }

    #[test]
    fn a_written_attempt_no_longer_waits_for_certificates() {
        let mut unended = Unended::default();
        let signing = attempt(&[], vec![requested()]);
        unended.sign(signing.clone());
        unended.write(json!({ "attempt_id": signing.id }), []);
        assert!(!unended.end_signing(&lost()));
        assert!(unended.end_all(None, &lost()));
        assert_eq!(unended.keys().len(), 1);
    }

    #[test]
    fn certificates_of_two_routes_are_in_one_row() {
        let mut unended = Unended::default();
        let of_target = requested();
        unended.sign(attempt(&[], vec![of_target.clone()]));
        unended.sign(attempt(&["jump-1"], vec![requested(), of_target]));
        assert!(unended.end_signing(&lost()));
        let [key] = unended.keys()[..] else {
            panic!("{unended:?}")
        };
        let Stage::Signing(kept) = unended.get(key).unwrap().stage else {
            panic!("{unended:?}")
        };
        assert_eq!(kept.jumps.len(), 1);

        let serial = CertSerial::new(5).unwrap();
        assert!(!unended.has_recorded(&[serial]));
        unended.write(json!({"attempt_id": Uuid::nil()}), [serial]);
        assert!(unended.has_recorded(&[serial]));
    }

    #[test]
    fn a_late_certificate_is_not_waited_for() {
        let never = signing::request(std::future::pending());
        let signing = attempt(&["jump-1"], vec![requested(), never]);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let limit = Some(std::time::Duration::ZERO);
        let signed = runtime.block_on(signing.signed_within(limit));
        assert!(signed.iter().all(Option::is_none) && signed.len() == 2);
        assert!(signing.signed_within(None).now_or_never().is_none());
    }
}
