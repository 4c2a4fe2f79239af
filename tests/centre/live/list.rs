//! `vctl session --live` lists what runs now, and states which hosts are silent.

use vctl_tests::lab::{Options, PATIENCE, eventually};

use super::LiveHost;

#[test]
fn live_lists_open_sessions_with_their_last_command() {
    let Some(host) = LiveHost::start("live-list", Options::default()) else {
        return;
    };
    let frank = host.log_in("frank", 66, "touch frank-inside; exec sleep 1000");
    let is_listed = || {
        let live = host.live();
        let session = live
            .iter()
            .find(|session| session["session_id"] == frank.id.as_str());
        Ok(session.is_some_and(|session| {
            let facts = &session["live"];
            facts["last_command"]["argv"][0] == "sleep" && facts["host_silent"] == false
        }))
    };
    assert!(
        eventually(PATIENCE, is_listed).unwrap(),
        "{:?}",
        host.live()
    );
    // The host's last signs are an hour old now, as after an outage.
    let name = &host.identity.name;
    let aged = format!(
        "update vctl.ingest_machine m set last_seen = now() - interval '1 hour' from vctl.audit_host h \
         where h.id = m.host_id and h.hostname = '{name}'; \
         update vctl.session_end_poll p set asked_at = now() - interval '1 hour' from vctl.audit_host h \
         where h.id = p.host_id and h.hostname = '{name}'"
    );
    let mut host = host;
    host.lab.agent.stop().unwrap();
    host.centre.ask(&aged).unwrap();
    let output = host.vctl(&host.auditor, &["session", "--live", "--host", "live-list"]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("unknown, last seen 1h00m ago"), "{table}");
    let note = String::from_utf8(output.stderr).unwrap();
    assert!(note.contains("these sessions may have ended"), "{note}");
    frank.hang_up();
}
