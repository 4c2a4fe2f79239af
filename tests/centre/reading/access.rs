//! A session shows the user that Vault confirmed, and separately a user that only claimed the access.

use serde_json::json;
use vctl_tests::centre::DATABASE;

use super::{HOST, Reading, access, ask_for, certificate, unique};

#[test]
fn a_session_and_its_access_row_name_each_other() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    let ca = unique('a');
    reading.our_ca(&ca);
    reading.ship();
    let albert = reading
        .centre
        .person("albert-a", &["vctl-user", "vctl-ssh"])
        .unwrap();
    let asked = access(HOST, 801, &ca);
    ask_for(reading.centre, &albert, "albert-a", &asked);
    let opened = reading.log_in(Some(certificate("userpass-albert-a", 801, &ca)));
    reading.log_out(opened.id, 0);
    reading.wait_for(opened.id, 0);
    let id = opened.id.to_string();
    let shown = reading.shows(&["session", &id]);
    assert!(
        shown.contains("from 198.51.100.4 port 40404 by al@laptop, for synthetic"),
        "{shown}"
    );
    let audit = reading.shows(&["audit", "--user", "albert-a", "--detail"]);
    assert!(audit.contains(&id) && audit.contains("801"), "{audit}");
    assert!(audit.contains("userpass-albert-a"), "{audit}");
    let plain = reading.shows(&["audit", "--user", "ALBERT-A"]);
    let line = plain.lines().nth(1).unwrap();
    assert!(
        line.contains("  albert-a  ") && line.ends_with("open, session ended"),
        "{plain}"
    );
    let json = reading.json(&["audit", "--user", "albert-a", "-o", "json"]);
    assert_eq!(json["accesses"][0]["sessions"], json!([id]));
    assert_eq!(json["accesses"][0]["serial"], "801");
}

#[test]
fn a_row_with_somebodys_serial_changes_nothing_but_a_warning() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    let ca = unique('m');
    reading.our_ca(&ca);
    reading.ship();
    let opened = reading.log_in(Some(certificate("userpass-albert-m", 811, &ca)));
    reading.log_out(opened.id, 0);
    reading.wait_for(opened.id, 0);
    let id = opened.id.to_string();
    let mallory = reading
        .centre
        .person("mallory", &["vctl-user", "vctl-ssh"])
        .unwrap();
    ask_for(reading.centre, &mallory, "mallory", &access(HOST, 811, &ca));
    let shown = reading.shows(&["session", &id]);
    assert!(shown.contains("who       ?albert-m\n"), "{shown}");
    assert!(shown.contains("also by userpass-mallory"), "{shown}");
    assert!(
        shown.contains("not on record: the access log has no entry by this person"),
        "{shown}"
    );
    let list = reading.shows(&["session", "--user", "mallory"]);
    assert!(!list.contains(&id), "{list}");
    let audit = reading.json(&["audit", "--user", "mallory", "-o", "json"]);
    assert_eq!(audit["accesses"][0]["sessions"], json!([]));
}

#[test]
fn a_login_without_an_access_row_is_found() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    let ca = unique('u');
    reading.our_ca(&ca);
    reading.ship();
    let carl = reading
        .centre
        .person("carl-u", &["vctl-user", "vctl-ssh"])
        .unwrap();
    let mut ids = Vec::new();
    for serial in [821, 822, 823] {
        let opened = reading.log_in(Some(certificate("userpass-carl-u", serial, &ca)));
        reading.log_out(opened.id, 0);
        reading.wait_for(opened.id, 0);
        ids.push(opened.id.to_string());
    }
    ask_for(reading.centre, &carl, "carl-u", &access(HOST, 821, &ca));
    // The second access is a jump to another host.
    let mut through = access("behind", 900, &ca);
    through["hops"] = json!([{"hostname": HOST, "ca_fingerprint": ca, "cert_serial": "822"}]);
    ask_for(reading.centre, &carl, "carl-u", &through);
    let list = reading.shows(&["audit", "--without-access", "--user", "carl-u", "-n", "0"]);
    let found: Vec<bool> = ids.iter().map(|id| list.contains(id)).collect();
    assert_eq!(found, [false, false, true], "{list}");
    let warning = |args: &[&str]| {
        let audit = reading.run(&[&["audit", "--user", "carl-u"], args].concat());
        let said = String::from_utf8(audit.stderr).unwrap();
        let is_there = said.contains("a login of ?carl-u to synthetic");
        assert_eq!(is_there, said.contains("--without-access"), "{said}");
        is_there
    };
    assert!(warning(&["--since", "2h"]));
    assert!(!warning(&["--since", "2h", "--failed"]));
    // Only logins of the time that the list shows. One access is from before the login, one from after it.
    let sql = format!(
        "update vctl.access_log a set opened_at = s.opened_at \
             + case when a.hostname = 'behind' then interval '1 minute' else interval '-1 minute' end \
         from vctl.audit_session s where a.vault_user = 'userpass-carl-u' and s.id = '{}'",
        ids[2]
    );
    reading.centre.postgres.psql(DATABASE, &sql).unwrap();
    for (args, is_warned) in [
        (&[][..], true),
        (&["-n", "2"], true),
        (&["-n", "1"], false),
        (&["-n", "1", "--since", "2h"], false),
        (&["-n", "3", "--since", "2h"], true),
        (&["-n", "0", "--until", "2020-01-01"], false),
    ] {
        assert_eq!(warning(args), is_warned, "{args:?}");
    }
    let hop = reading.shows(&["session", &ids[1]]);
    assert!(hop.contains("on the way to behind"), "{hop}");
}

#[test]
fn accesses_are_narrowed_down_and_exported_whatever_is_in_them() {
    let Some(reading) = Reading::new() else {
        return;
    };
    let dora = reading
        .centre
        .person("dora_d", &["vctl-user", "vctl-ssh"])
        .unwrap();
    let ca = unique('e');
    for (host, serial) in [("ed_1", 831), ("ed-1", 832), ("ed%1", 833)] {
        let mut row = access(host, serial, &ca);
        row["command"] = json!("=1+1\u{1b}[2J, \"x\"\r\n'");
        row["client_user"] = json!("@SUM(A1:A9)");
        let id = ask_for(reading.centre, &dora, "dora_d", &row);
        if serial == 832 {
            let credential = dora.credential("vctl-audit-writer").unwrap();
            let end = json!({"result": "refused", "error": "no ü\u{1b}[31m"});
            let sql =
                format!("select vctl.close_access_v1('userpass-dora_d', {id}, '{end}'::jsonb)");
            reading
                .centre
                .postgres
                .psql_as(credential.login(), &sql)
                .unwrap();
        }
    }
    let hosts = |args: &[&str]| -> Vec<String> {
        let all = [&["audit", "--user", "dora_d", "-o", "jsonl"], args].concat();
        let lines = reading.shows(&all);
        let host =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["host"].clone();
        lines
            .lines()
            .map(|line| host(line).as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(hosts(&[]), ["ed%1", "ed-1", "ed_1"]);
    assert_eq!(hosts(&["-n", "1"]), ["ed%1"]);
    assert_eq!(hosts(&["--host", "d_1"]), ["ed_1"]);
    assert_eq!(hosts(&["--host", "%"]), ["ed%1"]);
    assert_eq!(hosts(&["--failed"]), ["ed-1"]);
    assert_eq!(hosts(&["--source-ip", "198.51.100.4"]).len(), 3);
    assert_eq!(hosts(&["--source-ip", "198.51.100.40"]).len(), 0);
    assert_eq!(hosts(&["--since", "1h"]).len(), 3);
    assert_eq!(hosts(&["--until", "1h"]).len(), 0);
    for form in [&["--detail"] as &[&str], &["-o", "csv"], &["-o", "json"]] {
        let shown = reading.shows(&[&["audit", "--user", "dora_d"], form].concat());
        let obeyed = shown
            .chars()
            .find(|c| c.is_control() && !['\n', '\r'].contains(c));
        assert_eq!(obeyed, None, "{shown}");
    }
    let nothing = reading.run(&["audit", "--user", "nobody-like-that"]);
    assert!(nothing.status.success() && nothing.stdout.is_empty());
    assert!(!nothing.stderr.is_empty());
}

#[test]
fn a_closed_access_shows_what_the_host_recorded() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    let ca = unique('c');
    reading.our_ca(&ca);
    reading.ship();
    let frida = reading
        .centre
        .person("frida-c", &["vctl-user", "vctl-ssh"])
        .unwrap();
    // The sessions have one program, two programs at a time, one that still runs, and no program. The client of the
    // last access does not close it.
    let cases = [
        (841, 2, true, "closed"),
        (842, 4, true, "closed"),
        (843, 1, false, "closed"),
        (844, 0, false, "closed"),
        (845, 2, true, "open"),
    ];
    for (serial, events, ends, result) in cases {
        let id = ask_for(
            reading.centre,
            &frida,
            "frida-c",
            &access(HOST, serial, &ca),
        );
        if result == "closed" {
            let credential = frida.credential("vctl-audit-writer").unwrap();
            let sql = format!(
                "select vctl.close_access_v1('userpass-frida-c', {id}, '{{\"result\": \"closed\"}}')"
            );
            let stored = reading.centre.postgres.psql_as(credential.login(), &sql);
            stored.unwrap();
        }
        if serial == 844 {
            continue;
        }
        let opened = reading.log_in(Some(certificate("userpass-frida-c", serial, &ca)));
        reading.source.work(opened.id, events).unwrap();
        if ends {
            reading.log_out(opened.id, events);
            reading.wait_for(opened.id, events);
        } else {
            reading.wait_for_events(opened.id, events);
        }
    }
    let json = reading.json(&["audit", "--user", "frida-c", "-o", "json"]);
    let of = |serial: u64| {
        let accesses = json["accesses"].as_array().unwrap();
        let serial = serial.to_string();
        accesses
            .iter()
            .find(|access| access["serial"] == *serial)
            .unwrap()
    };
    let states = [841, 842, 843, 844, 845].map(|serial| of(serial)["on_host"]["state"].clone());
    assert_eq!(
        states,
        ["exited", "ended", "open", "unknown", "exited"],
        "{json}"
    );
    assert_eq!(of(841)["on_host"]["exit_code"], 0);
    assert!(of(842)["on_host"]["ended_at"].is_string());
    let table = reading.shows(&["audit", "--user", "frida-c"]);
    for shown in [
        "closed, exit 0",
        "closed, session ended",
        "closed, session open",
        "closed, unknown",
        "open, exit 0",
    ] {
        assert!(
            table.lines().any(|line| line.ends_with(shown)),
            "{shown}: {table}"
        );
    }
    let csv = reading.shows(&["audit", "--user", "frida-c", "-o", "csv"]);
    assert!(!csv.contains(",-,") && csv.contains(",,"), "{csv}");
}

#[test]
fn requests_in_a_list_are_those_of_the_session() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    let ca = unique('r');
    reading.our_ca(&ca);
    reading.ship();
    let gina = reading
        .centre
        .person("gina-r", &["vctl-user", "vctl-ssh"])
        .unwrap();
    ask_for(reading.centre, &gina, "gina-r", &access(HOST, 851, &ca));
    let mut ids = Vec::new();
    for serial in [851, 852] {
        let opened = reading.log_in(Some(certificate("userpass-gina-r", serial, &ca)));
        reading.exec(opened.id, &[b"gina", b"was here"]);
        reading.log_out(opened.id, 1);
        reading.wait_for(opened.id, 1);
        ids.push(opened.id.to_string());
    }
    let filtered = ["--user", "gina-r", "-o", "json"];
    let unasked = [
        "audit",
        "--without-access",
        "--user",
        "gina-r",
        "-o",
        "json",
    ];
    for args in [
        &[&["session", "--list"], &filtered[..]].concat()[..],
        &[&["session", "--grep", "gina was"], &filtered[..]].concat(),
        &unasked,
        &["session", &ids[0], "-o", "json"],
        &["session", &ids[1][..13], "-o", "json"],
    ] {
        let json = reading.json(args);
        for session in json["sessions"].as_array().unwrap() {
            let asked = session["session_id"] == *ids[0];
            let requests = session["requests"].as_array().unwrap();
            assert_eq!(requests.len(), usize::from(asked), "{args:?}: {session}");
            assert_eq!(session["more_requests"], false);
        }
    }
}

#[test]
fn the_beginning_of_an_id_names_a_session_or_lists_them() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    reading.ship();
    let ids = [0, 1].map(|_| {
        let opened = reading.log_in(None);
        reading.log_out(opened.id, 0);
        reading.wait_for(opened.id, 0);
        opened.id.to_string()
    });
    for (args, own) in [
        (&["session", &ids[0][..23]][..], &ids[0]),
        (
            &["session", &ids[1].to_uppercase()[..28], "--tree"],
            &ids[1],
        ),
        (
            &["session", &ids[1].replace('-', "")[..30], "--follow"],
            &ids[1],
        ),
    ] {
        assert!(reading.shows(args).contains(own.as_str()), "{args:?}");
    }
    // Ids from the same minute have the same prefix.
    let several = reading.run(&["session", &ids[0][..4]]);
    assert_eq!(several.status.code(), Some(2));
    let said = String::from_utf8(several.stderr).unwrap();
    assert!(
        said.contains("sessions begin with `") && said.contains("as deploy"),
        "{said}"
    );
    let none = reading.run(&["session", "0000dead"]);
    assert_eq!(none.status.code(), Some(66));
}
