//! What a shell is told when somebody presses Tab: names of hosts, and never by asking a server.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use vctl_tests::lab::Programs;

/// Somebody with hosts that are kept, of a Vault and a Postgres at `server`.
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
            json!({
                "name": name, "dc": "seoul", "ip": "192.0.2.1", "ssh_port": 22, "ssh_user": "root",
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
        shell
    }

    fn address(&self) -> String {
        format!("https://{}", self.server.local_addr().unwrap())
    }

    /// Returns what bash itself would offer for the last of these words.
    fn offers(&self, words: &[&str]) -> Vec<String> {
        let vctl = Programs::find().unwrap().vctl;
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
        let bin = vctl.parent().unwrap_or(Path::new("/")).display();
        let output = Command::new("bash")
            .args(["--norc", "-c", &script])
            .env_clear()
            .env("PATH", format!("{bin}:/usr/bin:/bin"))
            .env("HOME", self.home.path())
            .env("VCTL_VAULT_ADDR", self.address())
            .env("VCTL_DB_HOST", "127.0.0.1")
            .env(
                "VCTL_DB_PORT",
                self.server.local_addr().unwrap().port().to_string(),
            )
            .output()
            .unwrap();
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
fn a_shell_is_offered_the_hosts_that_are_kept_and_no_server_is_asked() {
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
    // Nobody came.
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
