//! Somebody at a terminal: types a line, waits for the prompt.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result, ensure};
use vctl_tests::lab::{Certificate, Lab};

const PROMPT: &[u8] = b"ready> ";

pub(crate) struct Person {
    pub(crate) name: &'static str,
    pub(crate) certificate: Certificate,
    client: Child,
    keyboard: Option<ChildStdin>,
    screen: ChildStdout,
}

impl Person {
    /// Logs in with a certificate of its own and waits for the first prompt.
    pub(crate) fn log_in(lab: &Lab, name: &'static str, certificate: Certificate) -> Result<Self> {
        let mut client = lab
            .ssh_command(&certificate, lab.user())
            .arg("-tt")
            // Without this readline paints the prompt with escapes.
            .env("TERM", "dumb")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("cannot run `ssh`")?;
        let keyboard = client.stdin.take();
        let screen = client.stdout.take().context("ssh has no output")?;
        let mut person = Self {
            name,
            certificate,
            client,
            keyboard,
            screen,
        };
        person.await_prompt()?;
        Ok(person)
    }

    pub(crate) fn type_line(&mut self, line: &str) -> Result<()> {
        self.press(line)?;
        self.await_prompt()
    }

    pub(crate) fn log_out(&mut self) -> Result<()> {
        self.press("exit")?;
        let mut rest = Vec::new();
        self.screen.read_to_end(&mut rest)?;
        self.keyboard = None;
        self.client.wait()?;
        Ok(())
    }

    fn press(&mut self, line: &str) -> Result<()> {
        let keyboard = self.keyboard.as_mut().context("already logged out")?;
        writeln!(keyboard, "{line}")?;
        Ok(keyboard.flush()?)
    }

    fn await_prompt(&mut self) -> Result<()> {
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(PROMPT) {
            let more = self.screen.read(&mut byte)? == 1;
            ensure!(
                more,
                "{} was logged out: {}",
                self.name,
                String::from_utf8_lossy(&seen)
            );
            seen.push(byte[0]);
        }
        Ok(())
    }
}
