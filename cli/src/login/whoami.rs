//! Output of `vctl whoami`: an identity in Vault.

use std::io::{self, Write};
use std::time::Duration;

use anstyle::Style;
use jiff::Timestamp;
use serde::Serialize;

use crate::ui::format::OutputFormat;
use crate::ui::records::cells_of;
use crate::ui::{BOLD, Layout, csv, json, paragraph, sanitize, time};

/// Version of the format. It changes when a field changes or is removed, not when one is added.
const VERSION: u32 = 1;

/// Width of the labels.
const BEFORE: usize = 11;

/// The owner of a token, as Vault reports it.
#[derive(Clone, Debug)]
pub(crate) struct VaultIdentity {
    pub(crate) vault_addr: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    /// Display name in Vault, such as `oidc-albert`.
    pub(crate) display_name: String,
    /// `None` for the token in `VAULT_TOKEN`.
    pub(crate) method: Option<String>,
    pub(crate) machine: bool,
    /// `None` for a token that never expires.
    pub(crate) ttl: Option<Duration>,
    pub(crate) renewable: bool,
    pub(crate) policies: Vec<String>,
    /// `None` if the token may not read the groups.
    pub(crate) groups: Option<Vec<String>>,
}

impl VaultIdentity {
    fn expires(&self) -> Option<Timestamp> {
        let ttl = self.ttl?;
        Timestamp::now().checked_add(ttl).ok()
    }
}

pub(crate) fn write(
    out: &mut dyn Write,
    identity: &VaultIdentity,
    layout: Layout,
) -> io::Result<()> {
    let list = |items: &[String]| match items {
        [] => "none".to_owned(),
        items => items.join(", "),
    };
    let expires = match (identity.ttl, identity.expires()) {
        (Some(ttl), Some(at)) => format!("{at:.0}, {} left", time::duration(ttl)),
        _ => "never".to_owned(),
    };
    let renewable = if identity.renewable {
        ", renewable"
    } else {
        ""
    };
    let namespace = identity.namespace.as_ref();
    let namespace = namespace.map_or_else(String::new, |name| format!(", namespace {name}"));
    let kind = if identity.machine { ", a machine" } else { "" };
    let lines = [
        (
            "Name",
            format!("{} ({}{kind})", identity.name, identity.display_name),
        ),
        (
            "Method",
            identity
                .method
                .clone()
                .unwrap_or_else(|| "token in VAULT_TOKEN".to_owned()),
        ),
        ("Server", format!("{}{namespace}", identity.vault_addr)),
        ("Expires", format!("{expires}{renewable}")),
        ("Policies", list(&identity.policies)),
        (
            "Groups",
            match &identity.groups {
                Some(groups) => list(groups),
                None => "unknown: the token may not read them".to_owned(),
            },
        ),
    ];
    for (label, value) in lines {
        write!(out, "{BOLD}{label:<BEFORE$}{BOLD:#}")?;
        paragraph::write(out, BEFORE, &value, Style::new(), layout.width)?;
    }
    Ok(())
}

#[derive(Serialize)]
struct IdentityJson<'a> {
    version: u32,
    vault_addr: &'a str,
    namespace: Option<&'a str>,
    name: &'a str,
    display_name: &'a str,
    method: Option<&'a str>,
    machine: bool,
    expires: Option<String>,
    ttl_s: Option<u64>,
    renewable: bool,
    policies: &'a [String],
    groups: Option<&'a [String]>,
}

const COLUMNS: [&str; 11] = [
    "vault_addr",
    "namespace",
    "name",
    "display_name",
    "method",
    "machine",
    "expires",
    "ttl_s",
    "renewable",
    "policies",
    "groups",
];

/// Writes in a format for programs; writes nothing in a format for people.
pub(crate) fn write_for_programs(
    out: &mut dyn Write,
    format: OutputFormat,
    identity: &VaultIdentity,
) -> io::Result<()> {
    let document = IdentityJson {
        version: VERSION,
        vault_addr: &identity.vault_addr,
        namespace: identity.namespace.as_deref(),
        name: &identity.name,
        display_name: &identity.display_name,
        method: identity.method.as_deref(),
        machine: identity.machine,
        expires: identity.expires().map(|at| format!("{at:.0}")),
        ttl_s: identity.ttl.map(|ttl| ttl.as_secs()),
        renewable: identity.renewable,
        policies: &identity.policies,
        groups: identity.groups.as_deref(),
    };
    match format {
        OutputFormat::Csv => {
            csv::write_record(out, &COLUMNS.map(str::to_owned))?;
            csv::write_record(out, &cells_of(&document, &COLUMNS))
        }
        OutputFormat::Name => writeln!(out, "{}", sanitize::text(&identity.name)),
        format => json::write_in(out, format, &document),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::rendered;
    use crate::ui::json::schema;

    fn identity() -> VaultIdentity {
        VaultIdentity {
            vault_addr: "https://vault.example:8200".to_owned(),
            namespace: None,
            name: "alb\u{1b}ert".to_owned(),
            display_name: "oidc-alb\u{1b}ert".to_owned(),
            method: Some("oidc".to_owned()),
            machine: false,
            ttl: Some(Duration::from_secs(3_599)),
            renewable: true,
            policies: vec!["default".to_owned(), "vctl-user".to_owned()],
            groups: None,
        }
    }

    #[test]
    fn the_json_of_each_identity_matches_the_schema() {
        let unlimited = VaultIdentity {
            ttl: None,
            method: None,
            groups: Some(vec!["vctl-admins".to_owned()]),
            namespace: Some("team".to_owned()),
            ..identity()
        };
        for identity in [identity(), unlimited] {
            let text = rendered(|out| write_for_programs(out, OutputFormat::Json, &identity));
            let document = serde_json::from_str(&text).unwrap();
            schema::assert_fits(schema::OF_WHOAMI, None, &document);
        }
    }

    #[test]
    fn a_table_shows_that_groups_are_unreadable() {
        let text = rendered(|out| write(out, &identity(), Layout::default()));
        assert!(text.contains("Policies"), "{text}");
        assert!(text.contains("default, vctl-user"), "{text}");
        assert!(
            text.contains("unknown: the token may not read them"),
            "{text}"
        );
        assert!(text.contains("59m59s left, renewable"), "{text}");
        assert!(text.contains("alb\\x1bert"), "{text}");
    }
}
