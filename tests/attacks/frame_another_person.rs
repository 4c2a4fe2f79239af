//! A compromised host reports sessions of users without a login, and an insider uses the access row of one host for
//! another host.

use base64ct::{Base64, Encoding as _};
use serde_json::{Value, json};
use vctl_agent::session::auth_info;
use vctl_agent::store::Shipper;
use vctl_common::id::{CertSerial, ProcessId, SessionId};
use vctl_common::session::{Auth, JournalEntry, SessionOpened, Stamp};
use vctl_common::time::BootNs;
use vctl_tests::centre::{Centre, Client};
use vctl_tests::fixture::await_that;
use vctl_tests::ship::Source;

use super::reader::{Auditor, keygen, line, signed, words};

const SECOND: u64 = 1_000_000_000;
/// The boot clock of a new `Source`.
const NOW: u64 = 100_000 * SECOND;

/// A host with reports that the spec writes itself.
struct ReportingHost {
    centre: &'static Centre,
    source: Source,
    _shipper: Shipper,
    _dir: tempfile::TempDir,
}

impl ReportingHost {
    fn enroll(centre: &'static Centre, name: &str) -> Self {
        let identity = centre.enroll(name).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let source = Source::open(&dir.path().join("spool"), 1 << 20, 1 << 30).unwrap();
        let way = centre.way(&identity, dir.path()).unwrap();
        Self {
            _shipper: source.ship(&way).unwrap(),
            centre,
            source,
            _dir: dir,
        }
    }

    /// Reports a login, and waits until the centre has stored it.
    fn report(&mut self, login: SessionOpened) -> String {
        let id = login.id;
        self.source
            .note(&JournalEntry::Opened(Box::new(login)))
            .unwrap();
        let sql = format!(
            "select count(*) from vctl.audit_session where id = '{id}' and opened is not null"
        );
        await_that("the session is at the centre", || {
            self.centre.ask(&sql).unwrap() == "1"
        });
        id.to_string()
    }
}

/// Returns a login as an honest agent reports it: the time is now, and the certificate is the one that sshd saw.
fn login(certificate: &str) -> SessionOpened {
    let auth = auth_info::parse(&format!("publickey {certificate}"));
    assert_eq!(auth.problem, None);
    SessionOpened {
        login_user: "ubuntu".to_owned(),
        service: "sshd".to_owned(),
        auth,
        source_ip: "192.0.2.7".parse().ok(),
        source_port: Some(53_630),
        leader: ProcessId {
            tgid: 4242,
            start: BootNs(NOW),
        },
        login_uid: Some(1000),
        stamp: Stamp::InTime,
        ..SessionOpened::unknown(SessionId::generate(), BootNs(NOW))
    }
}

/// Returns the row that `vctl ssh` writes for the certificate of `login`.
fn row(host: &str, login: &SessionOpened) -> Value {
    let certificate = login.auth.certificate.as_ref().unwrap();
    json!({
        "hostname": host, "login_user": "ubuntu", "target_addr": "127.0.0.1", "target_port": 22,
        "ca_fingerprint": certificate.ca_fingerprint, "key_id": certificate.key_id,
        "cert_serial": certificate.serial.unwrap().to_string(),
        "source_ip": "192.0.2.7", "source_port": 53_630, "client_user": "al", "client_host": "laptop",
    })
}

fn ask(centre: &Centre, person: &Client, name: &str, row: &Value) {
    let credential = person.credential("vctl-audit-writer").unwrap();
    let row = row.to_string();
    let sql = format!("select vctl.open_access_v1('userpass-{name}', '{row}'::jsonb)");
    centre.postgres.psql_as(credential.login(), &sql).unwrap();
    person.revoke(&credential).unwrap();
}

fn person(centre: &Centre, name: &str) -> Client {
    centre.person(name, &["vctl-user", "vctl-ssh"]).unwrap()
}

fn blob(auth: &mut Auth) -> &mut String {
    auth.certificate.as_mut().unwrap().blob.as_mut().unwrap()
}

#[test]
fn replayed_certificate_is_marked_in_every_form() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let auditor = Auditor::of(centre);
    let alice = person(centre, "alice-fr");
    let mut honest = ReportingHost::enroll(centre, "fr-web-1");
    let mut hostile = ReportingHost::enroll(centre, "fr-web-2");
    let certificate = signed(&alice);
    let real = login(&certificate);
    ask(centre, &alice, "alice-fr", &row("fr-web-1", &real));
    let real = honest.report(real);
    let shown = auditor.session(&real);
    assert_eq!(shown["verified"], true, "{shown:#}");
    assert_eq!(shown["verified_by"]["mount"], "ssh");
    assert_eq!(shown["contradictions"], json!([]));
    let before = line(&auditor.shows(&["session", "-n", "0"]), &real);
    assert!(before.contains("  alice-fr  "), "{before}");
    let before = auditor.shows(&["audit", "--without-access", "--user", "alice-fr"]);
    assert_eq!(before, "");

    let mut replayed = login(&certificate);
    replayed.login_user = "root".to_owned();
    replayed.source_port = Some(1234);
    replayed.opened_at = BootNs(NOW + 6 * 3600 * SECOND);
    let replayed = hostile.report(replayed);
    let shown = auditor.session(&replayed);
    assert_eq!(shown["verified"], false, "{shown:#}");
    assert_eq!(shown["verification"], "verified", "the certificate is real");
    let found = words(&shown["contradictions"]);
    assert_eq!(
        found,
        ["validity", "host", "account", "source_port", "two_hosts"],
        "the row is still open"
    );

    let list = auditor.shows(&["session", "-n", "0"]);
    for id in [&real, &replayed] {
        let line = line(&list, id);
        assert!(
            line.contains("  ?alice-fr  ") && line.contains("contradicted ("),
            "{line}"
        );
    }
    for form in [&[][..], &["--tree"], &["--full"]] {
        let page = auditor.shows(&[&["session", &*replayed], form].concat());
        assert!(page.contains("who       ?alice-fr"), "{page}");
        assert!(
            page.contains("doubt     host: the access log has no entry"),
            "{page}"
        );
    }
    let html = tempfile::tempdir().unwrap();
    let file = html.path().join("page.html");
    auditor.shows(&["session", &replayed, "--html", file.to_str().unwrap()]);
    let html = std::fs::read_to_string(file).unwrap();
    assert!(html.contains("?alice-fr on fr-web-2") && html.contains("two hosts: another"));
    let csv = auditor.shows(&["session", "-n", "0", "-o", "csv"]);
    let cells = line(&csv, &replayed);
    assert!(
        cells.contains(",false,verified,\"validity host account"),
        "{cells}"
    );
    let unasked = auditor.shows(&["audit", "--without-access", "--user", "alice-fr"]);
    assert!(unasked.contains(&replayed), "{unasked}");
    let access = auditor.json(&["audit", "--user", "alice-fr", "-o", "json"]);
    let contradicted = words(&access["accesses"][0]["contradicted_sessions"]);
    assert!(contradicted.contains(&&*replayed), "{access:#}");

    let fleet = auditor.json(&["fleet", "-o", "json"]);
    let hosts = fleet["hosts"].as_array().unwrap();
    let host = hosts
        .iter()
        .find(|host| host["hostname"] == "fr-web-2")
        .unwrap();
    assert_eq!(host["logins_contradicted"], 1, "{host:#}");
    assert!(host["state"].as_str().unwrap().contains("contradicted 1"));
    let check = auditor.run(&["fleet", "--check"]);
    assert_eq!(check.status.code(), Some(1));
    let said = String::from_utf8(check.stderr).unwrap();
    assert!(said.contains("fr-web-2 (contradicted 1"), "{said}");
}

#[test]
fn access_of_one_host_does_not_cover_another() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let auditor = Auditor::of(centre);
    let insider = person(centre, "insider-fr");
    let mut other = ReportingHost::enroll(centre, "fr-web-3");
    let elsewhere = login(&signed(&insider));
    ask(centre, &insider, "insider-fr", &row("fr-web-1", &elsewhere));
    let elsewhere = other.report(elsewhere);
    // The access goes to an address, without the inventory. This host does not have that address either.
    let by_address = login(&signed(&insider));
    let mut address = row("192.0.2.99", &by_address);
    address["target_addr"] = json!("192.0.2.99");
    ask(centre, &insider, "insider-fr", &address);
    let by_address = other.report(by_address);
    let unasked = auditor.shows(&["audit", "--without-access", "--user", "insider-fr"]);
    for id in [elsewhere, by_address] {
        let line = line(&unasked, &id);
        assert!(line.contains("contradicted (host)"), "{line}");
    }
    // An address of the host or a jump through the host causes no warning.
    let direct = login(&signed(&insider));
    let mut address = row("127.0.0.1", &direct);
    address["target_addr"] = json!("127.0.0.1");
    ask(centre, &insider, "insider-fr", &address);
    let hop = login(&signed(&insider));
    let mut through = row("behind", &login(&signed(&insider)));
    let jump = hop.auth.certificate.as_ref().unwrap();
    through["jump_via"] = json!(["fr-web-3"]);
    through["hops"] = json!([{
        "hostname": "fr-web-3", "ca_fingerprint": jump.ca_fingerprint,
        "cert_serial": jump.serial.unwrap().to_string(),
    }]);
    ask(centre, &insider, "insider-fr", &through);
    for login in [direct, hop] {
        let id = other.report(login);
        let shown = auditor.session(&id);
        assert_eq!(shown["verified"], true, "{shown:#}");
    }
}

#[test]
fn second_session_and_reused_serial_are_marked() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let auditor = Auditor::of(centre);
    let carol = person(centre, "carol-fr");
    let mut host = ReportingHost::enroll(centre, "fr-web-4");
    let certificate = signed(&carol);
    let first = login(&certificate);
    ask(centre, &carol, "carol-fr", &row("fr-web-4", &first));
    let mut renamed = login(&certificate);
    let (first, second) = (host.report(first), host.report(login(&certificate)));
    for id in [&first, &second] {
        let shown = auditor.session(id);
        assert_eq!(
            shown["contradictions"],
            json!(["second_session"]),
            "{shown:#}"
        );
    }
    renamed.auth.certificate.as_mut().unwrap().key_id = "userpass-dave-fr".to_owned();
    let renamed = host.report(renamed);
    let shown = auditor.session(&renamed);
    assert_eq!(shown["verification"], "other_certificate");
    let found = words(&shown["contradictions"]);
    assert_eq!(found, ["certificate", "serial_reused"]);
    let list = auditor.shows(&["session", "--user", "dave-fr"]);
    assert!(line(&list, &renamed).contains("  ?dave-fr  "), "{list}");
}

#[test]
fn invented_certificate_is_never_proven() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let auditor = Auditor::of(centre);
    let erin = person(centre, "erin-fr");
    let mut host = ReportingHost::enroll(centre, "fr-web-5");
    let real = signed(&erin);

    // A serial and a name without proof: an older agent reports every login like this.
    let mut invented = login(&real);
    let certificate = invented.auth.certificate.as_mut().unwrap();
    (certificate.serial, certificate.blob) = (CertSerial::new(4711), None);
    let invented = host.report(invented);
    let shown = auditor.session(&invented);
    assert_eq!(
        (&shown["verified"], &shown["verification"]),
        (&json!(false), &json!("older_agent"))
    );
    assert_eq!(shown["contradictions"], json!([]));
    let page = auditor.shows(&["session", &invented]);
    assert!(page.contains("as the host reports; not verified"), "{page}");
    assert!(page.contains("who       ?erin-fr"), "{page}");

    // One bit of the nonce is different, so only the signature shows the change.
    let mut flipped = login(&real);
    let blob_text = blob(&mut flipped.auth);
    let mut bytes = Base64::decode_vec(blob_text).unwrap();
    bytes[40] ^= 1;
    *blob_text = Base64::encode_string(&bytes);
    // The real certificate of another login.
    let mut swapped = login(&real);
    *blob(&mut swapped.auth) = blob(&mut login(&signed(&erin)).auth).clone();
    // A CA of the attacker signed the certificate, but the entry names the CA of the centre.
    let mut forged = login(&real);
    let mut own_ca = login(&by_a_ca_of_ones_own("userpass-erin-fr"));
    *blob(&mut forged.auth) = blob(&mut own_ca.auth).clone();
    for (login, verification) in [
        (flipped, "bad_signature"),
        (swapped, "other_certificate"),
        (forged, "other_certificate"),
    ] {
        let id = host.report(login);
        let shown = auditor.session(&id);
        assert_eq!(shown["verification"], verification, "{shown:#}");
        assert!(words(&shown["contradictions"]).contains(&"certificate"));
        let list = auditor.shows(&["session", "-n", "0"]);
        assert!(line(&list, &id).contains("  ?erin-fr  "), "{list}");
    }
}

#[test]
fn session_that_cannot_be_read_is_not_denied() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let auditor = Auditor::of(centre);
    let frank = person(centre, "frank-fr");
    let mut host = ReportingHost::enroll(centre, "fr-web-6");
    let login = login(&signed(&frank));
    let serial = login
        .auth
        .certificate
        .as_ref()
        .unwrap()
        .serial
        .unwrap()
        .to_string();
    let id = host.report(login);
    let sql = format!("update vctl.audit_session set key_id = 'other' where id = '{id}'");
    centre.ask(&sql).unwrap();
    for args in [
        &["session", &*serial][..],
        &["session", &*serial, "--follow"],
    ] {
        let output = auditor.run(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{said}");
        assert!(!said.contains("no session of"), "{said}");
        assert!(
            said.contains("left out: ") && said.contains("cannot be shown"),
            "{said}"
        );
    }
}

/// Returns a certificate that is signed by a new CA.
fn by_a_ca_of_ones_own(key_id: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for name in ["ca", "key"] {
        keygen(&["-q", "-t", "ed25519", "-N", "", "-f", &path(name)]);
    }
    let (ca, key) = (path("ca"), path("key.pub"));
    keygen(&[
        "-q", "-s", &ca, "-I", key_id, "-n", "ubuntu", "-z", "7", "-V", "-1h:+1h", &key,
    ]);
    let text = std::fs::read_to_string(path("key-cert.pub")).unwrap();
    text.trim().to_owned()
}
