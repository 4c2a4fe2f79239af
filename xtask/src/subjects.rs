//! Commit subjects: each names a change, so unfinished work does not reach the main branch.

use std::process::Command;

/// Commits up to this one are older than the rule.
const BEFORE: &str = "beea5091985e4c07cbe5f77741845bf6892a50e3";

/// Returns a problem for each newer commit with an unfinished subject. A shallow clone has no history to check.
pub(crate) fn problems() -> Vec<String> {
    let range = format!("{BEFORE}..HEAD");
    let output = Command::new("git")
        .args(["log", "--format=%h %s", &range])
        .output();
    let subjects = output.map(|output| output.stdout).unwrap_or_default();
    let subjects = String::from_utf8_lossy(&subjects);
    let unfinished = subjects.lines().filter(|line| is_unfinished(line));
    unfinished
        .map(|line| format!("commit {line}: the subject names no change"))
        .collect()
}

/// Returns whether a hash and a subject are those of unfinished work.
fn is_unfinished(line: &str) -> bool {
    let subject = line.split_once(' ').map_or(line, |(_, subject)| subject);
    let first = subject.split([' ', ':']).next().unwrap_or_default();
    let is_wip = first.trim_end_matches(|c: char| c.is_ascii_digit()) == "wip";
    is_wip || subject.starts_with("fixup!") || subject.starts_with("squash!")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_subjects_are_found() {
        for subject in ["wip", "wip2", "wip: x", "fixup! agent: x", "squash! y"] {
            assert!(is_unfinished(&format!("0123abc {subject}")), "{subject}");
        }
        for subject in [
            "wipe: remove old segments",
            "agent: wip",
            "ssh: fixup! is refused",
        ] {
            assert!(!is_unfinished(&format!("0123abc {subject}")), "{subject}");
        }
    }
}
