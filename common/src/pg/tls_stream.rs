//! A TLS stream to a verified server, and the hash of its certificate for channel binding.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use sha2::{Digest as _, Sha256, Sha384, Sha512};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::tls::{ChannelBinding, TlsStream};
use tokio_rustls::client;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::oid::db::rfc5912;

use crate::tls;

#[derive(Debug)]
pub(super) struct Tls(client::TlsStream<TcpStream>);

impl Tls {
    pub(super) fn new(stream: client::TlsStream<TcpStream>) -> Self {
        Self(stream)
    }

    /// Returns whether the server has chosen the protocol of Postgres. One that does not know the choice may be any server
    /// with this certificate.
    pub(super) fn is_postgres(&self) -> bool {
        let (_, session) = self.0.get_ref();
        session.alpn_protocol() == Some(tls::POSTGRES_ALPN)
    }

    /// Returns the hash for `tls-server-end-point`; `None` for a certificate whose signature has no hash of its own.
    pub(super) fn end_point(&self) -> Option<Vec<u8>> {
        let (_, session) = self.0.get_ref();
        let der = session.peer_certificates()?.first()?;
        let certificate = Certificate::from_der(der).ok()?;
        hash(certificate.signature_algorithm.oid, der)
    }
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

impl TlsStream for Tls {
    fn channel_binding(&self) -> ChannelBinding {
        self.end_point()
            .map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl AsyncRead for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Tls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
