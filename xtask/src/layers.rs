//! Checks the code map of the README: it lists every folder, and a folder of `agent` or `cli` uses
//! only folders below it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::rust_code::without_tests;

const PAGE: &str = "README.md";

/// Crates with folders in the map. They import in its order, from top to bottom.
const LAYERED: &[&str] = &["agent", "cli"];

/// Returns a problem for each folder that is not in the map, for each name in the map without a
/// folder, and for each import of a higher folder.
///
/// # Errors
/// The README cannot be read, or has no folders of a crate.
pub(crate) fn problems(files: &[PathBuf]) -> Result<Vec<String>> {
    let page = fs::read_to_string(PAGE)?;
    let mut problems = Vec::new();
    for &name in LAYERED {
        let listed = listed(&page, name);
        ensure!(
            !listed.is_empty(),
            "the map of {PAGE} has nothing for `{name}/`"
        );
        problems.extend(differences(name, &listed, &folders(files, name)));
        problems.extend(upward(files, name, &listed)?);
    }
    Ok(problems)
}

/// Returns the names below `NAME/` in the map: each is alone in its column, before its description.
fn listed(page: &str, name: &str) -> Vec<String> {
    let heading = format!("{name}/");
    let lines = page.lines().skip_while(|line| !line.starts_with(&heading));
    let inside = lines.skip(1).take_while(|line| line.starts_with(' '));
    inside
        .filter(|line| line.find(|c| c != ' ') == Some(COLUMN))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// Column of the folder names in the map.
const COLUMN: usize = 16;

/// Returns the folders of a crate's sources.
fn folders(files: &[PathBuf], name: &str) -> BTreeSet<String> {
    let sources = Path::new(name).join("src");
    let inside = files
        .iter()
        .filter_map(|path| path.strip_prefix(&sources).ok());
    inside
        .filter(|path| path.iter().count() > 1 && path.extension().is_some_and(|rs| rs == "rs"))
        .filter_map(room)
        .filter(|room| !TESTS.contains(&room.as_str()))
        .collect()
}

/// Folders that contain only tests.
const TESTS: &[&str] = &["fixture"];

/// Returns the top folder or file of the sources in a path.
fn room(path: &Path) -> Option<String> {
    let first = Path::new(path.iter().next()?).with_extension("");
    Some(first.to_string_lossy().into_owned())
}

fn differences(name: &str, listed: &[String], folders: &BTreeSet<String>) -> Vec<String> {
    let missing = folders.iter().filter(|folder| !listed.contains(folder));
    let missing = missing.map(|folder| format!("{PAGE}: the map lacks `{name}/src/{folder}/`"));
    let stale = listed.iter().filter(|entry| {
        let file = Path::new(name).join("src").join(entry).with_extension("rs");
        !folders.contains(*entry) && !file.exists()
    });
    let stale =
        stale.map(|entry| format!("{PAGE}: the map lists `{entry}`, which `{name}/src` lacks"));
    missing.chain(stale).collect()
}

fn upward(files: &[PathBuf], name: &str, listed: &[String]) -> Result<Vec<String>> {
    let sources = Path::new(name).join("src");
    let rank = |room: &str| listed.iter().position(|entry| entry == room);
    let mut problems = Vec::new();
    let sources_of_rust = files
        .iter()
        .filter(|path| path.extension().is_some_and(|rs| rs == "rs"));
    for path in sources_of_rust {
        let Some(own) = path.strip_prefix(&sources).ok().and_then(room) else {
            continue;
        };
        let Some(own_rank) = rank(&own) else { continue };
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        for used in used(&text) {
            if rank(&used).is_some_and(|rank| rank < own_rank) {
                problems.push(format!(
                    "{}: uses `{used}`, which is above `{own}` in the map of {PAGE}",
                    path.display()
                ));
            }
        }
    }
    Ok(problems)
}

/// Returns the names after `crate::` in a file, without its comments and tests.
fn used(text: &str) -> BTreeSet<String> {
    let code = without_tests(text);
    let paths = code.lines().flat_map(|line| line.split("crate::").skip(1));
    paths
        .map(|after| {
            let name = after.split(|c: char| !c.is_alphanumeric() && c != '_');
            name.take(1).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "\
agent/        host daemon, in this order:
                pipeline   the loop
cli/          vctl, from top to bottom:
                commands   one file per command
                           and nothing else
                ui         text
tests/        a lab
";

    #[test]
    fn the_map_lists_one_folder_per_line() {
        assert_eq!(listed(MAP, "cli"), ["commands", "ui"]);
        assert_eq!(listed(MAP, "agent"), ["pipeline"]);
    }

    #[test]
    fn a_folder_without_a_line_is_named() {
        let folders = ["commands", "ui", "ssh"].map(str::to_owned).into();
        let problems = differences("cli", &listed(MAP, "cli"), &folders);
        assert_eq!(problems, ["README.md: the map lacks `cli/src/ssh/`"]);
    }

    #[test]
    fn comments_and_tests_import_nothing() {
        let text = "use crate::ui::Screen;\n// crate::ssh\n#[cfg(test)]\nuse crate::fixture;\n";
        assert_eq!(used(text), BTreeSet::from(["ui".to_owned()]));
    }
}
