//! The session stack of a PAM service, with its includes. No I/O.

use super::control;
use super::files::{PamFile, PamFiles};
use super::lines::{fields, logical_lines};

/// One module of a stack, in the order in which PAM runs it; or the line of a substack, which a jump counts as one module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// `required`, `optional`, `[success=ok ...]`.
    pub(crate) control: String,
    /// Name without the directory: `pam_exec.so`.
    pub(crate) name: String,
    pub(crate) arguments: Vec<String>,
    /// Path of the file with the line.
    pub(crate) file: String,
    /// Number of the line in the file, from 1.
    pub(crate) line: usize,
    /// The line of the service's own file that is this line or includes it.
    pub(super) own_line: OwnLine,
    pub(super) included: bool,
    /// Number of substacks around the module.
    pub(super) level: usize,
}

/// A line of the service's own file, with its continuation lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OwnLine {
    pub(super) first: usize,
    pub(super) last: usize,
}

impl Module {
    /// Returns whether the line runs `vctl-agent stamp`.
    pub(crate) fn is_stamp(&self) -> bool {
        self.stamp_program().is_some()
    }

    /// Returns the path of the `vctl-agent` that the line runs as `stamp`.
    pub(crate) fn stamp_program(&self) -> Option<&str> {
        let at = self.arguments.windows(2).position(is_stamp)?;
        // pam_exec's own options are before the program. A line for the end of a session stamps no
        // login.
        let mut types = self.arguments[..at]
            .iter()
            .filter_map(|option| option.strip_prefix("type="));
        let runs = self.name == "pam_exec.so" && types.all(|kind| kind == "open_session");
        runs.then(|| self.arguments[at].as_str())
    }

    /// Returns file and line, for messages.
    pub(crate) fn place(&self) -> String {
        format!("{} line {}", self.file, self.line)
    }

    /// Returns whether the module lets the user set the environment of later modules.
    pub(crate) fn reads_users_environment(&self) -> bool {
        self.name == "pam_env.so" && self.arguments.iter().any(|a| a == "user_readenv=1")
    }

    /// Returns how many of the next modules each result of this one skips: `[success=1 default=ignore]`.
    pub(super) fn jumps(&self) -> impl Iterator<Item = usize> {
        control::jumps(&self.control)
    }

    /// Returns whether a success of the module ends the stack, or the substack around it.
    pub(super) fn ends_stack(&self) -> bool {
        control::action(&self.control, "success") == Some("done")
    }

    /// Returns whether a failure of the module refuses the login: pam_exec.so returns `system_err` for a program that
    /// fails, and libpam `perm_denied` for a module that is missing.
    pub(crate) fn is_binding(&self) -> bool {
        let refuses = |result| {
            let action = control::action(&self.control, result);
            action.is_some_and(|action| matches!(action, "bad" | "die"))
        };
        refuses("system_err") && refuses("perm_denied")
    }
}

/// Returns whether two words of a line run `vctl-agent stamp`.
pub(super) fn is_stamp(pair: &[String]) -> bool {
    pair[0].rsplit('/').next() == Some("vctl-agent") && pair[1] == "stamp"
}

/// Returns the programs that the service's session lines run as `stamp`.
pub fn stamp_programs(files: &PamFiles, service: &str) -> Vec<String> {
    let modules = session_stack(files, service).unwrap_or_default();
    let programs = modules
        .iter()
        .filter_map(|module| module.stamp_program().map(ToOwned::to_owned));
    programs.collect()
}

/// Returns the lines of a stack that stamp a login.
pub fn stamps(stack: &[Module]) -> Vec<&Module> {
    stack.iter().filter(|module| module.is_stamp()).collect()
}

/// Deeper than any real stack; stops a file that includes itself.
const DEPTH_MAX: usize = 8;

/// The service that libpam uses if a service has no file or no session lines.
const OTHER: &str = "other";

/// Returns the session modules of a service; `None` when it has no file.
pub fn session_stack(files: &PamFiles, service: &str) -> Option<Vec<Module>> {
    let own = service_stack(files, service);
    if own.as_ref().is_some_and(|stack| !stack.is_empty()) {
        return own;
    }
    service_stack(files, OTHER)
        .filter(|stack| !stack.is_empty())
        .or(own)
}

fn service_stack(files: &PamFiles, service: &str) -> Option<Vec<Module>> {
    let of_conf = files.service_of_conf(service);
    let file = of_conf.as_ref().or_else(|| files.get(service))?;
    let mut stack = Vec::new();
    let top = Place {
        own: None,
        depth: DEPTH_MAX,
        level: 0,
    };
    follow(files, file, top, &mut stack);
    Some(stack)
}

/// The place of an included file in the stack.
#[derive(Clone, Copy)]
struct Place {
    /// The line of the service's own file that includes it.
    own: Option<OwnLine>,
    /// Number of includes that may follow.
    depth: usize,
    /// Number of substacks around it.
    level: usize,
}

/// Adds the modules of a file.
fn follow(files: &PamFiles, file: &PamFile, place: Place, stack: &mut Vec<Module>) {
    for line in logical_lines(&file.text) {
        let first = file.lines_before.get(line.first - 1);
        let number = first.copied().unwrap_or(line.first);
        let own_line = place.own.unwrap_or(OwnLine {
            first: number,
            last: number + line.last - line.first,
        });
        let mut fields = fields(&line.text).into_iter();
        let Some(kind) = fields.next() else { continue };
        let include = |target: Option<String>, level: usize, stack: &mut Vec<Module>| {
            // PAM reports a missing file; here it adds no modules.
            let found = target.and_then(|target| files.get(&target));
            if let Some(file) = found.filter(|_| place.depth > 0) {
                let before = stack.len();
                let place = Place {
                    own: Some(own_line),
                    depth: place.depth - 1,
                    level,
                };
                follow(files, file, place, stack);
                for module in &mut stack[before..] {
                    module.included = true;
                }
            }
        };
        if kind == "@include" {
            include(fields.next(), place.level, stack);
            continue;
        }
        // `-session`: PAM logs nothing if the module is missing.
        if !kind.trim_start_matches('-').eq_ignore_ascii_case("session") {
            continue;
        }
        let control = fields.next().unwrap_or_default();
        if control.eq_ignore_ascii_case("include") {
            include(fields.next(), place.level, stack);
            continue;
        }
        let is_substack = control.eq_ignore_ascii_case("substack");
        let Some(path) = fields.next() else { continue };
        stack.push(Module {
            control,
            name: path.rsplit('/').next().unwrap_or_default().to_owned(),
            arguments: fields.collect(),
            file: file.path.clone(),
            line: number,
            own_line,
            included: false,
            level: place.level,
        });
        if is_substack {
            include(Some(path), place.level + 1, stack);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn files(files: &[(&str, &str)]) -> PamFiles {
        PamFiles::of(files)
    }

    fn names(files: &PamFiles) -> Vec<String> {
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
            [
                "pam_a.so", "pam_b.so", "pam_c.so", "more", "pam_c.so", "pam_z.so"
            ]
        );
        let stack = session_stack(&files, "sshd").unwrap();
        assert_eq!(stack[2].arguments, ["x=[y z]"]);
        assert!(stack[2].is_binding() && !stack[1].is_binding());
        let levels: Vec<usize> = stack.iter().map(|module| module.level).collect();
        assert_eq!(levels, [0, 0, 0, 0, 1, 0]);
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
    fn both_stamps_are_found_wherever_they_stand() {
        let stamp = "pam_exec.so quiet type=open_session /usr/sbin/vctl-agent stamp\n";
        let twice = |sshd: &str, common: &str| {
            let files = files(&[("sshd", sshd), ("common", common)]);
            let stack = session_stack(&files, "sshd").unwrap();
            let found = stamps(&stack);
            found.iter().map(|stamp| stamp.place()).collect::<Vec<_>>()
        };
        let both = [
            "/etc/pam.d/common line 2".to_owned(),
            "/etc/pam.d/sshd line 3".to_owned(),
        ];
        for include in [
            "@include common",
            "session include common",
            "session substack common",
            "-session include /etc/pam.d/common",
        ] {
            let found = twice(
                &format!("# x\n{include}\nsession required \\\n {stamp}"),
                &format!("# y\n-session optional {stamp}"),
            );
            assert_eq!(found, both, "{include}");
        }
        // A line for the end of a session, or of another type, stamps no login.
        let other = format!(
            "session required pam_exec.so type=close_session /x/vctl-agent stamp\nauth required {stamp}"
        );
        assert_eq!(twice(&other, ""), [""; 0]);
    }

    #[test]
    fn a_service_without_session_lines_has_those_of_other() {
        let files = files(&[
            ("sshd", "auth required pam_a.so\n"),
            ("other", "session required pam_o.so\n"),
        ]);
        assert_eq!(names(&files), ["pam_o.so"]);
    }

    #[test]
    fn a_service_without_a_file_has_no_stack() {
        assert_eq!(session_stack(&PamFiles::default(), "sshd"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(session|@include|\\[|\\]|\\\\|\n| |sshd|\\PC){0,40}") {
            session_stack(&files(&[("sshd", &text)]), "sshd");
        }
    }
}
