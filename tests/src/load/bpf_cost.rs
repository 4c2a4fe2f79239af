//! Cost of BPF programs and maps, from the kernel's own counters.
//!
//! Read from the fdinfo of each object, without bpftool and without the loader.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};

use aya::maps::loaded_maps;
use aya::programs::loaded_programs;
use serde::{Deserialize, Serialize};

/// Work of one program since it was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramCost {
    pub name: String,
    pub run_count: u64,
    pub run_time_ns: u64,
    /// Number of runs that the kernel skipped, because the program already ran on that CPU.
    pub recursion_misses: u64,
    pub locked_bytes: u64,
}

/// Memory of one map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapCost {
    pub name: String,
    pub max_entries: u64,
    pub locked_bytes: u64,
}

/// All loaded objects by id.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BpfCost {
    pub programs: BTreeMap<u32, ProgramCost>,
    pub maps: BTreeMap<u32, MapCost>,
}

impl BpfCost {
    /// Reads all programs and maps of this kernel; needs root.
    pub fn read() -> io::Result<Self> {
        let mut cost = Self::default();
        for program in loaded_programs() {
            let program = program.map_err(io::Error::other)?;
            let fd = program.fd().map_err(io::Error::other)?;
            let info = fdinfo(fd.as_fd().as_raw_fd())?;
            let entry = ProgramCost {
                name: String::from_utf8_lossy(program.name()).into_owned(),
                run_count: field(&info, "run_cnt"),
                run_time_ns: field(&info, "run_time_ns"),
                recursion_misses: field(&info, "recursion_misses"),
                locked_bytes: field(&info, "memlock"),
            };
            cost.programs.insert(program.id(), entry);
        }
        for map in loaded_maps() {
            let map = map.map_err(io::Error::other)?;
            let fd = map.fd().map_err(io::Error::other)?;
            let info = fdinfo(fd.as_fd().as_raw_fd())?;
            let entry = MapCost {
                name: String::from_utf8_lossy(map.name()).into_owned(),
                max_entries: field(&info, "max_entries"),
                locked_bytes: field(&info, "memlock"),
            };
            cost.maps.insert(map.id(), entry);
        }
        Ok(cost)
    }

    /// Returns the work since `earlier`. Programs that were loaded before count from then.
    pub fn since(mut self, earlier: &Self) -> Self {
        self.maps.retain(|id, _| !earlier.maps.contains_key(id));
        for (id, program) in &mut self.programs {
            if let Some(before) = earlier.programs.get(id) {
                program.run_count -= before.run_count.min(program.run_count);
                program.run_time_ns -= before.run_time_ns.min(program.run_time_ns);
                program.recursion_misses -= before.recursion_misses.min(program.recursion_misses);
            }
        }
        self
    }

    /// Keeps only the objects that `earlier` did not have: those of the program that started in between.
    pub fn without(mut self, earlier: &Self) -> Self {
        self.programs
            .retain(|id, _| !earlier.programs.contains_key(id));
        self.maps.retain(|id, _| !earlier.maps.contains_key(id));
        self
    }

    pub fn run_time_ns(&self) -> u64 {
        self.programs
            .values()
            .map(|program| program.run_time_ns)
            .sum()
    }

    pub fn map_bytes(&self) -> u64 {
        self.maps.values().map(|map| map.locked_bytes).sum()
    }
}

/// The kernel counts run time while this is alive. Dropping it restores the setting.
#[derive(Debug)]
pub struct RunTimeStats {
    before: String,
}

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl RunTimeStats {
    pub fn enable() -> io::Result<Self> {
        let before = fs::read_to_string(SWITCH)?;
        fs::write(SWITCH, "1")?;
        Ok(Self { before })
    }
}

impl Drop for RunTimeStats {
    fn drop(&mut self) {
        // A drop cannot return an error. If the setting stays on, each program run takes about ten nanoseconds more.
        let _ = fs::write(SWITCH, &self.before);
    }
}

fn fdinfo(fd: RawFd) -> io::Result<String> {
    fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))
}

/// A missing field is 0, because older kernels do not have all fields.
fn field(info: &str, name: &str) -> u64 {
    info.lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .find_map(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_come_from_fdinfo() {
        let info = "prog_type:\t26\nmemlock:\t4096\nrun_time_ns:\t81236\nrun_cnt:\t71\n";
        assert_eq!(field(info, "run_time_ns"), 81236);
        assert_eq!(field(info, "run_cnt"), 71);
        assert_eq!(field(info, "recursion_misses"), 0);
    }
}
