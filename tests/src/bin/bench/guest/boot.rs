//! Runs a guest to its end and stores its console output.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::kernel::Kernel;

/// Console output of a guest that ran to its end.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    text: String,
}

impl Console {
    /// Returns each value that the script printed as `@@name value`.
    pub(crate) fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let name = format!("{name} ");
        self.text.lines().filter_map(move |line| {
            let (_, marked) = line.split_once("@@")?;
            marked.trim_end().strip_prefix(name.as_str())
        })
    }

    /// Returns the one value of that name.
    pub(crate) fn value(&self, name: &str) -> Result<&str> {
        let found = self.values(name).next();
        found.with_context(|| {
            format!(
                "the guest printed no `@@{name}`; its console:\n{}",
                self.tail()
            )
        })
    }

    fn tail(&self) -> &str {
        let from = self.text.len().saturating_sub(4000);
        self.text.get(from..).unwrap_or(&self.text)
    }
}

/// Boots `archive` with a clock that counts instructions.
///
/// KVM is not used, because only the emulator can count instructions. The guest has one CPU, because with more CPUs
/// the clock would also count their instructions.
pub(crate) fn run(
    kernel: &Kernel,
    archive: &[u8],
    directory: &Path,
    within: Duration,
) -> Result<Console> {
    fs::create_dir_all(directory)?;
    let initramfs = directory.join("initramfs.cpio");
    fs::write(&initramfs, archive)?;
    let console = directory.join("console.txt");
    let mut guest = Command::new("qemu-system-x86_64")
        .args([
            "-accel",
            "tcg,thread=single",
            "-icount",
            "shift=0,sleep=off",
        ])
        .args(["-cpu", "max", "-smp", "1", "-m", "2048"])
        .args([
            "-display",
            "none",
            "-monitor",
            "none",
            "-no-reboot",
            "-serial",
        ])
        .arg(format!("file:{}", console.display()))
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(&initramfs)
        .arg("-append")
        .arg("console=ttyS0 panic=-1 quiet tsc=reliable clocksource=tsc")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(directory.join("qemu.err"))?)
        .spawn()
        .context("cannot run `qemu-system-x86_64`")?;
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = guest.try_wait()? {
            break status;
        }
        if begin.elapsed() > within {
            let pid = i32::try_from(guest.id()).context("no pid")?;
            kill(Pid::from_raw(pid), Signal::SIGKILL)?;
            guest.wait()?;
            bail!(
                "the guest did not end within {} s; see `{}`",
                within.as_secs(),
                console.display()
            );
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let text = String::from_utf8_lossy(&fs::read(&console)?).into_owned();
    let console = Console { text };
    if !status.success() || !console.text.contains("@@end") {
        let error = fs::read_to_string(directory.join("qemu.err")).unwrap_or_default();
        bail!("the guest ended with {status}: {error}\n{}", console.tail());
    }
    Ok(console)
}
