//! Whether the name of a session is proven, and the facts that contradict it. Pure.
//!
//! A host reports the certificate that opened a session. The reader verifies the CA's signature over the certificate
//! that the host stored, with the SSH library that `vctl ssh` uses, so no part of the format is parsed here. A host
//! can still report, for another session, a certificate that was once shown to it: the contradictions detect that.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64ct::{Base64, Encoding as _};
use russh::keys::Certificate as SshCertificate;
use russh::keys::ssh_key::HashAlg;
use vctl_common::session::{Auth, BLOB_MAX, Certificate, SessionOpened};

use crate::ssh_ca::principal::is_for_account;

/// Allowed difference between the clocks of a host and Vault. The same as in `vctl.login_contradictions`.
const CLOCK_TOLERANCE: Duration = Duration::from_mins(5);

/// Whether the name of a session is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) proof: Proof,
    pub(crate) contradictions: BTreeSet<Contradiction>,
}

/// The result of verifying a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// One of our CAs signed exactly this certificate. `mount` is the CA's mount in Vault, if known.
    Verified {
        mount: Option<String>,
    },
    Unproven(UnprovenReason),
}

/// Reason why a name is not proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UnprovenReason {
    /// The login used no certificate, so it has no name.
    NoCertificate,
    UnknownCa,
    /// The CAs that this host trusts could not be read.
    CasUnknown(String),
    OlderAgent,
    TooLarge,
    Unreadable,
    HostCertificate,
    BadSignature,
    /// The entry and the certificate stored with it differ.
    OtherCertificate,
}

/// Whether the reader trusts the CA that a certificate names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CaTrust {
    Ours { mount: Option<String> },
    Unknown,
    Unreadable(String),
}

/// A fact that contradicts the name. `docs/session-json.md` lists the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contradiction {
    Certificate,
    Validity,
    Host,
    Account,
    AccessTime,
    SourcePort,
    TwoHosts,
    SecondSession,
    SerialReused,
    UnknownCa,
    /// NAT and proxies cause this too. It proves nothing, so it is only shown as a remark.
    SourceAddress,
}

impl Identity {
    /// Verifies the certificate that a host reported for a login.
    pub(crate) fn verify(opened: &SessionOpened, opened_at: SystemTime, trust: CaTrust) -> Self {
        let Some(certificate) = &opened.auth.certificate else {
            return Self::without_certificate();
        };
        let is_ours = matches!(trust, CaTrust::Ours { .. });
        let proof = verify(certificate, trust);
        let mut contradictions = BTreeSet::new();
        if let Proof::Unproven(reason) = &proof
            && reason.indicates_forgery()
        {
            contradictions.insert(Contradiction::Certificate);
        }
        // Other CAs have other rules for principals and validity.
        if is_ours {
            contradictions.extend(contradictions_of(
                certificate,
                &opened.login_user,
                opened_at,
            ));
        }
        Self {
            proof,
            contradictions,
        }
    }

    pub(crate) fn without_certificate() -> Self {
        Self {
            proof: Proof::Unproven(UnprovenReason::NoCertificate),
            contradictions: BTreeSet::new(),
        }
    }

    /// Returns whether the name may be shown as that of the person who logged in.
    pub(crate) fn is_proven(&self) -> bool {
        matches!(self.proof, Proof::Verified { .. }) && self.contradicting().next().is_none()
    }

    /// Returns the facts that contradict the name, without those that an honest network causes too.
    pub(crate) fn contradicting(&self) -> impl Iterator<Item = Contradiction> {
        self.contradictions
            .iter()
            .copied()
            .filter(|c| !c.is_remark())
    }

    /// Returns the differences that prove nothing.
    pub(crate) fn remarks(&self) -> impl Iterator<Item = Contradiction> {
        self.contradictions
            .iter()
            .copied()
            .filter(|c| c.is_remark())
    }
}

impl Proof {
    /// Returns the word used in JSON.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Verified { .. } => "verified",
            Self::Unproven(reason) => match reason {
                UnprovenReason::NoCertificate => "no_certificate",
                UnprovenReason::UnknownCa => "unknown_ca",
                UnprovenReason::CasUnknown(_) => "trusted_cas_unreadable",
                UnprovenReason::OlderAgent => "older_agent",
                UnprovenReason::TooLarge => "too_large",
                UnprovenReason::Unreadable => "unreadable",
                UnprovenReason::HostCertificate => "host_certificate",
                UnprovenReason::BadSignature => "bad_signature",
                UnprovenReason::OtherCertificate => "other_certificate",
            },
        }
    }
}

impl UnprovenReason {
    /// Returns whether an honest agent never reports such a certificate for a login.
    fn indicates_forgery(&self) -> bool {
        matches!(
            self,
            Self::Unreadable | Self::HostCertificate | Self::BadSignature | Self::OtherCertificate
        )
    }
}

impl Contradiction {
    const ALL: [Self; 11] = [
        Self::Certificate,
        Self::Validity,
        Self::Host,
        Self::Account,
        Self::AccessTime,
        Self::SourcePort,
        Self::TwoHosts,
        Self::SecondSession,
        Self::SerialReused,
        Self::UnknownCa,
        Self::SourceAddress,
    ];

    /// Parses a word of `vctl.login_contradictions`. A newer schema may have other words.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.word() == word)
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Validity => "validity",
            Self::Host => "host",
            Self::Account => "account",
            Self::AccessTime => "access_time",
            Self::SourcePort => "source_port",
            Self::TwoHosts => "two_hosts",
            Self::SecondSession => "second_session",
            Self::SerialReused => "serial_reused",
            Self::UnknownCa => "unknown_ca",
            Self::SourceAddress => "source_address",
        }
    }

    fn is_remark(self) -> bool {
        self == Self::SourceAddress
    }
}

fn verify(certificate: &Certificate, trust: CaTrust) -> Proof {
    let mount = match trust {
        CaTrust::Ours { mount } => mount,
        CaTrust::Unknown => return Proof::Unproven(UnprovenReason::UnknownCa),
        CaTrust::Unreadable(why) => return Proof::Unproven(UnprovenReason::CasUnknown(why)),
    };
    match check(certificate) {
        Ok(()) => Proof::Verified { mount },
        Err(reason) => Proof::Unproven(reason),
    }
}

/// Checks that the CA named in an entry signed the certificate described there.
fn check(entry: &Certificate) -> Result<(), UnprovenReason> {
    let base64 = match &entry.blob {
        Some(base64) if base64.len() <= BLOB_MAX.div_ceil(3) * 4 => base64,
        None if !entry.blob_too_large => return Err(UnprovenReason::OlderAgent),
        _ => return Err(UnprovenReason::TooLarge),
    };
    let blob = Base64::decode_vec(base64).map_err(|_| UnprovenReason::Unreadable)?;
    let certificate = SshCertificate::from_bytes(&blob).map_err(|_| UnprovenReason::Unreadable)?;
    if !certificate.cert_type().is_user() {
        return Err(UnprovenReason::HostCertificate);
    }
    let ca = certificate.signature_key().fingerprint(HashAlg::Sha256);
    let is_same = ca.to_string() == entry.ca_fingerprint
        && certificate.serial() == entry.serial.map_or(0, vctl_common::id::CertSerial::get)
        && certificate.key_id() == entry.key_id
        && certificate.valid_principals() == entry.principals
        && certificate.valid_after() == entry.valid_after
        && certificate.valid_before() == entry.valid_before;
    if !is_same {
        return Err(UnprovenReason::OtherCertificate);
    }
    // The validity period is compared with the login time elsewhere, with a tolerance.
    certificate
        .validate_at(certificate.valid_after(), [&ca])
        .map_err(|_| UnprovenReason::BadSignature)
}

fn contradictions_of(
    certificate: &Certificate,
    login_user: &str,
    opened_at: SystemTime,
) -> Vec<Contradiction> {
    let mut found = Vec::new();
    let at = |seconds: u64| UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    let tolerant = |at: SystemTime| at.checked_add(CLOCK_TOLERANCE);
    // A time too far away for a clock is no limit: `forever` is all ones.
    let is_early = at(certificate.valid_after)
        .zip(tolerant(opened_at))
        .is_some_and(|(begin, opened)| opened < begin);
    let is_late = at(certificate.valid_before)
        .and_then(tolerant)
        .is_some_and(|end| opened_at > end);
    if is_early || is_late {
        found.push(Contradiction::Validity);
    }
    let mut principals = certificate.principals.iter();
    if !certificate.principals.is_empty()
        && !principals.any(|name| is_for_account(name, login_user))
    {
        found.push(Contradiction::Account);
    }
    found
}

/// Returns whether the login has a name.
pub(crate) fn has_name(auth: &Auth) -> bool {
    auth.certificate
        .as_ref()
        .is_some_and(|certificate| !certificate.key_id.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::fixture::Login;

    /// Certificates made by ssh-keygen, with every kind of key and CA.
    const CERTIFICATES: &str =
        include_str!("../../../../agent/src/session/testdata/auth_info/certificates.txt");

    fn certificates() -> Vec<(String, Certificate)> {
        let blocks = CERTIFICATES
            .split("\n\n")
            .filter(|block| !block.trim().is_empty());
        let fields = |block: &str| -> HashMap<String, String> {
            let pair = |line: &str| {
                let (name, value) = line.split_once(' ').unwrap_or((line, ""));
                (name.to_owned(), value.trim().to_owned())
            };
            block.lines().map(pair).collect()
        };
        let seconds = |text: &str| match text {
            "always" => 0,
            "forever" => u64::MAX,
            text => text.parse().unwrap(),
        };
        let parsed = |block: &str| {
            let fields = fields(block);
            let blob = fields["info"].split(' ').nth(2).unwrap();
            let principals = fields["principals"].split(',').filter(|p| !p.is_empty());
            let certificate = Certificate {
                serial: fields["serial"].parse().ok(),
                key_id: fields["key_id"].clone(),
                ca_fingerprint: fields["ca"].clone(),
                principals: principals.map(str::to_owned).collect(),
                valid_after: seconds(&fields["after"]),
                valid_before: seconds(&fields["before"]),
                blob: Some(blob.to_owned()),
                blob_too_large: false,
            };
            (fields["name"].clone(), certificate)
        };
        blocks.map(parsed).collect()
    }

    fn certificate() -> Certificate {
        certificates().remove(0).1
    }

    fn flipped(certificate: &Certificate, at: usize) -> Certificate {
        let mut blob = Base64::decode_vec(certificate.blob.as_ref().unwrap()).unwrap();
        blob[at] ^= 1;
        Certificate {
            blob: Some(Base64::encode_string(&blob)),
            ..certificate.clone()
        }
    }

    fn identity(certificate: Certificate, trust: CaTrust) -> Identity {
        let mut login = Login::of_alice();
        let opened = &mut login.session().opened;
        opened.auth.certificate = Some(certificate);
        opened.login_user = "deploy".to_owned();
        let opened = opened.clone();
        Identity::verify(
            &opened,
            UNIX_EPOCH + Duration::from_secs(1_767_225_700),
            trust,
        )
    }

    fn ours() -> CaTrust {
        CaTrust::Ours { mount: None }
    }

    #[test]
    fn every_kind_of_certificate_is_verified() {
        for (name, certificate) in certificates() {
            assert_eq!(check(&certificate), Ok(()), "{name}");
        }
    }

    #[test]
    fn certificate_with_a_flipped_byte_is_rejected() {
        let certificate = certificate();
        let length = Base64::decode_vec(certificate.blob.as_ref().unwrap())
            .unwrap()
            .len();
        for at in 0..length {
            let reason = check(&flipped(&certificate, at)).unwrap_err();
            assert!(reason.indicates_forgery(), "byte {at}: {reason:?}");
        }
    }

    #[test]
    fn entry_that_differs_from_its_certificate_is_not_proven() {
        let changes: [fn(&mut Certificate); 5] = [
            |c| c.key_id = "bob".to_owned(),
            |c| c.serial = vctl_common::id::CertSerial::new(99),
            |c| c.principals = vec!["root".to_owned()],
            |c| c.valid_before += 1,
            |c| c.ca_fingerprint = format!("SHA256:{}", "x".repeat(43)),
        ];
        for change in changes {
            let mut other = certificate();
            change(&mut other);
            let identity = identity(other, ours());
            assert_eq!(
                identity.proof,
                Proof::Unproven(UnprovenReason::OtherCertificate)
            );
            assert!(
                identity
                    .contradictions
                    .contains(&Contradiction::Certificate)
            );
        }
    }

    #[test]
    fn certificate_of_an_unknown_ca_is_not_proven() {
        let identity = identity(certificate(), CaTrust::Unknown);
        assert_eq!(identity.proof, Proof::Unproven(UnprovenReason::UnknownCa));
        assert!(!identity.is_proven() && identity.contradictions.is_empty());
    }

    #[test]
    fn report_of_an_older_agent_is_unproven_not_contradicted() {
        let blob = None;
        let identity = identity(
            Certificate {
                blob,
                ..certificate()
            },
            ours(),
        );
        assert_eq!(identity.proof, Proof::Unproven(UnprovenReason::OlderAgent));
        assert!(!identity.is_proven() && identity.contradictions.is_empty());
    }

    #[test]
    fn login_outside_the_certificates_limits_is_contradicted() {
        let (certificate, second) = (certificate(), Duration::from_secs(1));
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        let (begin, end) = (at(certificate.valid_after), at(certificate.valid_before));
        let found = |user: &str, at| contradictions_of(&certificate, user, at);
        for fine in [begin - CLOCK_TOLERANCE, begin, end + CLOCK_TOLERANCE] {
            assert_eq!(found("deploy", fine), []);
        }
        for wrong in [
            begin - CLOCK_TOLERANCE - second,
            end + CLOCK_TOLERANCE + second,
        ] {
            assert_eq!(found("deploy", wrong), [Contradiction::Validity]);
        }
        assert_eq!(found("root", begin), [Contradiction::Account]);
    }

    #[test]
    fn principal_within_a_scope_is_for_its_account() {
        let mut certificate = certificate();
        certificate.principals = vec!["deploy@dc=seoul".to_owned()];
        let begin = UNIX_EPOCH + Duration::from_secs(certificate.valid_after);
        let found = |user: &str| contradictions_of(&certificate, user, begin);
        assert_eq!(found("deploy"), []);
        assert_eq!(found("root"), [Contradiction::Account]);
    }

    #[test]
    fn another_address_alone_leaves_a_name_proven() {
        let mut identity = identity(certificate(), ours());
        identity.contradictions.insert(Contradiction::SourceAddress);
        assert!(identity.is_proven());
        identity.contradictions.insert(Contradiction::Host);
        assert!(!identity.is_proven());
    }

    #[test]
    fn every_word_of_the_schema_is_parsed() {
        let sql = include_str!("../../../../migrations/0015_login_contradictions.sql");
        for one in Contradiction::ALL {
            assert_eq!(Contradiction::from_word(one.word()), Some(one));
            if one != Contradiction::Certificate {
                assert!(sql.contains(&format!("'{}'", one.word())), "{one:?}");
            }
        }
    }
}
