//! Programs with a path, a user and an end, for specs that search for them.

use std::mem::offset_of;

use anyhow::Result;
use vctl_common::id::SessionId;
use vctl_common::wire::{Exec, Header};

use super::{Source, exec, exit};

impl Source {
    /// Stores a program of `uid` in a new process, and returns the number of its event.
    pub fn start_program(&mut self, id: SessionId, path: &str, uid: u32) -> Result<u64> {
        let seq = self.sessions[&id] + 1;
        self.replace_program(id, seq, path, uid)?;
        Ok(seq)
    }

    /// Stores a program in the process that the event `first` began.
    pub fn replace_program(
        &mut self,
        id: SessionId,
        first: u64,
        path: &str,
        uid: u32,
    ) -> Result<()> {
        let (seq, at) = (self.sessions[&id] + 1, self.tick());
        let argv = format!("{path}\0x\0");
        let strings = [path.as_bytes(), b"/srv", path.as_bytes(), argv.as_bytes()];
        let mut record = exec(id, seq, at, strings);
        let euid = offset_of!(Exec, euid);
        record[euid..euid + 4].copy_from_slice(&uid.to_le_bytes());
        set_process(&mut record, id, first);
        self.event(id, &record)
    }

    /// Stores the end of the process that the event `first` began. `status` is that of wait(2).
    pub fn end_program(&mut self, id: SessionId, first: u64, status: u32) -> Result<()> {
        let (seq, at) = (self.sessions[&id] + 1, self.tick());
        let mut record = exit(id, seq, at, status);
        set_process(&mut record, id, first);
        self.event(id, &record)
    }
}

fn set_process(record: &mut [u8], id: SessionId, first: u64) {
    // Two events that follow each other have the same process otherwise.
    let began = exec(id, 2 * first, 0, [b""; 4]);
    for (from, to) in [
        (offset_of!(Header, tgid), offset_of!(Header, cpu)),
        (offset_of!(Header, start), size_of::<Header>()),
    ] {
        record[from..to].copy_from_slice(&began[from..to]);
    }
}
