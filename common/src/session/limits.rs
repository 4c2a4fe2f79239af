//! The limits of the texts in an entry, in bytes as JSON writes them.
//!
//! Clients choose these texts, JSON writes a control byte as six, and each segment of a spool repeats the entries of
//! all open sessions.

use super::{Auth, Certificate, SessionOpened};

/// Most bytes of a key id. Vault's have fewer than 300.
pub const KEY_ID_MAX: usize = 1024;

/// Most bytes of all principals together.
pub const PRINCIPALS_MAX: usize = 4096;

/// Longest certificate, in bytes, that an agent stores. With RSA keys of 8192 bits a certificate of Vault's has fewer
/// than 3.8 KiB.
pub const BLOB_STORED: usize = 4 * 1024;

/// Most bytes of any other text.
const TEXT_MAX: usize = 1024;

impl SessionOpened {
    /// Cuts the texts that are too long; `auth.problem` names the cuts in the certificate. Without an effect on an
    /// entry that was shortened before.
    pub fn shorten(&mut self) {
        fit(&mut self.login_user, TEXT_MAX);
        fit(&mut self.service, TEXT_MAX);
        for text in [&mut self.remote_host, &mut self.tty].into_iter().flatten() {
            fit(text, TEXT_MAX);
        }
        self.auth.shorten();
    }
}

impl Auth {
    /// As [`SessionOpened::shorten`].
    pub fn shorten(&mut self) {
        let mut cuts: Vec<String> = self.problem.take().into_iter().collect();
        if let Some(certificate) = &mut self.certificate {
            cuts.extend(shorten(certificate));
        }
        self.problem = (!cuts.is_empty()).then(|| cuts.join("; "));
        for text in [&mut self.method, &mut self.problem].into_iter().flatten() {
            fit(text, TEXT_MAX);
        }
    }
}

/// Returns a description of each cut.
fn shorten(certificate: &mut Certificate) -> Vec<String> {
    let mut cuts = Vec::new();
    let len = certificate.key_id.len();
    if fit(&mut certificate.key_id, KEY_ID_MAX) {
        let kept = certificate.key_id.len();
        cuts.push(format!(
            "key id of {len} bytes, the first {kept} are recorded"
        ));
    }
    let mut room = PRINCIPALS_MAX;
    let fits = |name: &&String| {
        let left = room.checked_sub(json_len(name) + QUOTES);
        room = left.unwrap_or(0);
        left.is_some()
    };
    let kept = certificate.principals.iter().take_while(fits).count();
    let all = certificate.principals.len();
    if kept < all {
        certificate.principals.truncate(kept);
        cuts.push(format!("{all} principals, the first {kept} are recorded"));
    }
    // Beside cut texts a whole certificate would be one that the entry does not describe. Entries of older agents have
    // longer ones.
    let most = BLOB_STORED.div_ceil(3) * 4;
    let is_cut = !cuts.is_empty();
    let removed = certificate.blob.take_if(|blob| is_cut || blob.len() > most);
    certificate.blob_too_large |= removed.is_some();
    cuts
}

/// Two quotes and a comma.
const QUOTES: usize = 3;

/// Cuts a text to at most `max` bytes in JSON. Returns whether something was cut.
fn fit(text: &mut String, max: usize) -> bool {
    let mut len = 0;
    let cut = text.char_indices().find_map(|(at, char)| {
        len += char_len(char);
        (len > max).then_some(at)
    });
    if let Some(at) = cut {
        text.truncate(at);
    }
    cut.is_some()
}

fn json_len(text: &str) -> usize {
    text.chars().map(char_len).sum()
}

fn char_len(char: char) -> usize {
    match char {
        '"' | '\\' | '\n' | '\r' | '\t' | '\x08' | '\x0c' => 2,
        '\0'..='\x1f' => 6,
        _ => char.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SessionId;
    use crate::time::BootNs;

    fn padded(with: &str) -> SessionOpened {
        let text = with.repeat(32 * 1024);
        let mut opened = SessionOpened::unknown(SessionId::from_mark(1), BootNs(1));
        opened.login_user.clone_from(&text);
        opened.remote_host = Some(text.clone());
        opened.tty = Some(text.clone());
        opened.auth = Auth {
            method: Some(text.clone()),
            problem: Some(text.clone()),
            certificate: Some(Certificate {
                serial: None,
                key_id: text.clone(),
                ca_fingerprint: "SHA256:x".to_owned(),
                principals: vec![with.repeat(100); 256],
                valid_after: 1,
                valid_before: 2,
                blob: Some(text),
                blob_too_large: false,
            }),
            ..Auth::default()
        };
        opened
    }

    #[test]
    fn no_text_makes_an_entry_large() {
        for with in ["x", "\u{1}", "\"", "\n", "\u{7f}", "é", "🦀"] {
            let mut opened = padded(with);
            opened.shorten();
            let json = serde_json::to_string(&opened).unwrap();
            assert!(json.len() < 12 * 1024, "{with:?}: {}", json.len());
            let certificate = opened.auth.certificate.as_ref().unwrap();
            let key_id = serde_json::to_string(&certificate.key_id).unwrap();
            assert!((1020..=1026).contains(&key_id.len()), "{}", key_id.len());
            let principals = serde_json::to_string(&certificate.principals).unwrap();
            assert!(principals.len() <= PRINCIPALS_MAX + 2, "{with:?}");
            assert!(!certificate.principals.is_empty());
            assert!(certificate.blob_too_large);
        }
    }

    #[test]
    fn beside_a_cut_name_no_certificate_is_stored() {
        for (key_id, is_stored) in [(KEY_ID_MAX, true), (KEY_ID_MAX + 1, false)] {
            let mut opened = padded("x");
            let certificate = opened.auth.certificate.as_mut().unwrap();
            certificate.key_id.truncate(key_id);
            certificate.principals.truncate(1);
            certificate.blob = Some("AAAA".to_owned());
            opened.shorten();
            let certificate = opened.auth.certificate.unwrap();
            assert_eq!(certificate.blob.is_some(), is_stored);
            assert_eq!(certificate.blob_too_large, !is_stored);
        }
    }

    #[test]
    fn a_cut_is_named_once_and_repeated_without_a_change() {
        let mut opened = padded("x");
        opened.auth.problem = None;
        opened.shorten();
        let problem = opened.auth.problem.clone().unwrap();
        assert!(problem.contains("key id of 32768 bytes, the first 1024"));
        assert!(problem.contains("256 principals"), "{problem}");
        let once = opened.clone();
        opened.shorten();
        assert_eq!(opened, once);
    }
}
