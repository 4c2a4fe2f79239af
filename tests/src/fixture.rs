//! Shared parts of several specs: a script runs in a session, with a truth file.
#![allow(clippy::unwrap_used, reason = "a spec that cannot go on has failed")]

use std::fs::{self, File, Permissions};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Output};
use std::time::Duration;

use crate::lab::{Certificate, Lab, Options, PATIENCE, Recorded, eventually};
use crate::truth::{Running, Truth};
use vctl_common::event::{ExecEvent, KernelEvent};
use vctl_common::id::ProcessId;
use vctl_common::wire::TaskMark;

/// A lab with the usual settings.
pub fn lab() -> Option<Lab> {
    Lab::or_skip(&Options::default())
}

/// Programs of the sessions, in a directory where every account can run them, and their truth file.
pub struct Stage {
    pub bin: PathBuf,
    pub truth: PathBuf,
}

impl Stage {
    /// Copies the programs, because other accounts cannot read a checkout below a home directory.
    pub fn set(lab: &Lab) -> Self {
        let bin = lab.root().join("bin");
        fs::create_dir(&bin).unwrap();
        for program in ["exec-target", "odd-exec", "odd-exit"] {
            fs::copy(lab.programs.directory.join(program), bin.join(program)).unwrap();
        }
        let truth = lab.root().join("truth");
        let file = File::create(&truth).unwrap();
        file.set_permissions(Permissions::from_mode(0o666)).unwrap();
        Self { bin, truth }
    }

    /// Returns a script with the variables `$T` (records its own exec), `$ODD`, `$END` and `$AS_ROOT`.
    pub fn script(&self, case: &str, body: &str) -> String {
        let bin = self.bin.display();
        let truth = self.truth.display();
        format!(
            "export VCTL_TRUTH={truth} VCTL_CASE={case}\n\
             T={bin}/exec-target ODD={bin}/odd-exec END={bin}/odd-exit\n\
             AS_ROOT='sudo -n env VCTL_TRUTH={truth} VCTL_CASE={case}'\n\
             {body}"
        )
    }

    pub fn run(&self, lab: &Lab, who: &Certificate, body: &str) -> Output {
        let output = lab.ssh(who, self.script(&who.key_id, body)).unwrap();
        assert!(output.status.success(), "{body}: {output:?}");
        output
    }

    pub fn start(&self, lab: &Lab, who: &Certificate, body: &str) -> Child {
        lab.ssh_start(who, self.script(&who.key_id, body)).unwrap()
    }

    pub fn truths(&self) -> Vec<Truth> {
        crate::truth::read(&self.truth).unwrap()
    }

    /// Returns the number of complete lines in the truth file, also while a process writes another line.
    pub fn told(&self) -> usize {
        let lines = fs::read(&self.truth).unwrap();
        memchr::memchr_iter(b'\n', &lines).count()
    }

    pub fn running(&self) -> Vec<Running> {
        let truths = self.truths().into_iter();
        truths
            .filter_map(|truth| match truth {
                Truth::Running(running) => Some(*running),
                _ => None,
            })
            .collect()
    }
}

/// Returns the exec that a process reported: its last one, because it executes only one more program.
pub fn exec_of<'a>(
    session: &'a Recorded,
    truth: &Running,
) -> Option<(&'a KernelEvent, &'a ExecEvent)> {
    let found = session
        .execs()
        .filter(|(event, _)| is_process(event, truth.pid, truth.start));
    found.last()
}

/// Returns true when the event is of the process that wrote the line. A pid alone may be used again.
pub fn is_process(event: &KernelEvent, pid: u32, start: u64) -> bool {
    identity(event.process) == (pid, start)
}

/// A process as /proc shows it: pid, and start in clock ticks after boot.
pub fn identity(process: ProcessId) -> (u32, u64) {
    const NS_PER_TICK: u64 = 10_000_000;
    (process.tgid, process.start.0 / NS_PER_TICK)
}

/// Asserts that each process of the truth file is in its own person's session and in no other.
///
/// The case in each line is the key id of its person.
pub fn assert_each_is_where_it_belongs(truths: &[Running], sessions: &[(&str, Vec<Recorded>)]) {
    for truth in truths {
        for (key_id, recorded) in sessions {
            let shown = recorded
                .iter()
                .any(|session| exec_of(session, truth).is_some());
            let wanted = *key_id == truth.case;
            assert_eq!(
                shown,
                wanted,
                "{truth:?} in the session of {key_id}: {:#?}",
                recorded.iter().map(Recorded::summary).collect::<Vec<_>>()
            );
        }
    }
}

/// Waits until the file exists. The script in a session creates it to show its progress.
pub fn await_file(path: &Path) {
    await_that(&format!("`{}` is there", path.display()), || path.exists());
}

/// Waits for a fact. Specs do not wait for a time, because the speed of the machine decides how much happens in it.
pub fn await_that(fact: &str, mut is_so: impl FnMut() -> bool) {
    let came = eventually(PATIENCE, || Ok(is_so())).unwrap();
    assert!(came, "not true in time: {fact}");
}

/// Longer than the five seconds that a hook may take, and shorter than sshd's time limit for a login.
pub const NEVER_HUNG: Duration = Duration::from_secs(40);

/// Creates an empty file that the script of a session waits for.
pub fn touch(path: &Path) {
    fs::write(path, "").unwrap();
}

/// Pids that no process can have.
pub const FREE_PIDS: Range<u32> = 5_000_000..100_000_000;

/// A mark of no session, to fill the map of marks.
pub const UNUSED_MARK: TaskMark = TaskMark {
    session: 2,
    start: 1,
    marked: 0,
    noted_exec: 0,
    role: 0,
    groups: 0,
};

/// A script that fills the ring: execs of a missing program with 15 KiB of argv, as fast as they fail. It ends when the
/// file `flood-on` is gone, at the latest after two minutes.
pub const FLOOD: &str = "cat > flood.pl <<'END'\n\
    my @argv = ('/nowhere/flood', map { 'x' x 1000 } 1..15);\n\
    while (time < $^T + 120 && -e 'flood-on') { exec { $argv[0] } @argv for 1..200 }\n\
    END\n\
    touch flood-on; perl flood.pl";
