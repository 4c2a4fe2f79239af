//! The server decides which host a report belongs to.

use serde_json::json;
use vctl_tests::centre::{Centre, Credential, DATABASE, HostIdentity};

const BOOT: &str = "0f0f0f0f-0000-4000-8000-000000000001";

/// Two hosts of one spec. The second host has a session, an event, a cursor and a status.
struct Hosts {
    centre: &'static Centre,
    a: HostIdentity,
    b: HostIdentity,
    ingest: Credential,
    status: Credential,
}

impl Hosts {
    fn of_spec(name: &str) -> Option<Self> {
        let centre = Centre::shared()?;
        let a = centre.enroll(&format!("{name}-a")).unwrap();
        let b = centre.enroll(&format!("{name}-b")).unwrap();
        let client = centre.as_host(&a).unwrap();
        let ingest = client.credential(&a.role("audit-ingest"));
        let status = client.credential(&a.role("status"));
        let hosts = Self {
            centre,
            ingest: ingest.unwrap(),
            status: status.unwrap(),
            a,
            b,
        };
        let client = centre.as_host(&hosts.b).unwrap();
        let theirs = client.credential(&hosts.b.role("audit-ingest"));
        let sql = batch(&hosts.spool_of_b(), 0, 9, &hosts.session_of_b(), "open");
        hosts.run(&theirs.unwrap(), &sql).unwrap();
        let theirs = client.credential(&hosts.b.role("status"));
        let sql = "select vctl.status_v1('{\"agent_version\": \"b\"}')";
        hosts.run(&theirs.unwrap(), sql).unwrap();
        Some(hosts)
    }

    fn run(&self, credential: &Credential, sql: &str) -> anyhow::Result<String> {
        self.centre.postgres.psql_as(credential.login(), sql)
    }

    fn admin(&self, sql: &str) -> String {
        self.centre.postgres.psql(DATABASE, sql).unwrap()
    }

    /// Returns all stored data of the second host.
    fn all_of_b(&self) -> String {
        self.admin(&format!(
            "select row_to_json(s), (select count(*) from vctl.kernel_event e where e.session_id = s.id), \
                (select row_to_json(c) from vctl.ingest_cursor c where c.host_id = s.host_id), \
                (select json_agg(m) from vctl.ingest_machine m where m.host_id = s.host_id), \
                (select count(*) from vctl.audit_gap g where g.host_id = s.host_id), \
                (select row_to_json(t) from vctl.server_status t where t.hostname = '{}') \
             from vctl.audit_session s where s.id = '{}'",
            self.b.name,
            self.session_of_b()
        ))
    }

    fn spool_of_b(&self) -> String {
        uuid(&format!("spool of {}", self.b.name))
    }

    fn session_of_b(&self) -> String {
        uuid(&format!("session of {}", self.b.name))
    }
}

/// Returns one batch: an opened session and one event of it.
fn batch(spool: &str, from: u32, to: u32, session: &str, entry: &str) -> String {
    let opened = json!({
        "id": session, "boot_id": BOOT, "wall": 0, "opened_at": "2026-01-01T00:00:00Z",
        "login_user": "root", "service": "sshd", "origin": "ssh", "stamp": "stamped",
        "entry": format!("{{\"entry\": \"{entry}\"}}"),
    });
    format!(
        "select cursor_offset from vctl.ingest_v1('{BOOT}', '{BOOT}', 'spec', '{spool}', \
         '{{1,{from},{from}}}', '{{1,{to},{to}}}', array['{opened}']::json[], '{{}}', '{{}}', \
         '{{{session}}}', '{{{to}}}', array[now()], '{{0}}', '{{1}}', '{{1}}', '{{1}}', '{{0}}', \
         '{{0}}', array['a'::bytea], array['a'::bytea], array['a'::bytea], array['a'::bytea], \
         array['a'::bytea])"
    )
}

/// Returns the same id for the same text.
fn uuid(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let number = digest.as_ref()[..16].try_into().unwrap();
    let hex = format!("{:032x}", u128::from_be_bytes(number));
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

#[test]
fn a_host_cannot_add_to_the_session_of_another() {
    let Some(hosts) = Hosts::of_spec("adds") else {
        return;
    };
    let before = hosts.all_of_b();
    assert!(before.contains("\"entry\": \"open\""), "{before}");
    let spool = uuid("spool of adds-a");
    let forged = batch(&spool, 0, 5, &hosts.session_of_b(), "forged");
    let said = hosts.run(&hosts.ingest, &forged).unwrap_err().to_string();
    assert!(said.contains("is of another host"), "{said}");
    assert_eq!(hosts.all_of_b(), before);
    // The same batch is accepted with a session of this host.
    let own = batch(&spool, 0, 5, &uuid("session of adds-a"), "own");
    assert_eq!(hosts.run(&hosts.ingest, &own).unwrap(), "5");
}

#[test]
fn a_host_cannot_close_or_belittle_the_session_of_another() {
    let Some(hosts) = Hosts::of_spec("closes") else {
        return;
    };
    let before = hosts.all_of_b();
    let session = hosts.session_of_b();
    let spool = uuid("spool of closes-a");
    let none = "'{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'";
    let closed =
        json!({"id": session, "closed_at": "2026-01-01T00:00:01Z", "produced": 0, "entry": "{}"});
    let gap = json!({"session": session, "boot_id": BOOT, "cause": "lost", "events": 1,
        "from_at": "2026-01-01T00:00:00Z", "to_at": "2026-01-01T00:00:01Z", "entry": "{}"});
    for (closed, gaps) in [
        (format!("array['{closed}']::json[]"), "'{}'".to_owned()),
        ("'{}'".to_owned(), format!("array['{gap}']::json[]")),
    ] {
        let sql = format!(
            "select * from vctl.ingest_v1('{BOOT}', '{BOOT}', 'spec', '{spool}', '{{1,0,0}}', '{{1,7,7}}', \
             '{{}}', {closed}, {gaps}, {none})"
        );
        let said = hosts.run(&hosts.ingest, &sql).unwrap_err().to_string();
        assert!(said.contains("is of another host"), "{said}");
    }
    assert_eq!(hosts.all_of_b(), before);
}

#[test]
fn a_host_cannot_see_or_move_the_cursor_of_another() {
    let Some(hosts) = Hosts::of_spec("moves") else {
        return;
    };
    let before = hosts.all_of_b();
    let spool = hosts.spool_of_b();
    let asked = format!("select * from vctl.cursor_v1('{spool}')");
    assert_eq!(hosts.run(&hosts.ingest, &asked).unwrap(), "");
    // The same spool id is a separate cursor for each host.
    let own = batch(&spool, 9, 20, &uuid("session of moves-a"), "own");
    assert_eq!(hosts.run(&hosts.ingest, &own).unwrap(), "20");
    assert_eq!(hosts.all_of_b(), before);
    assert_eq!(hosts.run(&hosts.ingest, &asked).unwrap(), "1|20|20");
}

#[test]
fn a_host_reports_its_own_status_whatever_name_it_gives() {
    let Some(hosts) = Hosts::of_spec("reports") else {
        return;
    };
    let before = hosts.all_of_b();
    assert!(before.contains("\"agent_version\":\"b\""), "{before}");
    let sql = format!(
        "select vctl.status_v1('{{\"hostname\": \"{}\", \"agent_version\": \"a\"}}')",
        hosts.b.name
    );
    hosts.run(&hosts.status, &sql).unwrap();
    assert_eq!(hosts.all_of_b(), before);
    let own = format!(
        "select agent_version from vctl.server_status where hostname = '{}'",
        hosts.a.name
    );
    assert_eq!(hosts.admin(&own), "a");
}

#[test]
fn a_host_gets_only_its_own_login_and_secret_id() {
    let Some(hosts) = Hosts::of_spec("gets") else {
        return;
    };
    let client = hosts.centre.as_host(&hosts.a).unwrap();
    let other = &hosts.b.approle;
    for role in [
        format!("vctl-audit-ingest-{other}"),
        format!("vctl-status-{other}"),
        "vctl-audit-ingest".to_owned(),
        "vctl-status".to_owned(),
        "vctl-ro".to_owned(),
        "vctl-audit-ro".to_owned(),
    ] {
        assert!(client.credential(&role).is_err(), "{role}");
    }
    let own = format!("auth/approle/role/{}/secret-id", hosts.a.approle);
    client.post(&own, &json!({})).unwrap();
    // Vault decides the name of a host. Metadata that the host adds cannot give it another host's credential.
    let metadata = json!({"metadata": format!("{{\"role_name\": \"{other}\"}}")});
    let made = client.post(&own, &metadata).unwrap();
    let secret_id = made["data"]["secret_id"].as_str().unwrap();
    let disguised = HostIdentity {
        secret_id: vctl_tests::centre::Secret::new(secret_id),
        ..hosts.a.clone()
    };
    let client = hosts.centre.as_host(&disguised).unwrap();
    assert!(client.credential(&format!("vctl-status-{other}")).is_err());
    client.credential(&hosts.a.role("status")).unwrap();
    // A host cannot extend the lifetime of its secret id or the addresses that may use it.
    for asked in [
        json!({"ttl": "9000h"}),
        json!({"num_uses": 1}),
        json!({"cidr_list": []}),
    ] {
        let status = client.call("POST", &own, Some(&asked)).unwrap().status;
        assert_eq!(status, 403, "{asked}");
    }
    let theirs = format!("auth/approle/role/{other}/secret-id");
    let status = client
        .call("POST", &theirs, Some(&json!({})))
        .unwrap()
        .status;
    assert_eq!(status, 403);
}

#[test]
fn a_login_that_is_of_no_host_ships_nothing() {
    let Some(hosts) = Hosts::of_spec("nobody") else {
        return;
    };
    let admin = hosts.centre.bao.admin().unwrap();
    let nobody = admin.credential("vctl-audit-ingest").unwrap();
    let batch = batch(
        &uuid("spool of nobody"),
        0,
        5,
        &uuid("session of nobody"),
        "x",
    );
    let said = hosts.run(&nobody, &batch).unwrap_err().to_string();
    assert!(said.contains("belongs to no host"), "{said}");
    let nobody = admin.credential("vctl-status").unwrap();
    let said = hosts
        .run(&nobody, "select vctl.status_v1('{}')")
        .unwrap_err()
        .to_string();
    assert!(said.contains("belongs to no host"), "{said}");
}
