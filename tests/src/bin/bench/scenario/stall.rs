//! One channel that is not read: its effect on other channels of its connection, and memory.
//!
//! Each round measures the same forward of the same connection, first alone and then beside a stalled forward, for
//! `vctl ssh` and for OpenSSH's client.

use std::fs;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use vctl_tests::centre::{Centre, Options};
use vctl_tests::load::process_cost::ProcessCost;
use vctl_tests::load::stats::{Summary, u64_as_f64};

use super::operator::Operator;
use super::ssh::{NAME, bulk};
use crate::report::Findings;
use crate::rig::{Bench, MIB};

/// Time without CPU use that counts as a stall.
const STILL: Duration = Duration::from_millis(400);

const PATIENCE: Duration = Duration::from_mins(1);

/// Bytes that are read last. They are more than a pipe holds, so the client still runs before.
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
    bulk(mib, bench.full_or_short(10, 6), &operator, &mut findings)?;
    Ok(findings)
}

/// Rates of a forward of one client in MiB/s.
#[derive(Default)]
struct Rates {
    alone: Vec<f64>,
    beside_stalled: Vec<f64>,
}

/// Measures a forward alone and beside a stalled one, with `vctl ssh` and with OpenSSH's client in turn.
fn beside(bench: &Bench, operator: &Operator<'_>, findings: &mut Findings) -> Result<()> {
    let zeros = zeros()?;
    let (our_port, their_port) = (free_port()?, free_port()?);
    let forward = |port: u16| format!("127.0.0.1:{port}:127.0.0.1:{zeros}");
    let ours = operator.vctl(&[], &[NAME, "-N", "-L", &forward(our_port)]);
    let theirs = operator.openssh(&["-N", "-L", &forward(their_port)], &[NAME]);
    let mut clients = [
        (Client::start(ours)?, our_port, Rates::default()),
        (Client::start(theirs)?, their_port, Rates::default()),
    ];
    let mib = bench.full_or_short(512, 256);
    for round in 0..=bench.full_or_short(20, 6) {
        for (client, port, rates) in &mut clients {
            // In this order both measurements have the same average place in a round.
            for is_beside in [false, true, true, false] {
                let unread = is_beside.then(|| connect(*port)).transpose()?;
                client.wait_until_still()?;
                let rate = rate(*port, mib)?;
                drop(unread);
                // The first round warms caches.
                match (round, is_beside) {
                    (0, _) => {}
                    (_, true) => rates.beside_stalled.push(rate),
                    (_, false) => rates.alone.push(rate),
                }
            }
        }
    }
    let [ours, theirs] = clients.map(|(mut client, _, rates)| client.end().map(|()| rates));
    let ratio = report_rates("vctl ssh", "vctl", ours?, findings)?;
    findings.at_least(
        "vctl ssh, a forward beside a stalled one / alone",
        ratio,
        "",
        0.95,
    );
    let ratio = report_rates("ssh", "ssh", theirs?, findings)?;
    findings.state("ssh, a forward beside a stalled one / alone", ratio, "");
    Ok(())
}

/// Returns the rate beside a stalled forward, as a fraction of the rate alone.
fn report_rates(name: &str, key: &str, rates: Rates, findings: &mut Findings) -> Result<f64> {
    let alone = Summary::of(rates.alone);
    let beside = Summary::of(rates.beside_stalled);
    findings.state(&format!("{name}, a forward alone, p50"), alone.p50, "MiB/s");
    findings.state(
        &format!("{name}, the same beside a stalled one, p50"),
        beside.p50,
        "MiB/s",
    );
    findings.keep(&format!("{key}_forward_alone_mib_s"), &alone)?;
    findings.keep(&format!("{key}_forward_beside_stalled_mib_s"), &beside)?;
    Ok(beside.p50 / alone.p50)
}

/// Highest memory of a client whose output is not read at first, and then is read.
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
    // The transfer has begun.
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

/// A running client. It ends when this is dropped.
struct Client(Child);

impl Client {
    fn start(mut command: Command) -> Result<Self> {
        Ok(Self(command.stdin(Stdio::null()).spawn()?))
    }

    /// Waits until the client has used no CPU time for a while.
    fn wait_until_still(&self) -> Result<()> {
        let id = self.0.id();
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let before = ProcessCost::read(id)?;
            thread::sleep(STILL);
            // A timer may run in this time.
            if ProcessCost::read(id)?.on_cpu_ns - before.on_cpu_ns < 1_000_000 {
                return Ok(());
            }
        }
        anyhow::bail!("the client does not stall within {PATIENCE:?}")
    }

    /// Returns the highest memory of the process in bytes.
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

/// Sends zeros without end to each connection. Returns the port.
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

/// Reads through the forward, and returns MiB per second.
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
