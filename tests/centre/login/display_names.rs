//! The server decides which user a login belongs to. The user's display name has no influence.

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;
use vctl_tests::centre::{Centre, Client, Credential, DATABASE, Secret};

const MOUNT: &str = "odd";

/// An identity provider of the spec. It gives users any name.
struct Provider {
    centre: &'static Centre,
    key: Ed25519KeyPair,
}

impl Provider {
    fn of_this_spec() -> Option<&'static Self> {
        static PROVIDER: std::sync::OnceLock<Option<Provider>> = std::sync::OnceLock::new();
        let provider = PROVIDER.get_or_init(|| Centre::shared().map(Self::new));
        provider.as_ref()
    }

    fn new(centre: &'static Centre) -> Self {
        let seed = ring::digest::digest(&ring::digest::SHA256, centre.id().as_bytes());
        let key = Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).unwrap();
        // These bytes stand before the 32 bytes of an Ed25519 key (RFC 8410).
        let mut public = vec![
            0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
        ];
        public.extend(key.public_key().as_ref());
        let public = Base64::encode_string(&public);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----\n");
        let admin = centre.bao.admin().unwrap();
        let mount = json!({"type": "jwt"});
        admin.post(&format!("sys/auth/{MOUNT}"), &mount).unwrap();
        let config = json!({"jwt_validation_pubkeys": [pem]});
        admin
            .post(&format!("auth/{MOUNT}/config"), &config)
            .unwrap();
        let role = json!({
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": ["vctl"],
            "token_policies": ["vctl-user", "vctl-ssh"],
        });
        admin
            .post(&format!("auth/{MOUNT}/role/all"), &role)
            .unwrap();
        Self { centre, key }
    }

    /// Logs in a user with this name.
    fn person(&self, name: &str) -> Client {
        let part = |value: serde_json::Value| {
            Base64UrlUnpadded::encode_string(value.to_string().as_bytes())
        };
        let claims = json!({"sub": name, "aud": "vctl", "nbf": 1, "exp": 4_000_000_000_u64});
        let signed = format!(
            "{}.{}",
            part(json!({"alg": "EdDSA", "typ": "JWT"})),
            part(claims)
        );
        let signature = self.key.sign(signed.as_bytes());
        let signature = Base64UrlUnpadded::encode_string(signature.as_ref());
        let login = json!({"role": "all", "jwt": format!("{signed}.{signature}")});
        let anonymous = self.centre.bao.anonymous().unwrap();
        let made = anonymous.post(&format!("auth/{MOUNT}/login"), &login);
        let made = made.unwrap();
        let token = made["auth"]["client_token"].as_str().unwrap();
        anonymous.with_token(Secret::new(token))
    }

    fn call(&self, credential: &Credential, call: &str) -> anyhow::Result<String> {
        self.centre.postgres.psql_as(credential.login(), call)
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Returns the display name that Vault gives this user. Vault removes a hyphen at the end.
fn display_name(name: &str) -> String {
    let whole = format!("{MOUNT}-{name}");
    whole.strip_suffix('-').unwrap_or(&whole).to_owned()
}

fn odd_names() -> Vec<String> {
    let long = "x".repeat(96);
    let hash_of_another = sha256("odd-albert")[..16].to_owned();
    let mut names: Vec<_> = [
        "albert",
        "al.bert@example.com",
        "o'brien",
        "double\"quote",
        "'; drop role vctl_vault; --",
        "\"; drop role vctl_vault; --",
        "{{name}}",
        "dollar $$ back\\slash",
        "~",
        "/",
        "a/b~0123456789abcdef/c",
        "spaces in a name",
        "a\nnewline\tand a tab",
        "Žluťoučký kůň úpěl ďábelské ódy",
        "日本語の名前はここに長く書かれています",
        "%s%d%n",
        "-",
    ]
    .map(str::to_owned)
    .into();
    names.push(format!("{long}1"));
    names.push(format!("{long}2"));
    names.push(format!("x~{hash_of_another}/abcdefgh"));
    names
}

fn sha256(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let hex = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    hex.collect()
}

#[test]
fn every_user_name_gets_a_login_that_proves_it() {
    let Some(provider) = Provider::of_this_spec() else {
        return;
    };
    for name in odd_names() {
        let whole = display_name(&name);
        let person = provider.person(&name);
        let itself = person.get("auth/token/lookup-self").unwrap();
        assert_eq!(itself["data"]["display_name"], whole);
        let credential = person.credential("vctl-identity").unwrap();
        let login = &credential.username;
        assert!(login.len() <= 63, "{login}");
        assert!(login.starts_with("id/"), "{login}");
        let harmless = |b: u8| b.is_ascii_alphanumeric() || b"/~%+-._".contains(&b);
        assert!(login.bytes().all(harmless), "{login}");
        assert_eq!(login.matches('/').count(), 2, "{login}");
        assert!(
            login.contains(&format!("~{}/", &sha256(&whole)[..16])),
            "{login}"
        );
        let call = format!("select vctl.seen_v1({}, 'odd')", quoted(&whole));
        provider.call(&credential, &call).unwrap();
        let sql = format!(
            "select vault_user = {0} from vctl.seen_users where vault_user = {0}",
            quoted(&whole)
        );
        let seen = provider.centre.postgres.psql(DATABASE, &sql).unwrap();
        assert_eq!(seen, "t", "{whole}");
        person.revoke(&credential).unwrap();
    }
}

#[test]
fn names_that_begin_alike_are_two_people() {
    let Some(provider) = Provider::of_this_spec() else {
        return;
    };
    let names = [
        "same-first-24-bytes-of-this-one",
        "same-first-24-bytes-of-this-two",
    ];
    let [one, two] = names.map(|name| provider.person(name));
    let one = one.credential("vctl-identity").unwrap();
    let two = two.credential("vctl-identity").unwrap();
    let shown = |login: &str| login.split('~').next().unwrap().to_owned();
    assert_eq!(shown(&one.username), shown(&two.username));
    let call = format!(
        "select vctl.seen_v1({}, 'x')",
        quoted(&display_name(names[1]))
    );
    let said = provider.call(&one, &call).unwrap_err().to_string();
    assert!(said.contains("is not the one of"), "{said}");
    provider.call(&two, &call).unwrap();
}

#[test]
fn a_login_records_access_only_under_its_own_name() {
    let Some(provider) = Provider::of_this_spec() else {
        return;
    };
    let hash = &sha256("odd-albert")[..16];
    let impostors = [
        "bob".to_owned(),
        "albert2".to_owned(),
        "Albert".to_owned(),
        // This name looks like the end of the other user's login.
        format!("x~{hash}/abcdefgh"),
        format!("~{hash}/"),
    ];
    for name in impostors {
        let person = provider.person(&name);
        let identity = person.credential("vctl-identity").unwrap();
        let writer = person.credential("vctl-audit-writer").unwrap();
        for other in ["odd-albert", "albert", "oidc-albert", "", "odd-"] {
            let other = quoted(other);
            for (credential, call) in [
                (&identity, format!("select vctl.seen_v1({other}, 'x')")),
                (
                    &writer,
                    format!(
                        "select vctl.open_access_v1({other}, '{{\"hostname\": \"h\", \"login_user\": \"root\"}}')"
                    ),
                ),
            ] {
                let said = provider.call(credential, &call).unwrap_err().to_string();
                assert!(said.contains("is not the one of"), "{name}: {call}: {said}");
            }
        }
        let null = "select vctl.open_access_v1(null, '{}')";
        assert!(provider.call(&writer, null).is_err());
    }
}

#[test]
fn an_access_is_closed_once_and_by_its_opener() {
    let Some(provider) = Provider::of_this_spec() else {
        return;
    };
    let [albert, bob] = ["closing-albert", "closing-bob"].map(|name| {
        provider
            .person(name)
            .credential("vctl-audit-writer")
            .unwrap()
    });
    let access = "'{\"hostname\": \"h\", \"login_user\": \"root\", \"cert_serial\": \"18446744073709551615\"}'";
    let open = format!("select vctl.open_access_v1('odd-closing-albert', {access})");
    let id = provider.call(&albert, &open).unwrap();
    let close = |name: &str, result: &str| {
        format!(
            "select vctl.close_access_v1('odd-closing-{name}', {id}, '{{\"result\": \"{result}\"}}')"
        )
    };
    assert!(provider.call(&bob, &close("albert", "failed")).is_err());
    assert_eq!(provider.call(&bob, &close("bob", "failed")).unwrap(), "f");
    assert_eq!(provider.call(&albert, &close("albert", "ok")).unwrap(), "t");
    assert_eq!(
        provider.call(&albert, &close("albert", "failed")).unwrap(),
        "f"
    );
    let sql = format!("select vault_user, login, result from vctl.access_log where id = {id}");
    let row = provider.centre.postgres.psql(DATABASE, &sql).unwrap();
    assert_eq!(row, format!("odd-closing-albert|{}|ok", albert.username));
}

#[test]
fn an_access_sent_twice_has_one_row() {
    let Some(provider) = Provider::of_this_spec() else {
        return;
    };
    let [albert, bob] = ["twice-albert", "twice-bob"].map(|name| {
        provider
            .person(name)
            .credential("vctl-audit-writer")
            .unwrap()
    });
    let attempt = "0193f3a1-7c4e-7d61-9f0a-2b5c6d7e8f90";
    let open = |name: &str, host: &str, serial: u64| {
        let access = json!({
            "attempt_id": attempt, "hostname": host, "login_user": "root", "cert_serial": serial.to_string(),
            "opened_at": "2026-11-24T09:00:00Z",
            "hops": [{"hostname": "jump", "cert_serial": "7"}],
        });
        format!("select vctl.open_access_v1('odd-twice-{name}', '{access}')")
    };
    let first = provider.call(&albert, &open("albert", "h", 8)).unwrap();
    let again = provider.call(&albert, &open("albert", "h", 8)).unwrap();
    assert_eq!(first, again);
    let other = provider.call(&bob, &open("bob", "h", 8)).unwrap();
    assert_ne!(first, other);
    // If the id already belongs to another access, the database must report the conflict.
    for (host, serial) in [("another", 8), ("h", 9)] {
        let said = provider.call(&albert, &open("albert", host, serial));
        let said = said.unwrap_err().to_string();
        assert!(said.contains("is another access"), "{said}");
    }
    let rows = "select vault_user, (select count(*) from vctl.access_hop where access_id = id) \
                from vctl.access_log where vault_user like 'odd-twice-%' order by 1";
    let rows = provider.centre.postgres.psql(DATABASE, rows).unwrap();
    assert_eq!(rows, "odd-twice-albert|1\nodd-twice-bob|1");
}

#[test]
fn a_certificate_names_the_person_and_never_what_was_asked_for() {
    let Some(provider) = Provider::of_this_spec() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status();
    assert!(made.unwrap().success());
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    let person = provider.person("albert");
    let mut request = json!({"public_key": public, "valid_principals": "root"});
    let signed = person.post("ssh/sign/sre-core", &request).unwrap();
    let certificate = signed["data"]["signed_key"].as_str().unwrap();
    let file = directory.path().join("key-cert.pub");
    std::fs::write(&file, certificate).unwrap();
    let shown = std::process::Command::new("ssh-keygen")
        .arg("-Lf")
        .arg(&file)
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("Key ID: \"odd-albert\""), "{shown}");
    request["key_id"] = json!("odd-bob");
    assert!(person.post("ssh/sign/sre-core", &request).is_err());
    let refused = json!({"public_key": public, "valid_principals": "daemon"});
    assert!(person.post("ssh/sign/sre-core", &refused).is_err());
    let refused = json!({"public_key": public, "valid_principals": "root", "cert_type": "host"});
    assert!(person.post("ssh/sign/sre-core", &refused).is_err());
    let extension = json!({"public_key": public, "valid_principals": "root",
        "extensions": {"permit-X11-forwarding": ""}});
    assert!(person.post("ssh/sign/sre-core", &extension).is_err());
}
