//! Reporting an error to `ssh` as an SSH disconnect message, which `ssh` prints even if it hides our stderr.
//!
//! `ssh` redirects the stderr of its `ProxyCommand` to /dev/null if it starts a `ControlPersist` master. A disconnect
//! message (RFC 4253, section 11.1) may come at any time, and before the first keys it is not encrypted.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::error::CliError;
use crate::process::descriptor::Descriptor;
use crate::ui::sanitize;

const GREETING: &[u8] = b"SSH-2.0-vctl\r\n";
const DISCONNECT: u8 = 1;
/// `SSH_DISCONNECT_SERVICE_NOT_AVAILABLE`.
const NOT_AVAILABLE: u32 = 7;
/// Maximum length that `ssh` prints.
const REASON_MAX: usize = 400;
/// Time limit for an `ssh` that is stopped or hangs.
const PATIENCE: Duration = Duration::from_secs(2);

/// Messages that `ssh` has received from the host so far.
#[derive(Debug, Default)]
pub(crate) struct SshProgress(AtomicU8);

const NOTHING: u8 = 0;
const IN_THE_CLEAR: u8 = 1;
const ENCRYPTED: u8 = 2;

impl SshProgress {
    /// `ssh` received whole lines and packets, before the first keys.
    pub(super) fn in_the_clear(&self) {
        self.0.store(IN_THE_CLEAR, Ordering::Relaxed);
    }

    /// From now on `ssh` understands only the host.
    pub(super) fn encrypted(&self) {
        self.0.store(ENCRYPTED, Ordering::Relaxed);
    }

    /// Sends the reason for the end to `ssh`, if that is still possible.
    pub(crate) fn end_with(&self, error: &CliError) {
        let greeting = match self.0.load(Ordering::Relaxed) {
            NOTHING => GREETING,
            IN_THE_CLEAR => &[],
            _ => return,
        };
        let message = [greeting, &packet(&reason(error))].concat();
        // If `ssh` has ended, nothing can be done.
        let written = Descriptor::stdout().and_then(|mut stdout| stdout.write_all(&message));
        if written.is_ok() {
            await_farewell();
        }
    }
}

/// Waits until `ssh` has read the message and closes. `ssh` writes before it reads: if the pipe were closed, its write
/// would fail and the message would never be read.
fn await_farewell() {
    let (gone, heard) = mpsc::channel();
    thread::spawn(move || {
        let _ = Descriptor::stdin().and_then(|mut stdin| io::copy(&mut stdin, &mut io::sink()));
        let _ = gone.send(());
    });
    let _ = heard.recv_timeout(PATIENCE);
}

/// Returns the error in one line; the hint comes before the causes, which may be cut.
fn reason(error: &CliError) -> String {
    let mut line = format!("vctl: {}", sanitize::text(&error.message));
    if let Some(hint) = &error.hint {
        line = format!("{line} (hint: {})", sanitize::text(hint));
    }
    for cause in &error.causes {
        line = format!("{line}: {}", sanitize::text(cause));
    }
    let cut = line.floor_char_boundary(REASON_MAX);
    line.truncate(cut);
    line
}

/// Returns the message as an unencrypted packet.
fn packet(reason: &str) -> Vec<u8> {
    let text = reason.as_bytes();
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes();
    let mut payload = vec![DISCONNECT];
    payload.extend(NOT_AVAILABLE.to_be_bytes());
    payload.extend(length(text));
    payload.extend(text);
    // Empty language tag.
    payload.extend([0; 4]);
    // At least four bytes of padding, and the whole packet a multiple of eight.
    let padding = 4 + (8 - (5 + payload.len() + 4) % 8) % 8;
    let mut body = vec![u8::try_from(padding).unwrap_or(4)];
    body.extend(payload);
    body.extend(vec![0; padding]);
    let mut packet = length(&body).to_vec();
    packet.extend(body);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_code::Exit;

    #[test]
    fn packets_are_multiples_of_eight_bytes() {
        for length in 0..40 {
            let packet = packet(&"x".repeat(length));
            assert_eq!(packet.len() % 8, 0, "{length}");
            let padding = usize::from(packet[4]);
            assert!((4..12).contains(&padding), "{length}");
            let payload = &packet[5..packet.len() - padding];
            assert_eq!(payload.len(), 1 + 4 + 4 + length + 4);
            assert_eq!(payload[..5], [1, 0, 0, 0, 7]);
        }
    }

    #[test]
    fn reason_is_one_short_line() {
        let error = CliError {
            exit: Exit::Failure,
            message: "not\x1b[31m logged in\n".to_owned(),
            causes: vec!["é".repeat(REASON_MAX)],
            hint: Some("vctl login".to_owned()),
        };
        let reason = reason(&error);
        assert!(reason.starts_with("vctl: not"), "{reason}");
        assert!(reason.contains("(hint: vctl login): é"), "{reason}");
        assert!(!reason.contains(['\n', '\x1b']) && reason.len() <= REASON_MAX);
    }
}
