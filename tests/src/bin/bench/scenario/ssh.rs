//! `vctl ssh HOST -- true` compared with OpenSSH and an existing certificate.
//!
//! `vctl ssh` looks up the host, gets a certificate signed, gets database credentials and commits the access row.
//! OpenSSH only connects. Rounds are interleaved, so that all run on the machine in the same state.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use vctl_tests::centre::{Centre, Options};
use vctl_tests::load::stats::{Summary, u64_as_f64};

use super::operator::Operator;
use crate::report::Findings;
use crate::rig::Bench;

pub(super) const NAME: &str = "bench-ssh";

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let centre = Centre::start(&Options {
        host: true,
        ..Options::default()
    })?;
    let host = centre.host.as_ref().context("there is no host")?;
    let operator = Operator::new(&centre, host, &bench.directory("home-")?)?;
    let rounds = bench.full_or_short(60, 5);
    let prompt = Prompt::build(&bench.directory("prompt-")?)?;
    let [ours, theirs, curve25519, prompt, proxied] = interleaved(
        rounds,
        [
            ("vctl ssh", &|| operator.vctl(&[], &[NAME, "--", "true"])),
            ("ssh", &|| operator.openssh(&[], &[NAME, "true"])),
            ("ssh, curve25519", &|| {
                operator.openssh(&CURVE25519, &[NAME, "true"])
            }),
            ("ssh, curve25519, without waits of TCP", &|| {
                prompt.ssh(operator.openssh(&CURVE25519, &[NAME, "true"]))
            }),
            ("ssh through vctl proxy", &|| operator.proxied(&["true"])),
        ],
    )?;
    findings.state("vctl ssh HOST -- true, p50", ours.p50, "ms");
    findings.state(
        "ssh HOST true with a certificate that is ready, p50",
        theirs.p50,
        "ms",
    );
    findings.state(
        "the same, told to use curve25519, p50",
        curve25519.p50,
        "ms",
    );
    findings.at_most("vctl ssh / ssh", ours.p50 / theirs.p50, "", 0.30);
    findings.at_most(
        "vctl ssh / ssh, curve25519",
        ours.p50 / curve25519.p50,
        "",
        0.5,
    );
    findings.state(
        "the same, with TCP_NODELAY and TCP_QUICKACK, p50",
        prompt.p50,
        "ms",
    );
    findings.at_most(
        "vctl ssh / ssh, curve25519, TCP_NODELAY, TCP_QUICKACK",
        ours.p50 / prompt.p50,
        "",
        1.05,
    );
    findings.state("ssh HOST true through vctl proxy, p50", proxied.p50, "ms");
    findings.at_most(
        "ssh through vctl proxy / ssh",
        proxied.p50 / theirs.p50,
        "",
        1.0,
    );
    findings.keep("proxied_ms", &proxied)?;
    findings.keep("vctl_ms", &ours)?;
    findings.keep("ssh_ms", &theirs)?;
    findings.keep("ssh_curve25519_ms", &curve25519)?;
    findings.keep("ssh_prompt_ms", &prompt)?;
    chain(bench, &operator, &mut findings)?;
    let mib = bench.full_or_short(1024, 16);
    bulk(mib, bench.full_or_short(4, 2), &operator, &mut findings)?;
    Ok(findings)
}

const CURVE25519: [&str; 2] = ["-o", "KexAlgorithms=curve25519-sha256"];

/// A library that ends the two waits of OpenSSH's client on TCP: the fastest that `ssh` can be.
struct Prompt {
    library: PathBuf,
}

impl Prompt {
    fn build(directory: &Path) -> Result<Self> {
        let source = directory.join("prompt_tcp.c");
        fs::write(&source, include_str!("prompt_tcp.c"))?;
        let library = directory.join("prompt_tcp.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-shared", "-fPIC", "-o"]);
        let built = compiler.arg(&library).arg(&source).arg("-ldl").status();
        ensure!(
            built.context("cannot run `cc`")?.success(),
            "`cc` cannot build the library"
        );
        Ok(Self { library })
    }

    fn ssh(&self, mut ssh: Command) -> Command {
        ssh.env("LD_PRELOAD", &self.library);
        ssh
    }
}

/// Measures two jump hosts. `vctl ssh` gets a certificate for each, OpenSSH uses the existing one.
fn chain(bench: &Bench, operator: &Operator<'_>, findings: &mut Findings) -> Result<()> {
    let mut via: Option<String> = None;
    let mut running = Vec::new();
    for hop in ["bench-hop-1", "bench-hop-2", "bench-hop-3"] {
        let host = operator.centre.another_host(hop)?;
        operator.knows(hop, &host, via.as_deref())?;
        via = Some(hop.to_owned());
        running.push(host);
    }
    let target = via.context("there is no hop")?;
    let rounds = bench.full_or_short(20, 3);
    let [ours, theirs] = interleaved(
        rounds,
        [
            ("vctl ssh, three hops", &|| {
                let chain = [("VCTL_SSH_DIRECT_FIRST", "false")];
                operator.vctl(&chain, &[&target, "--", "true"])
            }),
            ("ssh -J, three hops", &|| {
                operator.openssh(&[], &[&target, "true"])
            }),
        ],
    )?;
    findings.state("vctl ssh over three hops, p50", ours.p50, "ms");
    findings.state("ssh -J over three hops, p50", theirs.p50, "ms");
    findings.at_most(
        "vctl ssh / ssh -J, three hops",
        ours.p50 / theirs.p50,
        "",
        1.5,
    );
    findings.keep("vctl_three_hops_ms", &ours)?;
    findings.keep("ssh_three_hops_ms", &theirs)?;
    Ok(())
}

/// The cipher that `vctl ssh` negotiates on a processor with AES instructions.
const AES: [&str; 2] = ["-c", "aes256-gcm@openssh.com"];

/// Transfers bulk data in both directions, with the ciphers that the two clients negotiate. OpenSSH's client also runs
/// with the cipher of `vctl ssh`. The host's clock times the transfer, so the logins do not count.
pub(super) fn bulk(
    mib: u32,
    rounds: u32,
    operator: &Operator<'_>,
    findings: &mut Findings,
) -> Result<()> {
    let timed = |transfer: &str| format!("date +%s%N >&2; {transfer}; date +%s%N >&2");
    let from = timed(&format!("head -c {mib}M /dev/zero"));
    let to = timed("cat > /dev/null");
    let zeros = format!("head -c {mib}M /dev/zero | \"$@\"");
    let fed = |command: Command| {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &zeros, "sh"])
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear();
        for (name, value) in command.get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        shell.env("PATH", "/usr/bin:/bin");
        shell
    };
    let [ours, theirs, same, ours_up, theirs_up, same_up] = timed_on_the_host(
        rounds,
        [
            ("vctl ssh, from the host", &|| {
                operator.vctl(&[], &[NAME, "--", &from])
            }),
            ("ssh, from the host", &|| {
                operator.openssh(&[], &[NAME, &from])
            }),
            ("ssh with AES-GCM, from the host", &|| {
                operator.openssh(&AES, &[NAME, &from])
            }),
            ("vctl ssh, to the host", &|| {
                fed(operator.vctl(&[], &[NAME, "--", &to]))
            }),
            ("ssh, to the host", &|| {
                fed(operator.openssh(&[], &[NAME, &to]))
            }),
            ("ssh with AES-GCM, to the host", &|| {
                fed(operator.openssh(&AES, &[NAME, &to]))
            }),
        ],
    )?;
    for (way, ours, theirs, same) in [
        ("from", ours, theirs, same),
        ("to", ours_up, theirs_up, same_up),
    ] {
        let rate = |took: &Summary| f64::from(mib) / took.p50 * 1000.0;
        findings.state(
            &format!("vctl ssh, {mib} MiB {way} the host"),
            rate(&ours),
            "MiB/s",
        );
        findings.state(
            &format!("ssh, {mib} MiB {way} the host"),
            rate(&theirs),
            "MiB/s",
        );
        findings.at_least(
            &format!("vctl ssh / ssh, {way} the host"),
            rate(&ours) / rate(&theirs),
            "",
            1.0,
        );
        findings.state(
            &format!("vctl ssh / ssh with AES-GCM, {way} the host"),
            rate(&ours) / rate(&same),
            "",
        );
        findings.keep(&format!("vctl_bulk_{way}_ms"), &ours)?;
        findings.keep(&format!("ssh_bulk_{way}_ms"), &theirs)?;
        findings.keep(&format!("ssh_aes_bulk_{way}_ms"), &same)?;
    }
    Ok(())
}

/// Returns the milliseconds that each command takes.
pub(super) fn interleaved<const N: usize>(
    rounds: u32,
    commands: [(&str, &dyn Fn() -> Command); N],
) -> Result<[Summary; N]> {
    in_turn(rounds, commands, |took, _| Ok(took.as_secs_f64() * 1000.0))
}

/// Returns the milliseconds between the two times that each command prints to stderr.
fn timed_on_the_host<const N: usize>(
    rounds: u32,
    commands: [(&str, &dyn Fn() -> Command); N],
) -> Result<[Summary; N]> {
    in_turn(rounds, commands, |_, printed| {
        let times: Vec<u64> = printed
            .lines()
            .filter_map(|time| time.parse().ok())
            .collect();
        let [begun, ended] = times[..] else {
            bail!("the host printed `{printed}` instead of two times");
        };
        Ok(u64_as_f64(ended.saturating_sub(begun)) / 1e6)
    })
}

/// Runs the commands in turn, so that the load of the machine is the same for all of them.
fn in_turn<const N: usize>(
    rounds: u32,
    commands: [(&str, &dyn Fn() -> Command); N],
    measure: impl Fn(Duration, &str) -> Result<f64>,
) -> Result<[Summary; N]> {
    let mut times = [const { Vec::new() }; N];
    for round in 0..rounds {
        for ((name, command), times) in commands.iter().zip(&mut times) {
            let (mut command, begun) = (command(), Instant::now());
            command.stdin(Stdio::null()).stdout(Stdio::null());
            let output = command.stderr(Stdio::piped()).output()?;
            let took = begun.elapsed();
            let printed = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "`{name}` failed: {printed}");
            // The first round warms caches.
            if round > 0 {
                times.push(measure(took, &printed)?);
            }
        }
    }
    Ok(times.map(Summary::of))
}
