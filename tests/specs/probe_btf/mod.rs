//! Type information that differs from the running kernel's: the agent must refuse the probe instead of using wrong types.
mod types;

use std::fs;
use std::path::PathBuf;

use vctl_agent::probe::btf::BtfError;
use vctl_agent::probe::{KERNEL_BTF, Probe, ProbeError, ProbeOptions};
use vctl_common::layout::FIELDS;
use vctl_tests::lab::{Lab, Options};

use types::Types;

/// Members that the self-test's processes do not use. These processes do not run a script, do not move to another cgroup,
/// and do not end by exit(2) instead of exit_group(2).
const UNPROVEN: &[(&str, &str)] = &[
    ("task_struct", "exit_code"),
    ("linux_binprm", "interp"),
    ("kernfs_node", "id"),
];

/// Members that can be confused with each other.
const SWAPPED: &[(&str, &str, &str)] = &[
    ("task_struct", "loginuid", "sessionid"),
    ("task_struct", "real_parent", "group_leader"),
    ("cred", "uid", "gid"),
    ("cred", "uid", "euid"),
    ("mm_struct", "arg_start", "arg_end"),
    ("file", "f_path.dentry", "f_path.mnt"),
    ("dentry", "d_parent", "d_name.name"),
    ("mount", "mnt_parent", "mnt_mountpoint"),
];

/// Directory to load probes, without an agent.
struct Bench {
    lab: Lab,
    kernel: Types,
    pins: PathBuf,
}

impl Bench {
    fn or_skip() -> Option<Self> {
        let lab = Lab::or_skip(&Options {
            agent_waits: true,
            ..Options::default()
        })?;
        Some(Self {
            kernel: Types::read(fs::read(KERNEL_BTF).unwrap()),
            pins: lab.pins(),
            lab,
        })
    }

    fn start(&self, types: &Types) -> Result<Probe, ProbeError> {
        let btf = self.lab.root().join("btf");
        fs::write(&btf, &types.bytes).unwrap();
        self.start_with(btf)
    }

    fn start_with(&self, btf: PathBuf) -> Result<Probe, ProbeError> {
        Probe::start(ProbeOptions {
            pin_dir: self.pins.clone(),
            ring_bytes: 1 << 20,
            capture_all: false,
            failed_exec: true,
            log: false,
            btf,
            self_test: self.lab.programs.agent.clone(),
        })
    }

    /// Returns the reason why a probe does not start with these types. Removes a probe that started.
    fn refusal(&self, types: &Types) -> Option<ProbeError> {
        let refusal = self.start(types).map(drop).err();
        if refusal.is_none() {
            assert!(vctl_agent::probe::detach(&self.pins).unwrap());
        }
        assert!(!self.pins.exists(), "pins stay after {refusal:?}");
        refusal
    }

    /// Returns these types with a member moved by its own size. Returns `None` when this is not possible.
    fn moved(&self, of: &str, path: &str, by: i32) -> Option<Types> {
        let mut types = self.kernel.clone();
        let members = types.members(of, path);
        assert!(!members.is_empty(), "{of}.{path}");
        let all = members.into_iter().all(|member| types.shift(member, by));
        all.then_some(types)
    }
}

#[test]
fn the_kernels_own_types_start_a_probe() {
    let Some(bench) = Bench::or_skip() else {
        return;
    };
    let refusal = bench.refusal(&bench.kernel);
    assert!(refusal.is_none(), "{refusal:?}");
}

#[test]
fn a_member_that_lies_elsewhere_starts_no_probe() {
    let Some(bench) = Bench::or_skip() else {
        return;
    };
    for &(of, path, size) in FIELDS {
        let step = if size == 4 { 4 } else { 8 };
        // The parent is next to the real parent, and the start of the environment is next to the end of the arguments.
        // So on one side the moved member may have the same value.
        let refused = [step, -step]
            .into_iter()
            .filter_map(|by| bench.moved(of, path, by))
            .any(|types| bench.refusal(&types).is_some());
        assert!(refused || UNPROVEN.contains(&(of, path)), "{of}.{path}");
    }
}

#[test]
fn two_members_that_changed_places_start_no_probe() {
    let Some(bench) = Bench::or_skip() else {
        return;
    };
    for &(of, one, other) in SWAPPED {
        let mut types = bench.kernel.clone();
        let pairs = types
            .members(of, one)
            .into_iter()
            .zip(types.members(of, other));
        for (one, other) in pairs.collect::<Vec<_>>() {
            types.swap(one, other);
        }
        assert!(bench.refusal(&types).is_some(), "{of}: {one}, {other}");
    }
}

#[test]
fn the_self_test_names_the_member_that_reads_wrong() {
    let Some(bench) = Bench::or_skip() else {
        return;
    };
    for (of, path, by) in [
        ("task_struct", "sessionid", 4),
        ("cred", "uid", 4),
        ("linux_binprm", "argc", 4),
    ] {
        let types = bench.moved(of, path, by).unwrap();
        let refusal = bench.refusal(&types).unwrap();
        let named = matches!(refusal, ProbeError::SelfTest { field, .. } if field == format!("{of}.{path}"));
        assert!(named, "{refusal}");
    }
}

#[test]
fn a_member_under_another_name_is_named() {
    let Some(bench) = Bench::or_skip() else {
        return;
    };
    let mut types = bench.kernel.clone();
    for member in types.members("task_struct", "start_boottime") {
        types.rename(member);
    }
    let refusal = bench.refusal(&types).unwrap().to_string();
    assert!(
        refusal.contains("`struct task_struct` has no member `start_boottime`"),
        "{refusal}"
    );
}

#[test]
fn two_structs_that_disagree_are_named() {
    let Some(bench) = Bench::or_skip() else {
        return;
    };
    let mut types = bench.kernel.clone();
    types.add_twin("cred", "euid");
    let refusal = bench.refusal(&types).unwrap();
    let disagree = matches!(
        refusal,
        ProbeError::Layout(BtfError::Ambiguous {
            of: "cred",
            member: "euid"
        })
    );
    assert!(disagree, "{refusal}");
}

#[test]
fn types_that_are_cut_or_not_there_start_no_probe() {
    let Some(bench) = Bench::or_skip() else {
        return;
    };
    let len = bench.kernel.bytes.len();
    for len in [0, 1, 23, 24, 1000, len / 2, len - 1] {
        let mut types = bench.kernel.clone();
        types.bytes.truncate(len);
        let refusal = bench.refusal(&types).unwrap();
        let damaged = matches!(refusal, ProbeError::Layout(BtfError::Damaged { .. }));
        assert!(damaged, "{len}: {refusal}");
    }
    let nowhere = bench.lab.root().join("nowhere");
    let refusal = bench.start_with(nowhere.clone()).map(drop).unwrap_err();
    assert!(
        refusal.to_string().contains(&nowhere.display().to_string()),
        "{refusal}"
    );
    assert!(!bench.pins.exists());
}
