//! A CA certificate for the trust store.

use std::path::Path;

use base64ct::{Base64, Encoding as _};
use sha2::{Digest as _, Sha256};
use vctl_common::{hex, root_ca, tls};

use crate::error::CliError;
use crate::exit_code::Exit;

/// A CA certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RootCa {
    pub(crate) pem: String,
    /// SHA-256 of the certificate, in hexadecimal.
    pub(crate) fingerprint: String,
}

/// Returns the CA certificates in `pem`, which comes from `path`.
///
/// # Errors
/// There is no certificate, or there is other content.
pub(crate) fn read(path: &Path, pem: &str) -> Result<Vec<RootCa>, CliError> {
    let unusable = || {
        let message = format!("`{}` is not a CA certificate", path.display());
        CliError::new(Exit::Config, message)
            .hint("give a file that contains only the certificate of the root CA, in PEM format")
    };
    let certificates = root_ca::certificates(pem).map_err(|why| {
        let mut error = unusable();
        error.causes.push(why);
        error
    })?;
    tls::check_authorities(path, &certificates.concat())
        .map_err(|error| unusable().caused_by(&error))?;
    let authority = |pem: String| {
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = Base64::decode_vec(&body).ok()?;
        Some(RootCa {
            fingerprint: hex::encode(&Sha256::digest(der)),
            pem,
        })
    };
    let authorities: Option<Vec<_>> = certificates.into_iter().map(authority).collect();
    authorities.ok_or_else(unusable)
}
