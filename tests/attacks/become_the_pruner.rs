//! An automation with the right to enroll hosts wants the AppRole of a job, to become the pruner or to enroll for ever.

use serde_json::json;
use vctl_tests::centre::Centre;

#[test]
fn no_spelling_of_a_reserved_approle_is_open() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let eve = centre.with_policies(&["vctl-enroll"]).unwrap();
    let admin = centre.bao.admin().unwrap();
    let before = admin.get("auth/approle/role/vctl-pruner").unwrap()["data"].take();
    // Vault stores names of AppRoles in lower case, but compares paths in policies with their case.
    for name in ["VCTL-pruner", "Vctl-Pruner", "vCTL-user", "VCTL-ENROLL"] {
        let role = json!({"token_policies": ["vctl-host"]});
        for (path, body) in [
            (format!("auth/approle/role/{name}"), role),
            (format!("auth/approle/role/{name}/secret-id"), json!({})),
        ] {
            let reply = eve.call("POST", &path, Some(&body)).unwrap();
            assert_eq!(reply.status, 403, "{path}: {}", reply.body);
        }
        let path = format!("auth/approle/role/{name}/role-id");
        assert_eq!(eve.call("GET", &path, None).unwrap().status, 403, "{path}");
        let path = format!("auth/approle/role/{name}");
        assert_eq!(
            eve.call("DELETE", &path, None).unwrap().status,
            403,
            "{path}"
        );
    }
    let after = admin.get("auth/approle/role/vctl-pruner").unwrap()["data"].take();
    assert_eq!(before, after);
}
