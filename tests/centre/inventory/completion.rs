//! The shell gets names of hosts when the user presses Tab, and vctl does not ask a server for them.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use vctl_tests::lab::{Programs, skip};
use vctl_tests::terminal::Terminal;

/// A user with cached hosts. The cache belongs to a Vault and a Postgres at `server`.
struct Shell<'a> {
    home: tempfile::TempDir,
    server: &'a TcpListener,
}

impl<'a> Shell<'a> {
    fn new(server: &'a TcpListener, hosts: &[&str]) -> Self {
        let shell = Self {
            home: tempfile::tempdir().unwrap(),
            server,
        };
        let state = shell.home.path().join(".vctl");
        fs::create_dir(&state).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
        let host = |name: &&str| {
            let dc = if name.starts_with("db") {
                "incheon"
            } else {
                "seoul"
            };
            json!({
                "name": name, "dc": dc, "ip": "192.0.2.1", "ssh_port": 22, "ssh_user": "root",
                "jump_via": null, "extra_ips": [], "observed_ips": [], "ca_role": "sre-core",
                "state": "active", "tags": [],
            })
        };
        let hosts: Vec<Value> = hosts.iter().map(host).collect();
        let port = server.local_addr().unwrap().port();
        let kept = json!({
            "version": 1,
            "origin": {
                "addr": shell.address(), "namespace": null, "database": format!("127.0.0.1:{port}/vctl"),
            },
            "taken_at": jiff::Timestamp::now().to_string(),
            "hosts": hosts,
        });
        let file = state.join("inventory.json");
        fs::write(&file, kept.to_string()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let recent = json!({
            "version": 1,
            "origin": kept["origin"],
            "hosts": [],
            "sessions": ["734155", "0193f3a1-0000-7000-8000-000000000001"],
            "people": ["albert", "gerda", "$(reboot)", "a\u{1b}[2J"],
        });
        let file = state.join("recent.json");
        fs::write(&file, recent.to_string()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        shell
    }

    /// Adds the variables that a shell needs to find vctl and the centre.
    fn environment(&self, command: &mut Command) {
        let vctl = Programs::find().unwrap().vctl;
        let bin = vctl.parent().unwrap_or(Path::new("/")).display();
        command
            .env_clear()
            .env("PATH", format!("{bin}:/usr/bin:/bin"))
            .env("HOME", self.home.path())
            .env("XDG_CONFIG_HOME", self.home.path())
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb")
            .env("VCTL_VAULT_ADDR", self.address())
            .env("VCTL_DB_HOST", "127.0.0.1")
            .env(
                "VCTL_DB_PORT",
                self.server.local_addr().unwrap().port().to_string(),
            )
            .current_dir(self.home.path());
    }

    fn address(&self) -> String {
        format!("https://{}", self.server.local_addr().unwrap())
    }

    /// Returns the completions that bash offers for the last of these words.
    fn offers(&self, words: &[&str]) -> Vec<String> {
        let last = words.len() - 1;
        let script = format!(
            "source <(vctl completions bash --hosts)\n\
             COMP_WORDS=({}); COMP_CWORD={last}; COMP_TYPE=9\n\
             _clap_complete_vctl vctl '{}' '{}'\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.join(" "),
            words[last],
            words[last - 1],
        );
        let mut command = Command::new("bash");
        self.environment(&mut command);
        let output = command.args(["--norc", "-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let offered = String::from_utf8(output.stdout).unwrap();
        let offered = offered.lines().filter(|line| !line.is_empty());
        offered.map(str::to_owned).collect()
    }
}

fn server() -> TcpListener {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    server.set_nonblocking(true).unwrap();
    server
}

#[test]
fn completion_offers_cached_hosts_without_a_server() {
    let server = server();
    let shell = Shell::new(&server, &["db-1", "web-1", "web-2"]);
    for words in [
        &["vctl", "ssh", "we"][..],
        &["vctl", "ssh", "--server", "we"],
        &["vctl", "list", "WE"],
        &["vctl", "list", "--route", "we"],
        &["vctl", "edit", "we"],
        &["vctl", "edit", "db-1", "--jump", "we"],
        &["vctl", "delete", "we"],
        &["vctl", "session", "--host", "we"],
        &["vctl", "audit", "--host", "we"],
        &["vctl", "host", "enroll", "we"],
    ] {
        assert_eq!(shell.offers(words), ["web-1", "web-2"], "{words:?}");
    }
    let items = shell.offers(&["vctl", "dbedit", "--col", "dc", "we"]);
    assert_eq!(items, ["web-1=", "web-2="]);
    assert!(shell.offers(&["vctl", "ssh", "nobody"]).is_empty());
    assert!(shell.offers(&["vctl", "ca", "st"]).is_empty());
    assert_eq!(shell.offers(&["vctl", "cache", "st"]), ["status"]);
    // The server got no connection.
    assert!(server.accept().is_err());
}

#[test]
fn hosts_of_another_inventory_are_not_offered() {
    let (server, other) = (self::server(), self::server());
    let mut shell = Shell::new(&server, &["web-1"]);
    assert_eq!(shell.offers(&["vctl", "ssh", "w"]), ["web-1"]);
    shell.server = &other;
    assert!(shell.offers(&["vctl", "ssh", "w"]).is_empty());
}

/// The typed text, and the completion of its last word.
const COMPLETED: [(&str, &str); 15] = [
    ("vctl list --dc inch", "incheon"),
    ("vctl edit web-1 --dc seo", "seoul"),
    ("vctl login --method user", "userpass"),
    ("vctl session 7341", "734155"),
    ("vctl session 0193", "0193f3a1-0000-7000-8000-000000000001"),
    ("vctl session --user ger", "gerda"),
    ("vctl audit --user alb", "albert"),
    ("vctl ssh db", "db-1"),
    ("vctl add new --ca-role sre", "sre-core"),
    ("vctl edit web-1 --state main", "maintenance"),
    ("vctl list -o ya", "yaml"),
    ("vctl help comp", "completions"),
    ("vctl ca ssh-print -o jsonl", "jsonl"),
    ("vctl session 7 --html repo", "report.html"),
    ("vctl sync --config repo", "report.html"),
];

#[test]
fn bash_completes_every_kind_of_value() {
    let server = server();
    let shell = Shell::new(&server, &["db-1", "web-1", "web-2"]);
    let mut command = Command::new("bash");
    shell.environment(&mut command);
    command
        .args(["--norc", "--noprofile", "-i"])
        .env("PS1", "ready> ");
    completes_in(&shell, command, "source <(vctl completions bash --hosts)\n");
}

#[test]
fn zsh_completes_every_kind_of_value() {
    if !Path::new("/usr/bin/zsh").exists() {
        skip("`zsh` is not installed");
        return;
    }
    let server = server();
    let shell = Shell::new(&server, &["db-1", "web-1", "web-2"]);
    let mut command = Command::new("zsh");
    shell.environment(&mut command);
    command.args(["-f", "-i"]).env("PS1", "ready> ");
    let setup = "autoload -Uz compinit; compinit -u; source <(vctl completions zsh --hosts)\n";
    completes_in(&shell, command, setup);
}

/// Types each line of `COMPLETED` and a Tab into a shell, and makes the shell print its words.
fn completes_in(shell: &Shell<'_>, command: Command, setup: &str) {
    fs::write(shell.home.path().join("report.html"), "").unwrap();
    let mut terminal = Terminal::start(command, 200).unwrap();
    terminal.wait_for("ready> ").unwrap();
    terminal.type_in(setup).unwrap();
    terminal.type_in("echo set''up\n").unwrap();
    terminal.wait_for("setup").unwrap();
    for (typed, completed) in COMPLETED {
        let place = terminal.shown().len();
        terminal.type_in(&format!("{typed}\t")).unwrap();
        let whole = format!("{} {completed}", typed.rsplit_once(' ').unwrap().0);
        let waited = terminal.wait_until(|shown| {
            let shown = shown.get(place..).unwrap_or_default();
            visible(shown).contains(&whole)
        });
        assert!(waited.is_ok(), "{typed}: {}", &terminal.shown()[place..]);
        // Ctrl-U deletes the line, otherwise the next line would be added to it.
        terminal.type_in("\u{15}").unwrap();
    }
    assert!(shell.server.accept().is_err());
    let shown = terminal.shown();
    assert!(
        !shown.contains("error") && !shown.contains("panicked"),
        "{shown}"
    );
}

/// Returns the visible rest of a line after the cursor moved back over it.
fn visible(shown: &str) -> String {
    let mut text = String::new();
    let mut letters = shown.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{8}' => {
                text.pop();
            }
            '\u{7}' | '\r' => {}
            '\u{1b}' => while letters.next_if(|c| !c.is_ascii_alphabetic()).is_some() {},
            letter => text.push(letter),
        }
    }
    text
}

#[test]
fn fish_completes_every_kind_of_value() {
    if !Path::new("/usr/bin/fish").exists() {
        skip("`fish` is not installed");
        return;
    }
    let server = server();
    let shell = Shell::new(&server, &["db-1", "web-1", "web-2"]);
    fs::write(shell.home.path().join("report.html"), "").unwrap();
    let lines = COMPLETED.map(|(typed, _)| format!("complete -C '{typed}' | cut -f1; echo --\n"));
    let script = format!("vctl completions fish --hosts | source\n{}", lines.concat());
    let mut command = Command::new("fish");
    shell.environment(&mut command);
    let output = command
        .args(["--no-config", "-c", &script])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let offered = String::from_utf8(output.stdout).unwrap();
    for ((typed, completed), offered) in COMPLETED.iter().zip(offered.split("--\n")) {
        let lines: Vec<&str> = offered.lines().map(str::trim).collect();
        assert!(lines.contains(completed), "{typed}: {offered}");
    }
    assert!(server.accept().is_err());
}

#[test]
fn a_name_that_a_shell_would_run_is_not_offered() {
    let server = server();
    let shell = Shell::new(&server, &["db-1"]);
    assert_eq!(
        shell.offers(&["vctl", "audit", "--user", ""]),
        ["albert", "gerda"]
    );
    assert_eq!(shell.offers(&["vctl", "ssh", "root@d"]), ["root@db-1"]);
}

#[test]
fn completion_neither_waits_nor_prints_errors() {
    let server = server();
    let shell = Shell::new(&server, &["web-1"]);
    // A reader of this pipe waits for a writer.
    let state = shell.home.path().join("vctl");
    fs::create_dir(&state).unwrap();
    nix::unistd::mkfifo(&state.join("config.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let begun = std::time::Instant::now();
    let offered = shell.offers(&["vctl", "ssh", "w"]);
    assert!(offered.is_empty() || offered == ["web-1"], "{offered:?}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(10));
    fs::remove_file(state.join("config.yaml")).unwrap();
    fs::write(state.join("config.yaml"), "vault_addr: [").unwrap();
    assert!(shell.offers(&["vctl", "ssh", "w"]).is_empty());
    fs::remove_file(state.join("config.yaml")).unwrap();
    fs::write(shell.home.path().join(".vctl/inventory.json"), "{").unwrap();
    assert!(shell.offers(&["vctl", "ssh", "w"]).is_empty());
}
