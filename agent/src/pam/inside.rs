//! Paths below the root directory of an image: a link must not lead to a file of this machine.

use std::fs;
use std::path::{Path, PathBuf};

/// A path of an image that is a link to a file outside of the image.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is a link that leaves the image", path.display())]
pub struct LeavesRoot {
    pub path: PathBuf,
}

/// Returns where the content of a path below `root` is: a link stays a link, and its target may not exist yet.
///
/// # Errors
/// The path, or a directory above it, is a link that leaves `root` or has no target.
pub fn inside(root: &Path, path: &str) -> Result<PathBuf, LeavesRoot> {
    let named = root.join(path.trim_start_matches('/'));
    if root == Path::new("/") {
        return Ok(fs::canonicalize(&named).unwrap_or(named));
    }
    let mut there = named.as_path();
    // A link without a target is found here too.
    while there != root && fs::symlink_metadata(there).is_err() {
        there = there.parent().unwrap_or(root);
    }
    let leaves = || LeavesRoot {
        path: there.to_owned(),
    };
    let real = fs::canonicalize(there).map_err(|_| leaves())?;
    let real_root = fs::canonicalize(root).map_err(|_| leaves())?;
    if !real.starts_with(real_root) {
        return Err(leaves());
    }
    Ok(match named.strip_prefix(there) {
        Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
        _ => real,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_of_an_image_stays_in_the_image() {
        let work = tempfile::tempdir().unwrap();
        let work = work.path().canonicalize().unwrap();
        let root = work.join("image");
        for directory in ["image/etc/pam.d", "image/usr/bin", "machine"] {
            fs::create_dir_all(work.join(directory)).unwrap();
        }
        symlink("bin", root.join("usr/sbin")).unwrap();
        symlink(work.join("machine"), root.join("etc/vctl")).unwrap();
        symlink("/gone", root.join("etc/systemd")).unwrap();
        assert_eq!(
            inside(&root, "/usr/sbin/vctl-agent"),
            Ok(root.join("usr/bin/vctl-agent"))
        );
        assert_eq!(
            inside(&root, "/var/lib/vctl"),
            Ok(root.join("var/lib/vctl"))
        );
        for (path, link) in [
            ("/etc/vctl/agent.yaml", "etc/vctl"),
            ("/etc/vctl", "etc/vctl"),
            ("/etc/systemd/system/x", "etc/systemd"),
        ] {
            let path = inside(&root, path).unwrap_err().path;
            assert_eq!(path, root.join(link));
        }
        assert_eq!(
            inside(Path::new("/"), "/no/such/file"),
            Ok("/no/such/file".into())
        );
    }
}
