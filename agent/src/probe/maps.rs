//! The probe's maps on the agent's side: newly created, or opened from their pins.

use std::collections;
use std::path::Path;
use std::rc::Rc;

use aya::maps::{Array, HashMap, Map, MapData, MapError};
use aya::{Ebpf, Pod};
use vctl_common::id::AuditSessionId;
use vctl_common::wire::{LOGIN_REFUSED, Mark, SeenLogin, SessionCounters, TaskMark};
use zerocopy::transmute;

use super::ProbeError;
use super::ring::Ring;

/// Names of the pinned maps, as the probe declares them and as files in the pin directory.
pub const PINNED: [&str; 7] = [
    "tasks", "sessions", "logins", "ring", "cpu_seq", "counters", "state",
];

/// Name of the map of late marks. It is pinned too, but the probe of an older agent has none; see [`Maps::note_late`].
pub const LATE_MARKS: &str = "late_marks";

/// Returns the names of the maps that are pinned in `dir`.
pub(super) fn names(dir: &Path) -> impl Iterator<Item = &'static str> {
    let late = dir.join(LATE_MARKS).exists().then_some(LATE_MARKS);
    PINNED.into_iter().chain(late)
}

/// `BPF_NOEXIST`.
const IF_NEW: u64 = 1;
/// `BPF_EXIST`.
const IF_KNOWN: u64 = 2;

/// Most steps of one listing: four times the entries of the largest map. When a key is removed while the kernel looks
/// for the next one, it begins again.
const STEPS: usize = 4 * 65_536;

/// Host-wide counters, in the order of the probe's `Counter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostCounters {
    pub ring_full: u64,
    pub marks_full: u64,
    pub stale_marks: u64,
    pub unknown_session: u64,
    pub logins_full: u64,
}

/// State that one agent leaves to the next in the map `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinnedState {
    pub version: u64,
    /// Identifies this ring: after a detach the positions of the new ring begin at 0 again.
    pub ring_id: u64,
    /// All parts are in place, and the self-test has passed.
    pub complete: bool,
    /// The probes at the exit of exec are attached, and belong to it.
    pub exec_exits: bool,
    /// The kernel has skipped a probe at the exit of exec, so they are not used.
    pub skipped_exits: bool,
    /// Whether the whole host is recorded; fixed when the probe is loaded.
    pub capture_all: bool,
    /// Boot clock when the probe was loaded.
    pub loaded_at: u64,
}

/// The maps of one probe.
pub struct Maps {
    tasks: HashMap<MapData, u32, [u64; 4]>,
    sessions: HashMap<MapData, Mark, [u64; 7]>,
    logins: HashMap<MapData, u32, [u64; 6]>,
    /// `None` with the probe of an older agent.
    late: Option<HashMap<MapData, u32, Mark>>,
    counters: Array<MapData, u64>,
    state: Array<MapData, u64>,
    /// Shared, so that the other maps can be changed while records are read.
    pub ring: Rc<Ring>,
    pub ring_bytes: u32,
}

impl Maps {
    /// Opens the maps pinned in `dir`.
    pub fn pinned(dir: &Path) -> Result<Self, ProbeError> {
        let has_late = names(dir).any(|name| name == LATE_MARKS);
        Self::open(has_late, |name| MapData::from_pin(dir.join(name)))
    }

    /// Takes the maps of an object that is not pinned.
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Self, ProbeError> {
        Self::open(true, |name| match ebpf.take_map(name) {
            Some(Map::HashMap(data) | Map::Array(data) | Map::RingBuf(data)) => Ok(data),
            _ => Err(MapError::InvalidName {
                name: name.to_owned(),
            }),
        })
    }

    fn open(
        has_late: bool,
        mut data: impl FnMut(&'static str) -> Result<MapData, MapError>,
    ) -> Result<Self, ProbeError> {
        let mut data =
            |name: &'static str| data(name).map_err(|source| ProbeError::Map { name, source });
        let in_map = |name: &'static str| move |source| ProbeError::Map { name, source };
        let ring_data = data("ring")?;
        let ring_bytes = ring_data.info().map_err(in_map("ring"))?.max_entries();
        let ring = Ring::map(std::os::fd::AsFd::as_fd(ring_data.fd()), ring_bytes)
            .map_err(|source| ProbeError::MapRing { source })?;
        let late = has_late.then(|| {
            HashMap::try_from(Map::HashMap(data(LATE_MARKS)?)).map_err(in_map(LATE_MARKS))
        });
        let late = late.transpose()?;
        Ok(Self {
            late,
            tasks: HashMap::try_from(Map::HashMap(data("tasks")?)).map_err(in_map("tasks"))?,
            sessions: HashMap::try_from(Map::HashMap(data("sessions")?))
                .map_err(in_map("sessions"))?,
            logins: HashMap::try_from(Map::HashMap(data("logins")?)).map_err(in_map("logins"))?,
            counters: Array::try_from(Map::Array(data("counters")?)).map_err(in_map("counters"))?,
            state: Array::try_from(Map::Array(data("state")?)).map_err(in_map("state"))?,
            ring: Rc::new(ring),
            ring_bytes,
        })
    }

    /// Adds a session to the kernel's map, before any of its processes is marked. Its events are numbered from the one
    /// behind `counters.seq`. A session that is already there stays as it is: the kernel may change its numbers at this
    /// moment, and a lost change would give two events one number.
    pub fn open_session(
        &mut self,
        mark: Mark,
        counters: SessionCounters,
    ) -> Result<(), ProbeError> {
        let counters: [u64; 7] = transmute!(counters);
        match self.sessions.insert(mark, counters, IF_NEW) {
            Err(_) if self.session(mark).is_some() => Ok(()),
            added => added.map_err(|source| ProbeError::Map {
                name: "sessions",
                source,
            }),
        }
    }

    /// Returns the kernel's counters of a session.
    pub fn session(&self, mark: Mark) -> Option<SessionCounters> {
        self.sessions.get(&mark, 0).ok().map(|raw| transmute!(raw))
    }

    /// Returns all sessions in the kernel's map.
    ///
    /// # Errors
    /// The list is not whole.
    pub fn sessions(&self) -> Result<Vec<(Mark, SessionCounters)>, ProbeError> {
        let mut sessions = collections::HashMap::new();
        each(&self.sessions, "sessions", |mark, raw| {
            sessions.insert(mark, transmute!(raw));
        })?;
        Ok(sessions.into_iter().collect())
    }

    /// Removes a session without processes from the kernel's map.
    pub fn close_session(&mut self, mark: Mark) {
        // It may already be removed, which is fine.
        let _ = self.sessions.remove(&mark);
    }

    /// Marks a process as one of a session.
    pub fn mark_task(&mut self, tgid: u32, mark: TaskMark) -> Result<(), ProbeError> {
        self.insert_task(tgid, mark, 0)
    }

    /// Marks a process that has no mark. Returns false when the probe has marked it meanwhile: that mark stays, with what
    /// the probe has noted in it.
    pub fn mark_new_task(&mut self, tgid: u32, mark: TaskMark) -> Result<bool, ProbeError> {
        match self.insert_task(tgid, mark, IF_NEW) {
            Err(_) if self.task(tgid).is_some() => Ok(false),
            added => added.map(|()| true),
        }
    }

    /// Replaces the mark of a process. Returns false when it has none any more: after its exit nothing would remove a mark.
    pub fn replace_task(&mut self, tgid: u32, mark: TaskMark) -> Result<bool, ProbeError> {
        match self.insert_task(tgid, mark, IF_KNOWN) {
            Err(_) if self.task(tgid).is_none() => Ok(false),
            replaced => replaced.map(|()| true),
        }
    }

    fn insert_task(&mut self, tgid: u32, mark: TaskMark, flags: u64) -> Result<(), ProbeError> {
        let raw: [u64; 4] = transmute!(mark);
        self.tasks
            .insert(tgid, raw, flags)
            .map_err(|source| ProbeError::Map {
                name: "tasks",
                source,
            })
    }

    /// Returns the mark of a process.
    pub fn task(&self, tgid: u32) -> Option<TaskMark> {
        self.tasks.get(&tgid, 0).ok().map(|raw| transmute!(raw))
    }

    /// Returns all marked processes.
    ///
    /// # Errors
    /// The list is not whole.
    pub fn tasks(&self) -> Result<collections::HashMap<u32, TaskMark>, ProbeError> {
        let mut tasks = collections::HashMap::new();
        self.each_task(|tgid, task| {
            tasks.insert(tgid, task);
        })?;
        Ok(tasks)
    }

    /// Calls `each` for every marked process as soon as it is found, for one that changes often also twice.
    ///
    /// # Errors
    /// The list is not whole.
    pub fn each_task(&self, mut each_task: impl FnMut(u32, TaskMark)) -> Result<(), ProbeError> {
        each(&self.tasks, "tasks", |tgid, raw| {
            each_task(tgid, transmute!(raw));
        })
    }

    /// Removes a mark.
    pub fn unmark_task(&mut self, tgid: u32) {
        // It may already be removed, which is fine.
        let _ = self.tasks.remove(&tgid);
    }

    /// Returns the logins that sshd opened and that are not stamped yet.
    ///
    /// # Errors
    /// The list is not whole.
    pub fn logins(&self) -> Result<Vec<(AuditSessionId, SeenLogin)>, ProbeError> {
        let mut logins = collections::HashMap::new();
        each(&self.logins, "logins", |id, raw| {
            if let Some(id) = AuditSessionId::new(id) {
                logins.insert(id, transmute!(raw));
            }
        })?;
        Ok(logins.into_iter().collect())
    }

    /// Removes a login that was stamped or otherwise handled.
    pub fn forget_login(&mut self, audit_session: AuditSessionId) {
        // It may already be removed, which is fine.
        let _ = self.logins.remove(&audit_session.get());
    }

    /// Has the probe mark the processes of this audit session that have no mark, when they fork or execute. Comes before
    /// the session is opened and before its processes are listed. An open session that has the audit session already
    /// keeps it: a login inside of it can share it.
    ///
    /// The probe of an older agent cannot do so, and the lists of processes alone decide.
    pub fn note_late(
        &mut self,
        audit_session: AuditSessionId,
        mark: Mark,
    ) -> Result<(), ProbeError> {
        let id = audit_session.get();
        let Some(late) = &mut self.late else {
            return Ok(());
        };
        let other = late.get(&id, 0).ok().filter(|other| *other != mark);
        if other.is_some_and(|other| self.sessions.get(&other, 0).is_ok()) {
            return Ok(());
        }
        let noted = late.insert(id, mark, 0);
        noted.map_err(|source| ProbeError::Map {
            name: LATE_MARKS,
            source,
        })
    }

    /// Removes the audit session of a session that has ended.
    pub fn forget_late(&mut self, audit_session: AuditSessionId, mark: Mark) {
        let id = audit_session.get();
        if let Some(late) = &mut self.late
            && late.get(&id, 0).is_ok_and(|of| of == mark)
        {
            // It may already be removed, which is fine.
            let _ = late.remove(&id);
        }
    }

    pub fn host_counters(&self) -> HostCounters {
        let counter = |index| self.counters.get(&index, 0).unwrap_or(0);
        HostCounters {
            ring_full: counter(0),
            marks_full: counter(1),
            stale_marks: counter(2),
            unknown_session: counter(3),
            logins_full: counter(4),
        }
    }

    pub fn state(&self) -> PinnedState {
        read_state(&self.state)
    }

    pub fn set_state(&mut self, state: PinnedState) -> Result<(), ProbeError> {
        for (index, word) in [
            (0, state.version),
            (1, state.ring_id),
            (
                2,
                u64::from(state.complete)
                    | u64::from(state.exec_exits) << 1
                    | u64::from(state.skipped_exits) << 2,
            ),
            (3, u64::from(state.capture_all)),
            (4, state.loaded_at),
        ] {
            self.state
                .set(index, word, 0)
                .map_err(|source| ProbeError::Map {
                    name: "state",
                    source,
                })?;
        }
        Ok(())
    }
}

/// Calls `found` for each entry of a map.
fn each<K: Pod, V: Pod>(
    map: &HashMap<MapData, K, V>,
    name: &'static str,
    mut found: impl FnMut(K, V),
) -> Result<(), ProbeError> {
    let in_map = |source| ProbeError::Map { name, source };
    for (step, entry) in map.iter().enumerate() {
        if step == STEPS {
            return Err(ProbeError::MapChanges { name });
        }
        let (key, value) = entry.map_err(in_map)?;
        found(key, value);
    }
    Ok(())
}

/// Reads only the state pinned in `dir`: the other maps may have the format of another version.
pub fn pinned_state(dir: &Path) -> Result<PinnedState, ProbeError> {
    let in_state = |source| ProbeError::Map {
        name: "state",
        source,
    };
    let data = MapData::from_pin(dir.join("state")).map_err(in_state)?;
    Ok(read_state(
        &Array::try_from(Map::Array(data)).map_err(in_state)?,
    ))
}

fn read_state(state: &Array<MapData, u64>) -> PinnedState {
    let word = |index| state.get(&index, 0).unwrap_or(0);
    PinnedState {
        version: word(0),
        ring_id: word(1),
        complete: word(2) & 1 != 0,
        exec_exits: word(2) & 2 != 0,
        skipped_exits: word(2) & 4 != 0,
        capture_all: word(3) == 1,
        loaded_at: word(4),
    }
}

/// Tells the agent, through the map pinned in `dir`, that the hook refused a login.
///
/// # Errors
/// The map does not exist, or does not contain the login.
pub fn note_refused(dir: &Path, audit_session: AuditSessionId) -> Result<(), ProbeError> {
    let in_map = |source| ProbeError::Map {
        name: "logins",
        source,
    };
    let data = MapData::from_pin(dir.join("logins")).map_err(in_map)?;
    let mut logins: HashMap<MapData, u32, [u64; 6]> =
        HashMap::try_from(Map::HashMap(data)).map_err(in_map)?;
    let raw = logins.get(&audit_session.get(), 0).map_err(in_map)?;
    let seen: SeenLogin = transmute!(raw);
    let refused: [u64; 6] = transmute!(SeenLogin {
        state: LOGIN_REFUSED,
        ..seen
    });
    logins
        .insert(audit_session.get(), refused, 0)
        .map_err(in_map)
}
