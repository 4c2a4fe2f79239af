//! An identity provider in which a user can decline a login or log in from another device. OpenBao's own provider
//! cannot do this. It is npm's `oidc-provider`, on loopback.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::lab::start_or_skip;
use crate::npm::{self, Packages};

const PACKAGES: Packages = Packages {
    name: "oidc-provider-8.8.1",
    size: "9 MB",
    package: include_str!("../provider/package.json"),
    lock: include_str!("../provider/package-lock.json"),
};

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
        start_or_skip(npm::missing(), Self::start)
    }

    fn start() -> Result<Self> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("provider/provider.mjs");
        let mut child = Command::new("node")
            .arg(program)
            .arg(PACKAGES.install()?)
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
