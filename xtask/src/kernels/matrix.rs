//! The cells of the matrix: a kernel, a user land, a layout of cgroups, and what runs there.

use super::kernel::Series;
use super::small::{
    FAILED_EXECS, LOCKED_DOWN, LOGINS, OLD, PREEMPTED, PREEMPTED_LATER, SKIPPED, Small,
    WITHOUT_BPFFS, WITHOUT_BTF, WITHOUT_CGROUP2, WITHOUT_TRACEFS,
};
use super::tree::Cgroups;

/// One row of the table.
pub(super) struct Cell {
    pub(super) name: &'static str,
    pub(super) place: Place,
    /// Runs in CI.
    pub(super) is_short: bool,
}

/// Where the specs run, and which.
pub(super) enum Place {
    /// This machine and its own kernel.
    Here,
    /// A guest with a Debian release and its sshd: the specs themselves.
    Debian {
        kernel: Series,
        suite: &'static str,
        cgroups: Cgroups,
        specs: &'static [&'static str],
    },
    /// A guest of a few files, without sshd.
    Small {
        kernel: Series,
        small: &'static Small,
    },
}

/// Attribution, exec and exit, as parts of the names of specs.
pub(super) const SPECS: &[&str] = &[
    "attribution::",
    "exec::",
    "exit::",
    "login::the_first_command_is_never_missed",
    "login::scp_and_sftp_are_sessions",
    "stamp::",
];

/// Specs that a layout of cgroups could break.
const SPECS_OF_CGROUPS: &[&str] = &[
    "attribution::a_reset_login_uid_changes_no_owner_and_shows",
    "attribution::concurrent_sessions_never_share_events",
    "attribution::work_goes_on_in_its_session_after_the_login_has_ended",
    "exit::",
    "login::the_first_command_is_never_missed",
];

const fn debian(suite: &'static str, begin: &'static str) -> Series {
    Series {
        suite,
        begin,
        architecture: "amd64",
    }
}

const LINUX_5_10: Series = debian("bullseye", "5.10.");
const LINUX_6_1: Series = debian("bookworm", "6.1.");
const LINUX_6_12: Series = debian("trixie", "6.12.");
const NEWEST: Series = debian("sid", "");

const fn small(name: &'static str, kernel: Series, small: &'static Small) -> Cell {
    Cell {
        name,
        place: Place::Small { kernel, small },
        is_short: false,
    }
}

const fn specs(
    name: &'static str,
    kernel: Series,
    suite: &'static str,
    cgroups: Cgroups,
    specs: &'static [&'static str],
) -> Cell {
    let place = Place::Debian {
        kernel,
        suite,
        cgroups,
        specs,
    };
    Cell {
        name,
        place,
        is_short: false,
    }
}

const fn in_ci(cell: Cell) -> Cell {
    Cell {
        is_short: true,
        ..cell
    }
}

/// All cells, in the order of the page.
pub(super) const CELLS: &[Cell] = &[
    small("5.10", LINUX_5_10, &OLD),
    specs("6.1", LINUX_6_1, "bookworm", Cgroups::Unified, SPECS),
    specs("6.12", LINUX_6_12, "trixie", Cgroups::Unified, SPECS),
    specs("newest", NEWEST, "trixie", Cgroups::Unified, SPECS),
    Cell {
        name: "running",
        place: Place::Here,
        is_short: false,
    },
    specs(
        "hybrid",
        LINUX_6_12,
        "trixie",
        Cgroups::Hybrid,
        SPECS_OF_CGROUPS,
    ),
    specs(
        "cgroup-v1",
        LINUX_6_1,
        "bookworm",
        Cgroups::V1,
        SPECS_OF_CGROUPS,
    ),
    in_ci(small("logins", LINUX_6_1, &LOGINS)),
    small(
        "arm64",
        Series {
            architecture: "arm64",
            ..LINUX_6_12
        },
        &LOGINS,
    ),
    small("logins-newest", NEWEST, &LOGINS),
    small("failed-execs", LINUX_6_12, &FAILED_EXECS),
    small("preempted", LINUX_6_12, &PREEMPTED),
    small("preempted-later", LINUX_6_12, &PREEMPTED_LATER),
    small("skipped", NEWEST, &SKIPPED),
    small("no-btf", LINUX_6_12, &WITHOUT_BTF),
    small("lockdown", LINUX_6_12, &LOCKED_DOWN),
    small("no-bpffs", LINUX_6_12, &WITHOUT_BPFFS),
    small("no-tracefs", LINUX_6_12, &WITHOUT_TRACEFS),
    small("no-cgroup2", LINUX_6_12, &WITHOUT_CGROUP2),
];
