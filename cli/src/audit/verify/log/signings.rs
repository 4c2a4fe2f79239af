//! Requests to sign and their responses. The files may be in any order, and several audit devices write each entry.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::SystemTime;

use uuid::Uuid;

use super::super::entry::{Signing, Step};
use super::super::model::{Place, Signature, Span};
use super::super::names::Names;
use super::model::{AuditLog, Hashed, LogQuery};

/// Maximum number of accessors of a mount that are stored.
const MOST_ACCESSORS: usize = 20;

/// The requests of all files that were read so far.
#[derive(Default)]
pub(super) struct Signings {
    /// Requests whose response was not read yet.
    asked: HashMap<u128, Asked>,
    /// All requests with a response.
    answered: HashSet<u128>,
}

/// A request to sign. Vault may refuse it, so its texts, which any client can choose, are not stored with the names.
struct Asked {
    at: SystemTime,
    mount: Box<str>,
    role: Box<str>,
    person: Box<str>,
    address: Box<str>,
    place: Place,
}

impl Asked {
    fn of(signing: &Signing<'_>, at: SystemTime, place: Place) -> Self {
        Self {
            at,
            mount: (&*signing.mount).into(),
            role: (&*signing.role).into(),
            person: (&*signing.person).into(),
            address: (&*signing.address).into(),
            place,
        }
    }

    fn signature(&self, names: &mut Names, request: Option<u128>) -> Signature {
        Signature {
            serial: None,
            request,
            at: self.at,
            mount: names.of(&self.mount),
            role: names.of(&self.role),
            person: names.of(&self.person),
            address: names.of(&self.address),
            place: self.place,
        }
    }
}

impl Signings {
    /// Adds an entry. `at` is its time.
    pub(super) fn take(
        &mut self,
        log: &mut AuditLog,
        query: &LogQuery,
        signing: &Signing<'_>,
        at: SystemTime,
        place: Place,
    ) {
        let namespace = signing.namespace.trim_matches('/');
        if namespace != query.namespace || !query.mounts.contains(&signing.mount) {
            let is_signed = !matches!(signing.step, Step::Requested | Step::Refused);
            if is_signed {
                let mount = format!("{namespace}/{}/", signing.mount);
                let mount = mount.trim_start_matches('/').to_owned();
                log.foreign.entry(mount).or_insert((0, place)).0 += 1;
            }
            return;
        }
        let accessors = log.accessors.entry(signing.mount.clone()).or_default();
        // Bounded: the files may be of any number of servers.
        if !signing.accessor.is_empty() && accessors.len() < MOST_ACCESSORS {
            accessors.insert(signing.accessor.to_string());
        }
        let request = request_number(&signing.request_id);
        if signing.step == Step::Requested {
            if let Some(request) = request.filter(|request| !self.answered.contains(request)) {
                let asked = self.asked.entry(request);
                asked.or_insert_with(|| Asked::of(signing, at, place));
            }
            return;
        }
        let is_new = request.is_none_or(|request| {
            self.asked.remove(&request);
            self.answered.insert(request)
        });
        let serial = match signing.step {
            Step::Signed(serial) => Some(serial),
            Step::NoSerial => None,
            Step::Requested | Step::Refused => {
                log.refused += u64::from(is_new);
                return;
            }
            Step::Hashed => {
                if is_new {
                    take_hashed(log, query.wanted, signing, at, place);
                }
                return;
            }
        };
        let signature = Asked::of(signing, at, place).signature(&mut log.names, request);
        let signature = Signature {
            serial,
            ..signature
        };
        log.signatures.push(signature);
    }

    /// Adds the requests without a response, and removes repeated signatures.
    pub(super) fn finish(self, log: &mut AuditLog) {
        let unanswered = self.asked.into_iter();
        log.unanswered = unanswered
            .map(|(request, asked)| asked.signature(&mut log.names, Some(request)))
            .collect();
        log.unanswered.sort_by_key(|request| request.at);
        log.signatures
            .sort_by_key(|one| (one.serial, one.request, one.at));
        let before = log.signatures.len();
        // Each audit device writes its own time, so the time does not show a repetition.
        log.signatures.dedup_by_key(|one| {
            (
                one.serial,
                one.request,
                one.request.is_none().then_some(one.at),
            )
        });
        log.repeated = before - log.signatures.len();
    }
}

/// Counts a signature with a hashed serial. Outside of the wanted time it only limits the readable time.
fn take_hashed(
    log: &mut AuditLog,
    wanted: Span,
    signing: &Signing<'_>,
    at: SystemTime,
    place: Place,
) {
    let around = &mut log.hashed_around;
    if at < wanted.from {
        around.0 = around.0.max(Some(at));
        return;
    }
    if at > wanted.to {
        around.1 = Some(around.1.map_or(at, |first| first.min(at)));
        return;
    }
    let hashed = log.hashed.get_or_insert_with(|| Hashed {
        count: 0,
        first: place,
        last_at: at,
        mounts: BTreeSet::new(),
    });
    hashed.count += 1;
    hashed.last_at = hashed.last_at.max(at);
    hashed.mounts.insert(signing.mount.clone());
}

/// Returns the id of a request as a number; `None` if the entry has no id. Vault's ids are UUIDs.
fn request_number(id: &str) -> Option<u128> {
    if id.is_empty() {
        return None;
    }
    if let Ok(uuid) = Uuid::try_parse(id) {
        return Some(uuid.as_u128());
    }
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    Some(u128::from(hasher.finish()))
}
