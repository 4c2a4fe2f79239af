//! Without a terminal and without input, every command ends, and no command asks.
//!
//! The list of commands comes from `vctl --help`, so a new command is always in it. If a new command needs arguments,
//! this spec fails until `ARGUMENTS` contains them.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn};
use serde_json::json;
use vctl_tests::centre::Centre;
use vctl_tests::lab::Programs;

/// A time longer than all deadlines of one command together: those of Vault, of Postgres and of the end of a
/// connection.
const DEADLINE: Duration = Duration::from_secs(90);

/// The arguments of each command. Other commands run without arguments.
const ARGUMENTS: &[(&str, &[&str])] = &[
    // vctl always refuses these arguments, so the spec never adds a host.
    (
        "add",
        &["somewhere", "--ip", "192.0.2.1", "--jump", "no-such-host"],
    ),
    ("agent", &["--once"]),
    ("audit verify", &["--audit-log", "/nowhere"]),
    ("ca host-cert", &["no-such-host", "--key", "/nowhere"]),
    ("ca install", &["--file", "/nowhere.pem"]),
    ("ca ssh-rotate", &["--plan"]),
    ("ca remove", &["--root", "/nowhere"]),
    ("completions", &["bash"]),
    ("dbedit", &["--col", "del", "no-such-host"]),
    ("delete", &["no-such-host", "--yes"]),
    ("edit", &["no-such-host", "--dc", "nowhere"]),
    ("exec", &["--", "true"]),
    ("host enroll", &["no-such-host"]),
    ("host rename", &["no-such-host", "another-host"]),
    ("host revoke", &["no-such-host"]),
    ("known-hosts", &["no-such-host"]),
    ("migrate", &["--status"]),
    ("node-agent", &["--once", "--hostname", "no-such-host"]),
    ("proxy", &["no-such-host", "22"]),
    ("prune", &["--dry-run"]),
    ("rbac assign", &["no-such-group", "no-such-user"]),
    ("rbac check", &["ssh"]),
    ("rbac grant", &["no-such-group", "ssh"]),
    ("rbac group create", &["no-such-group"]),
    ("rbac group delete", &["no-such-group", "--yes"]),
    ("rbac group show", &["no-such-group"]),
    ("rbac member add", &["no-such-group", "no-such-user"]),
    ("rbac member remove", &["no-such-group", "no-such-user"]),
    ("rbac revoke", &["no-such-group", "ssh"]),
    ("rbac scopes", &["/nowhere.json"]),
    ("revoke", &["no-such-user", "--yes"]),
    ("session end", &["0193f3a1-7c4e", "--yes"]),
    // The other specs of this centre store more events than an export sends before the deadline.
    ("session export", &["--host", "no-such-host"]),
    ("ssh", &["no-such-host", "--", "true"]),
    ("sync", &["--config", "/nowhere/config"]),
    ("trust-ca", &["no-such-host"]),
];

/// Commands that serve their input: they end when it ends.
const SERVERS: [&str; 1] = ["mcp"];

/// The possible exit codes of a command without a user.
const ENDINGS: [i32; 9] = [0, 1, 66, 69, 75, 76, 77, 78, 255];

#[derive(Clone, Copy, Debug)]
enum Input {
    /// The input ends at once.
    Nothing,
    /// A pipe without any data: a reader waits for ever.
    Silent,
}

/// One Vault server, and whether the user is logged in.
struct Situation<'a> {
    name: &'a str,
    vault: Option<String>,
    logged_in: bool,
    input: Input,
}

#[test]
fn every_command_ends_and_none_asks() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let commands = commands(&[]);
    assert!(commands.len() > 10, "{commands:?}");
    let tarpit = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let tarpit = format!("https://{}", tarpit.local_addr().unwrap());
    let hole = Blackhole::new();
    let situation = |name, vault: Option<&str>, logged_in, input| Situation {
        name,
        vault: vault.map(str::to_owned),
        logged_in,
        input,
    };
    let hole = format!("https://{}", hole.address);
    let situations = [
        situation("a centre, logged in", None, true, Input::Silent),
        situation("a centre, not logged in", None, false, Input::Silent),
        situation("a centre, at the end of input", None, false, Input::Nothing),
        situation("a silent server", Some(&tarpit), true, Input::Silent),
        situation(
            "a silent server, not logged in",
            Some(&tarpit),
            false,
            Input::Silent,
        ),
        situation("no way there", Some(&hole), true, Input::Silent),
        situation(
            "no way there, not logged in",
            Some(&hole),
            false,
            Input::Silent,
        ),
    ];
    thread::scope(|scope| {
        for command in &commands {
            scope.spawn(|| {
                for situation in &situations {
                    ends_without_asking(centre, command, situation);
                }
            });
        }
    });
}

fn ends_without_asking(centre: &Centre, command: &str, situation: &Situation<'_>) {
    let what = format!("`vctl {command}`, {}", situation.name);
    let home = tempfile::tempdir().unwrap();
    let browser = fake_browsers(home.path());
    let programs = Programs::find().unwrap();
    let path = format!(
        "{}:{}:/usr/bin:/bin",
        home.path().join("bin").display(),
        programs.directory.display()
    );
    let arguments = ARGUMENTS.iter().find(|(name, _)| *name == command);
    let arguments = arguments.map_or(&[][..], |(_, arguments)| arguments);
    let output = |name: &str| File::create(home.path().join(name)).unwrap();
    // A new session has no terminal, whether or not this process has one.
    let mut run = Command::new("/usr/bin/setsid");
    run.arg("--wait")
        .arg(&programs.vctl)
        .args(command.split(' '))
        .args(arguments)
        .env_clear()
        .envs(centre.environment())
        .env("HOME", home.path())
        .env("USER", "nobody")
        .env("PATH", path)
        .env("BROWSER", "xdg-open")
        .env("DISPLAY", ":0")
        .current_dir(home.path())
        .stdin(match situation.input {
            Input::Silent if !SERVERS.contains(&command) => Stdio::piped(),
            Input::Silent | Input::Nothing => Stdio::null(),
        })
        .stdout(output("stdout"))
        .stderr(output("stderr"));
    if let Some(vault) = &situation.vault {
        run.env("VCTL_VAULT_ADDR", vault);
    }
    if situation.logged_in {
        run.env("VAULT_TOKEN", token(centre));
    }
    let mut child = run.spawn().unwrap();
    // The input stays open and empty until the command ends.
    let _input = child.stdin.take();
    let code = ending(&mut child, &what);
    let said = fs::read_to_string(home.path().join("stderr")).unwrap();
    assert!(ENDINGS.contains(&code), "{what} ended with {code}: {said}");
    // A question does not end with a line end.
    assert!(
        said.is_empty() || said.ends_with('\n'),
        "{what} asked: {said}"
    );
    assert!(!said.contains("[y/N]"), "{what} asked: {said}");
    assert!(!browser.exists(), "{what} opened a browser");
}

fn ending(child: &mut Child, what: &str) -> i32 {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or(-1);
        }
        if start.elapsed() > DEADLINE {
            child.kill().unwrap();
            panic!("{what} hangs");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Installs fake browsers. Returns the file that exists after a command started one of them.
fn fake_browsers(home: &Path) -> std::path::PathBuf {
    let directory = home.join("bin");
    fs::create_dir(&directory).unwrap();
    let opened = home.join("opened");
    let script = format!("#!/bin/sh\necho \"$@\" >> {}\n", opened.display());
    for name in ["xdg-open", "open", "sensible-browser", "www-browser", "gio"] {
        let path = directory.join(name);
        fs::write(&path, &script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    opened
}

/// Returns a token for one command only, because the command may revoke it.
fn token(centre: &Centre) -> String {
    let admin = centre.bao.admin().unwrap();
    let token = admin
        .post(
            "auth/token/create",
            &json!({"policies": ["root"], "ttl": "10m"}),
        )
        .unwrap();
    token["auth"]["client_token"].as_str().unwrap().to_owned()
}

/// A port that does not answer a SYN, because its connection queue is full.
struct Blackhole {
    address: SocketAddr,
    _listener: std::os::fd::OwnedFd,
    _queued: Vec<TcpStream>,
}

impl Blackhole {
    fn new() -> Self {
        let listener = socket::socket(
            AddressFamily::Inet,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .unwrap();
        let any = SockaddrIn::new(127, 0, 0, 1, 0);
        socket::bind(listener.as_raw_fd(), &any).unwrap();
        socket::listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let bound: SockaddrIn = socket::getsockname(listener.as_raw_fd()).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, bound.port()));
        let wait = Duration::from_millis(500);
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, wait) {
            queued.push(stream);
            assert!(queued.len() < 100, "the connection queue does not get full");
        }
        Self {
            address,
            _listener: listener,
            _queued: queued,
        }
    }
}

/// Returns every command without subcommands, as the user types it.
fn commands(above: &[&str]) -> Vec<String> {
    let output = Command::new(Programs::find().unwrap().vctl)
        .args(above)
        .arg("--help")
        .output();
    let help = String::from_utf8(output.unwrap().stdout).unwrap();
    let below: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  "))
        // The other lines of a long description have a larger indent.
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    if below.is_empty() || above == ["node-agent"] {
        return vec![above.join(" ")];
    }
    // A command with an optional subcommand. Options that exclude the subcommand have a usage line of their own.
    let is_optional = help.contains(" [COMMAND]") || help.contains("\n       vctl ");
    let own = is_optional.then(|| above.join(" "));
    let below = below.into_iter();
    let below = below.flat_map(|name| commands(&[above, &[name]].concat()));
    own.into_iter().chain(below).collect()
}
