//! A user at a terminal: types a line, waits for the prompt.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

const PROMPT: &[u8] = b"ready> ";

pub(crate) struct Person {
    pub(crate) name: &'static str,
    /// Serial of the user's certificate. 0 until it is known.
    pub(crate) serial: u64,
    client: Child,
    keyboard: Option<ChildStdin>,
    screen: ChildStdout,
}

impl Person {
    /// Runs a client that logs in, and waits for the first prompt.
    pub(crate) fn enter(name: &'static str, mut client: Command) -> Result<Self> {
        let mut client = client
            // Without this, readline adds escape sequences to the prompt.
            .env("TERM", "dumb")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("cannot run the client")?;
        let keyboard = client.stdin.take();
        let screen = client.stdout.take().context("the client has no output")?;
        let mut person = Self {
            name,
            serial: 0,
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
