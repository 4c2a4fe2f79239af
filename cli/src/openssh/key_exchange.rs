//! What passes in the clear before a connection is encrypted: the host's signature over the exchange.
//!
//! RFC 4253: lines until one that begins with `SSH-`, then packets. Whatever the method of exchange, the
//! answer that ends it is the host's key, its half of the secret, and its signature over all that was
//! said, each a string; the messages 30 to 49 are the method's own. The signature is never the same twice.

use russh::keys::ssh_encoding::{Decode as _, Reader as _};

/// More than any exchange takes.
const MOST: usize = 1 << 20;
/// OpenSSH's own limit of a packet.
const PACKET: usize = 256 << 10;

const METHOD: std::ops::RangeInclusive<u8> = 30..=49;
const NEW_KEYS: u8 = 21;

/// Looks at what a host says, from its first byte.
#[derive(Debug, Default)]
pub(super) struct Watch {
    heard: Vec<u8>,
    at: usize,
    greeted: bool,
    done: bool,
}

/// What stands at the beginning of the rest.
enum Next<'a> {
    /// As long as this.
    Greeting(usize, bool),
    Packet(usize, &'a [u8]),
    Incomplete,
    /// What is not SSH, or no longer in the clear.
    Nothing,
}

impl Watch {
    /// Hears some more, and returns the signature once it is whole.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.done {
            return None;
        }
        self.heard.extend_from_slice(bytes);
        loop {
            let rest = &self.heard[self.at..];
            let next = if self.greeted {
                packet(rest)
            } else {
                line(rest)
            };
            let (length, signature) = match next {
                Next::Greeting(length, last) => {
                    self.greeted = last;
                    (length, None)
                }
                Next::Packet(length, payload) => match payload.first() {
                    Some(&NEW_KEYS) => return self.stop(None),
                    Some(message) if METHOD.contains(message) => (length, signature(payload)),
                    _ => (length, None),
                },
                Next::Incomplete if self.heard.len() < MOST => return None,
                Next::Incomplete | Next::Nothing => return self.stop(None),
            };
            if signature.is_some() {
                return self.stop(signature);
            }
            self.at += length;
        }
    }

    /// Returns how many of all bytes make whole lines and packets; when it is done, up to what ended it.
    pub(super) fn whole(&self) -> usize {
        self.at
    }

    /// Returns whether nothing is looked for any more: what follows may be encrypted.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    fn stop(&mut self, found: Option<Vec<u8>>) -> Option<Vec<u8>> {
        self.done = true;
        self.heard = Vec::new();
        found
    }
}

fn line(rest: &[u8]) -> Next<'_> {
    match rest.iter().position(|&byte| byte == b'\n') {
        Some(end) => Next::Greeting(end + 1, rest.starts_with(b"SSH-")),
        None => Next::Incomplete,
    }
}

fn packet(rest: &[u8]) -> Next<'_> {
    let Some((head, body)) = rest.split_first_chunk::<4>() else {
        return Next::Incomplete;
    };
    let length = u32::from_be_bytes(*head) as usize;
    if length > PACKET {
        return Next::Nothing;
    }
    let Some(body) = body.get(..length) else {
        return Next::Incomplete;
    };
    match body.split_first() {
        Some((&padding, payload)) if usize::from(padding) <= payload.len() => {
            let payload = &payload[..payload.len() - usize::from(padding)];
            Next::Packet(4 + length, payload)
        }
        _ => Next::Nothing,
    }
}

/// Returns the third of three strings. A method's other messages have fewer: the group of a
/// group exchange is two numbers.
fn signature(payload: &[u8]) -> Option<Vec<u8>> {
    let mut rest = &payload[1..];
    let _key = Vec::<u8>::decode(&mut rest).ok()?;
    let _half = Vec::<u8>::decode(&mut rest).ok()?;
    let signature = Vec::<u8>::decode(&mut rest).ok()?;
    rest.is_finished().then_some(signature)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn string(bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).unwrap();
        [&length.to_be_bytes()[..], bytes].concat()
    }

    fn packet(message: u8, rest: &[u8]) -> Vec<u8> {
        let body = [&[4, message], rest, &[0; 4]].concat();
        string(&body)
    }

    fn reply(message: u8) -> Vec<u8> {
        let strings = [string(b"key"), string(b"half"), string(b"signature")];
        packet(message, &strings.concat())
    }

    fn hear(said: &[Vec<u8>]) -> Option<Vec<u8>> {
        Watch::default().hear(&said.concat())
    }

    const GREETING: &[u8] = b"SSH-2.0-OpenSSH_9.2p1\r\n";

    #[test]
    fn the_signature_is_found_in_the_reply_of_every_method() {
        let init = packet(20, &[7; 16]);
        // Diffie-Hellman and its elliptic and hybrid kinds; then with a group of the host's choice.
        let plain = [GREETING.to_vec(), init.clone(), reply(31)];
        assert_eq!(hear(&plain).as_deref(), Some(&b"signature"[..]));
        let group = packet(31, &[string(&[1; 256]), string(&[2])].concat());
        let grouped = [GREETING.to_vec(), init, group, reply(33)];
        assert_eq!(hear(&grouped).as_deref(), Some(&b"signature"[..]));
        let warned = [
            b"You are watched\r\n".to_vec(),
            GREETING.to_vec(),
            reply(31),
        ];
        assert_eq!(hear(&warned).as_deref(), Some(&b"signature"[..]));
    }

    #[test]
    fn it_is_found_once_however_it_is_cut() {
        let said = [GREETING.to_vec(), packet(20, b""), reply(31), vec![9; 99]].concat();
        let mut watch = Watch::default();
        let found: Vec<_> = said
            .iter()
            .filter_map(|&byte| watch.hear(&[byte]))
            .collect();
        assert_eq!(found, [b"signature"]);
    }

    #[test]
    fn only_whole_lines_and_packets_count() {
        let (init, reply) = (packet(20, &[7; 16]), reply(31));
        let mut watch = Watch::default();
        watch.hear(&GREETING[..5]);
        assert_eq!(watch.whole(), 0);
        watch.hear(&[&GREETING[5..], &init, &reply[..9]].concat());
        assert_eq!(watch.whole(), GREETING.len() + init.len());
        assert!(watch.hear(&reply[9..]).is_some() && watch.is_done());
        assert_eq!(watch.whole(), GREETING.len() + init.len());
    }

    #[test]
    fn nothing_is_looked_for_behind_new_keys_or_in_what_is_not_ssh() {
        let late = [GREETING.to_vec(), packet(NEW_KEYS, b""), reply(31)];
        assert_eq!(hear(&late), None);
        let huge = [GREETING.to_vec(), vec![0xff; 64], reply(31)];
        assert_eq!(hear(&huge), None);
        let mut watch = Watch::default();
        for _ in 0..400 {
            assert_eq!(watch.hear(&[b'x'; 1 << 12]), None);
        }
        assert!(watch.heard.is_empty());
    }

    proptest! {
        #[test]
        fn whatever_a_host_says_is_survived(said in prop::collection::vec(any::<u8>(), 0..4096)) {
            let mut watch = Watch::default();
            watch.hear(&said);
            let mut watch = Watch::default();
            watch.hear(GREETING);
            watch.hear(&said);
        }
    }
}
