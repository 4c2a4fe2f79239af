//! The ways to exec in this spec. Each is a piece of shell that runs `$T`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use vctl_tests::lab::Lab;

use vctl_tests::fixture::Stage;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) script: &'static str,
    /// A script is executed, and the program is its interpreter.
    pub(crate) script_file: bool,
    /// The namespace in which the program runs and the spec does not.
    pub(crate) own_namespace: Option<Namespace>,
}

#[derive(Clone, Copy)]
pub(crate) enum Namespace {
    Pid,
    User,
}

const fn case(name: &'static str, script: &'static str) -> Case {
    Case {
        name,
        script,
        script_file: false,
        own_namespace: None,
    }
}

const fn script(name: &'static str, script: &'static str) -> Case {
    Case {
        script_file: true,
        ..case(name, script)
    }
}

const fn namespace(own: Namespace, name: &'static str, script: &'static str) -> Case {
    Case {
        own_namespace: Some(own),
        ..case(name, script)
    }
}

/// Puts the files of the cases into the home of the lab's first account.
pub(crate) fn prepare(lab: &Lab, stage: &Stage) {
    let home = lab.home();
    let target = stage.bin.join("exec-target");
    let executable = Permissions::from_mode(0o755);
    let scripts = [
        ("script", format!("#!{}\n", target.display())),
        (
            "script-with-option",
            format!("#!{} -option\n", target.display()),
        ),
        ("script-of-script", "#!./script\n".to_owned()),
        ("no-such-interpreter", "#!/does/not/exist\n".to_owned()),
        (
            "no-format",
            "\u{1}\u{2} neither program nor script\n".to_owned(),
        ),
    ];
    for (name, content) in &scripts {
        fs::write(home.join(name), content).unwrap();
        fs::set_permissions(home.join(name), executable.clone()).unwrap();
    }
    fs::write(home.join("not-executable"), "").unwrap();
    symlink(&target, home.join("link")).unwrap();
    symlink("link", home.join("link-to-link")).unwrap();
    symlink("loop", home.join("loop")).unwrap();
    symlink("script", home.join("script-link")).unwrap();
    // On the lab's own file system, because /tmp may be mounted nosuid.
    for (name, mode) in [("setuid", 0o4755), ("setgid", 0o2755), ("hard", 0o755)] {
        let copy = stage.bin.join(name);
        fs::copy(&target, &copy).unwrap();
        chown(&copy, Some(0), Some(0)).unwrap();
        fs::set_permissions(&copy, Permissions::from_mode(mode)).unwrap();
    }
    fs::hard_link(stage.bin.join("hard"), stage.bin.join("hard-too")).unwrap();
}

pub(crate) const CASES: &[Case] = &[
    // Contents of argv.
    case("no-argument", "$T"),
    case("one-argument", "$T a"),
    case("empty-argument", "$T ''"),
    case("three-empty-arguments", "$T '' '' ''"),
    case("empty-first-and-last", "$T '' middle ''"),
    case("blanks", "$T ' ' '  a  b  '"),
    case("tabs-and-newlines", r"$T $'\t' $'a\nb' $'\r\n'"),
    case("quotes", r#"$T \' '"' '`' '$(x)' '\'"#),
    case("no-utf8", r"$T $'\xff\xfe' $'\xc3\x28'"),
    case("utf8-cut-short", r"$T $'\xe2\x82'"),
    case("utf8", "$T 'größer' '日本' '🦀'"),
    case(
        "terminal-escapes",
        r"$T $'\e[31m' $'\e]0;title\a' $'\u202e'",
    ),
    case(
        "every-byte",
        r#"$T "$(for i in $(seq 1 255); do printf "\\x$(printf %x $i)"; done)x""#,
    ),
    case("looks-like-options", "$T -- -x --long=value -"),
    case("a-thousand-arguments", "$T $(seq 1000)"),
    case("ten-thousand-arguments", "$T $(seq 10000)"),
    case(
        "five-thousand-empty-arguments",
        "e=(); for i in $(seq 5000); do e+=(''); done; $T \"${e[@]}\"",
    ),
    // Sizes near pages and powers of two.
    case("255-bytes", "$T $(printf %0255d 1)"),
    case("256-bytes", "$T $(printf %0256d 1)"),
    case("4095-bytes", "$T $(printf %04095d 1)"),
    case("4096-bytes", "$T $(printf %04096d 1)"),
    case("4097-bytes", "$T $(printf %04097d 1)"),
    case("32-kib", "$T $(printf %032768d 1)"),
    case("64-kib", "$T $(printf %065536d 1)"),
    case("the-longest-argument", "$T $(printf %0131071d 1)"),
    case("all-that-is-kept", "exec -a t $T $(printf %0131069d 1)"),
    case("one-byte-more", "exec -a t $T $(printf %0131070d 1)"),
    case("more-than-is-kept", "a=$(printf %0100000d 1); $T $a $a $a"),
    case(
        "a-mebibyte",
        "a=$(printf %0100000d 1); $T $a $a $a $a $a $a $a $a $a $a",
    ),
    // A program can choose any argv[0].
    case("other-name", "exec -a sshd $T a"),
    case("empty-name", "exec -a '' $T a"),
    case("login-shell-name", "exec -l $T a"),
    case("name-of-10000-bytes", "exec -a $(printf %010000d 1) $T"),
    case("name-with-escapes", r"exec -a $'\e[2J' $T"),
    case("no-name-at-all", "$ODD argc-zero $T"),
    // The executed file, and its name.
    case("symlink", "./link a"),
    case("symlink-to-symlink", "./link-to-link a"),
    case("hard-link", "${T%/*}/hard-too"),
    case("relative-path", "cd ${T%/*}; ./exec-target"),
    case("path-with-dots", "cd ${T%/*}; ../bin/./exec-target"),
    case("by-search-path", "PATH=${T%/*}:$PATH; exec-target"),
    case(
        "directory-with-blanks",
        "mkdir -p 'a b'; cp $T 'a b/c d'; 'a b/c d'",
    ),
    case("name-of-odd-bytes", r#"n=$'x\xff\n\e'; cp $T "$n"; ./"$n""#),
    case(
        "name-of-255-bytes",
        "n=$(printf %0255d 1); cp $T \"$n\"; ./\"$n\"",
    ),
    case(
        "forty-directories-deep",
        "d=$(printf 'd%.0s/' $(seq 40)); mkdir -p $d; cp $T $d/t; $d/t",
    ),
    case("unlinked-while-running", "cp $T gone; $ODD deleted ./gone"),
    case("from-memory", "$ODD memfd $T a"),
    case("fexecve", "$ODD fexecve $T a"),
    case("execveat-directory", "$ODD execveat $T a"),
    case(
        "replaced-by-rename",
        "cp $T new; cp $T old; mv new old; ./old",
    ),
    // The working directory.
    case("in-root", "cd /; $T"),
    case("in-usr", "cd /usr; $T"),
    case(
        "twenty-deep",
        "d=$(printf 'e%.0s/' $(seq 20)); mkdir -p $d; cd $d; $T",
    ),
    case(
        "a-hundred-deep",
        "d=$(printf 'f%.0s/' $(seq 100)); mkdir -p $d; cd $d; $T",
    ),
    case(
        "in-odd-bytes",
        r#"d=$'\xff\e\n'; mkdir -p "$d"; cd "$d"; $T"#,
    ),
    case(
        "in-255-bytes",
        "d=$(printf %0255d 2); mkdir -p $d; cd $d; $T",
    ),
    case("in-a-deleted-directory", "$ODD deleted-cwd $T"),
    case("on-another-file-system", "cd /dev/shm; $T"),
    case("in-proc", "cd /proc/self/fd; $T"),
    // Scripts.
    script("script", "./script"),
    script("script-with-arguments", "./script a '' c"),
    script("script-with-option", "./script-with-option a"),
    script("script-by-symlink", "./script-link a"),
    script("script-run-by-script", "./script-of-script a"),
    script("script-by-absolute-path", "$PWD/script"),
    // The way to start it.
    case("from-a-thread", "$ODD thread $T a"),
    case("by-posix-spawn", "$ODD spawn $T a"),
    case("twice-in-one-process", "exec bash -c \"exec $T a\""),
    case("in-the-background", "$T a & wait"),
    case("new-session", "setsid --wait $T a"),
    case("no-hangup", "nohup $T a > /dev/null 2>&1 < /dev/null"),
    case("other-priority", "nice -n 5 $T a"),
    case("by-xargs", "printf 'a\\0b' | xargs -0 $T"),
    case("by-find", "find script -exec $T '{}' ';'"),
    case("closed-descriptors", "$T <&- >&- 2>&-"),
    case("little-stack", "ulimit -s 256; $T a"),
    // User and group.
    case("setuid", "${T%/*}/setuid a"),
    case("setgid", "${T%/*}/setgid a"),
    case("by-sudo", "$AS_ROOT $T a"),
    case("by-su", "$AS_ROOT su -c \"$T a\""),
    case("by-runuser", "$AS_ROOT runuser -u nobody -- $T a"),
    case(
        "by-setpriv",
        "$AS_ROOT setpriv --reuid 12345 --clear-groups $T a",
    ),
    case(
        "login-uid-reset",
        "$AS_ROOT sh -c \"echo 4242 > /proc/self/loginuid; $T a\"",
    ),
    // In separate namespaces.
    case("mount-namespace", "$AS_ROOT unshare --mount $T a"),
    namespace(
        Namespace::Pid,
        "pid-namespace",
        "$AS_ROOT unshare --pid --fork $T a",
    ),
    namespace(
        Namespace::User,
        "user-namespace",
        "$AS_ROOT unshare --user --map-root-user $T a",
    ),
    case(
        "network-namespace",
        "$AS_ROOT unshare --net --uts --ipc $T a",
    ),
    case(
        "bind-mount",
        "$AS_ROOT unshare --mount sh -c \"mount --bind $T /bin/false; /bin/false a\"",
    ),
    // Execs that fail.
    case("no-such-file", "$ODD fail /does/not/exist a"),
    case("no-directory", "$ODD fail /etc/passwd/x a"),
    case("not-executable", "$ODD fail ./not-executable a"),
    case("directory", "$ODD fail /tmp a"),
    case("symlink-loop", "$ODD fail ./loop a"),
    case("no-interpreter", "$ODD fail ./no-such-interpreter a"),
    case("no-format", "$ODD fail ./no-format a"),
    case("name-too-long", "$ODD fail ./$(printf %0300d 1) a"),
    case("argument-too-long", "$ODD too-big $T"),
    case("empty-file-name", "$ODD fail '' a"),
];
