//! Refuses an image with a secret: each host of the image, and each reader of the file, would have it.
//!
//! Secrets are found by the names of their files and by their form. Compressed files and programs are not opened.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

/// Most bytes of a file that are read: a key and a token are short, and a longer file is data.
const READ_MAX: u64 = 8 << 20;
/// Most secrets that an error names.
const SHOWN: usize = 20;

/// First bytes of programs and of compressed files.
const OPAQUE: [&[u8]; 5] = [
    b"\x7fELF",
    b"\x1f\x8b",
    b"\xfd7zXZ",
    b"\x28\xb5\x2f\xfd",
    b"BZh",
];
const HISTORIES: [&str; 6] = [
    ".bash_history",
    ".ash_history",
    ".zsh_history",
    ".python_history",
    ".psql_history",
    ".lesshst",
];
const CREDENTIALS: [&str; 6] = [
    ".vault-token",
    ".pgpass",
    ".netrc",
    ".git-credentials",
    ".aws/credentials",
    ".docker/config.json",
];
/// Ends of names of variables with a credential, such as `VCTL_SECRET_ID` and `OTEL_EXPORTER_OTLP_HEADERS`.
const VARIABLES: [&str; 4] = ["SECRET_ID", "OTLP_HEADERS", "TOKEN", "PASSWORD"];
/// Keys of agent.yaml that name a file with a credential.
const FILE_KEYS: [&str; 3] = ["role_id_file", "secret_id_file", "nats_key_file"];
/// Names of credentials in `/etc/vctl` and in the directories below it; a prefix may precede them.
const OF_VCTL: [&str; 4] = ["role_id", "secret_id", "enroll.json", "nats.key"];
/// Beginnings of the tokens of Vault, and the fewest characters behind them.
const TOKENS: [&str; 3] = ["hvs.", "hvb.", "hvr."];
const TOKEN_MIN: usize = 24;
/// Characters behind `s.` in a token of OpenBao, or of Vault before 1.10.
const SHORT_TOKEN: usize = 24;

/// Refuses a root that has secrets, and names each. `name` is that of the root in the error.
pub(super) fn refuse(name: &str, root: &Path, allows_authorized_keys: bool) -> Result<()> {
    let mut found = named_credentials(root)?;
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let files = fs::read_dir(&directory);
        for file in files.with_context(|| format!("cannot read `{}`", directory.display()))? {
            let file = file?;
            let (path, kind) = (file.path(), file.file_type()?);
            if kind.is_dir() {
                directories.push(path);
            } else if kind.is_file()
                && let Some(secret) = of_file(root, &path, allows_authorized_keys)?
            {
                found.push(secret);
            }
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    found.sort();
    found.dedup_by(|one, other| one.split(':').next() == other.split(':').next());
    let more = found.len().saturating_sub(SHOWN);
    let more = if more > 0 {
        format!("\n  and {more} more")
    } else {
        String::new()
    };
    found.truncate(SHOWN);
    bail!(
        "the {name} has secrets, which every host of the image would share:\n  {}{more}\nremove them from the overlay, or \
         the packages that made them",
        found.join("\n  ")
    )
}

/// Returns the files that the agent's settings name as its credentials, and that have a content.
fn named_credentials(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for settings in ["etc/vctl/agent.yaml", "etc/vctl/ingest/agent.yaml"] {
        let text = match fs::read_to_string(root.join(settings)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read `/{settings}`")),
        };
        // A file of comments has no values.
        let values: Option<BTreeMap<String, Value>> = serde_saphyr::from_str(&text)
            .with_context(|| format!("`/{settings}` has no settings of an agent"))?;
        let values = values.unwrap_or_default();
        let paths = FILE_KEYS
            .iter()
            .filter_map(|key| values.get(*key)?.as_str());
        for path in paths {
            let file = root.join(path.trim_start_matches('/'));
            let has_content =
                fs::symlink_metadata(&file).is_ok_and(|meta| meta.is_file() && meta.len() > 0);
            if has_content {
                found.push(format!(
                    "{path}: a credential of one host, named in /{settings}"
                ));
            }
        }
    }
    Ok(found)
}

fn of_file(root: &Path, path: &Path, allows_authorized_keys: bool) -> Result<Option<String>> {
    let name = PathBuf::from("/").join(path.strip_prefix(root)?);
    let name = name.to_string_lossy().into_owned();
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(|| format!("cannot read `{name}`"))?;
    file.take(READ_MAX).read_to_end(&mut bytes)?;
    // A private key or a token in such a file is refused all the same.
    let kind = if allows_authorized_keys && is_authorized_keys(&name) {
        by_form(&bytes)
    } else {
        kind(&name, &bytes)
    };
    Ok(kind.map(|kind| format!("{name}: {kind}")))
}

/// Returns whether sshd reads this file for keys that may log in.
fn is_authorized_keys(path: &str) -> bool {
    ["/.ssh/authorized_keys", "/.ssh/authorized_keys2"]
        .iter()
        .any(|end| path.ends_with(end))
}

/// Returns the kind of the secret in a file of this path in the image.
fn kind(path: &str, bytes: &[u8]) -> Option<&'static str> {
    if bytes.is_empty() {
        return None;
    }
    by_name(path, bytes).or_else(|| by_form(bytes))
}

fn by_name(path: &str, bytes: &[u8]) -> Option<&'static str> {
    let (directory, name) = path.rsplit_once('/')?;
    match (directory, name) {
        ("/etc/ssh", name) if name.starts_with("ssh_host_") && name.ends_with("_key") => {
            return Some("a host key");
        }
        ("/etc", "shadow" | "shadow-" | "gshadow" | "gshadow-") => return password(bytes),
        ("/etc" | "/var/lib/dbus", "machine-id") => {
            return Some("the id of one machine");
        }
        ("/var/lib/systemd", "random-seed") => return Some("a random seed"),
        ("/var/lib/systemd", "credential.secret") => {
            return Some("the key of systemd's credentials");
        }
        (directory, name)
            if is_below(directory, "/etc/vctl")
                && OF_VCTL.iter().any(|end| name.ends_with(end)) =>
        {
            return Some("a credential of one host");
        }
        // The journal of the setup of the image. Its copies are judged by their form.
        ("/var/lib/vctl/setup", "journal.json") => return None,
        ("/var/lib/vctl/setup", _) => return is_id(bytes).then_some("a copy of a credential"),
        (directory, _) if is_below(directory, "/var/lib/vctl") => {
            return Some("data of one host's agent");
        }
        _ if has_environment(path) && has_credential_variable(bytes) => {
            return Some("a variable with a credential");
        }
        _ if is_authorized_keys(path) => {
            return has_key(bytes)
                .then_some("a key that may log in; `--authorized-keys` accepts it");
        }
        _ => {}
    }
    if path.starts_with("/var/log/") {
        return Some("a log");
    }
    if HISTORIES.contains(&name) {
        return Some("a history of commands");
    }
    let is_stored = |end: &str| path.ends_with(&format!("/{end}"));
    CREDENTIALS
        .iter()
        .any(|end| is_stored(end))
        .then_some("stored credentials")
}

fn is_below(directory: &str, top: &str) -> bool {
    directory
        .strip_prefix(top)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns whether the only word is a UUID with dashes, as role ids and secret ids are.
fn is_id(bytes: &[u8]) -> bool {
    let id = bytes.trim_ascii();
    id.len() == Hyphenated::LENGTH && Uuid::try_parse_ascii(id).is_ok()
}

/// Returns whether a shell, PAM or systemd reads variables from this file.
fn has_environment(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, end)| end == "env")
        || path == "/etc/environment"
        || ["/etc/default/", "/etc/systemd/"]
            .iter()
            .any(|directory| path.starts_with(directory))
}

fn has_credential_variable(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.lines().any(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("Environment=").unwrap_or(line);
        let line = line.strip_prefix("export ").unwrap_or(line);
        let line = line.trim_start_matches(['"', '\'']);
        line.split_once('=').is_some_and(|(name, value)| {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            let has_value = !value.trim_matches(['"', '\'', ' ', '\t', '\r']).is_empty();
            name.bytes().all(is_name)
                && VARIABLES.iter().any(|end| name.ends_with(end))
                && has_value
        })
    })
}

/// A field of /etc/shadow that begins with `*` or `!` and has no hash lets no password in.
fn password(bytes: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(bytes);
    text.lines().find_map(|line| match line.split(':').nth(1)? {
        field if field.contains('$') => Some("a password hash"),
        "" if line.split(':').count() > 4 => Some("an account without a password"),
        "" => None,
        field if field.starts_with(['*', '!']) => None,
        _ => Some("a password hash"),
    })
}

fn has_key(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().map(str::trim);
    lines.any(|line| !line.is_empty() && !line.starts_with('#'))
}

fn by_form(bytes: &[u8]) -> Option<&'static str> {
    if OPAQUE.iter().any(|begin| bytes.starts_with(begin)) {
        return None;
    }
    let mut lines = bytes.split(|&byte| byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let line = line.trim_ascii();
        // A program that reads keys has the first line without a second one of base64.
        if line.starts_with(b"-----BEGIN ")
            && line.ends_with(b"PRIVATE KEY-----")
            && lines
                .peek()
                .is_some_and(|next| is_of_key(next.trim_ascii()))
        {
            return Some("a private key");
        }
        if has_token(line) {
            return Some("a token of Vault");
        }
        if line.starts_with(b"SU") && is_seed(line) {
            return Some("a seed of NATS");
        }
    }
    let enrolment = b"\"wrapped_secret_id\"";
    let has_enrolment = bytes.windows(enrolment.len()).any(|part| part == enrolment);
    has_enrolment.then_some("an enrolment of one host")
}

/// A line of base64, or a header of an encrypted key.
fn is_of_key(line: &[u8]) -> bool {
    let is_base64 = |&byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    line.starts_with(b"Proc-Type:") || (line.len() >= 32 && line.iter().all(is_base64))
}

fn is_seed(line: &[u8]) -> bool {
    line.len() == 58
        && line
            .iter()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

fn has_token(line: &[u8]) -> bool {
    let of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let mut words = line.split(|byte| !of_token(byte));
    words.any(|word| {
        let Ok(word) = std::str::from_utf8(word) else {
            return false;
        };
        let is_new = TOKENS.iter().any(|begin| {
            word.strip_prefix(begin)
                .is_some_and(|rest| rest.len() >= TOKEN_MIN)
        });
        is_new || word.strip_prefix("s.").is_some_and(is_short_token)
    })
}

/// Letters of both cases and digits, as random ones are; a namespace may follow.
fn is_short_token(text: &str) -> bool {
    let text = text.split('.').next().unwrap_or(text);
    let has = |is: fn(&u8) -> bool| text.bytes().any(|byte| is(&byte));
    text.len() == SHORT_TOKEN
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE64: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAAB";

    fn of(path: &str, text: &str) -> Option<&'static str> {
        kind(path, text.as_bytes())
    }

    #[test]
    fn each_kind_of_secret_is_found() {
        let key = format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{BASE64}\n");
        let hash = "root:$y$j9T$abc$def:20416:0:99999:7:::\n";
        for (path, text, expected) in [
            ("/srv/app/server.key", &*key, "private key"),
            (
                "/srv/app/all.pem",
                &*format!("# ours\n{key}"),
                "private key",
            ),
            ("/etc/ssh/ssh_host_rsa_key", "x", "host key"),
            ("/etc/shadow", hash, "password hash"),
            (
                "/etc/shadow",
                "bob:!$6$x$y:1:0:99999:7:::\n",
                "password hash",
            ),
            ("/etc/shadow", "bob::1:0:99999:7:::\n", "without a password"),
            ("/etc/machine-id", "0123\n", "one machine"),
            ("/etc/vctl/role_id", "x\n", "credential of one host"),
            ("/etc/vctl/secret_id", "x\n", "credential of one host"),
            ("/etc/vctl/prune_secret_id", "x\n", "credential of one host"),
            (
                "/etc/vctl/ingest/secret_id",
                "x\n",
                "credential of one host",
            ),
            ("/etc/vctl/ingest/nats.key", "x\n", "credential of one host"),
            ("/var/lib/vctl/spool/id", "x", "data of one host"),
            ("/var/lib/vctl/status.json", "x", "data of one host"),
            (
                "/var/lib/vctl/setup/0.before",
                "7f3a2f4e-6b1c-4c0e-9a55-0d5b3c1e2a77\n",
                "copy of a credential",
            ),
            (
                "/etc/vctl/export.env",
                "VCTL_DB_HOST=db\nOTEL_EXPORTER_OTLP_HEADERS=\"authorization=Bearer x\"\n",
                "variable with a credential",
            ),
            (
                "/srv/app/.env",
                "export VCTL_SECRET_ID=7f3a2f4e-6b1c-4c0e-9a55-0d5b3c1e2a77\n",
                "variable with a credential",
            ),
            (
                "/etc/systemd/system/vctl-export@.service.d/x.conf",
                "[Service]\nEnvironment=\"VAULT_TOKEN=x\"\n",
                "variable with a credential",
            ),
            (
                "/opt/web-1.json",
                r#"{"wrapped_secret_id": "x"}"#,
                "enrolment",
            ),
            (
                "/etc/env",
                "VAULT_TOKEN=hvs.CAESIJx0123456789abcdef0123\n",
                "token",
            ),
            (
                "/root/notes",
                "token: s.2ZeqHGlLRmqsTQcXSkMnAb1c\n",
                "token",
            ),
            ("/root/.bash_history", "ls\n", "history"),
            ("/home/bob/.pgpass", "x\n", "stored credentials"),
            (
                "/root/.ssh/authorized_keys",
                "ssh-ed25519 AAAA\n",
                "may log in",
            ),
            ("/var/lib/systemd/random-seed", "x", "random seed"),
            ("/var/log/apt/history.log", "x", "log"),
            (
                "/etc/nats/user.seed",
                "SUAIBDPBAUTWCWBKIO6XHQNINK5FWJW4OHLXC3HQ2KFE4PEJUA44CNHTC4\n",
                "seed",
            ),
        ] {
            let found = of(path, text).unwrap_or_default();
            assert!(found.contains(expected), "{path}: {found:?}");
        }
    }

    #[test]
    fn files_of_a_debian_are_no_secrets() {
        for (path, text) in [
            (
                "/etc/shadow",
                "root:*:20416:0:99999:7:::\nsshd:!*:20416::::::\nbob:!:1::::::\n",
            ),
            ("/etc/gshadow", "root:*::\nsudo:!::bob\ndbus:::\n"),
            ("/etc/machine-id", ""),
            ("/root/.ssh/authorized_keys", "# none\n"),
            (
                "/usr/lib/x.py",
                "if line == '-----BEGIN PRIVATE KEY-----':\n    read()\n",
            ),
            ("/usr/bin/tool", "-----BEGIN PRIVATE KEY-----\n\0\n"),
            (
                "/usr/share/doc/x",
                "see vault.hvs.example, s.abcdefghijklmnopqrstuvwx and s.unit\n",
            ),
            ("/etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 AAAA\n"),
            (
                "/etc/vctl/prune.env",
                "#VCTL_SECRET_ID=x\nVCTL_SECRET_ID_FILE=/etc/vctl/x\nVAULT_TOKEN=\"\"\nPGPASSWORD=\n",
            ),
            ("/var/lib/vctl/setup/journal.json", "{}"),
            ("/var/lib/vctl/setup/0.before", "UsePAM yes\n"),
            (
                "/etc/vctl/vault-ca.pem",
                "-----BEGIN CERTIFICATE-----\nMIIB\n",
            ),
        ] {
            assert_eq!(of(path, text), None, "{path}");
        }
    }

    #[test]
    fn a_credential_at_a_path_of_the_settings_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let file = root.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        put(
            "etc/vctl/agent.yaml",
            "host: web-1\nsecret_id_file: \"/srv/vctl/secret\" # ours\nrole_id_file: /etc/vctl/role_id\n",
        );
        put("etc/vctl/ingest/agent.yaml", "# host: web-1\n");
        refuse("image", root.path(), false).unwrap();
        put("srv/vctl/secret", "x\n");
        put("etc/vctl/role_id", "x\n");
        let refused = refuse("image", root.path(), false).unwrap_err().to_string();
        let secret =
            "\n  /srv/vctl/secret: a credential of one host, named in /etc/vctl/agent.yaml\n";
        assert!(refused.contains(secret), "{refused}");
        assert_eq!(refused.matches("/etc/vctl/role_id").count(), 1, "{refused}");
    }

    #[test]
    fn an_image_with_a_secret_is_refused_by_the_name_of_the_file() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("root/.ssh");
        fs::create_dir_all(&home).unwrap();
        refuse("image", root.path(), false).unwrap();
        fs::write(home.join("authorized_keys"), "ssh-ed25519 AAAA admin\n").unwrap();
        fs::write(home.join("authorized_keys2"), "ssh-ed25519 AAAA admin\n").unwrap();
        refuse("image", root.path(), true).unwrap();
        let private = "-----BEGIN OPENSSH PRIVATE KEY-----\n\
            b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz\n";
        fs::write(home.join("authorized_keys2"), private).unwrap();
        refuse("image", root.path(), true).unwrap_err();
        fs::remove_file(home.join("authorized_keys2")).unwrap();
        let refused = refuse("image", root.path(), false).unwrap_err().to_string();
        assert!(
            refused.contains("\n  /root/.ssh/authorized_keys: "),
            "{refused}"
        );
    }
}
