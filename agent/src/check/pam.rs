//! The session stack of a PAM service, its includes followed. Pure.

use std::collections::BTreeMap;

/// One module of a stack, in the order in which PAM runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Module {
    /// `required`, `optional`, `[success=ok ...]`.
    pub(super) control: String,
    /// Without its directory: `pam_exec.so`.
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
}

impl Module {
    /// Runs `vctl-agent stamp`.
    pub(super) fn is_stamp(&self) -> bool {
        self.stamp_program().is_some()
    }

    /// Returns the path of the `vctl-agent` that a line runs as `stamp`.
    pub(super) fn stamp_program(&self) -> Option<&str> {
        let mut pairs = self.arguments.windows(2);
        let pair = pairs
            .find(|pair| pair[0].rsplit('/').next() == Some("vctl-agent") && pair[1] == "stamp")?;
        (self.name == "pam_exec.so").then_some(pair[0].as_str())
    }

    /// Lets the person logging in write the environment that later modules see.
    pub(super) fn reads_users_environment(&self) -> bool {
        self.name == "pam_env.so" && self.arguments.iter().any(|a| a == "user_readenv=1")
    }

    /// Its failure refuses the login.
    pub(super) fn is_binding(&self) -> bool {
        matches!(self.control.as_str(), "required" | "requisite")
            || self.control.contains("default=bad")
            || self.control.contains("default=die")
    }
}

/// Returns the programs that the files' session lines run as `stamp`.
pub(super) fn stamp_programs(files: &BTreeMap<String, String>) -> Vec<String> {
    let stacks = files.keys().filter_map(|name| session_stack(files, name));
    let modules = stacks.flatten();
    let programs = modules.filter_map(|module| module.stamp_program().map(ToOwned::to_owned));
    programs.collect()
}

/// Deeper than any stack; ends a file that includes itself.
const DEPTH_MAX: usize = 8;

/// Returns the session modules of a service, `None` when it has no file.
pub(super) fn session_stack(
    files: &BTreeMap<String, String>,
    service: &str,
) -> Option<Vec<Module>> {
    let mut stack = Vec::new();
    follow(files, service, DEPTH_MAX, &mut stack)?;
    Some(stack)
}

fn follow(
    files: &BTreeMap<String, String>,
    name: &str,
    depth: usize,
    stack: &mut Vec<Module>,
) -> Option<()> {
    let text = files.get(name)?.replace("\\\n", " ");
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let mut fields = fields(line).into_iter();
        let Some(kind) = fields.next() else { continue };
        let mut include = |target: Option<String>| {
            let target = target.unwrap_or_default();
            let target = target.rsplit('/').next().unwrap_or_default();
            if depth > 0 {
                // One that is missing is PAM's error to report; here it adds nothing.
                let _ = follow(files, target, depth - 1, stack);
            }
        };
        if kind == "@include" {
            include(fields.next());
            continue;
        }
        // `-session`: no word in the log when the module is missing.
        if !kind.trim_start_matches('-').eq_ignore_ascii_case("session") {
            continue;
        }
        let control = fields.next().unwrap_or_default();
        if control == "include" || control == "substack" {
            include(fields.next());
            continue;
        }
        let Some(path) = fields.next() else { continue };
        stack.push(Module {
            control,
            name: path.rsplit('/').next().unwrap_or_default().to_owned(),
            arguments: fields.collect(),
        });
    }
    Some(())
}

/// Splits at blanks, but not inside `[...]`.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut inside = false;
    for c in line.chars() {
        inside = (inside || c == '[') && c != ']';
        if c.is_ascii_whitespace() && !inside {
            fields.push(String::new());
        } else if let Some(field) = fields.last_mut() {
            field.push(c);
        }
    }
    fields.retain(|field| !field.is_empty());
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn files(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect()
    }

    fn names(files: &BTreeMap<String, String>) -> Vec<String> {
        let stack = session_stack(files, "sshd").unwrap();
        stack.into_iter().map(|module| module.name).collect()
    }

    #[test]
    fn every_way_to_include_a_file_is_followed_in_its_place() {
        let files = files(&[
            (
                "sshd",
                "session required pam_a.so\n@include common\nsession include more\nsession substack /etc/pam.d/more\nsession required pam_z.so\n",
            ),
            (
                "common",
                "auth required pam_no.so\n-session optional /lib/security/pam_b.so\n",
            ),
            (
                "more",
                "SESSION [success=ok  default=bad] pam_c.so x=[y z]\n",
            ),
        ]);
        assert_eq!(
            names(&files),
            ["pam_a.so", "pam_b.so", "pam_c.so", "pam_c.so", "pam_z.so"]
        );
        let stack = session_stack(&files, "sshd").unwrap();
        assert_eq!(stack[2].arguments, ["x=[y z]"]);
        assert!(stack[2].is_binding() && !stack[1].is_binding());
    }

    #[test]
    fn a_file_that_includes_itself_ends() {
        let files = files(&[("sshd", "session required pam_a.so\n@include sshd\n")]);
        assert_eq!(names(&files).len(), DEPTH_MAX + 1);
    }

    #[test]
    fn comments_and_continued_lines_are_read_as_pam_reads_them() {
        let files = files(&[(
            "sshd",
            "# session required pam_no.so\nsession required \\\n  pam_exec.so quiet /usr/sbin/vctl-agent stamp # x\n",
        )]);
        let stack = session_stack(&files, "sshd").unwrap();
        assert_eq!(stack.len(), 1);
        assert!(stack[0].is_stamp());
    }

    #[test]
    fn a_service_without_a_file_has_no_stack() {
        assert_eq!(session_stack(&BTreeMap::new(), "sshd"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(session|@include|\\[|\\]|\\\\|\n| |sshd|\\PC){0,40}") {
            session_stack(&files(&[("sshd", &text)]), "sshd");
        }
    }
}
