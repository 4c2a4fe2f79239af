//! Redacts one argv many times, for a tool that counts instructions.
//!
//! It measures and asserts nothing itself. Run it with 0 and with N rounds: the difference divided
//! by N is one call. 64 bytes of harmless argv cost 800 to 1,300 instructions, a command string as long
//! about 5,000.
//!
//! ```text
//! cargo bench -p vctl-redact --bench redact --no-run
//! valgrind --tool=callgrind target/release/deps/redact-* 1000 /usr/bin/rsync -a /srv/data/
//! ```
#![allow(clippy::print_stdout, reason = "a bench reports on stdout")]

use std::hint::black_box;

use vctl_redact::{RedactRules, Redactor};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let rounds: usize = args.next().map_or(Ok(0), |count| count.parse())?;
    let argv: Vec<u8> = args
        .flat_map(|item| [item.as_bytes(), b"\0"].concat())
        .collect();
    let exe = argv.split(|&byte| byte == 0).next().unwrap_or_default();
    let redactor = Redactor::new(&RedactRules::default())?;
    let mut buffer = argv.clone();
    let mut masked = 0_usize;
    for _ in 0..rounds {
        buffer.copy_from_slice(&argv);
        masked += usize::from(redactor.redact(black_box(exe), black_box(&mut buffer)));
    }
    println!(
        "{masked} of {rounds} masked: {}",
        String::from_utf8_lossy(&buffer).replace('\0', " ")
    );
    Ok(())
}
