//! A client of `vctl mcp` that sends any line, also a wrong one.
#![allow(clippy::unwrap_used, reason = "a spec that cannot go on has failed")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Longest wait for a message.
const PATIENCE: Duration = Duration::from_secs(40);

pub struct Client {
    pub child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<Value>,
    /// Messages that arrived while the client waited for another one.
    others: Vec<Value>,
}

impl Client {
    /// Starts the server and completes the handshake.
    pub fn start(command: Command) -> Self {
        let mut client = Self::without_handshake(command);
        client.initialize();
        client
    }

    pub fn initialize(&mut self) {
        let hello = json!({
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "spec client", "version": "1.2.3"},
        });
        self.request(0, "initialize", &hello);
        let answer = self.answer(0);
        assert_eq!(answer["result"]["serverInfo"]["name"], "vctl", "{answer}");
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    }

    pub fn without_handshake(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // Standard output has protocol only.
                let message = serde_json::from_str(&line).expect(&line);
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Self {
            input: child.stdin.take(),
            child,
            lines,
            others: Vec::new(),
        }
    }

    pub fn send_line(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes());
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    pub fn send(&mut self, message: &Value) {
        self.send_line(&message.to_string());
    }

    pub fn request(&mut self, id: u32, method: &str, params: &Value) {
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send(&request);
    }

    pub fn call(&mut self, id: u32, tool: &str, arguments: &Value) {
        let params = json!({"name": tool, "arguments": arguments});
        self.request(id, "tools/call", &params);
    }

    /// Calls a tool and returns its result.
    pub fn result(&mut self, id: u32, tool: &str, arguments: &Value) -> Value {
        self.call(id, tool, arguments);
        self.answer(id)["result"].take()
    }

    /// Waits for the answer to a request.
    pub fn answer(&mut self, id: u32) -> Value {
        self.message(|message| message["id"] == id && message.get("method").is_none())
    }

    /// Waits for the first message that matches.
    pub fn message(&mut self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.others.iter().position(&is_wanted) {
            return self.others.remove(at);
        }
        let since = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(since.elapsed());
            let message = self.lines.recv_timeout(left).expect("no such message");
            if is_wanted(&message) {
                return message;
            }
            self.others.push(message);
        }
    }

    /// Closes standard input, and waits for the server's end.
    pub fn leave(&mut self) -> Option<i32> {
        drop(self.input.take());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
