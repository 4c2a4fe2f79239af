//! A user's home, a working directory of another author, and a Vault with the answers of a spec.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use vctl_tests::lab::Programs;
use vctl_tests::terminal::Terminal;

/// Maps a request, `METHOD /path`, to a status and a body.
pub(crate) type Answer = fn(&str) -> (u16, String);

/// A server on loopback that speaks as much of Vault's HTTP as an attacker needs.
pub(crate) struct FakeVault {
    pub(crate) addr: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl FakeVault {
    pub(crate) fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        // The thread ends with the process. It holds nothing that the spec must clean up.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = serve(stream, answer, &log);
            }
        });
        Self { addr, asked }
    }

    /// Returns every request so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }
}

fn serve(
    stream: TcpStream,
    answer: Answer,
    log: &Mutex<Vec<String>>,
) -> Result<(), std::io::Error> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let words: Vec<&str> = line.split_whitespace().take(2).collect();
    let request = words.join(" ");
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
        if header.trim().is_empty() {
            break;
        }
    }
    reader.take(length).read_to_end(&mut Vec::new())?;
    log.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(request.clone());
    let (status, body) = answer(&request);
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// A user with a home, in a working directory.
pub(crate) struct Desk {
    home: tempfile::TempDir,
}

impl Desk {
    /// `own` is the user's own configuration.
    pub(crate) fn new(own: &str) -> Self {
        let desk = Self {
            home: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(desk.path(".config/vctl")).unwrap();
        fs::create_dir(desk.path("work")).unwrap();
        fs::write(desk.path(".config/vctl/config.yaml"), own).unwrap();
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a settings file into the working directory.
    pub(crate) fn directory_says(&self, text: &str) {
        fs::create_dir_all(self.path("work/.vctl")).unwrap();
        fs::write(self.path("work/.vctl/config.yaml"), text).unwrap();
    }

    /// Creates the root directory of an image with an sshd that can get a CA.
    pub(crate) fn image(&self, name: &str) -> PathBuf {
        let image = self.path(name);
        let etc = image.join("etc/ssh");
        fs::create_dir_all(&etc).unwrap();
        let config = "Include /etc/ssh/sshd_config.d/*.conf\n";
        fs::write(etc.join("sshd_config"), config).unwrap();
        image
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(Programs::find().unwrap().vctl);
        command
            .args(args)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TERM", "xterm")
            .env("HOME", self.home.path())
            .current_dir(self.path("work"))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Said {
        self.command(args).output().unwrap().into()
    }

    /// Runs vctl with this text on standard input.
    pub(crate) fn given(&self, args: &[&str], input: &str) -> Said {
        let file = self.path("input");
        fs::write(&file, input).unwrap();
        let mut command = self.command(args);
        command.stdin(fs::File::open(file).unwrap());
        command.output().unwrap().into()
    }

    pub(crate) fn before_a_person(&self, args: &[&str]) -> Terminal {
        Terminal::start(self.command(args), 200).unwrap()
    }
}

/// The result of a run, as bytes.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    raw_stderr: Vec<u8>,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            raw_stderr: output.stderr,
        }
    }
}

impl Said {
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Asserts that no byte can control a terminal or start a line of its own.
    pub(crate) fn assert_harmless(&self, what: &str) {
        for bytes in [&self.stdout, &self.raw_stderr] {
            let text = std::str::from_utf8(bytes);
            let text = text.unwrap_or_else(|_| panic!("{what}: no UTF-8: {bytes:?}"));
            let acts = |c: char| {
                (c.is_control() && c != '\n')
                    || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            };
            assert!(!text.contains(acts), "{what}: {text:?}");
            let forged = text.lines().any(|line| line.starts_with("FORGED"));
            assert!(!forged, "{what}: {text}");
        }
    }
}

/// Returns whether the image trusts a CA.
pub(crate) fn trusts_a_ca(image: &Path) -> bool {
    image.join("etc/ssh/vault-ca.pub").exists()
}
