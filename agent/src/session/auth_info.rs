//! Authentication of a login as sshd reports it: `SSH_AUTH_INFO_0` to [`Auth`]. Pure.
//!
//! One line per successful method, in order: `method[/submethod]`, then the key if there is one (`type
//! base64`), then free text of the method. sshd writes it just before it opens the PAM session, independent of
//! `ExposeAuthInfo`. Source: `auth2_update_session_info` in openssh-portable.

use base64ct::{Base64, Encoding};
use ssh_key::certificate::{CertType, Certificate as SshCertificate};
use ssh_key::{HashAlg, PublicKey};
use vctl_common::id::CertSerial;
use vctl_common::session::{Auth, BLOB_STORED, Certificate};

use super::cert_blob;

/// Most bytes that are read. The hook receives them as one string of its environment, for which execve(2)
/// accepts 128 KiB; with more the hook does not start, and its `required` PAM line refuses the login.
pub const MAX_BYTES: usize = 256 * 1024;

/// Most bytes of a method name (the longest in OpenSSH has 20).
const METHOD_MAX: usize = 64;

/// Reads the authentication of a login.
///
/// Never fails, because the login has already happened: unreadable parts are left out, and `problem` gives the
/// reason. With several keys, the first readable user certificate is the identity.
pub fn parse(ssh_auth_info: &str) -> Auth {
    let mut auth = Auth::default();
    let mut problems = Vec::new();
    let mut methods: Vec<&str> = Vec::new();
    let mut certificates = 0_u32;

    let text = if ssh_auth_info.len() > MAX_BYTES {
        problems.push(format!(
            "authentication info of {} bytes was cut",
            ssh_auth_info.len()
        ));
        ssh_auth_info
            .get(..ssh_auth_info.floor_char_boundary(MAX_BYTES))
            .unwrap_or_default()
    } else {
        ssh_auth_info
    };

    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(method) = words.next() else { continue };
        if method.len() > METHOD_MAX {
            problems.push("method name is too long".to_owned());
            continue;
        }
        methods.push(method);
        let (Some(algorithm), Some(base64)) = (words.next(), words.next()) else {
            // `publickey` alone or with one word has lost its key.
            if method == "publickey" {
                problems.push("publickey without a key".to_owned());
            }
            continue;
        };
        if !takes_key(method) {
            continue;
        }
        match read_key(algorithm, base64) {
            Ok(Key::Plain { fingerprint }) => {
                auth.key_fingerprint.get_or_insert(fingerprint);
            }
            Ok(Key::Certified {
                fingerprint,
                certificate,
            }) => {
                certificates += 1;
                if auth.certificate.is_none() {
                    auth.certificate = Some(certificate);
                    auth.key_fingerprint = Some(fingerprint);
                }
            }
            Err(problem) => {
                // For a host-based login the host signs with a host certificate.
                auth.unreadable_certificate |= method == "publickey" && is_certificate(algorithm);
                problems.push(problem);
            }
        }
    }

    // Another certificate identifies the login.
    auth.unreadable_certificate &= auth.certificate.is_none();
    if certificates > 1 {
        problems.push(format!(
            "{certificates} certificates, the first is recorded"
        ));
    }
    auth.method = (!methods.is_empty()).then(|| methods.join(","));
    auth.problem = (!problems.is_empty()).then(|| problems.join("; "));
    auth.shorten();
    auth
}

/// Returns whether the method writes a key; other methods write free text there.
fn takes_key(method: &str) -> bool {
    matches!(method, "publickey" | "hostbased")
}

fn is_certificate(algorithm: &str) -> bool {
    algorithm.contains("-cert-v0")
}

enum Key {
    Plain {
        fingerprint: String,
    },
    Certified {
        fingerprint: String,
        certificate: Certificate,
    },
}

fn read_key(algorithm: &str, base64: &str) -> Result<Key, String> {
    let blob = Base64::decode_vec(base64)
        .map_err(|_| format!("key `{}` is not base64", shown(algorithm)))?;
    // The client chose both names of the type, on the line and in the blob. A parser uses the second, and sshd
    // does not write a line whose names differ.
    if cert_blob::algorithm(&blob) != Some(algorithm.as_bytes()) {
        return Err(format!(
            "key `{}` holds another type of key",
            shown(algorithm)
        ));
    }
    if is_certificate(algorithm) {
        // For an unknown type the crate guesses the number of strings in the key.
        let lenient = cert_blob::lenient(&blob).ok_or_else(|| {
            format!(
                "certificate `{}` is cut or of an unknown type",
                shown(algorithm)
            )
        })?;
        let parsed = SshCertificate::from_bytes(&lenient)
            .map_err(|error| format!("certificate `{}`: {error}", shown(algorithm)))?;
        certified(&parsed, &blob)
    } else {
        let parsed = PublicKey::from_bytes(&blob)
            .map_err(|error| format!("key `{}`: {error}", shown(algorithm)))?;
        Ok(Key::Plain {
            fingerprint: parsed.fingerprint(HashAlg::Sha256).to_string(),
        })
    }
}

fn certified(parsed: &SshCertificate, blob: &[u8]) -> Result<Key, String> {
    if parsed.cert_type() != CertType::User {
        return Err(format!(
            "host certificate `{}` (serial {}) where a user certificate belongs",
            shown(parsed.key_id()),
            parsed.serial()
        ));
    }
    let (valid_after, valid_before) =
        cert_blob::validity(blob).unwrap_or_else(|| (parsed.valid_after(), parsed.valid_before()));
    Ok(Key::Certified {
        fingerprint: parsed.public_key().fingerprint(HashAlg::Sha256).to_string(),
        certificate: Certificate {
            serial: CertSerial::new(parsed.serial()),
            key_id: parsed.key_id().to_owned(),
            ca_fingerprint: parsed
                .signature_key()
                .fingerprint(HashAlg::Sha256)
                .to_string(),
            principals: parsed.valid_principals().to_vec(),
            valid_after,
            valid_before,
            blob: (blob.len() <= BLOB_STORED).then(|| Base64::encode_string(blob)),
            blob_too_large: blob.len() > BLOB_STORED,
        },
    })
}

/// A piece of foreign text, cut to fit in a sentence.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::fs;
    use vctl_common::session::{KEY_ID_MAX, PRINCIPALS_MAX};

    const TESTDATA: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/session/testdata/auth_info"
    );

    /// Output of `ssh-keygen -L` for each certificate, by name.
    fn certificates() -> Vec<HashMap<String, String>> {
        let text = fs::read_to_string(format!("{TESTDATA}/certificates.txt")).unwrap();
        text.split("\n\n")
            .filter(|block| !block.trim().is_empty())
            .map(|block| {
                block
                    .lines()
                    .map(|line| line.split_once(' ').unwrap_or((line, "")))
                    .map(|(field, value)| (field.to_owned(), value.trim().to_owned()))
                    .collect()
            })
            .collect()
    }

    fn info(name: &str) -> String {
        let all = certificates();
        let one = all.iter().find(|one| one["name"] == name);
        one.unwrap_or_else(|| panic!("no certificate {name}"))["info"].clone()
    }

    fn files(directory: &str) -> Vec<(String, String)> {
        let entries = fs::read_dir(format!("{TESTDATA}/{directory}")).unwrap();
        let read = |entry: fs::DirEntry| {
            let text = String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned();
            (entry.file_name().into_string().unwrap(), text)
        };
        entries.map(|entry| read(entry.unwrap())).collect()
    }

    #[test]
    fn every_certificate_type_reads_as_ssh_keygen_reads_it() {
        let all = certificates();
        assert_eq!(all.len(), 19);
        for expected in all {
            let name = &expected["name"];
            let auth = parse(&expected["info"]);
            assert_eq!(auth.problem, None, "{name}");
            assert_eq!(auth.method.as_deref(), Some("publickey"), "{name}");
            assert_eq!(
                auth.key_fingerprint.as_deref(),
                Some(expected["key"].as_str()),
                "{name}"
            );
            let certificate = auth.certificate.unwrap();
            let serial = certificate
                .serial
                .map_or("0".to_owned(), |serial| serial.to_string());
            assert_eq!(serial, expected["serial"], "{name}");
            assert_eq!(certificate.key_id, expected["key_id"], "{name}");
            assert_eq!(certificate.ca_fingerprint, expected["ca"], "{name}");
            assert_eq!(
                certificate.principals.join(","),
                expected["principals"],
                "{name}"
            );
            let seconds = |text: &str| match text {
                "always" => 0,
                "forever" => u64::MAX,
                number => number.parse().unwrap(),
            };
            assert_eq!(
                certificate.valid_after,
                seconds(&expected["after"]),
                "{name}"
            );
            assert_eq!(
                certificate.valid_before,
                seconds(&expected["before"]),
                "{name}"
            );
        }
    }

    #[test]
    fn a_serial_of_zero_is_no_serial() {
        assert_eq!(parse(&info("no-serial")).certificate.unwrap().serial, None);
    }

    #[test]
    fn equal_serials_of_two_cas_are_two_certificates() {
        let one = parse(&info("ed25519")).certificate.unwrap();
        let other = parse(&info("same-serial-other-ca")).certificate.unwrap();
        assert_eq!(one.serial, other.serial);
        assert_ne!(one.ca_fingerprint, other.ca_fingerprint);
    }

    #[test]
    fn what_sshd_accepts_is_readable_where_the_crate_is_stricter() {
        let all = files("lenient");
        assert_eq!(all.len(), 5);
        for (name, text) in all {
            let auth = parse(&text);
            assert_eq!(auth.problem, None, "{name}");
            assert_eq!(
                auth.certificate.unwrap().serial.unwrap().get(),
                12,
                "{name}"
            );
        }
    }

    #[test]
    fn a_nasty_input_is_a_problem_and_never_a_certificate() {
        let all = files("corpus");
        assert!(all.len() >= 26, "{}", all.len());
        for (name, text) in all {
            let auth = parse(&text);
            assert_eq!(auth.certificate, None, "{name}");
            let problem = auth
                .problem
                .unwrap_or_else(|| panic!("{name} has no problem"));
            assert!(
                !problem.chars().any(char::is_control),
                "{name}: {problem:?}"
            );
            assert!(problem.len() < 300, "{name}: {problem}");
        }
    }

    /// The certificate `name` with another key id and principals.
    fn with_names(name: &str, key_id: &[u8], principals: &[u8]) -> String {
        let line = info(name);
        let (head, base64) = line.trim().rsplit_once(' ').unwrap();
        let blob = Base64::decode_vec(base64).unwrap();
        let parsed = SshCertificate::from_bytes(&cert_blob::lenient(&blob).unwrap()).unwrap();
        let string = |bytes: &[u8]| {
            let len = u32::try_from(bytes.len()).unwrap().to_be_bytes();
            [&len, bytes].concat()
        };
        let old = string(parsed.key_id().as_bytes());
        let at = blob
            .windows(old.len())
            .position(|part| part == old)
            .unwrap();
        let rest = &blob[at + old.len()..];
        let list = usize::try_from(u32::from_be_bytes(rest[..4].try_into().unwrap())).unwrap();
        let blob = [
            &blob[..at],
            &string(key_id),
            &string(principals),
            &rest[4 + list..],
        ]
        .concat();
        format!("{head} {}", Base64::encode_string(&blob))
    }

    #[test]
    fn a_certificate_is_read_up_to_what_execve_takes() {
        let one = [&u32::to_be_bytes(300)[..], &[b'p'; 300]].concat();
        for (key_id, principals) in [(95_000, 0), (0, 310), (45_000, 150), (KEY_ID_MAX, 13)] {
            let line = with_names("ed25519", &vec![b'k'; key_id], &one.repeat(principals));
            assert!(line.len() < MAX_BYTES, "{}", line.len());
            let auth = parse(&line);
            let certificate = auth.certificate.unwrap();
            assert_eq!(certificate.serial.unwrap().get(), 12);
            assert_eq!(certificate.key_id.len(), key_id.min(KEY_ID_MAX));
            assert_eq!(
                certificate.principals.len(),
                principals.min(PRINCIPALS_MAX / 303)
            );
            let is_cut = key_id > KEY_ID_MAX || principals > PRINCIPALS_MAX / 303;
            assert_eq!(auth.problem.is_some(), is_cut, "{:?}", auth.problem);
            assert!(!auth.unreadable_certificate);
        }
    }

    #[test]
    fn a_certificate_that_cannot_be_read_is_not_no_certificate() {
        let whole = info("ed25519");
        let cut = parse(&whole[..whole.len() / 2]);
        assert!(cut.unreadable_certificate && cut.certificate.is_none());
        // A plain key is not a certificate, and another certificate identifies the login.
        let key = "publickey ssh-ed25519 AAAA";
        assert!(!parse(key).unreadable_certificate);
        let both = parse(&format!("{}\n{whole}", &whole[..whole.len() / 2]));
        assert!(!both.unreadable_certificate && both.certificate.is_some());
    }

    #[test]
    fn a_certificate_cut_anywhere_is_a_problem() {
        let whole = info("rsa");
        let blob_at = whole.rfind(' ').unwrap() + 1;
        for end in blob_at..whole.len() {
            let auth = parse(&whole[..end]);
            assert_eq!(auth.certificate, None, "cut at {end}");
            assert!(auth.problem.is_some(), "cut at {end}");
        }
    }

    #[test]
    fn a_login_without_a_key_keeps_its_method_and_has_no_problem() {
        for (line, method) in [
            ("password", "password"),
            ("keyboard-interactive/pam", "keyboard-interactive/pam"),
            ("gssapi-with-mic alice@EXAMPLE.COM", "gssapi-with-mic"),
            ("none", "none"),
            ("password \n\n", "password"),
        ] {
            let expected = Auth {
                method: Some(method.to_owned()),
                ..Auth::default()
            };
            assert_eq!(parse(line), expected, "{line:?}");
        }
        assert_eq!(parse(""), Auth::default());
    }

    #[test]
    fn a_plain_key_has_a_fingerprint_and_no_certificate() {
        // The fingerprint as `ssh-keygen -l` prints it.
        let auth = parse(
            "publickey ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti",
        );
        assert_eq!(
            auth.key_fingerprint.as_deref(),
            Some("SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344OgUM45wZPcIQ")
        );
        assert_eq!((auth.certificate, auth.problem), (None, None));
    }

    #[test]
    fn methods_are_joined_and_any_may_hold_the_certificate() {
        let auth = parse(&format!(
            "password\n{}\nkeyboard-interactive/pam\n",
            info("ed25519")
        ));
        assert_eq!(
            auth.method.as_deref(),
            Some("password,publickey,keyboard-interactive/pam")
        );
        assert_eq!(auth.certificate.unwrap().serial.unwrap().get(), 12);
    }

    #[test]
    fn of_two_certificates_the_first_counts_and_the_second_is_said() {
        let auth = parse(&format!("{}\n{}", info("ed25519"), info("rsa")));
        assert_eq!(auth.certificate.unwrap().serial.unwrap().get(), 12);
        assert!(auth.problem.unwrap().contains("2 certificates"));
    }

    #[test]
    fn a_key_in_the_text_of_another_method_is_not_an_identity() {
        // The text behind `gssapi-with-mic` is a name that the client's realm chose.
        let auth = parse(&info("ed25519").replacen("publickey", "gssapi-with-mic", 1));
        assert_eq!((auth.certificate, auth.key_fingerprint), (None, None));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_text_makes_the_parser_panic(text in "(publickey|password|\\PC{0,9}) ?(ssh-ed25519-cert-v01@openssh.com)? ?[A-Za-z0-9+/=]{0,200}\\PC*") {
            parse(&text);
        }

        #[test]
        fn no_blob_makes_the_parser_panic(mut blob in proptest::collection::vec(any::<u8>(), 0..600)) {
            let name = b"ssh-ed25519-cert-v01@openssh.com";
            blob.splice(0..0, [&32_u32.to_be_bytes()[..], &name[..]].concat());
            parse(&format!("publickey ssh-ed25519-cert-v01@openssh.com {}", Base64::encode_string(&blob)));
        }

        #[test]
        fn a_flipped_bit_never_makes_the_parser_panic(
            which in 0_usize..19, position in any::<prop::sample::Index>(), bit in 0_u8..8,
        ) {
            let all = certificates();
            let line = &all[which]["info"];
            let (head, base64) = line.rsplit_once(' ').unwrap();
            let mut blob = Base64::decode_vec(base64).unwrap();
            let at = position.index(blob.len());
            blob[at] ^= 1 << bit;
            parse(&format!("{head} {}", Base64::encode_string(&blob)));
        }
    }
}
