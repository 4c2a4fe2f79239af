//! An identity provider in which a user can decline a login or log in from another device. OpenBao's own provider
//! cannot do this. It is npm's `oidc-provider`, on loopback.

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

/// The npm packages of the provider, each with its checksum.
const PINNED: [(&str, &str); 2] = [
    ("package.json", include_str!("../provider/package.json")),
    (
        "package-lock.json",
        include_str!("../provider/package-lock.json"),
    ),
];

/// Client secret of all applications.
pub const CLIENT_SECRET: &str = "not-a-secret-of-anybody";

/// One provider. It ends when it is dropped, and when this process ends.
pub struct Provider {
    child: Child,
    _until_dropped: ChildStdin,
    said: Receiver<String>,
    pub issuer: String,
}

impl Provider {
    /// Starts a provider. Prints the reason and returns `None` when this machine cannot run one.
    ///
    /// # Panics
    /// When this machine can run a provider and it does not start.
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
            // The provider prints warnings about its settings for tests.
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

    /// Waits for the next line that begins with this word, and returns the rest of the line.
    pub fn says(&self, word: &str) -> Result<String> {
        loop {
            let line = self.said.recv_timeout(Duration::from_mins(1));
            let line = line.with_context(|| format!("the provider did not print `{word}`"))?;
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

/// Returns the directory of the packages, outside of the tree. Installs them once.
fn install() -> Result<PathBuf> {
    let directory = cache()?.join("oidc-provider-8.8.1");
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&directory)
        .with_context(|| format!("cannot make `{}`", directory.display()))?;
    // Other processes that start at the same time wait for the process that installs.
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
