//! `cargo xtask ebpf`: builds the probe, and proves that the committed object matches its source.
//!
//! The object is committed so that the agent can be built without a BPF toolchain.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use object::build::elf::{Builder, SectionData};
use object::read::elf::{ElfFile64, FileHeader};
use object::{Endianness, Object, ObjectSection};

use crate::command::{self, as_root, say};

const OBJECT: &str = "agent/ebpf/vctl-probe.o";
const TOOLCHAIN: &str = "agent/ebpf/toolchain.txt";
const TARGET: &str = "bpfel-unknown-none";
const LINKER_VERSION: &str = "0.13.0";
/// Debian's own Rust with its core sources, and the LLVM that it is built with.
const DEBIAN: [&str; 5] = [
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "llvm-22-dev",
    "libpolly-22-dev",
];

#[derive(clap::Subcommand)]
pub(crate) enum Task {
    /// Build the probe and write it to the file that the agent embeds
    Build,
    /// Build the probe and compare it with the committed one
    Check {
        /// Install Debian's BPF toolchain first if it is missing
        #[arg(long)]
        install: bool,
    },
}

pub(crate) fn run(task: &Task) -> Result<()> {
    match task {
        Task::Build => {
            let toolchain = Toolchain::find()?;
            let built = toolchain.build()?;
            fs::write(OBJECT, &built)?;
            fs::write(TOOLCHAIN, &toolchain.version)?;
            say(&format!("Wrote {OBJECT} ({} bytes).", built.len()));
            Ok(())
        }
        Task::Check { install } => {
            if *install {
                self::install()?;
            }
            check(&Toolchain::find()?)
        }
    }
}

fn check(toolchain: &Toolchain) -> Result<()> {
    let committed = fs::read(OBJECT).with_context(|| format!("cannot read {OBJECT}"))?;
    let recorded =
        fs::read_to_string(TOOLCHAIN).with_context(|| format!("cannot read {TOOLCHAIN}"))?;
    let built = toolchain.build()?;
    if recorded == toolchain.version {
        ensure!(
            built == reproducible(&committed)?,
            "{OBJECT} does not match agent-ebpf/; run `cargo xtask ebpf build` and commit it"
        );
        say("The committed probe matches its source, byte for byte.");
        return Ok(());
    }
    say(&format!(
        "This toolchain differs from the recorded one:\n{recorded}---\n{}",
        toolchain.version
    ));
    let (ours, theirs) = (loaded_parts(&built)?, loaded_parts(&committed)?);
    for (name, bytes) in &theirs {
        ensure!(
            ours.get(name) == Some(bytes),
            "section `{name}` of {OBJECT} does not match agent-ebpf/"
        );
    }
    ensure!(
        ours.len() == theirs.len(),
        "{OBJECT} lacks a section of agent-ebpf/"
    );
    say("The committed probe has the same instructions, maps and types as its source.");
    Ok(())
}

/// Returns the sections that the kernel reads: programs, maps, constants, types. The source
/// positions of instructions are left out, because they differ between compilers.
fn loaded_parts(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>> {
    let file = ElfFile64::<Endianness>::parse(bytes)?;
    ensure!(
        file.elf_header().e_machine(Endianness::Little) == object::elf::EM_BPF,
        "not a BPF object"
    );
    let mut parts = BTreeMap::new();
    for section in file.sections() {
        let name = section.name()?;
        let source_places = name.contains(".BTF.ext") || name.contains(".debug");
        let bookkeeping = [".strtab", ".symtab"].contains(&name);
        if !source_places && !bookkeeping {
            parts.insert(name.to_owned(), section.data()?.to_vec());
        }
    }
    Ok(parts)
}

/// A compiler for BPF: a nightly of rustup, or Debian's Rust with nightly features enabled.
struct Toolchain {
    rustc: PathBuf,
    cargo: PathBuf,
    version: String,
}

impl Toolchain {
    fn find() -> Result<Self> {
        let linker = output(Command::new("bpf-linker").arg("--version")).context(
            "bpf-linker is missing: `cargo xtask ebpf check --install`, or install a released one",
        )?;
        let debian = Path::new("/usr/bin/rustc");
        let (rustc, cargo) = if debian.exists() {
            (debian.to_owned(), PathBuf::from("/usr/bin/cargo"))
        } else {
            let which = |tool: &str| -> Result<PathBuf> {
                let path =
                    output(Command::new("rustup").args(["which", "--toolchain", "nightly", tool]))
                        .context(
                            "neither Debian's Rust nor a nightly with rust-src is installed",
                        )?;
                Ok(path.trim().into())
            };
            (which("rustc")?, which("cargo")?)
        };
        let version = output(Command::new(&rustc).arg("--version"))?;
        Ok(Self {
            rustc,
            cargo,
            version: format!("{version}{linker}"),
        })
    }

    /// Builds the probe and removes debugging data.
    fn build(&self) -> Result<Vec<u8>> {
        let root = std::env::current_dir()?;
        let sysroot = output(Command::new(&self.rustc).args(["--print", "sysroot"]))?;
        let sources = Path::new(sysroot.trim()).join("lib/rustlib/src/rust");
        // Debian's is a link; the compiler uses both names.
        let real_sources =
            fs::canonicalize(&sources).context("the toolchain has no sources of `core`")?;
        let cargo_home = std::env::var_os("CARGO_HOME").map_or_else(
            || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cargo"),
            PathBuf::from,
        );
        // Paths of this machine would make every build different.
        let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
        // The name of the directory depends on the registry's address.
        command::run(
            Command::new(&self.cargo)
                .args(["fetch", "--locked", "--quiet"])
                .current_dir("agent-ebpf")
                .env("RUSTC", &self.rustc),
        )?;
        let downloaded = fs::read_dir(cargo_home.join("registry/src"))?;
        let downloaded: Vec<_> = downloaded
            .map(|entry| Ok(remap(&entry?.path(), "crates")))
            .collect::<Result<_>>()?;
        let mut flags = vec![
            "-Cdebuginfo=2".to_owned(),
            // Atomic operations that return a value need the third instruction set.
            "-Ctarget-cpu=v3".to_owned(),
            "-Clink-arg=--btf".to_owned(),
            remap(&root, "vctl"),
            remap(&cargo_home, "cargo"),
            remap(&sources, "rust"),
            remap(&real_sources, "rust"),
        ];
        // Last, because the last match counts.
        flags.extend(downloaded);
        let target = root.join("target/ebpf");
        command::run(
            Command::new(&self.cargo)
                .args([
                    "build",
                    "--release",
                    "--locked",
                    "--target",
                    TARGET,
                    "-Zbuild-std=core",
                ])
                .current_dir("agent-ebpf")
                .env("RUSTC", &self.rustc)
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
                .env("CARGO_TARGET_DIR", &target)
                .env_remove("RUSTFLAGS")
                .env_remove("RUSTUP_TOOLCHAIN"),
        )?;
        let object = target.join(TARGET).join("release/vctl-probe");
        reproducible(&fs::read(object)?)
    }
}

/// Removes parts that differ between directories, and debugging data.
fn reproducible(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(bytes)?;
    for symbol in &mut builder.symbols {
        symbol.name = without_crate_hashes(&symbol.name).into();
    }
    for section in &mut builder.sections {
        let name = section.name.to_string();
        section.delete = name.starts_with(".debug") || name.starts_with(".rel.debug");
    }
    // LLVM stores section names among the symbol names; the builder writes them separately.
    let is_names = |data: &SectionData<'_>| matches!(data, SectionData::SectionString);
    if !builder
        .sections
        .iter()
        .any(|section| is_names(&section.data))
    {
        let names = builder.sections.add();
        names.name = ".shstrtab".into();
        names.sh_type = object::elf::SHT_STRTAB;
        names.data = SectionData::SectionString;
    }
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}

/// Removes the hash of each crate from a mangled name: cargo computes it from, among others, the
/// directory of `common`, which is not in the probe's own workspace.
///
/// The result is still a mangled name: `Cs<hash>_<crate>` becomes `C<crate>`.
fn without_crate_hashes(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        plain.push(byte);
        rest = after;
        if byte != b'C' || !name.starts_with(b"_R") {
            continue;
        }
        let hash = after.strip_prefix(b"s").and_then(|hash| {
            let end = hash.iter().position(|byte| !byte.is_ascii_alphanumeric())?;
            (hash[end] == b'_' && hash.get(end + 1)?.is_ascii_digit()).then_some(&hash[end + 1..])
        });
        rest = hash.unwrap_or(after);
    }
    plain
}

fn install() -> Result<()> {
    if !Path::new("/usr/lib/llvm-22").exists() || !Path::new("/usr/lib/rustlib/src/rust").exists() {
        if !Path::new("/usr/bin/apt-get").exists() {
            bail!("install a nightly Rust with rust-src and a released bpf-linker");
        }
        command::run(as_root("apt-get").args(["update", "-q"]))?;
        command::run(
            as_root("apt-get")
                .args(["install", "-q", "--yes", "--no-install-recommends"])
                .args(DEBIAN),
        )?;
    }
    if output(Command::new("bpf-linker").arg("--version")).is_err() {
        command::run(
            command::cargo(&[
                "install",
                "bpf-linker",
                "--locked",
                "--version",
                LINKER_VERSION,
            ])
            .args(["--no-default-features", "--features", "llvm-22"])
            .env("LLVM_PREFIX", "/usr/lib/llvm-22"),
        )?;
    }
    Ok(())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "`{:?}` ended with {}",
        command,
        output.status
    );
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::without_crate_hashes;

    #[test]
    fn a_name_is_the_same_whatever_directory_it_was_built_in() {
        let plain = b"_RNvNtC10vctl_probe7session5count".to_vec();
        let builds: [&[u8]; 3] = [
            b"_RNvNtCskMmNTA3156K_10vctl_probe7session5count",
            b"_RNvNtCs61fRHNfLzLz_10vctl_probe7session5count",
            &plain,
        ];
        for built in builds {
            assert_eq!(without_crate_hashes(built), plain);
        }
    }

    #[test]
    fn what_is_no_mangled_name_stays() {
        for name in [&b"Cs1_2"[..], b"process_exec", b"_RC", b"_RCs", b"_RCsab"] {
            assert_eq!(without_crate_hashes(name), name);
        }
    }
}
