//! auditd with one execve rule, with its configuration and log in the bench's directory.
//!
//! Once audit is enabled, it slows every later task of the boot, also after it is disabled. So measure it last, or in a
//! separate guest.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Peer, PeerError};
use crate::load::process_cost::ProcessCost;

const READY_WITHIN: Duration = Duration::from_secs(20);
const KEY: &str = "vctl-bench";

#[derive(Debug)]
pub struct Auditd {
    process: Child,
    log: PathBuf,
    kauditd: Option<u32>,
}

impl Auditd {
    /// Starts auditd with its log in `dir`, and then sets the rule.
    pub fn start(dir: &Path) -> Result<Self, PeerError> {
        let run = |source| PeerError::Run {
            program: "auditd",
            source,
        };
        let log = dir.join("audit.log");
        let plugins = dir.join("plugins.d");
        fs::create_dir_all(&plugins).map_err(run)?;
        // Debian's configuration with other paths, and with a log that is large enough not to rotate.
        let config = format!(
            "log_file = {log}\nplugin_dir = {plugins}\nlog_format = ENRICHED\nflush = INCREMENTAL_ASYNC\n\
             freq = 50\nmax_log_file = 4000\nnum_logs = 2\nmax_log_file_action = IGNORE\n\
             priority_boost = 4\nname_format = NONE\nlocal_events = yes\nwrite_logs = yes\n\
             space_left_action = IGNORE\nadmin_space_left_action = IGNORE\nspace_left = 2\nadmin_space_left = 1\n\
             disk_full_action = IGNORE\ndisk_error_action = IGNORE\nq_depth = 2000\noverflow_action = IGNORE\n",
            log = log.display(),
            plugins = plugins.display(),
        );
        fs::write(dir.join("auditd.conf"), config).map_err(run)?;
        let output = dir.join("auditd.out");
        let out = fs::File::create(&output).map_err(run)?;
        let process = Command::new("auditd")
            // Without `-f`, because with it the events go to stderr instead of the log.
            .arg("-n")
            .arg("-c")
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(out.try_clone().map_err(run)?)
            .stderr(out)
            .spawn()
            .map_err(run)?;
        let mut peer = Self {
            process,
            log,
            kauditd: None,
        };
        let begin = Instant::now();
        while !peer.log.exists() {
            if begin.elapsed() > READY_WITHIN {
                return Err(PeerError::not_ready("auditd", READY_WITHIN, &output));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // Debian's rules file sets 8192. With the kernel's default of 64 the load would stall.
        auditctl(&["-b", "8192"])?;
        auditctl(&["-e", "1"])?;
        auditctl(&[
            "-a",
            "always,exit",
            "-F",
            "arch=b64",
            "-S",
            "execve",
            "-k",
            KEY,
        ])?;
        peer.kauditd = kernel_thread("kauditd");
        Ok(peer)
    }
}

impl Peer for Auditd {
    fn name(&self) -> &'static str {
        "auditd"
    }

    fn cost(&self) -> io::Result<ProcessCost> {
        let daemon = ProcessCost::read(self.process.id())?;
        let thread = match self.kauditd {
            Some(pid) => ProcessCost::read(pid)?,
            None => ProcessCost::default(),
        };
        Ok(ProcessCost {
            user_ns: daemon.user_ns + thread.user_ns,
            system_ns: daemon.system_ns + thread.system_ns,
            on_cpu_ns: daemon.on_cpu_ns + thread.on_cpu_ns,
            voluntary_switches: daemon.voluntary_switches + thread.voluntary_switches,
        })
    }

    fn recorded(&self) -> io::Result<u64> {
        let text = fs::read(&self.log)?;
        let lines = text.split(|&byte| byte == b'\n');
        Ok(lines
            .filter(|line| line.starts_with(b"type=EXECVE "))
            .count() as u64)
    }
}

impl Drop for Auditd {
    fn drop(&mut self) {
        // In this order, because the kernel must not wait for a daemon that has ended.
        let rule = [
            "-d",
            "always,exit",
            "-F",
            "arch=b64",
            "-S",
            "execve",
            "-k",
            KEY,
        ];
        let _ = auditctl(&rule);
        let _ = auditctl(&["-e", "0"]);
        if let Ok(pid) = i32::try_from(self.process.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let _ = self.process.wait();
    }
}

fn auditctl(arguments: &[&str]) -> Result<(), PeerError> {
    let output = Command::new("auditctl")
        .args(arguments)
        .output()
        .map_err(|source| PeerError::Run {
            program: "auditctl",
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    Err(PeerError::Refused {
        command: format!("auditctl {}", arguments.join(" ")),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

fn kernel_thread(name: &str) -> Option<u32> {
    let entries = fs::read_dir("/proc").ok()?;
    entries.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let comm = fs::read_to_string(entry.path().join("comm")).ok()?;
        (comm.trim_end() == name).then_some(pid)
    })
}
