//! Parsers for the values of keys.

use std::path::PathBuf;
use std::time::Duration;

use vctl_common::config::{Raw, Span};
use vctl_common::secret::Secret;

use crate::files::home;

/// Parses one word: no blanks and no control characters.
pub(super) fn word(raw: &Raw) -> Result<String, String> {
    let text: String = raw.one()?;
    let odd = |c: char| c.is_whitespace() || c.is_control();
    if text.is_empty() || text.contains(odd) {
        return Err(format!("`{}` is not one word", text.escape_debug()));
    }
    Ok(text)
}

pub(super) fn some_word(raw: &Raw) -> Result<Option<String>, String> {
    word(raw).map(Some)
}

/// Parses a secret. No message may repeat it.
pub(super) fn hidden(raw: &Raw) -> Result<Option<Secret<String>>, String> {
    raw.one().map(Secret::new).map(Some)
}

/// Parses a name for a path of Vault. It must not change the path in another way.
pub(super) fn name(raw: &Raw) -> Result<String, String> {
    let text = word(raw)?;
    if is_name(&text) {
        Ok(text)
    } else {
        Err(format!(
            "`{}` is not letters, digits, `.`, `_` and `-`",
            text.escape_debug()
        ))
    }
}

fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    !text.is_empty() && text.bytes().all(plain) && !text.bytes().all(|b| b == b'.')
}

/// Parses a mount: names with slashes between them. Vault shows mounts with a final slash, which is removed.
pub(super) fn mount(raw: &Raw) -> Result<String, String> {
    let text = word(raw)?;
    let mount = text.strip_suffix('/').unwrap_or(&text);
    if mount.split('/').all(is_name) {
        Ok(mount.to_owned())
    } else {
        Err(format!("`{}` is not a mount", text.escape_debug()))
    }
}

pub(super) fn address(raw: &Raw) -> Result<String, String> {
    let text = word(raw)?;
    if text.starts_with("https://") || text.starts_with("http://") {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err(format!(
            "`{}` does not begin with `https://`",
            text.escape_debug()
        ))
    }
}

/// Parses a host name or an IP address.
pub(super) fn host(raw: &Raw) -> Result<String, String> {
    let text = word(raw)?;
    if is_name(&text) || text.parse::<std::net::IpAddr>().is_ok() {
        Ok(text)
    } else {
        Err(format!(
            "`{}` is neither a host name nor an address",
            text.escape_debug()
        ))
    }
}

pub(super) fn port(raw: &Raw) -> Result<u16, String> {
    let text: String = raw.one()?;
    text.parse()
        .ok()
        .filter(|&port| port != 0)
        .ok_or_else(|| format!("`{}` is not a port from 1 to 65535", text.escape_debug()))
}

/// Parses an absolute path, or a path that begins with `~/`.
pub(super) fn some_path(raw: &Raw) -> Result<Option<PathBuf>, String> {
    let text: String = raw.one()?;
    match text.strip_prefix("~/") {
        None => raw.absolute_path().map(Some),
        Some(rest) => match home::dir() {
            Some(home) => Ok(Some(home.join(rest))),
            None => Err(format!("`{text}`: there is no home directory")),
        },
    }
}

pub(super) fn lasting(raw: &Raw) -> Result<Span, String> {
    let span: Span = raw.one()?;
    if span.0 == Duration::ZERO {
        return Err("must be at least `1s`".to_owned());
    }
    Ok(span)
}

pub(super) fn concurrency(raw: &Raw) -> Result<u16, String> {
    number_within(raw, 1, 128).and_then(|number| u16::try_from(number).map_err(|e| e.to_string()))
}

pub(super) fn days_of_events(raw: &Raw) -> Result<u32, String> {
    number_within(raw, 1, u16::MAX.into())
}

pub(super) fn days(raw: &Raw) -> Result<u32, String> {
    number_within(raw, 0, u16::MAX.into())
}

fn number_within(raw: &Raw, least: u32, most: u32) -> Result<u32, String> {
    let text: String = raw.one()?;
    text.parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| {
            format!(
                "`{}` is not a number from {least} to {most}",
                text.escape_debug()
            )
        })
}
