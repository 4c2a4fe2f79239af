//! The commands of docs/image.md, which a run types as they are.

use std::path::Path;

use anyhow::Result;

use crate::page_commands::below;

const PAGE: &str = "docs/image.md";
pub(super) const BUILD: &str = "## Build an image";
pub(super) const ENROL: &str = "## Give a host its identity";
pub(super) const STOCK: &str = "## A stock Debian instead";

/// Returns the commands below a heading of the page.
pub(super) fn commands(heading: &str) -> Result<Vec<String>> {
    below(Path::new("."), PAGE, heading)
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
