//! `cargo xtask third-party`: proves that a crate in `cli/third_party` is the published one with our patches.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::{self, cargo, say};
use crate::sha256;

/// The directory of carried crates. Their files are not formatted or checked.
pub(crate) const PLACE: &str = "cli/third_party";

const PATCHES: &str = "docs/upstream";

const SCRATCH: &str = "target/third-party";

/// A crate that is built from this repository until a release contains our changes.
pub(crate) struct Carried {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// Features that vctl uses, as in the root `Cargo.toml`.
    features: &'static str,
    /// SHA-256 of the published `.crate`.
    sha256: &'static str,
    /// Parts of the published crate that no build needs.
    left_out: &'static [&'static str],
    /// Files in `docs/upstream`, in the order in which they apply.
    patches: &'static [&'static str],
}

pub(crate) const CARRIED: &[Carried] = &[RUSSH, ASYNC_NATS];

const RUSSH: Carried = Carried {
    name: "russh",
    version: "0.65.1",
    features: "\"ring\", \"rsa\"",
    sha256: "94be3d86c71b9ed220a675c405e35c7a02565a009bf8da2e9cc13a700320a5c5",
    left_out: &["Cargo.lock", "benches", "examples", "tests"],
    patches: &[
        "russh-channel-window.patch",
        "russh-write-while-reading.patch",
        "russh-auth-one-flight.patch",
        "russh-channel-behind-auth.patch",
        "russh-carried.patch",
    ],
};

const ASYNC_NATS: Carried = Carried {
    name: "async-nats",
    version: "0.51.0",
    features: "\"jetstream\", \"nkeys\", \"ring\", \"server_2_10\", \"server_2_11\", \"server_2_12\"",
    sha256: "a4f92759f418774b78c36ef07885849150ce950c67d9bcdeff8a9c253f57d9a1",
    left_out: &[
        ".cargo-feature-check.sh",
        ".cargo-hack-check.sh",
        "CHANGELOG.md",
        "Cargo.lock",
        "benches",
        "dependencies.md",
        "examples",
        "tests",
    ],
    patches: &["async-nats-carried.patch"],
};

#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Write the directories again instead of comparing them
    #[arg(long)]
    write: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    every_patch_is_listed()?;
    let page = fs::read_to_string(Path::new(PLACE).join("README.md"))?;
    for carried in CARRIED {
        let directory = Path::new(PLACE).join(carried.name);
        let wanted = carried.recreate()?;
        if options.write {
            if directory.exists() {
                fs::remove_dir_all(&directory)?;
            }
            copy(&wanted, &directory)?;
        }
        let mut problems = differences(&read_tree(&wanted)?, &read_tree(&directory)?);
        problems.extend(carried.problems_of(&page, &fs::read_to_string("Cargo.lock")?));
        for problem in &problems {
            say(&format!("{}: {problem}", directory.display()));
        }
        ensure!(
            problems.is_empty(),
            "`{}` is not {} {} with the patches of `{PATCHES}`: {} problems",
            directory.display(),
            carried.name,
            carried.version,
            problems.len()
        );
        say(&format!(
            "third-party: `{}` is {} {} with {} patches",
            directory.display(),
            carried.name,
            carried.version,
            carried.patches.len()
        ));
    }
    Ok(())
}

impl Carried {
    /// Unpacks the published crate and applies our patches. Returns the directory.
    fn recreate(&self) -> Result<PathBuf> {
        let archive = self.archive()?;
        let bytes = fs::read(&archive)?;
        let sum = sha256::of(&bytes);
        ensure!(
            sum == self.sha256,
            "`{}` has the SHA-256 {sum}, not {}",
            archive.display(),
            self.sha256
        );
        let scratch = Path::new(SCRATCH).join("unpacked");
        if scratch.exists() {
            fs::remove_dir_all(&scratch)?;
        }
        fs::create_dir_all(&scratch)?;
        let mut tar = Command::new("tar");
        tar.arg("-xzf").arg(&archive).arg("-C").arg(&scratch);
        command::run(&mut tar)?;
        let unpacked = scratch.join(format!("{}-{}", self.name, self.version));
        for name in self.left_out {
            let path = unpacked.join(name);
            if path.is_dir() {
                fs::remove_dir_all(&path)?;
            } else {
                fs::remove_file(&path).with_context(|| format!("cannot leave out `{name}`"))?;
            }
        }
        for patch in self.patches {
            let mut apply = Command::new("patch");
            apply
                .args(["--strip=2", "--fuzz=0", "--silent"])
                .args(["--no-backup-if-mismatch", "--directory"])
                .arg(&unpacked)
                .arg("--input")
                .arg(fs::canonicalize(Path::new(PATCHES).join(patch))?);
            command::run(&mut apply)?;
        }
        Ok(unpacked)
    }

    /// Returns the published `.crate` from cargo's cache.
    fn archive(&self) -> Result<PathBuf> {
        if let Some(archive) = self.downloaded()? {
            return Ok(archive);
        }
        let manifest = self.scratch_manifest(self.version)?;
        let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let mut fetch = cargo(&["fetch", "--target", &target, "--manifest-path"]);
        command::run(fetch.arg(manifest))?;
        let archive = self.downloaded()?;
        archive.with_context(|| format!("cargo's cache has no `.crate` of {}", self.name))
    }

    fn downloaded(&self) -> Result<Option<PathBuf>> {
        let file = format!("{}-{}.crate", self.name, self.version);
        let cache = cargo_home()?.join("registry/cache");
        let Ok(registries) = fs::read_dir(cache) else {
            return Ok(None);
        };
        let mut archives = registries.flatten().map(|each| each.path().join(&file));
        Ok(archives.find(|archive| archive.exists()))
    }

    /// Writes a package that depends only on the published crate, with the versions of our lock
    /// file.
    pub(crate) fn scratch_manifest(&self, version: &str) -> Result<PathBuf> {
        let package = Path::new(SCRATCH).join(format!("published-{}", self.name));
        fs::create_dir_all(package.join("src"))?;
        fs::write(package.join("src/lib.rs"), "")?;
        fs::copy("Cargo.lock", package.join("Cargo.lock"))?;
        let manifest = package.join("Cargo.toml");
        let text = format!(
            "[package]\nname = \"published-{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
             license = \"MIT\"\npublish = false\n\n[dependencies]\n{name} = {{ version = \"={version}\", \
             default-features = false, features = [{}] }}\n\n[workspace]\n",
            self.features,
            name = self.name,
        );
        fs::write(&manifest, text)?;
        Ok(manifest)
    }

    /// Compares the page and the lock file with the carried crate.
    fn problems_of(&self, page: &str, lock: &str) -> Vec<String> {
        let words = [self.name, self.version, self.sha256];
        let words = words.iter().chain(self.left_out).chain(self.patches);
        let mut problems: Vec<_> = words
            .filter(|word| !page.contains(**word))
            .map(|word| format!("`{PLACE}/README.md` does not say `{word}`"))
            .collect();
        let (name, version) = (self.name, self.version);
        let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        let is_built = lock
            .split("[[package]]\n")
            .any(|package| package.starts_with(&entry) && !package.contains("\nsource = "));
        if !is_built {
            problems.push(format!("`Cargo.lock` has {name} {version} from elsewhere"));
        }
        problems
    }
}

fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = std::env::var_os("HOME").context("neither `CARGO_HOME` nor `HOME` is set")?;
    Ok(Path::new(&home).join(".cargo"))
}

/// An unused patch would look as if it were in the binaries.
fn every_patch_is_listed() -> Result<()> {
    for file in fs::read_dir(PATCHES)? {
        let name = file?.file_name().to_string_lossy().into_owned();
        let is_patch = Path::new(&name).extension().is_some_and(|it| it == "patch");
        let is_listed = CARRIED.iter().any(|each| each.patches.contains(&&*name));
        if is_patch && !is_listed {
            bail!("`{PATCHES}/{name}` belongs to no carried crate");
        }
    }
    Ok(())
}

/// Returns each file below a directory, by its path there.
fn read_tree(directory: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(next) = waiting.pop() {
        let entries = fs::read_dir(&next);
        for entry in entries.with_context(|| format!("cannot read `{}`", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                files.insert(path.strip_prefix(directory)?.to_owned(), fs::read(&path)?);
            }
        }
    }
    Ok(files)
}

fn differences(
    wanted: &BTreeMap<PathBuf, Vec<u8>>,
    found: &BTreeMap<PathBuf, Vec<u8>>,
) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, bytes) in wanted {
        match found.get(path) {
            None => problems.push(format!("`{}` is missing", path.display())),
            Some(other) if other != bytes => {
                problems.push(format!("`{}` differs", path.display()));
            }
            Some(_) => {}
        }
    }
    let added = found.keys().filter(|path| !wanted.contains_key(*path));
    problems.extend(added.map(|path| format!("`{}` is not in the crate", path.display())));
    problems
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for (path, bytes) in read_tree(from)? {
        let path = to.join(path);
        fs::create_dir_all(path.parent().unwrap_or(to))?;
        fs::write(path, bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = files.iter();
        files
            .map(|(path, text)| (path.into(), text.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn a_changed_missing_or_added_file_is_named() {
        let wanted = tree(&[("a.rs", "a"), ("b.rs", "b")]);
        assert!(differences(&wanted, &wanted).is_empty());
        let found = tree(&[("a.rs", "x"), ("c.rs", "c")]);
        assert_eq!(
            differences(&wanted, &found),
            [
                "`a.rs` differs",
                "`b.rs` is missing",
                "`c.rs` is not in the crate"
            ]
        );
    }

    #[test]
    fn a_lock_file_that_takes_the_registrys_crate_is_named() {
        let carried = &CARRIED[0];
        let mut page = [carried.name, carried.version, carried.sha256].join(" ");
        page += &carried.left_out.join(" ");
        page += &carried.patches.join(" ");
        let entry = "[[package]]\nname = \"russh\"\nversion = \"0.65.1\"\n";
        assert!(carried.problems_of(&page, entry).is_empty());
        let registry = format!("{entry}source = \"registry+x\"\n");
        assert_eq!(carried.problems_of(&page, &registry).len(), 1);
        assert_eq!(carried.problems_of("russh 0.65.1", entry).len(), 10);
    }
}
