//! Checks before a release: the tag, its commit, and the tree.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Refuses a tag that is not `v` and the version.
pub(super) fn check(tag: &str, version: &str) -> Result<()> {
    let wanted = format!("v{version}");
    ensure!(
        tag == wanted,
        "the tag is `{tag}`, and the version in Cargo.toml is {version}: expected `{wanted}`"
    );
    ensure!(
        version
            .chars()
            .all(|letter| letter.is_ascii_digit() || letter == '.'),
        "{version} is a pre-release: dpkg would sort it above the release, and rpmbuild refuses its `-`"
    );
    Ok(())
}

/// Refuses a tag that exists at another commit than the one that is checked out.
pub(super) fn check_commit(repository: &Path, tag: &str) -> Result<()> {
    let head = git(repository, &["rev-parse", "HEAD"])?;
    let reference = format!("refs/tags/{tag}^{{commit}}");
    let Ok(tagged) = git(repository, &["rev-parse", "-q", "--verify", &reference]) else {
        return Ok(());
    };
    ensure!(
        tagged == head,
        "`{tag}` is the tag of commit {tagged}, and {head} is checked out: a new release needs a new version"
    );
    Ok(())
}

/// Refuses a tree with uncommitted changes: no commit would have the sources of the released programs.
pub(super) fn check_clean(repository: &Path) -> Result<()> {
    let status = git(repository, &["status", "--porcelain"])?;
    let Some(first) = status.lines().next() else {
        return Ok(());
    };
    bail!(
        "{} files have uncommitted changes, such as `{}`: commit them, or pass `--allow-dirty`",
        status.lines().count(),
        first.get(3..).unwrap_or(first)
    );
}

/// Returns the time of the last commit in seconds, which is also that of all files in the packages.
pub(super) fn commit_time(repository: &Path) -> Result<String> {
    git(repository, &["log", "-1", "--format=%ct"])
}

fn git(repository: &Path, args: &[&str]) -> Result<String> {
    let mut git = Command::new("git");
    let output = git.args(args).current_dir(repository).output();
    let output = output.context("cannot run `git`")?;
    ensure!(
        output.status.success(),
        "`git {}` ended with {}: {}",
        args.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    // A line of `status` begins with its columns, so only the end is trimmed.
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::release::testing::Directory;

    #[test]
    fn only_the_tag_of_the_version_is_accepted() {
        check("v0.1.0", "0.1.0").unwrap();
        for wrong in ["v0.1.1", "0.1.0", "v0.1.0-rc1", "release-0.1.0", "v0.1"] {
            let error = check(wrong, "0.1.0").unwrap_err().to_string();
            assert!(error.contains("expected `v0.1.0`"), "{error}");
            assert!(error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn a_pre_release_is_refused() {
        let error = check("v0.2.0-rc1", "0.2.0-rc1").unwrap_err().to_string();
        assert!(error.contains("0.2.0-rc1 is a pre-release"), "{error}");
    }

    #[test]
    fn a_tag_of_another_commit_is_refused() {
        let repository = committed("tag-commit");
        check_commit(&repository.path, "v1.0.0").unwrap();
        git(&repository.path, &["tag", "v1.0.0"]).unwrap();
        check_commit(&repository.path, "v1.0.0").unwrap();
        fs::write(repository.path.join("a"), "2").unwrap();
        commit(&repository.path);
        let error = check_commit(&repository.path, "v1.0.0").unwrap_err();
        assert!(error.to_string().contains("needs a new version"), "{error}");
    }

    #[test]
    fn a_tree_with_a_change_or_a_new_file_is_refused() {
        let repository = committed("clean");
        check_clean(&repository.path).unwrap();
        fs::write(repository.path.join("a"), "changed").unwrap();
        let error = check_clean(&repository.path).unwrap_err().to_string();
        assert!(error.contains("such as `a`"), "{error}");
        commit(&repository.path);
        fs::write(repository.path.join("new"), "").unwrap();
        let error = check_clean(&repository.path).unwrap_err().to_string();
        assert!(error.contains("such as `new`"), "{error}");
    }

    fn committed(name: &str) -> Directory {
        let directory = Directory::new(name);
        git(&directory.path, &["init", "--quiet"]).unwrap();
        fs::write(directory.path.join("a"), "1").unwrap();
        commit(&directory.path);
        directory
    }

    fn commit(repository: &Path) {
        git(repository, &["add", "--all"]).unwrap();
        let name = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
        let rest = ["commit", "--quiet", "--no-gpg-sign", "-m", "a"];
        git(repository, &[&name[..], &rest[..]].concat()).unwrap();
    }
}
