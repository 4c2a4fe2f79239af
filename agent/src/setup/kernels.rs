//! The kernels of an image: whether the probe can run in each. A host that refuses the probe records no login, and with a
//! strict PAM line it refuses every login.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::error::SetupError;
use super::host::Host;
use crate::probe::kernel::{is_release, is_supported};

/// Options of the kernel's configuration, and what they are.
const NEEDED: [(&str, &str); 2] = [
    ("CONFIG_DEBUG_INFO_BTF=y", "BTF"),
    ("CONFIG_BPF_SYSCALL=y", "BPF"),
];

const MODULES: [&str; 2] = ["/usr/lib/modules", "/lib/modules"];

/// Files in the modules' directory of an installed kernel. Packages of modules leave directories behind without them.
const OF_KERNEL: [&str; 3] = ["kernel", "modules.builtin", "vmlinuz"];

/// A configuration, by its path in the image.
type Configs = Vec<(String, String)>;

/// Refuses an image with a kernel in which the probe cannot run, and with `is_strict` one of which this is unknown.
///
/// Returns the next step for the user, if a kernel is unknown.
pub(super) fn check(host: &Host, is_strict: bool) -> Result<Option<String>, SetupError> {
    let kernels = kernels(host)?;
    if kernels.is_empty() {
        return Ok(Some(
            "the image has no kernel: boot it with Linux 5.15 or newer that has BTF (CONFIG_DEBUG_INFO_BTF=y)".to_owned(),
        ));
    }
    let refused = |id: &'static str, seen: String, fix: &str| SetupError::Host {
        id,
        seen,
        fix: fix.to_owned(),
    };
    let mut next = None;
    for (release, configs) in kernels {
        if !is_supported(&release) {
            let seen = format!("the image has the kernel {release}");
            let fix = "install Linux 5.15 or newer in the image, and remove this kernel";
            return Err(refused("kernel", seen, fix));
        }
        for (path, text) in &configs {
            for (option, what) in NEEDED {
                if text.lines().all(|line| line.trim_end() != option) {
                    let seen =
                        format!("the kernel {release} has no {what}: `{path}` lacks `{option}`");
                    let fix =
                        "install a kernel with these options in the image, and remove this one";
                    return Err(refused("btf", seen, fix));
                }
            }
        }
        if configs.is_empty() {
            let seen = format!("the image has no configuration of its kernel {release}");
            if is_strict {
                let fix = format!(
                    "copy it to /boot/config-{release} in the image, or run `setup --strict` on the booted host"
                );
                return Err(refused("btf", seen, &fix));
            }
            next = Some(format!(
                "{seen}: make sure that it has BTF (CONFIG_DEBUG_INFO_BTF=y)"
            ));
        }
    }
    Ok(next)
}

/// Returns the configurations of each kernel, by release.
fn kernels(host: &Host) -> Result<BTreeMap<String, Configs>, SetupError> {
    let mut kernels = BTreeMap::<String, Configs>::new();
    for name in names(&host.real("/boot")?) {
        let Some((kind, release)) = name.split_once('-') else {
            continue;
        };
        // Not the rescue kernel of Fedora, whose name has no version; its release is among the others.
        if !matches!(kind, "config" | "vmlinuz" | "vmlinux") || !is_release(release) {
            continue;
        }
        let configs = kernels.entry(release.to_owned()).or_default();
        if kind == "config" {
            configs.extend(config(host, format!("/boot/{name}"))?);
        }
    }
    for directory in MODULES {
        for release in names(&host.real(directory)?) {
            let path = format!("{directory}/{release}");
            let is_there = |name: &&str| host.at(&format!("{path}/{name}")).exists();
            if is_release(&release) && OF_KERNEL.iter().any(is_there) {
                let configs = kernels.entry(release).or_default();
                configs.extend(config(host, format!("{path}/config"))?);
            }
        }
    }
    Ok(kernels)
}

/// Returns path and text of a configuration, if it is in the image.
fn config(host: &Host, path: String) -> Result<Option<(String, String)>, SetupError> {
    let real = host.real(&path)?;
    if !real.is_file() {
        return Ok(None);
    }
    let bytes = fs::read(&real);
    Ok(bytes
        .ok()
        .map(|bytes| (path, String::from_utf8_lossy(&bytes).into_owned())))
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
