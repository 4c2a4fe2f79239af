//! Finds the host's signature over the key exchange, in the unencrypted bytes at the beginning of a connection.
//!
//! RFC 4253: lines until one that begins with `SSH-`, then packets. In every exchange method, the final reply of the
//! host has its key, its half of the secret and its signature over the exchange, each as a string; the messages 30 to
//! 49 belong to the method. The signature is different each time.

use russh::keys::ssh_encoding::{Decode as _, Reader as _};

/// Maximum number of bytes of a key exchange.
const MOST: usize = 1 << 20;
/// OpenSSH's limit for a packet.
const PACKET: usize = 256 << 10;

const METHOD: std::ops::RangeInclusive<u8> = 30..=49;
const NEW_KEYS: u8 = 21;

/// Parser of the bytes from a host, from the first one.
#[derive(Debug, Default)]
pub(super) struct KeyExchangeParser {
    heard: Vec<u8>,
    at: usize,
    greeted: bool,
    done: bool,
}

/// The next element of the stream.
enum Next<'a> {
    /// A line with its length, and whether it is the last one.
    Greeting(usize, bool),
    Packet(usize, &'a [u8]),
    Incomplete,
    /// Not SSH, or already encrypted.
    Nothing,
}

impl KeyExchangeParser {
    /// Parses more bytes. Returns the signature once it is complete.
    pub(super) fn parse(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
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

    /// Returns the number of bytes in complete lines and packets; at the end, up to the element that ended the search.
    pub(super) fn whole(&self) -> usize {
        self.at
    }

    /// Returns whether the search has ended: later bytes may be encrypted.
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

/// Returns the third of three strings. Other messages of a method have fewer: the group of a group exchange is two
/// numbers.
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
        KeyExchangeParser::default().parse(&said.concat())
    }

    const GREETING: &[u8] = b"SSH-2.0-OpenSSH_9.2p1\r\n";

    #[test]
    fn signature_is_found_for_every_method() {
        let init = packet(20, &[7; 16]);
        // Diffie-Hellman and its elliptic-curve and hybrid variants; then a group chosen by the host.
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
    fn signature_is_found_once_in_any_pieces() {
        let said = [GREETING.to_vec(), packet(20, b""), reply(31), vec![9; 99]].concat();
        let mut watch = KeyExchangeParser::default();
        let found: Vec<_> = said
            .iter()
            .filter_map(|&byte| watch.parse(&[byte]))
            .collect();
        assert_eq!(found, [b"signature"]);
    }

    #[test]
    fn only_complete_lines_and_packets_count() {
        let (init, reply) = (packet(20, &[7; 16]), reply(31));
        let mut watch = KeyExchangeParser::default();
        watch.parse(&GREETING[..5]);
        assert_eq!(watch.whole(), 0);
        watch.parse(&[&GREETING[5..], &init, &reply[..9]].concat());
        assert_eq!(watch.whole(), GREETING.len() + init.len());
        assert!(watch.parse(&reply[9..]).is_some() && watch.is_done());
        assert_eq!(watch.whole(), GREETING.len() + init.len());
    }

    #[test]
    fn search_ends_at_new_keys_and_at_invalid_data() {
        let late = [GREETING.to_vec(), packet(NEW_KEYS, b""), reply(31)];
        assert_eq!(hear(&late), None);
        let huge = [GREETING.to_vec(), vec![0xff; 64], reply(31)];
        assert_eq!(hear(&huge), None);
        let mut watch = KeyExchangeParser::default();
        for _ in 0..400 {
            assert_eq!(watch.parse(&[b'x'; 1 << 12]), None);
        }
        assert!(watch.heard.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_from_a_host_are_handled(said in prop::collection::vec(any::<u8>(), 0..4096)) {
            let mut watch = KeyExchangeParser::default();
            watch.parse(&said);
            let mut watch = KeyExchangeParser::default();
            watch.parse(GREETING);
            watch.parse(&said);
        }
    }
}
