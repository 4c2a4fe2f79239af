//! The login process behind a stamp, as the kernel knows it: /proc text to facts, then the reads.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vctl_common::id::{AuditSessionId, BootId, CgroupId, ProcessId};
use vctl_common::time::BootNs;
use vctl_common::wire::{SSHD, UNSET};

use super::process_table::{Listed, ProcessTable};
use super::stat::{Stat, parse_stat};

/// The kernel's facts about a login's own process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginFacts {
    /// `start` is whole clock ticks (10 ms), the precision of /proc: a process matches when its
    /// exact start lies within that tick.
    pub leader: ProcessId,
    /// The kernel's login uid. For a login that is stamped in time, else that of the account.
    pub login_uid: Option<u32>,
    pub audit_session: Option<AuditSessionId>,
    pub cgroup: Option<CgroupId>,
}

#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error("process {tgid} does not exist")]
    Gone {
        tgid: u32,
        #[source]
        source: io::Error,
    },
    #[error("`/proc/{tgid}/stat` cannot be read: it is cut or has another form")]
    Stat { tgid: u32 },
    /// The hook was orphaned or started by hand: its parent may be pid 1, and a mark there would mark the whole
    /// host.
    #[error("the parent of the hook is process {parent}, which is not a login")]
    NoLogin { parent: u32 },
}

/// Reads the login uid or the audit session id, which write "not set" as 4294967295.
pub fn parse_id(file: &[u8]) -> Option<u32> {
    let raw: u32 = std::str::from_utf8(file).ok()?.trim().parse().ok()?;
    (raw != UNSET).then_some(raw)
}

/// Returns the path in the unified hierarchy from all of `/proc/<pid>/cgroup`.
pub fn parse_cgroup(file: &[u8]) -> Option<&str> {
    let line = file
        .split(|&b| b == b'\n')
        .find_map(|line| line.strip_prefix(b"0::"))?;
    std::str::from_utf8(line).ok()
}

/// Mount point of a cgroup2 file system, and the directory that is its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup2Mount {
    pub root: String,
    pub mount_point: PathBuf,
}

/// Finds the unified hierarchy in all of `/proc/self/mountinfo`; on hybrid hosts it is at
/// `/sys/fs/cgroup/unified`. Source: proc_pid_mountinfo(5).
pub fn parse_cgroup2_mount(mountinfo: &str) -> Option<Cgroup2Mount> {
    mountinfo.lines().find_map(|line| {
        let (mount, fs) = line.split_once(" - ")?;
        if fs.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = mount.split(' ');
        let root = unescaped(fields.nth(3)?);
        let mount_point = PathBuf::from(unescaped(fields.next()?));
        Some(Cgroup2Mount { root, mount_point })
    })
}

/// mountinfo writes blank, tab, newline and backslash as `\040` and the like.
fn unescaped(field: &str) -> String {
    field
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

impl Cgroup2Mount {
    /// Returns the directory of a cgroup, `None` for one outside the mount.
    pub fn directory(&self, cgroup: &str) -> Option<PathBuf> {
        let below = if self.root == "/" {
            cgroup
        } else {
            cgroup
                .strip_prefix(&self.root)
                .filter(|below| below.is_empty() || below.starts_with('/'))?
        };
        // The kernel writes `/..` for a cgroup above our namespace's root.
        if below.split('/').any(|part| part == "..") {
            return None;
        }
        Some(self.mount_point.join(below.trim_start_matches('/')))
    }
}

/// Reader of one host's /proc, below a given root.
#[derive(Clone, Debug)]
pub struct LoginReader {
    proc: PathBuf,
    ticks_per_second: u64,
    cgroup2: Option<Cgroup2Mount>,
}

impl LoginReader {
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
            cgroup2: fs::read_to_string(proc.join("self/mountinfo"))
                .ok()
                .and_then(|mountinfo| parse_cgroup2_mount(&mountinfo)),
        }
    }

    /// Returns the process that opens the session: the parent of the stamper.
    ///
    /// For sshd this is the privileged monitor, which forks the user's shell. The pid must come
    /// from the socket's peer credentials, never from a message.
    pub fn login_of(&self, stamper: u32, user: &str) -> Result<LoginFacts, LoginError> {
        let parent = self.stat(stamper)?.ppid;
        if parent <= 1 {
            return Err(LoginError::NoLogin { parent });
        }
        self.facts(parent, user)
    }

    /// Returns the facts of the login process. Asks name services for the account when the kernel has no login
    /// uid. These may hang, so the collector's loop must not call it.
    fn facts(&self, tgid: u32, user: &str) -> Result<LoginFacts, LoginError> {
        let facts = self.kernel_facts(tgid)?;
        Ok(LoginFacts {
            login_uid: facts.login_uid.or_else(|| account_uid(user)),
            ..facts
        })
    }

    /// Returns the facts of the login process that the kernel has.
    pub fn kernel_facts(&self, tgid: u32) -> Result<LoginFacts, LoginError> {
        let stat = self.stat(tgid)?;
        Ok(LoginFacts {
            leader: ProcessId {
                tgid,
                start: self.start(stat),
            },
            login_uid: self.id(tgid, "loginuid"),
            audit_session: self.id(tgid, "sessionid").and_then(AuditSessionId::new),
            cgroup: self.cgroup(tgid),
        })
    }

    /// Returns the boot to which every clock and id here belongs.
    pub fn boot_id(&self) -> Option<BootId> {
        let file = self.proc.join("sys/kernel/random/boot_id");
        fs::read_to_string(file).ok()?.parse().ok()
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
            Err(LoginError::Gone { source, .. }) => {
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
                audit_session: self.id(tgid, "sessionid").and_then(AuditSessionId::new),
            })
        });
        listed.collect()
    }

    /// Returns whether the program is sshd: `sshd`, or `sshd-session` since OpenSSH 9.8.
    pub fn is_sshd(&self, tgid: u32) -> bool {
        fs::read(self.of(tgid, "comm")).is_ok_and(|comm| comm.starts_with(&SSHD))
    }

    fn stat(&self, tgid: u32) -> Result<Stat, LoginError> {
        let stat =
            fs::read(self.of(tgid, "stat")).map_err(|source| LoginError::Gone { tgid, source })?;
        parse_stat(&stat).ok_or(LoginError::Stat { tgid })
    }

    fn start(&self, stat: Stat) -> BootNs {
        let ns = u128::from(stat.start_ticks) * 1_000_000_000 / u128::from(self.ticks_per_second);
        BootNs(u64::try_from(ns).unwrap_or(u64::MAX))
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

fn account_uid(user: &str) -> Option<u32> {
    let account = nix::unistd::User::from_name(user).ok()??;
    Some(account.uid.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A /proc with the processes of a test.
    struct FakeProc(tempfile::TempDir);

    impl FakeProc {
        fn new() -> Self {
            let fake = Self(tempfile::tempdir().unwrap());
            let cgroup = fake.0.path().join("cgroup/user.slice/session-12.scope");
            fs::create_dir_all(cgroup).unwrap();
            let mount = format!(
                "32 31 0:29 / {0}/v1 rw - cgroup cgroup rw,cpu\n41 31 0:38 / {0}/cgroup rw,relatime - cgroup2 cgroup2 rw\n",
                fake.0.path().display()
            );
            fake.write("self/mountinfo", &mount);
            fake
        }

        fn process(self, pid: u32, ppid: u32, start_ticks: u64) -> Self {
            self.write(
                &format!("{pid}/stat"),
                &stat(pid, "S", ppid, 0, 1, start_ticks),
            );
            self.write(&format!("{pid}/loginuid"), "1000");
            self.write(&format!("{pid}/sessionid"), "3");
            self.write(
                &format!("{pid}/cgroup"),
                "1:cpu:/\n0::/user.slice/session-12.scope\n",
            );
            self
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn reader(&self) -> LoginReader {
            LoginReader::new(self.0.path())
        }
    }

    fn stat(pid: u32, state: &str, ppid: u32, flags: u32, threads: u32, start: u64) -> String {
        let [four, ten] = [4, 10].map(|count| "0 ".repeat(count));
        format!("{pid} (sshd: a) R x) {state} {ppid} {four}{flags} {ten}{threads} 0 {start} 0 0\n")
    }

    #[test]
    fn a_process_has_ended_with_its_last_thread() {
        let of = |state, flags, threads| {
            let text = stat(7, state, 1, flags, threads, 500);
            let stat = parse_stat(text.as_bytes()).unwrap();
            assert_eq!((stat.ppid, stat.start_ticks), (1, 500));
            (stat.is_zombie, stat.is_exiting)
        };
        assert_eq!(of("S", 0x40_0000, 1), (false, false));
        assert_eq!(of("R", 0x40_0004, 1), (false, true));
        assert_eq!(of("Z", 0x40_0004, 1), (true, true));
        assert_eq!(of("X", 0x40_0004, 0), (true, true));
        // The first thread has ended, and another one runs.
        assert_eq!(of("Z", 0x40_0004, 2), (false, false));
        assert_eq!(of("R", 0x40_0004, 2), (false, false));
    }

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
    fn the_login_is_the_parent_of_the_stamper() {
        let proc = FakeProc::new()
            .process(4242, 700, 500)
            .process(4243, 4242, 600);
        let facts = proc.reader().login_of(4243, "nobody-here").unwrap();
        // 100 ticks a second.
        assert_eq!(
            facts.leader,
            ProcessId {
                tgid: 4242,
                start: BootNs(5_000_000_000)
            }
        );
        assert_eq!(facts.login_uid, Some(1000));
        assert_eq!(facts.audit_session, AuditSessionId::new(3));
        let cgroup = proc.0.path().join("cgroup/user.slice/session-12.scope");
        assert_eq!(
            facts.cgroup,
            Some(CgroupId(fs::metadata(cgroup).unwrap().ino()))
        );
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
    fn an_orphaned_stamper_marks_nothing() {
        for parent in [0, 1] {
            let proc = FakeProc::new().process(4243, parent, 600).process(1, 0, 1);
            let refused = proc.reader().login_of(4243, "root").unwrap_err();
            assert!(matches!(refused, LoginError::NoLogin { .. }), "{refused}");
        }
    }

    #[test]
    fn an_unset_login_uid_falls_back_to_the_account() {
        let proc = FakeProc::new().process(4242, 700, 500);
        proc.write("4242/loginuid", "4294967295");
        proc.write("4242/sessionid", "4294967295");
        let facts = proc.reader().facts(4242, "root").unwrap();
        assert_eq!((facts.login_uid, facts.audit_session), (Some(0), None));
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
    fn a_cgroup_outside_the_mount_has_no_directory() {
        let mount = |root: &str| Cgroup2Mount {
            root: root.to_owned(),
            mount_point: "/c".into(),
        };
        let directory = |root, cgroup| mount(root).directory(cgroup);
        assert_eq!(directory("/", "/a/b"), Some("/c/a/b".into()));
        assert_eq!(directory("/a", "/a/b"), Some("/c/b".into()));
        assert_eq!(directory("/a", "/x"), None);
        assert_eq!(directory("/a", "/ab"), None);
        assert_eq!(directory("/", "/../x"), None);
    }

    #[test]
    fn the_unified_hierarchy_is_found_also_on_a_hybrid_host() {
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw shared:1 - cgroup2 cgroup2 rw\n";
        let mount = parse_cgroup2_mount(hybrid).unwrap();
        assert_eq!(mount.mount_point, Path::new("/sys/fs/cgroup/uni fied"));
        assert_eq!(
            parse_cgroup2_mount("31 23 0:28 / /x rw - tmpfs tmpfs rw\n"),
            None
        );
    }

    #[test]
    fn this_very_process_can_be_read() {
        let reader = LoginReader::host();
        let us = reader.kernel_facts(std::process::id()).unwrap().leader;
        assert!(reader.is_alive(us) && reader.boot_id().is_some());
        assert!(us.start <= crate::session::boot_now());
    }

    proptest! {
        #[test]
        fn no_proc_text_makes_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC*") {
            parse_stat(&bytes);
            parse_id(&bytes);
            parse_cgroup(&bytes);
            parse_cgroup2_mount(&text);
        }
    }
}
