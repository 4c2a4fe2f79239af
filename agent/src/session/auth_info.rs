//! What sshd says about how somebody logged in: `SSH_AUTH_INFO_0` to [`Auth`], pure.
//!
//! One line per method that succeeded, in order: `method[/submethod]`, then the key if there was
//! one (`type base64`), then free text of the method. sshd writes it just before it opens the PAM
//! session, whatever `ExposeAuthInfo` says. Source: `auth2_update_session_info` in openssh-portable.

use base64ct::{Base64, Encoding};
use ssh_key::certificate::{CertType, Certificate as SshCertificate};
use ssh_key::{HashAlg, PublicKey};
use vctl_common::id::CertSerial;
use vctl_common::session::{Auth, Certificate};

use super::cert_blob;

/// More than sshd ever sends: its packets, and so its keys, end at 256 KiB, its certificates in
/// practice at 8 KiB.
pub const MAX_BYTES: usize = 64 * 1024;

/// A method name longer than this is not one (the longest in OpenSSH has 20 bytes).
const METHOD_MAX: usize = 64;

/// Reads how somebody logged in.
///
/// Never fails: what cannot be read is left out and `problem` says why, because the login it
/// belongs to has already happened. With several keys, the first readable user certificate is the
/// identity.
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
            // `publickey` alone, or one word behind it, is a key that got lost on the way.
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
            Err(problem) => problems.push(problem),
        }
    }

    if certificates > 1 {
        problems.push(format!(
            "{certificates} certificates, the first is recorded"
        ));
    }
    auth.method = (!methods.is_empty()).then(|| methods.join(","));
    auth.problem = (!problems.is_empty()).then(|| problems.join("; "));
    auth
}

/// Other methods put free text where a key would be.
fn takes_key(method: &str) -> bool {
    matches!(method, "publickey" | "hostbased")
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
    // The name on the line and the one in the blob are both the client's; a parser goes by the
    // second, and a line whose two names differ is not one that sshd wrote.
    if cert_blob::algorithm(&blob) != Some(algorithm.as_bytes()) {
        return Err(format!(
            "key `{}` holds another type of key",
            shown(algorithm)
        ));
    }
    if algorithm.contains("-cert-v0") {
        let parsed =
            SshCertificate::from_bytes(cert_blob::lenient(&blob).as_deref().unwrap_or(&blob))
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
        },
    })
}

/// A piece of foreign text that fits in a sentence.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}
