//! Cost in instructions, in a guest with Debian's 6.12 kernel, independent of the load of this machine.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use vctl_tests::lab::{Programs, installed};
use vctl_tests::load::guest::Watched;
use vctl_tests::load::spawn::Outcome;
use vctl_tests::load::stats::{median, u64_as_f64};

use crate::guest::boot;
use crate::guest::image::Image;
use crate::guest::kernel::{Kernel, Series};
use crate::report::Findings;
use crate::rig::Bench;

/// In the emulator, a boot with its measurements takes minutes.
const WITHIN: Duration = Duration::from_mins(40);

const KERNEL: Series = Series {
    suite: "trixie",
    begin: "6.12.",
    architecture: "amd64",
};

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let kernel = Kernel::fetch(KERNEL, &bench.cache.join("kernel"))?;
    let agent = in_guest(bench, &kernel, "agent", &["vctl-agent"], "")?;
    ours(&agent, &mut findings)?;
    // With probes at the exit of exec, failed execs should cost nearly nothing.
    let settings = "VCTL_AGENT_FAILED_EXEC=false";
    let fewer = in_guest(bench, &kernel, "agent", &["vctl-agent"], settings)?;
    findings.state(
        "added without failed_exec, p50",
        added(&fewer),
        "instructions",
    );
    findings.keep("agent_without_failed_exec", &fewer)?;
    findings.keep("kernel", &kernel.release)?;
    findings.keep("agent", &agent)?;
    for (name, programs) in [
        ("bpftrace", &["bpftrace"][..]),
        ("auditd", &["auditd", "auditctl"]),
    ] {
        if !programs.iter().all(|program| installed(program)) {
            findings.keep(name, &format!("`{name}` is not installed"))?;
            continue;
        }
        let peer = in_guest(bench, &kernel, name, programs, "")?;
        beside(&agent, &peer, name, &mut findings);
        findings.keep(name, &peer)?;
    }
    Ok(findings)
}

fn ours(agent: &Watched, findings: &mut Findings) -> Result<()> {
    let own = agent
        .agent
        .as_ref()
        .context("the guest reported no figures of the agent")?;
    let bpf = u64_as_f64(own.bpf.run_time_ns()) / u64_as_f64(own.bpf_load.spawned);
    findings.at_most(
        "BPF per spawn: fork + exec + exit",
        bpf,
        "instructions",
        5464.0,
    );
    for program in own
        .bpf
        .programs
        .values()
        .filter(|program| program.run_count > 0)
    {
        let per_spawn = u64_as_f64(program.run_time_ns) / u64_as_f64(own.bpf_load.spawned);
        findings.state(&format!("  {}", program.name), per_spawn, "instructions");
    }
    let pairs = u64_as_f64(agent.cpu_load.spawned);
    let all = u64_as_f64(agent.cost.on_cpu_ns) / pairs;
    // The sum is exact. The split into user and kernel is sampled by the timer tick, in steps of 10 ms.
    let ticks = agent.cost.user_ns + agent.cost.system_ns;
    let user = all * u64_as_f64(agent.cost.user_ns) / u64_as_f64(ticks.max(1));
    findings.at_most(
        "agent, user, per exec+exit pair",
        user,
        "instructions",
        25_000.0,
    );
    findings.state("agent, user and kernel, per pair", all, "instructions");
    let none = p50(&agent.none);
    findings.state("spawn + wait, nothing watching, p50", none, "instructions");
    findings.state("added by the agent, p50", added(agent), "instructions");
    findings.at_most(
        "added by the agent, of the spawn",
        100.0 * added(agent) / none,
        "%",
        2.5,
    );
    findings.at_most(
        "added outside of sessions while one is open, p50",
        p50(&own.outside) - none,
        "instructions",
        600.0,
    );
    // The rest is the kernel's way to the programs and back.
    findings.state(
        "  of these in BPF",
        u64_as_f64(own.outside_bpf.run_time_ns()) / u64_as_f64(own.outside_bpf_load.spawned),
        "instructions",
    );
    findings.state(
        "agent: start to ready",
        u64_as_f64(agent.ready_ns) / 1e6,
        "M instructions",
    );
    Ok(())
}

fn beside(agent: &Watched, peer: &Watched, name: &str, findings: &mut Findings) {
    let per_pair = |watched: &Watched| {
        u64_as_f64(watched.cost.on_cpu_ns) / u64_as_f64(watched.cpu_load.spawned)
    };
    findings.state(
        &format!("added by {name}, p50"),
        added(peer),
        "instructions",
    );
    findings.state(
        &format!("{name}, user and kernel, per exec"),
        per_pair(peer),
        "instructions",
    );
    let (latency, cpu) = if name == "auditd" {
        (1.0 / 15.0, 1.0 / 20.0)
    } else {
        (1.0, 1.0)
    };
    let ratio = added(agent) / added(peer);
    findings.at_most(
        &format!("added by the agent, of {name}'s"),
        ratio,
        "",
        latency,
    );
    let ratio = per_pair(agent) / per_pair(peer);
    findings.at_most(&format!("CPU of the agent, of {name}'s"), ratio, "", cpu);
}

fn added(watched: &Watched) -> f64 {
    p50(&watched.with) - p50(&watched.none)
}

fn p50(rounds: &[Outcome]) -> f64 {
    median(
        &rounds
            .iter()
            .map(|round| round.spawn_wait_ns.p50)
            .collect::<Vec<_>>(),
    )
}

/// Boots a separate guest for each watcher, because a watcher's changes to the kernel must not affect another one.
fn in_guest(
    bench: &Bench,
    kernel: &Kernel,
    watcher: &str,
    programs: &[&str],
    settings: &str,
) -> Result<Watched> {
    let own = Programs::find()?.directory;
    let mut image = Image::new(Path::new("/bin/busybox"))?;
    for program in ["in_guest", "spawner"] {
        image.program(&own.join(program), &format!("/bin/{program}"))?;
    }
    for program in programs {
        let path = find(&own, program).with_context(|| format!("`{program}` is not there"))?;
        image.program(&path, &format!("/bin/{program}"))?;
    }
    image.content("/srv/bench/auth_info", 0o600, auth_info(bench)?.as_bytes());
    let (count, cpu_count) = bench.full_or_short((2000, 50_000), (300, 1000));
    let script = format!(
        "echo \"@@result $({settings} in_guest {watcher} --count {count} --cpu-count {cpu_count} 2>/tmp/said)\"\n\
         sed 's/^/@@said /' /tmp/said\n"
    );
    let directory = bench.cache.join("guest").join(watcher);
    let console = boot::run(kernel, &image.finish(&script), &directory, WITHIN)?;
    let result = console.value("result")?;
    let said = console.values("said").collect::<Vec<_>>().join("\n");
    serde_json::from_str(result).with_context(|| format!("the guest said: {said}"))
}

fn find(own: &Path, program: &str) -> Option<std::path::PathBuf> {
    let directories = [own, Path::new("/usr/bin"), Path::new("/usr/sbin")];
    let paths = directories.iter().map(|directory| directory.join(program));
    paths.into_iter().find(|path| path.is_file())
}

/// Makes a certificate outside of the guest, because the guest does not have ssh-keygen.
fn auth_info(bench: &Bench) -> Result<String> {
    let directory = bench.directory("guest-key-")?;
    let keygen = |arguments: &[&str]| -> Result<()> {
        let status = Command::new("ssh-keygen")
            .current_dir(&directory)
            .args(arguments)
            .status()?;
        ensure!(
            status.success(),
            "`ssh-keygen {}` failed",
            arguments.join(" ")
        );
        Ok(())
    };
    keygen(&["-q", "-t", "ed25519", "-N", "", "-f", "ca"])?;
    keygen(&["-q", "-t", "ed25519", "-N", "", "-f", "key"])?;
    keygen(&[
        "-q",
        "-s",
        "ca",
        "-I",
        "guest",
        "-n",
        "root",
        "-z",
        "612",
        "-V",
        "always:forever",
        "key.pub",
    ])?;
    let line = std::fs::read_to_string(directory.join("key-cert.pub"))?;
    let fields: Vec<_> = line.split(' ').take(2).collect();
    Ok(format!("publickey {}", fields.join(" ")))
}
