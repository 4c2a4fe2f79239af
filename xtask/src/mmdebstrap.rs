//! The roots of Debian that tasks make with mmdebstrap.

use std::process::Command;

use crate::command::as_root;

/// Debian's archive.
pub(crate) const MIRROR: &str = "http://deb.debian.org/debian";

/// Returns a command for a root with these packages, without manuals, documents and translations. The release and the
/// place of the root are still missing.
pub(crate) fn small_root(packages: &str) -> Command {
    let mut make = as_root("mmdebstrap");
    make.args(["--quiet", "--variant=minbase", "--mode=root"])
        .arg(format!("--include={packages}"))
        .arg("--dpkgopt=path-exclude=/usr/share/man/*")
        .arg("--dpkgopt=path-exclude=/usr/share/doc/*")
        .arg("--dpkgopt=path-exclude=/usr/share/locale/*");
    make
}

/// Returns the option for an initial file system with these modules only: that with the modules of every machine is ten
/// times larger. `name` is that of the configuration file in the root.
pub(crate) fn initial_modules(name: &str, modules: &[&str]) -> String {
    let modules = modules.join("\\n");
    format!(
        "--essential-hook=mkdir -p \"$1/etc/initramfs-tools/conf.d\"\n\
         echo MODULES=list > \"$1/etc/initramfs-tools/conf.d/{name}\"\n\
         printf '{modules}\\n' >> \"$1/etc/initramfs-tools/modules\""
    )
}
