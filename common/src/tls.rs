//! TLS as every connection to the centre has it: a verified chain and name, or none at all.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

/// The authorities to believe cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    #[error("cannot read the CA certificates of `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("`{}` holds no CA certificate", path.display())]
    Empty { path: PathBuf },
    #[error("cannot use the CA certificates of this system")]
    System(#[source] rustls::Error),
}

/// Returns how to talk TLS to a server that one of `ca_cert`'s authorities vouches for; without a
/// file, one of the system's.
///
/// The system's are not added to those of a file: whoever names an authority means that one.
pub fn client_config(ca_cert: Option<&Path>) -> Result<ClientConfig, TlsSetupError> {
    // Given with each configuration, not set for the process: a library must not decide that, and
    // there is none to fall back on.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsSetupError::System)?;
    let Some(path) = ca_cert else {
        let builder = builder
            .with_platform_verifier()
            .map_err(TlsSetupError::System)?;
        return Ok(builder.with_no_client_auth());
    };
    let roots = read_roots(path)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn read_roots(path: &Path) -> Result<RootCertStore, TlsSetupError> {
    let unreadable = |source: Box<dyn Error + Send + Sync>| TlsSetupError::Read {
        path: path.to_owned(),
        source,
    };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|e| unreadable(e.into()))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(|e| unreadable(e.into()))?;
        roots.add(certificate).map_err(|e| unreadable(e.into()))?;
    }
    if roots.is_empty() {
        return Err(TlsSetupError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(roots)
}

/// Why a server was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsProblem {
    /// Its certificate comes from an authority we were not told of.
    Authority,
    /// Its certificate is for another name.
    Name,
    Expired,
    NotYetValid,
    /// What answered does not speak TLS.
    NoTls,
    Other,
}

impl TlsProblem {
    /// Looks for what TLS had to say in `error` and all that it was caused by.
    pub fn find(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                return Some(Self::of(tls));
            }
            // An `io::Error` shows the causes of what it wraps, and not that itself.
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
