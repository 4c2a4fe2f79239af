//! A real browser, controlled as if a user sat in front of it.
//!
//! The commands go through the pipe of the browser's own developer tools. The browser loads, shows and types as it
//! does for any user.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use base64ct::{Base64, Encoding as _};
use nix::fcntl::OFlag;
use serde_json::{Value, json};

use crate::lab::start_or_skip;

const PROGRAM: &str = "/usr/bin/chromium";

/// Longest wait for a page.
const PATIENCE: Duration = Duration::from_mins(1);

/// One browser with one page, closed when it is dropped.
pub struct Browser {
    child: Child,
    tell: File,
    told: Receiver<Value>,
    /// Session of the page in the protocol.
    session: String,
    number: u64,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser. Prints the reason and returns `None` when this machine cannot run one.
    ///
    /// # Panics
    /// When a browser is installed and does not start.
    pub fn or_skip() -> Option<Self> {
        let is_missing = !Path::new(PROGRAM).exists();
        let missing = is_missing.then(|| "`chromium` is not installed".to_owned());
        start_or_skip(missing, Self::start)
    }

    fn start() -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let pipe = || nix::unistd::pipe2(OFlag::O_CLOEXEC);
        let ((its_in, tell), (listen, its_out)) = (pipe()?, pipe()?);
        let mut command = Command::new(PROGRAM);
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync"])
            .args(["--hide-scrollbars", "--window-size=1000,700"])
            // Pages of a provider load fonts from other servers, which must not be reached.
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1")
            // The authority of the servers is new, so the browser does not know it.
            .arg("--ignore-certificate-errors")
            .arg("--remote-debugging-pipe")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let (reads, writes) = (its_in.as_raw_fd(), its_out.as_raw_fd());
        #[expect(unsafe_code, reason = "only calls that are safe between fork and exec")]
        // SAFETY: fcntl and dup2 are async-signal-safe, and the closure does not allocate. Copies above 4 come first,
        // because dup2 could otherwise overwrite the other descriptor.
        unsafe {
            command.pre_exec(move || {
                use nix::libc::{F_DUPFD_CLOEXEC, dup2, fcntl};
                let copy = |end| fcntl(end, F_DUPFD_CLOEXEC, 10);
                let (reads, writes) = (copy(reads), copy(writes));
                if reads < 0 || writes < 0 || dup2(reads, 3) < 0 || dup2(writes, 4) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().context("cannot start the browser")?;
        drop((its_in, its_out));
        let (sender, told) = channel();
        thread::spawn(move || {
            let mut pieces = BufReader::new(File::from(listen)).split(0);
            while let Some(Ok(piece)) = pieces.next() {
                let message = serde_json::from_slice(&piece).unwrap_or(Value::Null);
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            child,
            tell: File::from(tell),
            told,
            session: String::new(),
            number: 0,
            _profile: profile,
        };
        let made = browser.ask("Target.createTarget", &json!({"url": "about:blank"}))?;
        let attach = json!({"targetId": made["targetId"], "flatten": true});
        let attached = browser.ask("Target.attachToTarget", &attach)?;
        let session = attached["sessionId"].as_str();
        session
            .context("the browser gives no session")?
            .clone_into(&mut browser.session);
        Ok(browser)
    }

    /// Opens an address, as if a user typed it or another program opened it in the browser.
    pub fn open(&mut self, address: &str) -> Result<()> {
        let answer = self.ask("Page.navigate", &json!({ "url": address }))?;
        match answer["errorText"].as_str() {
            Some(error) => bail!("{address}: {error}"),
            None => Ok(()),
        }
    }

    /// Returns the value of a JavaScript expression in the page. Returns null on failure.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.ask("Runtime.evaluate", &asked)?;
        Ok(answer["result"]["value"].take())
    }

    /// Returns the text that the page shows.
    pub fn text(&mut self) -> Result<String> {
        let text = self.evaluate("document.body.innerText")?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Returns the address of the page.
    pub fn address(&mut self) -> Result<String> {
        let address = self.evaluate("location.href")?;
        Ok(address.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until an expression is true.
    pub fn wait_until(&mut self, expression: &str) -> Result<()> {
        let since = Instant::now();
        // During the change to another page, there is no page that could evaluate the expression.
        while self.evaluate(expression).ok() != Some(Value::Bool(true)) {
            if since.elapsed() > PATIENCE {
                bail!(
                    "`{expression}` is never true; the page at {} shows: {}",
                    self.address()?,
                    self.text()?
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Waits until the page shows `text`.
    pub fn wait_for(&mut self, text: &str) -> Result<()> {
        let text = Value::from(text);
        self.wait_until(&format!("document.body.innerText.includes({text})"))
    }

    /// Types into the field that a CSS selector finds.
    pub fn fill(&mut self, selector: &str, text: &str) -> Result<()> {
        let (selector, text) = (Value::from(selector), Value::from(text));
        self.wait_until(&format!("document.querySelector({selector}) !== null"))?;
        self.evaluate(&format!(
            "(() => {{ const field = document.querySelector({selector}); field.focus(); field.value = {text}; \
             for (const name of ['input', 'keyup', 'change']) field.dispatchEvent(new Event(name, {{ bubbles: true }})); }})()"
        ))?;
        Ok(())
    }

    /// Clicks on the element that a CSS selector finds.
    pub fn click(&mut self, selector: &str) -> Result<()> {
        let selector = Value::from(selector);
        self.wait_until(&format!("document.querySelector({selector}) !== null"))?;
        self.evaluate(&format!("document.querySelector({selector}).click()"))?;
        Ok(())
    }

    /// Reports to pages that the user prefers `light` or `dark`.
    pub fn prefers(&mut self, scheme: &str) -> Result<()> {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.ask(
            "Emulation.setEmulatedMedia",
            &json!({ "features": features }),
        )?;
        Ok(())
    }

    /// Lays out the page for paper with that many CSS pixels between the margins.
    pub fn lay_out_for_print(&mut self, width: u32) -> Result<()> {
        self.ask("Emulation.setEmulatedMedia", &json!({"media": "print"}))?;
        let paper =
            json!({"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": false});
        self.ask("Emulation.setDeviceMetricsOverride", &paper)?;
        Ok(())
    }

    /// Writes a picture of the page into a PNG file.
    pub fn screenshot(&mut self, file: &Path) -> Result<()> {
        let answer = self.ask("Page.captureScreenshot", &json!({}))?;
        let data = answer["data"].as_str().context("no picture came")?;
        let picture = Base64::decode_vec(data).map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(fs::write(file, picture)?)
    }

    fn ask(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.number += 1;
        let mut message = json!({"id": self.number, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = self.session.as_str().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.tell.write_all(&bytes)?;
        loop {
            let told = self.told.recv_timeout(PATIENCE);
            let mut told = told.with_context(|| format!("the browser does not answer {method}"))?;
            if told["id"] == self.number {
                return match told["error"]["message"].as_str() {
                    Some(error) => bail!("{method}: {error}"),
                    None => Ok(told["result"].take()),
                };
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser's child processes are in its process group.
        let group = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
