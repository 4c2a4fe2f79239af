//! An enrolment on a host that has an identity already.

use super::host::SetupHost;
use super::{ENROLMENT, SETUP, host};

/// Answers the question whether a wrapping token is unused; the words of `/run/used` are used ones. Nothing is unwrapped.
const VAULT: &str = r#"
import http.server
class Vault(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        is_used = any('"%s"' % word in body for word in open("/run/used").read().split())
        status = 503 if self.path != "/v1/sys/wrapping/lookup" else 400 if is_used else 200
        text = b'{"data": {}}' if status == 200 else b'{"errors": ["wrapping token is not valid or does not exist"]}'
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    do_GET = do_POST = do_PUT
http.server.HTTPServer(("127.0.0.1", 8200), Vault).serve_forever()
"#;

/// Starts that server, and writes an enrolment that names it to `web-1.json`.
pub(super) fn start_vault(host: &SetupHost) {
    let enrolment = ENROLMENT.replace("https://vault.example.net", "http://127.0.0.1:8200");
    host.ok(&format!(
        "cat > $WORK/web-1.json <<'TEXT'\n{enrolment}\nTEXT
         cat > $WORK/vault.py <<'TEXT'\n{VAULT}\nTEXT
         : > /run/used; setsid python3 $WORK/vault.py > /dev/null 2>&1 & echo $! > /run/vault.pid
         for _ in $(seq 100); do curl -s -o /dev/null 127.0.0.1:8200 && exit; sleep 0.1; done; exit 1"
    ));
}

#[test]
fn a_dead_enrolment_does_not_replace_an_opened_identity() {
    let Some(host) = host() else { return };
    start_vault(&host);
    let has = |secret: &str| {
        host.ok(&format!(
            "systemctl stop vctl-collect.service; echo {secret} > /etc/vctl/secret_id; chmod 600 /etc/vctl/secret_id"
        ));
    };
    host.ok("echo first-role > /etc/vctl/role_id; chmod 600 /etc/vctl/role_id");
    has("first-secret");
    let (before, first) = (host.files(""), format!("{SETUP} --enroll $WORK/web-1.json"));
    let is_refused = |reason: &str| {
        let refused = host.run(&first);
        assert_eq!(refused.code, Some(1), "{}", refused.text);
        assert!(refused.text.contains(reason), "{}", refused.text);
        let hint = "hint: the host keeps its identity";
        assert!(refused.text.contains(hint), "{}", refused.text);
        assert_eq!(host.files(""), before);
    };
    host.ok("echo hvs.CAESIJ > /run/used");
    is_refused("already used or has expired");
    host.ok("kill $(cat /run/vault.pid)");
    is_refused("cannot ask Vault whether the enrolment is unused");
    start_vault(&host);
    let done = host.run(&first);
    let step = "done: replace /etc/vctl/secret_id for good; `--undo` restores only a file from before the first setup";
    assert!(done.text.contains(step), "{}", done.text);
    // As the agent opens it.
    has("opened-first");
    host.ok("sed s/hvs.CAESIJ/hvs.CAESIK/ $WORK/web-1.json > $WORK/web-2.json");
    let done = host.run(&format!("{SETUP} --enroll $WORK/web-2.json"));
    assert!(done.text.contains(step), "{}", done.text);
    has("opened-second");
    let again = host.run(&first);
    let kept = "kept: /etc/vctl/secret_id, because a newer enrolment than this one was applied";
    assert!(again.text.contains(kept), "{}", again.text);
    let secret = host.ok("cat /etc/vctl/secret_id");
    assert_eq!(secret, "opened-second\n");
    host.ok("vctl-agent setup --undo --yes");
    let secret = host.ok("cat /etc/vctl/secret_id");
    assert_eq!(secret, "first-secret\n");
}
