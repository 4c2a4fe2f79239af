//! Import circles between files: files that import each other can only be understood together.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::rust_code::without_tests;

/// Crates without circles.
const CHECKED: &[&str] = &["agent", "cli", "common"];

/// A module's path below the root of its crate.
type Module = Vec<String>;

/// Returns a problem for each group of files that import each other.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn problems(files: &[PathBuf]) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for name in CHECKED {
        let sources = Path::new(name).join("src");
        let mut texts = BTreeMap::new();
        for path in files {
            let Some(module) = path.strip_prefix(&sources).ok().and_then(module_of) else {
                continue;
            };
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            texts.insert(module, without_tests(&text));
        }
        let circles = circular(imports(&texts));
        if !circles.is_empty() {
            let names: Vec<_> = circles.iter().map(|module| module.join("::")).collect();
            problems.push(format!(
                "{name}: these modules import each other: {}",
                names.join(", ")
            ));
        }
    }
    Ok(problems)
}

/// Returns the module of a file; `None` for files that are not Rust.
fn module_of(path: &Path) -> Option<Module> {
    if path.extension()? != "rs" {
        return None;
    }
    let path = path.with_extension("");
    let mut parts: Module = path
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if matches!(parts.last()?.as_str(), "mod" | "main" | "lib") {
        parts.pop();
    }
    Some(parts)
}

/// Returns the modules that each module imports, itself excluded.
fn imports(texts: &BTreeMap<Module, String>) -> BTreeMap<Module, BTreeSet<Module>> {
    let mut used = BTreeMap::new();
    let mut exported = BTreeMap::new();
    for (module, text) in texts {
        let mut paths = Vec::new();
        for (is_public, path) in paths_of(text) {
            let Some(path) = absolute(module, &path, texts) else {
                continue;
            };
            if is_public {
                let name = path.last().cloned().unwrap_or_default();
                exported.insert((module.clone(), name), path);
            } else {
                paths.push(path);
            }
        }
        used.insert(module.clone(), paths);
    }
    let edges = used.into_iter().map(|(module, paths)| {
        let targets = paths
            .iter()
            .filter_map(|path| resolve(path, texts, &exported, 0));
        let targets = targets.filter(|target| *target != module).collect();
        (module, targets)
    });
    edges.collect()
}

/// Lists the paths of a text: those of `use`, and those that are written out. A re-export is public.
fn paths_of(text: &str) -> Vec<(bool, Vec<String>)> {
    let mut paths = Vec::new();
    let mut rest = String::new();
    for statement in text.split_inclusive(';') {
        let begin = statement
            .lines()
            .position(|line| line.starts_with("use ") || is_reexport(line));
        let Some(begin) = begin else {
            rest.push_str(statement);
            continue;
        };
        let lines: Vec<_> = statement.lines().collect();
        rest.push_str(&lines[..begin].join("\n"));
        let tree = lines[begin..].join(" ");
        let is_public = !tree.starts_with("use ");
        let tree = tree.split_once("use ").map_or("", |(_, tree)| tree);
        let tree = tree.trim_end_matches(';');
        paths.extend(
            expanded("", tree)
                .iter()
                .map(|path| (is_public, parts(path))),
        );
    }
    for start in ["crate::", "super::"] {
        for (at, _) in rest.match_indices(start) {
            // `super::super::x` is read from its beginning.
            if rest[..at].ends_with("super::") {
                continue;
            }
            let end = rest[at..].find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
            let path = &rest[at..end.map_or(rest.len(), |end| at + end)];
            paths.push((false, parts(path.trim_end_matches(':'))));
        }
    }
    paths
}

fn is_reexport(line: &str) -> bool {
    let after = line.strip_prefix("pub").unwrap_or_default();
    after.split_once("use ").is_some_and(|(visibility, _)| {
        let visibility = visibility.trim();
        visibility.is_empty() || visibility.starts_with('(') && visibility.ends_with(')')
    })
}

fn parts(path: &str) -> Vec<String> {
    path.split("::")
        .map(|part| part.trim().to_owned())
        .collect()
}

/// Expands `a::{b, c::d}` to one path for each name.
fn expanded(prefix: &str, tree: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut depth = 0_usize;
    for c in tree.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c == ',' && depth == 0 {
            names.push(String::new());
        } else if let Some(name) = names.last_mut() {
            name.push(c);
        }
    }
    let names = names.iter().map(|name| name.trim());
    let paths = names.filter(|name| !name.is_empty()).flat_map(|name| {
        let path = |name: &str| match prefix {
            "" => name.to_owned(),
            _ => format!("{prefix}::{name}"),
        };
        match name.split_once("::{") {
            Some((begin, inner)) => expanded(
                &path(begin),
                inner.trim_end().strip_suffix('}').unwrap_or(inner),
            ),
            None => vec![path(name.split(" as ").next().unwrap_or(name))],
        }
    });
    paths.collect()
}

/// Returns a path from the root of the crate; `None` for other crates.
fn absolute(
    module: &[String],
    path: &[String],
    texts: &BTreeMap<Module, String>,
) -> Option<Vec<String>> {
    let first = path.first()?.as_str();
    let ups = path.iter().take_while(|part| *part == "super").count();
    let path = match first {
        "crate" => path[1..].to_vec(),
        "self" => [module, &path[1..]].concat(),
        "super" => [module.get(..module.len().checked_sub(ups)?)?, &path[ups..]].concat(),
        _ => {
            let child = [module, &path[..1]].concat();
            texts
                .contains_key(&child)
                .then(|| [module, path].concat())?
        }
    };
    Some(path)
}

/// Returns the module that defines the last name of a path, through at most five re-exports.
fn resolve(
    path: &[String],
    texts: &BTreeMap<Module, String>,
    exported: &BTreeMap<(Module, String), Vec<String>>,
    depth: usize,
) -> Option<Module> {
    let length = (1..=path.len())
        .rev()
        .find(|&length| texts.contains_key(&path[..length]))?;
    let (module, rest) = path.split_at(length);
    let next = rest.first().filter(|_| depth < 5);
    let next = next.and_then(|name| exported.get(&(module.to_vec(), name.clone())));
    match next {
        Some(next) => resolve(&[next, &rest[1..]].concat(), texts, exported, depth + 1),
        None => Some(module.to_vec()),
    }
}

/// Returns the modules that stay when those without imports, or without importers, are removed again and again.
fn circular(mut edges: BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<Module> {
    loop {
        let imported: BTreeSet<_> = edges.values().flatten().cloned().collect();
        let before = edges.len();
        edges.retain(|module, targets| !targets.is_empty() && imported.contains(module));
        let left: BTreeSet<_> = edges.keys().cloned().collect();
        for targets in edges.values_mut() {
            targets.retain(|target| left.contains(target));
        }
        if edges.len() == before && edges.values().all(|targets| !targets.is_empty()) {
            return left;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let texts = files.iter().map(|(path, text)| {
            let module = module_of(Path::new(path)).unwrap();
            (module, without_tests(text))
        });
        let circles = circular(imports(&texts.collect()));
        circles.iter().map(|module| module.join("::")).collect()
    }

    #[test]
    fn files_that_import_each_other_are_found() {
        let circles = found(&[
            ("main.rs", "mod a;\nmod b;\nuse a::run;"),
            ("a/mod.rs", "mod c;\nuse self::c::{C, D};\npub fn run() {}"),
            ("a/c.rs", "use super::Options;\nuse crate::b::B;"),
            ("b.rs", "use std::fs;"),
        ]);
        assert_eq!(circles, ["a", "a::c"]);
    }

    #[test]
    fn a_test_module_at_the_top_hides_no_import() {
        let circles = found(&[
            ("a.rs", "#[cfg(test)]\nmod t;\nuse crate::b::B;"),
            ("b.rs", "use crate::a::A;"),
        ]);
        assert_eq!(circles, ["a", "b"]);
    }

    #[test]
    fn a_reexport_is_no_import_and_leads_to_its_file() {
        let circles = found(&[
            (
                "ui/mod.rs",
                "mod form;\nmod page;\npub(crate) use form::Form;",
            ),
            ("ui/form.rs", "pub(crate) struct Form;"),
            (
                "ui/page.rs",
                "use crate::ui::Form;\nfn f() { super::form::x() }",
            ),
        ]);
        assert!(circles.is_empty(), "{circles:?}");
    }

    #[test]
    fn tests_and_comments_import_nothing() {
        let circles = found(&[
            ("a.rs", "use crate::b::B;"),
            (
                "b.rs",
                "// crate::a::A\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}",
            ),
        ]);
        assert!(circles.is_empty(), "{circles:?}");
    }
}
