//! Finds tokens of a known form, whatever precedes them.

use super::masker::step;

/// Characters of a token after its prefix.
#[derive(Clone, Copy, Debug)]
enum Body {
    /// Letters and digits.
    Alnum,
    /// Letters, digits, `_` and `-`.
    Url,
    /// Letters, digits, `_`, `-` and `.`, with at least one dot.
    Dotted,
    /// Capitals and digits.
    Upper,
    /// Lower-case hexadecimal digits.
    Hex,
}

struct Shape {
    prefix: &'static [u8],
    body: Body,
    min_len: usize,
    /// Longest body; a longer text is not this token.
    max_len: usize,
}

const fn shape(prefix: &'static str, body: Body, min_len: usize) -> Shape {
    Shape {
        prefix: prefix.as_bytes(),
        body,
        min_len,
        max_len: usize::MAX,
    }
}

const fn exactly(prefix: &'static str, body: Body, len: usize) -> Shape {
    Shape {
        prefix: prefix.as_bytes(),
        body,
        min_len: len,
        max_len: len,
    }
}

/// Shortest token of all shapes; shorter texts are not checked.
const MIN_TOKEN: usize = 18;

/// Part of a body that is read to tell a token from a word; it keeps the work linear for hostile
/// input.
const PROBE: usize = 96;

#[rustfmt::skip]
const SHAPES: &[Shape] = &[
    // Vault, OpenBao, HCP
    shape("hvs.", Body::Url, 20), shape("hvb.", Body::Url, 20), shape("hvr.", Body::Url, 20),
    exactly("s.", Body::Alnum, 24), shape("b.AAAA", Body::Url, 60),
    // GitHub, GitLab
    shape("ghp_", Body::Alnum, 30), shape("gho_", Body::Alnum, 30), shape("ghu_", Body::Alnum, 30),
    shape("ghs_", Body::Alnum, 30), shape("ghr_", Body::Alnum, 30), shape("github_pat_", Body::Url, 22),
    shape("glpat-", Body::Url, 16), shape("gldt-", Body::Url, 16), shape("glrt-", Body::Url, 16),
    shape("glcbt-", Body::Url, 16), shape("glptt-", Body::Url, 16), shape("glft-", Body::Url, 16),
    shape("glsoat-", Body::Url, 16), shape("glagent-", Body::Url, 20), shape("gloas-", Body::Url, 20),
    // Clouds
    exactly("AKIA", Body::Upper, 16), exactly("ASIA", Body::Upper, 16), exactly("ABIA", Body::Upper, 16),
    shape("AIza", Body::Url, 30), shape("ya29.", Body::Url, 20), shape("GOCSPX-", Body::Url, 20),
    shape("dop_v1_", Body::Hex, 40), shape("doo_v1_", Body::Hex, 40), shape("dor_v1_", Body::Hex, 40),
    shape("tskey-", Body::Url, 16), shape("CFPAT-", Body::Url, 30), shape("pul-", Body::Hex, 40),
    // Chat, payment, mail, observability
    shape("xoxb-", Body::Url, 16), shape("xoxp-", Body::Url, 16), shape("xoxa-", Body::Url, 16),
    shape("xoxr-", Body::Url, 16), shape("xoxs-", Body::Url, 16), shape("xoxe-", Body::Url, 16),
    shape("xoxe.", Body::Url, 16), shape("xapp-", Body::Url, 16), shape("sk_live_", Body::Alnum, 16),
    shape("sk_test_", Body::Alnum, 16), shape("rk_live_", Body::Alnum, 16), shape("rk_test_", Body::Alnum, 16),
    shape("whsec_", Body::Alnum, 24), shape("SG.", Body::Dotted, 30), exactly("key-", Body::Hex, 32),
    shape("xkeysib-", Body::Url, 40), shape("glsa_", Body::Url, 30), shape("glc_eyJ", Body::Url, 30),
    shape("NRAK-", Body::Upper, 24), shape("sntrys_", Body::Url, 30), shape("shpat_", Body::Hex, 30),
    shape("shpss_", Body::Hex, 30), shape("shpca_", Body::Hex, 30), shape("sq0atp-", Body::Url, 20),
    shape("sq0csp-", Body::Url, 30), shape("ATATT3", Body::Url, 40), shape("lin_api_", Body::Alnum, 30),
    shape("PMAK-", Body::Url, 40), shape("figd_", Body::Url, 30), shape("sbp_", Body::Hex, 40),
    // Models, packages
    shape("sk-ant-", Body::Url, 20), shape("sk-proj-", Body::Url, 20), shape("sk-or-v1-", Body::Hex, 40),
    shape("sk-", Body::Alnum, 20), shape("hf_", Body::Alnum, 30), shape("gsk_", Body::Alnum, 30),
    shape("npm_", Body::Alnum, 36), shape("pypi-AgE", Body::Url, 40), shape("dckr_pat_", Body::Url, 20),
    shape("rubygems_", Body::Hex, 40), shape("oy2", Body::Alnum, 43),
    // Stores of secrets, platforms, build services
    shape("dp.pt.", Body::Alnum, 30), shape("dp.st.", Body::Url, 30), shape("dp.ct.", Body::Alnum, 30),
    shape("ops_eyJ", Body::Url, 30), shape("pscale_tkn_", Body::Url, 24), shape("pscale_pw_", Body::Url, 24),
    shape("HRKU-", Body::Url, 24), shape("dapi", Body::Hex, 32), shape("nfp_", Body::Alnum, 30),
    shape("rnd_", Body::Alnum, 24), shape("fo1_", Body::Url, 30), shape("fm2_", Body::Url, 30),
    shape("ntn_", Body::Alnum, 40), shape("dt0c01.", Body::Dotted, 24), shape("dt0s16.", Body::Dotted, 24),
    shape("bkua_", Body::Hex, 30), shape("CCIPAT_", Body::Url, 30), shape("CLOJARS_", Body::Hex, 40),
    shape("sntryu_", Body::Hex, 30), shape("dckr_oat_", Body::Url, 20), shape("ATCTT3", Body::Url, 40),
    shape("ATBB", Body::Alnum, 28), shape("glimt-", Body::Url, 16), shape("GR1348941", Body::Url, 20),
    shape("LTAI", Body::Alnum, 16), shape("SWMTKN-1-", Body::Url, 40), shape("xoxc-", Body::Url, 16),
    shape("xoxd-", Body::Url, 16), shape("EAAA", Body::Url, 56), exactly("SK", Body::Hex, 32),
    shape("cio", Body::Alnum, 32), shape("pat-na1-", Body::Url, 30), shape("pat-eu1-", Body::Url, 30),
    shape("r8_", Body::Alnum, 30), shape("pplx-", Body::Alnum, 30), shape("xai-", Body::Alnum, 40),
    shape("pcsk_", Body::Url, 40), shape("lsv2_pt_", Body::Url, 30), shape("lsv2_sk_", Body::Url, 30),
    shape("sgp_", Body::Url, 40), shape("ddp_", Body::Alnum, 36), shape("hvp.", Body::Url, 20),
    shape("EZAK", Body::Alnum, 50), shape("flb_live_", Body::Alnum, 20),
    // A bot's token of Telegram, behind its number and a colon.
    exactly("AA", Body::Url, 33),
    // Keys and signed tokens
    shape("eyJ", Body::Dotted, 20), shape("AGE-SECRET-KEY-1", Body::Upper, 20),
    shape("b3BlbnNzaC1rZXktdjE", Body::Alnum, 20),
];

/// Returns start and end of the first known token in `text`, at or after `from`.
pub(super) fn find(text: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    loop {
        // Read from its far end: a text that is too short is skipped in one step.
        let window = text.get(at..at + MIN_TOKEN)?;
        step(MIN_TOKEN);
        if let Some(gap) = window.iter().rposition(|&byte| !in_run(byte)) {
            at += gap + 1;
            continue;
        }
        let rest = text.get(at + MIN_TOKEN..)?;
        let run = MIN_TOKEN + rest.iter().take_while(|&&byte| in_run(byte)).count();
        if let Some((start, end)) = find_in_run(text.get(at..at + run)?) {
            return Some((at + start, at + end));
        }
        at += run + 1;
    }
}

/// For each first byte, a bit for each shape that starts with it.
static BY_FIRST: [[u128; 2]; 128] = {
    assert!(SHAPES.len() <= 256);
    let mut table = [[0; 2]; 128];
    let mut at = 0;
    while at < SHAPES.len() {
        table[SHAPES[at].prefix[0] as usize][at / 128] |= 1 << (at % 128);
        at += 1;
    }
    table
};

fn shapes_from(first: u8) -> impl Iterator<Item = &'static Shape> {
    let [mut low, mut high] = BY_FIRST
        .get(usize::from(first))
        .copied()
        .unwrap_or_default();
    std::iter::from_fn(move || {
        let (left, base) = if low == 0 {
            (&mut high, 128)
        } else {
            (&mut low, 0)
        };
        if *left == 0 {
            return None;
        }
        let at = left.trailing_zeros() as usize;
        *left &= left.wrapping_sub(1);
        SHAPES.get(base + at)
    })
}

/// Returns whether the token at `start` is an AWS access key id.
pub(super) fn is_aws_key_id(text: &[u8], start: usize) -> bool {
    text.get(start..)
        .is_some_and(|token| token.starts_with(b"AKIA") || token.starts_with(b"ASIA"))
}

/// Returns whether `text` may be the secret of an AWS access key: 40 characters of base64.
pub(super) fn is_aws_secret(text: &[u8]) -> bool {
    text.len() == 40
        && text
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
        && text.iter().any(u8::is_ascii_uppercase)
        && text.iter().any(u8::is_ascii_lowercase)
        && text.iter().any(u8::is_ascii_digit)
}

fn find_in_run(run: &[u8]) -> Option<(usize, usize)> {
    let mut before = b'-';
    for (start, &byte) in run.iter().enumerate() {
        let rest = run.get(start..)?;
        if rest.len() < MIN_TOKEN {
            return None;
        }
        // A token starts at the start of a word, so `mask-...` is not `sk-...`.
        if !before.is_ascii_alphanumeric()
            && let Some(len) = shapes_from(byte).find_map(|shape| shape.len_in(rest))
        {
            return Some((start, start + len));
        }
        before = byte;
    }
    None
}

fn in_run(byte: u8) -> bool {
    const RUN: [bool; 256] = {
        let mut run = [false; 256];
        let mut byte = 0u8;
        while byte < 128 {
            run[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
            byte += 1;
        }
        run
    };
    RUN[usize::from(byte)]
}

impl Shape {
    fn len_in(&self, rest: &[u8]) -> Option<usize> {
        step(1);
        let body = rest.strip_prefix(self.prefix)?;
        let probe = body.get(..PROBE).unwrap_or(body);
        step(probe.len());
        let head = probe
            .iter()
            .take_while(|&&byte| self.body.holds(byte))
            .count();
        let known = probe.get(..head)?;
        let alive =
            known.iter().any(u8::is_ascii_digit) || known.iter().any(u8::is_ascii_uppercase);
        let dotted = !matches!(self.body, Body::Dotted) || known.contains(&b'.');
        if head < self.min_len || !alive || !dotted {
            return None;
        }
        let len = body
            .iter()
            .take_while(|&&byte| self.body.holds(byte))
            .count();
        (len <= self.max_len).then_some(self.prefix.len() + len)
    }
}

impl Body {
    fn holds(self, byte: u8) -> bool {
        match self {
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'),
            Self::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Hex => byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::find;

    fn token(text: &str) -> Option<&str> {
        find(text.as_bytes(), 0).map(|(start, end)| &text[start..end])
    }

    #[test]
    fn known_tokens_are_found_inside_other_text() {
        assert_eq!(
            token("x=hvs.CAESIJ2xq0dT8Zk4mY7w;y"),
            Some("hvs.CAESIJ2xq0dT8Zk4mY7w")
        );
        assert_eq!(
            token("/AKIAIOSFODNN7EXAMPLE/"),
            Some("AKIAIOSFODNN7EXAMPLE")
        );
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";
        assert_eq!(token(jwt), Some(jwt));
    }

    #[test]
    fn long_names_are_no_tokens() {
        for text in [
            "mask-rcnn-with-long-name-2024",
            "/usr/lib/x86_64-linux-gnu/libfoo.so.1.2.3",
            "sk-learn-pipeline-for-all-v2",
        ] {
            assert_eq!(token(text), None, "`{text}`");
        }
    }
}
