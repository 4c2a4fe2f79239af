//! The formula of Homebrew, filled in from its template `Formula/vctl.rb`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::VERSION;

const TEMPLATE: &str = "Formula/vctl.rb";

/// A tarball with this sum does not exist, so Homebrew refuses to install it.
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Writes `Formula/vctl.rb` and returns what it lacks.
pub(super) fn write(out: &Path, sums: &BTreeMap<String, String>) -> Result<Vec<String>> {
    let template = fs::read_to_string(TEMPLATE).context(TEMPLATE)?;
    let (text, absent) = render(&template, VERSION, sums)?;
    let path = out.join(TEMPLATE);
    fs::create_dir_all(path.parent().context("the formula has a directory")?)?;
    fs::write(&path, text)?;
    let absent = absent
        .iter()
        .map(|name| format!("the sum of {name} in vctl.rb"));
    Ok(absent.collect())
}

/// Returns the formula, and the tarballs without a sum.
fn render(
    template: &str,
    version: &str,
    sums: &BTreeMap<String, String>,
) -> Result<(String, Vec<String>)> {
    let mut text = "# Written by `cargo xtask release` in github.com/ghdwlsgur/vctl.\n".to_owned();
    let mut absent = Vec::new();
    let mut tarball = None;
    let lines = template.lines().skip_while(|line| line.starts_with('#'));
    for line in lines {
        let mut line = line.replace("VERSION", version);
        if line.trim_start().starts_with("url ") {
            let name = line.trim_end_matches('"').rsplit('/').next();
            tarball = name.map(str::to_owned);
        }
        if line.contains("SHA256") {
            let name = tarball
                .take()
                .context("a line with `SHA256` has no URL before it")?;
            line = match sums.get(&name) {
                Some(sum) => line.replace("SHA256", sum),
                None => line.replace("SHA256", NOTHING),
            };
            if !sums.contains_key(&name) {
                absent.push(name);
            }
        }
        text.push_str(&line);
        text.push('\n');
    }
    Ok((text, absent))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::release::files::{ARCHITECTURES, tarball};

    fn template() -> String {
        fs::read_to_string(Path::new("..").join(TEMPLATE)).unwrap()
    }

    /// Returns a different sum for each tarball.
    fn sums() -> BTreeMap<String, String> {
        let systems = ["linux", "macos"].iter().enumerate();
        let all = systems.flat_map(|(number, system)| {
            ARCHITECTURES.map(|arch| {
                let digit = if arch == "x86_64" { "a" } else { "b" };
                (tarball(system, arch), format!("{number}{digit}").repeat(32))
            })
        });
        all.collect()
    }

    #[test]
    fn each_url_is_followed_by_the_sum_of_its_file() {
        let sums = sums();
        let (text, absent) = render(&template(), VERSION, &sums).unwrap();
        assert!(absent.is_empty(), "{absent:?}");
        for word in ["VERSION", "SHA256", "Template"] {
            assert!(!text.contains(word), "{text}");
        }
        for (name, sum) in &sums {
            let url = format!(
                "url \"https://github.com/ghdwlsgur/vctl/releases/download/v{VERSION}/{name}\"\n      sha256 \"{sum}\"\n"
            );
            assert!(text.contains(&url), "{url}\n{text}");
        }
        assert_eq!(text.matches("sha256 \"").count(), sums.len());
        assert!(text.contains(&format!("  version \"{VERSION}\"\n")));
    }

    #[test]
    fn each_tarball_stands_in_the_block_of_its_system() {
        let (text, _) = render(&template(), VERSION, &sums()).unwrap();
        let mut blocks = Vec::new();
        let mut found = Vec::new();
        for line in text.lines().map(str::trim) {
            if let Some(block) = line.strip_prefix("on_") {
                blocks.push(block.trim_end_matches(" do").to_owned());
            } else if line == "end" {
                blocks.pop();
            } else if line.starts_with("url ") {
                let arch = if blocks[1] == "intel" {
                    "x86_64"
                } else {
                    "aarch64"
                };
                found.push(tarball(&blocks[0], arch));
                assert!(line.contains(found.last().unwrap()), "{line} {blocks:?}");
            }
        }
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn a_missing_tarball_gets_a_sum_that_fits_no_file() {
        let mut sums = sums();
        let name = tarball("macos", "aarch64");
        sums.remove(&name);
        let (text, absent) = render(&template(), VERSION, &sums).unwrap();
        assert_eq!(absent, [name]);
        assert_eq!(text.matches(NOTHING).count(), 1);
    }

    #[test]
    fn ruby_can_read_the_formula() {
        let (text, _) = render(&template(), VERSION, &sums()).unwrap();
        // Ruby is not installed on every machine that builds vctl.
        let mut ruby = Command::new("ruby");
        let Ok(output) = ruby.args(["-c", "-e", &text]).output() else {
            return;
        };
        assert!(output.status.success(), "{output:?}");
    }
}
