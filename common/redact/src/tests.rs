//! Tests with the corpus in `common/redact/corpus`, and properties that hold for all input.
use proptest::prelude::*;
use serde::Deserialize;

use super::masker::STEPS;
use super::{RedactRules, Redactor, RuleError};

const PLANTED: &str = include_str!("../corpus/planted.jsonl");
const HARMLESS: &str = include_str!("../corpus/harmless.jsonl");

/// Shortest part of a secret that counts as a leak.
const LEAK: usize = 4;

#[derive(Deserialize)]
struct Case {
    argv: Vec<String>,
    secrets: Vec<String>,
    note: String,
}

fn corpus(text: &str) -> Vec<Case> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn built_in() -> Redactor {
    Redactor::new(&RedactRules::default()).unwrap()
}

fn flat<T: AsRef<[u8]>>(argv: &[T]) -> Vec<u8> {
    argv.iter()
        .flat_map(|item| [item.as_ref(), b"\0"].concat())
        .collect()
}

fn redacted(redactor: &Redactor, argv: &[&str]) -> String {
    let mut bytes = flat(argv);
    redactor.redact(argv[0].as_bytes(), &mut bytes);
    String::from_utf8_lossy(&bytes)
        .trim_end_matches('\0')
        .replace('\0', " ")
}

fn leaks(secret: &[u8], bytes: &[u8]) -> bool {
    secret
        .windows(LEAK.min(secret.len()))
        .any(|piece| memchr::memmem::find(bytes, piece).is_some())
}

#[test]
fn no_planted_secret_survives() {
    let redactor = built_in();
    let cases = corpus(PLANTED);
    assert!(cases.len() >= 400);
    let mut leaked = Vec::new();
    for case in &cases {
        let mut bytes = flat(&case.argv);
        let said = redactor.redact(case.argv[0].as_bytes(), &mut bytes);
        if !said
            || case
                .secrets
                .iter()
                .any(|secret| leaks(secret.as_bytes(), &bytes))
        {
            leaked.push(format!(
                "{}: {:?} -> {}",
                case.note,
                case.argv,
                String::from_utf8_lossy(&bytes)
            ));
        }
    }
    assert!(
        leaked.is_empty(),
        "{} leaks:\n{}",
        leaked.len(),
        leaked.join("\n")
    );
}

#[test]
fn under_one_percent_of_harmless_items_is_masked() {
    let redactor = built_in();
    let cases = corpus(HARMLESS);
    assert!(cases.len() >= 400);
    let (mut items, mut masked) = (0, Vec::new());
    for case in &cases {
        let before = flat(&case.argv);
        let mut after = before.clone();
        redactor.redact(case.argv[0].as_bytes(), &mut after);
        for (old, new) in before.split(|&b| b == 0).zip(after.split(|&b| b == 0)) {
            items += 1;
            if old != new {
                masked.push(format!("{:?}: {}", case.argv, String::from_utf8_lossy(new)));
            }
        }
    }
    assert!(
        masked.len() * 100 < items,
        "{} of {items}:\n{}",
        masked.len(),
        masked.join("\n")
    );
}

#[test]
fn argv_keeps_its_shape() {
    let redactor = built_in();
    for case in corpus(PLANTED).iter().chain(&corpus(HARMLESS)) {
        let before = flat(&case.argv);
        let mut after = before.clone();
        redactor.redact(case.argv[0].as_bytes(), &mut after);
        assert_same_shape(&before, &after);
    }
}

fn assert_same_shape(before: &[u8], after: &[u8]) {
    assert_eq!(before.len(), after.len());
    let name = before
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(before.len());
    assert_eq!(before[..name], after[..name], "argv[0]");
    for (old, new) in before.iter().zip(after) {
        assert!(old == new || (*new == b'*' && *old != 0));
    }
}

#[test]
fn the_program_is_taken_from_the_executable_when_argv0_lies() {
    let mut bytes = flat(&["-", "-phunter2"]);
    assert!(built_in().redact(b"/usr/bin/mysql", &mut bytes));
    assert_eq!(bytes, b"-\0-p*******\0");
}

#[test]
fn names_flags_and_schemes_stay_readable() {
    let redactor = built_in();
    assert_eq!(
        redacted(&redactor, &["tool", "--password=abcd", "X_TOKEN=abcd"]),
        "tool --password=**** X_TOKEN=****"
    );
    assert_eq!(
        redacted(
            &redactor,
            &["curl", "-H", "Authorization: Bearer abcd", "-u", "me:abcd"]
        ),
        "curl -H Authorization: Bearer **** -u me:****"
    );
    assert_eq!(
        redacted(&redactor, &["git", "clone", "https://me:abcd@host/r"]),
        "git clone https://me:****@host/r"
    );
}

#[test]
fn an_operators_flags_and_names_are_masked_too() {
    let rules = RedactRules {
        extra_flags: vec!["-Z".into()],
        extra_names: vec!["acme_pin".into()],
    };
    let redactor = Redactor::new(&rules).unwrap();
    assert_eq!(
        redacted(
            &redactor,
            &["x", "-Z", "abcd", "ACME_PIN=abcd", "--acme-pin=abcd"]
        ),
        "x -Z **** ACME_PIN=**** --acme-pin=****"
    );
}

#[test]
fn a_rule_that_can_never_match_is_refused_by_name() {
    let flags = |flag: &str| RedactRules {
        extra_flags: vec![flag.into()],
        ..RedactRules::default()
    };
    assert_eq!(
        Redactor::new(&flags("pin")).unwrap_err(),
        RuleError::Flag("pin".into())
    );
    assert_eq!(
        Redactor::new(&flags("--pin=")).unwrap_err(),
        RuleError::Flag("--pin=".into())
    );
    let names = RedactRules {
        extra_names: vec!["a b".into()],
        ..RedactRules::default()
    };
    assert_eq!(
        Redactor::new(&names).unwrap_err(),
        RuleError::Name("a b".into())
    );
}

/// Returns an argv of a hostile user: meaningful pieces in random order.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(
            [
                "mysql",
                "curl",
                "sh",
                "-c",
                "-p",
                "-u",
                "--password",
                "--password=",
                "TOKEN=",
                "password:",
                "Authorization:",
                "Bearer ",
                "https://",
                "@",
                ":",
                "\"",
                "'",
                "\\",
                "\\\"",
                "`",
                "$(",
                ")",
                ";",
                "|",
                "<<<",
                " ",
                "\n",
                "\0",
                "=",
                "&",
                ",",
                "{\"secret\": \"",
                "echo ",
                "chpasswd",
                "-----BEGIN RSA PRIVATE KEY-----",
                "-----END",
                "$X",
                "*",
                "hvs.CAESIJ2xq0dT8Zk4mY7w",
                "eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
                "a",
                "x1",
                "--",
                "-",
                "IDENTIFIED BY ",
                "secret set ",
                "config set db.password ",
                "send \"",
                "expect \"assword:\"",
                "auth(\"a\", \"",
                "<password>",
                "a:b1@c.example",
                "$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p",
                "/password:",
                "-A",
                "bearer",
            ]
            .map(|piece| piece.as_bytes().to_vec())
            .to_vec()
        ),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

#[test]
fn a_value_is_masked_whole_once_a_part_of_it_is() {
    let mut argv = b"\0Bearer $2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p{".to_vec();
    let masked = [&b"\0Bearer "[..], &b"*".repeat(40)].concat();
    built_in().redact(b"/bin/x", &mut argv);
    assert_eq!(argv, masked, "{}", String::from_utf8_lossy(&argv));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn no_bytes_panic_or_change_the_shape(argv in hostile(), exe in hostile()) {
        let mut after = argv.clone();
        let said = built_in().redact(&exe, &mut after);
        assert_same_shape(&argv, &after);
        prop_assert_eq!(said, argv != after);
    }

    #[test]
    fn redacting_twice_changes_nothing_more(argv in hostile()) {
        let redactor = built_in();
        let mut once = argv;
        redactor.redact(b"/bin/x", &mut once);
        let mut twice = once.clone();
        redactor.redact(b"/bin/x", &mut twice);
        prop_assert_eq!(once, twice);
    }
}

/// Returns the number of bytes that are read while `argv` is redacted.
fn work(argv: &[u8]) -> usize {
    let mut argv = argv.to_vec();
    STEPS.with(|steps| steps.set(0));
    built_in().redact(b"/usr/bin/mysql", &mut argv);
    STEPS.with(std::cell::Cell::get)
}

#[test]
fn work_grows_with_the_length_of_hostile_input_and_no_faster() {
    const SMALL: usize = 2 << 10;
    const LARGE: usize = 122 << 10;
    for piece in [
        "'",
        "\"",
        "\\\"",
        "\\'",
        "\\\\",
        "a'b\"c ",
        "sh -c '",
        "sh -c \"",
        "$(",
        "`",
        "x=\"$(",
        "password=.*",
        "password=$x,",
        "password=",
        "\"secret\":\"",
        "\"secret\":\\\"",
        "secret':'",
        "a://",
        "a://b:c",
        "a://b:c@",
        "sk-",
        "hvs.",
        "eyJ.",
        "ghp_A1",
        "echo x|",
        "echo x|chpasswd ",
        "-----BEGIN RSA PRIVATE KEY-----",
        "PRIVATE KEY-----",
        "X-Token:",
        "--password ",
        "-p ",
        " ",
        "\n",
        "\0",
        "=",
        ",a",
        ", ",
        ";a ",
        "<<<",
        "PASSWORD FOR ",
        "by ' ",
        "a_",
        "-",
        "{\"a\":{\"password\":",
        "auth(",
        "auth('a',",
        "md5('",
        "send('x",
        "<password>",
        "<password ",
        "$2y$",
        "$6$a",
        "pbkdf2_sha256$",
        "{SSHA}a",
        "user=a%",
        "a:b1@",
        "a:b1@c.d",
        "secret set ",
        "set db.password ",
        "set-token a ",
        "login a ",
        "send \"x ",
        "password:\"",
        "password: \"a",
        "--auth ",
        "--user a:",
        "/password:",
        "identified by ",
    ] {
        // Each piece alone, after a program's name, and as one quoted word.
        for (before, after) in [
            ("", ""),
            ("m\0", ""),
            ("sh\0-c\0", ""),
            ("sh\0-c\0\"", "\""),
            ("m\0x-token: ", ""),
        ] {
            let argv = |len: usize| {
                let mut argv = before.as_bytes().to_vec();
                argv.extend(piece.bytes().cycle().take(len));
                argv.extend(after.bytes());
                argv
            };
            let (small, large) = (work(&argv(SMALL)), work(&argv(LARGE)));
            assert!(
                large <= small * (LARGE / SMALL) * 5 / 4 + SMALL,
                "`{before}{piece}{after}`: {small} {large}"
            );
            assert!(large <= LARGE * 100, "`{before}{piece}{after}`: {large}");
        }
    }
}
