//! Reads the facts of this host, under a given root. It does not judge them, and it cannot fail: an
//! unreadable value is a fact too.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use memchr::memmem;
use nix::sys::statvfs::statvfs;
use nix::unistd::Group;
use vctl_common::status;

use super::facts::{
    BreakGlass, CentreFact, DirectoryFact, ExecExitFact, HostFacts, LocalLogFact, PinFact,
    SocketFact, SpoolFact, SshdFact,
};
use super::judge::TRACEPOINTS;
use super::sshd::settings;
use crate::config::Config;
use crate::local_log;
use crate::metrics::Listen;
use crate::pam::{self, PamFiles};
use crate::probe::{self, PINNED_LINKS};
use crate::proc;
use crate::trusted_dir;

/// Time limit for a program that may wait for a bus that does not run.
const PROGRAM_PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn collect(root: &Path, config: &Config) -> HostFacts {
    let at = |path: &str| root.join(path.trim_start_matches('/'));
    let text = |path: &str| fs::read_to_string(at(path)).ok();
    let is_root = nix::unistd::geteuid().is_root();
    let pam_files = PamFiles::read(root);
    let sshd = sshd(root);
    let socket = socket(config);
    let service = settings(&sshd).service().to_owned();
    HostFacts {
        is_root,
        kernel: text("/proc/sys/kernel/osrelease").map(|release| release.trim().to_owned()),
        bpf: is_root.then(bpf),
        has_host_pids: probe::pid_namespace::is_of_host(root),
        btf_tracepoints: fs::read(at("/sys/kernel/btf/vmlinux"))
            .ok()
            .map(|btf| btf_tracepoints(&btf)),
        mountinfo: proc::host::mountinfo(&at("/proc")),
        exec_exits: ExecExitFact::default(),
        has_exec_tracepoint: probe::has_tracepoint(root),
        has_audit_ids: text("/proc/self/sessionid").is_some()
            && text("/proc/self/loginuid").is_some(),
        sshd,
        stamp_programs: stamp_programs(root, &pam_files, &service),
        pam_files,
        pins: pins(&config.pin_dir),
        has_active_collector: matches!(socket, SocketFact::Absent | SocketFact::Stale)
            && has_active_collector(),
        socket,
        spool: spool(&config.spool_dir),
        clock_synchronized: clock(root),
        lockdown: text("/sys/kernel/security/lockdown"),
        selinux_enforcing: text("/sys/fs/selinux/enforce").map(|text| text.trim() == "1"),
        apparmor_profiles: text("/sys/kernel/security/apparmor/profiles"),
        break_glass: break_glass(config.break_glass_group.as_deref()),
        directories: directories(config),
        local_log: local_log(root, config),
        centre: CentreFact::default(),
        stream: None,
    }
}

fn local_log(root: &Path, config: &Config) -> Option<LocalLogFact> {
    let socket = local_log::socket_of(config.local_log)?;
    let log = status::read(&config.run_dir)
        .ok()
        .and_then(|status| status.local_log);
    Some(LocalLogFact {
        socket,
        // Also through the symlink that /dev/log is with journald.
        exists: root.join(socket.trim_start_matches('/')).exists(),
        dropped: log.map_or(0, |log| log.dropped),
    })
}

/// Checks the directories as `collect` does before it starts.
fn directories(config: &Config) -> Vec<DirectoryFact> {
    let textfile = config.metrics_textfile.as_ref();
    let listen = match &config.metrics_listen {
        Some(Listen::Unix(path)) => path.parent(),
        _ => None,
    };
    let all = [
        ("run_dir", Some(config.run_dir.as_path())),
        ("spool_dir", Some(config.spool_dir.as_path())),
        ("pending_dir", Some(config.pending_dir.as_path())),
        ("metrics_textfile", textfile.and_then(|file| file.parent())),
        ("metrics_listen", listen),
    ];
    let used = all.into_iter().filter_map(|(key, dir)| Some((key, dir?)));
    used.map(|(key, dir)| {
        // The agent creates its own directories; those of the metrics belong to other programs.
        let is_own = !key.starts_with("metrics");
        let missing = || format!("`{}` does not exist", dir.display());
        let untrusted = if is_own {
            trusted_dir::check(dir).err().map(|why| why.to_string())
        } else {
            (!dir.is_dir()).then(missing)
        };
        DirectoryFact { key, untrusted }
    })
    .collect()
}

/// Returns the programs that the service's lines run as `stamp`, and whether each is executable.
pub(super) fn stamp_programs(
    root: &Path,
    files: &PamFiles,
    service: &str,
) -> BTreeMap<String, bool> {
    let programs = pam::stamp_programs(files, service).into_iter();
    let programs = programs.map(|path| {
        let executable = is_executable(&root.join(path.trim_start_matches('/')));
        (path, executable)
    });
    programs.collect()
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0)
}

/// Creates the kind of map that the probe needs, and closes it.
fn bpf() -> Result<(), String> {
    match aya::sys::is_map_supported(aya::maps::MapType::RingBuf) {
        Ok(true) => Ok(()),
        Ok(false) => Err("no ring buffer maps".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Finds the names in BTF's string section, where each is between NUL bytes.
fn btf_tracepoints(btf: &[u8]) -> Vec<&'static str> {
    let known =
        |name: &str| memmem::find(btf, format!("\0btf_trace_{name}\0").as_bytes()).is_some();
    TRACEPOINTS
        .iter()
        .copied()
        .filter(|name| known(name))
        .collect()
}

fn sshd(root: &Path) -> SshdFact {
    let program = root.join("usr/sbin/sshd");
    if !program.exists() {
        return SshdFact::NotInstalled;
    }
    if let Some(effective) = output(Command::new(program).arg("-T")) {
        return SshdFact::Effective(effective);
    }
    sshd_files(root)
}

/// Reads the configuration files of the sshd below `root`.
pub(crate) fn sshd_files(root: &Path) -> SshdFact {
    // Debian's file begins with `Include /etc/ssh/sshd_config.d/*.conf`, so those files come first.
    let mut files = sorted(&root.join("etc/ssh/sshd_config.d"));
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "conf")
    });
    files.push(root.join("etc/ssh/sshd_config"));
    SshdFact::Files(
        files
            .iter()
            .filter_map(|file| fs::read_to_string(file).ok())
            .collect(),
    )
}

fn sorted(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    paths
}

fn has_active_collector() -> bool {
    let mut ask = Command::new("systemctl");
    output(ask.args(["is-active", "vctl-collect.service"])).is_some()
}

fn socket(config: &Config) -> SocketFact {
    let path = config.socket();
    let unusable = |why: String| SocketFact::Unusable(format!("{}: {why}", path.display()));
    let us = nix::unistd::geteuid().as_raw();
    match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return SocketFact::Absent,
        Err(error) => return unusable(error.to_string()),
        Ok(meta) if !meta.file_type().is_socket() => return unusable("is not a socket".to_owned()),
        Ok(meta) if meta.uid() != us || meta.mode() & 0o022 != 0 => {
            return unusable("belongs to another user or is writable by one".to_owned());
        }
        Ok(_) => {}
    }
    if config
        .run_dir
        .symlink_metadata()
        .is_ok_and(|meta| meta.uid() != us || meta.mode() & 0o022 != 0)
    {
        return unusable("is in a directory that another user can write".to_owned());
    }
    match UnixStream::connect(&path) {
        Ok(_) => SocketFact::Answers,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => SocketFact::Stale,
        Err(error) => unusable(error.to_string()),
    }
}

fn pins(dir: &Path) -> PinFact {
    let above = dir
        .ancestors()
        .skip(1)
        .find_map(|path| path.metadata().ok());
    let mode = above.map(|meta| meta.mode() & 0o7777);
    let missing = PINNED_LINKS
        .into_iter()
        .filter(|name| !dir.join(name).exists());
    let missing = missing.map(str::to_owned);
    PinFact {
        untrusted: trusted_dir::check(dir).err().map(|why| why.to_string()),
        open_above: mode.filter(|mode| mode & 0o002 != 0),
        missing_links: if dir.join("state").exists() {
            missing.collect()
        } else {
            Vec::new()
        },
    }
}

fn spool(dir: &Path) -> Option<SpoolFact> {
    let existing = dir.ancestors().find(|path| path.exists())?;
    let space = statvfs(existing).ok()?;
    let meta = dir.metadata().ok();
    Some(SpoolFact {
        existing: existing.to_owned(),
        free_bytes: space
            .blocks_available()
            .saturating_mul(space.fragment_size()),
        owner_and_mode: meta.map(|meta| (meta.uid(), meta.mode() & 0o7777)),
    })
}

fn clock(root: &Path) -> Option<bool> {
    let answer =
        output(Command::new("timedatectl").args(["show", "--property=NTPSynchronized", "--value"]));
    match answer.as_deref().map(str::trim) {
        Some("yes") => Some(true),
        Some("no") => Some(false),
        // Without systemd: systemd-timesyncd leaves this file when the clock is synchronized.
        _ => root
            .join("run/systemd/timesync/synchronized")
            .exists()
            .then_some(true),
    }
}

fn break_glass(group: Option<&str>) -> BreakGlass {
    match group.map(Group::from_name) {
        None => BreakGlass::NotConfigured,
        Some(Ok(Some(group))) => BreakGlass::Group {
            members: group.mem.len(),
        },
        Some(_) => BreakGlass::NoSuchGroup,
    }
}

/// Returns the output of a program that succeeds in time.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut stdout = child.stdout.take()?;
    let reader = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let deadline = Instant::now() + PROGRAM_PATIENCE;
    let status = loop {
        match child.try_wait().ok()? {
            Some(status) => break status,
            None if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
            None => {
                let _ = child.kill();
                break child.wait().ok()?;
            }
        }
    };
    let text = reader.join().ok()?.ok()?;
    status.success().then_some(text)
}
