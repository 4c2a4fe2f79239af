//! Finds the offsets of members of the running kernel's structs in its BTF. No I/O.
//!
//! Only the parts of the format that the probe needs are parsed. Source: Documentation/bpf/btf.rst.
//! btf-rs was considered: its licence, LGPL-2.1, does not fit a statically linked program. aya's
//! own parser is not public.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::mem::offset_of;

use vctl_common::layout::{
    ABSENT, COMPAT_AT, COMPAT_BIT, DentryWindow, FIELDS, Field, LAYOUT_LEN, MountWindow,
    NR_COMPAT_EXECVE, NR_EXECVEAT, REGS_ARG0, REGS_COMPAT_ARG0, REGS_NR, SELF_EXEC_ID, UPID_SHIFT,
};

/// The offset of a member cannot be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    #[error("the kernel's type information is damaged: {what}")]
    Damaged { what: &'static str },
    #[error("this kernel has no `struct {of}`")]
    NoStruct { of: &'static str },
    #[error("this kernel's `struct {of}` has no member `{member}` of {size} bytes")]
    NoMember {
        of: &'static str,
        member: &'static str,
        size: u32,
    },
    #[error("this kernel has several `struct {of}` that disagree on `{member}`")]
    Ambiguous {
        of: &'static str,
        member: &'static str,
    },
    #[error("this kernel's `struct {of}` is laid out at random")]
    Scattered { of: &'static str },
    #[error("this kernel has no tracepoint `{name}`")]
    NoTracepoint { name: &'static str },
}

const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_FLOAT: u32 = 16;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// Longest chain of typedefs and qualifiers; real ones are shorter.
const CHAIN_MAX: usize = 32;
/// Deepest nesting of anonymous members; real ones are shallower.
const NESTING_MAX: usize = 8;
/// Longest name; without this, an endless name would be read again for each type.
const NAME_MAX: usize = 512;
/// Largest struct; offsets below it can be added without overflow.
const OFFSET_MAX: u32 = 1 << 20;

/// The types of one kernel.
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Start of each type in `types`; a type's id is its index, and 0 is void.
    starts: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Type {
    name: u32,
    kind: u32,
    vlen: usize,
    kind_flag: bool,
    size_or_ref: u32,
    /// Start of the part after the common header.
    body: usize,
}

impl<'a> Btf<'a> {
    /// Finds the start of each type.
    ///
    /// # Errors
    /// `Damaged` when the sections are not within `bytes`, or a type does not end within its
    /// section.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let damaged = |what| BtfError::Damaged { what };
        let word = |at: usize| u32_at(bytes, at).map(|word| word as usize);
        if bytes.get(..2) != Some(&0xeb9f_u16.to_ne_bytes()[..]) {
            return Err(damaged("it has no BTF header"));
        }
        let header = || Some((word(4)?, word(8)?, word(12)?, word(16)?, word(20)?));
        let (base, type_at, type_len, string_at, string_len) =
            header().ok_or(damaged("the header is incomplete"))?;
        let section = |at: usize, len: usize| {
            let from = base.checked_add(at)?;
            bytes.get(from..from.checked_add(len)?)
        };
        let types = section(type_at, type_len).ok_or(damaged("the types are outside the file"))?;
        let strings =
            section(string_at, string_len).ok_or(damaged("the names are outside the file"))?;
        let mut btf = Self {
            types,
            strings,
            starts: vec![0],
        };
        let mut at = 0;
        while at < types.len() {
            let start = u32::try_from(at).map_err(|_| damaged("it is too large"))?;
            btf.starts.push(start);
            let ty = btf.type_at(at).ok_or(damaged("a type is incomplete"))?;
            let body = match ty.kind {
                KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
                KIND_ARRAY => 12,
                KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => ty.vlen * 12,
                KIND_ENUM | KIND_FUNC_PROTO => ty.vlen * 8,
                1..=KIND_ENUM64 => 0,
                _ => return Err(damaged("a type has an unknown kind")),
            };
            at = ty.body + body;
            if at > types.len() {
                return Err(damaged("a type is incomplete"));
            }
        }
        Ok(btf)
    }

    fn type_at(&self, at: usize) -> Option<Type> {
        let info = u32_at(self.types, at + 4)?;
        Some(Type {
            name: u32_at(self.types, at)?,
            kind: info >> 24 & 0x1f,
            vlen: (info & 0xffff) as usize,
            kind_flag: info >> 31 != 0,
            size_or_ref: u32_at(self.types, at + 8)?,
            body: at + 12,
        })
    }

    fn ty(&self, id: u32) -> Option<Type> {
        if id == 0 {
            return None;
        }
        self.type_at(*self.starts.get(id as usize)? as usize)
    }

    fn name(&self, at: u32) -> &'a [u8] {
        let rest = self.strings.get(at as usize..).unwrap_or_default();
        let rest = &rest[..rest.len().min(NAME_MAX)];
        rest.split(|&b| b == 0).next().unwrap_or_default()
    }

    /// Finds all structs with one of these names.
    fn structs(&self, names: &[&'static str]) -> HashMap<&'static str, Vec<Type>> {
        let mut found: HashMap<_, Vec<Type>> = names.iter().map(|&name| (name, vec![])).collect();
        let all = self
            .starts
            .iter()
            .skip(1)
            .filter_map(|&at| self.type_at(at as usize));
        for ty in all.filter(|ty| ty.kind == KIND_STRUCT && ty.name != 0) {
            let name = std::str::from_utf8(self.name(ty.name)).unwrap_or_default();
            if let Some(structs) = found.get_mut(name) {
                structs.push(ty);
            }
        }
        found
    }

    /// Returns offset and size in bytes of a member; anonymous members are searched, too.
    fn member(&self, of: Type, path: &str) -> Option<(u32, u32)> {
        let (first, rest) = path
            .split_once('.')
            .map_or((path, None), |(a, b)| (a, Some(b)));
        let (at, type_id) = self.named(of, first, &mut HashSet::new(), 0)?;
        let (offset, size) = match rest {
            Some(rest) => self.member(self.aggregate(type_id)?, rest)?,
            None => (0, self.size(type_id).unwrap_or(0)),
        };
        Some((at + offset, size))
    }

    /// Returns the offset and type of the member with this name.
    ///
    /// No anonymous type is searched twice: its names would be ambiguous, and damaged types that
    /// contain themselves would never end.
    fn named(
        &self,
        of: Type,
        name: &str,
        seen: &mut HashSet<usize>,
        depth: usize,
    ) -> Option<(u32, u32)> {
        if depth > NESTING_MAX || !seen.insert(of.body) {
            return None;
        }
        (0..of.vlen).find_map(|index| {
            let at = of.body + index * 12;
            let found = self.name(u32_at(self.types, at)?);
            let type_id = u32_at(self.types, at + 4)?;
            let raw = u32_at(self.types, at + 8)?;
            let (bits, bitfield) = if of.kind_flag {
                (raw & 0xff_ffff, raw >> 24)
            } else {
                (raw, 0)
            };
            let offset = bits / 8;
            if bitfield != 0 || bits % 8 != 0 || offset > OFFSET_MAX {
                return None;
            }
            if found == name.as_bytes() {
                return Some((offset, type_id));
            }
            if !found.is_empty() {
                return None;
            }
            let (inner, type_id) = self.named(self.aggregate(type_id)?, name, seen, depth + 1)?;
            Some((offset + inner, type_id))
        })
    }

    fn aggregate(&self, id: u32) -> Option<Type> {
        self.resolve(id)
            .filter(|ty| ty.kind == KIND_STRUCT || ty.kind == KIND_UNION)
    }

    /// Follows typedefs and qualifiers.
    fn resolve(&self, id: u32) -> Option<Type> {
        let mut ty = self.ty(id)?;
        for _ in 0..CHAIN_MAX {
            match ty.kind {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    ty = self.ty(ty.size_or_ref)?;
                }
                _ => return Some(ty),
            }
        }
        None
    }

    fn size(&self, id: u32) -> Option<u32> {
        let ty = self.resolve(id)?;
        match ty.kind {
            KIND_PTR => Some(8),
            KIND_INT | KIND_STRUCT | KIND_UNION | KIND_ENUM | KIND_ENUM64 | KIND_FLOAT => {
                Some(ty.size_or_ref)
            }
            _ => None,
        }
    }

    /// Returns the first of the tracepoints to which BPF programs cannot attach by type.
    pub fn missing_tracepoint<'n>(&self, names: &[&'n str]) -> Option<&'n str> {
        let mut missing: Vec<&str> = names.to_vec();
        let all = self
            .starts
            .iter()
            .skip(1)
            .filter_map(|&at| self.type_at(at as usize));
        for ty in all.filter(|ty| ty.kind == KIND_TYPEDEF) {
            if missing.is_empty() {
                break;
            }
            if let Some(name) = self.name(ty.name).strip_prefix(b"btf_trace_") {
                missing.retain(|wanted| wanted.as_bytes() != name);
            }
        }
        missing.first().copied()
    }
}

/// Returns the layout for loading the probe.
///
/// # Errors
/// Names the struct and member that this kernel lacks. Two structs may have the same name; the one
/// with all members is used. Two that have all members at different offsets are an error.
pub fn layout(btf: &Btf<'_>) -> Result<[u32; LAYOUT_LEN], BtfError> {
    let names: Vec<&'static str> = FIELDS
        .iter()
        .map(|&(of, ..)| of)
        .chain(["pt_regs"])
        .collect();
    let structs = btf.structs(&names);
    let mut layout = [0; LAYOUT_LEN];
    for (slot, &(of, member, size)) in layout.iter_mut().zip(FIELDS) {
        let candidates = structs.get(of).map(Vec::as_slice).unwrap_or_default();
        let mut whole = candidates.iter().filter(|ty| has_all(btf, **ty, of));
        if whole.clone().next().is_none() {
            return Err(missing(btf, candidates, of));
        }
        *slot = place(btf, &mut whole, of, member, size)?;
    }
    let upid = structs.get("upid").and_then(|found| found.first());
    let size = upid.map_or(0, |ty| ty.size_or_ref);
    if !size.is_power_of_two() {
        return Err(BtfError::Scattered { of: "upid" });
    }
    layout[UPID_SHIFT] = size.trailing_zeros();
    let found = |of: &str| structs.get(of).map(Vec::as_slice).unwrap_or_default();
    let registers = [
        (REGS_ARG0, &SYSCALL_ARGS[..]),
        (REGS_COMPAT_ARG0, &COMPAT_ARGS[..]),
        (REGS_NR, &[SYSCALL_NUMBER][..]),
    ];
    for (begin, members) in registers {
        for (slot, &(member, first)) in layout[begin..].iter_mut().zip(members) {
            *slot = first + place(btf, found("pt_regs").iter(), "pt_regs", member, 0)?;
        }
    }
    let (mode, bit) = COMPAT_MODE;
    // Without it, no call counts as one of the 32-bit table.
    if let Ok(at) = place(btf, found("task_struct").iter(), "task_struct", mode, 0) {
        (layout[COMPAT_AT], layout[COMPAT_BIT]) = (at, bit);
    }
    let tasks = found("task_struct").iter();
    // The probe reads only its low half.
    let execs = place(btf, tasks, "task_struct", "self_exec_id", 8);
    layout[SELF_EXEC_ID] = execs.unwrap_or(ABSENT);
    layout[NR_COMPAT_EXECVE..][..4].copy_from_slice(&COMPAT_NUMBERS);
    windows(|field| layout[field as usize])?;
    layout[NR_EXECVEAT] = EXECVEAT;
    Ok(layout)
}

/// Checks that members that the probe reads together have the expected layout.
fn windows(offset: impl Fn(Field) -> u32) -> Result<(), BtfError> {
    let lies = |field, begin, at| offset(field) as usize == offset(begin) as usize + at;
    if !lies(
        Field::DentryName,
        Field::DentryParent,
        offset_of!(DentryWindow, name),
    ) {
        return Err(BtfError::Scattered { of: "dentry" });
    }
    let root = offset(Field::MountMnt) + offset(Field::VfsmountRoot);
    let root_lies =
        root as usize == offset(Field::MountParent) as usize + offset_of!(MountWindow, root);
    let mountpoint = offset_of!(MountWindow, mountpoint);
    if !root_lies || !lies(Field::MountMountpoint, Field::MountParent, mountpoint) {
        return Err(BtfError::Scattered { of: "mount" });
    }
    Ok(())
}

/// Offsets of the first three arguments of a system call in `pt_regs`, at its return.
#[cfg(target_arch = "x86_64")]
const SYSCALL_ARGS: [(&str, u32); 3] = [("di", 0), ("si", 0), ("dx", 0)];
/// The same for the 32-bit table.
#[cfg(target_arch = "x86_64")]
const COMPAT_ARGS: [(&str, u32); 3] = [("bx", 0), ("cx", 0), ("dx", 0)];
#[cfg(target_arch = "x86_64")]
const SYSCALL_NUMBER: (&str, u32) = ("orig_ax", 0);
/// `TS_COMPAT`.
#[cfg(target_arch = "x86_64")]
const COMPAT_MODE: (&str, u32) = ("thread_info.status", 2);
/// execve(2) and execveat(2) of the 32-bit table, then of the x32 table.
#[cfg(target_arch = "x86_64")]
const COMPAT_NUMBERS: [u32; 4] = [11, 358, 0x4000_0000 + 520, 0x4000_0000 + 545];
#[cfg(target_arch = "x86_64")]
const EXECVEAT: u32 = 322;
/// The result overwrites the first register; its old value is stored separately.
#[cfg(target_arch = "aarch64")]
const SYSCALL_ARGS: [(&str, u32); 3] = [("orig_x0", 0), ("regs", 8), ("regs", 16)];
#[cfg(target_arch = "aarch64")]
const COMPAT_ARGS: [(&str, u32); 3] = SYSCALL_ARGS;
#[cfg(target_arch = "aarch64")]
const SYSCALL_NUMBER: (&str, u32) = ("syscallno", 0);
/// `_TIF_32BIT`.
#[cfg(target_arch = "aarch64")]
const COMPAT_MODE: (&str, u32) = ("thread_info.flags", 1 << 22);
#[cfg(target_arch = "aarch64")]
const COMPAT_NUMBERS: [u32; 4] = [11, 387, u32::MAX, u32::MAX];
#[cfg(target_arch = "aarch64")]
const EXECVEAT: u32 = 281;

fn has_all(btf: &Btf<'_>, ty: Type, of: &str) -> bool {
    FIELDS
        .iter()
        .filter(|(name, ..)| *name == of)
        .all(|&(_, member, size)| {
            btf.member(ty, member)
                .is_some_and(|(_, found)| size == 0 || found == size)
        })
}

/// Returns the reason why no struct of that name can be used.
fn missing(btf: &Btf<'_>, candidates: &[Type], of: &'static str) -> BtfError {
    let of_struct = FIELDS.iter().filter(|(name, ..)| *name == of);
    let absent = |within: &[Type]| {
        of_struct
            .clone()
            .find_map(|&(_, member, size)| place(btf, within.iter(), of, member, size).err())
    };
    // A member that all of them lack says more than one that a single struct lacks.
    absent(candidates)
        .or_else(|| absent(candidates.get(..1)?))
        .unwrap_or(BtfError::NoStruct { of })
}

fn place<'t>(
    btf: &Btf<'_>,
    structs: impl Iterator<Item = &'t Type>,
    of: &'static str,
    member: &'static str,
    size: u32,
) -> Result<u32, BtfError> {
    let mut found = None;
    let mut any = false;
    for ty in structs {
        any = true;
        match btf.member(*ty, member) {
            Some((at, found_size)) if size == 0 || found_size == size => {
                if found.is_some_and(|other| other != at) {
                    return Err(BtfError::Ambiguous { of, member });
                }
                found = Some(at);
            }
            _ => {}
        }
    }
    match (found, any) {
        (Some(at), _) => Ok(at),
        (None, true) => Err(BtfError::NoMember { of, member, size }),
        (None, false) => Err(BtfError::NoStruct { of }),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    Some(u32::from_ne_bytes(bytes.get(at..end)?.try_into().ok()?))
}
