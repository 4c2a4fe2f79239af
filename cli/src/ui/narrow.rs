//! Every list on a terminal of 80 columns, with names as long and as hostile as they may be. For tests alone.

use std::io;
use std::time::{Duration, SystemTime};

use unicode_width::UnicodeWidthStr as _;
use vctl_common::person::Person;

use super::table::Listed;
use super::{Layout, table};
use crate::audit;
use crate::audit::model::OnHost;
use crate::exit_code::Exit;
use crate::fixture::{Login, accesses, rendered};
use crate::fleet;
use crate::fleet::model::tests::well;
use crate::inventory;
use crate::inventory::tests::host;
use crate::migrations;
use crate::migrations::ledger::{Standing, State};
use crate::retention;
use crate::retention::model::tests::{USUAL, day};
use crate::retention::model::{Kept, Table};
use crate::status;
use crate::status::model::{Line, State as Access};

const TERMINAL: Layout = Layout {
    width: Some(80),
    full: false,
};

/// Two people whom only the end of the name tells apart, blanks, wide characters and what a terminal obeys.
const PEOPLE: [&str; 4] = [
    "oidc-alexandra.von.und.zu.hohenlohe-langenburg@example.org-anna",
    "oidc-alexandra.von.und.zu.hohenlohe-langenburg@example.org-otto",
    "oidc-名前の長い人名前の長い人名前の長い人名前の長い人",
    "oidc-\u{1b}[2J\u{202e} a b\tc \u{200b}",
];

fn long(end: &str) -> String {
    format!("{}-{end}", "host.with.a.long.name".repeat(200))
}

/// Renders at 80 columns; no line is wider.
fn fits(render: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> String {
    let page = rendered(render);
    for line in page.lines() {
        assert!(
            line.width() <= 80,
            "{} columns: {line}\n{page}",
            line.width()
        );
    }
    page
}

fn sessions() -> Vec<Listed> {
    let listed = |(nth, person): (usize, &str)| {
        let mut login = Login::of_alice().after_ms(300);
        let opened = &mut login.session().opened;
        opened.auth.certificate.as_mut().unwrap().key_id = person.to_owned();
        opened.login_user = long("account");
        opened.source_ip = "2001:db8:1111:2222:3333:4444:5555:6666".parse().ok();
        login.session().host = long("web");
        Listed {
            session: login.closed().session,
            commands: 10_u64.pow(u32::try_from(nth).unwrap() * 6),
        }
    };
    PEOPLE.into_iter().enumerate().map(listed).collect()
}

#[test]
fn a_list_of_sessions_fits_and_tells_people_apart() {
    let page = fits(|out| table::write(out, &sessions(), false, TERMINAL));
    assert!(page.contains("anna") && page.contains("otto"), "{page}");
    assert_eq!(page.matches("0193f3a1-7c4e").count(), 4, "{page}");
    let usual = [Login::of_alice().after_ms(300).closed().session];
    let usual = usual.map(|session| Listed {
        session,
        commands: 3,
    });
    let page = fits(|out| table::write(out, &usual, false, TERMINAL));
    assert!(page.contains("2026-11-23T22:01:00Z"), "{page}");
    let wide = rendered(|out| table::write(out, &sessions(), true, Layout::default()));
    assert!(wide.contains(&long("account")), "a wide list cuts a name");
}

#[test]
fn accesses_fit_as_lines_and_as_records() {
    let mut all = Vec::new();
    for person in PEOPLE {
        for mut access in accesses() {
            access.person = Person::new(person);
            access.host = long("web");
            access.login_user = long("account");
            access.client_user = Some(long("user"));
            access.client_host = Some(long("laptop"));
            access.jump_via = vec![long("jump"); 3];
            access.command = Some(long("command") + " with words");
            access.error = Some(long("error"));
            access.on_host = Some(OnHost::Unknown);
            all.push(access);
        }
    }
    let lines = fits(|out| audit::table::write(out, &all, false, TERMINAL));
    assert!(lines.contains("anna") && lines.contains("otto"), "{lines}");
    let records = fits(|out| audit::table::write_detail(out, &all, TERMINAL));
    assert!(
        records.contains(PEOPLE[0]) && records.contains(PEOPLE[1]),
        "{records}"
    );
}

#[test]
fn hosts_fit_in_the_inventory_and_in_the_fleet() {
    let mut hosts = ["web", "db"].map(|end| host(&long(end)));
    for host in &mut hosts {
        host.dc = long("dc");
        host.ssh_user = long("user");
        host.jump_via = Some(long("jump"));
        host.ip = "2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap();
        host.ssh_port = 65_535;
    }
    let now = Some(SystemTime::UNIX_EPOCH);
    let detail = inventory::table::Detail {
        wide: false,
        all_ips: true,
    };
    let page = fits(|out| inventory::table::write(out, &hosts, now, detail, TERMINAL));
    assert!(page.contains("-web") && page.contains("-db"), "{page}");
    fits(|out| inventory::table::write_route(out, &hosts, TERMINAL));

    let mut ill = well(&long("ill"));
    ill.dc = long("dc");
    ill.agent_version = Some("9".repeat(64));
    ill.mode = Some(long("mode"));
    (ill.lost, ill.dropped, ill.unstamped) = (Some(u64::MAX / 2), Some(1), Some(u64::MAX));
    ill.contradicted = Some(u64::MAX);
    ill.backlog_bytes = Some(u64::MAX);
    ill.oldest_unshipped_age = Some(Duration::from_hours(40_000));
    ill.problem = Some(long("problem"));
    ill.machines = vec![long("machine"); 2];
    let page = fits(|out| fleet::table::write(out, &[ill, well("web-1")], TERMINAL));
    assert!(page.contains("-ill"), "{page}");
}

#[test]
fn other_lists_fit_as_well() {
    let kept = Kept {
        days: vec![day(400), day(0)],
        tables: vec![Table {
            name: long("table"),
            bytes: u64::MAX,
            live: u64::MAX,
            dead: u64::MAX,
            oldest: Some("2025-11-24".to_owned()),
        }],
        never_closed: u64::MAX,
    };
    fits(|out| retention::table::write(out, &kept, USUAL, false, TERMINAL));
    let standing = Standing {
        version: 1,
        name: long("name"),
        state: State::Applied,
        applied_at: Some("2026-11-24T07:00:00Z".to_owned()),
        applied_by: Some(long("login")),
    };
    fits(|out| migrations::text::write_table(&mut { out }, &[standing], TERMINAL));
    let lines = [Line {
        subject: "Token",
        state: Access::Fails {
            exit: Exit::Permission,
            is: format!("{} has no right", long("person")),
            fix: Some(format!("run `vctl login --method {}`", long("method"))),
        },
    }];
    fits(|out| status::text::write(out, &lines, TERMINAL));
}
