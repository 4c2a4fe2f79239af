//! The packages of `cargo xtask dist`: they hold the listed files, start nothing, and leave nothing after a purge.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use vctl_tests::lab::Programs;

use super::{SETUP, host};

const NAMES: [&str; 2] = ["vctl", "vctl-agent"];

/// Lists all paths with this name. Labs have such accounts, too.
const NAMED: &str =
    "find /etc /usr /var/lib /run /sys/fs/bpf -path /usr/local -prune -o -name '*vctl*' -print";

/// Returns the directory of the packages, written from the programs of this build.
fn packages() -> &'static Path {
    static WRITTEN: OnceLock<PathBuf> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let programs = Programs::find().unwrap();
        let out = programs.directory.join("dist");
        // Twice, and compared.
        let mut dist = Command::new(programs.directory.join("xtask"));
        dist.args([
            "dist",
            "--profile",
            "dev",
            "--formats",
            "deb,rpm",
            "--check",
            "--programs",
        ]);
        run(dist.arg(&programs.directory).arg("--out").arg(&out));
        out
    })
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}{errors}");
    text
}

fn of_format(name: &str, end: &str) -> PathBuf {
    let begins = [format!("{name}_"), format!("{name}-0")];
    let files = fs::read_dir(packages()).unwrap().flatten();
    let mut files = files.map(|file| file.file_name().into_string().unwrap());
    let found = files
        .find(|file| file.ends_with(end) && begins.iter().any(|begin| file.starts_with(begin)));
    packages().join(found.unwrap_or_else(|| panic!("no {end} of {name}")))
}

/// Returns mode and path of each file in the list of `deploy/packages`.
fn listed(name: &str) -> BTreeSet<(String, String)> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let list = repository
        .join("deploy/packages")
        .join(name)
        .join("contents");
    let text = fs::read_to_string(list).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let fields = lines.map(|line| line.split_whitespace().map(str::to_owned));
    let files = fields.map(|mut fields| (fields.next().unwrap(), fields.next().unwrap()));
    files.collect()
}

/// Returns mode and path of the lines of `ls -l` or tar, with all manual pages as one pattern.
fn held(listing: &str, name: &str) -> BTreeSet<(String, String)> {
    let lines = listing.lines().filter(|line| !line.starts_with('d'));
    let files = lines.map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let path = fields.iter().find(|field| field.contains("/usr/")).unwrap();
        let path = path
            .trim_start_matches('.')
            .replace("/site-functions/", "/vendor-completions/");
        let mode = match &line[..10] {
            "-rwxr-xr-x" => "0755",
            "-rw-r--r--" => "0644",
            "lrwxrwxrwx" => "link",
            other => other,
        };
        assert!(line.contains("root"), "{line}");
        let section = if name == "vctl" { 1 } else { 8 };
        let man = format!("/usr/share/man/man{section}/{name}");
        let pattern = format!("{man}*.{section}.gz");
        let path = if path.starts_with(&man) {
            pattern
        } else {
            path
        };
        (mode.to_owned(), path)
    });
    files.collect()
}

#[test]
fn packages_hold_the_listed_files_and_pass_lintian() {
    for name in NAMES {
        let deb = of_format(name, ".deb");
        let files = run(Command::new("dpkg-deb").arg("-c").arg(&deb));
        assert_eq!(held(&files, name), listed(name));
        let rpm = of_format(name, ".rpm");
        let files = run(Command::new("rpm")
            .args(["-qp", "--list", "--verbose"])
            .arg(&rpm));
        assert_eq!(held(&files, name), listed(name));
        let scripts = run(Command::new("rpm").args(["-qp", "--scripts"]).arg(&rpm));
        assert_eq!(
            scripts.contains("setup --undo"),
            name == "vctl-agent",
            "{scripts}"
        );
    }
    let debs = NAMES.map(|name| of_format(name, ".deb"));
    run(Command::new("lintian")
        .args(["--allow-root", "--fail-on", "error"])
        .args(debs));
}

#[test]
fn an_older_package_warns_before_it_replaces_a_newer_one() {
    let work = tempfile::tempdir().unwrap();
    let deb = of_format("vctl-agent", ".deb");
    run(Command::new("dpkg-deb").arg("-e").arg(deb).arg(work.path()));
    let script = work.path().join("preinst");
    let warning = |arguments: &[&str]| {
        let output = Command::new("sh")
            .arg(&script)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    // dpkg says `install` after a removal.
    for word in ["upgrade", "install"] {
        assert!(warning(&[word, "999.0"]).contains("replaces the newer version 999.0"));
    }
    let same = env!("CARGO_PKG_VERSION");
    for usual in [&["upgrade", "0.0.1"][..], &["upgrade", same], &["install"]] {
        assert_eq!(warning(usual), "");
    }
}

const STAMP_LINE: &str = "session required pam_exec.so /usr/sbin/vctl-agent stamp\\n";

#[test]
fn a_debian_package_upgrades_without_a_gap_and_purges_all() {
    let Some(host) = host() else { return };
    let dpkg = "dpkg --admindir=$WORK/dpkg --no-triggers --log=/dev/null";
    let agent = of_format("vctl-agent", ".deb").display().to_string();
    let vctl = of_format("vctl", ".deb").display().to_string();
    host.ok("rm /usr/sbin/vctl-agent; touch /run/systemctl.log");
    host.ok("/usr/sbin/sshd; until [ -s /run/sshd.pid ]; do sleep 0.05; done; cp /run/sshd.pid /run/ssh.service.pid");
    let before = host.files("");
    let others = host.ok(NAMED);
    host.ok(&format!("{dpkg} -i {vctl} {agent}"));
    assert_eq!(host.files(""), before, "nothing is enabled or configured");
    assert_eq!(host.ok("cat /run/systemctl.log"), "daemon-reload\n");
    assert!(host.ok("dbedit --help").contains("-col dc"));
    host.ok(SETUP);
    // The units of the package are used.
    host.ok("test ! -e /etc/systemd/system/vctl-collect.service");
    let login = "ssh -n -i $WORK/person -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null person@127.0.0.1";
    // The login goes on through the upgrade, and starts programs all the time.
    host.ok(&format!(
        "{login} \"touch $WORK/home/person/begun; until [ -e $WORK/go ]; do id > /dev/null; done\" & \
         login=$!; until [ -e $WORK/home/person/begun ]; do sleep 0.05; done; \
         old=$(cat /run/vctl-collect.service.pid); {dpkg} -i {agent}; \
         test $(cat /run/vctl-collect.service.pid) != $old; touch $WORK/go; wait $login"
    ));
    let session = "for _ in $(seq 100); do vctl session --local 1002 | grep '^complete: all' && exit; sleep 0.1; done; \
         vctl session --local 1002; exit 1";
    host.ok(session);
    host.ok(&format!("{dpkg} -r vctl-agent"));
    assert_eq!(host.files(""), before);
    host.ok(
        "test ! -e /usr/sbin/vctl-agent && test ! -e /sys/fs/bpf/vctl && test -d /var/lib/vctl/spool",
    );
    host.ok(&format!("{login} true"));
    // A line that setup has not added: without the program no login would work.
    let again = host.ok(&format!("{dpkg} -i {agent} && vctl-agent pam-line add"));
    assert!(again.contains("run `vctl-agent setup`"), "{again}");
    let refused = host.run(&format!("{dpkg} -r vctl-agent"));
    assert_eq!(refused.code, Some(1), "{}", refused.text);
    let reason = "was not added by setup\nhint: remove it: vctl-agent pam-line remove\n";
    assert!(refused.text.contains(reason), "{}", refused.text);
    host.ok(&format!("vctl-agent pam-line remove && {login} true"));
    // Lines that only libpam finds: in another directory, in an included file, and over two lines.
    for (file, text) in [
        ("/usr/lib/pam.d/vendor", STAMP_LINE),
        ("/etc/security/vctl", STAMP_LINE),
        (
            "/etc/pam.d/other-service",
            "session required \\\\\n pam_exec.so /usr/sbin/vctl-agent \\\\\n stamp\n",
        ),
    ] {
        let include = "cp /etc/pam.d/login $WORK/login; echo 'session include /etc/security/vctl' >> /etc/pam.d/login";
        host.ok(&format!(
            "{include}; mkdir -p $(dirname {file}); printf '{text}' > {file}"
        ));
        let refused = host.run(&format!("{dpkg} -r vctl-agent"));
        assert_eq!(refused.code, Some(1), "{file}: {}", refused.text);
        assert!(
            refused.text.contains(&format!("{file}:1")),
            "{}",
            refused.text
        );
        host.ok("test -x /usr/sbin/vctl-agent");
        host.ok(&format!("rm {file}; cp $WORK/login /etc/pam.d/login"));
    }
    host.ok("rmdir /usr/lib/pam.d 2> /dev/null || true");
    host.ok("mkdir -p /etc/vctl/ingest; touch /etc/vctl/ingest.env /etc/vctl/ingest/role_id; systemctl enable vctl-ingest.service");
    host.ok(&format!("{dpkg} -P vctl-agent vctl"));
    assert_eq!(host.ok(NAMED), others.replace("/etc/vctl\n", ""));
}

#[test]
fn an_rpm_package_starts_nothing_and_undoes_the_setup() {
    let Some(host) = host() else { return };
    let rpm = "rpm --force-debian --dbpath $WORK/rpm --nodeps";
    let agent = of_format("vctl-agent", ".rpm").display().to_string();
    // Scripts of rpm have a `PATH` without /usr/local/bin.
    host.ok("ln -sf /usr/local/bin/systemctl /usr/bin/systemctl");
    host.ok("rm /usr/sbin/vctl-agent; touch /run/systemctl.log");
    let before = host.files("");
    host.ok(&format!("{rpm} -i {agent}"));
    assert_eq!(host.files(""), before);
    assert_eq!(host.ok("cat /run/systemctl.log"), "daemon-reload\n");
    host.ok("/usr/sbin/sshd; until [ -s /run/sshd.pid ]; do sleep 0.05; done; cp /run/sshd.pid /run/ssh.service.pid");
    host.ok(SETUP);
    let collector = "cat /run/vctl-collect.service.pid";
    let old = host.ok(collector);
    let upgraded = host.ok(&format!("{rpm} -U --replacepkgs {agent}"));
    assert_ne!(host.ok(collector), old, "the collector restarts");
    assert!(!upgraded.contains("newer version"), "{upgraded}");
    assert!(!upgraded.contains("nothing records yet"), "{upgraded}");
    let newer = "rm /usr/sbin/vctl-agent; printf '#!/bin/sh\necho vctl-agent 999.0\n' > /usr/sbin/vctl-agent; \
                 chmod 755 /usr/sbin/vctl-agent";
    let downgraded = host.ok(&format!("{newer}; {rpm} -U --replacepkgs {agent}"));
    assert!(
        downgraded.contains("replaces the newer version 999.0"),
        "{downgraded}"
    );
    host.ok("grep -q 'vctl-agent stamp' /etc/pam.d/sshd");
    // A second service has a line, added by hand: nothing of the setup is undone before the refusal.
    host.ok("mv /etc/pam.conf $WORK/; cp /etc/pam.d/login $WORK/login");
    host.ok("echo 'session required pam_exec.so /usr/sbin/vctl-agent stamp' >> /etc/pam.d/login");
    let with_line = host.files("");
    let refusals = [
        (
            "",
            "hint: remove it: vctl-agent pam-line remove --service login",
        ),
        // A program that undoes everything: the script itself looks, too.
        (
            "rm /usr/sbin/vctl-agent; printf '#!/bin/sh\n' > /usr/sbin/vctl-agent; chmod 755 /usr/sbin/vctl-agent;",
            "not removed, because these PAM lines need it:\n/etc/pam.d/login:session required",
        ),
    ];
    for (program, reason) in refusals {
        let refused = host.run(&format!("{program} {rpm} -e vctl-agent"));
        assert_ne!(refused.code, Some(0), "{}", refused.text);
        assert!(refused.text.contains(reason), "{}", refused.text);
        assert_eq!(host.files(""), with_line);
        host.ok("kill -0 $(cat /run/vctl-collect.service.pid) && test -x /usr/sbin/vctl-agent");
    }
    host.ok("cp $WORK/vctl-agent /usr/sbin/; cp $WORK/login /etc/pam.d/login");
    host.ok("cp $WORK/pam.conf /etc/");
    host.ok(&format!("{rpm} -e vctl-agent"));
    assert_eq!(host.files(""), before);
    host.ok("test ! -e /usr/sbin/vctl-agent && test ! -e /sys/fs/bpf/vctl && test ! -e /usr/share/doc/vctl-agent");
}
