//! A host with its own `/etc/ssh`, for specs that change files there: an sshd in a mount namespace.
//!
//! All processes of this sshd are in that namespace too, so a login sees only the host's files.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::lab::certificate::key_pair;
use crate::lab::sshd::{
    Settings, free_port, listens, names_its_pam_service, program_path, write_pam_service,
};
use crate::lab::{Journal, PATIENCE, Undo, eventually, make_directory};

/// Password of the account, for specs in which sudo asks for one.
pub const PASSWORD: &str = "open-sesame";

/// Mounts the host's files over the files of this machine. The host does not see the systemd of this machine.
const NAMESPACE: &str = r#"
set -e
mount --bind "$1/etc-ssh" /etc/ssh
mount --bind "$1/pam-sudo" /etc/pam.d/sudo
mount --bind "$1/sudoers.d" /etc/sudoers.d
if [ -d /run/systemd ]; then mount -t tmpfs none /run/systemd; fi
exec "$2" -D -e -h "$1/keys/host"
"#;

/// The host. Its sshd trusts no authority, and accepts plain keys.
pub struct Machine {
    child: Child,
    root: PathBuf,
    port: u16,
    user: String,
}

impl Machine {
    pub(super) fn start(journal: &Journal, id: &str, user: &str, root: &Path) -> Result<Self> {
        for (name, mode) in [
            ("keys", 0o700),
            ("authorized_keys", 0o755),
            ("etc-ssh", 0o755),
            ("etc-ssh/sshd_config.d", 0o755),
            ("sudoers.d", 0o755),
        ] {
            make_directory(&root.join(name), mode)?;
        }
        key_pair(&root.join("keys/host"), "host")?;
        write_sudo_service(root)?;
        let mut machine = Self {
            child: Command::new("true").spawn()?,
            root: root.to_owned(),
            port: 0,
            user: user.to_owned(),
        };
        machine.sudo_rule("NOPASSWD: ALL")?;
        write_pam_service(
            journal,
            &Settings {
                root,
                service: id,
                trusted: "",
                session_lines: "",
                extra: "",
            },
        )?;
        let real = program_path()?;
        std::os::unix::fs::symlink(&real, root.join(id))?;
        journal.before(Undo::EndProcess {
            program: fs::canonicalize(&real)?,
            argument: root.join("keys/host"),
        })?;
        let log = root.join("sshd.log");
        for _ in 0..5 {
            machine.port = free_port()?;
            let config = machine.configuration(id, &real)?;
            fs::write(machine.etc_ssh("sshd_config"), config)?;
            machine.child.wait()?;
            machine.child = Command::new("unshare")
                .args([
                    "--mount",
                    "--propagation",
                    "private",
                    "sh",
                    "-c",
                    NAMESPACE,
                    "sh",
                ])
                .args([root, &root.join(id)])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(File::create(&log)?)
                .process_group(0)
                .spawn()
                .context("cannot run `unshare`")?;
            if listens(&mut machine.child, &log)? {
                return Ok(machine);
            }
        }
        bail!("sshd does not start: {}", fs::read_to_string(log)?.trim())
    }

    fn configuration(&self, service: &str, program: &Path) -> Result<String> {
        let root = self.root.display();
        let service = if names_its_pam_service(program)? {
            format!("PAMServiceName {service}\n")
        } else {
            String::new()
        };
        Ok(format!(
            "Include /etc/ssh/sshd_config.d/*.conf\n\
             ListenAddress 127.0.0.1:{}\n\
             HostKey {root}/keys/host\n\
             PidFile {root}/sshd.pid\n\
             UsePAM yes\n\
             {service}\
             AuthorizedKeysFile {root}/authorized_keys/%u\n\
             PermitRootLogin yes\n\
             ExposeAuthInfo yes\n\
             PasswordAuthentication no\n\
             KbdInteractiveAuthentication no\n\
             PrintMotd no\n\
             PrintLastLog no\n\
             LogLevel VERBOSE\n",
            self.port
        ))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Account that may become root.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns a path below the host's `/etc/ssh`.
    pub fn etc_ssh(&self, path: &str) -> PathBuf {
        self.root.join("etc-ssh").join(path)
    }

    /// Returns type and text of the host key.
    pub fn public_key(&self) -> String {
        let line = fs::read_to_string(self.host_key()).unwrap_or_default();
        let words: Vec<&str> = line.split(' ').take(2).collect();
        words.join(" ").trim_end().to_owned()
    }

    /// File with the public host key.
    pub fn host_key(&self) -> PathBuf {
        self.root.join("keys/host.pub")
    }

    /// Makes sshd accept this key, for the account and for root.
    pub fn authorize(&self, public_key: &str) -> Result<()> {
        for user in [&self.user, "root"] {
            fs::write(self.root.join("authorized_keys").join(user), public_key)?;
        }
        Ok(())
    }

    /// Makes sudo ask the account for [`PASSWORD`] from now on.
    pub fn sudo_asks(&self) -> Result<()> {
        self.sudo_rule("ALL")
    }

    /// Makes sshd show this certificate of its key from now on.
    pub fn show_certificate(&self, certificate: &str) -> Result<()> {
        fs::write(self.etc_ssh("host-cert.pub"), certificate)?;
        let drop_in = self.etc_ssh("sshd_config.d/20-host-cert.conf");
        fs::write(drop_in, "HostCertificate /etc/ssh/host-cert.pub\n")?;
        self.reload()
    }

    /// Makes sshd reload its configuration, and waits for the end of the reload.
    pub fn reload(&self) -> Result<()> {
        let begun = || self.log().matches("Server listening on ").count();
        let before = begun();
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGHUP)?;
        let ready = eventually(PATIENCE, || Ok(begun() > before))?;
        ensure!(
            ready,
            "sshd did not reload its configuration: {}",
            self.log()
        );
        Ok(())
    }

    fn sudo_rule(&self, what: &str) -> Result<()> {
        let path = self.root.join("sudoers.d").join(&self.user);
        let _ = fs::remove_file(&path);
        fs::write(&path, format!("{} ALL=(ALL:ALL) {what}\n", self.user))?;
        Ok(fs::set_permissions(&path, Permissions::from_mode(0o440))?)
    }

    /// Returns the log of sshd.
    pub fn log(&self) -> String {
        fs::read_to_string(self.root.join("sshd.log")).unwrap_or_default()
    }
}

/// Writes the PAM service of sudo, which accepts [`PASSWORD`] for every account.
///
/// A shadow file mounted over `/etc/shadow` would not stay: `useradd` of another spec replaces that file by renaming, and
/// the kernel then removes all mounts on it, in every namespace.
fn write_sudo_service(root: &Path) -> Result<()> {
    let check = root.join("check-password");
    let script = format!("#!/bin/sh\n[ \"$(tr -d '\\0')\" = {PASSWORD} ]\n");
    fs::write(&check, script)?;
    fs::set_permissions(&check, Permissions::from_mode(0o755))?;
    let service = format!(
        "auth required pam_exec.so quiet expose_authtok {}\n\
         account required pam_permit.so\n\
         session required pam_permit.so\n",
        check.display()
    );
    Ok(fs::write(root.join("pam-sudo"), service)?)
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The journal ends the process at the latest.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
