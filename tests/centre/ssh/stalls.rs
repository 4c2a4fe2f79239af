//! A channel stalls if its reader does not read or its writer may not write. Other channels continue.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::ports::{PATIENCE, connected, echo, free_port};
use super::{Operator, shared};

/// More bytes than the kernel, sshd and two windows hold.
const TOTAL: usize = 24 << 20;

/// A write that waits for this time is stalled.
const STALL: Duration = Duration::from_millis(300);

/// The server starts a new key exchange after each MiB, and checks that the client is alive.
const BUSY_SERVER: &str = "RekeyLimit 1M\nClientAliveInterval 1\nClientAliveCountMax 5\n";

#[derive(Clone, Copy, Debug)]
enum Kind {
    Local,
    Remote,
    Proxy,
}

/// A connection through a forward with a reader that waits.
struct Stalled {
    reader: TcpStream,
    writer: JoinHandle<()>,
    met: Receiver<()>,
}

impl Stalled {
    fn new(mut writer: TcpStream, reader: TcpStream) -> Self {
        writer.set_write_timeout(Some(STALL)).unwrap();
        reader.set_read_timeout(Some(PATIENCE)).unwrap();
        let (tell, met) = channel();
        let writer = thread::spawn(move || {
            let piece = vec![b'x'; 64 << 10];
            let mut left = TOTAL;
            while left > 0 {
                match writer.write(&piece[..left.min(piece.len())]) {
                    Ok(length) => left -= length,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        let _ = tell.send(());
                    }
                    Err(_) => return,
                }
            }
            writer.shutdown(Shutdown::Write).unwrap();
        });
        Self {
            reader,
            writer,
            met,
        }
    }

    fn wait(&self) {
        let met = self.met.recv_timeout(PATIENCE);
        met.expect("the connection never stalled");
    }

    /// Reads to the end, and returns the number of bytes.
    fn read_on(mut self) -> u64 {
        let read = std::io::copy(&mut self.reader, &mut std::io::sink()).unwrap();
        self.writer.join().unwrap();
        read
    }
}

/// A client with two forwards of each kind: one to the same listener for all kinds, one to an echo server.
struct Forwards {
    child: Child,
    listener: TcpListener,
    echo: u16,
    /// For each of the three kinds: the port that leads to the listener, and the port that leads to the echo server.
    ports: [[u16; 2]; 3],
}

impl Forwards {
    fn open(operator: &Operator<'_>, args: &[&str]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = [listener.local_addr().unwrap().port(), echo()];
        let local = [free_port(), free_port()];
        let remote = [free_port(), free_port()];
        let proxy = free_port();
        let forward = |ports: [u16; 2]| [0, 1].map(|n| format!("{}:127.0.0.1:{}", ports[n], to[n]));
        let (local_args, remote_args) = (forward(local), forward(remote));
        let proxy_arg = proxy.to_string();
        let mut all = vec!["-L", &local_args[0], "-L", &local_args[1]];
        all.extend(["-R", &*remote_args[0], "-R", &*remote_args[1]]);
        all.extend(["-D", &*proxy_arg]);
        all.extend(args);
        let mut command = operator.command(&all);
        command.env("VCTL_SSH_DIRECT_FIRST", "false");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().unwrap();
        Self {
            child,
            listener,
            echo: to[1],
            ports: [local, remote, [proxy, proxy]],
        }
    }

    fn connect(&self, kind: Kind, which: usize) -> TcpStream {
        let mut stream = connected(self.ports[kind as usize][which]);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        if let Kind::Proxy = kind {
            let to = [self.listener.local_addr().unwrap().port(), self.echo][which];
            let [high, low] = to.to_be_bytes();
            let wish = [5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, high, low];
            stream.write_all(&wish).unwrap();
            stream.read_exact(&mut [0; 12]).unwrap();
        }
        stream
    }

    /// Opens a connection through the listener, and stalls it with data in one direction.
    fn stall(&self, kind: Kind, to_us: bool) -> Stalled {
        let near = self.connect(kind, 0);
        let (far, _) = self.listener.accept().unwrap();
        if to_us {
            Stalled::new(far, near)
        } else {
            Stalled::new(near, far)
        }
    }

    /// Sends some MiB to the echo server and reads them back.
    fn goes_on(&self, kind: Kind) {
        let mut stream = self.connect(kind, 1);
        let sent = "many words ".repeat(100_000);
        stream.write_all(sent.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        read.unwrap_or_else(|error| panic!("{kind:?} is held up: {error}"));
        assert!(answer == sent.to_uppercase(), "{kind:?}");
    }

    fn all_go_on(&self) {
        for kind in [Kind::Local, Kind::Remote, Kind::Proxy] {
            self.goes_on(kind);
        }
    }

    fn end(mut self) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(id), Signal::SIGTERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(143));
    }
}

#[test]
fn stalled_forwards_of_each_kind_hold_up_no_other() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-stalls");
    let [jump, host] = ["stalls-j", "stalls-1"].map(|name| {
        let host = centre.another_host(name).unwrap();
        host.configure(BUSY_SERVER).unwrap();
        operator.knows(name, &host);
        host
    });
    // The spec runs directly, and with the connection inside a channel of another connection.
    operator.jumps("stalls-1", "stalls-j");
    for target in ["stalls-j", "stalls-1"] {
        let forwards = Forwards::open(&operator, &["-N", target]);
        // A remote port is ready when an answer came through it.
        forwards.all_go_on();
        let stalled: Vec<_> = [Kind::Local, Kind::Remote, Kind::Proxy]
            .into_iter()
            .flat_map(|kind| [true, false].map(|to_us| forwards.stall(kind, to_us)))
            .collect();
        stalled.iter().for_each(Stalled::wait);
        forwards.all_go_on();
        for each in stalled {
            assert_eq!(each.read_on(), TOTAL as u64);
        }
        forwards.end();
    }
    for host in [jump, host] {
        assert!(!host.log().contains("Timeout, client"), "{}", host.log());
    }
}

#[test]
fn a_stalled_command_holds_up_no_forward() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-stalls-io");
    operator.knows("stalls-io", centre.host.as_ref().unwrap());
    // No process reads the output of this command, and the command reads no input.
    let script = format!("head -c {TOTAL} /dev/zero; wc -c >&2; exit 7");
    let mut forwards = Forwards::open(&operator, &["stalls-io", "--", &script]);
    let mut input = forwards.child.stdin.take().unwrap();
    let feeding = thread::spawn(move || input.write_all(&vec![b'x'; TOTAL]));
    forwards.all_go_on();
    forwards.stall(Kind::Local, true).wait();
    forwards.all_go_on();
    let mut output = forwards.child.stdout.take().unwrap();
    let read = std::io::copy(&mut output, &mut std::io::sink()).unwrap();
    assert_eq!(read, TOTAL as u64);
    feeding.join().unwrap().unwrap();
    assert_eq!(forwards.child.wait().unwrap().code(), Some(7));
}

#[test]
fn standard_output_and_error_do_not_wait_for_each_other() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-stalls-err");
    operator.knows("stalls-err", centre.host.as_ref().unwrap());
    // The unread stream gets as much as the window of OpenSSH holds. The other stream gets more.
    let (few, many) = (3 << 19, TOTAL);
    for (first, then) in [(2, 1), (1, 2)] {
        let script =
            format!("head -c {few} /dev/zero >&{first}; head -c {many} /dev/zero >&{then}");
        let mut child = operator.start(&["stalls-err", "--", &script]);
        let mut out: Box<dyn std::io::Read + Send> = Box::new(child.stdout.take().unwrap());
        let mut err: Box<dyn std::io::Read + Send> = Box::new(child.stderr.take().unwrap());
        if then == 2 {
            std::mem::swap(&mut out, &mut err);
        }
        let (tell, told) = channel();
        thread::spawn(move || {
            let mut all = vec![0; many];
            let _ = tell.send(out.read_exact(&mut all).is_ok());
        });
        assert_eq!(told.recv_timeout(PATIENCE), Ok(true), "{then} waits");
        let read = std::io::copy(&mut err, &mut std::io::sink()).unwrap();
        assert_eq!(read, few);
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_stalled_standard_output_of_a_port_holds_up_no_forward() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-stalls-w");
    operator.knows("stalls-w", centre.host.as_ref().unwrap());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let mut forwards = Forwards::open(&operator, &["-W", &to, "stalls-w"]);
    let (mut far, _) = listener.accept().unwrap();
    let writing = thread::spawn(move || far.write_all(&vec![b'x'; TOTAL]));
    forwards.stall(Kind::Proxy, true).wait();
    forwards.all_go_on();
    // The process ends after both directions ended.
    drop(forwards.child.stdin.take());
    let mut output = forwards.child.stdout.take().unwrap();
    let read = std::io::copy(&mut output, &mut std::io::sink()).unwrap();
    assert_eq!(read, TOTAL as u64);
    writing.join().unwrap().unwrap();
    assert_eq!(forwards.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_stalled_agent_holds_up_no_command() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-stalls-agent");
    operator.knows("stalls-agent", centre.host.as_ref().unwrap());
    let socket = operator.at.home("agent");
    let agent = UnixListener::bind(&socket).unwrap();
    // The agent accepts connections, but reads nothing from them.
    let agent = thread::spawn(move || agent.accept().unwrap());
    let script = "import os, socket; s = socket.socket(socket.AF_UNIX); \
         s.connect(os.environ['SSH_AUTH_SOCK']); s.settimeout(0.3)\n\
         try:\n while True: s.sendall(b'x' * 65536)\n\
         except TimeoutError: print('stalled')";
    let command = format!("python3 -c \"{script}\"; head -c {TOTAL} /dev/zero");
    let mut command = operator.command(&["-A", "stalls-agent", "--", &command]);
    command.env("SSH_AUTH_SOCK", &socket).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    let (tell, told) = channel();
    thread::spawn(move || tell.send(std::io::copy(&mut output, &mut std::io::sink()).unwrap()));
    let came = told.recv_timeout(PATIENCE);
    assert_eq!(came, Ok("stalled\n".len() as u64 + TOTAL as u64));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(agent.join().unwrap());
}

#[test]
fn an_escape_ends_a_session_before_much_waiting_input() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-stalls-tty");
    operator.knows("stalls-tty", centre.host.as_ref().unwrap());
    let paste = "x".repeat(999) + "\r";
    for is_frozen in [false, true] {
        let mut terminal = operator.before_a_person(&["stalls-tty"]);
        terminal.wait_for("$ ").unwrap();
        terminal
            .type_in("stty raw -echo; echo \"<$PPID>\"; sleep 1000\r")
            .unwrap();
        terminal
            .wait_until(|shown| server(shown).is_some())
            .unwrap();
        let server = Pid::from_raw(server(&terminal.shown()).unwrap());
        if is_frozen {
            kill(server, Signal::SIGSTOP).unwrap();
        }
        terminal.type_in(&paste.repeat(8 << 10)).unwrap();
        terminal.resize(40, 132).unwrap();
        terminal.type_in("~.").unwrap();
        assert_eq!(terminal.end().unwrap().code(), Some(255));
        assert!(terminal.echoes().unwrap());
        if is_frozen {
            kill(server, Signal::SIGCONT).unwrap();
        }
    }
}

/// Returns the process id in angle brackets from the output, if it is there.
fn server(shown: &str) -> Option<i32> {
    let mut parts = shown.split('<').skip(1);
    parts.find_map(|part| part.split_once('>')?.0.parse().ok())
}

#[test]
fn a_server_that_takes_no_bytes_is_left_after_its_time() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-stalls-dead");
    operator.knows("stalls-dead", centre.host.as_ref().unwrap());
    let mut command = operator.command(&["stalls-dead", "--", "echo \"<$PPID>\"; cat >/dev/null"]);
    command.env("VCTL_SSH_KEEPALIVE", "1s");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut shown = String::new();
    while server(&shown).is_none() {
        let mut byte = [0];
        output.read_exact(&mut byte).unwrap();
        shown.push(char::from(byte[0]));
    }
    let server = Pid::from_raw(server(&shown).unwrap());
    kill(server, Signal::SIGSTOP).unwrap();
    let mut input = child.stdin.take().unwrap();
    // This is more than the sockets and the window hold. The writer ends together with the client.
    let piece = [b'x'; 1 << 12];
    let feeding = thread::spawn(move || while input.write_all(&piece).is_ok() {});
    let since = Instant::now();
    let code = child.wait().unwrap().code();
    let took = since.elapsed();
    kill(server, Signal::SIGCONT).unwrap();
    feeding.join().unwrap();
    assert_eq!(code, Some(255));
    assert!(
        (Duration::from_secs(3)..Duration::from_secs(20)).contains(&took),
        "{took:?}"
    );
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(said.contains("stalls-dead"), "{said}");
    let why = "did not answer keepalives";
    let rows = operator.accesses("stalls-dead");
    let recorded = rows[0]["error"].as_str().unwrap();
    assert!(
        said.contains(why) && recorded.contains(why),
        "{said}{recorded}"
    );
}
