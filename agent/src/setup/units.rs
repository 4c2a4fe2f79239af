//! The file that systemd uses for a unit of vctl.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use super::error::SetupError;
use super::host::Host;
use super::journal::{Journal, digest, unreadable};
use super::saved::is_link;
use super::shipped::{TMPFILES_FILE, Unit};
use super::wanted::Wanted;

/// Directories in which packages install units.
const OF_PACKAGES: [&str; 2] = ["/usr/lib/systemd/system", "/lib/systemd/system"];

const OF_ADMINISTRATOR: &str = "/etc/systemd/system";
/// `systemctl mask --runtime` writes here. An image has no such directory.
const OF_THIS_BOOT: &str = "/run/systemd/system";

/// The file of a unit that systemd uses.
pub(super) enum UnitFile {
    OfPackage,
    /// No package has installed it.
    Wanted(Wanted),
    /// It hides that of the package, and does not run vctl-agent: earlier releases had units of these names.
    Foreign {
        path: String,
        /// A link to a file elsewhere, as `systemctl link` makes it.
        is_link: bool,
    },
    /// It hides that of the package, and an earlier setup wrote it, before the package was installed.
    OfSetup(String),
    /// It hides that of the package, and is a user's copy of it.
    OfUser(String),
}

/// Returns the file that systemd uses for a unit.
///
/// # Errors
/// The unit is masked, or its file cannot be read.
pub(super) fn unit_of(
    host: &Host,
    unit: &Unit,
    journal: Option<&Journal>,
) -> Result<UnitFile, SetupError> {
    let path = format!("{OF_ADMINISTRATOR}/{}", unit.name);
    refuse_mask(host, unit)?;
    let is_packaged = |directory: &&str| host.at(&format!("{directory}/{}", unit.name)).exists();
    if !OF_PACKAGES.iter().any(is_packaged) {
        return Ok(UnitFile::Wanted(Wanted::shipped(&path, unit.text)));
    }
    let is_link = is_link(&host.entry(&path)?);
    let real = host.real(&path)?;
    let bytes = match fs::read(&real) {
        Ok(bytes) => bytes,
        // A link without a target hides the package's unit in some versions of systemd.
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_link => Vec::new(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(UnitFile::OfPackage),
        Err(source) => return Err(unreadable(&real, source)),
    };
    if !is_link && is_of_setup(journal, &path, &bytes) {
        return Ok(UnitFile::OfSetup(path));
    }
    let text = String::from_utf8_lossy(&bytes);
    let mut starts = text
        .lines()
        .filter(|line| line.trim_start().starts_with("ExecStart="));
    Ok(if starts.any(|line| line.contains("vctl-agent")) {
        UnitFile::OfUser(path)
    } else {
        UnitFile::Foreign { path, is_link }
    })
}

/// Returns the tmpfiles.d file of an earlier setup, if it hides that of the package.
pub(super) fn hidden_tmpfiles(
    host: &Host,
    journal: Option<&Journal>,
) -> Result<Option<String>, SetupError> {
    let real = host.entry(TMPFILES_FILE)?;
    let is_own = !is_link(&real)
        && fs::read(&real).is_ok_and(|bytes| is_of_setup(journal, TMPFILES_FILE, &bytes));
    Ok(is_own.then(|| TMPFILES_FILE.to_owned()))
}

/// Returns whether the content is as an earlier setup wrote it.
fn is_of_setup(journal: Option<&Journal>, path: &str, bytes: &[u8]) -> bool {
    let wrote = journal.and_then(|journal| journal.wrote(path));
    wrote.is_some_and(|wrote| wrote == digest(bytes))
}

/// Refuses a masked unit: an administrator has decided that it must not start.
fn refuse_mask(host: &Host, unit: &Unit) -> Result<(), SetupError> {
    let of_boot = host
        .is_this_machine()
        .then_some((OF_THIS_BOOT, " --runtime"));
    for (directory, option) in [(OF_ADMINISTRATOR, "")].into_iter().chain(of_boot) {
        let path = format!("{directory}/{}", unit.name);
        if is_mask(&host.entry(&path)?, || host.real(&path))? {
            let root = if host.is_this_machine() {
                String::new()
            } else {
                format!(" --root={}", host.root().display())
            };
            return Err(SetupError::Masked {
                unit: unit.name,
                path,
                fix: format!("systemctl{root} unmask{option} {}", unit.name),
            });
        }
    }
    Ok(())
}

/// Returns whether systemd reads the path as a mask: a link to `/dev/null`, another device, or an empty file.
fn is_mask(
    entry: &Path,
    real: impl Fn() -> Result<PathBuf, SetupError>,
) -> Result<bool, SetupError> {
    // An image may have no /dev/null.
    if fs::read_link(entry).is_ok_and(|target| target == Path::new("/dev/null")) {
        return Ok(true);
    }
    if fs::symlink_metadata(entry).is_err() {
        return Ok(false);
    }
    Ok(fs::metadata(real()?).is_ok_and(|meta| {
        let kind = meta.file_type();
        kind.is_char_device() || kind.is_block_device() || (meta.is_file() && meta.len() == 0)
    }))
}
