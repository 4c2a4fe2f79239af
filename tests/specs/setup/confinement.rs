//! The AppArmor rule and the SELinux module for a confined sshd: the tools of each accept them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/audit")
        .join(path)
}

#[test]
fn a_profile_of_sshd_with_the_apparmor_rule_compiles() {
    let work = tempfile::tempdir().unwrap();
    let profile = work.path().join("sshd");
    let include = "include <abstractions/vctl-stamp>";
    let own = fs::read_to_string(shipped("apparmor.d/abstractions/vctl-stamp")).unwrap();
    assert!(own.contains(include), "{own}");
    let text = format!("profile sshd /usr/sbin/sshd {{\n  {include}\n}}\n");
    fs::write(&profile, text).unwrap();
    let compile = |base: &Path| {
        let mut parser = Command::new("apparmor_parser");
        // Neither the kernel nor a cache takes it.
        parser.args(["--skip-kernel-load", "--skip-cache", "--base"]);
        parser.arg(base).arg(&profile).output().unwrap()
    };
    let output = compile(&shipped("apparmor.d"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    // The rule itself is compiled: another text in its place is refused.
    let wrong = work.path().join("abstractions");
    fs::create_dir(&wrong).unwrap();
    fs::write(wrong.join("vctl-stamp"), own.replace("Ux,", "Ux")).unwrap();
    assert!(!compile(work.path()).status.success());
}

#[test]
fn the_selinux_module_compiles_as_its_first_lines_say() {
    let work = tempfile::tempdir().unwrap();
    let name = "vctl_stamp.te";
    let source = fs::read_to_string(shipped("selinux").join(name)).unwrap();
    fs::write(work.path().join(name), &source).unwrap();
    let commands = source.lines().filter_map(|line| line.strip_prefix("#   "));
    let mut ran = 0;
    for command in commands.filter(|command| !command.starts_with("semodule -i")) {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(work.path());
        let output = shell.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {errors}");
        ran += 1;
    }
    assert_eq!(ran, 2);
    assert!(work.path().join("vctl_stamp.pp").exists());
}
