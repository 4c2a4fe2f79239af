//! The cheapest program to execute: no libc, no loader, one page.
//!
//! Written byte by byte, so a measurement needs no compiler, and all machines run the same instructions. The exit
//! code is the low four bits of the first byte of the first argument. A load puts a digit there and can check
//! each recorded exit code.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const CODE: &[u8] = &[
    0x48, 0x8b, 0x04, 0x24, // mov rax, [rsp]        argc
    0x31, 0xff, // xor edi, edi
    0x48, 0x83, 0xf8, 0x02, // cmp rax, 2
    0x72, 0x0b, // jb over the next three
    0x48, 0x8b, 0x74, 0x24, 0x10, // mov rsi, [rsp+16]     argv[1]
    0x0f, 0xb6, 0x3e, // movzx edi, byte [rsi]
    0x83, 0xe7, 0x0f, // and edi, 15
    0xb8, 0xe7, 0x00, 0x00, 0x00, // mov eax, 231          exit_group
    0x0f, 0x05, // syscall
];
const BASE: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;

/// Returns the exit code of the child for this first argument.
pub fn exit_code(first_argument: &[u8]) -> u8 {
    first_argument.first().map_or(0, |byte| byte & 15)
}

/// Writes the child to `path`, with execute permission for all accounts.
pub fn write_to(path: &Path) -> io::Result<()> {
    if !cfg!(target_arch = "x86_64") {
        return Err(io::Error::other("the load's child is x86-64 code"));
    }
    fs::write(path, elf())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// Returns an ELF file with one segment for headers and code (elf(5)).
fn elf() -> Vec<u8> {
    let size = HEADERS + CODE.len() as u64;
    let mut file = Vec::with_capacity(256);
    file.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let half = |file: &mut Vec<u8>, value: u16| file.extend(value.to_le_bytes());
    let word = |file: &mut Vec<u8>, value: u32| file.extend(value.to_le_bytes());
    let long = |file: &mut Vec<u8>, value: u64| file.extend(value.to_le_bytes());
    half(&mut file, 2); // ET_EXEC
    half(&mut file, 62); // EM_X86_64
    word(&mut file, 1);
    long(&mut file, BASE + HEADERS); // entry
    long(&mut file, 64); // program headers follow this header
    long(&mut file, 0); // no sections
    word(&mut file, 0);
    for value in [64, 56, 1, 0, 0, 0] {
        half(&mut file, value);
    }
    word(&mut file, 1); // PT_LOAD
    word(&mut file, 5); // readable, executable
    for value in [0, BASE, BASE, size, size, 0x1000] {
        long(&mut file, value);
    }
    file.extend(CODE);
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_child_ends_with_the_first_digit_of_its_argument() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("child");
        write_to(&path).unwrap();
        for (argument, code) in [("0-x", 0), ("7-x", 7), ("9", 9)] {
            let status = Command::new(&path).arg(argument).status().unwrap();
            assert_eq!(status.code(), Some(code));
            assert_eq!(i32::from(exit_code(argument.as_bytes())), code);
        }
        assert_eq!(Command::new(&path).status().unwrap().code(), Some(0));
    }
}
