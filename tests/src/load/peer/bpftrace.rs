//! bpftrace on the exec and exit tracepoints. It prints the program in argv and the pid.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Peer, PeerError};
use crate::load::process_cost::ProcessCost;

const SCRIPT: &str = r#"
BEGIN { printf("ready\n"); }
tracepoint:sched:sched_process_exec { printf("exec %d %s\n", pid, str(args->filename)); }
tracepoint:sched:sched_process_exit { printf("exit %d\n", pid); }
"#;
/// At its start bpftrace compiles the script with LLVM, which takes seconds on a slow machine.
const READY_WITHIN: Duration = Duration::from_mins(2);

/// A running script. Its output goes to a file.
#[derive(Debug)]
pub struct Trace {
    process: Child,
    output: PathBuf,
}

impl Trace {
    /// Starts a script with its output in `dir` and waits until it has printed `ready`.
    pub fn start(dir: &Path, script: &str) -> Result<Self, PeerError> {
        let output = dir.join("bpftrace.out");
        let run = |source| PeerError::Run {
            program: "bpftrace",
            source,
        };
        let out = File::create(&output).map_err(run)?;
        let process = Command::new("bpftrace")
            .args(["-B", "line", "-e", script])
            .stdin(Stdio::null())
            .stdout(out.try_clone().map_err(run)?)
            .stderr(out)
            .spawn()
            .map_err(run)?;
        let trace = Self { process, output };
        let begin = Instant::now();
        while !trace.is_ready() {
            if begin.elapsed() > READY_WITHIN {
                return Err(PeerError::not_ready(
                    "bpftrace",
                    READY_WITHIN,
                    &trace.output,
                ));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(trace)
    }

    /// Ends the script and returns its output.
    pub fn end(self) -> io::Result<String> {
        let output = self.output.clone();
        // The script flushes its buffer when it ends.
        drop(self);
        Ok(String::from_utf8_lossy(&fs::read(output)?).into_owned())
    }

    fn is_ready(&self) -> bool {
        fs::read(&self.output).is_ok_and(|text| {
            text.split(|&byte| byte == b'\n')
                .any(|line| line == b"ready")
        })
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.process.id()) {
            // On SIGINT bpftrace detaches. After the wait the next measurement runs without it.
            let _ = kill(Pid::from_raw(pid), Signal::SIGINT);
        }
        let _ = self.process.wait();
    }
}

/// The watcher: one line per exec and per exit.
#[derive(Debug)]
pub struct Bpftrace(Trace);

impl Bpftrace {
    pub fn start(dir: &Path) -> Result<Self, PeerError> {
        Trace::start(dir, SCRIPT).map(Self)
    }
}

impl Peer for Bpftrace {
    fn name(&self) -> &'static str {
        "bpftrace"
    }

    fn cost(&self) -> io::Result<ProcessCost> {
        ProcessCost::read(self.0.process.id())
    }

    fn recorded(&self) -> io::Result<u64> {
        let text = fs::read(&self.0.output)?;
        let lines = text.split(|&byte| byte == b'\n');
        Ok(lines.filter(|line| line.starts_with(b"exec ")).count() as u64)
    }
}
