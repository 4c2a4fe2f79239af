//! `vctl mcp` returns recorded sessions without text that a reviewer cannot see.

use serde_json::json;

use super::{Reading, certificate, unique};
use crate::mcp::Client;

#[test]
fn recorded_arguments_have_no_hidden_text() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    let ca = unique('m');
    reading.our_ca(&ca);
    reading.ship();
    let session = reading.log_in(Some(certificate("agent-hidden", 671, &ca)));
    reading.exec(
        session.id,
        &[b"echo", b"\x1b[2J", "a\u{202e}b\u{200b}".as_bytes()],
    );
    reading.exec(session.id, &[b"echo", b"\xff"]);
    reading.log_out(session.id, 2);
    reading.wait_for(session.id, 2);
    let mut client = Client::start(reading.command(&["mcp"]));
    let id = session.id.to_string();
    let result = client.result(1, "vctl_session", &json!({"session": id}));
    let session = &result["structuredContent"]["sessions"][0];
    assert_eq!(session["events_total"], 2, "{result}");
    let argv = session["events"].as_array().unwrap();
    let argv: Vec<_> = argv.iter().map(|event| &event["argv"]).collect();
    let hidden = json!(["echo", "\\x1b[2J", "a\\u202eb\\u200b"]);
    let binary = json!(["echo", {"hex": "ff"}]);
    assert_eq!(argv, [&hidden, &binary], "{result}");
}

#[test]
fn an_answer_about_a_serial_is_bounded() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    let ca = unique('b');
    reading.our_ca(&ca);
    reading.ship();
    let first = reading.log_in(Some(certificate("agent-busy", 672, &ca)));
    reading.exec(first.id, &[b"echo", "x".repeat(300).as_bytes()]);
    reading.log_out(first.id, 1);
    reading.wait_for(first.id, 1);
    let id = first.id.to_string();
    // The same login 400 times more, each with the event and 60 gaps.
    let copies = "
        create temp table copies as select gen_random_uuid() as copy, n from generate_series(1, 400) n;
        insert into vctl.audit_session (id, host_id, boot_id, opened, closed, opened_wall, closed_wall, opened_at,
            closed_at, login_user, service, origin, source_ip, stamp, ca_fingerprint, cert_serial, key_id, vault_user,
            produced, stored, execs, last_seq, last_event_at, first_day, last_day)
        select copy, host_id, boot_id, replace(opened::text, id::text, copy::text)::json,
            replace(closed::text, id::text, copy::text)::json, opened_wall, closed_wall, opened_at,
            closed_at, login_user, service, origin, source_ip, stamp, ca_fingerprint, cert_serial, key_id, vault_user,
            produced, stored, execs, last_seq, last_event_at, first_day, last_day
        from vctl.audit_session, copies where id = '{id}';
        insert into vctl.kernel_event (day, session_id, seq, at, wall_offset, host_id, kind, pid, ppid, uid, status, exe,
            cwd, filename, argv, head)
        select day, copy, seq, at, wall_offset, host_id, kind, pid, ppid, uid, status, exe, cwd, filename, argv, head
        from vctl.kernel_event, copies where session_id = '{id}';
        insert into vctl.audit_gap (host_id, boot_id, session_id, cause, events, from_at, to_at, gap, sha256)
        select s.host_id, s.boot_id, copy, 'probe_away', null, now(), now(),
            json_build_object('entry', 'gap', 'session', copy, 'cause', 'probe_away', 'events', null,
                'from', (s.opened::jsonb ->> 'opened_at')::bigint + g, 'to', (s.opened::jsonb ->> 'opened_at')::bigint + g),
            sha256((copy::text || g)::bytea)
        from vctl.audit_session s, copies, generate_series(1, 60) g where s.id = '{id}'";
    reading.centre.ask(&copies.replace("{id}", &id)).unwrap();
    let mut client = Client::start(reading.command(&["mcp"]));
    for (limit, count) in [(None, 20), (Some(5), 5), (Some(1000), 1)] {
        let mut wanted = json!({"session": "672"});
        if let Some(limit) = limit {
            wanted["limit"] = limit.into();
        }
        let result = client.result(1, "vctl_session", &wanted);
        let size = result.to_string().len();
        assert!(size < 1 << 20, "{size}");
        let answer = &result["structuredContent"];
        assert_eq!(answer["more"], true, "{wanted}");
        let sessions = answer["sessions"].as_array().unwrap();
        assert_eq!(answer["count"], sessions.len());
        assert!(sessions.len() >= count, "{}", sessions.len());
        let gaps = &sessions[1]["gaps"];
        assert_eq!(gaps.as_array().unwrap().len(), 20);
        assert_eq!(sessions[1]["gaps_total"], 60);
        assert_eq!(sessions[1]["events_total"], 1);
        let notes = answer["notes"].as_array().unwrap();
        if limit == Some(1000) {
            // 200 within the limit: each is shown, or named.
            let note = notes[0].as_str().unwrap();
            assert!(note.contains("ask for each by its id"), "{note}");
            assert_eq!(note.matches('-').count() / 4 + sessions.len(), 200);
        } else {
            assert_eq!(sessions.len(), count);
            assert!(notes.is_empty(), "{notes:?}");
        }
    }
    let delete = "delete from vctl.audit_session where cert_serial = 672 and id <> '{id}'";
    reading.centre.ask(&delete.replace("{id}", &id)).unwrap();
}
