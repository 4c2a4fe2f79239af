//! The fields of an OpenSSH certificate, prepared for the `ssh-key` crate. Pure.
//!
//! sshd has accepted the certificate, so whatever sshd lets pass has to be readable here too. The
//! crate is stricter in three places: it knows no `forever` (all ones) as an end of validity, it
//! wants key ids in UTF-8, and options in order. Source: PROTOCOL.certkeys in openssh-portable.
//!
//! This module replaces no crate: it corrects the certificate for `ssh-key`, the only maintained
//! parser.

/// The last second that the crate accepts as a time.
const LAST_SECOND: u64 = i64::MAX as u64;

/// Returns the name of the key type at the start of a public key or certificate.
pub(super) fn algorithm(blob: &[u8]) -> Option<&[u8]> {
    Reader(blob).string()
}

/// Returns the signed (valid after, valid before) in seconds since the Unix epoch.
pub(super) fn validity(blob: &[u8]) -> Option<(u64, u64)> {
    let fields = Fields::read(blob)?;
    Some((fields.valid_after, fields.valid_before))
}

/// Returns the certificate in a form that the crate accepts: times in its range, key id and principals in
/// UTF-8, no options. The signature no longer fits; sshd has verified it before. `None` when the bytes are not
/// a certificate.
pub(super) fn lenient(blob: &[u8]) -> Option<Vec<u8>> {
    let fields = Fields::read(blob)?;
    let mut out = fields.key.to_vec();
    out.extend(fields.serial_and_type);
    put_string(&mut out, String::from_utf8_lossy(fields.key_id).as_bytes())?;
    put_string(&mut out, &utf8_strings(fields.principals)?)?;
    for time in [fields.valid_after, fields.valid_before] {
        out.extend(time.min(LAST_SECOND).to_be_bytes());
    }
    put_string(&mut out, b"")?;
    put_string(&mut out, b"")?;
    out.extend(fields.rest);
    Some(out)
}

/// The parts of a certificate, in their order.
struct Fields<'a> {
    /// Key type, nonce and the public key itself.
    key: &'a [u8],
    serial_and_type: &'a [u8],
    key_id: &'a [u8],
    principals: &'a [u8],
    valid_after: u64,
    valid_before: u64,
    /// After the options: reserved, signing key, signature.
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn read(blob: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(blob);
        let of_key = strings_of_key(reader.string()?)?;
        // One more for the nonce before the key.
        for _ in 0..=of_key {
            reader.string()?;
        }
        let key = blob.get(..blob.len() - reader.0.len())?;
        let serial_and_type = reader.take(8 + 4)?;
        let key_id = reader.string()?;
        let principals = reader.string()?;
        let valid_after = reader.number()?;
        let valid_before = reader.number()?;
        let (_critical_options, _extensions) = (reader.string()?, reader.string()?);
        Some(Self {
            key,
            serial_and_type,
            key_id,
            principals,
            valid_after,
            valid_before,
            rest: reader.0,
        })
    }
}

/// Returns the number of strings in the public key of a type; numbers are written as strings.
fn strings_of_key(certificate_type: &[u8]) -> Option<usize> {
    Some(match certificate_type {
        b"ssh-ed25519-cert-v01@openssh.com" => 1,
        b"ssh-rsa-cert-v01@openssh.com"
        | b"ecdsa-sha2-nistp256-cert-v01@openssh.com"
        | b"ecdsa-sha2-nistp384-cert-v01@openssh.com"
        | b"ecdsa-sha2-nistp521-cert-v01@openssh.com"
        | b"sk-ssh-ed25519-cert-v01@openssh.com" => 2,
        b"sk-ecdsa-sha2-nistp256-cert-v01@openssh.com" => 3,
        b"ssh-dss-cert-v01@openssh.com" => 4,
        _ => return None,
    })
}

fn utf8_strings(list: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader(list);
    let mut out = Vec::new();
    while !reader.0.is_empty() {
        put_string(
            &mut out,
            String::from_utf8_lossy(reader.string()?).as_bytes(),
        )?;
    }
    Some(out)
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    out.extend(u32::try_from(bytes.len()).ok()?.to_be_bytes());
    out.extend(bytes);
    Some(())
}

/// The unread rest.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let len = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        self.take(usize::try_from(len).ok()?)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }
}
