//! Lines of all PAM files that run `vctl-agent stamp`: without the program, they refuse logins.

use std::path::Path;

use super::files::{CONF, PamFiles, read};
use super::lines::{fields, logical_lines};
use super::stack::{Module, is_stamp, session_stack};

/// A line that runs `vctl-agent stamp`, of any type and in any file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StampLine {
    pub file: String,
    /// Number of the line, from 1.
    pub line: usize,
    /// [`remove`](super::remove) for the service of the file deletes the line: it is a line of that session stack.
    pub is_removable: bool,
}

/// Returns the lines below `root`, except those that [`remove`](super::remove) deletes for the services of `except`.
pub fn stamp_lines(root: &Path, except: &[&str]) -> Vec<StampLine> {
    let files = PamFiles::read(root);
    let removed: Vec<StampLine> = except
        .iter()
        .flat_map(|service| own_stamps(&files, service))
        .collect();
    // libpam ignores this file while /etc/pam.d exists, and reads it again without that directory.
    let conf = read(root, CONF);
    let conf = conf.iter().map(|text| (CONF, text.as_str()));
    let mut found: Vec<StampLine> = files
        .texts()
        .chain(conf)
        .flat_map(|(file, text)| {
            let lines = logical_lines(text).into_iter();
            let lines = lines.filter(|line| fields(&line.text).windows(2).any(is_stamp));
            let own = file.strip_prefix("/etc/pam.d/");
            let own = own.map_or_else(Vec::new, |service| own_stamps(&files, service));
            lines.map(move |line| StampLine {
                file: file.to_owned(),
                line: line.first,
                is_removable: own.iter().any(|own| own.line == line.first),
            })
        })
        .filter(|line| {
            let is_same = |of: &StampLine| (&of.file, of.line) == (&line.file, line.line);
            !removed.iter().any(is_same)
        })
        .collect();
    found.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    // A file that an include names by its path is read twice.
    found.dedup();
    found
}

fn own_stamps(files: &PamFiles, service: &str) -> Vec<StampLine> {
    let Some(file) = files.get(service) else {
        return Vec::new();
    };
    let stack = session_stack(files, service).unwrap_or_default();
    let is_own =
        |module: &Module| module.is_stamp() && !module.included && module.file == file.path;
    let own = stack.into_iter().filter(is_own);
    own.map(|module| StampLine {
        file: module.file,
        line: module.line,
        is_removable: true,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const STAMP: &str = "session required pam_exec.so quiet /usr/sbin/vctl-agent stamp\n";

    #[test]
    fn lines_of_every_service_and_type_are_found() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put(
            "etc/pam.d/sshd",
            &format!("# {STAMP}{STAMP}@include /etc/pam.d/common\n"),
        );
        put(
            "etc/pam.d/common",
            "auth required \\\n pam_exec.so /opt/vctl-agent stamp\n",
        );
        put("usr/lib/pam.d/login", STAMP);
        put("etc/pam.conf", &format!("sshd {STAMP}"));
        let found = |except: &[&str]| -> Vec<String> {
            let lines = stamp_lines(root.path(), except).into_iter();
            lines
                .map(|line| format!("{}:{}", line.file, line.line))
                .collect()
        };
        let of_others = ["/etc/pam.conf:1", "/etc/pam.d/common:1"];
        let all = [
            &of_others[..],
            &["/etc/pam.d/sshd:2", "/usr/lib/pam.d/login:1"],
        ]
        .concat();
        assert_eq!(found(&[]), all);
        let of_others = [&of_others[..], &["/usr/lib/pam.d/login:1"]].concat();
        assert_eq!(found(&["sshd"]), of_others);
        put("etc/pam.d/login", STAMP);
        assert_eq!(
            found(&["sshd", "login"]),
            ["/etc/pam.conf:1", "/etc/pam.d/common:1"]
        );
        let lines = stamp_lines(root.path(), &[]).into_iter();
        let removable = lines.filter(|line| line.is_removable);
        let removable: Vec<String> = removable.map(|line| line.file).collect();
        assert_eq!(removable, ["/etc/pam.d/login", "/etc/pam.d/sshd"]);
    }
}
