//! An RPM package, written by rpmbuild from a spec file without a build.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::{Build, VERSION, contents, remove_directory};
use crate::command::quietly;

/// The scripts expect dpkg's arguments, and rpm passes the number of installed versions instead.
const SCRIPTS: [(&str, &str, &str); 4] = [
    (
        "pre",
        "preinst",
        // rpm does not pass the earlier version; its program is still there.
        "if [ \"$1\" -gt 1 ]; then set -- upgrade \"$(/usr/sbin/vctl-agent --version | cut -d ' ' -f 2)\"; \
         else set -- install; fi",
    ),
    (
        "post",
        "postinst",
        "if [ \"$1\" -gt 1 ]; then set -- configure earlier; else set -- configure; fi",
    ),
    (
        "preun",
        "prerm",
        "if [ \"$1\" -eq 0 ]; then set -- remove; else set -- upgrade; fi",
    ),
    (
        "postun",
        "postrm",
        "if [ \"$1\" -eq 0 ]; then set -- remove; else set -- upgrade; fi",
    ),
];

/// Writes the package, and returns the name of its file.
pub(super) fn write(build: &Build) -> Result<String> {
    let package = build.package;
    let root = build.work.join("rpm");
    let top = build.work.join("rpmbuild");
    remove_directory(&root)?;
    remove_directory(&top)?;
    fs::create_dir_all(&top)?;
    let paths = contents::stage(build, &root, place)?;
    let spec = top.join("package.spec");
    fs::write(&spec, text(build, &root, &paths)?)?;
    let name = format!(
        "{}-{VERSION}-1.{}.rpm",
        package.name,
        std::env::consts::ARCH
    );
    let compression = if build.is_small {
        "w9.xzdio"
    } else {
        "w1.gzdio"
    };
    let out = build.out.to_str().context("the directory is not UTF-8")?;
    let top = top.to_str().context("the directory is not UTF-8")?;
    let mut rpmbuild = build.command("rpmbuild");
    rpmbuild.arg("-bb").arg("--target");
    rpmbuild.arg(format!("{}-linux", std::env::consts::ARCH));
    for (name, value) in [
        ("_topdir", top),
        ("_tmppath", top),
        ("_rpmdir", out),
        (
            "_build_name_fmt",
            "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
        ),
        ("_binary_payload", compression),
        ("_buildhost", "vctl"),
        ("use_source_date_epoch_as_buildtime", "1"),
        ("clamp_mtime_to_source_date_epoch", "1"),
        ("source_date_epoch_from_changelog", "0"),
        // The files are as they are to be installed.
        ("__os_install_post", "%{nil}"),
        ("debug_package", "%{nil}"),
        ("_build_id_links", "none"),
    ] {
        rpmbuild.arg("--define").arg(format!("{name} {value}"));
    }
    quietly(rpmbuild.arg(&spec))?;
    Ok(name)
}

/// Returns where the file goes: Debian's zsh reads another directory than that of other distributions.
fn place(path: &str) -> String {
    path.replace("/zsh/vendor-completions/", "/zsh/site-functions/")
}

fn text(build: &Build, root: &Path, paths: &[String]) -> Result<String> {
    let package = build.package;
    let (summary, lines) = package.description()?;
    let mut text = format!(
        "Name: {}\nVersion: {VERSION}\nRelease: 1\nSummary: {summary}\nLicense: MIT\n\
         URL: https://github.com/ghdwlsgur/vctl\n%description\n{}\n\
         %install\nmkdir -p %{{buildroot}}\ncp -a '{}/.' %{{buildroot}}/\n",
        package.name,
        lines.join("\n"),
        root.display()
    );
    for (section, name, arguments) in SCRIPTS {
        if let Some(script) = package.script(name)? {
            let script = script.replace('%', "%%");
            let _ = writeln!(text, "%{section}\n{arguments}\n{script}");
        }
    }
    text.push_str("%files\n%defattr(-,root,root)\n");
    for directory in own_directories(paths, package.name) {
        let _ = writeln!(text, "%dir \"/{directory}\"");
    }
    for path in paths {
        let _ = writeln!(text, "\"/{path}\"");
    }
    Ok(text)
}

/// Returns the directories that no other package has. rpm removes only a directory that the package lists.
fn own_directories(paths: &[String], name: &str) -> BTreeSet<String> {
    let top = format!("usr/share/doc/{name}");
    let parents = paths
        .iter()
        .flat_map(|path| Path::new(path).ancestors().skip(1));
    let own = parents.filter(|directory| directory.starts_with(&top));
    own.map(|directory| directory.display().to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_owns_its_directories_of_documents() {
        let paths = [
            "usr/bin/a",
            "usr/share/doc/a/b",
            "usr/share/doc/a/c/d/e",
            "usr/share/doc/ab/f",
        ];
        let directories = own_directories(&paths.map(str::to_owned), "a");
        let wanted = [
            "usr/share/doc/a",
            "usr/share/doc/a/c",
            "usr/share/doc/a/c/d",
        ];
        assert_eq!(directories, wanted.map(str::to_owned).into());
    }
}
