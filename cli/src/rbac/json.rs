//! Groups, users, changes and decisions for programs: docs/rbac-json.md.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;
use vctl_common::person::Person;

use super::caller::CallerGrants;
use super::check::Verdict;
use super::model::{Change, Group, User};
use crate::ui::format::OutputFormat;
use crate::ui::records::{Records, cells_of};
use crate::ui::{csv, json, sanitize, time};

/// Version of the format. It changes when a field changes or is removed, not when one is added.
const VERSION: u32 = 1;

/// Groups, for every output format.
pub(crate) struct Groups;

#[derive(Serialize)]
struct GroupJson<'a> {
    name: &'a str,
    description: &'a str,
    created_at: Option<String>,
    members: &'a [String],
    grants: &'a [String],
}

impl Records for Groups {
    const NAME: &'static str = "groups";
    const VERSION: u32 = VERSION;
    const COLUMNS: &'static [&'static str] =
        &["name", "description", "created_at", "members", "grants"];
    type Record = Group;

    fn json(&self, group: &Group) -> impl Serialize {
        group_json(group)
    }

    fn name(&self, group: &Group) -> String {
        sanitize::text(&group.name)
    }
}

fn group_json(group: &Group) -> GroupJson<'_> {
    GroupJson {
        name: &group.name,
        description: &group.description,
        created_at: group.created_at.map(time::seconds),
        members: &group.members,
        grants: &group.grants,
    }
}

/// Users, for every output format.
pub(crate) struct Users;

#[derive(Serialize)]
struct UserJson<'a> {
    name: String,
    display_name: &'a str,
    vctl_version: Option<&'a str>,
    last_login: Option<String>,
    last_login_age_s: Option<u64>,
    groups: &'a [String],
}

impl Records for Users {
    const NAME: &'static str = "users";
    const VERSION: u32 = VERSION;
    const COLUMNS: &'static [&'static str] = &[
        "name",
        "display_name",
        "vctl_version",
        "last_login",
        "last_login_age_s",
        "groups",
    ];
    type Record = User;

    fn json(&self, user: &User) -> impl Serialize {
        user_json(user)
    }

    fn name(&self, user: &User) -> String {
        sanitize::text(&user.display_name)
    }
}

fn user_json(user: &User) -> UserJson<'_> {
    let login = user.login.as_ref();
    UserJson {
        name: Person::new(&*user.display_name).name().to_owned(),
        display_name: &user.display_name,
        vctl_version: login.map(|login| &*login.vctl_version),
        last_login: login.and_then(|login| login.at).map(time::seconds),
        last_login_age_s: login.map(|login| login.age.as_secs()),
        groups: &user.groups,
    }
}

/// Recorded changes, for every output format.
pub(crate) struct Changes;

#[derive(Serialize)]
struct ChangeJson<'a> {
    id: i64,
    changed_at: Option<String>,
    changed_by: Option<&'a str>,
    action: &'a str,
    group: &'a str,
    before: Option<&'a Value>,
    after: Option<&'a Value>,
}

impl Records for Changes {
    const NAME: &'static str = "changes";
    const VERSION: u32 = VERSION;
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "changed_at",
        "changed_by",
        "action",
        "group",
        "before",
        "after",
    ];
    type Record = Change;

    fn json(&self, change: &Change) -> impl Serialize {
        change_json(change)
    }

    fn name(&self, change: &Change) -> String {
        change.id.to_string()
    }
}

fn change_json(change: &Change) -> ChangeJson<'_> {
    ChangeJson {
        id: change.id,
        changed_at: change.changed_at.map(time::seconds),
        changed_by: change.changed_by.as_deref(),
        action: &change.action,
        group: &change.group,
        before: change.before.as_ref(),
        after: change.after.as_ref(),
    }
}

/// The user of this command.
#[derive(Serialize)]
struct CallerJson<'a> {
    version: u32,
    name: &'a str,
    display_name: &'a str,
    admin: bool,
    admin_policy: Option<&'a str>,
    groups: &'a [String],
    grants: Vec<GrantJson<'a>>,
    /// `null` for grants that Postgres has just confirmed.
    confirmed_at: Option<String>,
}

#[derive(Serialize)]
struct GrantJson<'a> {
    group: &'a str,
    grant: String,
}

const CALLER_COLUMNS: [&str; 6] = [
    "name",
    "display_name",
    "admin",
    "groups",
    "commands",
    "confirmed_at",
];

/// Writes the groups and grants of the user of this command, in a format for programs.
pub(crate) fn write_caller(
    out: &mut dyn Write,
    format: OutputFormat,
    display_name: &str,
    admin: Option<&str>,
    grants: &CallerGrants,
) -> io::Result<()> {
    let person = Person::new(display_name);
    let all = grants.grants.iter();
    let document = CallerJson {
        version: VERSION,
        name: person.name(),
        display_name,
        admin: admin.is_some(),
        admin_policy: admin,
        groups: &grants.groups,
        grants: all
            .map(|one| GrantJson {
                group: &one.group,
                grant: one.grant.to_string(),
            })
            .collect(),
        confirmed_at: grants.confirmed_at.map(|at| time::seconds(at.into())),
    };
    match format {
        OutputFormat::Csv => {
            let mut row = serde_json::to_value(&document).unwrap_or_default();
            row["commands"] = document.grants.iter().map(|one| &*one.grant).collect();
            csv::write_record(out, &CALLER_COLUMNS.map(str::to_owned))?;
            csv::write_record(out, &cells_of(&row, &CALLER_COLUMNS))
        }
        OutputFormat::Name => document
            .grants
            .iter()
            .try_for_each(|one| writeln!(out, "{}", one.grant)),
        format => json::write_in(out, format, &document),
    }
}

#[derive(Serialize)]
struct VerdictJson<'a> {
    version: u32,
    command: &'a str,
    display_name: &'a str,
    allowed: bool,
    layers: Vec<LayerJson<'a>>,
}

#[derive(Serialize)]
struct LayerJson<'a> {
    layer: &'a str,
    allowed: bool,
    reason: &'a str,
    fix: Option<&'a str>,
}

/// Writes a decision as one document.
pub(crate) fn write_verdict(
    out: &mut dyn Write,
    format: OutputFormat,
    verdict: &Verdict,
) -> io::Result<()> {
    let layers = verdict.layers.iter();
    let document = VerdictJson {
        version: VERSION,
        command: &verdict.command,
        display_name: &verdict.display_name,
        allowed: verdict.is_allowed(),
        layers: layers
            .map(|layer| LayerJson {
                layer: layer.layer,
                allowed: layer.allowed,
                reason: &layer.reason,
                fix: layer.fix.as_deref(),
            })
            .collect(),
    };
    json::write_in(out, format, &document)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use serde_json::json;

    use super::super::caller::tests::grants;
    use super::super::check::LayerVerdict;
    use super::super::model::LastLogin;
    use super::*;
    use crate::exit_code::Exit;
    use crate::fixture::rendered;
    use crate::ui::json::schema;
    use crate::ui::records;

    fn fits(name: &str, text: &str) -> Value {
        let document = serde_json::from_str(text).unwrap();
        schema::assert_fits(schema::OF_RBAC, Some(name), &document);
        document
    }

    #[test]
    fn each_list_matches_the_schema() {
        let groups = [Group {
            name: "devs".to_owned(),
            description: "\u{1b}[31m".to_owned(),
            created_at: Some(SystemTime::UNIX_EPOCH),
            members: vec!["oidc-albert".to_owned()],
            grants: vec!["ssh:dc=seoul".to_owned()],
        }];
        fits(
            "groups",
            &rendered(|out| records::write(out, OutputFormat::Json, &Groups, &groups)),
        );
        let login = LastLogin {
            at: Some(SystemTime::UNIX_EPOCH),
            age: Duration::from_secs(7),
            vctl_version: "0.1.0".to_owned(),
        };
        let users = [Some(login), None].map(|login| User {
            display_name: "oidc-albert".to_owned(),
            login,
            groups: Vec::new(),
        });
        let document = fits(
            "users",
            &rendered(|out| records::write(out, OutputFormat::Json, &Users, &users)),
        );
        assert_eq!(document["users"][0]["name"], "albert");
        let changes = [
            (None, Some(json!({"member": "oidc-zoe"}))),
            (Some(json!({"command": "*", "scope": ""})), None),
        ];
        let changes = changes.map(|(before, after)| Change {
            id: 7,
            changed_at: Some(SystemTime::UNIX_EPOCH),
            changed_by: None,
            action: "add member".to_owned(),
            group: "devs".to_owned(),
            before,
            after,
        });
        fits(
            "changes",
            &rendered(|out| records::write(out, OutputFormat::Json, &Changes, &changes)),
        );
    }

    #[test]
    fn the_own_grants_and_a_decision_match_the_schema() {
        let rows = [("devs", Some("ssh:dc=seoul")), ("everyone", None)];
        for admin in [None, Some("vctl-admin")] {
            let grants = grants(&rows);
            let text = rendered(|out| {
                write_caller(out, OutputFormat::Json, "oidc-albert", admin, &grants)
            });
            assert_eq!(fits("caller", &text)["admin"], admin.is_some());
        }
        let grants = grants(&rows);
        let csv =
            rendered(|out| write_caller(out, OutputFormat::Csv, "oidc-albert", None, &grants));
        assert!(csv.contains("ssh:dc=seoul"), "{csv}");
        let verdict = Verdict {
            command: "ssh".to_owned(),
            display_name: "oidc-albert".to_owned(),
            layers: vec![
                LayerVerdict {
                    layer: "grant",
                    allowed: true,
                    reason: "r".to_owned(),
                    fix: None,
                    exit: Exit::Success,
                },
                LayerVerdict {
                    layer: "policy",
                    allowed: false,
                    reason: "r".to_owned(),
                    fix: Some("f".to_owned()),
                    exit: Exit::Permission,
                },
            ],
        };
        let text = rendered(|out| write_verdict(out, OutputFormat::Json, &verdict));
        assert_eq!(fits("check", &text)["allowed"], false);
    }
}
