//! `cargo xtask release`: refuses a wrong tag and an incomplete set, and a dry run names all that it cannot build.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use vctl_tests::lab::Programs;

fn release(args: &[&str]) -> Output {
    let xtask = Programs::find().unwrap().directory.join("xtask");
    Command::new(xtask)
        .arg("release")
        .args(args)
        .output()
        .unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_tag_of_another_version_is_refused() {
    let version = env!("CARGO_PKG_VERSION");
    for step in ["--check", "--dry-run"] {
        let output = release(&[step, "--tag", "v999.0.0"]);
        assert!(!output.status.success());
        let wanted = format!("expected `v{version}`");
        assert!(errors(&output).contains(&wanted), "{}", errors(&output));
    }
}

#[test]
fn a_release_without_its_parts_names_each_missing_file() {
    let parts = tempfile::tempdir().unwrap();
    let out = parts.path().join("out");
    let tag = concat!("v", env!("CARGO_PKG_VERSION"));
    let [parts, out] = [parts.path(), &out].map(|path| path.to_str().unwrap());
    let output = release(&["--from", parts, "--tag", tag, "--out", out, "--allow-dirty"]);
    assert!(!output.status.success());
    let said = errors(&output);
    assert!(said.contains("-macos-aarch64.tar.gz"), "{said}");
    assert!(said.contains("-linux-x86_64.tar.gz"), "{said}");
}

#[test]
fn a_dry_run_writes_checksums_and_names_the_missing_files() {
    let version = env!("CARGO_PKG_VERSION");
    let programs = Programs::find().unwrap().directory;
    let work = tempfile::tempdir().unwrap();
    let out = work.path().join("files");
    let output = release(&[
        "--dry-run",
        "--allow-dirty",
        "--profile",
        "dev",
        "--formats",
        "deb",
        "--programs",
        programs.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ]);
    let said = errors(&output);
    assert!(output.status.success(), "{said}");
    let names = names(&out);
    let is_deb = |name: &str| {
        Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "deb")
    };
    let debs = names.iter().filter(|name| is_deb(name));
    assert_eq!(debs.count(), 2, "{names:?}");
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--strict", "SHA256SUMS"]);
    let checked = check.current_dir(&out).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let sums = fs::read_to_string(out.join("SHA256SUMS")).unwrap();
    // Each file but the list itself.
    assert_eq!(sums.lines().count(), names.len() - 1, "{sums}");
    let formula = fs::read_to_string(out.join("Formula/vctl.rb")).unwrap();
    assert!(formula.contains(&format!("version \"{version}\"")));
    for line in [
        format!("  vctl-{version}*-macos-aarch64.tar.gz\n"),
        format!("  vctl-{version}*.x86_64.rpm\n"),
        "  image/amd64/vctl\n".to_owned(),
        format!("  the sum of vctl-{version}-linux-x86_64.tar.gz in vctl.rb\n"),
        "  sign SHA256SUMS with the identity of the workflow".to_owned(),
    ] {
        assert!(said.contains(&line), "{line}{said}");
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let files = entries.filter(|entry| entry.path().is_file());
    files
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}
