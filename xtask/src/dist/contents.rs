//! The list of a package's files (`deploy/packages/*/contents`), and the tree that it describes.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};

use super::Build;

/// Generated pages, of which the list names only the pattern.
const MANUAL: &str = "@man";

#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    /// None for a symbolic link.
    mode: Option<u32>,
    path: &'a str,
    /// Target of a link, or the source.
    source: &'a str,
}

fn parse(text: &str) -> Result<Vec<Line<'_>>> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (mode, path, source) = match fields.as_slice() {
                ["link", path, "->", target] => (None, *path, *target),
                [mode, path, source] => (
                    Some(u32::from_str_radix(mode, 8).with_context(|| line.to_owned())?),
                    *path,
                    *source,
                ),
                _ => bail!("`{line}` is not a mode, a path and a source"),
            };
            ensure!(path.starts_with('/'), "`{path}` is not an absolute path");
            Ok(Line { mode, path, source })
        })
        .collect()
}

/// Writes the files of the package below `root`, and returns their paths without the first slash.
///
/// `place` may move a file, for a format whose system has another directory for it.
pub(super) fn stage(build: &Build, root: &Path, place: fn(&str) -> String) -> Result<Vec<String>> {
    let list = build.package.directory().join("contents");
    let text = fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    let mut paths = Vec::new();
    for line in parse(&text).with_context(|| list.display().to_string())? {
        let moved = place(line.path);
        let path = moved.trim_start_matches('/');
        let (Some(mode), true) = (line.mode, line.source != MANUAL) else {
            let directory = Path::new(path).parent().unwrap_or(Path::new(""));
            fs::create_dir_all(root.join(directory))?;
            if line.source != MANUAL {
                symlink(line.source, root.join(path))?;
                paths.push(path.to_owned());
                continue;
            }
            for page in fs::read_dir(build.generated("man"))? {
                let page = page?;
                let path = directory.join(page.file_name());
                install(&page.path(), &root.join(&path), 0o644)?;
                paths.push(path.to_string_lossy().into_owned());
            }
            continue;
        };
        let source = match line.source.strip_prefix('@') {
            Some(name) => build.generated(name),
            None => PathBuf::from(line.source),
        };
        install(&source, &root.join(path), mode)?;
        paths.push(path.to_owned());
    }
    paths.sort();
    set_times(root, build.epoch)?;
    Ok(paths)
}

fn install(source: &Path, to: &Path, mode: u32) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::copy(source, to)
        .with_context(|| format!("cannot copy `{}` to `{}`", source.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// Gives every file and directory the same time and each directory the mode 0755, whatever the umask is.
pub(super) fn set_times(path: &Path, epoch: u64) -> Result<()> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_symlink() {
        return Ok(());
    }
    if kind.is_dir() {
        for entry in fs::read_dir(path)? {
            set_times(&entry?.path(), epoch)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(epoch);
    File::open(path)?.set_times(FileTimes::new().set_modified(time))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_mode_a_path_and_a_source() {
        let text = "# a\n0755  /usr/bin/x  @program\nlink /usr/bin/y -> x\n";
        let wanted = [
            (Some(0o755), "/usr/bin/x", "@program"),
            (None, "/usr/bin/y", "x"),
        ];
        let wanted = wanted.map(|(mode, path, source)| Line { mode, path, source });
        assert_eq!(parse(text).unwrap(), wanted);
        for wrong in ["0755 usr/bin/x y", "9 /x y", "/usr/bin/x", "link /x y"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
