use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use proptest::prelude::*;

use super::*;

/// One run of the agent: a file, an environment, flags.
struct Run {
    file: tempfile::NamedTempFile,
    env: Vec<(&'static str, &'static str)>,
    flags: Vec<(String, String)>,
}

fn with_file(text: &str) -> Run {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    Run {
        file,
        env: Vec::new(),
        flags: Vec::new(),
    }
}

impl Run {
    fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.push((name, value));
        self
    }

    fn flag(mut self, key: &str, value: &str) -> Self {
        self.flags.push((key.to_owned(), value.to_owned()));
        self
    }

    fn load(&self) -> Result<Loaded, ConfigError> {
        load(&Inputs {
            flags: &self.flags,
            env: &|name| {
                let found = self.env.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| OsString::from(value))
            },
            file: Some(self.file.path()),
            host_name: "web-1",
        })
    }

    fn config(&self) -> Config {
        self.load().unwrap().config
    }

    /// The error's text, with the path of the file shortened to `FILE`.
    fn error(&self) -> String {
        let path = self.file.path().display().to_string();
        self.load().unwrap_err().to_string().replace(&path, "FILE")
    }
}

#[test]
fn a_flag_beats_environment_then_file_then_default() {
    assert_eq!(with_file("").config().ring_size, ByteSize(16 << 20));
    let file = with_file("ring_size: 1MiB\n");
    assert_eq!(file.config().ring_size, ByteSize(1 << 20));
    let env = file.env("VCTL_AGENT_RING_SIZE", "2MiB");
    assert_eq!(env.config().ring_size, ByteSize(2 << 20));
    let flag = env.flag("ring_size", "4MiB");
    assert_eq!(flag.config().ring_size, ByteSize(4 << 20));
}

#[test]
fn an_empty_environment_variable_is_not_set() {
    let run = with_file("mode: strict\n").env("VCTL_AGENT_MODE", "");
    assert_eq!(run.config().mode, Mode::Strict);
}

#[test]
fn a_key_without_a_value_keeps_its_default() {
    let config = with_file("mode:\nbreak_glass_group: ~\nhost:\n").config();
    assert_eq!(
        (config.mode, config.break_glass_group),
        (Mode::BestEffort, None)
    );
    assert_eq!(config.host, "web-1");
}

#[test]
fn a_file_of_comments_is_a_file_of_defaults() {
    for text in ["", "\n", "# nothing\n", "---\n# nothing\n"] {
        assert_eq!(with_file(text).config(), with_file("").config(), "{text:?}");
    }
}

#[test]
fn every_mistake_is_named_with_its_line_in_one_go() {
    let text = "# first\nspool_dirr: /x\nring_size: 3MiB\nmode:\n  - strict\nhost: 'two words'\nzzz: 1\nfailed_exec: yep\nrun_dir: relative\n";
    assert_eq!(
        with_file(text).error(),
        "FILE:2: unknown key `spool_dirr` (did you mean `spool_dir`?)\n\
         FILE:3: value of `ring_size`: `3MiB` is no power of two\n\
         FILE:4: value of `mode`: a list stands where one value belongs\n\
         FILE:6: value of `host`: `two words` is no host name\n\
         FILE:7: unknown key `zzz`\n\
         FILE:8: value of `failed_exec`: `yep` is neither `true` nor `false`\n\
         FILE:9: value of `run_dir`: `relative` is not an absolute path"
    );
}

#[test]
fn a_mistake_outside_the_file_is_named_by_its_variable_or_flag() {
    let env = with_file("").env("VCTL_AGENT_CAPTURE", "everything");
    assert_eq!(
        env.error(),
        "VCTL_AGENT_CAPTURE: value of `capture`: `everything` is none of `sessions`, `all`"
    );
    let flag = with_file("").flag("log_level", "loud");
    assert!(
        flag.error()
            .starts_with("--log-level: value of `log_level`: `loud` is none of `off`")
    );
}

#[test]
fn repeated_keys_and_other_yaml_are_errors_with_a_line() {
    for text in [
        "mode: strict\nmode: best-effort\n",
        "a\nb\n",
        "- mode\n",
        "mode: [\n",
        "mode: {a: b}\n",
    ] {
        let error = with_file(text).error();
        let line = error
            .strip_prefix("FILE:")
            .and_then(|rest| rest.split(':').next());
        assert!(
            line.is_some_and(|line| line.parse::<u32>().is_ok()),
            "{text:?}: {error}"
        );
    }
}

#[test]
fn a_spool_smaller_than_two_segments_is_an_error() {
    let error = with_file("segment_size: 1MiB\nspool_cap: 1MiB\n").error();
    assert!(error.contains("less than two segments"), "{error}");
}

#[test]
fn only_a_named_file_has_to_be_there() {
    let inputs = |file| Inputs {
        flags: &[],
        env: &|_| None,
        file,
        host_name: "web-1",
    };
    let missing = load(&inputs(Some(Path::new("/nonexistent/agent.yaml"))));
    assert!(matches!(missing, Err(ConfigError::Unreadable { .. })));
    // The default one is absent wherever this test runs, or a valid file.
    assert!(Path::new(DEFAULT_FILE).exists() || load(&inputs(None)).is_ok());
}

#[test]
fn a_file_that_others_can_write_is_refused_by_root() {
    let run = with_file("mode: strict\n");
    fs::set_permissions(run.file.path(), fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(run.load().is_err(), nix::unistd::geteuid().is_root());
    let directory = Inputs {
        flags: &[],
        env: &|_| None,
        file: Some(Path::new("/tmp")),
        host_name: "",
    };
    assert!(load(&directory).is_err());
}

#[test]
fn the_stamper_takes_what_it_can_read() {
    let run = with_file("mode: strict\nrun_dir: /run/x\nunknown: 1\nspool_cap: much\n");
    let (config, problems) = load_for_stamp(Some(run.file.path()), &[]);
    assert_eq!(
        (config.mode, config.run_dir),
        (Mode::Strict, "/run/x".into())
    );
    assert_eq!(problems.len(), 2);

    let broken = with_file("mode: [\n");
    let flags = [("mode".to_owned(), "strict".to_owned())];
    let (config, problems) = load_for_stamp(Some(broken.file.path()), &flags);
    assert_eq!((config.mode, problems.len()), (Mode::Strict, 1));
}

#[test]
fn a_size_is_bytes_or_has_a_binary_unit() {
    for (text, bytes) in [
        ("0", 0),
        ("65536", 65536),
        ("64KiB", 65536),
        ("1 GiB", 1 << 30),
        ("2TiB", 2 << 40),
    ] {
        assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
    }
    for text in [
        "",
        "KiB",
        "1KB",
        "1k",
        "-1",
        "+1",
        "1.5GiB",
        "0x10",
        "18446744073709551616",
        "99999999999TiB",
    ] {
        assert!(text.parse::<ByteSize>().is_err(), "{text}");
    }
}

#[test]
fn lists_are_sequences_in_the_file_and_commas_elsewhere() {
    let file = with_file("redact_flags:\n  - --otp\n  - -x\nredact_names: [PIN, 'A B']\n").config();
    assert_eq!(file.redact_flags, ["--otp", "-x"]);
    assert_eq!(file.redact_names, ["PIN", "A B"]);
    let env = with_file("redact_flags: [--otp]\n").env("VCTL_AGENT_REDACT_FLAGS", "--pin, --puk");
    assert_eq!(env.config().redact_flags, ["--pin", "--puk"]);
    assert!(with_file("redact_flags: ['']\n").load().is_err());
}

#[test]
fn the_table_holds_every_default_as_it_is_documented() {
    let config = Config::default();
    for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
        let mut again = config.clone();
        (key.set)(
            &mut again,
            &vctl_common::config::Raw::Text(key.default.to_owned()),
        )
        .unwrap();
        assert_eq!(again, config, "{}", key.name);
    }
    assert_eq!(config.spool_dir, Path::new("/var/lib/vctl/spool"));
    assert_eq!((config.failed_exec, config.probe_log), (true, false));
}

#[test]
fn what_is_printed_is_a_file_that_makes_the_same_configuration() {
    let run =
        with_file("redact_names: ['a \"b\", c', '{x']\nbreak_glass_group: 'null'\nhost: '123'\n")
            .env("VCTL_AGENT_MODE", "strict")
            .flag("spool_dir", "/srv/a b: c # d");
    let loaded = run.load().unwrap();
    let printed = loaded.effective();
    assert_eq!(with_file(&printed).config(), loaded.config, "{printed}");
    let has = |key: &str, source: &str| {
        let line = printed.lines().find(|line| line.starts_with(key)).unwrap();
        assert!(line.ends_with(source), "{line}");
    };
    has("mode:", "# VCTL_AGENT_MODE");
    has("spool_dir:", "# --spool-dir");
    has("ring_size:", "# default");
    has("host:", &format!("# {}:3", run.file.path().display()));
}

#[test]
fn the_documentation_is_what_the_table_says() {
    in_step("docs/agent-config.md", &reference());
    in_step("deploy/audit/agent.example.yaml", &example());
}

/// Compares a committed file; `VCTL_BLESS=1` writes it instead.
fn in_step(path: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if std::env::var_os("VCTL_BLESS").is_some() {
        fs::write(&path, expected).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == expected,
        "{} is stale: run this test with VCTL_BLESS=1",
        path.display()
    );
}

#[test]
fn the_example_file_is_inert_and_valid_when_uncommented() {
    assert_eq!(with_file(&example()).config(), with_file("").config());
    let uncommented: String = example()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert_eq!(with_file(&uncommented).config(), with_file("").config());
}

proptest! {
    #[test]
    fn no_text_makes_the_file_parser_panic(text in "((mode|host|ring_size|redact_flags)?:? ?[-&*!|>'\"{}\\[\\]#~]?\\PC{0,9}\n){0,6}") {
        let _ = with_file(&text).load();
    }

    #[test]
    fn every_size_is_printed_as_it_is_read(bytes: u64) {
        prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
    }

    #[test]
    fn any_host_name_and_list_survive_printing(host in "[!-~]{1,40}", names in proptest::collection::vec("\\PC{1,12}", 0..4)) {
        let names: Vec<String> = names.into_iter().filter(|name| !name.is_empty()).collect();
        let mut loaded = with_file("").load().unwrap();
        loaded.config.host = host;
        loaded.config.redact_names = names;
        prop_assert_eq!(with_file(&loaded.effective()).config(), loaded.config);
    }
}
