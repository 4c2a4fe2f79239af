//! `vctl-agent pam-line`: adds the line that stamps a login, once, and removes it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use vctl_common::atomic_file::{Durability, NewFile, Unfinished};

use super::files::{PamFile, PamFiles};
use super::inside::{LeavesRoot, inside};
use super::jump::{break_glass, jumps_into, skips_stamp};
use super::place::lines_before;
use super::stack::{Module, session_stack, stamps};

/// Comment above the line; it is removed with the line.
const COMMENT: &str =
    "# Stamps each login before its shell starts; written by `vctl-agent pam-line add`.";

/// The line, and the file that it belongs to.
#[derive(Clone, Debug)]
pub struct LineOptions {
    /// Directory to use as `/`, such as an image that is being built.
    pub root: PathBuf,
    pub service: String,
    /// The program in the line.
    pub program: String,
    /// Refuses a login that cannot be stamped, whatever the configuration says.
    pub strict: bool,
}

/// Result of the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Added {
        file: String,
    },
    Removed {
        file: String,
        lines: usize,
    },
    /// No change was needed; the place of the line, if it exists.
    Unchanged {
        place: Option<String>,
    },
}

/// Reason why PAM's files were not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    #[error("PAM has no file for the service `{service}`")]
    NoService { service: String },
    #[error(
        "`{service}` is in `/etc/pam.conf`, which is not changed automatically: add the line there by hand"
    )]
    OneFile { service: String },
    #[error("{count} lines run `vctl-agent stamp` for one login: {places}; keep one of them")]
    Several { count: usize, places: String },
    #[error(
        "`{program}` is not an executable file: with this line, every login through sshd would fail"
    )]
    NoProgram { program: String },
    #[error(
        "`{place}` also runs `vctl-agent stamp`, and the file may belong to other services: remove that line by hand"
    )]
    Included { place: String },
    #[error("{place} jumps over the line, and would then end at another module")]
    Jump { place: String },
    #[error("{place} ends the stack for some logins, so PAM would not run the line for them")]
    Skips { place: String },
    #[error(
        "`/etc/pam.d/{service}` ends with a backslash, so PAM would read the new line as a part of the line above it"
    )]
    Continued { service: String },
    #[error("`/etc/pam.d/{service}` has bytes that are not UTF-8, and an edit would change them")]
    NotUtf8 { service: String },
    #[error("`{}` is not the root directory of a system", path.display())]
    NoRoot { path: PathBuf },
    #[error(transparent)]
    LeavesRoot(#[from] LeavesRoot),
    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// The result that [`add`] would have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preview {
    /// The stack has one line already.
    Unchanged {
        place: String,
        /// Whether the line itself says `--mode strict`.
        is_strict: bool,
    },
    /// The new text of the service's own file.
    Text(String),
}

/// Returns the result that [`add`] would have, and changes nothing.
///
/// # Errors
/// Those of [`add`], except the failed write.
pub fn preview(options: &LineOptions) -> Result<Preview, EditError> {
    let files = PamFiles::read(&options.root);
    let (file, stack) = own(&files, options)?;
    match stamps(&stack).as_slice() {
        [] => {}
        [stamp] => {
            let words = &stamp.arguments;
            return Ok(Preview::Unchanged {
                place: stamp.place(),
                is_strict: words.windows(2).any(|pair| pair == ["--mode", "strict"])
                    || words.iter().any(|word| word == "--mode=strict"),
            });
        }
        several => {
            let places: Vec<String> = several.iter().map(|stamp| stamp.place()).collect();
            return Err(EditError::Several {
                count: several.len(),
                places: places.join(", "),
            });
        }
    }
    let program = below(&options.root, &options.program);
    if !fs::metadata(&program).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0) {
        return Err(EditError::NoProgram {
            program: options.program.clone(),
        });
    }
    is_utf8(file, options)?;
    let at = insertion(&file.text, &stack);
    let next = stack
        .iter()
        .take_while(|module| module.own_line.last <= at)
        .count();
    if let Some(module) = jumps_into(&stack, next) {
        return Err(jump(module));
    }
    let text = with_line(&file.text, at, &line(options));
    stamps_each_login(files, options, &text)?;
    Ok(Preview::Text(text))
}

/// Reads the new text as libpam would, and refuses one in which the line is not read or does not run for each login.
fn stamps_each_login(
    mut files: PamFiles,
    options: &LineOptions,
    text: &str,
) -> Result<(), EditError> {
    let service = options.service.clone();
    files.insert(&service, text);
    let stack = session_stack(&files, &service).unwrap_or_default();
    let mut stamps = stack.iter().enumerate().filter(|(_, of)| of.is_stamp());
    let (Some((stamp, _)), None) = (stamps.next(), stamps.next()) else {
        return Err(EditError::Continued { service });
    };
    match skips_stamp(&stack, stamp) {
        Some(module) => Err(EditError::Skips {
            place: module.place(),
        }),
        None => Ok(()),
    }
}

/// Adds the line, unless the service's stack already has one.
///
/// # Errors
/// The program is missing, the stack has several such lines, or the file cannot be written.
pub fn add(options: &LineOptions) -> Result<Change, EditError> {
    match preview(options)? {
        Preview::Unchanged { place, .. } => Ok(Change::Unchanged { place: Some(place) }),
        Preview::Text(text) => {
            write(options, &text)?;
            Ok(Change::Added {
                file: format!("/etc/pam.d/{}", options.service),
            })
        }
    }
}

/// Removes all such lines from the service's own file.
///
/// # Errors
/// An included file has such a line, or the file cannot be written.
pub fn remove(options: &LineOptions) -> Result<Change, EditError> {
    let files = PamFiles::read(&options.root);
    let (file, stack) = own(&files, options)?;
    let stamps = stamps(&stack);
    let (ours, others): (Vec<&Module>, Vec<&Module>) =
        stamps.into_iter().partition(|stamp| !stamp.included);
    if !ours.is_empty() {
        is_utf8(file, options)?;
        let jumps = break_glass(&stack).map_err(jump)?;
        let removed = [ours.as_slice(), jumps.as_slice()].concat();
        write(options, &without_lines(&file.text, &removed))?;
    }
    if let Some(other) = others.first() {
        return Err(EditError::Included {
            place: other.place(),
        });
    }
    if ours.is_empty() {
        return Ok(Change::Unchanged { place: None });
    }
    Ok(Change::Removed {
        file: format!("/etc/pam.d/{}", options.service),
        lines: ours.len(),
    })
}

fn own<'a>(
    files: &'a PamFiles,
    options: &LineOptions,
) -> Result<(&'a PamFile, Vec<Module>), EditError> {
    if !options.root.is_dir() {
        let path = options.root.clone();
        return Err(EditError::NoRoot { path });
    }
    inside(&options.root, &own_path(options))?;
    let service = options.service.clone();
    if files.service_of_conf(&service).is_some() {
        return Err(EditError::OneFile { service });
    }
    let found = files.get(&service).zip(session_stack(files, &service));
    let (file, mut stack) = found.ok_or(EditError::NoService { service })?;
    // The lines of `other` count for the login, but are in another file.
    if stack
        .iter()
        .any(|module| !module.included && module.file != file.path)
    {
        for module in &mut stack {
            module.included = true;
        }
    }
    Ok((file, stack))
}

/// Returns the line as [`add`] writes it.
pub fn line(options: &LineOptions) -> String {
    let program = &options.program;
    if options.strict {
        format!(
            "session required pam_exec.so quiet stdout type=open_session {program} stamp --mode strict"
        )
    } else {
        format!("session required pam_exec.so quiet type=open_session {program} stamp")
    }
}

fn jump(module: &Module) -> EditError {
    EditError::Jump {
        place: module.place(),
    }
}

/// Refuses a text of which a part could not be read: writing it would change that part.
fn is_utf8(file: &PamFile, options: &LineOptions) -> Result<(), EditError> {
    if file.text.contains(char::REPLACEMENT_CHARACTER) {
        let service = options.service.clone();
        return Err(EditError::NotUtf8 { service });
    }
    Ok(())
}

/// Returns how many lines of the text come before the new line.
fn insertion(text: &str, stack: &[Module]) -> usize {
    let lines = lines(text).count();
    let is_own = stack.iter().all(|module| module.own_line.last <= lines);
    let at = lines_before(stack).filter(|_| is_own);
    at.unwrap_or(lines).min(lines)
}

fn with_line(text: &str, at: usize, line: &str) -> String {
    let lines: Vec<&str> = lines(text).collect();
    let (before, after) = lines.split_at(at.min(lines.len()));
    let new = [COMMENT, line];
    let all: Vec<&str> = before.iter().chain(&new).chain(after).copied().collect();
    all.join("\n") + "\n"
}

fn without_lines(text: &str, removed: &[&Module]) -> String {
    let is_removed = |number: usize| {
        removed
            .iter()
            .any(|module| (module.own_line.first..=module.own_line.last).contains(&number))
    };
    let kept: Vec<&str> = lines(text)
        .enumerate()
        .filter(|(index, line)| !is_removed(index + 1) && *line != COMMENT)
        .map(|(_, line)| line)
        .collect();
    kept.join("\n") + "\n"
}

/// Returns the lines without their end. `str::lines` would also take the `\r` of a file from Windows.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_terminator('\n')
}

fn own_path(options: &LineOptions) -> String {
    format!("/etc/pam.d/{}", options.service)
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// Replaces the file in `/etc/pam.d` as a whole; a login that reads it at the same time sees the
/// old one.
fn write(options: &LineOptions, text: &str) -> Result<(), EditError> {
    // A link stays a link: authselect(8) and others keep their files elsewhere.
    let path = inside(&options.root, &own_path(options))?;
    replace(&path, text).map_err(|source| EditError::Write { path, source })
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let before = fs::metadata(path).ok();
    let new = NewFile {
        mode: Some(before.as_ref().map_or(0o644, MetadataExt::mode) & 0o7777),
        owner: before.as_ref().map(MetadataExt::uid),
        group: before.as_ref().map(MetadataExt::gid),
        ..NewFile::private(Durability::Synced, Unfinished::OneName)
    };
    new.replace(path, |out| out.write_all(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Session lines of distributions, and the line after which ours belongs.
    const STACKS: [(&str, &str, &str); 5] = [
        (
            "Debian",
            "session required pam_loginuid.so\n@include common-session\nsession required pam_env.so user_readenv=1\n",
            "@include common-session",
        ),
        (
            "RHEL",
            "session required pam_loginuid.so\nsession include password-auth\nsession include postlogin\n",
            "session include password-auth",
        ),
        (
            "RHEL with substack",
            "session    substack     password-auth\nsession    include      postlogin\n",
            "session    substack     password-auth",
        ),
        (
            "Arch",
            "session   include   system-remote-login\n",
            "session   include   system-remote-login",
        ),
        (
            "one file",
            "session optional pam_systemd.so\n",
            "session optional pam_systemd.so",
        ),
    ];

    fn image(sshd: &str) -> (tempfile::TempDir, LineOptions) {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("etc/pam.d/sshd", sshd);
        for shared in ["common-session", "password-auth", "system-remote-login"] {
            put(
                &format!("usr/lib/pam.d/{shared}"),
                "-session optional pam_systemd.so\n",
            );
        }
        put("usr/sbin/vctl-agent", "");
        let program = root.path().join("usr/sbin/vctl-agent");
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        let options = LineOptions {
            root: root.path().to_owned(),
            service: "sshd".to_owned(),
            program: "/usr/sbin/vctl-agent".to_owned(),
            strict: false,
        };
        (root, options)
    }

    fn text(options: &LineOptions) -> String {
        fs::read_to_string(options.root.join("etc/pam.d/sshd")).unwrap()
    }

    #[test]
    fn a_second_add_changes_nothing_and_remove_undoes_it() {
        for (name, stack, follows) in STACKS {
            let (_root, options) = image(stack);
            assert!(matches!(add(&options), Ok(Change::Added { .. })), "{name}");
            let once = text(&options);
            assert!(
                once.contains(&format!("{follows}\n{COMMENT}\nsession required ")),
                "{name}: {once}"
            );
            assert!(
                matches!(add(&options), Ok(Change::Unchanged { place: Some(_) })),
                "{name}"
            );
            assert_eq!(text(&options), once, "{name}");
            assert!(
                matches!(remove(&options), Ok(Change::Removed { lines: 1, .. })),
                "{name}"
            );
            assert_eq!(text(&options), stack, "{name}");
            assert!(
                matches!(remove(&options), Ok(Change::Unchanged { place: None })),
                "{name}"
            );
        }
    }

    #[test]
    fn break_glass_goes_with_the_line_and_other_jumps_are_refused() {
        let stack = "session required pam_loginuid.so\nsession include password-auth\n";
        let after = "session optional pam_motd.so\n";
        let (root, options) = image(&format!("{stack}{after}"));
        let sshd = root.path().join("etc/pam.d/sshd");
        add(&options).unwrap();
        let group = "session [success=1 default=ignore] pam_succeed_if.so quiet user ingroup ops\n";
        let with_group = text(&options).replace(COMMENT, &format!("{group}{COMMENT}"));
        fs::write(&sshd, &with_group).unwrap();
        assert!(matches!(add(&options), Ok(Change::Unchanged { .. })));
        remove(&options).unwrap();
        assert_eq!(text(&options), format!("{stack}{after}"));
        // Over the line and one more module.
        fs::write(&sshd, with_group.replace("success=1", "success=2")).unwrap();
        let error = remove(&options).unwrap_err();
        assert!(matches!(error, EditError::Jump { .. }), "{error}");
        assert_eq!(text(&options), with_group.replace("success=1", "success=2"));
        // Over the place of a new line.
        let jump = "session [success=2 default=ignore] pam_succeed_if.so user ingroup ops\n";
        fs::write(&sshd, format!("{jump}{stack}{after}")).unwrap();
        assert!(
            matches!(add(&options), Ok(Change::Added { .. })),
            "it ends there"
        );
        fs::write(&sshd, format!("{}{stack}{after}", jump.replace('2', "3"))).unwrap();
        assert!(matches!(add(&options), Err(EditError::Jump { .. })));
    }

    #[test]
    fn a_line_that_pam_would_not_run_is_not_added() {
        let rule = "pam_succeed_if.so quiet user = backup\n";
        for control in ["sufficient", "[success=done default=ignore]"] {
            let stack = format!("session {control} {rule}@include common-session\n");
            let (_root, options) = image(&stack);
            let error = add(&options).unwrap_err();
            let place = "/etc/pam.d/sshd line 1".to_owned();
            assert!(matches!(&error, EditError::Skips { place: of } if *of == place));
            assert_eq!(text(&options), stack);
        }
        // PAM joins the next line, and a comment line does not end that.
        for end in ["\\", "\\\n", "\\\n# x\n"] {
            let stack = format!("@include common-session\nsession optional pam_systemd.so {end}");
            let (_root, options) = image(&stack);
            let error = add(&options).unwrap_err();
            assert!(matches!(error, EditError::Continued { .. }), "{error}");
            assert_eq!(text(&options), stack);
        }
    }

    #[test]
    fn bytes_beside_the_line_stay_as_they_are() {
        let (root, options) = image("# Windows\r\nsession include password-auth\r\n");
        add(&options).unwrap();
        remove(&options).unwrap();
        assert_eq!(
            text(&options),
            "# Windows\r\nsession include password-auth\r\n"
        );
        let latin = b"# caf\xe9\nsession include password-auth\n";
        fs::write(root.path().join("etc/pam.d/sshd"), latin).unwrap();
        assert!(matches!(add(&options), Err(EditError::NotUtf8 { .. })));
    }

    #[test]
    fn a_line_in_an_included_file_counts() {
        let (root, options) = image("session include password-auth\n");
        let shared = root.path().join("etc/pam.d/password-auth");
        let stamp = "session required \\\n  pam_exec.so /usr/sbin/vctl-agent stamp\n";
        fs::write(shared, stamp).unwrap();
        assert!(matches!(
            add(&options),
            Ok(Change::Unchanged { place: Some(_) })
        ));
        assert!(matches!(remove(&options), Err(EditError::Included { .. })));
    }

    #[test]
    fn a_file_of_the_vendor_is_copied_and_stays() {
        let (root, options) = image("");
        fs::remove_file(root.path().join("etc/pam.d/sshd")).unwrap();
        let vendor = root.path().join("usr/lib/pam.d/sshd");
        fs::write(&vendor, "session include password-auth\n").unwrap();
        assert!(matches!(add(&options), Ok(Change::Added { .. })));
        assert_eq!(text(&options).matches("vctl-agent stamp").count(), 1);
        assert!(!fs::read_to_string(vendor).unwrap().contains("vctl"));
    }

    #[test]
    fn both_forms_of_a_strict_line_are_read() {
        for (mode, strict) in [
            ("--mode strict", true),
            ("--mode=strict", true),
            ("--mode=best-effort", false),
            ("", false),
        ] {
            let line = format!("session required pam_exec.so /usr/sbin/vctl-agent stamp {mode}\n");
            let (_root, options) = image(&line);
            let Ok(Preview::Unchanged { is_strict, .. }) = preview(&options) else {
                panic!("{mode}: the line is not found");
            };
            assert_eq!(is_strict, strict, "{mode}");
        }
    }

    #[test]
    fn a_missing_root_is_not_called_a_link() {
        let (root, mut options) = image("");
        options.root = root.path().join("missing");
        let error = add(&options).unwrap_err().to_string();
        assert!(
            error.ends_with("/missing` is not the root directory of a system"),
            "{error}"
        );
    }

    #[test]
    fn the_file_of_another_system_is_not_edited() {
        let (root, options) = image("@include common-session\n");
        let other = tempfile::tempdir().unwrap();
        let (sshd, file) = (
            root.path().join("etc/pam.d/sshd"),
            other.path().join("sshd"),
        );
        fs::rename(&sshd, &file).unwrap();
        std::os::unix::fs::symlink(&file, &sshd).unwrap();
        let refused = [
            preview(&options).map(drop),
            add(&options).map(drop),
            remove(&options).map(drop),
        ];
        for refused in refused {
            assert!(
                matches!(refused, Err(EditError::LeavesRoot(_))),
                "{refused:?}"
            );
        }
        assert_eq!(
            fs::read_to_string(file).unwrap(),
            "@include common-session\n"
        );
    }

    #[test]
    fn a_missing_program_is_refused() {
        let (root, options) = image("@include common-session\n");
        fs::remove_file(root.path().join("usr/sbin/vctl-agent")).unwrap();
        assert!(matches!(add(&options), Err(EditError::NoProgram { .. })));
        assert_eq!(text(&options), "@include common-session\n");
    }

    #[test]
    fn a_file_keeps_its_mode_and_a_link_stays_one() {
        let (root, options) = image("");
        let real = root.path().join("etc/authselect-sshd");
        fs::write(&real, "session include password-auth\n").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        let link = root.path().join("etc/pam.d/sshd");
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        add(&options).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o777, 0o640);
        assert!(
            fs::read_to_string(&real)
                .unwrap()
                .contains("vctl-agent stamp")
        );
    }
}
