//! Checks the house rules that the compiler does not check; each problem names the file and the
//! rule.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::command::say;
use crate::{
    circles, landed_migrations, layers, named_specs, named_things, prose, subjects, test_names,
    third_party,
};

/// A longer file has more than one subject; tests are not counted.
const MOST_LINES: usize = 400;

/// Names that do not describe their content.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helpers", "helper", "misc", "common_utils"];

#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Print the rate of person pronouns by folder, without checking
    #[arg(long)]
    prose: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let files = tracked_files()?;
    if options.prose {
        for line in prose::by_folder(&files) {
            say(&line);
        }
        return Ok(());
    }
    let mut problems = Vec::new();
    for path in &files {
        // Test data stays as it is, and binary files are not checked.
        if is_test_data(path) {
            continue;
        }
        let Ok(text) = fs::read_to_string(path) else {
            continue;
        };
        let of_text = text_problems(&text);
        problems.extend(
            of_text
                .into_iter()
                .map(|problem| format!("{}: {problem}", path.display())),
        );
        if path.extension().is_some_and(|extension| extension == "rs") {
            let of_rust = rust_problems(path, &text);
            problems.extend(
                of_rust
                    .into_iter()
                    .map(|problem| format!("{}: {problem}", path.display())),
            );
        }
    }
    problems.extend(orphans(&files)?);
    problems.extend(layers::problems(&files)?);
    problems.extend(circles::problems(&files)?);
    problems.extend(landed_migrations::problems(&files)?);
    problems.extend(named_specs::problems(&files)?);
    problems.extend(named_things::problems(&files));
    problems.extend(prose::problems(&files));
    problems.extend(test_names::problems(&files));
    problems.extend(subjects::problems());
    for problem in &problems {
        say(problem);
    }
    ensure!(
        problems.is_empty(),
        "{} house rules are broken",
        problems.len()
    );
    say(&format!(
        "tidy: {} files follow the house rules",
        files.len()
    ));
    Ok(())
}

fn is_test_data(path: &Path) -> bool {
    let data = ["corpus", "testdata"];
    // An empty line of context in a patch is a blank.
    let is_patch = path
        .extension()
        .is_some_and(|extension| extension == "patch");
    is_patch
        || path
            .iter()
            .any(|part| data.iter().any(|name| part == *name))
}

/// Returns whether a file contains only tests of its crate.
fn is_tests(path: &Path) -> bool {
    let in_tests = path.iter().skip(1).any(|part| part == "tests");
    in_tests || path.file_stem().is_some_and(|stem| stem == "tests")
}

fn tracked_files() -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()?;
    ensure!(output.status.success(), "`git ls-files` failed");
    let names = output
        .stdout
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty());
    let paths = names.map(|name| PathBuf::from(String::from_utf8_lossy(name).into_owned()));
    let ours = paths.filter(|path| path.exists() && !is_carried(path));
    Ok(ours.collect())
}

/// Returns whether a file belongs to a carried crate, which `cargo xtask third-party` checks.
fn is_carried(path: &Path) -> bool {
    let mut places = third_party::CARRIED.iter();
    places.any(|carried| path.starts_with(Path::new(third_party::PLACE).join(carried.name)))
}

fn text_problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if !text.is_empty() && !text.ends_with('\n') {
        problems.push("does not end with a newline".to_owned());
    }
    if let Some(number) = text.lines().position(|line| line.trim_end() != line) {
        problems.push(format!("line {} ends with a blank", number + 1));
    }
    problems
}

fn rust_problems(path: &Path, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    if EMPTY_NAMES.contains(&stem) {
        problems.push(format!("`{stem}` does not describe its content"));
    }
    let lines = lines_outside_tests(text);
    if !is_tests(path) && lines > MOST_LINES {
        problems.push(format!(
            "{lines} lines, more than {MOST_LINES}: split it by subject"
        ));
    }
    let header = text.lines().next().unwrap_or_default();
    if !header.starts_with("//!") && !is_tests(path) {
        problems.push("does not begin with its purpose (`//!`)".to_owned());
    }
    problems
}

/// Counts lines up to the tests, which are at the end of a file by convention.
fn lines_outside_tests(text: &str) -> usize {
    text.lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .count()
}

/// Returns files that no `mod` names: rustc ignores them, and a spec in one would never run.
fn orphans(files: &[PathBuf]) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for path in files
        .iter()
        .filter(|path| path.extension().is_some_and(|rs| rs == "rs"))
    {
        let Some(parents) = possible_parents(path) else {
            continue;
        };
        let name = module_name(path);
        let mut declared = BTreeSet::new();
        for parent in parents.iter().filter(|parent| parent.exists()) {
            declared.extend(declared_modules(&fs::read_to_string(parent)?));
        }
        if !declared.contains(&name) {
            problems.push(format!(
                "{}: no `mod {name};` includes it, so it is never built",
                path.display()
            ));
        }
    }
    Ok(problems)
}

/// Returns the files that may declare the module in `path`; `None` for the root of a crate.
fn possible_parents(path: &Path) -> Option<Vec<PathBuf>> {
    let file = path.file_name()?.to_str()?;
    let directory = path.parent()?;
    // Each file in these is a separate program.
    let programs = ["tests", "examples", "benches", "src/bin"];
    // The crate in a folder of another one is a level deeper.
    let depth = if path.starts_with("common/redact") {
        2
    } else {
        1
    };
    let beside_src =
        |name: &&str| directory.iter().count() == depth + Path::new(name).iter().count();
    let is_program = programs
        .iter()
        .any(|name| directory.ends_with(name) && beside_src(name));
    if matches!(file, "main.rs" | "lib.rs" | "build.rs") || is_program {
        return None;
    }
    let of_file = |directory: &Path| {
        ["mod.rs", "lib.rs", "main.rs"]
            .map(|name| directory.join(name))
            .to_vec()
    };
    if file == "mod.rs" {
        return Some(of_file(directory.parent()?));
    }
    let mut parents = of_file(directory);
    parents.push(directory.with_extension("rs"));
    Some(parents)
}

fn module_name(path: &Path) -> String {
    let named_by = match path.file_name().and_then(|name| name.to_str()) {
        Some("mod.rs") => path.parent().and_then(Path::file_name),
        _ => path.file_stem(),
    };
    named_by
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn declared_modules(text: &str) -> Vec<String> {
    let declarations = text.lines().filter_map(|line| {
        let line = line.trim().strip_suffix(';')?;
        let (_, name) = line.rsplit_once("mod ")?;
        Some(name.to_owned())
    });
    declarations.collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_file_that_is_too_long_without_its_tests_is_named() {
        let long = "//! x\n".repeat(MOST_LINES + 1);
        assert_eq!(rust_problems(Path::new("a.rs"), &long).len(), 1);
        let tested = format!("//! x\n#[cfg(test)]\n{long}");
        assert!(rust_problems(Path::new("a.rs"), &tested).is_empty());
    }

    #[test]
    fn a_module_is_looked_for_where_rust_looks() {
        let parents = possible_parents(Path::new("agent/src/probe/mod.rs")).unwrap();
        assert!(parents.contains(&PathBuf::from("agent/src/lib.rs")));
        let parents = possible_parents(Path::new("tests/specs/exec.rs")).unwrap();
        assert!(parents.contains(&PathBuf::from("tests/specs/main.rs")));
        for program in [
            "agent/src/main.rs",
            "agent/tests/hook.rs",
            "tests/src/bin/load.rs",
        ] {
            assert!(possible_parents(Path::new(program)).is_none(), "{program}");
        }
    }

    #[test]
    fn a_carried_crate_is_not_judged_and_its_page_is() {
        assert!(is_carried(Path::new("cli/third_party/russh/src/lib.rs")));
        assert!(!is_carried(Path::new("cli/third_party/README.md")));
    }

    #[test]
    fn declared_modules_are_read_whatever_their_visibility() {
        let text = "mod a;\npub mod b;\n    pub(crate) mod c;\nmod d {\n";
        assert_eq!(declared_modules(text), ["a", "b", "c"]);
    }
}
