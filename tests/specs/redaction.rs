//! Secrets in argv never reach the disk or the terminal, and harmless arguments do not change.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use vctl_tests::lab::{Lab, Recorded};

use vctl_tests::fixture::lab;

/// One line of the corpus.
#[derive(Deserialize)]
struct Line {
    argv: Vec<String>,
    secrets: Vec<String>,
}

#[test]
fn planted_secrets_are_in_no_file_of_the_spool_and_in_no_output() {
    let Some(lab) = lab() else { return };
    let lines = corpus("planted.jsonl");
    assert!(lines.len() >= 400, "{} lines", lines.len());
    let session = execute(&lab, &lines);
    assert_eq!(session.runs_of("exec-target").count(), lines.len());
    let mut shown = Vec::new();
    for arguments in [
        &["1", "--full"][..],
        &["1", "--json"],
        &["1", "--tree", "--full"],
    ] {
        shown.extend(
            lab.vctl(&[&["session", "--local"], arguments].concat())
                .unwrap()
                .stdout,
        );
    }
    let mut stored = Vec::new();
    read_all(&lab.spool(), &mut stored);
    let argv = session
        .runs_of("exec-target")
        .flat_map(|exec| &exec.argv)
        .collect::<Vec<_>>();
    let leaks: Vec<_> = lines
        .iter()
        .flat_map(|line| &line.secrets)
        .filter(|secret| {
            let secret = secret.as_bytes();
            if occurs_by_chance(secret) {
                argv.iter().any(|item| contains(item, secret))
            } else {
                [&shown, &stored]
                    .iter()
                    .any(|bytes| contains(bytes, secret))
            }
        })
        .collect();
    assert!(leaks.is_empty(), "{leaks:?}");
}

#[test]
fn harmless_arguments_are_recorded_unchanged() {
    let Some(lab) = lab() else { return };
    let lines = corpus("harmless.jsonl");
    assert!(lines.len() >= 400, "{} lines", lines.len());
    let session = execute(&lab, &lines);
    let recorded: Vec<_> = session
        .runs_of("exec-target")
        .map(|exec| exec.argv.clone())
        .collect();
    let items: usize = lines.iter().map(|line| line.argv.len()).sum();
    let mut masked = Vec::new();
    for line in &lines {
        let wanted: Vec<_> = marked(line).into_iter().map(String::into_bytes).collect();
        if !recorded.contains(&wanted) {
            masked.push(&line.argv);
        }
    }
    // The limit is 1 % of the items. A line counts as one item.
    assert!(
        masked.len() * 100 < items,
        "{} of {items}: {masked:?}",
        masked.len()
    );
}

/// Marker after the arguments of each line, to find the line again.
const MARK: &str = "end-of-corpus-line";

fn marked(line: &Line) -> Vec<String> {
    let mut argv = line.argv.clone();
    argv.push(MARK.to_owned());
    argv
}

/// Executes every line under its own program name, because the rules depend on the name.
fn execute(lab: &Lab, lines: &[Line]) -> Recorded {
    let who = lab.certificate("alice", 1).unwrap();
    let target = lab.root().join("exec-target");
    fs::copy(lab.programs.directory.join("exec-target"), &target).unwrap();
    // The arguments come from files, so the shell's own argv does not contain them.
    let script = lab.home().join("corpus.sh");
    let runs = lines.iter().map(|line| {
        let words: Vec<_> = marked(line).iter().map(|word| quoted(word)).collect();
        format!(
            "( exec -a {} {} {} )\n",
            words[0],
            target.display(),
            words[1..].join(" ")
        )
    });
    fs::write(&script, runs.collect::<String>()).unwrap();
    lab.ssh_ok(&who, "bash corpus.sh").unwrap();
    lab.whole_session(&who).unwrap()
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn corpus(name: &str) -> Vec<Line> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../common/redact/corpus")
        .join(name);
    let text = fs::read_to_string(&path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn read_all(directory: &Path, into: &mut Vec<u8>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, into);
        } else {
            into.extend(fs::read(path).unwrap());
        }
    }
}

/// Returns true when a timestamp, a process id or a key may have the same bytes. The spec searches for such a secret
/// in the recorded arguments only.
fn occurs_by_chance(secret: &[u8]) -> bool {
    secret.len() < 5 || secret.len() < 10 && secret.iter().all(u8::is_ascii_hexdigit)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(bytes, part).is_some()
}
