//! Reader of a host's /proc, below a given root.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use vctl_common::id::{AuditSessionId, BootId, CgroupId, ProcessId};
use vctl_common::time::BootNs;
use vctl_common::wire::SSHD;

use super::files::{parse_cgroup, parse_id};
use super::host;
use super::mountinfo::{Cgroup2Mount, parse_cgroup2_mount};
use super::process_table::{Listed, ProcessTable};
use super::stat::{Stat, name_and_state, parse_stat};

/// Reader of one host's /proc.
#[derive(Clone, Debug)]
pub struct ProcReader {
    proc: PathBuf,
    ticks_per_second: u64,
    cgroup2: Option<Cgroup2Mount>,
}

/// The process cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ProcError {
    #[error("process {tgid} does not exist")]
    Gone {
        tgid: u32,
        #[source]
        source: io::Error,
    },
    #[error("`/proc/{tgid}/stat` cannot be read: it is cut or has another form")]
    Stat { tgid: u32 },
}

impl ProcReader {
    /// A reader for this machine.
    pub fn host() -> Self {
        Self::new(Path::new("/proc"))
    }

    pub fn new(proc: &Path) -> Self {
        let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)
            .ok()
            .flatten();
        Self {
            proc: proc.to_owned(),
            // 100 on every current architecture of Linux.
            ticks_per_second: ticks
                .and_then(|t| u64::try_from(t).ok())
                .filter(|t| *t > 0)
                .unwrap_or(100),
            cgroup2: parse_cgroup2_mount(&host::mountinfo(proc)),
        }
    }

    /// Returns the boot to which every clock and id here belongs.
    ///
    /// # Errors
    /// Those of [`host::boot_id`].
    pub fn boot_id(&self) -> io::Result<BootId> {
        host::boot_id(&self.proc)
    }

    /// Returns whether the process is alive: a reused pid has another start. Accepts a start from the probe,
    /// which is exact to the nanosecond, and one from /proc.
    pub fn is_alive(&self, process: ProcessId) -> bool {
        self.stat(process.tgid)
            .is_ok_and(|stat| !stat.is_zombie && self.is_started(stat, process))
    }

    fn is_started(&self, stat: Stat, process: ProcessId) -> bool {
        stat.start_ticks == self.ticks(process.start)
    }

    /// Returns the clock tick of a time, as /proc has it.
    pub fn ticks(&self, at: BootNs) -> u64 {
        let ticks = u128::from(at.0) * u128::from(self.ticks_per_second) / 1_000_000_000;
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// Returns whether the process is certain to have ended: it is not there, is a zombie, or its pid has another one.
    pub fn has_ended(&self, process: ProcessId) -> bool {
        self.is_gone_or(process.tgid, |stat| {
            stat.is_zombie || !self.is_started(stat, process)
        })
    }

    /// Returns whether the pid certainly has no process, or only a zombie.
    pub fn is_free(&self, tgid: u32) -> bool {
        self.is_gone_or(tgid, |stat| stat.is_zombie)
    }

    /// Returns whether the process that was listed exits or has ended. After that the probe at its exit removes no mark.
    pub fn is_exiting(&self, listed: &Listed) -> bool {
        self.is_gone_or(listed.tgid, |stat| {
            stat.is_exiting || stat.start_ticks != listed.stat.start_ticks
        })
    }

    fn is_gone_or(&self, tgid: u32, is_over: impl FnOnce(Stat) -> bool) -> bool {
        match self.stat(tgid) {
            Ok(stat) => is_over(stat),
            // ESRCH: it ended between open and read.
            Err(ProcError::Gone { source, .. }) => {
                source.kind() == io::ErrorKind::NotFound
                    || source.raw_os_error() == Some(nix::libc::ESRCH)
            }
            Err(_) => false,
        }
    }

    /// Reads all processes.
    pub fn processes(&self) -> ProcessTable {
        let entries = fs::read_dir(&self.proc).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name());
        let tgids = names.filter_map(|name| name.to_str()?.parse().ok());
        let listed = tgids.filter_map(|tgid| {
            Some(Listed {
                tgid,
                stat: self.stat(tgid).ok()?,
                audit_session: self.audit_session(tgid),
            })
        });
        listed.collect()
    }

    /// Returns whether the program is sshd: `sshd`, or `sshd-session` since OpenSSH 9.8.
    pub fn is_sshd(&self, tgid: u32) -> bool {
        fs::read(self.of(tgid, "comm")).is_ok_and(|comm| comm.starts_with(&SSHD))
    }

    pub fn stat(&self, tgid: u32) -> Result<Stat, ProcError> {
        let stat =
            fs::read(self.of(tgid, "stat")).map_err(|source| ProcError::Gone { tgid, source })?;
        parse_stat(&stat).ok_or(ProcError::Stat { tgid })
    }

    /// Returns the process that has the pid now.
    ///
    /// Its start is whole clock ticks (10 ms), the precision of /proc: a process matches when its exact start lies within
    /// that tick.
    pub fn process(&self, tgid: u32) -> Result<ProcessId, ProcError> {
        let Stat { start_ticks, .. } = self.stat(tgid)?;
        let ns = u128::from(start_ticks) * 1_000_000_000 / u128::from(self.ticks_per_second);
        let start = BootNs(u64::try_from(ns).unwrap_or(u64::MAX));
        Ok(ProcessId { tgid, start })
    }

    /// Reads the name, which the process can choose, and the letter of the state.
    pub fn name_and_state(&self, tgid: u32) -> Option<(String, char)> {
        let stat = fs::read(self.of(tgid, "stat")).ok()?;
        let (name, state) = name_and_state(&stat)?;
        Some((String::from_utf8_lossy(name).into_owned(), state))
    }

    /// Reads the target of a process's `exe` or `cwd` link; `None` when the process has ended.
    ///
    /// The link is read a moment after the event, so the process may have changed its directory or
    /// program. The caller marks the path as not the probe's.
    pub fn link(&self, process: ProcessId, name: &str) -> Option<Vec<u8>> {
        let path = fs::read_link(self.of(process.tgid, name)).ok()?;
        // Checked after the link was read: the pid may have been reused before.
        self.is_alive(process)
            .then(|| path.into_os_string().into_vec())
    }

    pub fn login_uid(&self, tgid: u32) -> Option<u32> {
        self.id(tgid, "loginuid")
    }

    pub fn audit_session(&self, tgid: u32) -> Option<AuditSessionId> {
        self.id(tgid, "sessionid").and_then(AuditSessionId::new)
    }

    fn id(&self, tgid: u32, file: &str) -> Option<u32> {
        parse_id(&fs::read(self.of(tgid, file)).ok()?)
    }

    /// Returns the cgroup of a process on the unified hierarchy.
    pub fn cgroup(&self, tgid: u32) -> Option<CgroupId> {
        let file = fs::read(self.of(tgid, "cgroup")).ok()?;
        let directory = self.cgroup2.as_ref()?.directory(parse_cgroup(&file)?)?;
        fs::metadata(directory)
            .ok()
            .map(|meta| CgroupId(meta.ino()))
    }

    fn of(&self, tgid: u32, file: &str) -> PathBuf {
        self.proc.join(tgid.to_string()).join(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::fake_proc::{FakeProc, stat};

    #[test]
    fn a_zombie_has_ended_and_an_exiting_process_has_not() {
        let proc = FakeProc::new()
            .process(70, 1, 500)
            .process(71, 1, 500)
            .process(72, 1, 500);
        proc.write("71/stat", &stat(71, "R", 1, 4, 1, 500));
        proc.write("72/stat", &stat(72, "Z", 1, 4, 1, 500));
        let reader = proc.reader();
        let start = BootNs(5_000_000_000);
        let of = |tgid| {
            let listed = reader.processes().get(70).copied().unwrap();
            (
                reader.is_exiting(&Listed { tgid, ..listed }),
                reader.has_ended(ProcessId { tgid, start }),
                reader.is_free(tgid),
            )
        };
        assert_eq!(of(70), (false, false, false));
        assert_eq!(of(71), (true, false, false));
        assert_eq!(of(72), (true, true, true));
        assert_eq!(of(73), (true, true, true));
    }

    #[test]
    fn a_login_process_is_sshd_by_its_program_name() {
        let proc = FakeProc::new();
        let names = [
            "sshd",
            "sshd-session",
            "sshd-lab1",
            "cron",
            "login",
            "xsshd",
        ];
        let is_sshd = names.map(|name| {
            proc.write("77/comm", &format!("{name}\n"));
            proc.reader().is_sshd(77)
        });
        assert_eq!(is_sshd, [true, true, true, false, false, false]);
        assert!(!proc.reader().is_sshd(78));
    }

    #[test]
    fn a_pid_used_again_is_another_process() {
        let proc = FakeProc::new().process(4242, 700, 500);
        let at = |ns| ProcessId {
            tgid: 4242,
            start: BootNs(ns),
        };
        // 500 ticks, in the precision of /proc and of the probe.
        for same in [5_000_000_000, 5_009_999_999] {
            assert!(proc.reader().is_alive(at(same)), "{same}");
        }
        for other in [0, 4_999_999_999, 5_010_000_000, u64::MAX] {
            assert!(!proc.reader().is_alive(at(other)), "{other}");
        }
    }

    #[test]
    fn links_and_names_are_read_below_the_root() {
        // No kernel gives this pid.
        let tgid = 4_194_305;
        let proc = FakeProc::new().process(tgid, 1, 500);
        proc.link(&format!("{tgid}/exe"), "/usr/bin/deep");
        let reader = proc.reader();
        let link = |start| {
            let process = ProcessId {
                tgid,
                start: BootNs(start),
            };
            reader.link(process, "exe")
        };
        assert_eq!(link(5_000_000_001), Some(b"/usr/bin/deep".to_vec()));
        assert_eq!(link(6_000_000_000), None);
        let name = Some(("sshd: a) R x".to_owned(), 'S'));
        assert_eq!(reader.name_and_state(tgid), name);
    }
}
