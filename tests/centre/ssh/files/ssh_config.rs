//! vctl and `ssh -G` read every form of ssh_config in the same way.
//!
//! Each form names its own hosts. OpenSSH says which of these hosts get the address of the form. `vctl sync` must list
//! exactly these hosts, with the same address, port and jump host.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use vctl_tests::centre::Centre;

use crate::login::{Workstation, person};

/// The address that a form gives to its hosts.
const ADDRESS: &str = "127.9.9.9";

/// The files of one form: the first file is the configuration, and it may include the others.
type Form = (&'static [u8], &'static [(&'static str, &'static [u8])]);

/// The bytes of a configuration. `@a` to `@e` are hosts, `ADDR` is the address, `DIR` is the directory of included
/// files.
const FORMS: [Form; 60] = [
    (b"Host @a\n  HostName ADDR\n", &[]),
    (b"Host @a\n\tHostName\tADDR\n\tPort\t2201\n", &[]),
    (b"Host   @a \t @b  \n  HostName   ADDR  \n", &[]),
    (b"\t Host @a\n \t HostName ADDR\n", &[]),
    (b"Host=@a\nHostName=ADDR\nPort=2202\n", &[]),
    (b"Host = @a\nHostName = ADDR\nPort = 2203\n", &[]),
    (b"Host =@a\nHostName= ADDR\n", &[]),
    (b"Host \t=\t @a @b\nHostName ADDR\n", &[]),
    (b"Host==@a\nHostName ADDR\n", &[]),
    (b"=Host @a\nHostName ADDR\n", &[]),
    (b"Host \"@a\"\nHostName \"ADDR\"\n", &[]),
    (b"Host '@a' @b\nHostName 'ADDR'\n", &[]),
    (b"Host \"@a\" \"@b\"\nHostName ADDR\nPort \"2204\"\n", &[]),
    (b"Host \"@a\"@b\nHostName ADDR\n", &[]),
    (b"Host @a\"\"\nHostName ADDR\n", &[]),
    (b"Host \\\"@a @b\nHostName ADDR\n", &[]),
    (b"\"Host\" @a\n\"HostName\" ADDR\n", &[]),
    (b"\"Host\"@a\nHostName ADDR\n", &[]),
    (b"\"Host\"=@a\nHostName ADDR\n", &[]),
    (b"Host\"@a\"\nHostName ADDR\n", &[]),
    (b"Host \"@a\nHostName ADDR\n", &[]),
    (b"HOST @a\nHOSTNAME ADDR\nPORT 2205\n", &[]),
    (b"hOsT @a\nhostname ADDR\n", &[]),
    (b"Host @a\r\n  HostName ADDR\r\n  Port 2206\r\n", &[]),
    (
        b"Host @a @b\r\nHostName ADDR\r\n\r\n# x\r\nHost @c\r\n",
        &[],
    ),
    (b"Host @a\rHost @b\nHostName ADDR\n", &[]),
    (b"Host @a\x0c\nHostName ADDR \x0c\n", &[]),
    (b"Host @a\x0bx\nHostName ADDR\n", &[]),
    (b"Host @a", &[]),
    (b"Host @a\nHostName ADDR", &[]),
    (b"\xef\xbb\xbfHost @a\nHostName ADDR\n", &[]),
    (b"\xef\xbb\xbf# mark\nHost @a\nHostName ADDR\n", &[]),
    (
        b"# f\xfcr alle\nHost @a # b\xfcro\n  HostName ADDR # B\xfcro\n",
        &[],
    ),
    (b"Host @a b\xfcro\n  HostName ADDR\n", &[]),
    (b"Host @a #@b\nHostName ADDR\n", &[]),
    (b"Host @a#@b\nHostName ADDR\n", &[]),
    (b"Host @a \"#@b\"\nHostName ADDR\n", &[]),
    (b"#Host @a\n # Host @b\nHost @c\nHostName ADDR\n", &[]),
    (b"Host @a\0 @b\nHostName ADDR\n", &[]),
    (
        b"Host @a\nHostName ADDR\nHost @b\nHostName %h.invalid\nHost @a\nPort 2207\n",
        &[],
    ),
    (b"Host @a !@b @c\nHostName ADDR\n", &[]),
    (b"Host !@a @b\nHostName ADDR\nHost @a\n", &[]),
    (b"Host *@a\nHostName ADDR\nHost @a @b\n", &[]),
    (b"Host @a? @a\nHostName ADDR\nHost @b\n", &[]),
    (b"Host @a @b\nHost * !@b\nHostName ADDR\n", &[]),
    (b"Host @a,@b\nHostName ADDR\n", &[]),
    (b"Host @a\nMatch all\nHostName ADDR\n", &[]),
    (b"Host @a @b\nMatch host @a\nHostName ADDR\n", &[]),
    (b"Host @a @b\nmatch=originalhost=@b\nHostName ADDR\n", &[]),
    (b"Host @a @b\nMatch !host @a,@c\nHostName ADDR\n", &[]),
    (
        b"Host @a\nHostName ADDR\nProxyJump @b\nHost @b\nHostName ADDR\n",
        &[],
    ),
    (
        b"Host @a\nHostName ADDR\nProxyJump=\"u@@b:2208\" # x\nHost @b\nHostName ADDR\n",
        &[],
    ),
    (
        b"Include DIR/*.conf\nHost @c\nHostName ADDR\n",
        &[
            ("1.conf", b"Host @a\r\nHostName ADDR\r\n"),
            ("2.conf", b"\tHost\t@b\n\tHostName\tADDR"),
            ("3.txt", b"Host @d\nHostName ADDR\n"),
        ],
    ),
    (
        b"include=\"DIR/a b\" DIR/nowhere 'DIR/c' # DIR/d\n",
        &[
            ("a b", b"Host @a\nHostName ADDR\n"),
            ("c", b"Host @b\nHostName ADDR\n"),
            ("d", b"Host @c\nHostName ADDR\n"),
        ],
    ),
    (
        b"INCLUDE DIR/one\nHost @c\nHostName ADDR\n",
        &[
            ("one", b"Include DIR/two\nHost @a\nHostName ADDR\n"),
            ("two", b"Include DIR/three/*\nHost @b\nHostName ADDR\n"),
            ("three/x", b"# f\xfcr\nHost @d\nHostName ADDR\n"),
        ],
    ),
    (
        b"Host @a\nInclude DIR/below\nHost @b\nHostName ADDR\n",
        &[("below", b"HostName ADDR\nPort 2209\n")],
    ),
    (
        b"Match host @a\nInclude DIR/x\nHost @a\n",
        &[("x", b"HostName ADDR\n")],
    ),
    (
        b"Include DIR/[ab].? DIR/{c,d}.x\n",
        &[
            ("a.x", b"Host @a\nHostName ADDR\n"),
            ("b.xx", b"Host @b\nHostName ADDR\n"),
            ("c.x", b"Host @c\nHostName ADDR\n"),
        ],
    ),
    (
        b"Include DIR/.* DIR/*\n",
        &[
            (".hidden", b"Host @a\nHostName ADDR\n"),
            ("seen", b"Host @b\nHostName ADDR\n"),
        ],
    ),
    (
        b"Include DIR/loop\nHost @a\nHostName ADDR\n",
        &[("loop", b"Host @b\nHostName ADDR\n")],
    ),
];

#[test]
fn every_form_of_ssh_config_is_what_ssh_says() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let at = Workstation::new(centre);
    let password = person(centre, "files-forms", 3600, 7200);
    let login = ["login", "--username", "files-forms", "--password-stdin"];
    assert_eq!(at.given(&login, &password).code, 0);
    let mut trial = Trial {
        at: &at,
        compared: 0,
        refused: 0,
        wrong: Vec::new(),
    };
    // Each run of `vctl sync` takes a moment. So forms that do not affect the hosts of other forms share one run.
    let (mut shared, mut of_shared) = (Vec::new(), String::new());
    for (index, (config, included)) in FORMS.iter().enumerate() {
        let (file, text) = write(&at, index, config, included);
        let is_refused = openssh(&file, &names(index)).is_none();
        if is_refused || text.contains(['*', '?', '!']) || text.to_lowercase().contains("match") {
            trial.compare(&file, &text);
        } else {
            shared.push(format!("Include {}\n", file.display()));
            of_shared.push_str(&text);
        }
    }
    let file = at.home("work/shared");
    fs::write(&file, shared.concat()).unwrap();
    trial.compare(&file, &of_shared);
    let Trial {
        compared,
        refused,
        wrong,
        ..
    } = trial;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        compared > 60 && (2..8).contains(&refused),
        "{compared} {refused}"
    );
}

struct Trial<'a> {
    at: &'a Workstation<'a>,
    /// The number of hosts with the same result in both programs.
    compared: usize,
    /// The number of files that `ssh` refuses.
    refused: usize,
    wrong: Vec<String>,
}

impl Trial<'_> {
    /// Asks OpenSSH and vctl about each host with a name in the text.
    fn compare(&mut self, file: &Path, text: &str) {
        // A host that only a pattern matches has no line of its own.
        let all = (0..FORMS.len()).flat_map(names);
        let named: Vec<String> = all.filter(|name| text.contains(name)).collect();
        match (openssh(file, &named), vctl(self.at, file)) {
            (Some(mut expected), Some(found)) => {
                self.compared += expected.len();
                let is_new = |name: &&String| !expected.contains_key(*name);
                let more: Vec<String> = found.keys().filter(is_new).cloned().collect();
                expected.extend(openssh(file, &more).unwrap_or_default());
                if expected != found {
                    self.wrong
                        .push(format!("{text}: {expected:#?}, but vctl says {found:#?}"));
                }
            }
            (None, None) => self.refused += 1,
            (expected, found) => self
                .wrong
                .push(format!("{text}: {expected:?}, but vctl says {found:?}")),
        }
    }
}

/// The hosts in the view of OpenSSH or vctl: name, port and jump host.
type Hosts = BTreeMap<String, (String, String)>;

fn names(index: usize) -> [String; 5] {
    ["a", "b", "c", "d", "e"].map(|letter| format!("f{index}{letter}"))
}

/// Writes the files of a form. Returns the path of the first file, and the text of all files.
fn write(
    at: &Workstation<'_>,
    index: usize,
    config: &[u8],
    included: &[(&str, &[u8])],
) -> (PathBuf, String) {
    let dir = at.home(&format!("work/form-{index}"));
    let below = dir.join("d");
    let fill = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        for (letter, name) in ["@a", "@b", "@c", "@d", "@e"].iter().zip(names(index)) {
            bytes = replaced(&bytes, letter, &name);
        }
        let bytes = replaced(&bytes, "ADDR", ADDRESS);
        replaced(&bytes, "DIR", below.to_str().unwrap())
    };
    fs::create_dir_all(&below).unwrap();
    for (name, bytes) in included {
        let path = below.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, fill(bytes)).unwrap();
    }
    let file = dir.join("config");
    fs::write(&file, fill(config)).unwrap();
    let texts = included.iter().map(|(_, bytes)| fill(bytes));
    let text = texts.chain([fill(config)]).collect::<Vec<_>>().concat();
    (file, String::from_utf8_lossy(&text).into_owned())
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), bytes);
    while let Some(at) = rest.windows(from.len()).position(|w| w == from.as_bytes()) {
        out.extend([&rest[..at], to.as_bytes()].concat());
        rest = &rest[at + from.len()..];
    }
    [&out, rest].concat()
}

/// Returns the hosts that get the address of the form, or `None` if `ssh` refuses the file.
fn openssh(file: &Path, names: &[String]) -> Option<Hosts> {
    let mut hosts = Hosts::new();
    for name in names {
        let mut command = Command::new("ssh");
        let output = command.arg("-F").arg(file).args(["-G", name]).output();
        let output = output.unwrap();
        if !output.status.success() {
            return None;
        }
        let text = String::from_utf8(output.stdout).unwrap();
        let value = |keyword: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            lines
                .find(|(first, _)| *first == keyword)
                .map(|(_, value)| value)
        };
        if value("hostname") == Some(ADDRESS) {
            let jump = value("proxyjump").unwrap_or("direct");
            let jump = jump.rsplit('@').next().unwrap().split(':').next().unwrap();
            let port = value("port").unwrap().to_owned();
            hosts.insert(name.clone(), (port, jump.to_owned()));
        }
    }
    Some(hosts)
}

/// Returns the hosts with that address in the plan of `vctl sync`, or `None` if it reports a broken file.
fn vctl(at: &Workstation<'_>, file: &Path) -> Option<Hosts> {
    let args = ["sync", "--dry-run", "--config", file.to_str().unwrap()];
    let mut command = at.command(&args);
    let output = command
        .env("VCTL_SYNC_PROBE_TIMEOUT", "1s")
        .output()
        .unwrap();
    let (plan, said) = (output.stdout, output.stderr);
    let (plan, said) = (
        String::from_utf8(plan).unwrap(),
        String::from_utf8_lossy(&said).into_owned(),
    );
    // For a single bad name, `ssh` prints "hostname contains invalid characters".
    if said.contains("terminating, ") {
        return None;
    }
    let of_line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let port = words.get(2)?.strip_prefix(&format!("{ADDRESS}:"))?;
        Some((words[1].to_owned(), (port.to_owned(), words[4].to_owned())))
    };
    Some(plan.lines().filter_map(of_line).collect())
}
