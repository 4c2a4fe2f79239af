//! Whether the kernel preempts itself, as far as texts of the host say it.
//!
//! The kernel has no interface for this. Its debugfs has one, but lockdown forbids to read it (Secure Boot), and not
//! every host mounts it. So further texts decide where it is silent.

use std::fs;
use std::path::Path;

use super::failed_links::has_tracepoint;
use super::kernel::version;

const SCHEDULER: &str = "sys/kernel/debug/sched/preempt";
const COMMAND_LINE: &str = "proc/cmdline";

/// From this release on, kernels of x86-64 and arm64 have only the modes `full` and `lazy`.
const ALWAYS_PREEMPTIBLE: (u32, u32) = (7, 0);

/// What is known about a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Preemption {
    is_preemptible: bool,
    /// The text that says so, and where it stands.
    source: String,
}

/// Texts of a host; `None` if one could not be read.
#[derive(Clone, Copy, Debug, Default)]
struct Texts<'a> {
    /// All modes, with the present one in parentheses. The mode can change at run time.
    scheduler: Option<&'a str>,
    command_line: Option<&'a str>,
    /// `uname -v`.
    version: Option<&'a str>,
    /// `uname -r`.
    release: Option<&'a str>,
    /// The options with which the kernel was built.
    build: Option<&'a str>,
}

/// Returns how it is known that the kernel below `root` preempts itself. It may then skip a probe at the exit of exec.
/// `None` also if failed execs can be watched only by such probes: a record with few of them missing is better than one
/// without.
pub fn preemptible_by(root: &Path) -> Option<String> {
    let found = of(root)?;
    (found.is_preemptible && has_tracepoint(root)).then_some(found.source)
}

/// Reads the texts below `root`. Returns `None` if they do not say it.
fn of(root: &Path) -> Option<Preemption> {
    let text = |path: &str| fs::read_to_string(root.join(path)).ok();
    let release = text("proc/sys/kernel/osrelease");
    let release = release.as_deref().map(str::trim);
    let [scheduler, command_line, version, build] = [
        text(SCHEDULER),
        text(COMMAND_LINE),
        text("proc/sys/kernel/version"),
        text(&build_path(release.unwrap_or_default())),
    ];
    decide(Texts {
        scheduler: scheduler.as_deref(),
        command_line: command_line.as_deref(),
        version: version.as_deref(),
        release,
        build: build.as_deref(),
    })
}

fn build_path(release: &str) -> String {
    format!("boot/config-{release}")
}

fn decide(texts: Texts<'_>) -> Option<Preemption> {
    let known = |is_preemptible, source| {
        Some(Preemption {
            is_preemptible,
            source,
        })
    };
    if let Some((mode, is_preemptible)) = present_mode(texts.scheduler.unwrap_or_default()) {
        return known(is_preemptible, format!("`{mode}` in /{SCHEDULER}"));
    }
    let flag = texts.version.map(build_flag);
    match flag {
        // The command line changes nothing there. `PREEMPT` may also be a kernel before 5.16 that can change its mode.
        // It then starts with `full`.
        Some(Some(flag @ ("PREEMPT" | "PREEMPT_LAZY" | "PREEMPT_RT"))) => {
            return known(true, format!("`{flag}` in `uname -v`"));
        }
        Some(None) => return known(false, "no `PREEMPT` in `uname -v`".to_owned()),
        // `PREEMPT_DYNAMIC`: the mode was chosen at boot.
        _ => {}
    }
    let release = texts.release.unwrap_or_default();
    if version(release).is_some_and(|version| version >= ALWAYS_PREEMPTIBLE) {
        return known(true, format!("Linux {release} has no other mode"));
    }
    if let Some((mode, is_preemptible)) = chosen_mode(texts.command_line.unwrap_or_default()) {
        let source = format!("`preempt={mode}` in /{COMMAND_LINE}");
        return known(is_preemptible, source);
    }
    let (option, is_preemptible) = built_mode(texts.build?)?;
    known(
        is_preemptible,
        format!("`{option}` in /{}", build_path(release)),
    )
}

fn is_preemptible(mode: &str) -> Option<bool> {
    match mode {
        "full" | "lazy" => Some(true),
        "none" | "voluntary" => Some(false),
        _ => None,
    }
}

/// Returns the mode in parentheses of `none voluntary (full)`.
fn present_mode(modes: &str) -> Option<(&str, bool)> {
    let (mode, _) = modes.split_once('(')?.1.split_once(')')?;
    Some((mode, is_preemptible(mode)?))
}

/// Returns the flag in `#1 SMP PREEMPT_DYNAMIC Debian 6.12.117-1 (2026-11-02)`.
fn build_flag(version: &str) -> Option<&str> {
    let mut words = version.split_whitespace();
    words.find(|word| word.starts_with("PREEMPT"))
}

/// Returns the last mode of the command line that the kernel knows. Words after `--` are those of init.
fn chosen_mode(command_line: &str) -> Option<(&str, bool)> {
    let words = command_line.split_whitespace();
    let modes = words
        .take_while(|word| *word != "--")
        .filter_map(|word| word.strip_prefix("preempt="));
    modes
        .filter_map(|mode| Some((mode, is_preemptible(mode)?)))
        .last()
}

/// Returns the option that chose the mode of a kernel without `preempt=`.
fn built_mode(options: &str) -> Option<(&str, bool)> {
    options.lines().find_map(|option| match option {
        "CONFIG_PREEMPT=y" | "CONFIG_PREEMPT_LAZY=y" | "CONFIG_PREEMPT_RT=y" => {
            Some((option, true))
        }
        "CONFIG_PREEMPT_NONE=y" | "CONFIG_PREEMPT_VOLUNTARY=y" => Some((option, false)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DYNAMIC: Texts<'_> = Texts {
        scheduler: None,
        command_line: None,
        version: Some("#1 SMP PREEMPT_DYNAMIC Debian 6.12.117-1 (2026-11-02)\n"),
        release: Some("6.12.117+deb13-cloud-amd64"),
        build: None,
    };

    fn scheduler(modes: &'static str) -> Texts<'static> {
        Texts {
            scheduler: Some(modes),
            ..DYNAMIC
        }
    }

    fn command_line(line: &'static str) -> Texts<'static> {
        Texts {
            command_line: Some(line),
            ..DYNAMIC
        }
    }

    fn uname(version: &'static str) -> Texts<'static> {
        Texts {
            version: Some(version),
            ..DYNAMIC
        }
    }

    fn release(release: &'static str) -> Texts<'static> {
        Texts {
            release: Some(release),
            ..DYNAMIC
        }
    }

    fn build(options: &'static str) -> Texts<'static> {
        Texts {
            build: Some(options),
            ..DYNAMIC
        }
    }

    fn assert_each(expected: &[(Texts<'_>, Option<(bool, &str)>)]) {
        for (texts, expected) in expected {
            let found = decide(*texts);
            let found = found
                .as_ref()
                .map(|found| (found.is_preemptible, found.source.as_str()));
            assert_eq!(found, *expected, "{texts:?}");
        }
    }

    #[test]
    fn the_present_mode_of_the_scheduler_decides() {
        let said = |is_preemptible, source| Some((is_preemptible, source));
        assert_each(&[
            (
                scheduler("none voluntary (full) \n"),
                said(true, "`full` in /sys/kernel/debug/sched/preempt"),
            ),
            (
                scheduler("full (lazy) \n"),
                said(true, "`lazy` in /sys/kernel/debug/sched/preempt"),
            ),
            (
                scheduler("none (voluntary) full \n"),
                said(false, "`voluntary` in /sys/kernel/debug/sched/preempt"),
            ),
            // The mode was changed after the boot.
            (
                Texts {
                    scheduler: Some("(none) voluntary full \n"),
                    ..command_line("preempt=full")
                },
                said(false, "`none` in /sys/kernel/debug/sched/preempt"),
            ),
            (scheduler("none (undefined) full \n"), None),
            (scheduler("none voluntary full \n"), None),
        ]);
    }

    #[test]
    fn a_mode_that_was_built_in_needs_no_other_text() {
        let says = |flag| (true, flag);
        assert_each(&[
            (
                uname("#1 SMP PREEMPT_RT Debian 6.12.117-1 (2026-11-02)\n"),
                Some(says("`PREEMPT_RT` in `uname -v`")),
            ),
            (
                Texts {
                    command_line: Some("preempt=none"),
                    ..uname("#1-NixOS SMP PREEMPT Mon Nov  2 10:00:00 UTC 2026\n")
                },
                Some(says("`PREEMPT` in `uname -v`")),
            ),
            (
                uname("#1 SMP PREEMPT_LAZY Mon Nov  2 10:00:00 UTC 2026\n"),
                Some(says("`PREEMPT_LAZY` in `uname -v`")),
            ),
            (
                Texts {
                    command_line: Some("preempt=full"),
                    ..uname("#1 SMP Debian 5.15.1-1 (2021-11-08)\n")
                },
                Some((false, "no `PREEMPT` in `uname -v`")),
            ),
        ]);
    }

    #[test]
    fn the_last_known_mode_of_the_command_line_counts() {
        assert_each(&[
            (
                command_line("root=/dev/vda1 preempt=full quiet\n"),
                Some((true, "`preempt=full` in /proc/cmdline")),
            ),
            (
                command_line("preempt=full preempt=voluntary preempt=other\n"),
                Some((false, "`preempt=voluntary` in /proc/cmdline")),
            ),
            (
                Texts {
                    version: None,
                    ..command_line("preempt=lazy")
                },
                Some((true, "`preempt=lazy` in /proc/cmdline")),
            ),
            (command_line("init=/x -- preempt=full\n"), None),
            (command_line("nopreempt=full preempt=\n"), None),
        ]);
    }

    #[test]
    fn a_new_kernel_has_only_preemptible_modes() {
        let source = "Linux 7.2.13+deb14-cloud-amd64 has no other mode";
        assert_each(&[
            (release("7.2.13+deb14-cloud-amd64"), Some((true, source))),
            // The kernel ignores a mode that it does not have.
            (
                Texts {
                    command_line: Some("preempt=none"),
                    ..release("7.2.13+deb14-cloud-amd64")
                },
                Some((true, source)),
            ),
            (release("6.19.4"), None),
        ]);
    }

    #[test]
    fn options_of_the_build_decide_where_no_mode_was_chosen() {
        let at = "in /boot/config-6.12.117+deb13-cloud-amd64";
        for (option, is_preemptible) in [
            ("CONFIG_PREEMPT=y", true),
            ("CONFIG_PREEMPT_LAZY=y", true),
            ("CONFIG_PREEMPT_VOLUNTARY=y", false),
            ("CONFIG_PREEMPT_NONE=y", false),
        ] {
            let options = format!(
                "CONFIG_PREEMPT_BUILD=y\n# CONFIG_PREEMPT_RT is not set\n{option}\nCONFIG_PREEMPT_DYNAMIC=y\n"
            );
            let found = decide(Texts {
                build: Some(&options),
                ..DYNAMIC
            });
            let expected = Preemption {
                is_preemptible,
                source: format!("`{option}` {at}"),
            };
            assert_eq!(found, Some(expected));
        }
        assert_each(&[
            (build("CONFIG_PREEMPT_DYNAMIC=y\n"), None),
            (DYNAMIC, None),
            (Texts::default(), None),
        ]);
    }

    #[test]
    fn each_text_is_read_from_its_file() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(of(root.path()), None);
        let mut before = None;
        for (path, text) in [
            ("proc/sys/kernel/osrelease", "6.12.1\n"),
            ("boot/config-6.12.1", "CONFIG_PREEMPT_VOLUNTARY=y\n"),
            ("proc/cmdline", "preempt=full\n"),
            ("proc/sys/kernel/version", "#1 SMP PREEMPT_RT Debian\n"),
            ("sys/kernel/debug/sched/preempt", "full (lazy) \n"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            let found = of(root.path());
            assert!(found != before || text == "6.12.1\n", "{found:?}");
            before = found;
        }
    }
}
