//! The commands of a page, which a run types as they are.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Returns the commands below a heading of a page in the repository.
pub(crate) fn below(repository: &Path, page: &str, heading: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(repository.join(page));
    let text = text.with_context(|| format!("cannot read `{page}`"))?;
    of_text(&text, heading).with_context(|| format!("`{page}`"))
}

fn of_text(text: &str, heading: &str) -> Result<Vec<String>> {
    let (heading_line, text) = (format!("\n{heading}\n"), format!("\n{text}"));
    let (_, section) = text
        .split_once(&heading_line)
        .with_context(|| format!("it has no `{heading}`"))?;
    let section = section.split_once("\n## ").map_or(section, |(it, _)| it);
    let (_, rest) = section
        .split_once("```sh\n")
        .with_context(|| format!("`{heading}` has no commands"))?;
    let (block, _) = rest.split_once("```").context("the block has no end")?;
    Ok(block.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_commands_of_the_section_are_returned() {
        let page = "# Page\n\n## One\n\ntext\n\n## Two\n\n```sh\na 1\nb 2\n```\n";
        assert_eq!(of_text(page, "## Two").unwrap(), ["a 1", "b 2"]);
        assert!(of_text(page, "## One").is_err());
        assert!(of_text(page, "## T").is_err());
        let deeper = "### Two\n\n```sh\nc\n```\n\n## Two\n\n```sh\na\n```\n";
        assert_eq!(of_text(deeper, "## Two").unwrap(), ["a"]);
    }
}
