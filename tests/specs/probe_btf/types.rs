//! The running kernel's BTF with deliberate errors. It is parsed without the agent's parser.
//!
//! Source: Documentation/bpf/btf.rst.

use std::ops::Range;

const STRUCT: u32 = 4;
const UNION: u32 = 5;
/// Typedef, volatile, const, restrict and type tag. Each refers to another type.
const STAND_INS: [u32; 5] = [8, 9, 10, 11, 18];

#[derive(Clone)]
pub(crate) struct Types {
    pub bytes: Vec<u8>,
    /// Start of each type. The first is type 1.
    starts: Vec<usize>,
    names: usize,
}

impl Types {
    pub(crate) fn read(bytes: Vec<u8>) -> Self {
        let mut types = Self {
            bytes,
            starts: Vec::new(),
            names: 0,
        };
        let section = types.section(8);
        types.names = types.section(16).start;
        let mut at = section.start;
        while at < section.end {
            types.starts.push(at);
            let count = types.members_of(at).len();
            at += 12
                + match types.kind(at) {
                    1 | 14 | 17 => 4,
                    3 => 12,
                    STRUCT | UNION | 15 | 19 => count * 12,
                    6 | 13 => count * 8,
                    _ => 0,
                };
        }
        types
    }

    /// Finds a member by its path, also in anonymous members, in each struct of that name.
    pub(crate) fn members(&self, of: &str, path: &str) -> Vec<usize> {
        let structs = self
            .starts
            .iter()
            .filter(|&&at| self.kind(at) == STRUCT && self.name(at) == of.as_bytes());
        structs.filter_map(|&at| self.member(at, path)).collect()
    }

    /// Moves a member by that many bytes. Returns `false` when it would begin before its struct.
    pub(crate) fn shift(&mut self, member: usize, by: i32) -> bool {
        let moved = self.word(member + 8).checked_add_signed(by * 8);
        if let Some(moved) = moved {
            self.put(member + 8, moved);
        }
        moved.is_some()
    }

    pub(crate) fn swap(&mut self, one: usize, other: usize) {
        let (first, second) = (self.word(one + 8), self.word(other + 8));
        self.put(one + 8, second);
        self.put(other + 8, first);
    }

    /// Gives a member a new name that is not in use.
    pub(crate) fn rename(&mut self, member: usize) {
        let name = self.names + self.word(member) as usize;
        let other = self.add_name(b"renamed_by_a_spec");
        // The member is before the names, so the new name did not move it.
        assert!(name > member);
        self.put(member, other);
    }

    /// Adds a second struct with that name. It is the same except for one member, which is at another position.
    pub(crate) fn add_twin(&mut self, of: &str, path: &str) {
        let original = self.starts.iter().copied();
        let original = original
            .filter(|&at| self.kind(at) == STRUCT && self.name(at) == of.as_bytes())
            .find(|&at| self.member(at, path).is_some())
            .unwrap();
        let len = 12 + self.members_of(original).len() * 12;
        let member = self.member(original, path).unwrap();
        let mut twin = self.bytes[original..original + len].to_vec();
        let at = member - original + 8;
        let moved = u32::from_ne_bytes(twin[at..at + 4].try_into().unwrap()) + 64;
        twin[at..at + 4].copy_from_slice(&moved.to_ne_bytes());
        let end = self.section(8).end;
        self.bytes.splice(end..end, twin);
        let len = u32::try_from(len).unwrap();
        self.put(12, self.word(12) + len);
        self.put(16, self.word(16) + len);
    }

    fn add_name(&mut self, name: &[u8]) -> u32 {
        let names = self.section(16);
        assert_eq!(names.end, self.bytes.len(), "names come last");
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
        self.put(20, self.word(20) + u32::try_from(name.len() + 1).unwrap());
        u32::try_from(names.len()).unwrap()
    }

    fn member(&self, of: usize, path: &str) -> Option<usize> {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        self.members_of(of).find_map(|member| {
            let ty = || self.aggregate(self.word(member + 4));
            match self.name(member) {
                b"" => self.member(ty()?, path),
                name if name != first.as_bytes() => None,
                _ if rest.is_empty() => Some(member),
                _ => self.member(ty()?, rest),
            }
        })
    }

    fn members_of(&self, at: usize) -> impl ExactSizeIterator<Item = usize> + use<> {
        let count = (self.word(at + 4) & 0xffff) as usize;
        (0..count).map(move |index| at + 12 + index * 12)
    }

    fn aggregate(&self, id: u32) -> Option<usize> {
        let at = *self.starts.get((id as usize).checked_sub(1)?)?;
        match self.kind(at) {
            STRUCT | UNION => Some(at),
            kind if STAND_INS.contains(&kind) => self.aggregate(self.word(at + 8)),
            _ => None,
        }
    }

    fn kind(&self, at: usize) -> u32 {
        self.word(at + 4) >> 24 & 0x1f
    }

    fn name(&self, at: usize) -> &[u8] {
        let rest = &self.bytes[self.names + self.word(at) as usize..];
        rest.split(|&b| b == 0).next().unwrap_or_default()
    }

    /// Reads the position of a section from its two words in the header.
    fn section(&self, header: usize) -> Range<usize> {
        let start = self.word(4) as usize + self.word(header) as usize;
        start..start + self.word(header + 4) as usize
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    fn put(&mut self, at: usize, word: u32) {
        self.bytes[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    }
}
