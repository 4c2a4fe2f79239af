//! The lab's own sshd, with its own PAM service. The system's files are never edited.
//!
//! Before OpenSSH 9.8, sshd uses its program name as its PAM service, so it is started through a symlink.
//! Since 9.8, `PAMServiceName` sets the name.

use std::fs::{self, DirBuilder, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Lab;
use super::certificate::key_pair;
use super::journal::Journal;
use super::recorded::PATIENCE;
use super::undo::Undo;

pub(crate) struct Sshd {
    child: Child,
    pub(crate) port: u16,
}

/// Settings of sshd.
pub(crate) struct Settings<'a> {
    pub(crate) root: &'a Path,
    /// Name of the program and of the PAM service.
    pub(crate) service: &'a str,
    /// Lines of the authorities whose certificates sshd accepts.
    pub(crate) trusted: &'a str,
    /// Lines of the PAM session stack that run the agent's hook.
    pub(crate) session_lines: &'a str,
    /// Lines added to sshd's configuration.
    pub(crate) extra: &'a str,
}

impl Sshd {
    pub(crate) fn start(journal: &Journal, settings: &Settings<'_>) -> Result<Self> {
        let root = settings.root;
        write_pam_service(journal, settings)?;
        // The directory is not removed. Every sshd of the host needs it, also those of other labs and one that the system
        // starts meanwhile. Without it they refuse all logins.
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create("/run/sshd")
            .context("cannot create `/run/sshd`")?;
        key_pair(&root.join("keys/host"), "host")?;
        fs::write(root.join("trusted_ca"), settings.trusted)?;
        let program = root.join(settings.service);
        let real = program_path()?;
        symlink(&real, &program)?;
        let config = root.join("sshd_config");
        journal.before(Undo::EndProcess {
            program: fs::canonicalize(&real)?,
            argument: config.clone(),
        })?;
        let log = root.join("sshd.log");
        // The port was free a moment ago, but another lab may have taken it since.
        for _ in 0..5 {
            let port = free_port()?;
            fs::write(&config, configuration(settings, &real, port)?)?;
            write_known_hosts(root, port)?;
            let mut child = Command::new(&program)
                .args(["-D", "-e", "-f"])
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(File::create(&log)?)
                // The lab handles Ctrl-C at the terminal, because it stops its parts in its own order.
                .process_group(0)
                .spawn()
                .with_context(|| format!("cannot start `{}`", program.display()))?;
            if listens(&mut child, &log)? {
                return Ok(Self { child, port });
            }
        }
        bail!("sshd does not start: {}", fs::read_to_string(log)?.trim())
    }
}

impl Sshd {
    /// Makes sshd show this certificate of its key from now on.
    pub(crate) fn show_certificate(&self, root: &Path, certificate: &str) -> Result<()> {
        let path = root.join("keys/host-cert.pub");
        fs::write(&path, format!("{}\n", certificate.trim_end()))?;
        self.add_to_configuration(root, &format!("HostCertificate {}\n", path.display()))
    }

    /// Adds lines to the configuration, and makes sshd reload it.
    pub(crate) fn add_to_configuration(&self, root: &Path, lines: &str) -> Result<()> {
        let config = root.join("sshd_config");
        let text = fs::read_to_string(&config)?;
        fs::write(&config, format!("{text}\n{lines}"))?;
        let log = root.join("sshd.log");
        let begun = || {
            anyhow::Ok(
                fs::read_to_string(&log)?
                    .matches("Server listening on ")
                    .count(),
            )
        };
        let before = begun()?;
        let id = i32::try_from(self.child.id())?;
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(id),
            nix::sys::signal::Signal::SIGHUP,
        )?;
        let ready = super::recorded::eventually(PATIENCE, || Ok(begun()? > before))?;
        anyhow::ensure!(
            ready,
            "sshd did not reload its configuration: {}",
            fs::read_to_string(&log)?
        );
        Ok(())
    }
}

impl Lab {
    /// Returns the host key of the lab's sshd, as a line of a `.pub` file.
    pub fn public_key(&self) -> Result<String> {
        Ok(fs::read_to_string(self.keys().join("host.pub"))?)
    }

    /// Makes the lab's sshd show this certificate of its key from now on.
    pub fn show_certificate(&self, certificate: &str) -> Result<()> {
        self.sshd.show_certificate(&self.root, certificate)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // The journal ends the process. This only reaps the zombie.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn write_pam_service(journal: &Journal, settings: &Settings<'_>) -> Result<()> {
    let path = Path::new("/etc/pam.d").join(settings.service);
    journal.before(Undo::RemoveFile { path })?;
    write_stack(settings.service, settings.session_lines)
}

pub(crate) fn write_stack(service: &str, session_lines: &str) -> Result<()> {
    let path = Path::new("/etc/pam.d").join(service);
    let stack = format!(
        "# Made by vctl's tests; removed when they end.\n\
         auth required pam_deny.so\n\
         account required pam_permit.so\n\
         session required pam_loginuid.so\n\
         {session_lines}"
    );
    fs::write(&path, stack).with_context(|| format!("cannot write `{}`", path.display()))
}

fn configuration(settings: &Settings<'_>, program: &Path, port: u16) -> Result<String> {
    let root = settings.root.display();
    let service = settings.service;
    let service_line = if names_its_pam_service(program)? {
        format!("PAMServiceName {service}\n")
    } else {
        String::new()
    };
    Ok(format!(
        "ListenAddress 127.0.0.1:{port}\n\
         HostKey {root}/keys/host\n\
         PidFile none\n\
         UsePAM yes\n\
         {service_line}\
         TrustedUserCAKeys {root}/trusted_ca\n\
         AuthorizedKeysFile {root}/authorized_keys/%u\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n\
         PrintMotd no\n\
         PrintLastLog no\n\
         MaxStartups 200\n\
         MaxSessions 100\n\
         LogLevel VERBOSE\n\
         Subsystem sftp {}\n\
         {}",
        sftp_server().display(),
        settings.extra
    ))
}

/// Returns true when this sshd has `PAMServiceName` (9.8 and later).
pub(crate) fn names_its_pam_service(program: &Path) -> Result<bool> {
    // Since 9.2 `-V` exits with 0, and before it prints a usage text. Both have the version on stderr.
    let output = Command::new(program).arg("-V").output()?;
    Ok(version(&String::from_utf8_lossy(&output.stderr)).is_some_and(|version| version >= (9, 8)))
}

fn version(text: &str) -> Option<(u32, u32)> {
    let rest = text.split("OpenSSH_").nth(1)?;
    let (major, rest) = rest.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn write_known_hosts(root: &Path, port: u16) -> Result<()> {
    let key = fs::read_to_string(root.join("keys/host.pub"))?;
    fs::write(
        root.join("known_hosts"),
        format!("[127.0.0.1]:{port} {key}"),
    )?;
    Ok(())
}

pub(crate) fn program_path() -> Result<PathBuf> {
    let candidates = ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"];
    let found = candidates
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists());
    found.context("sshd is not installed")
}

/// Path of the external server. The one inside sshd does not exec, so sftp would not show a program.
fn sftp_server() -> PathBuf {
    let candidates = [
        "/usr/lib/openssh/sftp-server",
        "/usr/libexec/openssh/sftp-server",
    ];
    let found = candidates
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists());
    found.unwrap_or_else(|| PathBuf::from("/usr/lib/ssh/sftp-server"))
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// Waits until sshd logs that it listens. Returns false when it ended instead.
///
/// A connection is a weaker proof, because another lab's sshd may have taken the port.
pub(crate) fn listens(child: &mut Child, log: &Path) -> Result<bool> {
    let asked = Instant::now();
    while asked.elapsed() < PATIENCE {
        if fs::read_to_string(log)?.contains("Server listening on ") {
            return Ok(true);
        }
        if child.try_wait()?.is_some() {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bail!(
        "sshd does not begin to listen: {}",
        fs::read_to_string(log)?.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("OpenSSH_9.2, OpenSSL 3.0.19"), Some((9, 2)));
        assert_eq!(version("OpenSSH_10.0p2 Debian-7"), Some((10, 0)));
        assert!(version("OpenSSH_9.10") > version("OpenSSH_9.8"));
        assert_eq!(version("unknown option -- V"), None);
    }
}
