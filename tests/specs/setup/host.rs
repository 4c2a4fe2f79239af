//! A host in namespaces, for `vctl-agent setup`: root inside is root, and nothing of it stays.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vctl_tests::lab::Programs;

pub(super) struct SetupHost {
    holder: Child,
    work: tempfile::TempDir,
}

/// The end of a command, with all its output.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: Option<i32>,
    pub(super) text: String,
}

impl SetupHost {
    pub(super) fn start() -> Self {
        let programs = Programs::find().unwrap();
        let repository = repository();
        let work = tempfile::Builder::new()
            .prefix("vctl-setup-")
            .tempdir()
            .unwrap();
        let mut holder = Command::new("unshare")
            .args(["--mount", "--net", "--propagation", "private", "sh"])
            .arg(repository.join("tests/specs/setup/host.sh"))
            .args([work.path(), &programs.directory, repository])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = holder.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the host does not start");
        Self { holder, work }
    }

    /// Runs a line of shell as root on the host, without a terminal.
    pub(super) fn run(&self, line: &str) -> Ran {
        let output = Command::new("nsenter")
            .arg(format!("--target={}", self.holder.id()))
            .args(["--mount", "--net", "sh", "-c"])
            .arg(format!("exec 2>&1; {line}"))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("WORK", self.work.path())
            .env("REPOSITORY", repository())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran {
            code: output.status.code(),
            text: String::from_utf8_lossy(&output.stdout).into_owned(),
        }
    }

    /// Runs a line that must succeed, and returns its output.
    pub(super) fn ok(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, Some(0), "{line}: {}", ran.text);
        ran.text
    }

    /// Returns mode and owner of each file and directory of the host, or of a tree, and the content of each file.
    pub(super) fn files(&self, root: &str) -> String {
        self.ok(&format!(
            "cd {root}/ && find etc var/lib -path var/lib/vctl -prune -o ! -type d -printf '%p %y %m %U:%G %l\\n' | sort
             find etc var/lib -path var/lib/vctl -prune -o -type d -printf '%p %m %U:%G\\n' | sort
             find etc var/lib -path var/lib/vctl -prune -o -type f -print0 | sort -z | xargs -0 sha256sum"
        ))
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

impl Drop for SetupHost {
    fn drop(&mut self) {
        let own = std::fs::read_link("/proc/self/ns/mnt").ok();
        let inside = std::fs::read_link(format!("/proc/{}/ns/mnt", self.holder.id())).ok();
        if inside.is_some() && inside != own {
            for pid in processes(inside.as_deref()) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
        let _ = self.holder.wait();
    }
}

/// Returns the processes of a mount namespace.
fn processes(namespace: Option<&Path>) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_inside = |pid: &i32| {
        let link: Option<PathBuf> = std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
        link.is_some() && link.as_deref() == namespace
    };
    pids.filter(is_inside).map(Pid::from_raw).collect()
}
