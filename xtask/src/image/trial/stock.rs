//! A stock Debian that a snippet of `deploy/host-image` turns into a host that records.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use super::{Trial, await_enrolment, files, page};
use crate::boot::course::Course;
use crate::boot::guest::EMULATED;
use crate::boot::root::{self, Disk};
use crate::command::quietly;
use crate::tool_cache;

const USER_DATA: &str = include_str!("../../../../deploy/host-image/cloud-init.yaml");
const PLAYBOOK: &str = "deploy/host-image/ansible.yaml";
/// That of Debian 12 does not work with the Python of Debian 13; its package has the libraries that this one needs.
const ANSIBLE: &str = "ansible-core==2.18.19";
/// Packages that the images of clouds have, and that the snippets need.
const MORE: &str = ",cloud-init,python3-apt,curl";

/// User data that changes nothing: cloud-init reports an empty document as an error that it recovered from.
const NOTHING: &str = "#cloud-config\npackage_update: false\n";

/// Waits for cloud-init. After an error, prints its output without the pictures of host keys, and that of our units.
const CLOUD_INIT_ENDS: &str = "cloud-init status --wait || { cloud-init status --long; \
    grep -v '^[|+]' /var/log/cloud-init-output.log | tail -n 80; \
    journalctl --no-pager -u 'vctl-*' | tail -n 40; exit 1; }";

/// Settings of the disk. Images of clouds have the files of the default locale, and this root has only `C.UTF-8`.
const CLOUD_CONFIG: &str = "datasource_list: [NoCloud]\nnetwork: {config: disabled}\nresize_rootfs: false\n\
    locale: C.UTF-8\n";

/// The user data is in the disk, as a provider's data source would have it.
pub(super) fn cloud_init(trial: &mut Trial) -> Result<String> {
    let scratch = trial.new_directory("cloud-init")?;
    let enrolment = fs::read_to_string(trial.enrol()?)?;
    let package = trial.package.clone();
    let digest = super::super::sha256_of(&package)?;
    let ca = fs::read_to_string(trial.centre.value("VCTL_VAULT_CA_CERT")?)?;
    let trust_ca = fs::read_to_string(trust_script(trial)?)?;
    let url = "file:///srv/vctl-agent.deb";
    let user_data = filled(&[
        ("@TRUST_CA@", &trust_ca),
        ("@VAULT_CA@", &ca),
        ("@DB_CA@", &ca),
        ("@ENROLMENT@", &enrolment),
        ("@PACKAGE_URL@", url),
        ("@PACKAGE_SHA256@", &digest),
    ]);
    let (disk, key) = disk(trial, &scratch, &user_data, Some(&package))?;
    let course = trial.start(&disk, &scratch, &key)?;
    let status = course.guest.run(CLOUD_INIT_ENDS)?;
    await_enrolment(&course.guest)?;
    let serial = first_session(trial, &course)?;
    files::same(&trial.files, &files::of(&course.guest)?)?;
    Ok(format!(
        "{}; the same files; session {serial} is complete in Postgres",
        status.lines().last().unwrap_or_default()
    ))
}

/// Writes the script that makes a host trust the SSH CA, with the command of the page.
fn trust_script(trial: &Trial) -> Result<PathBuf> {
    for command in page::commands(page::STOCK)? {
        trial.administrator(&command)?;
    }
    Ok(trial.work.join("trust-ca.sh"))
}

/// Replaces each name of the user data; a text of several lines keeps the indentation of the name.
fn filled(values: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for line in USER_DATA.lines() {
        let name = values.iter().find(|(name, _)| line.trim() == *name);
        if let Some((name, value)) = name {
            let indent = line.replace(name, "");
            for of_value in value.lines() {
                let _ = writeln!(text, "{indent}{of_value}");
            }
        } else {
            let mut line = line.to_owned();
            for (name, value) in values {
                line = line.replace(name, value);
            }
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

pub(super) fn ansible(trial: &mut Trial) -> Result<String> {
    let scratch = trial.new_directory("ansible")?;
    let enrolments = scratch.join("enrolments");
    fs::create_dir(&enrolments)?;
    fs::copy(trial.enrol()?, enrolments.join("web-1.json"))?;
    let (disk, key) = disk(trial, &scratch, NOTHING, None)?;
    let course = trial.start(&disk, &scratch, &key)?;
    course.guest.run("cloud-init status --wait")?;
    without_bpffs(&course)?;
    let hosts = scratch.join("hosts");
    fs::write(&hosts, "web-1 ansible_host=127.0.0.1 ansible_user=root\n")?;
    let ca = trial.centre.value("VCTL_VAULT_CA_CERT")?;
    let trust_ca = trust_script(trial)?;
    let program = "bin/ansible-playbook";
    let ansible = tool_cache::from_pypi(&[ANSIBLE], program)?;
    let play = || -> Result<String> {
        let mut play = Command::new(ansible.join(program));
        play.env("PYTHONPATH", &ansible);
        play.arg("-i").arg(&hosts).arg(PLAYBOOK);
        for (name, value) in [
            ("vctl_package", trial.package.display().to_string()),
            ("vctl_trust_ca", trust_ca.display().to_string()),
            ("vctl_vault_ca", ca.to_owned()),
            ("vctl_db_ca", ca.to_owned()),
            ("vctl_enrolments", enrolments.display().to_string()),
            (
                "ansible_ssh_common_args",
                format!("'-F {}'", course.guest.ssh_config.display()),
            ),
        ] {
            play.arg("-e").arg(format!("{name}={value}"));
        }
        play.env("ANSIBLE_HOME", scratch.join("home"))
            .env("HOME", &scratch);
        play.env("ANSIBLE_TIMEOUT", "120")
            .env("ANSIBLE_PIPELINING", "1");
        quietly(&mut play)
    };
    play()?;
    await_enrolment(&course.guest)?;
    let serial = first_session(trial, &course)?;
    files::same(&trial.files, &files::of(&course.guest)?)?;
    let again = play()?;
    ensure!(
        again.contains("changed=0"),
        "a second run changed the host: {again}"
    );
    Ok(format!(
        "the same files; session {serial} is complete in Postgres; a second run changes nothing"
    ))
}

/// Expects that a host without bpffs is refused as it is, and that a login works.
fn without_bpffs(course: &Course) -> Result<()> {
    course.guest.run("umount /sys/fs/bpf")?;
    let name = course
        .package
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    course.guest.copy(&course.package)?;
    course.guest.run(&format!("dpkg -i /root/{name}"))?;
    let (is_set_up, printed) = course.guest.attempt("vctl-agent setup --yes")?;
    ensure!(
        !is_set_up && printed.contains("bpffs"),
        "without bpffs: {printed}"
    );
    course.guest.run("test ! -e /etc/systemd/system/multi-user.target.wants/vctl-collect.service && ! grep vctl /etc/pam.d/sshd")?;
    // Each command is a login over the shared connection; this one is new.
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(&course.guest.ssh_config);
    quietly(ssh.args(["-S", "none", "root@127.0.0.1", "true"]))?;
    course
        .guest
        .run("dpkg --purge vctl-agent && mount -t bpf bpf /sys/fs/bpf && rm /root/vctl-agent*.deb")
        .map(drop)
}

fn first_session(trial: &Trial, course: &Course) -> Result<String> {
    let known = course.serials()?;
    let login = trial.log_in(course)?;
    let (serial, _) = course.complete_session(&known, Some(&login))?;
    Ok(serial)
}

/// Makes the disk of a stock Debian with this user data.
fn disk(
    trial: &Trial,
    scratch: &Path,
    user_data: &str,
    package: Option<&Path>,
) -> Result<(Disk, PathBuf)> {
    let tarball = root::debian(trial.suite, MORE, &trial.cache)?;
    let key = scratch.join("key");
    root::new_key(&key)?;
    let seed = "var/lib/cloud/seed/nocloud";
    let mut more = vec![
        (
            format!("{seed}/meta-data"),
            "instance-id: web-1\nlocal-hostname: web-1\n".to_owned(),
        ),
        (format!("{seed}/user-data"), user_data.to_owned()),
        (
            "etc/cloud/cloud.cfg.d/99-guest.cfg".to_owned(),
            CLOUD_CONFIG.to_owned(),
        ),
    ];
    more.extend(EMULATED.map(|(path, text)| (path.to_owned(), text.to_owned())));
    let more: Vec<_> = more
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let copies: Vec<_> = package
        .into_iter()
        .map(|file| ("srv/vctl-agent.deb", file))
        .collect();
    let ports = trial.centre.ports()?;
    let mut disk = root::disk(&tarball, scratch, &key, &ports, &more, &copies)?;
    // cloud-init replaces the host keys.
    disk.host_key = None;
    Ok((disk, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_has_no_name_left_and_keeps_the_indentation() {
        let names = [
            "@TRUST_CA@",
            "@VAULT_CA@",
            "@DB_CA@",
            "@ENROLMENT@",
            "@PACKAGE_URL@",
            "@PACKAGE_SHA256@",
        ];
        let text = filled(&names.map(|name| (name, "{\n  1\n}\n")));
        let is_name = |line: &str| line.matches('@').count() > 1;
        assert!(!text.lines().skip(3).any(is_name), "{text}");
        assert!(
            text.contains("    content: |\n      {\n        1\n      }\n"),
            "{text}"
        );
    }
}
