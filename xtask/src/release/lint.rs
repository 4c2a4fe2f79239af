//! Checks of the workflows in `.github`, all without a network once the programs are there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::command::{self, say};
use crate::tool_cache;

const WORKFLOWS: &str = ".github/workflows";
/// Newer ones may have other rules, so they are updated deliberately.
const ZIZMOR: &str = "zizmor==1.32.0";
const ACTIONLINT: &str = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12";

pub(super) fn run() -> Result<()> {
    let mut problems = Vec::new();
    for path in workflows()? {
        let text = fs::read_to_string(&path)?;
        let of_file = unpinned(&text).into_iter();
        problems.extend(of_file.map(|problem| format!("{}: {problem}", path.display())));
    }
    for problem in &problems {
        say(problem);
    }
    ensure!(problems.is_empty(), "not every action is pinned");
    let mut actionlint = Command::new(tool_cache::from_go(ACTIONLINT)?);
    command::run(actionlint.arg("-color=false"))?;
    let program = "bin/zizmor";
    let mut zizmor = Command::new(tool_cache::from_pypi(&[ZIZMOR], program)?.join(program));
    zizmor.args(["--offline", "--persona", "pedantic", "--no-progress"]);
    command::run(zizmor.arg(WORKFLOWS))
}

fn workflows() -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(WORKFLOWS).context(WORKFLOWS)? {
        paths.push(entry?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|end| end == "yml"));
    ensure!(!paths.is_empty(), "`{WORKFLOWS}` has no workflow");
    paths.sort();
    Ok(paths)
}

/// Returns a problem for each action without the hash of a commit and its version, and each image without its digest.
fn unpinned(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .map(|line| line.trim().trim_start_matches("- "));
    lines
        .filter_map(|line| {
            let (kind, value) = line.split_once(": ")?;
            let is_pinned = match kind {
                "uses" => value.starts_with("./") || is_commit(value),
                "image" | "container" => is_digest(value),
                _ => return None,
            };
            (!is_pinned).then(|| format!("`{value}` is not pinned"))
        })
        .collect()
}

/// Returns whether the text is `OWNER/NAME@COMMIT # vVERSION`.
fn is_commit(text: &str) -> bool {
    let Some((action, version)) = text.split_once(" # v") else {
        return false;
    };
    let Some((name, commit)) = action.split_once('@') else {
        return false;
    };
    let is_version = version.split('.').count() == 3 && !version.contains(' ');
    Path::new(name).iter().count() >= 2 && is_hexadecimal(commit, 40) && is_version
}

fn is_digest(text: &str) -> bool {
    let digest = text.split_once("@sha256:").map(|(_, digest)| digest);
    digest.is_some_and(|digest| is_hexadecimal(digest, 64))
}

fn is_hexadecimal(text: &str, length: usize) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == length && text.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_needs_a_commit_and_its_version() {
        let commit = "3d3c42e5aac5ba805825da76410c181273ba90b1";
        let good = format!(
            "    steps:\n      - uses: a/b@{commit} # v7.0.1\n        uses: a/b/c@{commit} # v1.2.3\n    uses: ./.github/workflows/ci.yml\n"
        );
        assert!(unpinned(&good).is_empty(), "{:?}", unpinned(&good));
        for bad in [
            format!("a/b@{commit}"),
            format!("a/b@{commit} # main"),
            format!("a/b@{commit} # v7"),
            format!("a/b@{} # v7.0.1", &commit[..39]),
            "a/b@v7.0.1".to_owned(),
            "docker://alpine:3".to_owned(),
        ] {
            let problems = unpinned(&format!("      - uses: {bad}\n"));
            assert_eq!(problems, [format!("`{bad}` is not pinned")]);
        }
    }

    #[test]
    fn an_image_needs_its_digest() {
        let digest = "6".repeat(64);
        assert!(unpinned(&format!("      image: rust:1@sha256:{digest}\n")).is_empty());
        assert_eq!(unpinned("      image: rust:1.95\n").len(), 1);
        assert_eq!(unpinned("    container: debian:13\n").len(), 1);
    }
}
