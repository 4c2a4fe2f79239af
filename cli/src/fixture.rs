//! Histories that read like a host, and texts to compare with. For tests alone.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};
use std::{env, fs};

use vctl_common::event::{
    Attribution, CgroupMoveEvent, Device, EventKind, ExecEvent, Executable, ExitEvent, ExitStatus,
    KernelEvent, Phase, Tty,
};
use vctl_common::id::{AuditSessionId, CertSerial, CgroupId, ProcessId, SessionId};
use vctl_common::person::Person;
use vctl_common::session::{
    Auth, Certificate, CloseReason, GapCause, Origin, SessionClosed, SessionOpened, Stamp,
};
use vctl_common::time::{BootNs, WallOffset};

use crate::audit::model::{Access, OnHost};
use crate::view::identity::Proof;
use crate::view::{Event, History, Hole, Identity, Session};

/// Of a login whose certificate a CA of ours signed.
pub(crate) fn verified() -> Identity {
    Identity {
        proof: Proof::Verified { mount: None },
        ..Identity::nameless()
    }
}

/// A session that goes on millisecond by millisecond.
pub(crate) struct Login {
    history: History,
    phase: Phase,
    now_ms: u64,
}

pub(crate) const LEADER: u32 = 4100;
const UID: u32 = 1000;

impl Login {
    /// `alice` logs in as `deploy` at 2026-11-23T22:01:00Z, one hour after the boot.
    pub(crate) fn of_alice() -> Self {
        let opened_at = BootNs(3_600_000_000_000);
        let opened = SessionOpened {
            id: session_id("0193f3a1-7c4e-7d61-9f0a-2b5c6d7e8f90"),
            origin: Origin::Login,
            login_user: "deploy".to_owned(),
            service: "sshd".to_owned(),
            auth: Auth {
                method: Some("publickey".to_owned()),
                certificate: Some(Certificate {
                    serial: CertSerial::new(7341),
                    key_id: "alice@example.org".to_owned(),
                    ca_fingerprint: "SHA256:yE1rBqmPyZ0zYJ5OeV2z".to_owned(),
                    principals: vec!["deploy".to_owned()],
                    valid_after: 1_795_000_000,
                    valid_before: 1_795_600_000,
                    blob: None,
                    blob_too_large: false,
                }),
                key_fingerprint: Some("SHA256:9sT1kPq".to_owned()),
                problem: None,
                unreadable_certificate: false,
            },
            source_ip: "192.0.2.7".parse().ok(),
            source_port: Some(51515),
            remote_host: None,
            tty: Some("pts/3".to_owned()),
            leader: process(LEADER),
            login_uid: Some(UID),
            audit_session: AuditSessionId::new(12),
            cgroup: Some(CgroupId(7001)),
            opened_at,
            marked_at: Some(opened_at),
            stamp: Stamp::InTime,
        };
        let session = Session {
            opened,
            closed: None,
            host: "web-1".to_owned(),
            boot_id: "6f3b4a52-21d4-4b0e-8a75-0d6a8c0f5e11".parse().unwrap(),
            wall: WallOffset::from_ns(1_795_467_660_000_000_000),
            closed_wall: None,
            stored: 0,
            holes: Vec::new(),
            identity: verified(),
            provenance: None,
        };
        let events = Vec::new();
        Self {
            history: History {
                session,
                events,
                left_out: 0,
            },
            phase: Phase::User,
            now_ms: 3_600_000,
        }
    }

    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.history.session
    }

    /// Makes what follows work of that phase.
    pub(crate) fn in_phase(mut self, phase: Phase) -> Self {
        self.phase = phase;
        self
    }

    pub(crate) fn after_ms(mut self, ms: u64) -> Self {
        self.now_ms += ms;
        self
    }

    pub(crate) fn exec(self, pid: u32, parent: u32, argv: &[&str]) -> Self {
        self.exec_with(pid, parent, argv, |_| {})
    }

    pub(crate) fn exec_with(
        self,
        pid: u32,
        parent: u32,
        argv: &[&str],
        change: impl FnOnce(&mut ExecEvent),
    ) -> Self {
        let mut exec = exec_event(pid, parent, argv);
        change(&mut exec);
        self.event(pid, EventKind::Exec(Box::new(exec)))
    }

    pub(crate) fn exec_failed(self, pid: u32, parent: u32, errno: u32, argv: &[&str]) -> Self {
        let exec = Box::new(exec_event(pid, parent, argv));
        self.event(pid, EventKind::ExecFailed { errno, exec })
    }

    pub(crate) fn exit(self, pid: u32, parent: u32, code: u8) -> Self {
        self.ended(pid, parent, ExitStatus::Code(code))
    }

    pub(crate) fn killed(self, pid: u32, parent: u32, signal: u8) -> Self {
        let core_dumped = signal == 11;
        self.ended(
            pid,
            parent,
            ExitStatus::Signal {
                signal,
                core_dumped,
            },
        )
    }

    pub(crate) fn moved(self, pid: u32, to: u64, by: Option<SessionId>) -> Self {
        let moved = CgroupMoveEvent {
            from: CgroupId(7001),
            to: CgroupId(to),
            by_session: by.map(SessionId::mark),
            by_tgid: pid,
        };
        self.event(pid, EventKind::CgroupMove(moved))
    }

    /// The last event was attributed in another way than by its mark.
    pub(crate) fn inferred(mut self, attribution: Attribution) -> Self {
        self.history.events.last_mut().unwrap().event.attribution = attribution;
        self
    }

    /// `events` numbers are given out and never stored.
    pub(crate) fn lost(mut self, events: u64, for_ms: u64, cause: GapCause) -> Self {
        let from = self.now();
        self.now_ms += for_ms;
        let hole = Hole {
            events: Some(events),
            cause: Some(cause),
            from,
            to: self.now(),
        };
        self.history.session.holes.push(hole);
        self
    }

    /// Returns the history as it is while the session goes on.
    pub(crate) fn open(mut self) -> History {
        self.history.session.stored = self.history.events.len() as u64;
        self.history
    }

    pub(crate) fn closed(self) -> History {
        let at = self.now();
        let mut history = self.open();
        let session = &mut history.session;
        session.closed = Some(SessionClosed {
            id: session.opened.id,
            at,
            reason: CloseReason::LastProcessEnded,
            produced: Some(session.stored),
            stored: session.stored,
            leader_ended_at: Some(at),
        });
        history
    }

    fn ended(self, pid: u32, parent: u32, status: ExitStatus) -> Self {
        let exit = ExitEvent {
            parent: process(parent),
            status,
            euid: UID,
            alive: 1,
        };
        self.event(pid, EventKind::Exit(exit))
    }

    fn event(mut self, pid: u32, kind: EventKind) -> Self {
        let seq = self.history.events.len() as u64 + 1;
        let event = KernelEvent {
            process: process(pid),
            session_seq: seq,
            cpu: 1,
            cpu_seq: 900 + seq,
            at: self.now(),
            attribution: Attribution::Lineage,
            phase: self.phase,
            kind,
        };
        let time = self.history.session.wall.wall_time(event.at);
        self.history.events.push(Event { time, event });
        self
    }

    fn now(&self) -> BootNs {
        BootNs(self.now_ms * 1_000_000)
    }
}

/// Another of the session's ids.
pub(crate) fn session_id(text: &str) -> SessionId {
    text.parse().unwrap()
}

/// A higher pid is a later process.
pub(crate) fn process(tgid: u32) -> ProcessId {
    ProcessId {
        tgid,
        start: BootNs(3_600_000_000_000 + u64::from(tgid.saturating_sub(LEADER)) * 1_000_000),
    }
}

pub(crate) fn exec_event(pid: u32, parent: u32, argv: &[&str]) -> ExecEvent {
    let program = argv.first().copied().unwrap_or_default();
    let program = program.trim_start_matches('-');
    let path = format!("/usr/bin/{}", program.rsplit('/').next().unwrap());
    ExecEvent {
        argv: argv.iter().map(|item| item.as_bytes().to_vec()).collect(),
        argv_true_len: argv
            .iter()
            .map(|item| u32::try_from(item.len()).unwrap() + 1)
            .sum(),
        argc: u32::try_from(argv.len()).unwrap(),
        argv_truncated: false,
        over_budget: false,
        argv_fault: false,
        redacted: false,
        exe: Executable {
            path: path.clone().into_bytes(),
            device: Device { major: 8, minor: 1 },
            inode: 131_072,
            links: 1,
            ..Executable::default()
        },
        cwd: b"/home/deploy".to_vec(),
        cwd_truncated: false,
        filename: path.into_bytes(),
        script: false,
        tid: pid,
        parent: process(parent),
        ruid: UID,
        euid: UID,
        rgid: UID,
        egid: UID,
        login_uid: Some(UID),
        audit_session: AuditSessionId::new(12),
        tty: Some(Tty(Device {
            major: 136,
            minor: 3,
        })),
        cgroup: CgroupId(7001),
        mount_ns: 4_026_531_841,
        pid_ns: 4_026_531_836,
        other_audit_session: false,
        other_cgroup: false,
    }
}

fn access() -> Access {
    let opened_at = UNIX_EPOCH + Duration::from_secs(1_795_467_650);
    Access {
        person: Person::new("oidc-albert"),
        opened_at,
        recorded_at: opened_at,
        replayed: false,
        closed_at: Some(opened_at + Duration::from_mins(1)),
        result: "ok".to_owned(),
        exit_code: Some(0),
        error: None,
        host: "web-1".to_owned(),
        login_user: "deploy".to_owned(),
        target_addr: "192.0.2.10".parse().ok(),
        target_port: Some(22),
        jump_via: vec!["jump-1".to_owned(), "jump-2".to_owned()],
        ca_fingerprint: Some("SHA256:yE1r".to_owned()),
        serial: CertSerial::new(u64::MAX),
        key_id: Some("oidc-albert".to_owned()),
        command: Some("uptime".to_owned()),
        source_ip: "2001:db8::7".parse().ok(),
        source_port: Some(51515),
        client_host: Some("laptop".to_owned()),
        client_user: Some("al".to_owned()),
        vctl_version: Some("0.1.0".to_owned()),
        hops: Vec::new(),
        sessions: vec![session_id("0193f3a1-7c4e-7d61-9f0a-2b5c6d7e8f90")],
        contradicted: Vec::new(),
        on_host: None,
    }
}

/// An access that went well, one that was refused, and one that is hostile.
pub(crate) fn accesses() -> [Access; 3] {
    let refused = Access {
        result: "refused".to_owned(),
        exit_code: None,
        error: Some("ssh: no, \"never\"".to_owned()),
        jump_via: Vec::new(),
        source_ip: None,
        source_port: None,
        sessions: Vec::new(),
        target_port: Some(2222),
        ..access()
    };
    let hostile = Access {
        command: Some("=HYPERLINK(\"http://x\")\r\n\u{1b}[2J".to_owned()),
        client_host: Some("@SUM(A1)".to_owned()),
        client_user: Some(String::new()),
        result: "open".to_owned(),
        exit_code: None,
        closed_at: None,
        replayed: true,
        on_host: Some(OnHost::Ended { at: UNIX_EPOCH }),
        contradicted: vec![session_id("0193f3a1-7c4e-7d61-9f0a-2b5c6d7e8f90")],
        ..access()
    };
    [access(), refused, hostile]
}

/// Renders without colours.
pub(crate) fn rendered(
    render: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>,
) -> String {
    let mut out = anstream::StripStream::new(Vec::new());
    render(&mut out).unwrap();
    String::from_utf8(out.into_inner()).unwrap()
}

/// Compares with the committed text `src/golden/<name>`; `VCTL_BLESS=1` writes it instead.
pub(crate) fn assert_golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/golden")
        .join(name);
    if env::var_os("VCTL_BLESS").is_some() {
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == actual,
        "{} differs; expected:\n{expected}\nactual:\n{actual}",
        path.display()
    );
}
