//! Tests the hook as PAM runs it: the real program, its exit status, its late-login file and its
//! time limit.
//!
//! Needs no root: all files that the hook trusts must belong to the user of the test.
#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml's exception ends at the helpers of a test crate"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use vctl_agent::proc::reader::ProcReader;
use vctl_agent::session::late_login::{LateLoginDir, LateLoginFile};
use vctl_agent::session::protocol::{StampReply, StampRequest, decode_request, encode};
use vctl_agent::session::server::{BindError, PendingStamp, Server};

/// Time beyond the hook's own deadline, for a machine that runs other tests.
const SLACK: Duration = Duration::from_secs(10);

/// A host with a run directory, a pending directory and a configuration.
struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    fn new(config: &str) -> Self {
        let host = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(host.path("run")).unwrap();
        let dir = host.dir.path().display();
        host.write_config(&format!(
            "run_dir: {dir}/run\npending_dir: {dir}/pending\n{config}\n"
        ));
        host
    }

    fn write_config(&self, text: &str) {
        fs::write(self.path("agent.yaml"), text).unwrap();
        fs::set_permissions(self.path("agent.yaml"), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn hook(&self) -> Command {
        let mut hook = Command::new(env!("CARGO_BIN_EXE_vctl-agent"));
        hook.arg("stamp")
            .arg("--config")
            .arg(self.path("agent.yaml"));
        hook.env_clear()
            .env("PAM_TYPE", "open_session")
            .env("PAM_SERVICE", "sshd")
            .env("PAM_USER", "root")
            .env("PAM_RHOST", "10.0.0.9")
            .env("SSH_AUTH_INFO_0", "publickey ssh-ed25519 AAAA\n")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        hook
    }

    fn listen(&self) -> UnixListener {
        UnixListener::bind(self.path("run/agent.sock")).unwrap()
    }

    fn files(&self) -> Vec<LateLoginFile> {
        let Ok(entries) = fs::read_dir(self.path("pending")) else {
            return Vec::new();
        };
        entries
            .map(|entry| fs::read(entry.unwrap().path()).unwrap())
            .map(|bytes| serde_json::from_slice(&bytes).unwrap())
            .collect()
    }
}

fn timed(mut hook: Command) -> (i32, String, Duration) {
    let started = Instant::now();
    let Output { status, stderr, .. } = hook.output().unwrap();
    (
        status.code().unwrap(),
        String::from_utf8(stderr).unwrap(),
        started.elapsed(),
    )
}

/// Answers one request, and returns it.
fn answer(listener: UnixListener, reply: StampReply) -> thread::JoinHandle<StampRequest> {
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = Vec::new();
        BufReader::new(&stream)
            .read_until(b'\n', &mut line)
            .unwrap();
        stream.write_all(&encode(&reply).unwrap()).unwrap();
        decode_request(&line).unwrap()
    })
}

#[test]
fn a_stamped_login_leaves_no_late_login() {
    let host = Host::new("mode: strict");
    let collector = answer(host.listen(), StampReply::Stamped);
    let (code, stderr, _) = timed(host.hook());
    assert_eq!((code, stderr.as_str()), (0, ""));
    let request = collector.join().unwrap();
    assert_eq!(request.user, "root");
    assert_eq!(request.rhost.as_deref(), Some("10.0.0.9"));
    assert_eq!(
        request.auth_info.as_deref(),
        Some("publickey ssh-ed25519 AAAA\n")
    );
    assert!(!host.path("pending").exists());
}

#[test]
fn other_pam_types_and_services_do_nothing() {
    let host = Host::new("mode: strict");
    for (name, value) in [
        ("PAM_TYPE", "close_session"),
        ("PAM_TYPE", "auth"),
        ("PAM_SERVICE", "sudo"),
    ] {
        let mut hook = host.hook();
        hook.env(name, value);
        let (code, stderr, _) = timed(hook);
        assert_eq!((code, stderr.as_str()), (0, ""), "{name}={value}");
    }
    assert!(host.files().is_empty());
}

#[test]
fn best_effort_without_a_collector_writes_a_late_login_file() {
    let host = Host::new("mode: best-effort");
    let (code, _, took) = timed(host.hook());
    assert_eq!(code, 0);
    assert!(took < SLACK, "{took:?}");
    let files = host.files();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].login.leader.tgid, std::process::id());
    assert!(!files[0].request.break_glass);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&host.path("pending")), 0o700);
    let file = fs::read_dir(host.path("pending"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    assert_eq!(mode(&file), 0o600);

    let mut pending = LateLoginDir::new(&host.path("pending"));
    let scan = pending.scan(&ProcReader::host()).unwrap();
    assert_eq!((scan.logins.len(), scan.rejected.len()), (1, 0));
    assert!(scan.logins[0].alive);
    assert_eq!(scan.logins[0].login.leader, files[0].login.leader);
    pending.remove(files[0].request.session_id).unwrap();
    assert!(host.files().is_empty());
}

#[test]
fn without_a_collector_strict_refuses_and_says_why() {
    let host = Host::new("mode: strict");
    let (code, stderr, took) = timed(host.hook());
    assert_eq!(code, 1);
    assert!(
        stderr.contains("login refused") && stderr.lines().count() == 1,
        "{stderr}"
    );
    assert!(took < SLACK, "{took:?}");
    assert!(host.files().is_empty());
}

#[test]
fn a_restarted_collector_is_asked_for_the_same_session() {
    let host = Host::new("mode: strict");
    let socket = host.path("run/agent.sock");
    let first = host.listen();
    let collector = thread::spawn(move || {
        let (stream, _) = first.accept().unwrap();
        let mut line = Vec::new();
        BufReader::new(&stream)
            .read_until(b'\n', &mut line)
            .unwrap();
        // The collector ends, and its connections close.
        drop((stream, first));
        std::fs::remove_file(&socket).unwrap();
        let second = UnixListener::bind(socket).unwrap();
        let again = answer(second, StampReply::Stamped).join().unwrap();
        (decode_request(&line).unwrap(), again)
    });
    assert_eq!(timed(host.hook()).0, 0);
    let (asked, again) = collector.join().unwrap();
    assert_eq!(asked, again);
}

#[test]
fn strict_refuses_a_login_that_best_effort_marks() {
    for (mode, expected, files) in [("strict", 1, 0), ("best-effort", 0, 1)] {
        let host = Host::new(&format!("mode: {mode}"));
        let reply = StampReply::Refused {
            reason: "the spool is full".to_owned(),
        };
        let collector = answer(host.listen(), reply);
        let (code, stderr, _) = timed(host.hook());
        collector.join().unwrap();
        assert_eq!(code, expected, "{mode}");
        assert_eq!(
            stderr.contains("the spool is full"),
            mode == "strict",
            "{stderr}"
        );
        assert_eq!(host.files().len(), files, "{mode}");
    }
}

#[test]
fn strict_allows_only_the_break_glass_group() {
    // On every Linux, `root` is in the group `root`, and `nobody` is not.
    let host = Host::new("mode: strict\nbreak_glass_group: root");
    assert_eq!(timed(host.hook()).0, 0);
    let files = host.files();
    assert_eq!(files.len(), 1);
    assert!(files[0].request.break_glass);
    for user in ["nobody", "no such user", ""] {
        let mut hook = host.hook();
        hook.env("PAM_USER", user);
        assert_eq!(timed(hook).0, 1, "{user:?}");
    }
}

#[test]
fn a_collector_that_is_stopped_costs_two_seconds_and_no_more() {
    let host = Host::new("mode: best-effort");
    // Accepts connections, as the kernel does for a stopped process, and never reads.
    let _listener = host.listen();
    let (code, _, took) = timed(host.hook());
    assert_eq!(code, 0);
    assert!(
        took >= Duration::from_millis(1900) && took < Duration::from_secs(2) + SLACK,
        "{took:?}"
    );
    assert_eq!(host.files().len(), 1);
}

#[test]
fn a_full_backlog_costs_at_most_two_seconds() {
    let host = Host::new("mode: strict");
    let listener = host.listen();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let _fills_it = UnixStream::connect(host.path("run/agent.sock")).unwrap();
    let (code, _, took) = timed(host.hook());
    assert_eq!(code, 1);
    assert!(
        took >= Duration::from_millis(1900) && took < Duration::from_secs(2) + SLACK,
        "{took:?}"
    );
    assert!(listener.as_raw_fd() > 0);
}

#[test]
fn an_answer_that_drips_in_does_not_stretch_the_deadline() {
    let host = Host::new("mode: strict");
    let listener = host.listen();
    let dripping = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while stream.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    });
    let (code, _, took) = timed(host.hook());
    assert_eq!(code, 1);
    assert!(took < Duration::from_secs(2) + SLACK, "{took:?}");
    dripping.join().unwrap();
}

#[test]
fn a_socket_that_others_could_have_put_there_is_not_asked() {
    let host = Host::new("mode: strict");
    let _listener = host.listen();
    fs::set_permissions(host.path("run"), fs::Permissions::from_mode(0o777)).unwrap();
    let (code, stderr, took) = timed(host.hook());
    assert_eq!(code, 1);
    assert!(stderr.contains("can be written by others"), "{stderr}");
    assert!(took < SLACK, "{took:?}");
}

#[test]
fn the_environment_of_the_login_decides_nothing() {
    // With `pam_env.so user_readenv=1`, the user of the login can set it.
    let host = Host::new("mode: strict");
    let mut hook = host.hook();
    hook.env("VCTL_AGENT_MODE", "best-effort")
        .env("VCTL_AGENT_CONFIG", "/dev/null");
    assert_eq!(timed(hook).0, 1);
}

#[test]
fn a_broken_file_refuses_a_login_only_with_strict_in_pam() {
    let host = Host::new("");
    for broken in ["mode: [", "mode: stricct\n", "\u{0}", "unknown: 1\n"] {
        host.write_config(broken);
        let directories = |mut hook: Command| {
            hook.arg("--run-dir").arg(host.path("run"));
            hook.arg(format!("--pending-dir={}", host.path("pending").display()));
            hook
        };
        assert_eq!(timed(directories(host.hook())).0, 0, "{broken:?}");
        let mut strict = directories(host.hook());
        strict.args(["--mode", "strict"]);
        assert_eq!(timed(strict).0, 1, "{broken:?}");
    }
    assert_eq!(host.files().len(), 4);
}

#[test]
fn a_linked_directory_of_late_logins_is_not_followed() {
    let host = Host::new("mode: best-effort");
    fs::create_dir(host.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(host.path("elsewhere"), host.path("pending")).unwrap();
    assert_eq!(timed(host.hook()).0, 0);
    assert_eq!(fs::read_dir(host.path("elsewhere")).unwrap().count(), 0);
}

/// Runs the real server while `body` runs; every login gets `reply`.
fn served<T: Send + 'static>(
    host: &Host,
    reply: Option<&StampReply>,
    body: impl FnOnce() -> T + Send + 'static,
) -> (T, Vec<PendingStamp>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = Server::bind(&host.path("run")).unwrap();
        let (sender, mut logins) = tokio::sync::mpsc::channel(16);
        let running = tokio::spawn(server.run(ProcReader::host(), sender));
        let body = tokio::task::spawn_blocking(body);
        tokio::pin!(body);
        let mut seen = Vec::new();
        let result = loop {
            tokio::select! {
                result = &mut body => break result.unwrap(),
                Some(mut login) = logins.recv() => {
                    let (unused, _) = tokio::sync::oneshot::channel();
                    let answer = std::mem::replace(&mut login.reply, unused);
                    if let Some(reply) = reply.cloned() {
                        answer.send(reply).unwrap();
                    }
                    seen.push(login);
                }
            }
        };
        drop(logins);
        running.await.unwrap();
        (result, seen)
    })
}

#[test]
fn the_server_names_the_parent_of_the_hook_as_the_login() {
    let host = Host::new("mode: strict");
    let hook = host.hook();
    let ((code, ..), seen) = served(&host, Some(&StampReply::Stamped), move || timed(hook));
    assert_eq!(code, 0);
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].login.leader.tgid, std::process::id());
    assert_eq!(seen[0].request.user, "root");
}

#[test]
fn a_dropped_login_is_asked_for_again() {
    let host = Host::new("mode: strict");
    let hook = host.hook();
    let ((code, stderr, _), seen) = served(&host, None, move || timed(hook));
    assert_eq!(code, 1);
    assert!(
        stderr.contains("this session cannot be recorded"),
        "{stderr}"
    );
    let first = seen[0].request.session_id;
    assert!(seen.len() > 1, "asked once");
    assert!(seen.iter().all(|login| login.request.session_id == first));
}

#[test]
fn forged_lines_are_answered_or_dropped_and_the_server_goes_on() {
    let host = Host::new("mode: strict");
    let socket = host.path("run/agent.sock");
    let hook = host.hook();
    let ((lines, code), seen) = served(&host, Some(&StampReply::Stamped), move || {
        let lines: Vec<String> = [&b"not json\n"[..], b"{\"version\":9}\n", b"\xff\xfe\n"]
            .iter()
            .map(|line| {
                let mut stream = UnixStream::connect(&socket).unwrap();
                stream.write_all(line).unwrap();
                let mut answer = String::new();
                BufReader::new(stream).read_line(&mut answer).unwrap();
                answer
            })
            .collect();
        // One client never ends its line, one sends without end, one disconnects.
        let _silent = UnixStream::connect(&socket).unwrap();
        let mut endless = UnixStream::connect(&socket).unwrap();
        let chunk = vec![b'x'; 64 * 1024];
        while endless.write_all(&chunk).is_ok() {}
        drop(UnixStream::connect(&socket).unwrap());
        (lines, timed(hook).0)
    });
    assert!(
        lines.iter().all(|line| line.contains("\"refused\"")),
        "{lines:?}"
    );
    assert_eq!((code, seen.len()), (0, 1));
}

#[test]
fn fifty_logins_at_once_are_all_stamped() {
    let host = Host::new("mode: strict");
    let hooks: Vec<Command> = (0..50).map(|_| host.hook()).collect();
    let (codes, seen) = served(&host, Some(&StampReply::Stamped), move || {
        let children: Vec<Child> = hooks
            .into_iter()
            .map(|mut hook| hook.spawn().unwrap())
            .collect();
        children
            .into_iter()
            .map(|mut child| child.wait().unwrap().code().unwrap())
            .collect::<Vec<_>>()
    });
    assert!(codes.iter().all(|code| *code == 0), "{codes:?}");
    assert_eq!(seen.len(), 50);
}

#[test]
fn a_second_agent_takes_only_a_dead_agents_socket() {
    let host = Host::new("");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let first = Server::bind(&host.path("run")).unwrap();
    assert!(matches!(
        Server::bind(&host.path("run")),
        Err(BindError::InUse { .. })
    ));
    drop(first);
    // Its socket file still exists, but no process listens on it.
    assert!(host.path("run/agent.sock").exists());
    Server::bind(&host.path("run")).unwrap();
}

#[test]
fn a_file_in_the_place_of_the_socket_is_not_removed() {
    let host = Host::new("");
    fs::write(host.path("run/agent.sock"), "precious").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    assert!(matches!(
        Server::bind(&host.path("run")),
        Err(BindError::Unsafe { .. })
    ));
    assert_eq!(
        fs::read_to_string(host.path("run/agent.sock")).unwrap(),
        "precious"
    );
}
