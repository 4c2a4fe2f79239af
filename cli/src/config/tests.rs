use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use vctl_common::config::{Origin, Source};

use super::load::load_with;
use super::*;
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::fixture::assert_committed;

/// A home with a configuration file, an environment, and options.
struct Run {
    home: tempfile::TempDir,
    env: Vec<(&'static str, String)>,
    flags: Vec<(String, String)>,
}

fn with_file(text: &str) -> Run {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join(".config/vctl");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("config.yaml"), text).unwrap();
    let mut run = Run {
        home,
        env: Vec::new(),
        flags: Vec::new(),
    };
    let (home, named) = (run.path(""), run.path("named.yaml"));
    fs::write(&named, "").unwrap();
    // Tests must not write to the working directory, so an empty file replaces its file.
    run.env = vec![("HOME", home), ("VCTL_CONFIG", named)];
    run
}

impl Run {
    fn path(&self, name: &str) -> String {
        self.home.path().join(name).to_str().unwrap().to_owned()
    }

    fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.insert(0, (name, value.to_owned()));
        self
    }

    fn flag(mut self, key: &str, value: &str) -> Self {
        self.flags.push((key.to_owned(), value.to_owned()));
        self
    }

    fn load(&self) -> Result<Loaded, CliError> {
        load_with(&self.flags, &|name| {
            let found = self.env.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    fn config(&self) -> Config {
        self.load().unwrap().config
    }

    /// Returns the problems, with the path of the home shortened.
    fn causes(&self) -> String {
        let error = self.load().unwrap_err();
        assert_eq!(error.exit, Exit::Config);
        let home = self.home.path().to_str().unwrap();
        error.causes.join("\n").replace(home, "~")
    }
}

#[test]
fn options_override_environment_file_and_default() {
    assert_eq!(with_file("").config().db_port, 5432);
    let run = with_file("db_port: 1\n");
    assert_eq!(run.config().db_port, 1);
    let run = run.env("VCTL_DB_PORT", "2");
    assert_eq!(run.config().db_port, 2);
    let run = run.flag("db_port", "3");
    assert_eq!(run.config().db_port, 3);
    assert_eq!(
        run.load().unwrap().source_of("db_port"),
        &Source::Flag("db-port".to_owned())
    );
}

#[test]
fn vault_addr_is_between_vctl_vault_addr_and_files() {
    let run = with_file("vault_addr: https://file\n").env("VAULT_ADDR", "https://vaults");
    assert_eq!(run.config().vault_addr, "https://vaults");
    let run = run.env("VCTL_VAULT_ADDR", "https://ours");
    assert_eq!(run.config().vault_addr, "https://ours");
    let run = run.env("VCTL_VAULT_ADDR", "");
    assert_eq!(run.config().vault_addr, "https://vaults");
}

#[test]
fn a_named_file_must_exist_and_overrides_the_users_file() {
    let run = with_file("db_port: 1\ndb_name: mine\n");
    fs::write(run.path("named.yaml"), "db_port: 2\n").unwrap();
    let config = run.config();
    assert_eq!((config.db_port, config.db_name.as_str()), (2, "mine"));
    fs::remove_file(run.path("named.yaml")).unwrap();
    assert!(run.causes().starts_with("cannot read `~/named.yaml`"));
}

#[test]
fn all_problems_of_all_sources_are_reported_at_once() {
    let run = with_file(
        "db_port: 0\nvault_adr: https://x\nrole_id: r\noidc_mount: ../sys\nssh_sign: 30\n\
         dc_rules:\n  - name: seoul\nsync_probe_concurrency: 129\n",
    );
    fs::write(run.path("named.yaml"), "db_name: 'a b'\n").unwrap();
    let run = run
        .env("VCTL_AUTH_METHOD", "magic")
        .flag("vault_addr", "vault");
    assert_eq!(
        run.causes(),
        "~/.config/vctl/config.yaml:1: value of `db_port`: `0` is not a port from 1 to 65535\n\
         ~/.config/vctl/config.yaml:2: unknown key `vault_adr` (did you mean `vault_addr`?)\n\
         ~/.config/vctl/config.yaml:3: `role_id` is a secret, which no configuration file may contain: set `VCTL_ROLE_ID`, or name a file with `role_id_file`\n\
         ~/.config/vctl/config.yaml:4: value of `oidc_mount`: `../sys` is not a mount\n\
         ~/.config/vctl/config.yaml:5: value of `ssh_sign`: `30` is not a duration such as `90s`, `30m`, `12h` or `7d`\n\
         ~/.config/vctl/config.yaml:6: value of `dc_rules`: rule 1: `seoul` has no `prefixes`\n\
         ~/.config/vctl/config.yaml:8: value of `sync_probe_concurrency`: `129` is not a number from 1 to 128\n\
         ~/named.yaml:1: value of `db_name`: `a b` is not one word\n\
         VCTL_AUTH_METHOD: value of `auth_method`: `magic` is not one of `oidc`, `approle`, `userpass`, `token`\n\
         --vault-addr: value of `vault_addr`: `vault` does not begin with `https://`"
    );
}

#[test]
fn invalid_yaml_and_duplicate_keys_are_reported_with_lines() {
    for text in ["db_port: 1\ndb_port: 2\n", "a\nb\n", "dc_rules: [\n"] {
        let causes = with_file(text).causes();
        let line = causes
            .strip_prefix("~/.config/vctl/config.yaml:")
            .and_then(|rest| rest.split(':').next());
        assert!(
            line.is_some_and(|line| line.parse::<u32>().is_ok()),
            "{causes}"
        );
    }
}

#[test]
fn a_file_that_others_can_write_is_refused() {
    let run = with_file("db_port: 1\n");
    let path = run.path(".config/vctl/config.yaml");
    for mode in [0o620, 0o602] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(run.causes().contains("can be written by other users"));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(run.config().db_port, 1);
}

#[test]
fn a_secret_comes_from_the_environment_and_is_never_shown() {
    let loaded = with_file("")
        .env("VCTL_SECRET_ID", "hunter2")
        .load()
        .unwrap();
    let secret = loaded.config.secret_id.as_ref().unwrap();
    assert_eq!(secret.expose(), "hunter2");
    let json = loaded.effective_json();
    assert_eq!(json["secret_id"]["value"], "***");
    assert_eq!(json["secret_id"]["source"], "VCTL_SECRET_ID");
    for shown in [format!("{loaded:?}"), loaded.effective(), json.to_string()] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_path_begins_with_a_slash_or_with_home() {
    let home = crate::files::home::dir().unwrap();
    let config = with_file("sink_path: ~/x/sink\n").config();
    assert_eq!(config.sink_path, Some(home.join("x/sink")));
    assert!(
        with_file("sink_path: x/sink\n")
            .causes()
            .contains("is not an absolute path")
    );
}

#[test]
fn rules_are_a_list_in_files_and_in_the_environment() {
    let file = with_file(
        "dc_rules:\n  - name: lab\n    prefixes: ['10.1.', \"10.2.\"]\n  - {name: x, prefixes: [a]}\n",
    );
    let expected = file.config().dc_rules;
    assert_eq!(expected[0].prefixes, ["10.1.", "10.2."]);
    let line = "[{name: lab, prefixes: [\"10.1.\", \"10.2.\"]}, {name: x, prefixes: a}]";
    let env = with_file("").env("VCTL_DC_RULES", line);
    assert_eq!(env.config().dc_rules, expected);
    for (wrong, why) in [
        ("lab", "not a list of rules"),
        ("{name: lab}", "a map, but a list"),
        ("[lab]", "rule 1: not a map with `name`"),
        ("[{name: lab, prefix: [a]}]", "unknown key `prefix`"),
        ("[{prefixes: [a]}]", "`name` is missing"),
        ("[", ""),
    ] {
        let causes = with_file("").env("VCTL_DC_RULES", wrong).causes();
        assert!(causes.contains(why), "{wrong}: {causes}");
    }
}

#[test]
fn a_name_cannot_change_a_path_of_vault() {
    for wrong in [
        "..", "a/../b", "/a", "a//b", "a?b", "a%2e", "a b", "a#", "\\",
    ] {
        let run = with_file("").env("VCTL_SSH_MOUNT", wrong);
        assert!(run.load().is_err(), "{wrong}");
        let run = with_file("").env("VCTL_CA_ROLE", wrong);
        assert!(run.load().is_err(), "{wrong}");
    }
    let run = with_file("").env("VCTL_SSH_MOUNT", "teams/a/ssh/");
    assert_eq!(run.config().ssh_mount, "teams/a/ssh");
}

#[test]
fn every_key_is_on_one_list_for_a_directorys_file() {
    let lists = [
        allowed_keys::MAY.map(|(key, _)| key).to_vec(),
        allowed_keys::AFTER_TRUST.map(|(key, _)| key).to_vec(),
        allowed_keys::ENVIRONMENT_ONLY.to_vec(),
    ];
    let mut listed = lists.concat();
    listed.sort_unstable();
    let mut keys: Vec<&str> = keys::TABLE.keys.iter().map(|key| key.name).collect();
    keys.sort_unstable();
    assert_eq!(
        listed, keys,
        "add new keys to a list in cli/src/config/allowed_keys.rs"
    );
}

#[test]
fn an_untrusted_directory_sets_no_server_ca_or_role() {
    let at = |origin| Source::File {
        path: "f".into(),
        line: 1,
        origin,
    };
    let taken = |origin| -> Vec<&str> {
        let keys = keys::TABLE.keys.iter().map(|key| key.name);
        keys.filter(|key| allowed_keys::refuse(key, &at(origin)).is_none())
            .collect()
    };
    assert_eq!(
        taken(Origin::Directory),
        [
            "ssh_direct_first",
            "ssh_keepalive",
            "sync_probe_timeout",
            "sync_probe_concurrency"
        ]
    );
    for origin in [Origin::Own, Origin::Trusted] {
        assert_eq!(
            taken(origin).len(),
            keys::TABLE.keys.len() - 2,
            "{origin:?}"
        );
        assert!(allowed_keys::refuse("secret_id", &at(origin)).is_some());
    }
    // A key that is on no list yet.
    assert!(
        allowed_keys::refuse("new_key", &at(Origin::Directory)).is_some_and(|why| why.untrusted)
    );
    assert!(allowed_keys::refuse("sink_path", &Source::Env("VCTL_SINK".to_owned())).is_none());
}

#[test]
fn each_field_has_one_key_with_a_valid_default() {
    let config = keys::defaults();
    // The names of the fields, as the compiler knows them.
    let fields: Vec<String> = format!("{config:#?}")
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split_once(": "))
        .filter(|(name, _)| !name.starts_with([' ', '}', ']', ')']))
        .map(|(name, _)| name.to_owned())
        .collect();
    let names: Vec<&str> = keys::TABLE.keys.iter().map(|key| key.name).collect();
    assert_eq!(fields, names);
    let mut variables = Vec::new();
    for key in keys::TABLE.keys {
        if !key.default.is_empty() {
            let raw = vctl_common::config::Raw::Text(key.default.to_owned());
            let mut again = config.clone();
            (key.set)(&mut again, &raw).unwrap();
            assert_eq!((key.get)(&again), (key.get)(&config), "{}", key.name);
        }
        assert!(key.doc.ends_with('.'), "{}", key.name);
        variables.extend(env_of(key.name));
    }
    let all = variables.len();
    variables.sort();
    variables.dedup();
    assert_eq!(variables.len(), all);
    let ours = |name: &String| name == "VAULT_ADDR" || name.starts_with("VCTL_");
    assert!(variables.iter().all(ours), "{variables:?}");
}

#[test]
fn every_variable_reaches_its_key() {
    let before = keys::defaults();
    for key in keys::TABLE.keys {
        let other = match key.kind {
            "`https://host:port`" => "https://other",
            "absolute path" => "/other",
            "port" | "number, 1 to 128" => "77",
            "time" | "time, `0s` to disable" => "77s",
            "`true` or `false`" => "false",
            kind if kind.starts_with("days") => "77",
            kind if kind.starts_with("list") => "[{name: other, prefixes: [a]}]",
            kind if kind.contains("`approle`") => "approle",
            _ => "other",
        };
        for variable in env_of(key.name) {
            let variable: &'static str = variable.leak();
            let loaded = with_file("").env(variable, other).load().unwrap();
            assert_ne!(
                (key.get)(&loaded.config),
                (key.get)(&before),
                "{variable} changes nothing"
            );
            let source = Source::Env(variable.to_owned());
            assert_eq!(loaded.source_of(key.name), &source);
        }
    }
}

#[test]
fn the_printed_settings_are_a_valid_equal_file() {
    let loaded = with_file("ssh_direct_first: false\n")
        .env("VCTL_USERNAME", "null")
        .env("VCTL_DC_RULES", "[{name: 'a # b', prefixes: ['1.']}]")
        .flag("vault_ca_cert", "/srv/a b: c # d")
        .load()
        .unwrap();
    let printed = loaded.effective();
    let again = with_file(&printed).config();
    assert_eq!(
        format!("{again:?}"),
        format!("{:?}", loaded.config),
        "{printed}"
    );
}

#[test]
fn the_documentation_matches_the_table() {
    let reference = keys::TABLE.reference(include_str!("reference.head.md"));
    assert_committed("docs/config.md", &reference);
    assert_committed(".vctl/config.example.yaml", &example());
    for key in keys::TABLE.keys {
        let head = format!("\n## `{}`\n", key.name);
        assert!(reference.contains(&head), "{}", key.name);
        let in_example = example().contains(&format!("\n#{}:", key.name));
        let secret = allowed_keys::ENVIRONMENT_ONLY.contains(&key.name);
        assert_eq!(in_example, !secret, "{}", key.name);
    }
}

#[test]
fn the_example_is_valid_and_changes_nothing() {
    let same = |text: &str| format!("{:?}", with_file(text).config());
    let default = same("");
    assert_eq!(same(&example()), default);
    let uncommented: String = example()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert_eq!(same(&uncommented), default);
}

#[test]
fn duplicate_keys_are_reported_with_all_other_problems() {
    let run = with_file(
        "db_port: 0\ndb_name: a\nvault_adr: https://x\ndb_port: 1\n\
         dc_rules: [{name: seoul, prefixes: ['10.'],\n  name: busan}]\ndb_name: b\nvault_adr: y\n",
    );
    assert_eq!(
        run.causes(),
        "~/.config/vctl/config.yaml:1: value of `db_port`: `0` is not a port from 1 to 65535\n\
         ~/.config/vctl/config.yaml:3: unknown key `vault_adr` (did you mean `vault_addr`?)\n\
         ~/.config/vctl/config.yaml:4: `db_port` is already set in line 1: remove one of the two\n\
         ~/.config/vctl/config.yaml:6: `name` is already set in line 5: remove one of the two\n\
         ~/.config/vctl/config.yaml:7: `db_name` is already set in line 2: remove one of the two\n\
         ~/.config/vctl/config.yaml:8: `vault_adr` is already set in line 3: remove one of the two\n\
         ~/.config/vctl/config.yaml:8: unknown key `vault_adr` (did you mean `vault_addr`?)"
    );
}

#[test]
fn a_hint_names_the_place_of_a_setting() {
    let run = with_file("db_host: pg.example\n").env("VAULT_ADDR", "https://v.example");
    let run = run.flag("db_port", "1");
    let loaded = run.load().unwrap();
    let home = run.home.path().to_str().unwrap();
    let placed = |hint: &str| loaded.placed(hint).replace(home, "~");
    for (hint, wanted) in [
        ("check `VCTL_VAULT_ADDR` now", "check `VAULT_ADDR` now"),
        ("check `VCTL_DB_PORT`", "check `--db-port`"),
        (
            "check `VCTL_DB_HOST`",
            "check `db_host` in ~/.config/vctl/config.yaml:1",
        ),
        (
            "check `VCTL_DB_NAME`",
            "check `VCTL_DB_NAME` (not set; the default is `vctl`)",
        ),
        ("set `VCTL_DB_NAME` to x", "set `VCTL_DB_NAME` to x"),
        ("check `VCTL_DB_CA_CERT`", "check `VCTL_DB_CA_CERT`"),
        ("run `vctl login`; `VCTL_X`", "run `vctl login`; `VCTL_X`"),
        ("an odd ` stays", "an odd ` stays"),
    ] {
        assert_eq!(placed(hint), wanted);
    }
}
