//! `vctl config` and the trust in a directory's file: runs the program in temporary directories.
#![allow(clippy::unwrap_used, reason = "a spec that cannot go on has failed")]

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A home, and a directory with a configuration file.
struct Place {
    dir: tempfile::TempDir,
}

fn with_file(text: &str) -> Place {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("home")).unwrap();
    fs::create_dir_all(dir.path().join("work/.vctl")).unwrap();
    let place = Place { dir };
    fs::write(place.file(), text).unwrap();
    place
}

impl Place {
    fn file(&self) -> PathBuf {
        self.dir.path().join("work/.vctl/config.yaml")
    }

    fn vctl(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vctl"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.dir.path().join("home"))
            .current_dir(self.dir.path().join("work"));
        command
    }

    fn shown(&self) -> Value {
        let output = self.vctl(&["config", "-o", "json"]).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn setting(&self, key: &str) -> (String, String) {
        let json = self.shown();
        let text = |field: &str| json[key][field].as_str().unwrap().to_owned();
        (text("value"), text("source"))
    }

    fn trust(&self) {
        let output = self.vctl(&["config", "trust", "--yes"]).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }

    /// Returns the output of a command that uses the configuration.
    fn refusal(&self) -> String {
        let output = self.vctl(&["fleet", "--no-input"]).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
        assert!(output.stdout.is_empty());
        stderr(&output)
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn own(path: &Path, owner: u32) -> bool {
    let owned = std::os::unix::fs::lchown(path, Some(owner), Some(owner));
    match owned {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_value_comes_with_its_source() {
    let place = with_file("# ours\ndb_name: theirs\n");
    place.trust();
    let source = ".vctl/config.yaml:2".to_owned();
    assert_eq!(place.setting("db_name"), ("theirs".to_owned(), source));
    assert_eq!(place.setting("ca_role").1, "default");
    let output = place
        .vctl(&["config", "--db-name", "mine", "--vault-ca-cert", "ca.pem"])
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let line = |key: &str| {
        let line = shown.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("db_name:"), "db_name: mine # --db-name");
    // A relative path on the command line is relative to the working directory.
    let path = place.dir.path().canonicalize().unwrap().join("work/ca.pem");
    assert_eq!(
        line("vault_ca_cert:"),
        format!("vault_ca_cert: {} # --vault-ca-cert", path.display())
    );
}

#[test]
fn vctl_config_replaces_the_file_of_the_current_directory() {
    let place = with_file("db_name: theirs\n");
    place.trust();
    let below = place.dir.path().join("work/below");
    fs::create_dir(&below).unwrap();
    let ask = |command: &mut Command| {
        let output = command.output().unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        json["db_name"]["value"].as_str().unwrap().to_owned()
    };
    let args = ["config", "-o", "json"];
    assert_eq!(ask(place.vctl(&args).current_dir(&below)), "vctl");
    let named = place.dir.path().join("named.yaml");
    fs::write(&named, "db_port: 1\n").unwrap();
    assert_eq!(ask(place.vctl(&args).env("VCTL_CONFIG", &named)), "vctl");
}

#[test]
fn an_untrusted_file_is_refused_by_key() {
    for (key, value) in [
        ("vault_addr", "https://evil.example"),
        ("vault_namespace", "x"),
        ("vault_ca_cert", "/x"),
        ("db_host", "x"),
        ("db_server_name", "x"),
        ("ssh_mount", "x"),
        ("ca_role", "x"),
        ("ssh_default_user", "root"),
        ("auth_method", "approle"),
        ("sink_path", "/x"),
        ("kernel_retention_days", "1"),
    ] {
        let place = with_file(&format!("{key}: {value}\n"));
        let said = place.refusal();
        assert!(
            said.contains(&format!(".vctl/config.yaml:1: `{key}` decides"))
                && said.contains("run `vctl config trust`"),
            "{said}"
        );
        // The key is shown as refused, and not used.
        let json = place.shown();
        assert_eq!(json[key]["source"], "default", "{key}");
        assert_eq!(
            json[key]["refused"]["source"], ".vctl/config.yaml:1",
            "{key}"
        );
        // The same key in the user's own file is allowed.
        let output = place
            .vctl(&["config", "-o", "json"])
            .env("VCTL_CONFIG", place.file())
            .output()
            .unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json[key]["value"], value, "{key}");
        place.trust();
        assert_eq!(
            place.setting(key),
            (value.to_owned(), ".vctl/config.yaml:1".to_owned())
        );
    }
}

#[test]
fn the_format_of_the_settings_is_refused_for_a_subcommand() {
    let place = with_file("db_name: theirs\n");
    let output = place
        .vctl(&["config", "-o", "json", "trust", "--yes"])
        .output();
    assert_eq!(output.unwrap().status.code(), Some(2));
    assert!(!place.shown()["db_name"]["refused"].is_null());
}

#[test]
fn trust_ends_with_a_changed_byte_or_place() {
    let place = with_file("db_name: theirs\n");
    let is_trusted = || place.shown()["db_name"]["refused"].is_null();
    let list = || {
        let output = place.vctl(&["config", "trust", "--list"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!is_trusted());
    assert_eq!(list(), "");
    place.trust();
    assert!(is_trusted());
    assert!(list().starts_with("trusted  /"), "{}", list());
    fs::write(place.file(), "db_name: theirs\n#\n").unwrap();
    assert!(!is_trusted());
    assert!(list().starts_with("changed  /"), "{}", list());
    fs::write(place.file(), "db_name: theirs\n").unwrap();
    assert!(is_trusted());
    // The same bytes in another directory, as a copy and as a link to the trusted file.
    let other = place.dir.path().join("other/.vctl");
    fs::create_dir_all(&other).unwrap();
    let there = |args: &[&str]| {
        let mut command = place.vctl(args);
        command.current_dir(place.dir.path().join("other"));
        command.output().unwrap()
    };
    fs::copy(place.file(), other.join("config.yaml")).unwrap();
    assert_eq!(there(&["fleet"]).status.code(), Some(78));
    fs::remove_file(other.join("config.yaml")).unwrap();
    symlink(place.file(), other.join("config.yaml")).unwrap();
    assert_eq!(there(&["fleet"]).status.code(), Some(78));
    // A renamed directory has another path.
    let moved = place.dir.path().join("moved");
    fs::rename(place.dir.path().join("work"), &moved).unwrap();
    let output = place.vctl(&["fleet"]).current_dir(&moved).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(
        list_of(&place, &moved).starts_with("gone "),
        "{}",
        list_of(&place, &moved)
    );
    fs::rename(&moved, place.dir.path().join("work")).unwrap();
    let output = place.vctl(&["config", "untrust"]).output().unwrap();
    assert!(output.status.success());
    assert!(!is_trusted());
    assert_eq!(list(), "");
}

fn list_of(place: &Place, from: &Path) -> String {
    let mut command = place.vctl(&["config", "trust", "--list"]);
    let output = command.current_dir(from).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn trust_needs_a_yes_a_home_and_a_valid_file() {
    let place = with_file("db_name: theirs\n");
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        (output.status.code(), stderr(&output))
    };
    let (code, said) = run(&mut place.vctl(&["config", "trust"]));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--yes"), "{said}");
    // Records that other users could write are ignored.
    place.trust();
    let trusted = place.dir.path().join("home/.vctl/trusted");
    let record = fs::read_dir(&trusted)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mode = fs::metadata(&record).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::set_permissions(&record, Permissions::from_mode(0o622)).unwrap();
    assert!(place.refusal().contains("`db_name` decides"));
    fs::set_permissions(&record, Permissions::from_mode(0o600)).unwrap();
    let yes = ["config", "trust", "--yes"];
    let (code, said) = run(place.vctl(&yes).env("HOME", "/nonexistent/home"));
    assert_ne!(code, Some(0), "{said}");
    let (code, said) = run(place.vctl(&["fleet"]).env("HOME", "/nonexistent/home"));
    assert_eq!(code, Some(78), "{said}");
    for text in [
        "db_port: none\n",
        "role_id: x\n",
        "db_name: [\n",
        "no_key: x\n",
    ] {
        fs::write(place.file(), text).unwrap();
        let (code, said) = run(&mut place.vctl(&yes));
        assert_eq!(code, Some(78), "{text}: {said}");
    }
    fs::remove_file(place.file()).unwrap();
    let (code, said) = run(&mut place.vctl(&yes));
    assert_eq!(code, Some(66), "{said}");
}

#[test]
fn a_file_of_another_user_is_refused() {
    let place = with_file("db_name: theirs\n");
    place.trust();
    let dir = place.file().parent().unwrap().to_owned();
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    mode(&place.file(), 0o646);
    assert!(place.refusal().contains("every user"));
    // A checkout that a group can write is accepted.
    mode(&place.file(), 0o664);
    place.setting("db_name");
    mode(&dir, 0o757);
    assert!(place.refusal().contains("every user"));
    mode(&dir, 0o755);
    let me = fs::metadata(&dir).unwrap().uid();
    if !own(&place.file(), 65534) {
        return;
    }
    assert!(place.refusal().contains("another user"));
    own(&place.file(), me);
    own(&dir, 65534);
    assert!(place.refusal().contains("another user"));
    // Also a link of another user to a directory of this user.
    own(&dir, me);
    let moved = place.dir.path().join("ours");
    fs::rename(&dir, &moved).unwrap();
    symlink(&moved, &dir).unwrap();
    own(&dir, 65534);
    assert!(place.refusal().contains("another user"));
}

#[test]
fn an_untrusted_server_of_a_directory_gets_no_request() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let place = with_file(&format!("vault_addr: {address}\n"));
    let output = place
        .vctl(&["migrate", "--status"])
        .env("VAULT_TOKEN", "hvs.secret")
        .output()
        .unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains(".vctl/config.yaml:1: `vault_addr`"), "{said}");
    let asked = listener.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(asked, Err(ErrorKind::WouldBlock));
}

#[test]
fn a_missing_or_irregular_named_file_is_an_error() {
    let place = with_file("");
    for (path, why) in [("nowhere", "cannot read"), ("home", "not a regular file")] {
        let path = place.dir.path().join(path);
        let output = place.vctl(&["config"]).env("VCTL_CONFIG", path).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(78));
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
        assert!(stderr(&output).contains("hint:"), "{}", stderr(&output));
    }
}

#[test]
fn the_example_is_a_file_that_changes_nothing() {
    let place = with_file("");
    let before = place.vctl(&["config"]).output().unwrap().stdout;
    let example = place.vctl(&["config", "example"]).output().unwrap().stdout;
    fs::write(place.file(), example).unwrap();
    assert_eq!(place.vctl(&["config"]).output().unwrap().stdout, before);
}

/// Every command that can print JSON, also a new one, prints its error as JSON.
#[test]
fn an_error_is_json_with_json_output() {
    let place = with_file("");
    let own = place.dir.path().join("home/.config/vctl");
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("config.yaml"), "db_port: none\n").unwrap();
    let error = |args: &[&str]| -> Value {
        let output = place.vctl(args).output().unwrap();
        assert!(output.stdout.is_empty(), "{args:?}");
        let said = stderr(&output);
        assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
        let json: Value =
            serde_json::from_str(&said).unwrap_or_else(|_| panic!("{args:?}: {said}"));
        let code = json["error"]["code"].as_i64().unwrap();
        assert_eq!(Some(code), output.status.code().map(i64::from), "{args:?}");
        json["error"].clone()
    };
    let mut tried = Vec::new();
    for command in commands(&[]) {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let help = help(&words);
        let ways: [(&str, &[&str]); 2] =
            [("-o, --output", &["-o", "json"]), ("--json", &["--json"])];
        for (option, asked) in ways {
            // `doctor` itself reports wrong settings.
            if help.contains(option) && words != ["doctor"] {
                error(&[&words[..], asked].concat());
                tried.push(command.join(" "));
            }
        }
    }
    for name in ["audit", "config", "fleet", "migrate", "session"] {
        assert!(tried.iter().any(|tried| tried == name), "{name}: {tried:?}");
    }
    for args in [&["audit", "-ojson"][..], &["migrate", "--output=json"]] {
        let error = error(args);
        assert_eq!(error["code"], 78, "{args:?}");
        let cause = error["causes"][0].as_str().unwrap();
        assert!(
            cause.contains("/vctl/config.yaml:1: value of `db_port`"),
            "{cause}"
        );
        assert!(error["hint"].is_string());
    }
    let usage = error(&["audit", "-o", "json", "--no-such-option"]);
    assert_eq!(usage["code"], 2);
    let message = usage["message"].as_str().unwrap();
    assert!(message.contains("--no-such-option"), "{message}");
}

fn help(command: &[&str]) -> String {
    let args = [command, &["--help"]].concat();
    let output = Command::new(env!("CARGO_BIN_EXE_vctl")).args(args).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

/// Returns all commands without subcommands.
fn commands(above: &[&str]) -> Vec<Vec<String>> {
    let help = help(above);
    let below = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let below: Vec<&str> = below
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            line.strip_prefix("  ")
                .filter(|rest| !rest.starts_with(' '))
        })
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    if below.is_empty() {
        return vec![above.iter().map(|&word| word.to_owned()).collect()];
    }
    // A command with an optional subcommand. Options that exclude the subcommand have a usage line of their own.
    let is_optional = help.contains(" [COMMAND]") || help.contains("\n       vctl ");
    let own = is_optional.then(|| above.iter().map(|&word| word.to_owned()).collect());
    let below = below.into_iter();
    let below = below.flat_map(|name| commands(&[above, &[name]].concat()));
    own.into_iter().chain(below).collect()
}
