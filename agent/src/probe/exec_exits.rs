//! The probes at the exit of the kernel's functions for execve(2) and execveat(2).
//!
//! They see failed execs, and other system calls cost nothing more. So they are always attached. A kernel may refuse
//! them (without ftrace; arm64 before 6.4), or may accept them and never run them (`kernel.ftrace_enabled=0`, functions
//! that the compiler has inlined). So they are used only after a failed exec has been recorded through them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::programs::FExit;
use aya::programs::links::{FdLink, PinnedLink};

use super::ProbeError;

/// The one program of the object. It is loaded once for each function.
const PROGRAM: &str = "exec_exit";

/// The functions of execve and execveat, by table of system calls; the native table is first. Their internal callees
/// are inlined or renamed by compilers.
#[cfg(target_arch = "x86_64")]
const TABLES: [[&str; 2]; 3] = [
    ["__x64_sys_execve", "__x64_sys_execveat"],
    ["__ia32_compat_sys_execve", "__ia32_compat_sys_execveat"],
    ["__x64_compat_sys_execve", "__x64_compat_sys_execveat"],
];
#[cfg(target_arch = "aarch64")]
const TABLES: [[&str; 2]; 2] = [
    ["__arm64_sys_execve", "__arm64_sys_execveat"],
    ["__arm64_compat_sys_execve", "__arm64_compat_sys_execveat"],
];

/// The sysctl that turns off all probes on functions, also those that are attached.
const FTRACE: &str = "/proc/sys/kernel/ftrace_enabled";

/// Returns the functions of the kernel with this type information.
pub(super) fn functions(btf: &[u8]) -> Vec<&'static str> {
    let has =
        |function: &str| memchr::memmem::find(btf, format!("\0{function}\0").as_bytes()).is_some();
    let [native, others @ ..] = TABLES;
    let others = others.into_iter().filter(|[execve, _]| has(execve));
    std::iter::once(native).chain(others).flatten().collect()
}

/// Returns the functions of the native table, which every kernel has.
pub(super) fn native() -> [&'static str; 2] {
    let [native, ..] = TABLES;
    native
}

/// Returns the number of scratch spaces that the programs for these functions need: the index of the last table's.
pub(super) fn scratch_count(functions: &[&str]) -> u32 {
    let is_used = |table: &&[&str; 2]| functions.contains(&table[0]);
    let last = TABLES
        .iter()
        .rposition(|table| is_used(&table))
        .unwrap_or(0);
    2 * u32::try_from(last + 1).unwrap_or(1)
}

/// Returns whether the kernel runs probes on functions at present.
pub(super) fn is_ftrace_on(root: &Path) -> bool {
    let text = fs::read_to_string(root.join(FTRACE.trim_start_matches('/')));
    text.map_or(true, |text| text.trim() != "0")
}

/// Probes that are attached, and held.
#[derive(Default)]
pub(super) struct ExecExits {
    pub(super) programs: Vec<FExit>,
    pub(super) links: Vec<(&'static str, FdLink)>,
}

impl ExecExits {
    /// Loads and attaches the probes. With a directory it pins the programs there, but not the links: without
    /// [`Self::pin`] the probes end with this process.
    ///
    /// # Errors
    /// The kernel refuses a probe. Pins of programs stay: see [`remove`].
    pub(super) fn attach(
        ebpf: &mut Ebpf,
        btf: &aya::Btf,
        functions: &[&'static str],
        dir: Option<&Path>,
    ) -> Result<Self, ProbeError> {
        let mut exits = Self::default();
        for &name in functions {
            let failed = |source| ProbeError::Attach { name, source };
            let program: &mut FExit = ebpf
                .program_mut(PROGRAM)
                .and_then(|program| program.try_into().ok())
                .ok_or(ProbeError::Object { name: PROGRAM })?;
            program.load(name, btf).map_err(failed)?;
            let link = program.attach().and_then(|id| program.take_link(id));
            let pinned = dir.map(|dir| program.pin(program_path(dir, name)));
            // The link keeps the program in the kernel.
            program.unload().map_err(failed)?;
            exits.links.push((name, link.map_err(failed)?.into()));
            pinned
                .transpose()
                .map_err(|source| ProbeError::Pin { name, source })?;
            if let Some(dir) = dir {
                let program = FExit::from_pin(program_path(dir, name));
                exits.programs.push(program.map_err(failed)?);
            }
        }
        Ok(exits)
    }

    /// Pins the links, so that the probes continue without the agent.
    pub(super) fn pin(self, dir: &Path) -> Result<Self, ProbeError> {
        let mut links = Vec::new();
        for (name, link) in self.links {
            let pinned = link.pin(link_path(dir, name));
            let pinned = pinned.map_err(|source| ProbeError::Pin { name, source })?;
            links.push((name, pinned.into()));
        }
        Ok(Self { links, ..self })
    }

    /// Opens the pinned probes.
    ///
    /// # Errors
    /// One of them is not pinned any more.
    pub(super) fn open(dir: &Path) -> Result<Self, ProbeError> {
        let mut exits = Self::default();
        let [native, others @ ..] = TABLES;
        let others = others.into_iter().flatten();
        let others = others.filter(|name| program_path(dir, name).exists());
        for name in native.into_iter().chain(others) {
            let program = FExit::from_pin(program_path(dir, name));
            exits
                .programs
                .push(program.map_err(|source| ProbeError::Attach { name, source })?);
            let link = PinnedLink::from_pin(link_path(dir, name));
            let link = link.map_err(|source| ProbeError::Link { name, source })?;
            exits.links.push((name, link.into()));
        }
        Ok(exits)
    }
}

/// Pins a program again if its pin was removed, and returns the name of that pin.
pub(super) fn restore(
    program: &mut FExit,
    function: &'static str,
    dir: &Path,
) -> Result<Option<String>, ProbeError> {
    let path = program_path(dir, function);
    if path.exists() {
        return Ok(None);
    }
    let name = format!("prog_{function}");
    match program.pin(path) {
        Ok(()) => Ok(Some(name)),
        Err(source) => Err(ProbeError::Pin {
            name: function,
            source,
        }),
    }
}

/// Removes the pins of all probes; links go first.
///
/// # Errors
/// Those of unlink(2), except for a missing name.
pub(super) fn remove(dir: &Path) -> Result<(), ProbeError> {
    for path in [link_path, program_path] {
        for name in TABLES.iter().flatten() {
            match fs::remove_file(path(dir, name)) {
                Err(source) if source.kind() != ErrorKind::NotFound => {
                    let dir = dir.to_owned();
                    return Err(ProbeError::Pins { dir, source });
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn program_path(dir: &Path, function: &str) -> PathBuf {
    dir.join(format!("prog_{function}"))
}

fn link_path(dir: &Path, function: &str) -> PathBuf {
    dir.join(format!("link_{function}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<u8> {
        format!("\0{}\0", names.join("\0")).into_bytes()
    }

    #[test]
    fn only_tables_that_the_kernel_has_are_watched() {
        let native = TABLES[0];
        assert_eq!(functions(&strings(&[])), native);
        // A function with this name in its own is another one.
        let other = TABLES[1][0];
        assert_eq!(functions(&strings(&[&format!("x{other}")])), native);
        let found = functions(&strings(&[other]));
        assert_eq!(found, [TABLES[0], TABLES[1]].concat());
        assert_eq!((scratch_count(&native), scratch_count(&found)), (2, 4));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_kernel_with_only_the_x32_table_has_all_scratch() {
        let found = functions(&strings(&["__x64_compat_sys_execve"]));
        assert_eq!((found.len(), scratch_count(&found)), (4, 6));
    }

    #[test]
    fn ftrace_counts_as_on_unless_it_is_off() {
        let root = tempfile::tempdir().unwrap();
        assert!(is_ftrace_on(root.path()));
        let file = root.path().join(FTRACE.trim_start_matches('/'));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        for (text, is_on) in [("1\n", true), ("0\n", false)] {
            fs::write(&file, text).unwrap();
            assert_eq!(is_ftrace_on(root.path()), is_on);
        }
    }
}
