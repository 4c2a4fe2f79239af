//! One channel that is not read: what it costs the others of its connection, and memory.
//!
//! Each round measures the same forward of the same connection without a stalled one beside it and with one.

use std::fs;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use vctl_tests::centre::{Centre, Options};
use vctl_tests::load::process_cost::ProcessCost;
use vctl_tests::load::stats::{Summary, u64_as_f64};

use super::ssh::{NAME, Operator, bulk};
use crate::report::Findings;
use crate::rig::{Bench, MIB};

/// How long a process does nothing once it has stalled.
const STILL: Duration = Duration::from_secs(1);

const PATIENCE: Duration = Duration::from_mins(1);

/// Read last: more than a pipe holds, so that the client is still there before.
const LEFT: u64 = 1 << 20;

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let centre = Centre::start(&Options {
        host: true,
        ..Options::default()
    })?;
    let host = centre.host.as_ref().context("there is no host")?;
    let operator = Operator::new(&centre, host, &bench.directory("home-")?)?;
    beside(bench, &operator, &mut findings)?;
    memory(bench, &operator, &mut findings)?;
    let mib = bench.full_or_short(1024, 512);
    bulk(mib, bench.full_or_short(6, 4), &operator, &mut findings)?;
    Ok(findings)
}

/// The rate of a forward, alone and beside a stalled one.
fn beside(bench: &Bench, operator: &Operator<'_>, findings: &mut Findings) -> Result<()> {
    let zeros = zeros()?;
    let port = free_port()?;
    let forward = format!("127.0.0.1:{port}:127.0.0.1:{zeros}");
    let mut command = operator.vctl(&[], &[NAME, "-N", "-L", &forward]);
    let mut client = Client(command.stdin(Stdio::null()).spawn()?);
    let mib = bench.full_or_short(512, 128);
    let (mut alone, mut stalled) = (Vec::new(), Vec::new());
    // The first round warms up.
    for round in 0..=bench.full_or_short(12, 6) {
        let without = rate(port, mib)?;
        let unread = connect(port)?;
        client.wait_until_still()?;
        let with = rate(port, mib)?;
        drop(unread);
        if round > 0 {
            alone.push(without);
            stalled.push(with);
        }
    }
    client.end()?;
    let (alone, stalled) = (Summary::of(alone), Summary::of(stalled));
    findings.state("a forward alone, p50", alone.p50, "MiB/s");
    findings.state("the same beside a stalled one, p50", stalled.p50, "MiB/s");
    findings.at_least(
        "a forward beside a stalled one / alone",
        stalled.p50 / alone.p50,
        "",
        0.95,
    );
    findings.keep("forward_alone_mib_s", &alone)?;
    findings.keep("forward_beside_stalled_mib_s", &stalled)
}

/// The most memory of a client whose output waits, and then comes.
fn memory(bench: &Bench, operator: &Operator<'_>, findings: &mut Findings) -> Result<()> {
    let bytes: u64 = bench.full_or_short(10 << 30, 256 << 20);
    let zeros = format!("head -c {bytes} /dev/zero");
    let mut command = operator.vctl(&[], &[NAME, "--", &zeros]);
    let mut client = Client(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let mut output = client.0.stdout.take().context("it has no output")?;
    // It has begun.
    output.read_exact(&mut [0])?;
    client.wait_until_still()?;
    findings.state(
        "bytes sent to a client that is not read",
        u64_as_f64(bytes),
        "",
    );
    findings.at_most(
        "its memory while it stalls, at most",
        client.most_memory()? / MIB,
        "MiB",
        32.0,
    );
    let mut rest = output.take(bytes - 1 - LEFT);
    let read = std::io::copy(&mut rest, &mut std::io::sink())?;
    findings.at_most(
        "its memory once it went on, at most",
        client.most_memory()? / MIB,
        "MiB",
        32.0,
    );
    let last = std::io::copy(&mut rest.into_inner(), &mut std::io::sink())?;
    findings.exactly("bytes missing", bytes - 1 - read - last, "", 0);
    client.end()
}

/// A client of ours, ended with this.
struct Client(Child);

impl Client {
    /// Waits until it has been doing nothing for a while.
    fn wait_until_still(&self) -> Result<()> {
        let id = self.0.id();
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let before = ProcessCost::read(id)?;
            thread::sleep(STILL);
            // A timer may fire.
            if ProcessCost::read(id)?.on_cpu_ns - before.on_cpu_ns < 2_000_000 {
                return Ok(());
            }
        }
        anyhow::bail!("the client does not stall within {PATIENCE:?}")
    }

    /// The most memory that it ever had, in bytes.
    fn most_memory(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let most = most.and_then(|most| most.trim().strip_suffix(" kB"));
        let kib: u64 = most.context("there is no `VmHWM`")?.parse()?;
        Ok(u64_as_f64(kib * 1024))
    }

    fn end(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Sends zeros without end to each connection. Returns its port.
fn zeros() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let piece = vec![0; 256 << 10];
                while stream.write_all(&piece).is_ok() {}
            });
        }
    });
    Ok(port)
}

/// Connects through the forward, and waits for the first byte.
fn connect(port: u16) -> Result<TcpStream> {
    let begun = Instant::now();
    let mut stream = loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(stream) => break stream,
            Err(error) if begun.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.read_exact(&mut [0])?;
    Ok(stream)
}

/// Reads through the forward; MiB in a second.
fn rate(port: u16, mib: u32) -> Result<f64> {
    let mut stream = connect(port)?;
    let mut piece = vec![0; 256 << 10];
    let begun = Instant::now();
    for _ in 0..mib * 4 {
        stream.read_exact(&mut piece)?;
    }
    Ok(f64::from(mib) / begun.elapsed().as_secs_f64())
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
