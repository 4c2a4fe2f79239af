//! Turns facts into findings. No I/O; all decisions of `vctl-agent check` are here or in `login`.

mod centre;
mod failed_exec;

use std::path::Path;

use vctl_common::count::counted;

use super::facts::{HostFacts, LocalLogFact};
use super::login;
use super::report::{Finding, Report};
use crate::config::{ByteSize, Config};
use crate::probe::kernel;
use crate::proc::mountinfo::{mounted_on, parse_cgroup2_mount};

/// Typed tracepoints; the probe needs all of them.
pub(super) const TRACEPOINTS: [&str; 4] = [
    "sched_process_exec",
    "sched_process_fork",
    "sched_process_exit",
    "cgroup_attach_task",
];

/// Judges a host, in the order in which an administrator would fix the problems.
pub fn judge(facts: &HostFacts, config: &Config) -> Report {
    let mut findings = vec![
        root(facts),
        release(facts),
        lockdown(facts),
        bpf(facts),
        pid_namespace(facts),
        tracepoints(facts),
        bpffs(facts, config),
        pins(facts, config),
        failed_exec::probes(facts, config),
        failed_exec::tracefs(facts, config),
        cgroup(facts),
        audit_ids(facts),
        login::sshd(facts),
    ];
    findings.extend(login::pam(facts, config));
    findings.extend([
        login::break_glass(facts, config),
        mandatory_access(facts),
        directories(facts),
        spool(facts, config),
        clock(facts),
        login::socket(facts, config),
    ]);
    findings.extend(facts.local_log.as_ref().map(local_log));
    findings.extend(centre::centre(facts));
    findings.extend(facts.stream.as_ref().and_then(centre::stream));
    Report::new(findings)
}

fn root(facts: &HostFacts) -> Finding {
    if facts.is_root {
        Finding::pass("root", "running as root")
    } else {
        let fix = "run this with sudo: many of the checks below need root";
        Finding::fail("root", "not running as root", fix)
    }
}

fn release(facts: &HostFacts) -> Finding {
    let id = "kernel";
    let Some(release) = facts.kernel.as_deref() else {
        let fix = "mount /proc, and run the check on a host";
        return Finding::fail(id, "the version of the kernel cannot be read", fix);
    };
    if kernel::is_supported(release) {
        return Finding::pass(id, format!("Linux {release}"));
    }
    let problem = if kernel::is_loadable(release) {
        format!("Linux {release} is older than 5.15: failed execs are not recorded")
    } else {
        format!("Linux {release} is older than 5.12, which the probe needs")
    };
    Finding::fail(id, problem, "boot Linux 5.15 or newer")
}

fn lockdown(facts: &HostFacts) -> Finding {
    let id = "lockdown";
    match facts.lockdown.as_deref().and_then(kernel::lockdown) {
        Some("confidentiality") => Finding::fail(
            id,
            "kernel lockdown is `confidentiality`: BPF may not read kernel memory",
            "boot with lockdown=integrity",
        ),
        Some(mode) => Finding::pass(id, format!("kernel lockdown is `{mode}`")),
        None => Finding::pass(id, "/sys/kernel/security shows no lockdown"),
    }
}

fn bpf(facts: &HostFacts) -> Finding {
    let id = "bpf";
    match &facts.bpf {
        Some(Ok(())) => Finding::pass(id, "the kernel creates BPF maps"),
        Some(Err(error)) => Finding::fail(
            id,
            format!("the BPF system call is refused: {error}"),
            "run as root outside a container, on a kernel with CONFIG_BPF_SYSCALL",
        ),
        None => Finding::warn(id, "the BPF system call was not tried", "run as root"),
    }
}

fn pid_namespace(facts: &HostFacts) -> Finding {
    let id = "pid_namespace";
    match facts.has_host_pids {
        Some(true) => Finding::pass(id, "this process is in the PID namespace of the host"),
        Some(false) => Finding::fail(
            id,
            "this process has a PID namespace of its own: /proc has no process of the host",
            "run it on the host, or give its container the PID namespace of the host: --pid=host, hostPID: true",
        ),
        None => Finding::warn(
            id,
            "/proc/self/ns/pid cannot be read",
            "mount /proc, and run this as root",
        ),
    }
}

fn tracepoints(facts: &HostFacts) -> Finding {
    let id = "btf";
    let Some(found) = &facts.btf_tracepoints else {
        return Finding::fail(
            id,
            "/sys/kernel/btf/vmlinux does not exist",
            "boot a kernel with CONFIG_DEBUG_INFO_BTF, as in every distribution: grep BTF= /boot/config-$(uname -r)",
        );
    };
    let missing: Vec<_> = TRACEPOINTS
        .iter()
        .filter(|name| !found.contains(name))
        .map(|name| format!("`{name}`"))
        .collect();
    if missing.is_empty() {
        return Finding::pass(id, "BTF and all typed tracepoints are present");
    }
    Finding::fail(
        id,
        format!("missing typed tracepoints: {}", missing.join(", ")),
        "boot a kernel with CONFIG_CGROUPS, CONFIG_TRACEPOINTS and CONFIG_BPF_EVENTS",
    )
}

fn bpffs(facts: &HostFacts, config: &Config) -> Finding {
    let id = "bpffs";
    let pin_dir = config.pin_dir.display();
    match mounted_on(&facts.mountinfo, &config.pin_dir) {
        Some("bpf") => Finding::pass(id, format!("{pin_dir} is in bpffs")),
        _ => Finding::fail(
            id,
            format!("{pin_dir} is not in bpffs"),
            "mount it: mount -t bpf bpf /sys/fs/bpf",
        ),
    }
}

fn pins(facts: &HostFacts, config: &Config) -> Finding {
    let id = "pins";
    let dir = config.pin_dir.display();
    let pins = &facts.pins;
    if let Some(why) = &pins.untrusted {
        let fix = "let only root write to it and to all directories above it";
        return Finding::fail(id, why.clone(), fix);
    }
    if !pins.missing_links.is_empty() {
        return Finding::fail(
            id,
            format!(
                "a probe is pinned in {dir} without {}",
                pins.missing_links.join(", ")
            ),
            "restart the agent: systemctl restart vctl-collect",
        );
    }
    match pins.open_above {
        Some(mode) => Finding::warn(
            id,
            format!(
                "other users can create directories beside {dir}: its bpffs has mode {mode:04o}"
            ),
            "mount it closed: mount -o remount,mode=0700 /sys/fs/bpf",
        ),
        None => Finding::pass(id, format!("only root can write {dir}")),
    }
}

fn cgroup(facts: &HostFacts) -> Finding {
    let id = "cgroup";
    match parse_cgroup2_mount(&facts.mountinfo) {
        Some(mount) if mount.mount_point == Path::new("/sys/fs/cgroup") => {
            Finding::pass(id, "cgroup v2")
        }
        Some(mount) => Finding::pass(
            id,
            format!(
                "hybrid: cgroup v2 is mounted at {}",
                mount.mount_point.display()
            ),
        ),
        None => Finding::warn(
            id,
            "no cgroup2 is mounted: events have no usable cgroup id",
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified",
        ),
    }
}

fn audit_ids(facts: &HostFacts) -> Finding {
    let id = "audit_ids";
    if facts.has_audit_ids {
        Finding::pass(id, "the kernel counts audit sessions")
    } else {
        Finding::warn(
            id,
            "no /proc/self/sessionid: marks cannot be rebuilt from the audit session",
            "boot a kernel with CONFIG_AUDIT",
        )
    }
}

/// Judges SELinux after the next boot by `/etc/selinux/config`; `None` unless it will be enforcing.
pub(crate) fn selinux_at_boot(config: &str) -> Option<Finding> {
    let is_enforcing = |line: &str| {
        let value = line.trim().strip_prefix("SELINUX=");
        // libselinux compares only the beginning.
        value.is_some_and(|value| {
            let value = value.trim_start().to_ascii_lowercase();
            value.starts_with("enforcing")
        })
    };
    let facts = HostFacts {
        selinux_enforcing: Some(true),
        ..HostFacts::default()
    };
    config
        .lines()
        .any(is_enforcing)
        .then(|| mandatory_access(&facts))
}

fn mandatory_access(facts: &HostFacts) -> Finding {
    let id = "mac";
    let confined = facts.apparmor_profiles.as_deref().and_then(|profiles| {
        let of_sshd = |line: &&str| line.contains("sshd") && line.ends_with("(enforce)");
        profiles.lines().find(of_sshd)
    });
    match (facts.selinux_enforcing, confined) {
        (Some(true), _) => Finding::warn(
            id,
            "SELinux is enforcing: sshd_t may not run the stamper or reach its socket",
            "build and load deploy/audit/selinux/vctl_stamp.te; its first lines are the commands",
        ),
        (_, Some(profile)) => Finding::warn(
            id,
            format!("AppArmor confines sshd: {profile}"),
            "let its profile run /usr/sbin/vctl-agent unconfined (`Ux`)",
        ),
        _ => Finding::pass(id, "sshd is not confined"),
    }
}

fn directories(facts: &HostFacts) -> Finding {
    let id = "directories";
    let mut wrong = facts.directories.iter().filter_map(|directory| {
        let why = directory.untrusted.as_ref()?;
        Some(format!("`{}`: {why}", directory.key))
    });
    match wrong.next() {
        Some(why) => Finding::fail(
            id,
            why,
            "create it and all directories above it so that only root can write to them: systemd-tmpfiles --create /etc/tmpfiles.d/vctl.conf",
        ),
        None => Finding::pass(id, "only root can write the collector's directories"),
    }
}

fn spool(facts: &HostFacts, config: &Config) -> Finding {
    let id = "spool";
    let dir = config.spool_dir.display();
    let Some(spool) = &facts.spool else {
        return Finding::fail(
            id,
            format!("{dir} cannot be read"),
            format!("create it: install -d -m 0700 {dir}"),
        );
    };
    if let Some((owner, mode)) = spool.owner_and_mode
        && (owner != 0 || mode & 0o077 != 0)
    {
        return Finding::fail(
            id,
            format!("{dir} is open to other users than root"),
            format!("chown root: {dir} && chmod 0700 {dir}"),
        );
    }
    // In MiB, or in GiB if the number of MiB would be long.
    let unit = if spool.free_bytes >> 30 < 10 { 20 } else { 30 };
    let free = ByteSize(spool.free_bytes >> unit << unit);
    let fix = "free some space, or lower `spool_cap`";
    if spool.free_bytes < config.segment_size.bytes().saturating_mul(2) {
        Finding::fail(
            id,
            format!("{free} free below {dir}: less than two segments"),
            fix,
        )
    } else if spool.free_bytes < config.spool_cap.bytes() {
        let seen = format!(
            "{free} free below {dir}, less than the cap of {}",
            config.spool_cap
        );
        Finding::warn(id, seen, fix)
    } else {
        Finding::pass(id, format!("{free} free below {dir}"))
    }
}

fn clock(facts: &HostFacts) -> Finding {
    let id = "clock";
    match facts.clock_synchronized {
        Some(true) => Finding::pass(id, "the wall clock is synchronized"),
        // Durations and order come from the boot clock, so this is only a warning.
        Some(false) => Finding::warn(
            id,
            "the wall clock is not synchronized: times of day cannot be compared between hosts",
            "start a time service: systemctl enable --now systemd-timesyncd",
        ),
        None => Finding::warn(
            id,
            "no time service reports whether the wall clock is right",
            "install one: apt-get install systemd-timesyncd",
        ),
    }
}

fn local_log(fact: &LocalLogFact) -> Finding {
    let id = "local_log";
    let socket = fact.socket;
    match fact.dropped {
        _ if !fact.exists => Finding::warn(
            id,
            format!("no log daemon listens: {socket} does not exist"),
            "start the daemon that `local_log` names, or set `local_log: none`",
        ),
        0 => Finding::pass(
            id,
            format!("{socket} exists, and took each line since the boot"),
        ),
        dropped => Finding::warn(
            id,
            format!(
                "{} dropped since the boot: the log daemon was away or too slow",
                counted(dropped, "line")
            ),
            "the record has them: `vctl session --local`; look at the load of the log daemon",
        ),
    }
}

#[cfg(test)]
mod tests;
