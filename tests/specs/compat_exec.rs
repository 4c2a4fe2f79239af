//! An exec through the table of 32-bit system calls is recorded like any other, also when it fails.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use vctl_common::event::EventKind;
use vctl_tests::fixture::lab;
use vctl_tests::lab::{Lab, Recorded, skip};

/// The first line is the compiler with its options.
const SOURCE: &str = include_str!("compat_exec.c");

/// Builds the caller for `-m32` or `-m64`, or copies the one beside the programs: a guest has no compiler.
fn build(lab: &Lab, width: &str) -> bool {
    let program = lab.home().join(format!("compat{width}"));
    let built = lab.programs.directory.join(format!("compat{width}"));
    if built.exists() {
        std::fs::copy(built, &program).unwrap();
        return true;
    }
    let source = lab.home().join("compat.c");
    std::fs::write(&source, SOURCE).unwrap();
    let mut words = SOURCE.lines().next().unwrap().split(' ').skip(1);
    let compiler = words.next().unwrap();
    let built = Command::new(compiler)
        .args([width, "-o"])
        .arg(&program)
        .args(words)
        .arg(&source)
        .output();
    let is_built = built.is_ok_and(|output| output.status.success());
    if is_built {
        std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    is_built
}

/// Returns true when this kernel has the table.
fn has_table() -> bool {
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    symbols.contains(" __ia32_compat_sys_execve\n")
}

type Attempt = (u32, Vec<u8>, Vec<Vec<u8>>);

fn failed(session: &Recorded, file: &str) -> Vec<Attempt> {
    let events = session.events.iter();
    events
        .filter_map(|event| match &event.kind {
            EventKind::ExecFailed { errno, exec } if exec.filename == file.as_bytes() => {
                Some((*errno, exec.filename.clone(), exec.argv.clone()))
            }
            _ => None,
        })
        .collect()
}

/// Returns the session of a command, and its output.
fn session(lab: &Lab, serial: u64, command: &str) -> (Recorded, String) {
    let who = lab.certificate(&format!("c{serial}"), serial).unwrap();
    let output = lab.ssh(&who, command).unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    (lab.whole_session(&who).unwrap(), printed)
}

#[test]
fn a_failed_exec_of_the_32_bit_table_is_recorded() {
    if !has_table() {
        return;
    }
    let Some(lab) = lab() else { return };
    let mut serial = 0;
    for width in ["-m64", "-m32"] {
        if !build(&lab, width) {
            skip("`cc` builds no 32-bit program: execs through the 32-bit table were not tried");
            return;
        }
        serial += 1;
        let many: Vec<String> = (0..100).map(|i| format!("item{i}")).collect();
        let body = format!(
            "P=./compat{width}; touch plain; chmod 644 plain
            $P e /no/such/one an-argument ''
            $P a /no/such/at one two
            $P e ./plain denied
            $P ef /no/such/fault; echo $?
            $P a /no/such/many {}",
            many.join(" ")
        );
        let (session, printed) = session(&lab, serial, &body);
        let one = |file: &str| {
            let found = failed(&session, file);
            assert_eq!(found.len(), 1, "{width} {file}: {:#?}", session.summary());
            found.into_iter().next().unwrap()
        };
        let argv = |items: &[&str]| -> Vec<Vec<u8>> {
            items.iter().map(|item| item.as_bytes().to_vec()).collect()
        };
        let (errno, _, items) = one("/no/such/one");
        assert_eq!(
            (errno, items),
            (2, argv(&["/no/such/one", "an-argument", ""]))
        );
        let (errno, _, items) = one("/no/such/at");
        assert_eq!((errno, items), (2, argv(&["/no/such/at", "one", "two"])));
        let (errno, _, items) = one("./plain");
        assert_eq!((errno, items), (13, argv(&["./plain", "denied"])));
        // Its argv is not a valid address. Linux 6.1 reads that before it looks for the file, a newer one after.
        assert_eq!(one("/no/such/fault").0.to_string(), printed.trim());
        let (_, _, items) = one("/no/such/many");
        assert_eq!(items[..3], argv(&["/no/such/many", "item0", "item1"]));
        assert!(items.len() >= 60, "{}", items.len());
    }
}

#[test]
fn an_exec_of_the_32_bit_table_keeps_its_arguments() {
    if !has_table() {
        return;
    }
    let Some(lab) = lab() else { return };
    for (serial, width) in [(11, "-m64"), (12, "-m32")] {
        if !build(&lab, width) {
            skip("`cc` builds no 32-bit program: execs through the 32-bit table were not tried");
            return;
        }
        let body = format!(
            "./compat{width} e /bin/echo by-execve 'two words'; ./compat{width} a /bin/echo by-execveat"
        );
        let (session, _) = session(&lab, serial, &body);
        let commands = session.commands();
        for expected in ["/bin/echo by-execve two words", "/bin/echo by-execveat"] {
            assert!(
                commands.iter().any(|command| command == expected),
                "{width} {expected}: {commands:#?}"
            );
        }
    }
}
