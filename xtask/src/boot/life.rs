//! The later life of a host: reboot, crash, upgrade, undo and purge.

use anyhow::{Result, bail, ensure};

use super::course::{COLLECT, Course, NODE};
use super::guest::until;

const TURNS: u32 = 20;

pub(super) fn reboot(course: &mut Course) -> Result<String> {
    let known = course.serials()?;
    course.guest.reboot()?;
    course.await_units()?;
    let login = "vctl ssh web-1 -- hostname";
    course.desk.run(login)?;
    let (serial, page) = course.complete_session(&known, Some(login))?;
    ensure!(
        page.lines()
            .any(|line| line.trim_end().ends_with("hostname")),
        "{page}"
    );
    Ok(format!(
        "both units are active; session {serial} is complete"
    ))
}

pub(super) fn crash(course: &mut Course) -> Result<String> {
    let before = course.property(COLLECT, "NRestarts")?;
    let serial = course.busy_session(TURNS, || {
        let pid = course.property(COLLECT, "MainPID")?;
        course.guest.run(&format!("kill -9 {pid}"))?;
        until("systemd restarts the collector", || {
            let is_active = course.property(COLLECT, "ActiveState")? == "active";
            Ok(is_active && course.property(COLLECT, "MainPID")? != pid)
        })
    })?;
    let after = course.property(COLLECT, "NRestarts")?;
    ensure!(before != after, "systemd counts {after} restarts");
    Ok(format!("session {serial} has all {TURNS} commands"))
}

pub(super) fn upgrade(course: &mut Course) -> Result<String> {
    course.guest.copy(&course.newer)?;
    let package = course.newer.file_name().unwrap_or_default();
    let package = package.to_string_lossy().into_owned();
    let pid = course.property(COLLECT, "MainPID")?;
    let serial = course.busy_session(TURNS, || {
        course.guest.run(&format!("dpkg -i {package}"))?;
        course.await_units()
    })?;
    ensure!(
        course.property(COLLECT, "MainPID")? != pid,
        "the collector still runs the old program"
    );
    let version = course
        .guest
        .run("dpkg-query -W -f '${Version}' vctl-agent")?;
    Ok(format!(
        "version {version}; session {serial} has all {TURNS} commands"
    ))
}

pub(super) fn undo(course: &mut Course) -> Result<String> {
    course.guest.run("vctl-agent setup --undo --yes")?;
    for unit in [COLLECT, NODE] {
        let active = course.property(unit, "ActiveState")?;
        let state = course.property(unit, "UnitFileState")?;
        ensure!(
            active == "inactive" && state == "disabled",
            "{unit} is {active} and {state}"
        );
    }
    nothing_in_the_kernel(course)?;
    // `vctl trust-ca` came after the setup, and stays.
    let (_, differs) = course.guest.attempt(
        "find /etc -type f -exec sha256sum {} + | sort | diff /root/etc.before - | grep '^[<>]' | grep -v vault-ca",
    )?;
    ensure!(differs.is_empty(), "/etc differs from before: {differs}");
    course.desk.run("vctl ssh web-1 -- true")?;
    Ok("/etc is as before the setup, and a login works".to_owned())
}

pub(super) fn purge(course: &mut Course) -> Result<String> {
    course.guest.run("vctl-agent setup --yes")?;
    // The drop-ins for the emulated CPU, and files that were copied by hand.
    course.guest.run(
        "rm -r /usr/lib/systemd/system/vctl-*.service.d /root/vctl-* /root/web-1.json /root/ca.pem
         dpkg --purge vctl-agent",
    )?;
    nothing_in_the_kernel(course)?;
    let left = course.guest.run(
        "find / -xdev -path /proc -prune -o -name '*vctl*' -print
         find /run /sys/fs/bpf -name '*vctl*'
         find /etc/vctl
         getent passwd | grep vctl
         grep -rl vctl /etc/pam.d /etc/systemd
         true",
    )?;
    let left: Vec<_> = left
        .lines()
        .filter(|line| !line.contains("No such file or directory"))
        .collect();
    if !left.is_empty() {
        bail!("the purge left {}", left.join(", "));
    }
    course.desk.run("vctl ssh web-1 -- true")?;
    Ok("no file, account, pin or PAM line is left, and a login works".to_owned())
}

fn nothing_in_the_kernel(course: &Course) -> Result<()> {
    let pins = course.guest.run("ls -A /sys/fs/bpf")?;
    ensure!(pins.is_empty(), "pins are left: {pins}");
    Ok(())
}
