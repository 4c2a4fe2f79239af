//! TLS settings of every connection to the centre: the chain and the name are always verified.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, ClientConfig, NamedGroup, RootCertStore};
use rustls_platform_verifier::Verifier;

use crate::foreign_file::{self, Pipes};

/// The authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    #[error("cannot read the CA certificates of `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("`{}` contains no CA certificate", path.display())]
    Empty { path: PathBuf },
    #[error("cannot use the CA certificates of this system")]
    System(#[source] rustls::Error),
}

/// The root CA that this program was built with, in PEM form.
pub const BUILT_IN_CA: Option<&str> = include!(concat!(env!("OUT_DIR"), "/built_in_ca.rs"));

/// The authorities that may sign a server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The authorities of this PEM file alone. A user who names a file does not want the system's
    /// as well.
    File(PathBuf),
    /// The authorities of this PEM text.
    Pem(&'static str),
    /// The authorities of the system, and those of a PEM text.
    System { and: Option<&'static str> },
}

impl Default for Trust {
    fn default() -> Self {
        Self::System { and: BUILT_IN_CA }
    }
}

impl Trust {
    /// Returns the authorities for a setting that may name a file.
    pub fn of_file(path: Option<PathBuf>) -> Self {
        path.map_or_else(Self::default, Self::File)
    }
}

/// Returns the client configuration for servers that `trust` accepts.
pub fn client_config(trust: &Trust) -> Result<ClientConfig, TlsSetupError> {
    // Set for each configuration and not for the process: a library must not decide for the
    // process, and it has no default.
    with_provider(trust, ring::default_provider())
}

/// Name of Postgres' protocol in a TLS handshake.
pub(crate) const POSTGRES_ALPN: &[u8] = b"postgresql";

/// Returns the client configuration for Postgres servers that `trust` accepts.
pub fn postgres_config(trust: &Trust) -> Result<ClientConfig, TlsSetupError> {
    let mut provider = ring::default_provider();
    // The first group is that of the key in the first message. Postgres before 18 accepts only this one, and would ask for
    // another message.
    provider
        .kx_groups
        .sort_by_key(|group| group.name() != NamedGroup::secp256r1);
    with_provider(trust, provider)
}

fn with_provider(trust: &Trust, provider: CryptoProvider) -> Result<ClientConfig, TlsSetupError> {
    let provider = Arc::new(provider);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsSetupError::System)?;
    let builder = match trust {
        Trust::File(path) => builder.with_root_certificates(roots(path, of_file(path)?)?),
        Trust::Pem(pem) => {
            let path = Path::new(BUILT_IN);
            builder.with_root_certificates(roots(path, of_text(pem)?)?)
        }
        Trust::System { and } => {
            let extra = and.map(of_text).transpose()?.unwrap_or_default();
            let verifier = Verifier::new_with_extra_roots(extra, provider);
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(
                    verifier.map_err(TlsSetupError::System)?,
                ))
        }
    };
    Ok(builder.with_no_client_auth())
}

/// Checks that TLS can use the certificates of a PEM text as authorities.
///
/// # Errors
/// They name `path`, the source of the text.
pub fn check_authorities(path: &Path, pem: &str) -> Result<(), TlsSetupError> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>();
    roots(path, certificates.map_err(|error| unreadable(path, error))?).map(drop)
}

/// Stands for the path in errors about certificates that come from no file.
const BUILT_IN: &str = "the program itself";

fn of_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    // A file of a system's store has about 250 KiB.
    const MOST: u64 = 16 << 20;
    let bytes = foreign_file::read(path, MOST, Pipes::Allowed);
    let bytes = bytes.map_err(|error| unreadable(path, error))?;
    CertificateDer::pem_slice_iter(foreign_file::without_mark(&bytes))
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable(path, error))
}

fn of_text(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable(Path::new(BUILT_IN), error))
}

fn roots(
    path: &Path,
    certificates: Vec<CertificateDer<'static>>,
) -> Result<RootCertStore, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots
            .add(certificate)
            .map_err(|error| unreadable(path, error))?;
    }
    if roots.is_empty() {
        return Err(TlsSetupError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(roots)
}

fn unreadable(path: &Path, source: impl Error + Send + Sync + 'static) -> TlsSetupError {
    TlsSetupError::Read {
        path: path.to_owned(),
        source: source.into(),
    }
}

/// Reason why a server is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsProblem {
    /// Its certificate comes from an unknown authority.
    Authority,
    /// Its certificate is for another name.
    Name,
    Expired,
    NotYetValid,
    /// The server does not speak TLS.
    NoTls,
    Other,
}

impl TlsProblem {
    /// Searches `error` and its causes for an error of TLS.
    pub fn find(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                return Some(Self::of(tls));
            }
            // An `io::Error` returns the causes of the error it wraps, but not that error itself.
            let wrapped = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            if let Some(found) = wrapped.and_then(|inner| Self::find(inner)) {
                return Some(found);
            }
            cause = error.source();
        }
        None
    }

    fn of(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(why) => match why {
                CertificateError::UnknownIssuer
                | CertificateError::BadSignature
                | CertificateError::ApplicationVerificationFailure => Self::Authority,
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Self::Name,
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    Self::Expired
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::NotYetValid
                }
                _ => Self::Other,
            },
            rustls::Error::InvalidMessage(_) => Self::NoTls,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authority => "its certificate comes from an authority that is not trusted",
            Self::Name => "its certificate is for another name",
            Self::Expired => "its certificate has expired",
            Self::NotYetValid => "its certificate is not valid yet",
            Self::NoTls => "it does not speak TLS",
            Self::Other => "the TLS handshake failed",
        })
    }
}
