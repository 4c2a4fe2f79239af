//! A TLS stream to a verified server, and the hash of its certificate for channel binding.

use sha2::{Digest as _, Sha256, Sha384, Sha512};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::oid::db::rfc5912;

use crate::tls;

pub(super) type Tls = TlsStream<TcpStream>;

/// Returns whether the server has chosen the protocol of Postgres. One that does not know the choice may be any server
/// with this certificate.
pub(super) fn is_postgres(stream: &Tls) -> bool {
    let (_, session) = stream.get_ref();
    session.alpn_protocol() == Some(tls::POSTGRES_ALPN)
}

/// Returns the hash for `tls-server-end-point`; `None` for a certificate whose signature has no hash of its own.
pub(super) fn end_point(stream: &Tls) -> Option<Vec<u8>> {
    let (_, session) = stream.get_ref();
    let der = session.peer_certificates()?.first()?;
    let certificate = Certificate::from_der(der).ok()?;
    hash(certificate.signature_algorithm.oid, der)
}

/// Hashes a certificate with the hash function of its signature, or SHA-256 in place of a weaker one: RFC 5929, section
/// 4.1.
fn hash(signature: ObjectIdentifier, der: &[u8]) -> Option<Vec<u8>> {
    match signature {
        rfc5912::MD_5_WITH_RSA_ENCRYPTION
        | rfc5912::SHA_1_WITH_RSA_ENCRYPTION
        | rfc5912::SHA_256_WITH_RSA_ENCRYPTION
        | rfc5912::ECDSA_WITH_SHA_256 => Some(Sha256::digest(der).to_vec()),
        rfc5912::SHA_384_WITH_RSA_ENCRYPTION | rfc5912::ECDSA_WITH_SHA_384 => {
            Some(Sha384::digest(der).to_vec())
        }
        rfc5912::SHA_512_WITH_RSA_ENCRYPTION | rfc5912::ECDSA_WITH_SHA_512 => {
            Some(Sha512::digest(der).to_vec())
        }
        _ => None,
    }
}
