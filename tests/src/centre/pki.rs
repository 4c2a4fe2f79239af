//! A private certificate authority, the certificates of its servers, and those that must be refused.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64ct::{Base64, Encoding};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// Authorities and certificates in one directory. All accounts may read it, but the keys belong to root.
pub struct Pki {
    directory: PathBuf,
    ca: Authority,
    stranger: Authority,
}

/// Certificate and key of a server, both in PEM.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Contents of a certificate. The default is a good certificate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// Host names and addresses.
    pub names: &'a [&'a str],
    /// The validity ended in 2021.
    pub expired: bool,
    /// Signed by an authority that the clients do not trust.
    pub of_a_stranger: bool,
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Pki {
    pub(super) fn create(directory: &Path) -> Result<Self> {
        crate::lab::make_directory(directory, 0o755)?;
        Ok(Self {
            ca: Authority::create(directory, "ca")?,
            stranger: Authority::create(directory, "stranger")?,
            directory: directory.to_owned(),
        })
    }

    /// Certificate of the authority that signs the centre's servers.
    pub fn ca(&self) -> &Path {
        &self.ca.file
    }

    /// Certificate of an authority that does not sign any of the centre's servers.
    pub fn stranger(&self) -> &Path {
        &self.stranger.file
    }

    /// Issues a certificate into `<name>.pem` and its key into `<name>.key`.
    pub fn issue(&self, name: &str, request: Request<'_>) -> Result<ServerCertificate> {
        let names: Vec<_> = request.names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = date_time_ymd(2020, 1, 1);
        let until = if request.expired { 2021 } else { 2120 };
        params.not_after = date_time_ymd(until, 1, 1);
        let authority = if request.of_a_stranger {
            &self.stranger
        } else {
            &self.ca
        };
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &authority.issuer)?;
        let issued = ServerCertificate {
            certificate: self.directory.join(format!("{name}.pem")),
            key: self.directory.join(format!("{name}.key")),
        };
        fs::write(&issued.certificate, pem("CERTIFICATE", certificate.der()))?;
        write_private(&issued.key, &pem("PRIVATE KEY", &key.serialize_der()))?;
        Ok(issued)
    }
}

impl Authority {
    fn create(directory: &Path, name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, format!("vctl throw-away {name}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2120, 1, 1);
        // The key of the authority is never written to disk. It exists only in this process.
        let key = KeyPair::generate()?;
        let file = directory.join(format!("{name}.pem"));
        let certificate = params.self_signed(&key)?;
        fs::write(&file, pem("CERTIFICATE", certificate.der()))?;
        Ok(Self {
            issuer: Issuer::new(params, key),
            file,
        })
    }
}

/// Returns DER as PEM (RFC 7468): base64 in lines of 64.
fn pem(label: &str, der: &[u8]) -> String {
    let encoded = Base64::encode_string(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.extend([line, "\n"]);
        rest = after;
    }
    text.extend(["-----END ", label, "-----\n"]);
    text
}

/// Writes a file that only its owner can read.
pub(super) fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    let mut file = options
        .open(path)
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(file.write_all(text.as_bytes())?)
}
