//! Groups, users, changes and decisions as text for people.

use std::io::{self, Write};

use anstyle::Style;
use serde_json::Value;
use vctl_common::count::counted;
use vctl_common::person::Person;

use super::caller::{CallerGrants, EVERYONE};
use super::check::Verdict;
use super::model::{Change, Group, User};
use super::scope::Grant;
use crate::ui::columns::Columns;
use crate::ui::{BAD, BOLD, Layout, paragraph, sanitize, time};

/// Width of the labels.
const BEFORE: usize = 13;

/// Column of the text after a time.
const AFTER_TIME: usize = 22;

const GROUPS: Columns<4> = Columns {
    names: ["GROUP", "MEMBERS", "COMMANDS", "DESCRIPTION"],
    elastic: &[2, 3],
    spare: &[3],
};

pub(crate) fn write_groups(
    out: &mut dyn Write,
    groups: &[Group],
    layout: Layout,
) -> io::Result<()> {
    let rows = groups.iter().map(|group| {
        [
            sanitize::text(&group.name),
            if group.name == EVERYONE {
                "all".to_owned()
            } else {
                group.members.len().to_string()
            },
            list(&group.grants),
            dash(&group.description),
        ]
    });
    GROUPS.write(out, &rows.collect::<Vec<_>>(), layout)
}

/// Writes all details of one group.
pub(crate) fn write_group(out: &mut dyn Write, group: &Group, layout: Layout) -> io::Result<()> {
    let members = if group.name == EVERYONE {
        "every user".to_owned()
    } else {
        list(&group.members)
    };
    let created = group
        .created_at
        .map_or_else(|| "-".to_owned(), time::seconds);
    let lines = [
        ("Group", group.name.clone()),
        ("Description", dash(&group.description)),
        ("Created", created),
        ("Members", members),
        ("Commands", list(&group.grants)),
    ];
    write_lines(out, &lines, layout)
}

const USERS: Columns<5> = Columns {
    names: ["USER", "DISPLAY NAME", "VCTL", "LAST LOGIN", "GROUPS"],
    elastic: &[0, 1, 4],
    spare: &[1],
};

pub(crate) fn write_users(out: &mut dyn Write, users: &[User], layout: Layout) -> io::Result<()> {
    let rows = users.iter().map(|user| {
        let login = user.login.as_ref();
        [
            sanitize::text(Person::new(&*user.display_name).name()),
            sanitize::text(&user.display_name),
            login.map_or_else(|| "-".to_owned(), |login| dash(&login.vctl_version)),
            login.map_or_else(|| "never".to_owned(), |login| time::age(login.age)),
            list(&user.groups),
        ]
    });
    USERS.write(out, &rows.collect::<Vec<_>>(), layout)
}

const CHANGES: Columns<5> = Columns {
    names: ["TIME", "CHANGED BY", "ACTION", "GROUP", "CHANGE"],
    elastic: &[1, 3, 4],
    spare: &[],
};

pub(crate) fn write_changes(
    out: &mut dyn Write,
    changes: &[Change],
    layout: Layout,
) -> io::Result<()> {
    let rows = changes.iter().map(|change| {
        [
            change
                .changed_at
                .map_or_else(|| "-".to_owned(), time::seconds),
            change
                .changed_by
                .as_ref()
                .map_or_else(|| "migration".to_owned(), sanitize::text),
            sanitize::text(&change.action),
            sanitize::text(&change.group),
            summary(change),
        ]
    });
    let rows: Vec<_> = rows.collect();
    if CHANGES.fits(&rows, layout) {
        return CHANGES.write(out, &rows, layout);
    }
    // A narrow table would break names and times; a paragraph breaks between words.
    for [time, changed_by, action, group, change] in &rows {
        write!(out, "{time:<AFTER_TIME$}")?;
        let text = format!("{action} {group}: {change}, by {changed_by}");
        paragraph::write_beside(out, AFTER_TIME, &text, BOLD, layout.width)?;
    }
    Ok(())
}

/// Returns the thing that a change added, removed or replaced.
fn summary(change: &Change) -> String {
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => format!("{} -> {}", state(before), state(after)),
        (Some(one), None) | (None, Some(one)) => state(one),
        (None, None) => "-".to_owned(),
    }
}

fn state(state: &Value) -> String {
    let text = |key: &str| state[key].as_str().map(sanitize::text);
    if let Some(command) = text("command") {
        let scope = text("scope").filter(|scope| !scope.is_empty());
        return scope.map_or(command.clone(), |scope| format!("{command}:{scope}"));
    }
    if let Some(member) = text("member") {
        return member;
    }
    let mut parts = vec![dash(&text("description").unwrap_or_default())];
    for (key, name) in [("members", "member"), ("grants", "grant")] {
        if let Some(items) = state[key].as_array() {
            parts.push(counted(items.len() as u64, name));
        }
    }
    parts.join(", ")
}

/// Writes the groups and grants of the user of this command.
pub(crate) fn write_caller(
    out: &mut dyn Write,
    display_name: &str,
    admin: Option<&str>,
    grants: &CallerGrants,
    layout: Layout,
) -> io::Result<()> {
    let admin = admin.map_or_else(
        || "no".to_owned(),
        |policy| format!("yes, by the policy `{policy}`: every command without a grant"),
    );
    let commands: Vec<String> = grants
        .grants
        .iter()
        .map(|one| format!("{} (group {})", one.grant, one.group))
        .collect();
    let lines = [
        (
            "User",
            format!("{} ({display_name})", Person::new(display_name).name()),
        ),
        ("Admin", admin),
        ("Groups", list(&grants.groups)),
        ("Commands", list(&commands)),
    ];
    write_lines(out, &lines, layout)
}

/// Writes one line for each layer of a decision.
pub(crate) fn write_verdict(
    out: &mut dyn Write,
    verdict: &Verdict,
    layout: Layout,
) -> io::Result<()> {
    for layer in &verdict.layers {
        let label = match layer.layer {
            "grant" => "App grant",
            _ => "Vault policy",
        };
        write!(out, "{BOLD}{label:<BEFORE$}{BOLD:#} ")?;
        let (word, style) = if layer.allowed {
            ("allows", Style::new())
        } else {
            ("denies", BAD)
        };
        let text = format!("{word}: {}", layer.reason);
        paragraph::write(out, BEFORE + 1, &text, style, layout.width)?;
    }
    Ok(())
}

fn write_lines(out: &mut dyn Write, lines: &[(&str, String)], layout: Layout) -> io::Result<()> {
    for (label, value) in lines {
        write!(out, "{BOLD}{label:<BEFORE$}{BOLD:#}")?;
        paragraph::write(out, BEFORE, value, Style::new(), layout.width)?;
    }
    Ok(())
}

fn list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(sanitize::text).collect();
    dash(&items.join(", "))
}

fn dash(text: &str) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        sanitize::text(text)
    }
}

/// Returns grants as a list for a message.
pub(crate) fn names_of(grants: &[Grant]) -> String {
    let names = grants.iter().map(|grant| format!("`{grant}`"));
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture::rendered;

    fn change(before: Option<Value>, after: Option<Value>) -> Change {
        Change {
            id: 1,
            changed_at: None,
            changed_by: Some("oidc-al\u{1b}[31mbert".to_owned()),
            action: "grant".to_owned(),
            group: "devs".to_owned(),
            before,
            after,
        }
    }

    #[test]
    fn each_change_is_shown_in_one_line() {
        for (before, after, shown) in [
            (
                None,
                Some(json!({"command": "ssh", "scope": "dc=a"})),
                "ssh:dc=a",
            ),
            (Some(json!({"command": "*", "scope": ""})), None, "*"),
            (None, Some(json!({"member": "oidc-z\noe"})), "oidc-z\\noe"),
            (
                Some(json!({"description": "old"})),
                Some(json!({"description": ""})),
                "old -> -",
            ),
            (
                Some(json!({"description": "d", "members": ["a", "b"], "grants": []})),
                None,
                "d, 2 members, 0 grants",
            ),
        ] {
            assert_eq!(summary(&change(before, after)), shown);
        }
        let changes = [change(None, Some(json!({"member": "oidc-zoe"})))];
        let text = rendered(|out| write_changes(out, &changes, Layout::default()));
        assert!(text.contains("al\\x1b[31mbert"), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn changes_on_a_narrow_terminal_break_between_words() {
        let after = json!({"command": "ssh", "scope": "dc=seoul-onprem,user=ubuntu"});
        let mut change = change(None, Some(after));
        change.changed_at = Some(std::time::UNIX_EPOCH);
        change.changed_by = Some("userpass-albert".to_owned());
        let shown = |width| {
            let layout = Layout {
                width: Some(width),
                full: false,
            };
            let changes = std::slice::from_ref(&change);
            rendered(|out| write_changes(out, changes, layout))
        };
        let expected = "\
1970-01-01T00:00:00Z  grant devs:
                      ssh:dc=seoul-onprem,user=ubuntu, by
                      userpass-albert
";
        assert_eq!(shown(60), expected);
        let expected = "\
1970-01-01T00:00:00Z  grant devs: ssh:dc=seoul-onprem,user=ubuntu, by
                      userpass-albert
";
        assert_eq!(shown(80), expected);
        assert!(shown(100).starts_with("TIME "), "{}", shown(100));
    }

    #[test]
    fn the_group_of_all_users_has_no_member_list() {
        let group = Group {
            name: EVERYONE.to_owned(),
            description: String::new(),
            created_at: None,
            members: Vec::new(),
            grants: vec!["*".to_owned()],
        };
        let groups = [group];
        let text = rendered(|out| write_groups(out, &groups, Layout::default()));
        assert!(text.contains("everyone  all      *"), "{text}");
        let text = rendered(|out| write_group(out, &groups[0], Layout::default()));
        assert!(text.contains("every user"), "{text}");
    }
}
