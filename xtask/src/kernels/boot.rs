//! Boots a guest in QEMU and returns its console.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::kernel::Kernel;

/// Limit of one guest. The emulator is ten times slower than the machine, which may be busy too.
const WITHIN: Duration = Duration::from_mins(90);

/// The clock of a guest.
#[derive(Clone, Copy)]
pub(super) enum Clock {
    /// That of this machine.
    Machine,
    /// It counts instructions, 2 ns each, and idle time passes at once. So the two seconds that the PAM hook waits are
    /// the same work on a busy machine and on an idle one. It is several times slower.
    Instructions,
}

impl Clock {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Machine => &["-accel", "tcg,thread=multi"],
            Self::Instructions => &[
                "-accel",
                "tcg,thread=single",
                "-icount",
                "shift=1,sleep=off",
                "-rtc",
                "clock=vm",
            ],
        }
    }

    /// Returns the number of CPUs of a guest.
    ///
    /// With the clock of instructions, Linux before 6.5 never ends the start of a second CPU: there one CPU waits in a
    /// loop for the other, which the emulator does not run meanwhile.
    fn cpus(self, release: &str) -> &'static str {
        match self {
            Self::Instructions if !starts_cpus_at_once(release) => "1",
            Self::Instructions | Self::Machine => "2",
        }
    }
}

/// Returns whether this release of Linux is 6.5 or newer.
fn starts_cpus_at_once(release: &str) -> bool {
    let mut numbers = release.split(['.', '-', '+']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (6, 5),
        _ => false,
    }
}

/// A guest to boot.
pub(super) struct Guest<'a> {
    pub(super) kernel: &'a Kernel,
    /// Debian's name of its architecture.
    pub(super) architecture: &'a str,
    /// Archives of the first root, in the order in which the kernel unpacks them.
    pub(super) archives: &'a [PathBuf],
    /// Arguments of the kernel.
    pub(super) arguments: &'a str,
    pub(super) clock: Clock,
    pub(super) directory: &'a Path,
}

impl Guest<'_> {
    /// Boots the guest and waits until it powers off.
    ///
    /// Without KVM: a machine of CI may not have it, and it differs from host to host.
    pub(super) fn run(&self) -> Result<String> {
        let initramfs = self.directory.join("initramfs.cpio");
        let mut joined = File::create(&initramfs)?;
        for archive in self.archives {
            let mut archive = File::open(archive)
                .with_context(|| format!("cannot open `{}`", archive.display()))?;
            std::io::copy(&mut archive, &mut joined)?;
        }
        let console = self.directory.join("console.txt");
        let errors = self.directory.join("qemu.err");
        let (program, machine, serial): (_, &[&str], _) = match self.architecture {
            "arm64" => (
                "qemu-system-aarch64",
                &["-machine", "virt", "-cpu", "cortex-a72"],
                "ttyAMA0",
            ),
            _ => ("qemu-system-x86_64", &["-cpu", "max"], "ttyS0"),
        };
        let mut guest = Command::new(program)
            .args(machine)
            .args(self.clock.arguments())
            .args(["-smp", self.clock.cpus(&self.kernel.release)])
            .args(["-m", "2048"])
            .args(["-nic", "none", "-display", "none", "-monitor", "none"])
            .args(["-no-reboot", "-serial"])
            .arg(format!("file:{}", console.display()))
            .arg("-kernel")
            .arg(&self.kernel.image)
            .arg("-initrd")
            .arg(&initramfs)
            .arg("-append")
            .arg(format!(
                "console={serial} panic=-1 quiet {}",
                self.arguments
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&errors)?)
            .spawn()
            .with_context(|| format!("cannot run `{program}`"))?;
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = guest.try_wait()? {
                break status;
            }
            if begin.elapsed() > WITHIN {
                guest.kill()?;
                guest.wait()?;
                let limit = WITHIN.as_secs() / 60;
                bail!(
                    "the guest did not end within {limit} minutes: `{}`",
                    console.display()
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        fs::remove_file(&initramfs)?;
        let text = String::from_utf8_lossy(&fs::read(&console)?).replace('\r', "");
        if !status.success() || value(&text, "end").is_none() {
            let said = fs::read_to_string(&errors).unwrap_or_default();
            bail!("the guest ended with {status}: {said}\n{}", tail(&text));
        }
        Ok(text)
    }
}

/// Returns the rest of the first line `@@name ...` of a console.
pub(super) fn value<'a>(console: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = console.lines();
    lines.find_map(|line| {
        let (_, marked) = line.split_once("@@")?;
        let rest = marked.strip_prefix(name)?;
        (rest.is_empty() || rest.starts_with(' ')).then_some(rest.trim())
    })
}

fn tail(text: &str) -> &str {
    let from = text.floor_char_boundary(text.len().saturating_sub(4000));
    text.get(from..).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::{Clock, value};

    #[test]
    fn an_old_kernel_has_one_cpu_with_the_clock_of_instructions() {
        assert_eq!(Clock::Instructions.cpus("6.1.0-50-cloud-amd64"), "1");
        assert_eq!(Clock::Instructions.cpus("6.12.117+deb13-cloud-amd64"), "2");
        assert_eq!(Clock::Instructions.cpus("7.2.13+deb14-cloud-amd64"), "2");
        assert_eq!(Clock::Machine.cpus("6.1.0-50-cloud-amd64"), "2");
    }

    #[test]
    fn a_value_is_the_rest_of_its_own_line() {
        // The firmware does not end its last line.
        let console = "Booting from ROM..c@@kernel 6.1.0-50\n@@sshd OpenSSH_9.2\n@@end\n";
        assert_eq!(value(console, "kernel"), Some("6.1.0-50"));
        assert_eq!(value(console, "end"), Some(""));
        assert_eq!(value(console, "ssh"), None);
    }
}
