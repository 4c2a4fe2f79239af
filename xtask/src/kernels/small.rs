//! Guests without sshd: the agent, two logins, and hosts on which a part of the kernel is missing.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::boot::{Clock, Guest};
use super::image::Image;
use super::kernel::Kernel;
use super::programs::Programs;

/// What a small guest runs, and the texts that must be in its output.
pub(super) struct Small {
    /// What the table of the page says about it.
    pub(super) promise: &'static str,
    /// Further arguments of the kernel.
    arguments: &'static str,
    script: &'static str,
    expected: &'static [&'static str],
}

/// Prints the failed checks, and then the error of the collector.
const REFUSED: &str = "
vctl-agent check --local
vctl-agent collect --local
echo \"@@collect $?\"
";

pub(super) const OLD: Small = Small {
    promise: "is refused by name",
    arguments: "",
    script: REFUSED,
    expected: &[
        "Linux 5.10.",
        "is older than 5.12, which the probe needs",
        "cannot start the probe; boot Linux 5.15 or newer",
        "caused by: Linux 5.10.",
        "@@collect 1",
    ],
};

pub(super) const LOGINS: Small = Small {
    promise: "two logins: execs, failed execs and exits as the processes wrote them",
    arguments: "",
    script: "guest-session\n",
    expected: &["@@recorded 2 sessions, 90 execs, 4 failed execs and 36 exits"],
};

pub(super) const FAILED_EXECS: Small = Small {
    promise: "failed execs: equal records at the exit of exec and at the end of system calls",
    arguments: "",
    script: "guest-failed-exec\nvctl-agent check --local\n",
    expected: &[
        "@@failed execs: both probes wrote 26 equal records",
        "@@replaced: 16 failed execs before and after, none missing and none twice",
    ],
};

pub(super) const PREEMPTED: Small = Small {
    promise: "preempt=full: each failed exec of two logins is recorded at the end of system calls, or counted as skipped",
    arguments: "preempt=full",
    // Lockdown as with Secure Boot, which forbids to read debugfs.
    script: "mount -t debugfs debugfs /sys/kernel/debug
guest-failed-exec --preemptible
vctl-agent check --local
echo integrity > /sys/kernel/security/lockdown
vctl-agent check --local
",
    expected: &[
        "@@preemptible: 4000 failed execs of two logins, each recorded or counted as skipped",
        "because this kernel is preemptible: `full` in /sys/kernel/debug/sched/preempt",
        "because this kernel is preemptible: `preempt=full` in /proc/cmdline",
    ],
};

pub(super) const PREEMPTED_LATER: Small = Small {
    promise: "preempt=full at run time: probes at the exit of exec are left between sessions, or after a skipped one",
    arguments: "preempt=voluntary",
    script: "mount -t debugfs debugfs /sys/kernel/debug
guest-failed-exec --preempted-later
vctl-agent check --local
",
    expected: &[
        "@@replaced: 16 failed execs before and after, none missing and none twice",
        "@@preempted: 26 failed execs after the change",
        "this preemptible kernel has skipped a probe at the exit of exec",
    ],
};

pub(super) const SKIPPED: Small = Small {
    promise: "tracepoints that the kernel preempts: each exec and exit of two logins under load is recorded once, or a gap states a skip",
    arguments: "",
    script: "guest-skipped\n",
    expected: &[
        "@@each exec and exit of two logins is recorded once, or a gap states that both copies were skipped",
    ],
};

pub(super) const WITHOUT_BTF: Small = Small {
    promise: "no BTF: is refused, and the error names the option of the kernel",
    arguments: "",
    // An image without BTF has an empty directory there.
    script: "mount -t tmpfs tmpfs /sys/kernel/btf
vctl-agent check --local
vctl-agent collect --local
echo \"@@collect $?\"
",
    expected: &[
        "/sys/kernel/btf/vmlinux does not exist",
        "cannot read the kernel's type information `/sys/kernel/btf/vmlinux`",
        "CONFIG_DEBUG_INFO_BTF",
        "@@collect 1",
    ],
};

pub(super) const LOCKED_DOWN: Small = Small {
    promise: "lockdown=confidentiality: is refused by name",
    arguments: "lockdown=confidentiality",
    script: REFUSED,
    expected: &[
        "FAIL  lockdown       kernel lockdown is `confidentiality`",
        "cannot start the probe; boot with lockdown=integrity",
        "caused by: kernel lockdown is `confidentiality`: BPF may not read kernel memory",
        "@@collect 1",
    ],
};

pub(super) const WITHOUT_BPFFS: Small = Small {
    promise: "no bpffs: is refused, and the error names the mount",
    arguments: "",
    script: "umount /sys/fs/bpf
vctl-agent check --local
vctl-agent collect --local
echo \"@@collect $?\"
",
    expected: &[
        "/sys/fs/bpf/vctl is not in bpffs",
        "mount -t bpf bpf /sys/fs/bpf",
        "@@collect 1",
    ],
};

pub(super) const WITHOUT_TRACEFS: Small = Small {
    promise: "no ftrace and no tracefs: failed execs are missing and named, everything else is complete",
    arguments: "",
    script: "echo 0 > /proc/sys/kernel/ftrace_enabled
umount /sys/kernel/tracing
vctl-agent check --local
guest-session --without-failed-execs
",
    expected: &[
        "no syscall tracepoints: an exec that fails is not recorded",
        "Failed execs are not recorded.",
        "@@recorded 2 sessions, 90 execs, 0 failed execs and 36 exits",
    ],
};

pub(super) const WITHOUT_CGROUP2: Small = Small {
    promise: "no cgroup2: events have no cgroup id, everything else is complete",
    arguments: "",
    script: "umount /sys/fs/cgroup
vctl-agent check --local
guest-session
",
    expected: &[
        "no cgroup2 is mounted: events have no usable cgroup id",
        "@@recorded 2 sessions, 90 execs, 4 failed execs and 36 exits",
    ],
};

/// Result of a small guest.
pub(super) struct Outcome {
    pub(super) release: String,
    pub(super) found: usize,
    /// Texts that the guest did not print.
    pub(super) missing: Vec<String>,
    /// Output of the guest.
    pub(super) console: String,
}

impl Small {
    pub(super) fn run(
        &self,
        kernel: &Kernel,
        architecture: &str,
        programs: &Programs,
        directory: &Path,
    ) -> Result<Outcome> {
        let mut image = Image::new(&programs.busybox)?;
        for (name, path) in &programs.of_the_guest {
            image.program(path, &format!("/bin/{name}"))?;
        }
        let script = format!(
            "mount -t securityfs securityfs /sys/kernel/security\n\
             echo \"@@kernel $(uname -r)\"\nexec 2>&1\n{}",
            self.script
        );
        let archive = directory.join("small.cpio");
        std::fs::write(&archive, image.finish(&script))?;
        let guest = Guest {
            kernel,
            architecture,
            archives: &[archive],
            arguments: self.arguments,
            clock: Clock::Machine,
            directory,
        };
        let console = guest.run()?;
        let release = super::boot::value(&console, "kernel");
        let release = release
            .context("the guest did not print its kernel")?
            .to_owned();
        ensure!(
            release == kernel.release,
            "the guest ran {release} instead of {}",
            kernel.release
        );
        let missing = self
            .expected
            .iter()
            .filter(|text| !console.contains(**text));
        let missing: Vec<_> = missing.map(|text| format!("not printed: {text}")).collect();
        Ok(Outcome {
            release,
            found: self.expected.len() - missing.len(),
            missing,
            console,
        })
    }
}
