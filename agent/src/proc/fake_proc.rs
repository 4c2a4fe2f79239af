//! A /proc in a temporary directory, for tests.

use std::fs;
use std::os::unix::fs::MetadataExt;

use vctl_common::id::CgroupId;

use super::reader::ProcReader;

const CGROUP: &str = "cgroup/user.slice/session-12.scope";

/// A /proc with the processes of a test.
pub(crate) struct FakeProc(tempfile::TempDir);

impl FakeProc {
    pub(crate) fn new() -> Self {
        let fake = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(fake.0.path().join(CGROUP)).unwrap();
        let mount = format!(
            "32 31 0:29 / {0}/v1 rw - cgroup cgroup rw,cpu\n41 31 0:38 / {0}/cgroup rw,relatime - cgroup2 cgroup2 rw\n",
            fake.0.path().display()
        );
        fake.write("self/mountinfo", &mount);
        fake
    }

    pub(crate) fn process(self, pid: u32, ppid: u32, start_ticks: u64) -> Self {
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

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Returns the cgroup of each process.
    pub(crate) fn cgroup(&self) -> CgroupId {
        CgroupId(fs::metadata(self.0.path().join(CGROUP)).unwrap().ino())
    }

    /// Puts a line before the mounts.
    pub(crate) fn mount_first(&self, line: &[u8]) {
        let path = self.0.path().join("self/mountinfo");
        let mounts = fs::read(&path).unwrap();
        fs::write(path, [line, &mounts].concat()).unwrap();
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        std::os::unix::fs::symlink(target, self.0.path().join(path)).unwrap();
    }

    pub(crate) fn reader(&self) -> ProcReader {
        ProcReader::new(self.0.path())
    }
}

/// The text of a `stat` file. The name has spaces and `)`.
pub(crate) fn stat(
    pid: u32,
    state: &str,
    ppid: u32,
    flags: u32,
    threads: u32,
    start: u64,
) -> String {
    let [four, ten] = [4, 10].map(|count| "0 ".repeat(count));
    format!("{pid} (sshd: a) R x) {state} {ppid} {four}{flags} {ten}{threads} 0 {start} 0 0\n")
}
