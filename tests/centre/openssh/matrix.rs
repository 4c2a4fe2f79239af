//! Each SSH program runs as root and as another account, directly and through jump hosts. The access log, sshd and the
//! agents of all hosts on the route record the same certificates.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use vctl_tests::centre::{Centre, DATABASE, Island, Options};
use vctl_tests::lab::{Lab, Options as LabOptions, eventually};

use super::programs::{PROGRAMS, To};
use super::{Desk, PATIENCE, accepted};
use crate::login::{Workstation, person};

/// The hosts in the order of the route: the way to each host goes through the previous host.
const CHAIN: [&str; 3] = ["matrix-0", "matrix-1", "matrix-2"];

/// A host with an agent that records and ships its sessions.
struct Stop {
    name: &'static str,
    lab: Lab,
    _ids: tempfile::TempDir,
}

impl Stop {
    /// Starts the host on the island and the agent outside: the island has no route to the centre.
    fn start(centre: &Centre, island: &Island, name: &'static str) -> Self {
        let ids = tempfile::tempdir().unwrap();
        let host = centre.enroll(name).unwrap();
        let options = LabOptions {
            agent: centre.agent_keys(&host, ids.path()).unwrap(),
            agent_waits: true,
            trusted: vec![centre.ssh_authority().unwrap()],
            ..LabOptions::default()
        };
        let mut lab = island
            .within(move || Lab::start(&options))
            .unwrap()
            .unwrap();
        lab.agent.start().unwrap();
        Self {
            name,
            lab,
            _ids: ids,
        }
    }

    fn public_key(&self) -> String {
        let line = fs::read_to_string(self.lab.root().join("known_hosts")).unwrap();
        line.split_once(' ').unwrap().1.trim_end().to_owned()
    }

    fn accepted(&self) -> Vec<String> {
        accepted(&fs::read_to_string(self.lab.root().join("sshd.log")).unwrap())
    }
}

/// One connection: its row in the access log, and the work that its session must contain.
struct Done {
    what: String,
    row: Value,
    work: String,
}

#[test]
fn every_program_and_route_is_recorded_on_both_sides() {
    // This spec has a centre of its own, because the certificates of this centre are for the hosts' own accounts.
    if vctl_tests::lab::missing().is_some() {
        return;
    }
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    let island = Island::new().unwrap();
    let stops = CHAIN.map(|name| Stop::start(&centre, &island, name));
    let users = stops.iter().map(|stop| stop.lab.user());
    let allowed = users.chain(["root"]).collect::<Vec<_>>().join(",");
    let admin = centre.bao.admin().unwrap();
    let mut role = admin.get("ssh/roles/sre-core").unwrap()["data"].take();
    role["allowed_users"] = json!(allowed);
    admin.post("ssh/roles/sre-core", &role).unwrap();
    let desk = Desk::new(&centre, "matrix");
    // vctl must not connect directly, because another sshd may listen at that port on this machine.
    fs::create_dir_all(desk.home(".vctl")).unwrap();
    fs::write(desk.home(".vctl/config.yaml"), "ssh_direct_first: false\n").unwrap();
    for (stop, before) in stops.iter().zip([None, Some(CHAIN[0]), Some(CHAIN[1])]) {
        let name = stop.name;
        let port = match before {
            None => island.door(stop.lab.port()).unwrap(),
            Some(before) => {
                desk.operator.jumps(name, before);
                stop.lab.port()
            }
        };
        let sql = format!("update vctl.servers set ssh_port = {port} where hostname = '{name}'");
        centre.postgres.psql(DATABASE, &sql).unwrap();
        desk.operator
            .remembers(&format!("{name} {}\n", stop.public_key()));
    }
    let mut done = Vec::new();
    for is_root in [true, false] {
        for stop in &stops {
            let user = if is_root { "root" } else { stop.lab.user() };
            let name = stop.name;
            let sql =
                format!("update vctl.servers set ssh_user = '{user}' where hostname = '{name}'");
            centre.postgres.psql(DATABASE, &sql).unwrap();
        }
        desk.install();
        for (position, stop) in stops.iter().enumerate() {
            let user = if is_root { "root" } else { stop.lab.user() };
            for (program, run) in PROGRAMS {
                let what = format!("{program} to {} as {user}", stop.name);
                let before = desk.operator.accesses(stop.name).len();
                let work = run(
                    &desk,
                    &To {
                        host: stop.name,
                        user,
                    },
                );
                let row = desk.closed(stop.name, before + 1).pop().unwrap();
                assert_eq!(row["login_user"], user, "{what}: {row:#}");
                assert_eq!(row["jump_via"], json!(CHAIN[..position]), "{what}: {row:#}");
                assert_eq!(row["error"], Value::Null, "{what}: {row:#}");
                done.push(Done { what, row, work });
            }
        }
    }
    desk.has_no_key();
    the_same_serials(&stops, &done);
    the_sessions_tell(&centre, &done);
}

/// Expects that each sshd accepted each certificate in the rows once, and no other certificate.
fn the_same_serials(stops: &[Stop], done: &[Done]) {
    let mut said: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for Done { row, .. } in done {
        let hops = row["hops"].as_array().cloned().unwrap_or_default();
        for passed in hops.iter().chain([row]) {
            let host = passed["hostname"].as_str().unwrap();
            let host = CHAIN.into_iter().find(|name| *name == host).unwrap();
            let serial = passed["cert_serial"].to_string();
            said.entry(host).or_default().push(serial);
        }
    }
    for stop in stops {
        let (mut said, mut seen) = (said.remove(stop.name).unwrap(), stop.accepted());
        said.sort();
        seen.sort();
        assert_eq!(
            said, seen,
            "{}: the access log and the log of sshd differ",
            stop.name
        );
    }
}

/// Expects that `vctl session` has the complete session of every certificate on its host, including the certificates
/// for jump hosts. For a target, the session must contain the work.
fn the_sessions_tell(centre: &Centre, done: &[Done]) {
    let password = person(centre, "matrix-reader", 3600, 7200);
    let policies = json!({"policies": ["vctl-user", "vctl-auditor"]});
    let admin = centre.bao.admin().unwrap();
    admin
        .post("auth/userpass/users/matrix-reader", &policies)
        .unwrap();
    let reader = Workstation::new(centre);
    let login = ["login", "--username", "matrix-reader", "--password-stdin"];
    let said = reader.given(&login, &password);
    assert_eq!(said.code, 0, "{said:?}");
    for Done { what, row, work } in done {
        let session = whole(&reader, row);
        let is_work = |event: &Value| event["kind"] == "exec" && line(event).contains(work);
        let events = session["events"].as_array().unwrap();
        assert!(
            events.iter().any(is_work),
            "{what}: no `{work}` in {session:#}"
        );
        for hop in row["hops"].as_array().into_iter().flatten() {
            let session = whole(&reader, hop);
            let events = session["events"].as_array().unwrap();
            let is_exec = |event: &&Value| event["kind"] == "exec";
            assert_eq!(events.iter().find(is_exec), None, "{what}: on a jump host");
        }
    }
}

/// Returns the only session of the certificate in a row or in a hop of the access log, when the centre has all of it.
fn whole(reader: &Workstation<'_>, named: &Value) -> Value {
    let serial = named["cert_serial"].to_string();
    let mut last = Value::Null;
    let came = eventually(PATIENCE, || {
        let said = reader.run(&["session", &serial, "-o", "json"]);
        last = serde_json::from_str(&said.stdout).unwrap_or_else(|_| said.stderr.into());
        Ok(last["sessions"][0]["complete"] == true)
    });
    assert!(came.unwrap(), "{serial} is not complete: {last:#}");
    let sessions = last["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 1, "{serial}: {last:#}");
    assert_eq!(sessions[0]["host"], named["hostname"], "{serial}: {last:#}");
    assert_eq!(
        sessions[0]["person"], "userpass-matrix",
        "{serial}: {last:#}"
    );
    sessions[0].clone()
}

fn line(event: &Value) -> String {
    let words = event["argv"].as_array().into_iter().flatten();
    let words: Vec<&str> = words.filter_map(Value::as_str).collect();
    words.join(" ")
}
