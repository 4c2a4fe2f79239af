//! The output of the script. It comes from the host, so only its known lines are used.

use crate::error::CliError;
use crate::exit_code::Exit;

use super::Fingerprint;

/// How the script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScriptOutcome {
    Unchanged,
    Applied,
    /// Only planned: nothing was changed.
    Planned,
}

/// The lines of the script for vctl.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScriptReport {
    pub(crate) outcome: Option<ScriptOutcome>,
    /// CAs that were trusted before and still are.
    pub(crate) kept: Vec<Fingerprint>,
    pub(crate) added: Vec<Fingerprint>,
    pub(crate) removed: Vec<Fingerprint>,
    /// The configuration file that was added for sshd.
    pub(crate) drop_in: Option<String>,
    errors: Vec<String>,
}

impl ScriptReport {
    pub(crate) fn read(output: &[u8]) -> Self {
        let mut report = Self::default();
        let text = String::from_utf8_lossy(output);
        let lines = text.lines().filter_map(|line| line.strip_prefix("vctl:"));
        for line in lines {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest = rest.trim();
            match word {
                "result" => {
                    report.outcome = match rest {
                        "unchanged" => Some(ScriptOutcome::Unchanged),
                        "applied" => Some(ScriptOutcome::Applied),
                        "planned" => Some(ScriptOutcome::Planned),
                        _ => None,
                    };
                }
                "trusted" => report.kept.extend(rest.parse()),
                "added" => report.added.extend(rest.parse()),
                "removed" => report.removed.extend(rest.parse()),
                "drop-in" => report.drop_in = Some(rest.to_owned()),
                "error" => report.errors.push(rest.to_owned()),
                _ => {}
            }
        }
        report
    }

    /// Returns whether the script printed nothing for vctl.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns all CAs that sshd trusts now.
    pub(crate) fn trusted(&self) -> Vec<Fingerprint> {
        self.kept.iter().chain(&self.added).cloned().collect()
    }

    /// Returns the result, or the error of the script.
    ///
    /// `code` is the script's exit status, and `host` the place where it ran.
    pub(crate) fn outcome(&self, host: &str, code: i32) -> Result<ScriptOutcome, CliError> {
        if let (0, Some(outcome)) = (code, self.outcome) {
            return Ok(outcome);
        }
        let exit = match code {
            66 => Exit::NotFound,
            75 => Exit::TryAgain,
            77 => Exit::Permission,
            78 => Exit::Config,
            _ => Exit::Failure,
        };
        let message = format!("the SSH CA was not added to `{host}`: nothing was changed there");
        let mut error = CliError::new(exit, message);
        error.causes.clone_from(&self.errors);
        if error.causes.is_empty() {
            error.causes.push(format!("the script exited with {code}"));
        }
        Err(match exit {
            Exit::Permission => error.hint("use `--sudo`, or log in as root: `--user root`"),
            _ => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_others_and_invalid_fingerprints_are_ignored() {
        let one = format!("SHA256:{}", "a".repeat(43));
        let two = format!("SHA256:{}", "b".repeat(43));
        let output = format!(
            "Welcome!\nvctl:trusted {one}\r\nvctl:added {two}\nvctl:added ; rm -rf /\nvctl:result applied\n"
        );
        let report = ScriptReport::read(output.as_bytes());
        assert_eq!(report.outcome("h", 0).unwrap(), ScriptOutcome::Applied);
        let trusted = report.trusted();
        assert_eq!(
            trusted.iter().map(Fingerprint::as_str).collect::<Vec<_>>(),
            [one, two]
        );
        assert!(report.outcome("h", 1).is_err());
    }

    #[test]
    fn end_without_a_result_is_a_failure() {
        let report = ScriptReport::read(b"vctl:error first\nvctl:error then\n");
        let error = report.outcome("h", 78).unwrap_err();
        assert_eq!(error.exit, Exit::Config);
        assert_eq!(error.causes, ["first", "then"]);
        assert!(ScriptReport::read(b"hello\n").is_empty());
        assert!(ScriptReport::read(b"").outcome("h", 0).is_err());
    }
}
