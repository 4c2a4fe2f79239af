//! The accounts of a NATS server, written from a list of hosts and their public keys. No I/O.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use nkeys::{KeyPair, KeyPairType};
use vctl_common::host::{HostName, InvalidHostName};

use super::{ACCOUNT, CONSUMER, STREAM, SUBJECT};

/// A line of the list, or a key, is not valid.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    #[error("line {line} is not a host and a public key, such as `web-1 UABC...`")]
    Line { line: usize },
    #[error("line {line}")]
    Host {
        line: usize,
        #[source]
        source: InvalidHostName,
    },
    #[error("line {line}: `{key}` is not a public key of a NATS user")]
    Key { line: usize, key: String },
    #[error("line {line}: host `{host}` has two keys")]
    Twice { line: usize, host: HostName },
    #[error("line {line}: `{host}` has the key of `{other}`")]
    Shared {
        line: usize,
        host: HostName,
        other: String,
    },
    #[error(
        "line {line}: `{host}` has an empty part between dots, which NATS refuses in a subject: `vctl host rename`"
    )]
    EmptyPart { line: usize, host: HostName },
    #[error("`{key}` is not a public key of a NATS user (`{flag}`)")]
    Flag { key: String, flag: &'static str },
    #[error("`{key}` stands for two users (`{flag}`)")]
    FlagTwice { key: String, flag: &'static str },
    #[error(
        "the list has no host; `--no-hosts` writes accounts without hosts, which ends the access of all of them"
    )]
    Empty,
}

/// The users of a server's accounts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Users<'a> {
    /// A line for each host, with its name and its public key.
    pub list: &'a str,
    /// Public keys of the consumers.
    pub ingest: &'a [String],
    /// Public keys that may change the stream and remove messages.
    pub operators: &'a [String],
    /// Whether a list without hosts is accepted: it is more often a mistake.
    pub may_be_empty: bool,
}

/// Returns the `accounts` block of a server.
///
/// Each host has its own account with one import, so it can publish only as itself.
///
/// # Errors
/// A line or a key is not valid, a key stands for two users, or there is no host.
pub fn accounts(users: Users<'_>) -> Result<String, AccountsError> {
    let mut owners = BTreeMap::new();
    let flags = [
        ("--ingest", "vctl-agent ingest", users.ingest),
        ("--operator", "an operator", users.operators),
    ];
    for (flag, owner, keys) in flags {
        for key in keys {
            let key = key.clone();
            if !is_user(&key) {
                return Err(AccountsError::Flag { key, flag });
            }
            if owners.insert(key.clone(), owner.to_owned()).is_some() {
                return Err(AccountsError::FlagTwice { key, flag });
            }
        }
    }
    let mut hosts = BTreeMap::new();
    for (line, text) in (1..).zip(users.list.lines()) {
        let text = text.split('#').next().unwrap_or_default();
        let mut words = text.split_whitespace();
        let (host, key) = match (words.next(), words.next(), words.next()) {
            (None, ..) => continue,
            (Some(host), Some(key), None) => (host, key.to_owned()),
            _ => return Err(AccountsError::Line { line }),
        };
        let host: HostName = host
            .parse()
            .map_err(|source| AccountsError::Host { line, source })?;
        if host.as_str().contains("..") {
            return Err(AccountsError::EmptyPart { line, host });
        }
        if !is_user(&key) {
            return Err(AccountsError::Key { line, key });
        }
        if let Some(other) = owners.insert(key.clone(), host.to_string()) {
            return Err(AccountsError::Shared { line, host, other });
        }
        if hosts.insert(host.clone(), key).is_some() {
            return Err(AccountsError::Twice { line, host });
        }
    }
    if hosts.is_empty() && !users.may_be_empty {
        return Err(AccountsError::Empty);
    }
    Ok(text(&hosts, users))
}

fn is_user(key: &str) -> bool {
    KeyPair::from_public_key(key)
        .is_ok_and(|pair| matches!(pair.key_pair_type(), KeyPairType::User))
}

fn text(hosts: &BTreeMap<HostName, String>, of: Users<'_>) -> String {
    let mut out = String::from(
        "# Written by `vctl-agent nats-accounts`: change its list, not this file.\naccounts {\n",
    );
    let names: Vec<_> = hosts.keys().map(account_name).collect();
    let user = |key: &String, role: &str| format!("{{nkey: {key}, permissions: ${role}}}");
    let ingest = of.ingest.iter().map(|key| user(key, "VCTL_INGEST"));
    let operators = of.operators.iter().map(|key| user(key, "VCTL_OPERATOR"));
    let users: Vec<_> = ingest.chain(operators).collect();
    // An export without accounts is for all accounts.
    let exports = if names.is_empty() {
        String::new()
    } else {
        let names = names.join(", ");
        format!("      {{service: \"{SUBJECT}.>\", accounts: [{names}]}}\n")
    };
    // A String takes every write.
    let _ = write!(
        out,
        "  {ACCOUNT}: {{\n    jetstream: enabled\n    users: [{users}]\n    exports: [\n{exports}    ]\n  }}\n",
        users = users.join(", "),
    );
    for ((host, key), name) in hosts.iter().zip(&names) {
        let _ = write!(
            out,
            "  {name}: {{\n    users: [{{nkey: {key}, permissions: $VCTL_HOST}}]\n    imports: [\n      {{service: \
             {{account: {ACCOUNT}, subject: \"{SUBJECT}.{host}\"}}, to: \"{SUBJECT}\"}}\n    ]\n  }}\n",
        );
    }
    out.push_str("}\n");
    format!("{}{out}", permissions())
}

/// Dots have a meaning in the file, so an account is named by its host in quotes.
fn account_name(host: &HostName) -> String {
    format!("\"host/{host}\"")
}

fn permissions() -> String {
    format!(
        "VCTL_HOST: {{\n  publish: {{allow: [\"{SUBJECT}\"]}}\n  subscribe: {{allow: [\"_INBOX.>\"]}}\n}}\n\
         VCTL_INGEST: {{\n  publish: {{allow: [\n    \
         \"$JS.API.INFO\", \"$JS.API.STREAM.INFO.{STREAM}\", \"$JS.API.STREAM.CREATE.{STREAM}\",\n    \
         \"$JS.API.STREAM.MSG.GET.{STREAM}\", \"$JS.API.CONSUMER.INFO.{STREAM}.{CONSUMER}\",\n    \
         \"$JS.API.CONSUMER.CREATE.{STREAM}.{CONSUMER}.>\", \"$JS.API.CONSUMER.CREATE.{STREAM}.{CONSUMER}\",\n    \
         \"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{CONSUMER}\", \"$JS.ACK.{STREAM}.>\"\n  ]}}\n  \
         subscribe: {{allow: [\"_INBOX.>\"]}}\n}}\n\
         VCTL_OPERATOR: {{\n  publish: {{allow: [\"$JS.API.>\"]}}\n  subscribe: {{allow: [\"_INBOX.>\"]}}\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

    #[test]
    fn each_host_has_one_import_with_its_own_name() {
        let (a, b) = (
            KeyPair::new_user().public_key(),
            KeyPair::new_user().public_key(),
        );
        let list = format!("# hosts\nweb-1.example {a}\n\ndb-1 {b} # Postgres\n");
        let (consumer, operator) = (
            KeyPair::new_user().public_key(),
            KeyPair::new_user().public_key(),
        );
        let text = accounts(Users {
            list: &list,
            ingest: std::slice::from_ref(&consumer),
            operators: std::slice::from_ref(&operator),
            may_be_empty: false,
        })
        .unwrap();
        for (key, role) in [(&consumer, "INGEST"), (&operator, "OPERATOR")] {
            let user = format!("{{nkey: {key}, permissions: $VCTL_{role}}}");
            assert_eq!(text.matches(&user).count(), 1, "{text}");
        }
        for (host, key) in [("web-1.example", &a), ("db-1", &b)] {
            let account = text
                .split(&format!("  \"host/{host}\": {{"))
                .nth(1)
                .unwrap();
            let account = account.split("\n  }").next().unwrap();
            assert!(account.contains(key.as_str()), "{account}");
            assert_eq!(account.matches("subject:").count(), 1, "{account}");
            assert!(
                account.contains(&format!("\"vctl.events.{host}\"")),
                "{account}"
            );
        }
        assert!(
            text.contains("accounts: [\"host/db-1\", \"host/web-1.example\"]"),
            "{text}"
        );
    }

    #[test]
    fn a_wrong_line_is_named() {
        let key = KeyPair::new_user().public_key();
        let account = KeyPair::new_account().public_key();
        for (list, part) in [
            ("web-1".to_owned(), "line 1 is not a host"),
            (format!("web-1 {key} x"), "line 1 is not a host"),
            (format!("\nWeb-1 {key}"), "line 2"),
            ("web-1 UABC".to_owned(), "not a public key"),
            (format!("web-1 {account}"), "not a public key"),
            (
                format!("a {key}\nb {key}"),
                "line 2: `b` has the key of `a`",
            ),
            (
                format!("a {key}\na {}", KeyPair::new_user().public_key()),
                "two keys",
            ),
            (format!("a.> {key}"), "line 1"),
            // The server would refuse the whole file.
            (
                format!("a {key}\nweb..1 {}", KeyPair::new_user().public_key()),
                "line 2: `web..1`",
            ),
            (String::new(), "--no-hosts"),
        ] {
            let error = of_list(&list, &[], &[]).unwrap_err().to_string();
            assert!(error.contains(part), "{list}: {error}");
        }
        let (list, key) = (format!("a {A}"), [A.to_owned()]);
        let other = [KeyPair::new_user().public_key()];
        assert!(of_list(&list, &["x".to_owned()], &[]).is_err());
        assert!(of_list(&list, &key, &[]).is_err());
        assert!(of_list(&list, &[], &key).is_err());
        assert!(of_list(&list, &other, &other).is_err());
    }

    #[test]
    fn the_last_host_can_be_removed() {
        let text = accounts(Users {
            ingest: &[A.to_owned()],
            may_be_empty: true,
            ..Users::default()
        })
        .unwrap();
        // An export that names no account is open to all.
        assert!(text.contains(A) && !text.contains("service"), "{text}");
    }

    fn of_list(
        list: &str,
        ingest: &[String],
        operators: &[String],
    ) -> Result<String, AccountsError> {
        accounts(Users {
            list,
            ingest,
            operators,
            may_be_empty: false,
        })
    }
}
