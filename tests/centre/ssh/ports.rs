//! Forwarded ports through a host, in both directions, and the forwarded agent.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vctl_tests::lab::eventually;

use super::{Operator, shared};

pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a server that reads its whole input and then returns it in capitals. Returns the port.
pub(super) fn echo() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut heard = Vec::new();
                stream.read_to_end(&mut heard).unwrap();
                stream.write_all(&heard.to_ascii_uppercase()).unwrap();
            });
        }
    });
    port
}

fn ask(mut stream: TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

pub(super) fn connected(port: u16) -> TcpStream {
    let mut stream = None;
    let connect = || {
        stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok();
        Ok(stream.is_some())
    };
    assert!(
        eventually(PATIENCE, connect).unwrap(),
        "no process listens at {port}"
    );
    stream.unwrap()
}

/// Ends the process as a supervisor does, and returns the exit status.
fn stop(mut child: Child) -> Option<i32> {
    kill(
        Pid::from_raw(i32::try_from(child.id()).unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    child.wait().unwrap().code()
}

#[test]
fn a_port_here_leads_to_one_there() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-local");
    operator.knows("local-1", centre.host.as_ref().unwrap());
    let (port, to) = (free_port(), echo());
    let forward = format!("{port}:localhost:{to}");
    let child = operator.start(&["-N", "-L", &forward, "local-1"]);
    assert_eq!(ask(connected(port), "one"), "ONE");
    let big = "many words ".repeat(100_000);
    assert_eq!(ask(connected(port), &big), big.to_uppercase());
    assert_eq!(operator.accesses("local-1")[0]["result"], "open");
    assert_eq!(stop(child), Some(143));
    let row = &operator.accesses("local-1")[0];
    assert_eq!(
        (&row["result"], row["exit_code"].is_null()),
        (&"closed".into(), true)
    );
    // vctl reports a port that is in use before it logs in to any host.
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = taken.local_addr().unwrap().port();
    // The same is true if only one address of `localhost` is in use: a client at that address would reach another
    // server.
    for bind in ["127.0.0.1:", ""] {
        let forward = format!("{bind}{taken}:localhost:{to}");
        let said = operator.ssh(&["-L", &forward, "local-1", "--", "true"]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.stderr.contains("cannot listen at"), "{}", said.stderr);
    }
    assert_eq!(operator.accesses("local-1").len(), 1);
}

#[test]
fn a_port_there_leads_to_one_here() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-remote");
    operator.knows("remote-1", centre.host.as_ref().unwrap());
    let (port, to) = (free_port(), echo());
    let forward = format!("{port}:127.0.0.1:{to}");
    let child = operator.start(&["-N", "-R", &forward, "remote-1"]);
    assert_eq!(ask(connected(port), "there"), "THERE");
    assert_eq!(stop(child), Some(143));
}

#[test]
fn a_socks_client_names_its_destination() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-socks");
    operator.knows("socks-1", centre.host.as_ref().unwrap());
    let (port, to) = (free_port(), echo());
    let child = operator.start(&["-N", "-D", &port.to_string(), "socks-1"]);
    let mut stream = connected(port);
    stream.write_all(&[5, 1, 0]).unwrap();
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [5, 0]);
    let [high, low] = to.to_be_bytes();
    let wish = [&[5, 1, 0, 3, 9][..], b"localhost", &[high, low]].concat();
    stream.write_all(&wish).unwrap();
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..2], [5, 0]);
    assert_eq!(ask(stream, "socks"), "SOCKS");
    assert_eq!(stop(child), Some(143));
}

#[test]
fn standard_input_and_output_are_a_connection_of_the_host() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-stdio");
    operator.knows("stdio-1", centre.host.as_ref().unwrap());
    let to = format!("127.0.0.1:{}", echo());
    let said = operator.given(&["-W", &to, "stdio-1"], "through");
    assert_eq!((said.code, &*said.stdout), (0, "THROUGH"), "{said:?}");
    let said = operator.given(&["-W", "127.0.0.1:1", "stdio-1"], "");
    assert_eq!(said.code, 255, "{said:?}");
    let why = "`stdio-1` does not connect to `127.0.0.1:1`";
    assert!(said.stderr.contains(why), "{said:?}");
}

#[test]
fn the_end_of_the_stream_of_a_host_is_passed_on() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-half");
    operator.knows("half-1", centre.host.as_ref().unwrap());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let (heard_with, heard) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"bye").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        heard_with.send(text).unwrap();
    });
    let mut child = operator.start(&["-W", &to, "half-1"]);
    let mut stdout = child.stdout.take().unwrap();
    let (said_with, said) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        let _ = said_with.send(text);
    });
    // Standard input is still open.
    assert_eq!(said.recv_timeout(PATIENCE).as_deref(), Ok("bye"));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"later").unwrap();
    drop(stdin);
    assert_eq!(heard.recv_timeout(PATIENCE).as_deref(), Ok("later"));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_agent_is_forwarded_only_on_request() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-agent");
    operator.knows("agent-1", centre.host.as_ref().unwrap());
    let socket = operator.at.home("agent");
    let mut agent = Command::new("ssh-agent");
    agent.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null());
    let mut agent = agent.spawn().unwrap();
    assert!(eventually(PATIENCE, || Ok(socket.exists())).unwrap());
    let status = |args: &[&str]| {
        let mut command = operator.command(args);
        command
            .env("SSH_AUTH_SOCK", &socket)
            .output()
            .unwrap()
            .status
            .code()
    };
    // Status 1: the agent is there and empty. Status 2: the agent is not there.
    assert_eq!(status(&["-A", "agent-1", "--", "ssh-add -l"]), Some(1));
    assert_eq!(status(&["agent-1", "--", "ssh-add -l"]), Some(2));
    agent.kill().unwrap();
    agent.wait().unwrap();
}
