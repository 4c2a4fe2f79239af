//! An upgrade without a package: sshd finds a whole program at each moment, and the units run the new one.

use super::host::SetupHost;
use super::{SETUP, host};

/// Writes the tarball of a newer agent, and returns the commands of the documentation.
fn tarball(host: &SetupHost) -> String {
    let page = include_str!("../../../deploy/packages/README.md");
    let blocks = page.split("\n\n");
    let mut blocks = blocks.filter(|block| block.contains("mv -T") && block.starts_with("    "));
    host.ok(
        "name=vctl-agent-0.1.0-linux-x86_64; mkdir -p $WORK/new && cd $WORK/new
         install -D -m 755 $WORK/vctl-agent $name/usr/sbin/vctl-agent; echo newer >> $name/usr/sbin/vctl-agent
         for unit in audit/systemd/vctl-collect.service node/systemd/vctl-node-agent.service; do
             install -D -m 644 $REPOSITORY/deploy/$unit $name/usr/lib/systemd/system/$(basename $unit)
         done
         cp $name/usr/sbin/vctl-agent $WORK/newer; tar -czf $name.tar.gz $name; rm -r $name",
    );
    format!("cd $WORK/new\n{}", blocks.next().unwrap())
}

const COLLECTOR: &str = "cat /run/vctl-collect.service.pid";
const RUNS_NEW: &str = "readlink /proc/$(cat /run/vctl-collect.service.pid)/exe";

#[test]
fn the_documented_upgrade_restarts_the_collector() {
    let Some(host) = host() else { return };
    let upgrade = tarball(&host);
    host.ok(SETUP);
    let old = host.ok(COLLECTOR);
    host.ok(&upgrade);
    host.ok("cmp $WORK/newer /usr/sbin/vctl-agent; test ! -e /usr/sbin/.vctl-agent.new");
    assert_ne!(host.ok(COLLECTOR), old);
    assert_eq!(host.ok(RUNS_NEW), "/usr/sbin/vctl-agent\n");
    assert!(
        host.ok("stat -c '%a %U' /usr/sbin/vctl-agent")
            .contains("755 root")
    );
}

#[test]
fn a_full_disk_during_the_upgrade_leaves_the_old_program() {
    let Some(host) = host() else { return };
    let upgrade = tarball(&host);
    host.ok(
        "size=$(($(stat -c %s $WORK/vctl-agent) / 1024 + 1024)); mount -t tmpfs -o mode=755,size=${size}k none /usr/sbin
         cp --sparse=never $WORK/vctl-agent /usr/sbin/",
    );
    let failed = host.run(&upgrade);
    assert_ne!(failed.code, Some(0), "{}", failed.text);
    assert!(failed.text.contains("No space left"), "{}", failed.text);
    host.ok("cmp $WORK/vctl-agent /usr/sbin/vctl-agent && vctl-agent version");
}

#[test]
fn setup_restarts_a_unit_that_runs_a_replaced_program() {
    let Some(host) = host() else { return };
    host.ok(SETUP);
    let old = host.ok(COLLECTOR);
    host.ok("cp /usr/sbin/vctl-agent /usr/sbin/.new && mv -T /usr/sbin/.new /usr/sbin/vctl-agent");
    let done = host.ok(SETUP);
    let step =
        "1. enable and restart vctl-collect.service, which runs an older /usr/sbin/vctl-agent\n";
    assert!(done.contains(step), "{done}");
    assert_ne!(host.ok(COLLECTOR), old);
    assert_eq!(host.ok(RUNS_NEW), "/usr/sbin/vctl-agent\n");
    assert!(host.ok(SETUP).contains("Nothing to do"));
}

#[test]
fn a_package_takes_over_the_files_of_an_earlier_setup() {
    let Some(host) = host() else { return };
    let before = host.files("");
    host.ok(SETUP);
    host.ok(
        "cp $REPOSITORY/deploy/audit/systemd/vctl-collect.service /usr/lib/systemd/system/
         cp $REPOSITORY/deploy/audit/tmpfiles.d/vctl.conf /usr/lib/tmpfiles.d/",
    );
    let old = host.ok(COLLECTOR);
    let done = host.ok(SETUP);
    for file in [
        "/etc/systemd/system/vctl-collect.service",
        "/etc/tmpfiles.d/vctl.conf",
    ] {
        let step = format!("done: remove {file}, which an earlier setup wrote");
        assert!(done.contains(&step), "{done}");
        host.ok(&format!("test ! -e {file}"));
    }
    assert_ne!(host.ok(COLLECTOR), old);
    assert!(host.ok(SETUP).contains("Nothing to do"));
    host.ok("vctl-agent setup --undo --yes");
    assert_eq!(host.files(""), before);
}
