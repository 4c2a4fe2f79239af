//! An identity provider with a person who says no and with a login from another device, which
//! OpenBao's own has not: npm's `oidc-provider`, on loopback.

use std::fs::{self, DirBuilder, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::centre::cache;
use crate::lab::{installed, say, start_or_skip};

/// What of npm it is made of, each with its checksum.
const PINNED: [(&str, &str); 2] = [
    ("package.json", include_str!("../provider/package.json")),
    (
        "package-lock.json",
        include_str!("../provider/package-lock.json"),
    ),
];

/// The secret of all its applications.
pub const CLIENT_SECRET: &str = "not-a-secret-of-anybody";

/// One provider; it ends when it is dropped, and with this process.
pub struct Provider {
    child: Child,
    _until_dropped: ChildStdin,
    said: Receiver<String>,
    pub issuer: String,
}

impl Provider {
    /// Starts one, or tells why that is impossible here and returns `None`.
    ///
    /// # Panics
    /// When one is possible and does not start.
    pub fn or_skip() -> Option<Self> {
        let missing = ["node", "npm"].into_iter().find(|tool| !installed(tool));
        let missing = missing.map(|tool| format!("`{tool}` is not installed"));
        start_or_skip(missing, Self::start)
    }

    fn start() -> Result<Self> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("provider/provider.mjs");
        let mut child = Command::new("node")
            .arg(program)
            .arg(install()?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // It warns of what makes it one for tests.
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start `node`")?;
        let until_dropped = child.stdin.take().context("no pipe to `node`")?;
        let stdout = child.stdout.take().context("no pipe from `node`")?;
        let (sender, said) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut provider = Self {
            child,
            _until_dropped: until_dropped,
            said,
            issuer: String::new(),
        };
        provider.issuer = provider.says("listening")?;
        Ok(provider)
    }

    /// Waits for the next line that begins with this word, and returns what follows.
    pub fn says(&self, word: &str) -> Result<String> {
        loop {
            let line = self.said.recv_timeout(Duration::from_mins(1));
            let line = line.with_context(|| format!("the provider never says `{word}`"))?;
            if let Some(rest) = line.strip_prefix(word) {
                return Ok(rest.trim().to_owned());
            }
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns where it is installed, outside of the tree; that is done once.
fn install() -> Result<PathBuf> {
    let directory = cache()?.join("oidc-provider-8.8.1");
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&directory)
        .with_context(|| format!("cannot make `{}`", directory.display()))?;
    // Others that start at the same time wait for the one that installs.
    let lock = File::create(directory.join("lock"))?;
    lock.lock()?;
    let done = directory.join("node_modules/.package-lock.json");
    let as_pinned = |(name, text): &(&str, &str)| {
        fs::read_to_string(directory.join(name)).is_ok_and(|there| there == *text)
    };
    if done.exists() && PINNED.iter().all(as_pinned) {
        return Ok(directory);
    }
    say(&format!(
        "Fetching npm's oidc-provider (9 MB, once) into {} ...",
        directory.display()
    ));
    for (name, text) in PINNED {
        fs::write(directory.join(name), text)?;
    }
    let output = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&directory)
        .stdin(Stdio::null())
        .output()
        .context("cannot run `npm`")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "`npm ci` ended with {}: {said}",
        output.status
    );
    if !done.exists() {
        bail!("`npm ci` installed nothing: {said}");
    }
    Ok(directory)
}
