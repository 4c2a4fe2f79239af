//! The settings of an SSH connection: algorithms, keepalives, limits.

use std::borrow::Cow;
use std::time::Duration;

use russh::client;
use russh::keys::Algorithm;
use russh::{Preferred, cipher};

use super::deadlines;

/// Maximum number of messages that wait for the reader of a channel. Above that its window is not replenished.
const CHANNEL_MESSAGES: usize = 32;

/// Puts AES-GCM first where the processor computes AES: it takes less time than ChaCha20-Poly1305 there, on both ends.
fn ciphers(defaults: &[cipher::Name], has_aes: bool) -> Vec<cipher::Name> {
    let mut ciphers = defaults.to_vec();
    if has_aes {
        // A stable sort: the others stay in their order.
        ciphers.sort_by_key(|name| *name != cipher::AES_256_GCM);
    }
    ciphers
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull")
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

/// Whether the host may show a certificate instead of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostCertificates {
    Preferred,
    Refused,
}

/// Returns the settings of a connection. `known` are the key types to request from the host first.
pub(super) fn config(
    known: &[Algorithm],
    certificates: HostCertificates,
    keepalive: Duration,
) -> client::Config {
    let defaults = Preferred::DEFAULT;
    // First the types that can be compared with known keys; certificates are verified by themselves.
    let mut key = known.to_vec();
    // SHA-1 signatures are not accepted.
    let sha1 = Algorithm::Rsa { hash: None };
    let others = defaults.key.iter().filter(|kind| **kind != sha1);
    for kind in others {
        if !key.contains(kind) {
            key.push(kind.clone());
        }
    }
    client::Config {
        client_id: russh::SshId::Standard(Cow::Borrowed(concat!(
            "SSH-2.0-vctl_",
            env!("CARGO_PKG_VERSION")
        ))),
        keepalive_interval: Some(keepalive),
        keepalive_max: deadlines::KEEPALIVES,
        preferred: Preferred {
            cipher: Cow::Owned(ciphers(&defaults.cipher, has_aes())),
            host_key_certificates: Cow::Owned(match certificates {
                HostCertificates::Preferred => key.clone(),
                HostCertificates::Refused => Vec::new(),
            }),
            key: Cow::Owned(key),
            ..defaults
        },
        channel_buffer_size: CHANNEL_MESSAGES,
        // Our keys are Ed25519, which has one kind of signature, and are in memory: a question would only take time.
        auth_in_one_flight: true,
        ..client::Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_comes_first_only_where_the_processor_computes_it() {
        let defaults = Preferred::DEFAULT.cipher;
        assert_eq!(ciphers(&defaults, false), *defaults);
        let with_aes = ciphers(&defaults, true);
        assert_eq!(with_aes[0], cipher::AES_256_GCM);
        let mut others = defaults.to_vec();
        others.retain(|name| *name != cipher::AES_256_GCM);
        assert_eq!(with_aes[1..], others);
    }
}
