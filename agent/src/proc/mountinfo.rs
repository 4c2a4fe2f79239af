//! The text of `/proc/self/mountinfo`. No I/O. Source: proc_pid_mountinfo(5).

use std::path::{Path, PathBuf};

/// Mount point of a cgroup2 file system, and the directory that is its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup2Mount {
    pub root: String,
    pub mount_point: PathBuf,
}

/// Finds the unified hierarchy in all of `/proc/self/mountinfo`; on hybrid hosts it is at
/// `/sys/fs/cgroup/unified`.
pub fn parse_cgroup2_mount(mountinfo: &str) -> Option<Cgroup2Mount> {
    mountinfo.lines().find_map(|line| {
        let (mount, fs) = line.split_once(" - ")?;
        if fs.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = mount.split(' ');
        let root = unescaped(fields.nth(3)?);
        let mount_point = PathBuf::from(unescaped(fields.next()?));
        Some(Cgroup2Mount { root, mount_point })
    })
}

/// Returns the type of the file system of a path.
pub fn mounted_on<'a>(mountinfo: &'a str, path: &Path) -> Option<&'a str> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (mount, fs) = line.split_once(" - ")?;
        Some((unescaped(mount.split(' ').nth(4)?), fs.split(' ').next()?))
    });
    // Of two mounts of the same depth, the last one hides the other.
    mounts
        .filter(|(point, _)| path.starts_with(point))
        .max_by_key(|(point, _)| Path::new(point).components().count())
        .map(|(_, fs)| fs)
}

/// Decodes a field: mountinfo writes blank, tab, newline and backslash as `\040` and the like.
fn unescaped(field: &str) -> String {
    field
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

impl Cgroup2Mount {
    /// Returns the directory of a cgroup, `None` for one outside the mount.
    pub fn directory(&self, cgroup: &str) -> Option<PathBuf> {
        let below = if self.root == "/" {
            cgroup
        } else {
            cgroup
                .strip_prefix(&self.root)
                .filter(|below| below.is_empty() || below.starts_with('/'))?
        };
        // The kernel writes `/..` for a cgroup above our namespace's root.
        if below.split('/').any(|part| part == "..") {
            return None;
        }
        Some(self.mount_point.join(below.trim_start_matches('/')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cgroup_outside_the_mount_has_no_directory() {
        let mount = |root: &str| Cgroup2Mount {
            root: root.to_owned(),
            mount_point: "/c".into(),
        };
        let directory = |root, cgroup| mount(root).directory(cgroup);
        assert_eq!(directory("/", "/a/b"), Some("/c/a/b".into()));
        assert_eq!(directory("/a", "/a/b"), Some("/c/b".into()));
        assert_eq!(directory("/a", "/x"), None);
        assert_eq!(directory("/a", "/ab"), None);
        assert_eq!(directory("/", "/../x"), None);
    }

    #[test]
    fn the_unified_hierarchy_is_found_also_on_a_hybrid_host() {
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw shared:1 - cgroup2 cgroup2 rw\n";
        let mount = parse_cgroup2_mount(hybrid).unwrap();
        assert_eq!(mount.mount_point, Path::new("/sys/fs/cgroup/uni fied"));
        assert_eq!(
            parse_cgroup2_mount("31 23 0:28 / /x rw - tmpfs tmpfs rw\n"),
            None
        );
    }

    #[test]
    fn a_mount_point_with_a_blank_is_found() {
        let mounts = "22 1 0:21 / / rw - ext4 /dev/sda1 rw\n\
                      41 22 0:30 / /run/my\\040pins rw - bpf bpf rw\n";
        let of = |path| mounted_on(mounts, Path::new(path));
        assert_eq!(of("/run/my pins/vctl"), Some("bpf"));
        assert_eq!(of("/run/my\\040pins/vctl"), Some("ext4"));
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC*") {
            parse_cgroup2_mount(&text);
            mounted_on(&text, Path::new("/x"));
        }
    }
}
