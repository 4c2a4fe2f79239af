//! Prompts on a terminal.

use std::io::{self, IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use vctl_common::secret::Secret;
use vctl_common::yes_no::is_yes;

use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::process::descriptor;
use crate::process::descriptor::Descriptor;
use crate::ui::notice;

/// Maximum size of a secret, so that a device given by mistake does not fill the memory.
const MOST: u64 = 1 << 16;

/// Whether vctl may prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interaction {
    Allowed,
    NoTerminal,
    /// `--no-input` was given.
    NoInput,
    /// The command never prompts.
    Never,
}

impl Interaction {
    /// Allowed if both stdin and stderr are terminals.
    pub(crate) fn of_process(no_input: bool) -> Self {
        let terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
        Self::of(terminal, no_input)
    }

    fn of(terminal: bool, no_input: bool) -> Self {
        match (no_input, terminal) {
            (true, _) => Self::NoInput,
            (false, true) => Self::Allowed,
            (false, false) => Self::NoTerminal,
        }
    }

    /// Returns the reason why vctl may not prompt, as the end of a sentence; `None` if it may.
    pub(crate) fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Allowed => None,
            Self::NoTerminal => Some("there is no terminal"),
            Self::NoInput => Some("`--no-input` forbids prompts"),
            Self::Never => Some("this command never prompts"),
        }
    }

    /// Checks that vctl may prompt. `what` is the reason for the prompt, as the start of a sentence.
    ///
    /// # Errors
    /// vctl may not prompt. The error has `hint`.
    pub(crate) fn require(self, what: &str, hint: &str) -> Result<(), CliError> {
        match self.refusal() {
            None => Ok(()),
            Some(reason) => {
                let message = format!("{what}, and {reason}");
                Err(CliError::new(Exit::Usage, message).hint(hint))
            }
        }
    }

    /// Checks that vctl may ask this question. Commands check earlier, with a hint of their own.
    fn require_for(self, question: &str) -> Result<(), CliError> {
        let question = question.trim_end_matches([' ', ':']);
        let hint = "run the command on a terminal, without `--no-input`";
        self.require(&format!("\"{question}\" needs an answer"), hint)
    }
}

/// Asks for a secret, without echo.
///
/// # Errors
/// vctl may not prompt, or cannot read the answer.
pub(crate) async fn hidden(
    interaction: Interaction,
    question: &str,
) -> Result<Secret<String>, Stop> {
    interaction.require_for(question)?;
    let no_terminal = |error: &io::Error| {
        CliError::new(Exit::Failure, "cannot turn off the echo of this terminal").caused_by(error)
    };
    // Restores the echo when this future ends, also when Ctrl-C drops it.
    let echo = NoEcho::begin().map_err(|error| no_terminal(&error))?;
    let answer = line(interaction, question).await;
    drop(echo);
    // The terminal did not echo the newline either.
    notice::done("");
    answer.map(Secret::new)
}

/// Asks for confirmation. Every answer except yes means no.
///
/// # Errors
/// vctl may not prompt, or cannot read the answer.
pub(crate) async fn confirmed(interaction: Interaction, question: &str) -> Result<bool, Stop> {
    interaction.require_for(question)?;
    match line(interaction, &format!("{question} [y/N] ")).await {
        Ok(answer) => Ok(is_yes(&answer)),
        // An empty line.
        Err(Stop::Error(error)) if error.exit == Exit::Usage => Ok(false),
        Err(stop) => Err(stop),
    }
}

/// Asks for a line of text.
///
/// # Errors
/// vctl may not prompt, or cannot read the answer.
pub(crate) async fn line(interaction: Interaction, question: &str) -> Result<String, Stop> {
    interaction.require_for(question)?;
    notice::prompt(question);
    // In its own thread: a blocking read would also block the handling of Ctrl-C.
    let read = tokio::task::spawn_blocking(|| {
        let mut text = String::new();
        descriptor::read_line(&mut text).map(|_| text)
    });
    let failed = |error: &dyn std::error::Error| {
        CliError::new(Exit::Failure, "cannot read the answer").caused_by(error)
    };
    let read = read.await.map_err(|error| failed(&error))?;
    let text = read.map_err(|error| failed(&error))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(CliError::new(Exit::Usage, "nothing was typed").into()),
        text => Ok(text.to_owned()),
    }
}

/// Reads a secret from standard input, for options such as `--password-stdin`.
pub(crate) fn secret_from_stdin(flag: &str) -> Result<Secret<String>, CliError> {
    if io::stdin().is_terminal() {
        let message =
            format!("`{flag}` reads from a pipe or a file, but standard input is a terminal");
        let hint = "leave out the option to get a prompt";
        return Err(CliError::new(Exit::Usage, message).hint(hint));
    }
    let mut text = String::new();
    let read = Descriptor::stdin().and_then(|stdin| stdin.take(MOST).read_to_string(&mut text));
    let text = Secret::new(text);
    read.map_err(|error| {
        CliError::new(
            Exit::Usage,
            format!("cannot read standard input for `{flag}`"),
        )
        .caused_by(&error)
    })?;
    match text.expose().trim_end_matches(['\r', '\n']) {
        "" => {
            let message = format!("standard input is empty, but `{flag}` reads a secret from it");
            Err(CliError::new(Exit::Usage, message))
        }
        secret => Ok(Secret::new(secret.to_owned())),
    }
}

/// Turns off the terminal's echo while it lives.
struct NoEcho(Termios);

impl NoEcho {
    fn begin() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(stdin.as_fd())?;
        let mut without = before.clone();
        without.local_flags.remove(LocalFlags::ECHO);
        // Input typed before the question is not an answer to it.
        tcsetattr(stdin.as_fd(), SetArg::TCSAFLUSH, &without)?;
        Ok(Self(before))
    }
}

impl Drop for NoEcho {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin().as_fd(), SetArg::TCSAFLUSH, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_input_forbids_questions_on_every_terminal() {
        assert_eq!(Interaction::of(true, false), Interaction::Allowed);
        assert_eq!(Interaction::of(true, true), Interaction::NoInput);
        assert_eq!(Interaction::of(false, true), Interaction::NoInput);
        assert_eq!(Interaction::of(false, false), Interaction::NoTerminal);
    }

    #[tokio::test]
    async fn no_prompt_without_permission() {
        for interaction in [
            Interaction::NoTerminal,
            Interaction::NoInput,
            Interaction::Never,
        ] {
            let refusals = [
                confirmed(interaction, "Name:").await.unwrap_err(),
                line(interaction, "Name: ").await.unwrap_err(),
                hidden(interaction, "Name: ").await.unwrap_err(),
            ];
            for refusal in refusals {
                let Stop::Error(error) = refusal else {
                    panic!("{refusal:?}");
                };
                assert_eq!(error.exit, Exit::Usage);
                let reason = interaction.refusal().unwrap();
                let expected = format!("\"Name\" needs an answer, and {reason}");
                assert_eq!(error.message, expected);
            }
        }
    }
}
