//! Loads the probe into the kernel, or finds it there.
//!
//! Links, maps and the ring are pinned. So the probe continues to record into its ring while no
//! agent runs, and the next agent continues to read where the last one stopped.

use std::fs::{self, File};
use std::path::Path;

use aya::Ebpf;
use aya::programs::links::FdLink;
use aya::programs::{BtfTracePoint, FExit, ProgramInfo};
use nix::fcntl::{Flock, FlockArg};
use tracing::{info, warn};
use uuid::Uuid;
use vctl_common::status::SkipBases;
use vctl_common::wire;

use super::exec_exits::{self, ExecExits};
use super::failed_links::{FAILED_CALLS, each_loaded, failed_links, is_loaded};
use super::maps::{LATE_MARKS, Maps, PINNED, PinnedState};
use super::object::{PROGRAMS, ProgramCopy, Unfinished, object};
use super::preemption::preemptible_by;
use super::second_copies;
use super::skips::{CopySkips, skipped};
use super::watch::{Pins, Watch, belongs_together};
use super::{ProbeError, ProbeOptions, kernel, pid_namespace, pin_dir};
use crate::trusted_dir::{self, UntrustedDir};

/// A probe in the kernel, and the lock against a second agent with the same pins.
pub struct Probe {
    pub maps: Maps,
    pub taken_over: bool,
    /// The probes at the exit of exec, if failed execs are watched by them.
    pub(super) exits: Vec<FExit>,
    /// Whether it is open how failed execs are watched: at the exit of exec, or at the end of system calls.
    pub(super) is_undecided: bool,
    /// Whether probes at the exit of exec of an earlier agent are removed once no session is open, because this kernel
    /// may skip them.
    pub(super) is_leaving: bool,
    /// Whether failed execs are watched at the end of system calls now.
    pub(super) failed_attached: bool,
    /// The loaded object, until the programs that are not needed at start are in the kernel.
    pub(super) unfinished: Option<Unfinished>,
    /// Whether the programs for the end of system calls are loaded, or were refused.
    pub(super) is_failed_loaded: bool,
    /// Whether the last try to load or attach the probes for failed execs failed.
    pub(super) failed_unseen: bool,
    /// Whether the kernel has a table of 32-bit calls whose failed execs cannot be watched.
    pub(super) compat_unseen: bool,
    pub(super) watch: Watch,
    /// Links for failed execs while they are attached, held like those of `watch`; also those of `exits`.
    pub(super) failed: Vec<(&'static str, FdLink)>,
    pub(super) options: ProbeOptions,
    _lock: Flock<File>,
}

impl Probe {
    /// Takes over the probe pinned in the pin directory, or loads one and tests it.
    ///
    /// # Errors
    /// Another agent uses the directory, the pinned state is of a newer version, or this kernel
    /// lacks something that the probe needs.
    pub fn start(options: ProbeOptions) -> Result<Self, ProbeError> {
        // Refused before the lock, which creates the pin directory.
        if pid_namespace::is_of_host(Path::new("/")) == Some(false) {
            return Err(ProbeError::PidNamespace);
        }
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
                    "The probe in the kernel keeps its configuration until `vctl-agent detach`."
                );
            }
            let exits = if maps.state().exec_exits {
                ExecExits::open(dir)?
            } else {
                ExecExits::default()
            };
            let failed = if failed_attached {
                failed_links(dir)
            } else {
                exits.links
            };
            let is_leaving = options.failed_exec
                && !exits.programs.is_empty()
                && preemptible_by(Path::new("/")).is_some();
            // An agent of this version that uses the end of system calls has tried the exit of exec.
            let has_tried = maps.state().version == u64::from(wire::VERSION) && is_loaded(dir);
            let is_undecided = exits.programs.is_empty() && !has_tried;
            // Before the agent is ready: it takes as long as the rest of the start.
            let unfinished = if options.failed_exec && is_undecided && !failed_attached {
                Some(object(&options, ProgramCopy::Neither)?)
            } else {
                None
            };
            let captures_all = maps.state().capture_all;
            let attached = second_copies::attach_missing(&options);
            return Ok(Self {
                maps,
                taken_over: true,
                is_undecided,
                is_leaving,
                exits: exits.programs,
                failed_attached,
                failed,
                unfinished,
                is_failed_loaded: false,
                failed_unseen: false,
                compat_unseen: false,
                watch: Watch::open(dir, captures_all, attached)?,
                options,
                _lock: lock,
            });
        }
        let (maps, watch, unfinished) = proven(&options).or_else(|error| {
            // No probe is better than one that writes wrong or incomplete data.
            pin_dir::remove(dir).map_err(|source| ProbeError::Pins {
                dir: dir.clone(),
                source,
            })?;
            Err(error)
        })?;
        Ok(Self {
            maps,
            taken_over: false,
            exits: Vec::new(),
            is_undecided: true,
            is_leaving: false,
            failed_attached: false,
            unfinished: options.failed_exec.then_some(unfinished),
            is_failed_loaded: false,
            failed_unseen: false,
            compat_unseen: false,
            watch,
            failed: Vec::new(),
            options,
            _lock: lock,
        })
    }

    /// Checks that the probe still records and that its pins are its own. Restores single pins that
    /// root removed, but not if all are removed.
    ///
    /// # Errors
    /// A pin could not be restored.
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
        for (program, (function, _)) in self.exits.iter_mut().zip(&self.failed) {
            names.extend(exec_exits::restore(
                program,
                function,
                &self.options.pin_dir,
            )?);
        }
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

    /// Returns the problem with the pin directory if another user can change it.
    pub fn untrusted(&self) -> Option<UntrustedDir> {
        trusted_dir::check(&self.options.pin_dir).err()
    }

    /// Returns the id of a program whose diagnostics the log can read.
    pub fn log_source(&self) -> Option<u32> {
        let pin = self.options.pin_dir.join("prog_process_exec");
        ProgramInfo::from_pin(pin).ok().map(|program| program.id())
    }

    /// Returns how often the kernel skipped a probe because it, or another one, was already running on that CPU. Of two
    /// copies, the one that was skipped less often counts.
    pub fn skipped(&self) -> u64 {
        let always: u64 = self.watch.skips().map(CopySkips::lost).sum();
        let mut count = always + self.skipped_exits();
        // Also while they are detached: their count stays.
        each_loaded(&self.options.pin_dir, |program| {
            count += skipped(program).unwrap_or(0);
        });
        count
    }

    /// Counts skips of programs with two copies as the earlier agent did.
    pub fn continue_skips(&mut self, known: &SkipBases) {
        self.watch.continue_skips(known);
    }

    /// Returns what the next agent needs to count skips in the same way.
    pub fn skip_bases(&self) -> SkipBases {
        self.watch.skip_bases()
    }

    /// Returns how often the kernel skipped a probe at the exit of exec.
    pub(super) fn skipped_exits(&self) -> u64 {
        let programs = self.exits.iter().map(FExit::fd);
        programs
            .filter_map(|program| skipped(program.ok()?).ok())
            .sum()
    }
}

/// Loads a probe and tests that it reads the right data.
fn proven(options: &ProbeOptions) -> Result<(Maps, Watch, Unfinished), ProbeError> {
    kernel::check(Path::new("/"))?;
    let (mut maps, unfinished) = load(options)?;
    // Before the self-test, which they take part in.
    second_copies::attach_new(&unfinished, options);
    super::self_test::run(&mut maps, &options.self_test)?;
    maps.set_state(PinnedState {
        complete: true,
        ..maps.state()
    })?;
    let watch = Watch::open(&options.pin_dir, options.capture_all, Vec::new())?;
    Ok((maps, watch, unfinished))
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

/// Opens the pins in `dir`; `None` if there are none. Removes the rest of a start that did not
/// finish.
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
    // A link was removed: the rest records no events or only a part.
    let attached = belongs_together(dir) && (!state.exec_exits || ExecExits::open(dir).is_ok());
    if !state.complete || !attached || state.version < u64::from(wire::OLDEST_VERSION) {
        info!(
            version = state.version,
            complete = state.complete,
            attached,
            "Replacing an incomplete probe."
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
    let mut loaded = object(options, ProgramCopy::Only)?;
    let ebpf = &mut loaded.ebpf;
    let dir = &options.pin_dir;
    for name in PINNED.into_iter().chain([LATE_MARKS]) {
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
        exec_exits: false,
        skipped_exits: false,
        capture_all: options.capture_all,
        loaded_at: crate::session::boot_now().0,
    })?;
    // Only after the maps are ready. Exit comes first, so that no mark outlives its process.
    attach(ebpf, &loaded.kernel.btf, options)?;
    Ok((maps, loaded))
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
