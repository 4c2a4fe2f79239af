//! One certificate of an authority.

use std::fmt::Write as _;
use std::path::Path;

use base64ct::{Base64, Encoding as _};
use sha2::{Digest as _, Sha256};
use vctl_common::{root_ca, tls};

use crate::error::CliError;
use crate::exit_code::Exit;

/// A certificate that is, or is to be, believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    pub(crate) pem: String,
    /// Of the certificate, SHA-256 in hexadecimal.
    pub(crate) fingerprint: String,
}

/// Returns the authorities in `pem`, which is from `path`.
///
/// # Errors
/// There is none, or something else as well.
pub(crate) fn read(path: &Path, pem: &str) -> Result<Vec<Authority>, CliError> {
    let unusable = || {
        let message = format!("`{}` cannot be trusted as an authority", path.display());
        CliError::new(Exit::Config, message)
            .hint("give a file with the certificate of the root CA in PEM form, and nothing else")
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
        Some(Authority {
            fingerprint: hex(&Sha256::digest(der)),
            pem,
        })
    };
    let authorities: Option<Vec<_>> = certificates.into_iter().map(authority).collect();
    authorities.ok_or_else(unusable)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
