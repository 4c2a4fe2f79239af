//! Brings the probe into the kernel, or finds it there.
//!
//! Links, maps and the ring are pinned, so a probe goes on recording into its ring while no agent
//! runs, and the next agent reads on where the last one stopped.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use aya::programs::links::FdLink;
use aya::programs::{BtfTracePoint, ProgramFd, ProgramInfo};
use aya::{Ebpf, EbpfLoader, Endianness};
use nix::fcntl::{Flock, FlockArg};
use tracing::{info, warn};
use uuid::Uuid;
use vctl_common::layout::LAYOUT_LEN;
use vctl_common::wire;

use super::btf::{self, Btf};
use super::failed::{FAILED_CALLS, Unfinished, failed_links, has_compat_table, unfinished};
use super::maps::{Maps, PINNED, PinnedState, remove_pins};
use super::watch::{Pins, Watch, belongs_together};
use super::{ProbeError, ProbeOptions, pin_dir};
use crate::trusted_dir::{self, UntrustedDir};

/// The compiled probe. `cargo xtask ebpf check` builds it from `agent-ebpf` and compares.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../ebpf/vctl-probe.o");

/// Programs by name, and the tracepoint each is for.
pub(super) const PROGRAMS: [(&str, &str); 4] = [
    ("process_fork", "sched_process_fork"),
    ("process_exit", "sched_process_exit"),
    ("process_exec", "sched_process_exec"),
    ("cgroup_attach", "cgroup_attach_task"),
];

/// A probe in the kernel, and the lock that keeps a second agent off its pins.
pub struct Probe {
    pub maps: Maps,
    pub taken_over: bool,
    pub(super) failed_attached: bool,
    /// The loaded object, while the program that nobody waits for is not in the kernel yet.
    pub(super) unfinished: Option<Unfinished>,
    /// The kernel has a table of 32-bit calls, whose failed execs cannot be watched.
    pub(super) compat_unseen: bool,
    watch: Watch,
    /// Links of the failed execs, while they are attached: held as those of `watch` are.
    pub(super) failed: Vec<(&'static str, FdLink)>,
    pub(super) options: ProbeOptions,
    _lock: Flock<File>,
}

impl Probe {
    /// Takes over the probe pinned in the pin directory, or loads one and proves it.
    ///
    /// # Errors
    /// Another agent has the directory, the pinned state is of a newer version, or this kernel
    /// does not have what the probe needs: each by name.
    pub fn start(options: ProbeOptions) -> Result<Self, ProbeError> {
        let dir = &options.pin_dir;
        let lock = lock(dir)?;
        if let Some(maps) = pinned(dir)? {
            let link = |call| dir.join(format!("link_{call}"));
            let failed_attached = FAILED_CALLS.iter().all(|call| link(call).exists());
            if maps.ring_bytes != options.ring_bytes
                || maps.state().capture_all != options.capture_all
            {
                warn!(
                    ring_bytes = maps.ring_bytes,
                    capture_all = maps.state().capture_all,
                    "The probe in the kernel stays as it is configured until `vctl-agent detach`."
                );
            }
            let failed = if failed_attached {
                failed_links(dir)
            } else {
                Vec::new()
            };
            return Ok(Self {
                maps,
                taken_over: true,
                failed_attached,
                failed,
                unfinished: unfinished(&options)?,
                compat_unseen: false,
                watch: Watch::open(dir)?,
                options,
                _lock: lock,
            });
        }
        let (maps, watch, unfinished) = proven(&options).or_else(|error| {
            // Better no probe than one that writes wrong data, or a part of one.
            remove_pins(dir).map_err(|source| ProbeError::Pins {
                dir: dir.clone(),
                source,
            })?;
            Err(error)
        })?;
        Ok(Self {
            maps,
            taken_over: false,
            failed_attached: false,
            unfinished: options.failed_exec.then_some(unfinished),
            compat_unseen: false,
            watch,
            failed: Vec::new(),
            options,
            _lock: lock,
        })
    }

    /// Looks whether the probe still records, and whether its pins are still its own; what root has
    /// taken away is put back, but for all of it at once.
    ///
    /// # Errors
    /// Something could not be put back.
    pub fn verify(&mut self) -> Result<Pins, ProbeError> {
        let found = self.watch.verify()?;
        if found == Pins::Gone {
            self.watch.release();
            self.failed.clear();
            return Ok(found);
        }
        let (mut names, was_off) = match found {
            Pins::Restored { names, was_off } => (names, was_off),
            _ => (Vec::new(), false),
        };
        for (call, link) in std::mem::take(&mut self.failed) {
            let name = format!("link_{call}");
            let path = self.options.pin_dir.join(&name);
            let link = if path.exists() {
                link
            } else {
                names.push(name);
                let pinned = link.pin(path);
                pinned
                    .map_err(|source| ProbeError::Pin { name: call, source })?
                    .into()
            };
            self.failed.push((call, link));
        }
        Ok(if names.is_empty() {
            Pins::Whole
        } else {
            Pins::Restored { names, was_off }
        })
    }

    /// Returns what is wrong with the pin directory, should others be able to change it by now.
    pub fn untrusted(&self) -> Option<UntrustedDir> {
        trusted_dir::check(&self.options.pin_dir).err()
    }

    /// Returns the id of a program whose diagnostics the log can listen to.
    pub fn log_source(&self) -> Option<u32> {
        let pin = self.options.pin_dir.join("prog_process_exec");
        ProgramInfo::from_pin(pin).ok().map(|program| program.id())
    }

    /// Returns how often the kernel skipped a probe because it was already running on that CPU.
    pub fn skipped(&self) -> u64 {
        self.watch
            .programs()
            .filter_map(|program| skipped(program.fd().ok()?).ok())
            .sum()
    }
}

/// Loads a probe and makes sure that it reads what it says it reads.
fn proven(options: &ProbeOptions) -> Result<(Maps, Watch, Unfinished), ProbeError> {
    let (mut maps, unfinished) = load(options)?;
    super::self_test::run(&mut maps, &options.self_test)?;
    maps.set_state(PinnedState {
        complete: true,
        ..maps.state()
    })?;
    Ok((maps, Watch::open(&options.pin_dir)?, unfinished))
}

/// Reads how often the kernel skipped a program; /proc tells what aya does not.
fn skipped(program: &ProgramFd) -> io::Result<u64> {
    let fd = program.as_fd().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("recursion_misses:"));
    // Kernels before 5.12 skip nothing of this kind.
    Ok(line
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or(0))
}

pub(super) fn lock(dir: &Path) -> Result<Flock<File>, ProbeError> {
    let pins = |source| ProbeError::Pins {
        dir: dir.to_owned(),
        source,
    };
    pin_dir::prepare(dir)?;
    let file = File::open(dir).map_err(pins)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| ProbeError::InUse {
        dir: dir.to_owned(),
    })
}

/// Opens what is pinned in `dir`; `None` when there is nothing, or the rest of a start that did not
/// come to its end, which is removed.
fn pinned(dir: &Path) -> Result<Option<Maps>, ProbeError> {
    if !dir.join("state").exists() {
        clear(dir)?;
        return Ok(None);
    }
    let state = super::maps::pinned_state(dir)?;
    if state.version > u64::from(wire::VERSION) {
        return Err(ProbeError::NewerState {
            dir: dir.to_owned(),
            found: state.version,
            ours: wire::VERSION,
        });
    }
    // Somebody has taken a link away: what is left records nothing, or only a part.
    let attached = belongs_together(dir);
    if !state.complete || !attached || state.version < u64::from(wire::VERSION) {
        info!(
            version = state.version,
            complete = state.complete,
            attached,
            "Replacing what is left of a probe."
        );
        clear(dir)?;
        return Ok(None);
    }
    Maps::pinned(dir).map(Some)
}

fn clear(dir: &Path) -> Result<(), ProbeError> {
    let pins = |source| ProbeError::Pins {
        dir: dir.to_owned(),
        source,
    };
    let mut entries: Vec<_> = fs::read_dir(dir)
        .map_err(pins)?
        .collect::<Result<_, _>>()
        .map_err(pins)?;
    entries.sort_by_key(|entry| !entry.file_name().to_string_lossy().starts_with("link_"));
    entries
        .iter()
        .try_for_each(|entry| fs::remove_file(entry.path()))
        .map_err(pins)
}

/// Loads, attaches and pins the probe.
fn load(options: &ProbeOptions) -> Result<(Maps, Unfinished), ProbeError> {
    let mut loaded = object(options, false)?;
    let ebpf = &mut loaded.ebpf;
    let dir = &options.pin_dir;
    for name in PINNED {
        let map = ebpf.map(name).ok_or(ProbeError::Object { name })?;
        map.pin(dir.join(name))
            .map_err(|source| ProbeError::Pin { name, source })?;
    }
    let mut maps = Maps::pinned(dir)?;
    let ring_id = Uuid::now_v7().as_u64_pair().1;
    maps.set_state(PinnedState {
        version: u64::from(wire::VERSION),
        ring_id,
        complete: false,
        capture_all: options.capture_all,
        loaded_at: crate::session::boot_now().0,
    })?;
    // Not before the maps are ready: exit first, so that no mark outlives its process.
    attach(ebpf, &loaded.btf, options)?;
    Ok((maps, loaded))
}

/// Makes the object's maps, or takes those that are pinned.
pub(super) fn object(options: &ProbeOptions, pinned: bool) -> Result<Unfinished, ProbeError> {
    // Read once for both readers: the kernel hands it out in a thousand small pieces.
    let bytes = fs::read(&options.btf).map_err(|source| ProbeError::NoBtf {
        path: options.btf.clone(),
        source,
    })?;
    let layout = kernel_layout(&bytes)?;
    let btf = aya::Btf::parse(&bytes, Endianness::default())
        .map_err(|source| ProbeError::Btf { source })?;
    let has_compat_table = has_compat_table(&bytes);
    drop(bytes);
    let capture_all = u32::from(options.capture_all);
    let log_level = if options.log { 5_u8 } else { 0 };
    let cpus = aya::util::nr_cpus().map_err(|(_, source)| ProbeError::Cpus { source })?;
    let cpus = u32::try_from(cpus).unwrap_or(u32::MAX);
    let mut loader = EbpfLoader::new();
    loader
        .btf(Some(&btf))
        .override_global("LAYOUT", &layout, true)
        .override_global("CAPTURE_ALL", &capture_all, true)
        .override_global("AYA_LOG_LEVEL", &log_level, false)
        .map_max_entries("ring", options.ring_bytes)
        .map_max_entries("exec_scratch", cpus);
    if pinned {
        for name in PINNED {
            loader.map_pin_path(name, options.pin_dir.join(name));
        }
    }
    let ebpf = loader.load(OBJECT).map_err(|source| ProbeError::Load {
        source: Box::new(source),
    })?;
    drop(loader);
    Ok(Unfinished {
        ebpf,
        btf,
        has_compat_table,
    })
}

fn attach(ebpf: &mut Ebpf, btf: &aya::Btf, options: &ProbeOptions) -> Result<(), ProbeError> {
    let dir = &options.pin_dir;
    for (name, tracepoint) in PROGRAMS {
        let program: &mut BtfTracePoint = ebpf
            .program_mut(name)
            .and_then(|program| program.try_into().ok())
            .ok_or(ProbeError::Object { name })?;
        let failed = |source| ProbeError::Attach { name, source };
        program.load(tracepoint, btf).map_err(failed)?;
        let link = program
            .attach()
            .and_then(|id| program.take_link(id))
            .map_err(failed)?;
        program
            .pin(dir.join(format!("prog_{name}")))
            .map_err(|source| ProbeError::Pin { name, source })?;
        FdLink::from(link)
            .pin(dir.join(format!("link_{name}")))
            .map_err(|source| ProbeError::Pin { name, source })?;
    }
    Ok(())
}

/// Looks up every member the probe reads in the running kernel's BTF.
fn kernel_layout(bytes: &[u8]) -> Result<[u32; LAYOUT_LEN], ProbeError> {
    let btf = Btf::parse(bytes)?;
    let layout = btf::layout(&btf)?;
    match btf.missing_tracepoint(&PROGRAMS.map(|(_, tracepoint)| tracepoint)) {
        Some(name) => Err(btf::BtfError::NoTracepoint { name }.into()),
        None => Ok(layout),
    }
}
