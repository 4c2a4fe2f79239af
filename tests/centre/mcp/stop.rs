//! Commands that are stopped, and servers that end while a command runs.

use std::fs;
use std::io::{PipeReader, Write as _, pipe};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use vctl_tests::fixture::{await_file, await_that};

use super::{Served, open_dir};
use crate::ssh::black_hole;

/// Returns whether the process with the pid in this file exists.
fn runs(pid: &Path) -> bool {
    let pid = fs::read_to_string(pid).unwrap();
    Path::new("/proc").join(pid.trim()).exists()
}

/// Returns a command of the shell that writes this text to a file, which is never seen with a part of it.
fn writes(text: &str, file: &Path) -> String {
    let file = file.display();
    format!("echo {text} > {file}.new; mv {file}.new {file}")
}

#[test]
fn a_command_over_its_time_limit_returns_its_output() {
    let Some(mut served) = Served::or_skip("mcp-limit") else {
        return;
    };
    let command = "echo begun; sleep 60; echo ended";
    let arguments = json!({"host": served.host, "command": command, "timeout_seconds": 2});
    let result = served.client.result(1, "vctl_ssh_exec", &arguments);
    assert_eq!(result["isError"], true, "{result}");
    let answer = &result["structuredContent"];
    assert_eq!(
        answer["error"], "not done within 2 s; the command was ended",
        "{answer}"
    );
    assert_eq!(answer["stdout"], "begun\n");
    assert_eq!(answer["exit_code"], Value::Null);
    let rows = served.accesses();
    assert_eq!(rows[0]["error"], "not done within 2 s", "{rows:?}");
}

#[test]
fn a_stop_before_the_login_has_a_row() {
    let Some(mut served) = Served::or_skip("mcp-hole") else {
        return;
    };
    let (_hole, port) = black_hole();
    served
        .operator
        .inventory("mcp-hole-2", "127.0.0.1", port, "root");
    // A later stop needs no new login at Postgres.
    served.run(1, "true");
    for (id, seconds) in [(2, 2), (3, 8)] {
        let why = format!("not done within {seconds} s");
        let arguments =
            json!({"host": "mcp-hole-2", "command": "true", "timeout_seconds": seconds});
        let result = served.client.result(id, "vctl_ssh_exec", &arguments);
        assert_eq!(
            result["structuredContent"]["error"],
            format!("{why}; the command was not started"),
            "{result}"
        );
        let rows = served.operator.accesses("mcp-hole-2");
        if let [row] = &rows[..] {
            let expected = (&json!("closed"), &json!(why));
            assert_eq!((&row["result"], &row["error"]), expected);
            return;
        }
        // On a busy machine, the first stop can come before the lookup of the host.
        assert!(rows.is_empty(), "{rows:?}");
    }
    panic!("the access log has no row");
}

#[test]
fn a_cancelled_command_ends_on_the_host() {
    let Some(mut served) = Served::or_skip("mcp-cancel") else {
        return;
    };
    let dir = open_dir();
    let pids = [1, 2, 3].map(|id| dir.path().join(format!("pid-{id}")));
    let commands = [
        format!("{}; sleep 60; true", writes("$$", &pids[0])),
        format!("trap '' TERM; {}; sleep 60; true", writes("$$", &pids[1])),
        // Another process of the group.
        format!("sleep 60 & {}; wait", writes("$!", &pids[2])),
    ];
    for (id, (command, pid)) in (1..).zip(commands.iter().zip(&pids)) {
        served.start(id, command);
        await_file(pid);
        // The server answers others meanwhile.
        served.client.request(10 + id, "ping", &json!({}));
        assert_eq!(served.client.answer(10 + id)["result"], json!({}));
        assert!(runs(pid));
        let since = Instant::now();
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
        served.client.send(&cancel);
        await_that("the command has ended", || !runs(pid));
        // Far above the usual 0.4 s, for a busy machine, and far below the 60 s of the command.
        assert!(
            since.elapsed() < Duration::from_secs(5),
            "{:?}",
            since.elapsed()
        );
    }
    let is_closed = |row: &Value| row["error"] == "cancelled by the MCP client";
    await_that("all rows are closed", || {
        served
            .accesses()
            .iter()
            .filter(|row| is_closed(row))
            .count()
            == 3
    });
}

#[test]
fn a_broken_connection_does_not_prove_the_end() {
    let Some(mut served) = Served::or_skip("mcp-broken") else {
        return;
    };
    // The parent of the shell is the sshd of this connection.
    let dies = "trap 'kill -9 $PPID' TERM; while :; do sleep 0.05; done";
    let mut stopped = Value::Null;
    for (id, seconds) in [(1, 2), (2, 8)] {
        let arguments = json!({"host": served.host, "command": dies, "timeout_seconds": seconds});
        stopped = served.client.result(id, "vctl_ssh_exec", &arguments);
        // On a busy machine, the first stop can come before the login at the host.
        if stopped["structuredContent"]["addr"].is_string() {
            break;
        }
    }
    let error = "the host did not confirm the end of the command, so it may still run";
    let stopped = stopped["structuredContent"]["error"].as_str().unwrap();
    assert!(stopped.ends_with(error), "{stopped}");
    // Without a stop, the answer has the host too.
    let lost = served.run(3, "kill -9 $PPID; sleep 60");
    assert_eq!(lost["isError"], true);
    let answer = &lost["structuredContent"];
    assert_eq!(answer["host"], "mcp-broken-1", "{lost}");
    assert!(
        answer["addr"].is_string() && answer["error"].is_string(),
        "{answer}"
    );
}

#[test]
fn a_client_that_leaves_ends_its_command() {
    let Some(mut served) = Served::or_skip("mcp-leave") else {
        return;
    };
    let dir = open_dir();
    let pid = dir.path().join("pid");
    served.start(1, &format!("{}; sleep 60; true", writes("$$", &pid)));
    await_file(&pid);
    assert_eq!(served.client.leave(), Some(0));
    await_that("the command has ended", || !runs(&pid));
    let rows = served.accesses();
    assert_eq!(rows[0]["error"], "the MCP client is gone", "{rows:?}");
}

#[test]
fn a_client_that_reads_nothing_does_not_block_the_end() {
    let Some(served) = Served::or_skip("mcp-full") else {
        return;
    };
    let dir = open_dir();
    let begun = dir.path().join("begun");
    let (_unread, full) = full_pipe();
    let touch = format!("touch {}", begun.display());
    let (mut server, input) = server_with(&served, full.into(), &touch);
    // The answer to the first request waits for a reader.
    await_file(&begun);
    kill(Pid::from_raw(server.id().cast_signed()), Signal::SIGTERM).unwrap();
    await_that("the server has ended", || {
        server.try_wait().unwrap().is_some()
    });
    drop(input);
}

#[test]
fn a_closed_terminal_ends_the_running_command() {
    let Some(served) = Served::or_skip("mcp-hangup") else {
        return;
    };
    let dir = open_dir();
    let pid = dir.path().join("pid");
    let command = format!("{}; sleep 60; true", writes("$$", &pid));
    let (mut server, input) = server_with(&served, Stdio::null(), &command);
    await_file(&pid);
    kill(Pid::from_raw(server.id().cast_signed()), Signal::SIGHUP).unwrap();
    await_that("the command has ended", || !runs(&pid));
    await_that("the server has ended", || {
        server.try_wait().unwrap().is_some()
    });
    let rows = served.accesses();
    assert_ne!(rows[0]["result"], "open", "{rows:?}");
    drop(input);
}

/// Starts a server that runs this command on the host.
fn server_with(served: &Served, stdout: Stdio, script: &str) -> (Child, ChildStdin) {
    let mut command = served.operator.at.command(&["mcp"]);
    let mut server = command
        .stdin(Stdio::piped())
        .stdout(stdout)
        .spawn()
        .unwrap();
    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}});
    let run = json!({"host": served.host, "command": script});
    let run = json!({"name": "vctl_ssh_exec", "arguments": run});
    let mut input = server.stdin.take().unwrap();
    for (id, method, params) in [(1, "initialize", hello), (2, "tools/call", run)] {
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        writeln!(input, "{request}").unwrap();
    }
    (server, input)
}

/// Returns a pipe that accepts no more bytes.
fn full_pipe() -> (PipeReader, OwnedFd) {
    let (reader, writer) = pipe().unwrap();
    let flags = |flags| fcntl(writer.as_fd(), FcntlArg::F_SETFL(flags)).unwrap();
    flags(OFlag::O_NONBLOCK);
    let mut fill = &writer;
    while fill.write(&[b' '; 4096]).is_ok() {}
    flags(OFlag::empty());
    (reader, writer.into())
}
