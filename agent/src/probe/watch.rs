//! Holds the pinned objects, and notices removed or replaced pins.
//!
//! The agent holds a descriptor of each link. A link whose pin is removed stays attached while an
//! agent runs, and is pinned again. Removing all pins is a deliberate end and is not undone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aya::maps::{MapData, MapInfo};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{BtfTracePoint, ProgramInfo};
use vctl_common::status::{SkipBase, SkipBases};

use super::ProbeError;
use super::maps;
use super::object::PROGRAMS;
use super::second_copies::{self, DOUBLED, Doubled};
use super::skips::{CopySkips, skipped};

/// Files of the links that are always attached.
pub const PINNED_LINKS: [&str; 4] = [
    "link_process_fork",
    "link_process_exit",
    "link_process_exec",
    "link_cgroup_attach",
];

/// Result of checking the pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pins {
    Whole,
    /// All pins are removed: the probe was detached.
    Gone,
    /// These pins were removed or replaced, and are restored. With `was_off`, a probe had not been
    /// attached.
    Restored {
        names: Vec<String>,
        was_off: bool,
    },
}

/// The pinned objects of a probe.
pub(super) struct Watch {
    dir: PathBuf,
    links: Vec<Link>,
    programs: Vec<(&'static str, BtfTracePoint)>,
    maps: Vec<(&'static str, MapData)>,
    /// Skips of programs when their second copies were attached.
    skip_bases: Vec<(&'static str, SkipBase)>,
    /// Processes without a mark are recorded too.
    captures_all: bool,
}

struct Link {
    name: &'static str,
    /// `None` once the kernel has detached it.
    link: Option<FdLink>,
}

impl Watch {
    /// Opens the pins in `dir` that are always attached. `skip_bases` are skips of programs when their second copies were
    /// attached.
    pub(super) fn open(
        dir: &Path,
        captures_all: bool,
        skip_bases: Vec<(&'static str, SkipBase)>,
    ) -> Result<Self, ProbeError> {
        let mut watch = Self {
            dir: dir.to_owned(),
            links: Vec::new(),
            programs: Vec::new(),
            maps: Vec::new(),
            skip_bases,
            captures_all,
        };
        for name in attached(dir) {
            let program = BtfTracePoint::from_pin(dir.join(format!("prog_{name}")))
                .map_err(|source| ProbeError::Attach { name, source })?;
            watch.programs.push((name, program));
            let link = PinnedLink::from_pin(link_path(dir, name))
                .map_err(|source| ProbeError::Link { name, source })?;
            let link = Some(FdLink::from(link));
            watch.links.push(Link { name, link });
        }
        for name in maps::names(dir) {
            let map = MapData::from_pin(dir.join(name))
                .map_err(|source| ProbeError::Map { name, source })?;
            watch.maps.push((name, map));
        }
        Ok(watch)
    }

    /// Returns how often the kernel skipped each program that is always attached, with that of its second copy.
    pub(super) fn skips(&self) -> impl Iterator<Item = CopySkips> {
        let count = |name: &str| {
            let (_, program) = self.programs.iter().find(|(of, _)| *of == name)?;
            skipped(program.fd().ok()?).ok()
        };
        let base = |name: &str| self.skip_bases.iter().find(|(of, _)| *of == name);
        PROGRAMS.iter().filter_map(move |(program, _)| {
            let doubled = DOUBLED.iter().find(|doubled| doubled.program == *program);
            Some(CopySkips {
                program,
                first: count(program)?,
                second: doubled.and_then(|doubled| count(doubled.second)),
                base: base(program).map_or_else(SkipBase::default, |(_, base)| *base),
                is_first_alone: self.captures_all
                    && doubled.is_some_and(|doubled| doubled.records_unmarked),
            })
        })
    }

    /// Takes over the counts of an earlier agent, except for second copies that this one has attached.
    pub(super) fn continue_skips(&mut self, known: &SkipBases) {
        for (name, base) in known {
            let doubled = DOUBLED.iter().find(|doubled| doubled.program == name);
            let Some(Doubled { program, .. }) = doubled else {
                continue;
            };
            if self.skip_bases.iter().all(|(of, _)| of != program) {
                self.skip_bases.push((program, *base));
            }
        }
    }

    pub(super) fn skip_bases(&self) -> SkipBases {
        let bases = self.skip_bases.iter();
        bases
            .map(|(program, base)| ((*program).to_owned(), *base))
            .collect()
    }

    /// Closes the links: without their pins, the kernel detaches them.
    pub(super) fn release(&mut self) {
        self.links.clear();
    }

    /// Compares the pins with the held objects, and restores missing pins and links.
    ///
    /// # Errors
    /// A pin could not be restored; the next check tries again.
    pub(super) fn verify(&mut self) -> Result<Pins, ProbeError> {
        let dir = self.dir.clone();
        if is_gone(&dir) {
            return Ok(Pins::Gone);
        }
        let mut names = Vec::new();
        let mut was_off = false;
        for (name, map) in &self.maps {
            let path = dir.join(name);
            let held = map.info().ok().map(|info| info.id());
            if MapInfo::from_pin(&path).ok().map(|info| info.id()) != held {
                make_way(&dir, &path)?;
                map.pin(&path)
                    .map_err(|source| ProbeError::Pin { name, source })?;
                names.push((*name).to_owned());
            }
        }
        for (name, program) in &mut self.programs {
            let path = dir.join(format!("prog_{name}"));
            let held = program.info().ok().map(|info| info.id());
            if ProgramInfo::from_pin(&path).ok().map(|info| info.id()) != held {
                make_way(&dir, &path)?;
                program
                    .pin(&path)
                    .map_err(|source| ProbeError::Pin { name, source })?;
                names.push(format!("prog_{name}"));
            }
        }
        for Link { name, link } in &mut self.links {
            let path = link_path(&dir, name);
            let id = |link: &FdLink| link.info().ok().map(|info| info.id());
            let held = link.as_ref().and_then(id);
            let pinned = PinnedLink::from_pin(&path).ok().map(FdLink::from);
            if held.is_some() && pinned.as_ref().and_then(id) == held {
                continue;
            }
            drop(pinned);
            make_way(&dir, &path)?;
            let whole = if let Some(link) = link.take().filter(|_| held.is_some()) {
                link
            } else {
                was_off = true;
                let mut programs = self.programs.iter_mut();
                let program = programs.find(|(of, _)| of == name);
                let (_, program) = program.ok_or(ProbeError::Object { name })?;
                let attached = program.attach().and_then(|id| program.take_link(id));
                FdLink::from(attached.map_err(|source| ProbeError::Attach { name, source })?)
            };
            // If this fails, the link is lost, and the next check attaches it again.
            let pinned = whole.pin(&path);
            let pinned = pinned.map_err(|source| ProbeError::Pin { name, source })?;
            *link = Some(pinned.into());
            names.push(format!("link_{name}"));
        }
        Ok(if names.is_empty() {
            Pins::Whole
        } else {
            Pins::Restored { names, was_off }
        })
    }
}

/// Returns whether the pins in `dir` belong together: each link to its program, each program to the
/// maps.
pub(super) fn belongs_together(dir: &Path) -> bool {
    let map = |name: &str| Some(MapInfo::from_pin(dir.join(name)).ok()?.id());
    let maps = ["ring", "sessions", "tasks"].map(map);
    attached(dir).all(|name| {
        let Ok(program) = ProgramInfo::from_pin(dir.join(format!("prog_{name}"))) else {
            return false;
        };
        let link = PinnedLink::from_pin(link_path(dir, name)).map(FdLink::from);
        let attached = link.and_then(|link| link.info());
        let used = program.map_ids().ok().flatten();
        let uses = |map: &Option<u32>| {
            map.is_some_and(|id| used.as_ref().is_none_or(|used| used.contains(&id)))
        };
        // Not every program uses every map, but all use the marks.
        attached.is_ok_and(|link| link.program_id() == program.id())
            && uses(&maps[2])
            && maps.iter().all(Option::is_some)
    })
}

fn is_gone(dir: &Path) -> bool {
    !dir.join("state").exists() && attached(dir).all(|name| !link_path(dir, name).exists())
}

/// Returns the names of the programs that are always attached.
fn attached(dir: &Path) -> impl Iterator<Item = &'static str> {
    let first = PROGRAMS.into_iter().map(|(name, _)| name);
    first.chain(second_copies::attached(dir))
}

fn link_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("link_{name}"))
}

/// Removes a file that is in the place of one of our pins.
fn make_way(dir: &Path, path: &Path) -> Result<(), ProbeError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(ProbeError::Pins {
            dir: dir.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}
