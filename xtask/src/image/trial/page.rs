//! The commands of docs/image.md, which a run types as they are.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

const PAGE: &str = "docs/image.md";
pub(super) const BUILD: &str = "## Build an image";
pub(super) const ENROL: &str = "## Give a host its identity";
pub(super) const STOCK: &str = "## A stock Debian instead";

/// Returns the commands below a heading of the page.
pub(super) fn commands(heading: &str) -> Result<Vec<String>> {
    below(Path::new("."), PAGE, heading)
}

fn below(repository: &Path, page: &str, heading: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(repository.join(page));
    let text = text.with_context(|| format!("cannot read `{page}`"))?;
    let (_, rest) = text
        .split_once(heading)
        .with_context(|| format!("`{page}` has no `{heading}`"))?;
    let (_, rest) = rest
        .split_once("```sh\n")
        .context("the section has no commands")?;
    let (block, _) = rest.split_once("```").context("the block has no end")?;
    Ok(block.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_of_a_host_has_only_tested_commands() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let tested = [BUILD, ENROL]
            .map(|heading| below(&root, PAGE, heading).unwrap())
            .concat();
        let guide = below(&root, "deploy/audit/README.md", "## In an image").unwrap();
        assert!(
            guide
                .iter()
                .any(|line| line.starts_with("cargo xtask image ")),
            "{guide:?}"
        );
        for line in guide {
            assert!(tested.contains(&line), "no test runs `{line}`");
        }
    }
}
