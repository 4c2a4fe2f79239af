//! The oldest kernel that the probe supports, and the lockdown that forbids it.

use std::fs;
use std::path::Path;

use super::ProbeError;

/// Failed execs need the user registers of a task and links of perf events, which came with 5.15.
const OLDEST: (u32, u32) = (5, 15);
/// Atomics that return a value came with 5.12. From then on the probe loads, and misses only failed execs.
const OLDEST_TO_LOAD: (u32, u32) = (5, 12);

/// From this release on, a task can be preempted inside a program at a tracepoint. The kernel then skips that program
/// for the other tasks of the CPU.
const PREEMPTS_TRACEPOINTS: (u32, u32) = (7, 0);

/// Returns whether the kernel below `root` preempts tracepoints.
pub(super) fn preempts_tracepoints(root: &Path) -> bool {
    let release = fs::read_to_string(root.join("proc/sys/kernel/osrelease"));
    let version = release.ok().and_then(|release| version(&release));
    version.is_some_and(|version| version >= PREEMPTS_TRACEPOINTS)
}

/// Returns whether the probe supports a kernel with this `uname -r`.
pub fn is_supported(release: &str) -> bool {
    version(release).is_some_and(|version| version >= OLDEST)
}

/// Returns whether the text is a `uname -r`: it begins with a version.
pub fn is_release(text: &str) -> bool {
    version(text).is_some() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Returns whether the probe loads on a kernel with this `uname -r`.
pub fn is_loadable(release: &str) -> bool {
    version(release).is_some_and(|version| version >= OLDEST_TO_LOAD)
}

pub(super) fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    let mut part = || parts.next().and_then(|part| part.parse().ok());
    Some((part()?, part()?))
}

/// Returns the active mode of all of `/sys/kernel/security/lockdown`, such as `integrity`.
pub fn lockdown(text: &str) -> Option<&str> {
    text.split('[').nth(1)?.split(']').next()
}

/// Checks the kernel below `root` before a probe is loaded: the verifier would not name the reason.
pub(super) fn check(root: &Path) -> Result<(), ProbeError> {
    let text = |path: &str| fs::read_to_string(root.join(path)).ok();
    if let Some(release) = text("proc/sys/kernel/osrelease")
        && version(&release).is_some_and(|version| version < OLDEST_TO_LOAD)
    {
        let release = release.trim().to_owned();
        return Err(ProbeError::OldKernel { release });
    }
    let modes = text("sys/kernel/security/lockdown");
    match modes.as_deref().and_then(lockdown) {
        Some("confidentiality") => Err(ProbeError::LockedDown),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(release: &str, lockdown: &str) -> Result<(), ProbeError> {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("proc/sys/kernel/osrelease", release);
        put("sys/kernel/security/lockdown", lockdown);
        check(root.path())
    }

    #[test]
    fn only_new_kernels_preempt_tracepoints() {
        let root = tempfile::tempdir().unwrap();
        assert!(!preempts_tracepoints(root.path()));
        let file = root.path().join("proc/sys/kernel/osrelease");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        for (release, expected) in [
            ("7.0.0-28-generic\n", true),
            ("7.2.13+deb14-cloud-amd64\n", true),
            ("10.0.1\n", true),
            ("6.19.9\n", false),
            ("6.12.117+deb13-cloud-amd64\n", false),
            ("unknown\n", false),
        ] {
            fs::write(&file, release).unwrap();
            assert_eq!(preempts_tracepoints(root.path()), expected, "{release}");
        }
    }

    #[test]
    fn a_kernel_that_loads_no_probe_is_refused_by_name() {
        for release in ["5.10.0-32-cloud-amd64\n", "5.11.22\n", "4.19.0\n"] {
            assert!(!is_supported(release), "{release}");
            let refused = checked(release, "").unwrap_err();
            let reason = format!("Linux {} is older than 5.12", release.trim());
            assert!(refused.to_string().starts_with(&reason), "{refused}");
        }
        for release in ["5.15.0\n", "6.1.0-50-cloud-amd64\n", "10.0\n"] {
            assert!(is_supported(release), "{release}");
            checked(release, "").unwrap();
        }
        // Failed execs are missing there, and the agent logs it.
        assert!(!is_supported("5.14.0\n"));
        checked("5.14.0\n", "").unwrap();
    }

    #[test]
    fn a_lockdown_that_forbids_reading_is_refused_by_name() {
        let refused = checked("6.1.0\n", "none integrity [confidentiality]\n").unwrap_err();
        assert!(matches!(refused, ProbeError::LockedDown), "{refused}");
        for modes in [
            "[none] integrity confidentiality\n",
            "none [integrity] confidentiality\n",
            "",
        ] {
            checked("6.1.0\n", modes).unwrap();
        }
    }
}
