//! Safe values for ssh_config(5).
//!
//! Its lines have words with quotes, tokens (`%h`), variables and patterns; `ProxyCommand` additionally goes through a
//! shell. No quoting works for all of them. So nothing is escaped: a value with a special character is not written.

use std::path::Path;

use crate::error::CliError;
use crate::exit_code::Exit;

/// Returns whether this is safe as a host name in a `Host` line and on a command line.
pub(super) fn is_name(name: &str) -> bool {
    is_word(name, "._-")
}

/// Returns whether this can be the name of a Unix account.
pub(super) fn is_user(user: &str) -> bool {
    is_word(user, "._-@+")
}

fn is_word(text: &str, others: &str) -> bool {
    let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(first) && text.chars().all(|c| first(c) || others.contains(c))
}

/// Returns a path that is safe between quotes of either kind.
///
/// # Errors
/// The path contains a special character.
pub(super) fn path(path: &Path) -> Result<&str, CliError> {
    let harmless = |c: char| c.is_alphanumeric() || "/._-+@=, ".contains(c);
    path.to_str()
        .filter(|path| path.starts_with('/') && path.chars().all(harmless))
        .ok_or_else(|| {
            let message = format!("`{}` cannot be written into ssh_config", path.display());
            let hint = "OpenSSH treats some characters specially: use a path without them";
            CliError::new(Exit::Config, message).hint(hint)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_rejected_in_names() {
        for good in ["web-1", "web_1.seoul.example", "10.0.0.1", "_x"] {
            assert!(is_name(good), "{good}");
        }
        let bad = [
            "",
            "-oProxyCommand=x",
            "a b",
            "a\nProxyCommand x",
            "a\r",
            "a\t",
            "*",
            "web?",
            "!web",
            "a,b",
            "a\"b",
            "a'b",
            "a\\",
            "%h",
            "a%n",
            "$(x)",
            "${HOME}",
            "`x`",
            "a;b",
            "a|b",
            "a#b",
            "~a",
            "a/b",
            "a=b",
            "a@b",
            "ä",
            "a\0",
            "\u{202e}a",
            "::1",
        ];
        for bad in bad {
            assert!(!is_name(bad), "{bad:?}");
        }
        assert!(is_user("a.b@example") && !is_user("a b") && !is_user("$x") && !is_user(""));
    }

    #[test]
    fn path_with_a_quote_or_a_token_is_refused() {
        assert!(path(Path::new("/home/jane doe/.vctl/ssh/agent.sock")).is_ok());
        for bad in [
            "relative", "/a'b", "/a\"b", "/%h", "/${HOME}", "/a\nb", "/a\\b", "/a`b",
        ] {
            assert_eq!(
                path(Path::new(bad)).unwrap_err().exit,
                Exit::Config,
                "{bad:?}"
            );
        }
    }
}
