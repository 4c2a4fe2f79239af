//! Tests with types of made-up kernels, valid and damaged.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// Types that are being written, by id.
#[derive(Clone)]
struct Types {
    bytes: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

/// A member: name, type and offset in bits; for a bit field, the upper bits hold its size.
#[derive(Clone)]
struct Member {
    name: String,
    type_id: u32,
    bits: u32,
}

impl Types {
    fn new() -> Self {
        Self {
            bytes: Vec::new(),
            strings: vec![0],
            count: 0,
        }
    }

    fn add(&mut self, name: &str, info: u32, size_or_type: u32, body: &[u32]) -> u32 {
        let name = self.name(name);
        for word in [name, info, size_or_type].iter().chain(body) {
            self.bytes.extend_from_slice(&word.to_ne_bytes());
        }
        self.count += 1;
        self.count
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.strings.len()).unwrap();
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn of_size(&mut self, size: u32) -> u32 {
        match size {
            8 => self.add("", KIND_PTR << 24, 0, &[]),
            0 => self.add("", KIND_ARRAY << 24, 0, &[1, 1, 0]),
            size => self.add("int", KIND_INT << 24, size, &[32]),
        }
    }

    fn structure(&mut self, name: &str, members: &[Member]) -> u32 {
        self.aggregate(name, KIND_STRUCT << 24, members)
    }

    fn aggregate(&mut self, name: &str, info: u32, members: &[Member]) -> u32 {
        let body: Vec<u32> = members
            .iter()
            .flat_map(|member| [self.name(&member.name), member.type_id, member.bits])
            .collect();
        let count = u32::try_from(members.len()).unwrap();
        self.add(name, info | count, 4096, &body)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&[1, 0]);
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        let (types, strings) = (len(&self.bytes), len(&self.strings));
        for word in [24, 0, types, types, strings] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.extend_from_slice(&self.bytes);
        bytes.extend_from_slice(&self.strings);
        bytes
    }

    fn layout(&self) -> Result<[u32; LAYOUT_LEN], BtfError> {
        layout(&Btf::parse(&self.bytes())?)
    }
}

fn member(name: &str, type_id: u32, at: u32) -> Member {
    Member {
        name: name.to_owned(),
        type_id,
        bits: at * 8,
    }
}

/// Returns the structs that the probe needs, each once.
fn structs() -> Vec<&'static str> {
    let mut names: Vec<_> = FIELDS.iter().map(|&(of, ..)| of).collect();
    names.dedup();
    assert_eq!(names.len(), names.iter().collect::<HashSet<_>>().len());
    names
}

/// Writes a struct with all members that the probe needs, 8 bytes apart; `change` can modify each.
fn needed(types: &mut Types, of: &str, change: impl Fn(&mut Member, &str)) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    let mut inner: Vec<(String, Vec<Member>)> = Vec::new();
    for (_, path, size) in FIELDS.iter().filter(|(name, ..)| *name == of) {
        let type_id = types.of_size(*size);
        match path.split_once('.') {
            None => {
                // The probe reads the mount's root, its first member, together with its parent.
                let at = match (of, *path) {
                    ("mount", "mnt") => 24,
                    _ => u32::try_from(members.len()).unwrap() * 8,
                };
                let mut member = member(path, type_id, at);
                change(&mut member, path);
                members.push(member);
            }
            Some((first, rest)) => {
                if inner.last().is_none_or(|(name, _)| name != first) {
                    // Its type is known only after it is complete.
                    members.push(member(first, 0, u32::try_from(members.len()).unwrap() * 8));
                    inner.push((first.to_owned(), Vec::new()));
                }
                let within = &mut inner.last_mut().unwrap().1;
                // The name of a dentry, which follows its length, is read together with its parent.
                let at = match *path {
                    "d_name.name" => 8,
                    _ => u32::try_from(within.len()).unwrap() * 8,
                };
                let mut member = member(rest, type_id, at);
                change(&mut member, path);
                within.push(member);
            }
        }
    }
    for (name, within) in inner {
        let type_id = types.structure("", &within);
        let outer = members.iter_mut().find(|member| member.name == name);
        outer.unwrap().type_id = type_id;
    }
    members
}

/// Returns a kernel with all that the probe needs, after `change` modified its members.
fn kernel(change: impl Fn(&str, &mut Member, &str)) -> Types {
    kernel_of(&structs(), change)
}

fn kernel_of(structs: &[&str], change: impl Fn(&str, &mut Member, &str)) -> Types {
    let mut types = Types::new();
    for &of in structs {
        let members = needed(&mut types, of, |member, path| change(of, member, path));
        types.structure(of, &members);
    }
    let word = types.of_size(8);
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in SYSCALL_ARGS
        .iter()
        .chain(&COMPAT_ARGS)
        .chain([&SYSCALL_NUMBER])
    {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let registers: Vec<_> = names
        .into_iter()
        .enumerate()
        .map(|(nth, name)| member(name, word, u32::try_from(nth).unwrap() * 8))
        .collect();
    types.structure("pt_regs", &registers);
    types
}

#[test]
fn every_member_is_found_where_it_is() {
    let layout = kernel(|_, _, _| {}).layout().unwrap();
    let at = |field: Field| layout[field as usize];
    assert_eq!(at(Field::TaskTgid), 0);
    assert_eq!(at(Field::TaskGroupLeader), 8);
    assert_eq!(at(Field::CredEgid), 24);
    // `f_path` contains both, and `f_inode` follows it.
    assert_eq!(at(Field::FileDentry), 0);
    assert_eq!(at(Field::FileMnt), 8);
    assert_eq!(at(Field::FileInode), 8);
    assert_eq!(layout[UPID_SHIFT], 12);
    // Second copies of programs need this one, and nothing else does.
    assert_eq!(layout[SELF_EXEC_ID], ABSENT);
}

#[test]
fn anonymous_members_are_looked_through_and_their_places_added() {
    let mut types = kernel(|of, member, _| {
        if of == "cred" {
            member.name.insert(0, '_');
        }
    });
    let word = types.of_size(4);
    let names = ["uid", "gid", "euid", "egid"]
        .into_iter()
        .zip((0..).step_by(4));
    let mut innermost: Vec<_> = names.map(|(name, at)| member(name, word, at)).collect();
    innermost.push(member("group_info", types.of_size(8), 16));
    let innermost = types.structure("", &innermost);
    let between = types.aggregate("", KIND_UNION << 24, &[member("", innermost, 0)]);
    let constant = types.add("", KIND_CONST << 24, between, &[]);
    types.structure(
        "cred",
        &[member("usage", word, 0), member("", constant, 64)],
    );
    let layout = types.layout().unwrap();
    assert_eq!(layout[Field::CredUid as usize], 64);
    assert_eq!(layout[Field::CredEgid as usize], 64 + 12);
}

#[test]
fn a_member_that_is_not_there_is_named() {
    for &(of, path, size) in FIELDS {
        let types = kernel(|in_struct, member, candidate| {
            if (in_struct, candidate) == (of, path) {
                member.name = "renamed".to_owned();
            }
        });
        let missing = BtfError::NoMember {
            of,
            member: path,
            size,
        };
        assert_eq!(types.layout(), Err(missing));
    }
}

#[test]
fn a_member_of_another_size_is_named() {
    for &(of, path, size) in FIELDS.iter().filter(|(.., size)| *size != 0) {
        // Void has no size.
        let types = kernel(|in_struct, member, candidate| {
            if (in_struct, candidate) == (of, path) {
                member.type_id = 0;
            }
        });
        let other = BtfError::NoMember {
            of,
            member: path,
            size,
        };
        assert_eq!(types.layout(), Err(other));
    }
}

#[test]
fn a_struct_that_is_not_there_is_named() {
    for of in structs() {
        let mut others = structs();
        others.retain(|other| *other != of);
        let types = kernel_of(&others, |_, _, _| {});
        assert_eq!(types.layout(), Err(BtfError::NoStruct { of }));
    }
}

#[test]
fn a_struct_with_all_members_wins_over_its_namesake() {
    let mut types = kernel(|_, _, _| {});
    let word = types.of_size(8);
    types.structure("file", &[member("f_inode", word, 512)]);
    let whole = kernel(|_, _, _| {}).layout().unwrap();
    assert_eq!(types.layout().unwrap(), whole);
}

#[test]
fn two_structs_that_have_all_members_elsewhere_are_refused() {
    let mut types = kernel(|_, _, _| {});
    let members = needed(&mut types, "cred", |member, path| {
        if path == "euid" {
            member.bits += 64 * 8;
        }
    });
    types.structure("cred", &members);
    let disagree = BtfError::Ambiguous {
        of: "cred",
        member: "euid",
    };
    assert_eq!(types.layout(), Err(disagree));
}

#[test]
fn a_bit_field_is_no_member_that_can_be_read() {
    let mut types = kernel(|of, member, _| {
        if of == "cred" {
            member.name.insert(0, '_');
        }
    });
    let word = types.of_size(4);
    let fields = ["uid", "gid", "euid", "egid"]
        .into_iter()
        .zip((0..).step_by(4));
    let mut fields: Vec<_> = fields.map(|(name, at)| member(name, word, at)).collect();
    fields.push(member("group_info", types.of_size(8), 16));
    fields[2].bits |= 3 << 24;
    types.aggregate("cred", 1 << 31 | KIND_STRUCT << 24, &fields);
    let refused = BtfError::NoMember {
        of: "cred",
        member: "euid",
        size: 4,
    };
    assert_eq!(types.layout(), Err(refused));
    fields[2].bits &= 0xff_ffff;
    types.aggregate("cred", 1 << 31 | KIND_STRUCT << 24, &fields);
    assert_eq!(types.layout().unwrap()[Field::CredEuid as usize], 8);
}

#[test]
fn a_struct_that_no_window_spans_is_refused() {
    let types = kernel(|of, member, path| {
        if (of, path) == ("dentry", "d_parent") {
            member.bits += 512 * 8;
        }
    });
    assert_eq!(types.layout(), Err(BtfError::Scattered { of: "dentry" }));
}

#[test]
fn a_pid_of_a_size_that_no_shift_gives_is_refused() {
    let others: Vec<_> = structs().into_iter().filter(|of| *of != "upid").collect();
    let mut types = kernel_of(&others, |_, _, _| {});
    let members = needed(&mut types, "upid", |_, _| {});
    let body = members
        .iter()
        .flat_map(|member| [types.name(&member.name), member.type_id, member.bits]);
    let body: Vec<u32> = body.collect();
    types.add("upid", KIND_STRUCT << 24 | 1, 24, &body);
    assert_eq!(types.layout(), Err(BtfError::Scattered { of: "upid" }));
}

#[test]
fn types_that_hold_themselves_come_to_an_end() {
    let begun = Instant::now();
    // A chain that ends in itself: type 1 is a typedef of type 1.
    let mut types = Types::new();
    let cycle = types.add("cycle", KIND_TYPEDEF << 24, 1, &[]);
    // A struct that contains only itself, as often as possible.
    let own_id = types.count + 1;
    let within: Vec<_> = (0..0xffff).map(|_| member("", own_id, 0)).collect();
    types.structure("task_struct", &within);
    types.structure("cred", &[member("uid", cycle, 0)]);
    let missing = BtfError::NoMember {
        of: "task_struct",
        member: "tgid",
        size: 4,
    };
    assert_eq!(types.layout(), Err(missing));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn places_that_no_struct_has_are_refused_and_overflow_nothing() {
    let types = kernel(|of, member, _| {
        if of == "file" {
            member.bits = !7;
        }
    });
    assert!(matches!(
        types.layout(),
        Err(BtfError::NoMember { of: "file", .. })
    ));
}

#[test]
fn types_cut_anywhere_are_damaged() {
    let bytes = kernel(|_, _, _| {}).bytes();
    for len in 0..bytes.len() {
        let cut = Btf::parse(&bytes[..len]).map(drop);
        assert!(matches!(cut, Err(BtfError::Damaged { .. })), "{len}");
    }
    assert!(Btf::parse(&bytes).is_ok());
}

#[test]
fn a_section_that_ends_within_a_type_is_damaged() {
    let mut types = kernel(|_, _, _| {});
    types.bytes.truncate(types.bytes.len() - 4);
    assert!(matches!(types.layout(), Err(BtfError::Damaged { .. })));
}

#[test]
fn no_flipped_byte_makes_the_parser_panic_or_hang() {
    let bytes = kernel(|_, _, _| {}).bytes();
    let begun = Instant::now();
    for at in (0..24).chain((24..bytes.len()).step_by(5)) {
        let mut flipped = bytes.clone();
        flipped[at] ^= [0x01, 0x80, 0xff][at % 3];
        if let Ok(btf) = Btf::parse(&flipped) {
            let _ = layout(&btf);
            let _ = btf.missing_tracepoint(&["sched_process_exec"]);
        }
    }
    assert!(begun.elapsed() < Duration::from_mins(1));
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(
        header in proptest::collection::vec(0_u32..400, 5),
        rest in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&[1, 0]);
        for word in header {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.extend_from_slice(&rest);
        if let Ok(btf) = Btf::parse(&bytes) {
            let _ = layout(&btf);
        }
    }
}
