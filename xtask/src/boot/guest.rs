//! A running guest of QEMU, and commands in it as root.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::guard::Guard;
use super::root::Disk;

/// A time longer than a boot of an emulated machine beside other work.
const PATIENCE: Duration = Duration::from_mins(10);

/// Drop-ins for the CPU time and the patience that an emulated CPU and programs without optimization need.
pub(crate) const EMULATED: [(&str, &str); 2] = [
    (
        "usr/lib/systemd/system/vctl-collect.service.d/emulated.conf",
        "[Service]\nCPUQuota=200%\nTimeoutStartSec=10min\nTimeoutStopSec=2min\nWatchdogSec=5min\n",
    ),
    (
        "usr/lib/systemd/system/vctl-node-agent.service.d/emulated.conf",
        "[Service]\nCPUQuota=40%\nTimeoutStartSec=10min\nTimeoutStopSec=2min\nWatchdogSec=5min\n",
    ),
];

pub(crate) struct Guest {
    _qemu: Guard,
    pub(crate) port: u16,
    /// Configuration of OpenSSH's client, with which `root@127.0.0.1` is the guest.
    pub(crate) ssh_config: PathBuf,
    /// Holds the connection that all commands share: a login takes seconds on an emulated CPU.
    connection: Option<Child>,
    work: PathBuf,
    /// The boot that commands have reached.
    boot_id: String,
}

impl Guest {
    /// Starts a guest whose sshd is at a free port of loopback. Its changes of the disk are lost at its end.
    pub(crate) fn start(disk: &Disk, work: &Path, key: &Path) -> Result<Self> {
        let port = free_port()?;
        let config = work.join("ssh_config");
        let known = work.join("known_hosts");
        let names = format!("[127.0.0.1]:{port},[web-1]:{port},web-1");
        let known_key = disk.host_key.as_ref();
        let line = known_key.map_or_else(String::new, |key| format!("{names} {key}\n"));
        fs::write(&known, line)?;
        // The first connection to a guest with keys of its own learns them.
        let unknown = if known_key.is_some() {
            "yes"
        } else {
            "accept-new"
        };
        fs::write(
            &config,
            format!(
                "Host *\n  Port {port}\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n  \
                 StrictHostKeyChecking {unknown}\n  BatchMode yes\n  ConnectTimeout 30\n  ControlPath {}\n",
                key.display(),
                known.display(),
                work.join("connection").display()
            ),
        )?;
        // Time limits in the guest are of real time: other work of this machine must not slow it down.
        let begin = format!(
            "renice -n -5 -p $$ > /dev/null 2>&1\n\
             qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1024 -display none -monitor none \
             -serial 'file:{console}' -kernel '{kernel}' -initrd '{initrd}' -append 'root=/dev/vda rw console=ttyS0 quiet' \
             -drive 'file={image},format=raw,if=virtio' -snapshot \
             -netdev 'user,id=n,hostfwd=tcp:127.0.0.1:{port}-:22' -device virtio-net-pci,netdev=n,romfile= \
             -device virtio-rng-pci > /dev/null &\nqemu=$!",
            console = work.join("console.txt").display(),
            kernel = disk.kernel.display(),
            initrd = disk.initrd.display(),
            image = disk.image.display(),
        );
        let log = File::create(work.join("qemu.err"))?;
        let qemu = Guard::start(&begin, "kill $qemu; wait $qemu", Stdio::from(log))?;
        let mut guest = Self {
            _qemu: qemu,
            port,
            ssh_config: config,
            connection: None,
            work: work.to_owned(),
            boot_id: String::new(),
        };
        guest.await_boot()?;
        if known_key.is_none() {
            let key = guest.run("cat /etc/ssh/ssh_host_ed25519_key.pub")?;
            let key: Vec<_> = key.split(' ').take(2).collect();
            fs::write(&known, format!("{names} {}\n", key.join(" ")))?;
        }
        Ok(guest)
    }

    /// Runs a script as root, and returns its output without the last line end.
    pub(crate) fn run(&self, script: &str) -> Result<String> {
        let (is_success, printed) = self.attempt(script)?;
        ensure!(is_success, "`{script}` failed in the guest: {printed}");
        Ok(printed)
    }

    /// Runs a script as root, and returns whether it succeeded and its output.
    pub(crate) fn attempt(&self, script: &str) -> Result<(bool, String)> {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F")
            .arg(&self.ssh_config)
            .args(["-q", "root@127.0.0.1"]);
        ssh.arg(format!("exec 2>&1; {script}")).stdin(Stdio::null());
        let output = ssh.output().context("cannot run `ssh`")?;
        let printed = String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned();
        Ok((output.status.success(), printed))
    }

    /// Copies a file to the home of root.
    pub(crate) fn copy(&self, file: &Path) -> Result<()> {
        let mut scp = Command::new("scp");
        scp.arg("-F").arg(&self.ssh_config).arg("-q");
        let output = scp.arg(file).arg("root@127.0.0.1:").output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {errors}", file.display());
        Ok(())
    }

    pub(crate) fn reboot(&mut self) -> Result<()> {
        self.disconnect();
        // sshd may end before it has answered.
        let _ = self.attempt("systemctl reboot")?;
        self.await_boot()
    }

    fn connect(&mut self) -> Result<()> {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(&self.ssh_config);
        ssh.args(["-q", "-N", "-o", "ControlMaster=yes", "root@127.0.0.1"]);
        ssh.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.connection = Some(ssh.spawn()?);
        let socket = self.work.join("connection");
        until("ssh is connected", || Ok(socket.exists()))
    }

    fn disconnect(&mut self) {
        if let Some(mut ssh) = self.connection.take() {
            let _ = ssh.kill();
            let _ = ssh.wait();
            let _ = fs::remove_file(self.work.join("connection"));
        }
    }

    /// Waits for sshd of a boot that was not seen before, and for the end of its start-up.
    fn await_boot(&mut self) -> Result<()> {
        let old = std::mem::take(&mut self.boot_id);
        let started = "cat /proc/sys/kernel/random/boot_id; systemctl is-system-running --wait > /dev/null || true";
        let since = Instant::now();
        loop {
            let (is_success, printed) = self.attempt(started)?;
            if is_success && !printed.is_empty() && printed != old {
                self.boot_id = printed;
                return self.connect();
            }
            // QEMU prints nothing unless it fails.
            let has_failed = fs::metadata(self.work.join("qemu.err"))?.len() > 0;
            if has_failed || since.elapsed() > PATIENCE {
                bail!(
                    "the guest does not boot; see `{0}/console.txt` and `{0}/qemu.err`",
                    self.work.display()
                );
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.disconnect();
    }
}

/// Repeats a question until its answer is yes.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let since = Instant::now();
    while !is_so()? {
        ensure!(since.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok(())
}

fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    Ok(listener.local_addr()?.port())
}
