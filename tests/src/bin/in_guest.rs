//! `in-guest WATCHER`: runs inside the guest that counts instructions, and prints one JSON line.
//!
//! There is no sshd in the guest: the spawner runs the PAM hook itself.
#![allow(clippy::print_stdout, reason = "its stdout is the result")]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use vctl_tests::load::bpf_cost::{BpfCost, RunTimeStats};
use vctl_tests::load::guest::{AgentCost, Watched, start_agent};
use vctl_tests::load::peer::Peer;
use vctl_tests::load::peer::auditd::Auditd;
use vctl_tests::load::peer::bpftrace::Bpftrace;
use vctl_tests::load::process_cost::{Memory, ProcessCost};
use vctl_tests::load::spawn::Outcome;

/// Measure one watcher in this guest
#[derive(Debug, Parser)]
struct Options {
    #[arg(value_enum)]
    watcher: Watcher,
    /// Spawns of one round
    #[arg(long, default_value_t = 2000)]
    count: u64,
    /// Spawns over which CPU time is taken
    #[arg(long, default_value_t = 30_000)]
    cpu_count: u64,
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Value that sshd would put into `SSH_AUTH_INFO_0`
    #[arg(long, default_value = "/srv/bench/auth_info")]
    auth_info: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Watcher {
    Agent,
    Bpftrace,
    Auditd,
}

fn main() -> Result<()> {
    let options = Options::parse();
    // The first round is not measured, because the first execs fill caches of the guest's kernel.
    options.spawn(500, false)?;
    let watched = match options.watcher {
        Watcher::Agent => agent(&options)?,
        Watcher::Bpftrace => peer(&options, |dir| Ok(Box::new(Bpftrace::start(dir)?)))?,
        Watcher::Auditd => peer(&options, |dir| Ok(Box::new(Auditd::start(dir)?)))?,
    };
    println!("{}", serde_json::to_string(&watched)?);
    Ok(())
}

fn peer(options: &Options, start: impl Fn(&Path) -> Result<Box<dyn Peer>>) -> Result<Watched> {
    let none = options.rounds(false)?;
    let directory = Path::new("/tmp/peer");
    fs::create_dir_all(directory)?;
    let begin = Instant::now();
    let peer = start(directory)?;
    let ready = begin.elapsed();
    options.spawn(options.count, false)?;
    let with = options.rounds(false)?;
    let before = peer.cost()?;
    let cpu_load = options.spawn(options.cpu_count, false)?;
    settle();
    Ok(Watched {
        none,
        with,
        ready_ns: nanoseconds(ready),
        cost: peer.cost()?.since(before),
        cpu_load,
        agent: None,
    })
}

fn agent(options: &Options) -> Result<Watched> {
    let mut none = vec![options.warm_round(false)?];
    let (mut outside, mut with) = (Vec::new(), Vec::new());
    // A spawn costs fewer instructions the longer the guest runs. So each round with the agent is between two rounds
    // without it.
    for _ in 0..options.rounds {
        let mut agent = start_agent()?;
        let idle = options.idle_session()?;
        outside.push(options.warm_round(false)?);
        idle.end()?;
        with.push(options.warm_round(true)?);
        agent.kill()?;
        agent.wait()?;
        detach()?;
        none.push(options.warm_round(false)?);
    }
    let begin = Instant::now();
    let mut agent = start_agent()?;
    let ready = begin.elapsed();
    let idle_memory = Memory::read(agent.id())?;
    options.spawn(options.count, true)?;
    let before = ProcessCost::read(agent.id())?;
    let cpu_load = options.spawn(options.cpu_count, true)?;
    let loaded_memory = Memory::read(agent.id())?;
    settle();
    let cost = ProcessCost::read(agent.id())?.since(before);
    // A separate round, because the counting itself costs time.
    let counting = RunTimeStats::enable()?;
    let before = BpfCost::read()?;
    let bpf_load = options.spawn(options.count, true)?;
    let bpf = BpfCost::read()?.since(&before);
    let idle = options.idle_session()?;
    let before = BpfCost::read()?;
    let outside_bpf_load = options.spawn(options.count, false)?;
    let outside_bpf = BpfCost::read()?.since(&before);
    drop(counting);
    idle.end()?;
    agent.kill()?;
    agent.wait()?;
    Ok(Watched {
        none,
        with,
        ready_ns: nanoseconds(ready),
        cost,
        cpu_load,
        agent: Some(AgentCost {
            outside,
            idle_memory,
            loaded_memory,
            bpf,
            bpf_load,
            outside_bpf,
            outside_bpf_load,
        }),
    })
}

/// Ends the recording of an agent that has ended, and removes its files: the next agent starts as the first one did.
fn detach() -> Result<()> {
    let status = Command::new("vctl-agent")
        .arg("detach")
        .stdout(Stdio::null())
        .status()
        .context("cannot run `vctl-agent`")?;
    ensure!(status.success(), "`vctl-agent detach` ended with {status}");
    Ok(fs::remove_dir_all("/var/lib/vctl")?)
}

/// A session whose only process waits.
struct IdleSession(Child);

impl IdleSession {
    /// Ends the session. Its end is not measured.
    fn end(mut self) -> Result<()> {
        drop(self.0.stdin.take());
        self.0.wait()?;
        settle();
        Ok(())
    }
}

impl Options {
    fn idle_session(&self) -> Result<IdleSession> {
        let script = "vctl-agent stamp && echo open && read line; true";
        let mut shell = Command::new("sh");
        self.log_in(shell.args(["-c", script]))?;
        let mut shell = shell
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run `sh`")?;
        let mut said = [0; 4];
        let stdout = shell.stdout.as_mut().context("no pipe")?;
        stdout
            .read_exact(&mut said)
            .context("no session was opened")?;
        Ok(IdleSession(shell))
    }

    /// Sets the environment in which sshd runs the PAM hook.
    fn log_in(&self, command: &mut Command) -> Result<()> {
        command
            .env("PAM_TYPE", "open_session")
            .env("PAM_SERVICE", "sshd")
            .env("PAM_USER", "root")
            .env("PAM_RHOST", "127.0.0.1")
            .env("SSH_CONNECTION", "127.0.0.1 40000 127.0.0.1 22")
            .env(
                "SSH_AUTH_INFO_0",
                fs::read_to_string(&self.auth_info)?.trim(),
            );
        Ok(())
    }

    fn rounds(&self, in_session: bool) -> Result<Vec<Outcome>> {
        (0..self.rounds)
            .map(|_| self.spawn(self.count, in_session))
            .collect()
    }

    /// Measures one round, after spawns that fill the caches of the guest's kernel.
    fn warm_round(&self, in_session: bool) -> Result<Outcome> {
        self.spawn(500, in_session)?;
        self.spawn(self.count, in_session)
    }

    fn spawn(&self, count: u64, in_session: bool) -> Result<Outcome> {
        let mut command = Command::new("spawner");
        command
            .args(["--child", "/srv/bench/child", "--count", &count.to_string()])
            .current_dir("/srv/bench/work");
        if in_session {
            self.log_in(command.args(["--stamp", "/bin/vctl-agent"]))?;
        }
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run `spawner`")?;
        ensure!(
            output.status.success(),
            "the spawner ended with {}",
            output.status
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// Waits until a watcher has handled its queue.
fn settle() {
    std::thread::sleep(Duration::from_secs(3));
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
