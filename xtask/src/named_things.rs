//! Checks that names in the documentation exist: files, settings, policies, flags and images.
//!
//! A spec checks the commands of `vctl` by running the programs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Top directories: a word that begins with one of them is a path.
const TOP: &[&str] = &[
    "agent",
    "agent-ebpf",
    "cli",
    "common",
    "deploy",
    "docs",
    "migrations",
    "tests",
    "xtask",
];

/// Names from other programs, which the documentation explains.
const FOREIGN: &[&str] = &[
    "--tlsca",
    "bin_t",
    "device_authorization_endpoint",
    "http_port",
    "max_notify_queue_pages",
    "mkhomedir_helper",
    "pam_mount",
    "tp_btf",
];

/// Beginnings of names that the demo makes up.
const MADE_UP: &[&str] = &["vctl-lab-", "vctl-centre-"];

/// The image that the release workflow builds from `deploy/container`, at the version of the workspace.
const OUR_IMAGE: &str = concat!("ghcr.io/ghdwlsgur/vctl:", env!("CARGO_PKG_VERSION"));

/// Returns a problem for each name on a page that does not exist in the repository.
pub(crate) fn problems(files: &[PathBuf]) -> Vec<String> {
    let mut known = BTreeSet::new();
    let mut pages = Vec::new();
    let mut problems = Vec::new();
    for path in files.iter().filter(|path| !is_this(path)) {
        let Ok(text) = fs::read_to_string(path) else {
            continue;
        };
        if is_page(path) {
            pages.push((path, text));
            continue;
        }
        problems.extend(unbuilt_images(path, &text).into_iter().map(|image| {
            format!(
                "{}: `{image}` is neither our image of this version nor fixed by a digest",
                path.display()
            )
        }));
        known.extend(words(&text).map(|word| word.replace('_', "-")));
        known.extend(path.iter().map(|part| part.to_string_lossy().into_owned()));
        known.extend(
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned()),
        );
    }
    for (page, text) in pages {
        let missing_files = named_files(text.as_str())
            .into_iter()
            .filter(|name| !is_there(page, name))
            .map(|name| format!("file `{name}`"));
        let missing_names = named_things(&text)
            .into_iter()
            .filter(|name| !FOREIGN.contains(&name.as_str()))
            .filter(|name| !is_known(&known, name))
            .map(|name| format!("name `{name}`"));
        problems.extend(
            missing_files
                .chain(missing_names)
                .map(|missing| format!("{}: the {missing} does not exist", page.display())),
        );
    }
    problems
}

/// Returns whether a name occurs in a file other than a page; for a variable, also its key in lower
/// case.
fn is_known(known: &BTreeSet<String>, name: &str) -> bool {
    let name = name.trim_start_matches('-').replace('_', "-");
    let key = name.strip_prefix("VCTL-").map(|rest| {
        rest.strip_prefix("AGENT-")
            .unwrap_or(rest)
            .to_ascii_lowercase()
    });
    // The metrics library adds the suffix of counters.
    let counter = name.strip_suffix("-total");
    known.contains(&name)
        || counter.is_some_and(|counter| known.contains(counter))
        || key.is_some_and(|key| known.contains(&key))
}

fn is_this(path: &Path) -> bool {
    path == Path::new(file!())
        || path.starts_with("docs/bench")
        || path.starts_with("common/redact/corpus")
}

fn is_page(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // A head becomes part of a page in docs, which is checked itself.
    name.ends_with(".md") && !name.ends_with(".head.md")
}

/// Splits text into words made of the characters of flags, variables and names.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
        .map(|word| word.trim_matches('-'))
        .filter(|word| !word.is_empty())
}

/// Returns the targets of links, and words that are paths of this repository.
fn named_files(page: &str) -> BTreeSet<String> {
    let links = page.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', '#']).next()?;
        (!target.is_empty() && !target.contains("://")).then(|| target.to_owned())
    });
    let is_in_path = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    let paths = page
        .split(|c: char| !is_in_path(c))
        .map(|word| word.trim_start_matches("./").trim_end_matches(['.', '/']))
        .filter(|word| {
            let top = word.split_once('/').map(|(top, _)| top);
            top.is_some_and(|top| TOP.contains(&top))
        })
        // A name with a placeholder.
        .filter(|word| {
            !word
                .split('/')
                .any(|part| part.starts_with("X.") || part.starts_with("X-"))
        })
        .map(str::to_owned);
    links.chain(paths).collect()
}

fn is_there(page: &Path, name: &str) -> bool {
    let beside = page.parent().unwrap_or(Path::new("."));
    let path = Path::new(name);
    path.exists() || beside.join(path).exists()
}

/// Returns flags, environment variables, settings and vctl's names in code.
fn named_things(page: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for code in spans(page) {
        for word in code.split(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c))) {
            let plain = word.trim_matches('-');
            let is_ours = plain.starts_with("vctl-") || plain.starts_with("VCTL_");
            let is_alone = word == code;
            let is_flag = is_alone && word.starts_with("--") && plain.len() > 1;
            let is_setting = is_alone
                && plain.contains('_')
                && plain.starts_with(|c: char| c.is_ascii_lowercase());
            // An example of a complete name ends in a host name or in a part in capitals.
            let is_example = plain
                .split('-')
                .any(|part| ["SELF", "OTHER", "HOST"].contains(&part))
                || plain.ends_with("-web-1")
                || MADE_UP.iter().any(|begin| plain.starts_with(begin));
            if (is_ours || is_flag || is_setting) && !is_example && !word.ends_with('_') {
                names.insert(word.trim_end_matches('-').to_owned());
            }
        }
    }
    names
}

/// Returns the text between backticks, and the lines of code blocks.
fn spans(page: &str) -> Vec<&str> {
    let mut spans = Vec::new();
    let mut in_block = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            spans.push(line);
        } else {
            spans.extend(line.split('`').skip(1).step_by(2));
        }
    }
    spans
}

fn unbuilt_images<'a>(path: &Path, text: &'a str) -> Vec<&'a str> {
    let is_manifest = path
        .extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml");
    let images = text.lines().filter_map(|line| {
        line.trim_start()
            .trim_start_matches("- ")
            .strip_prefix("image: ")
    });
    images
        .filter(|image| is_manifest && *image != OUR_IMAGE && !image.contains("@sha256:"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_paths_of_the_repository_are_files() {
        let page =
            "[a](docs/a.md#b) [c](https://d) see `deploy/x.yaml`, agent/src/main.rs. docs/X.md";
        let files: Vec<_> = named_files(page).into_iter().collect();
        assert_eq!(files, ["agent/src/main.rs", "deploy/x.yaml", "docs/a.md"]);
    }

    #[test]
    fn flags_variables_settings_and_our_names_are_things() {
        let page = "`--no-browser` `db_host` `VCTL_DB_HOST` `vctl-user` `a --b` b_c\n```sh\nX=vctl-enroll\n```\n";
        let things: Vec<_> = named_things(page).into_iter().collect();
        assert_eq!(
            things,
            [
                "--no-browser",
                "VCTL_DB_HOST",
                "db_host",
                "vctl-enroll",
                "vctl-user"
            ]
        );
    }

    #[test]
    fn an_image_is_ours_of_this_version_or_fixed_by_digest() {
        let path = Path::new("deploy/a.yaml");
        let text = format!("  - image: ghcr.io/a/b:1\n    image: {OUR_IMAGE}\n");
        assert_eq!(unbuilt_images(path, &text), ["ghcr.io/a/b:1"]);
        assert!(unbuilt_images(Path::new("a.rs"), &text).is_empty());
        let text = "image: ghcr.io/ghdwlsgur/vctl:0.0.1\nimage: ghcr.io/a/b:1@sha256:00\n";
        assert_eq!(unbuilt_images(path, text), ["ghcr.io/ghdwlsgur/vctl:0.0.1"]);
    }
}
