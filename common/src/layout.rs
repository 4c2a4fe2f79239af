//! Members of kernel structs that the probe reads.
//!
//! rustc emits no field relocations. The agent therefore looks up each member in the running
//! kernel's BTF and passes the offsets to the probe as one read-only array before it is loaded.
//! Both sides index it by [`Field`]. The verifier sees constants and checks every load against the
//! same BTF.

/// Member of a struct; its offset is `offset[field as usize]`.
macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident = $of:literal . $member:literal : $size:literal,)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Field {
            $($(#[$doc])* $variant,)+
        }

        /// Struct, member path and size in bytes of each [`Field`], in its order.
        pub const FIELDS: &[(&str, &str, u32)] = &[$(($of, $member, $size),)+];
    };
}

fields! {
    TaskTgid = "task_struct"."tgid": 4,
    TaskGroupLeader = "task_struct"."group_leader": 8,
    TaskRealParent = "task_struct"."real_parent": 8,
    TaskStart = "task_struct"."start_boottime": 8,
    TaskLoginuid = "task_struct"."loginuid": 4,
    TaskSessionid = "task_struct"."sessionid": 4,
    TaskCred = "task_struct"."cred": 8,
    TaskSignal = "task_struct"."signal": 8,
    TaskNsproxy = "task_struct"."nsproxy": 8,
    TaskThreadPid = "task_struct"."thread_pid": 8,
    TaskExitCode = "task_struct"."exit_code": 4,
    /// An array of 16 characters. BTF gives no size for an array, so it is not checked.
    TaskComm = "task_struct"."comm": 0,
    TaskMm = "task_struct"."mm": 8,
    TaskFs = "task_struct"."fs": 8,
    SignalLive = "signal_struct"."live": 4,
    SignalFlags = "signal_struct"."flags": 4,
    SignalGroupExitCode = "signal_struct"."group_exit_code": 4,
    SignalTty = "signal_struct"."tty": 8,
    CredUid = "cred"."uid": 4,
    CredGid = "cred"."gid": 4,
    CredEuid = "cred"."euid": 4,
    CredEgid = "cred"."egid": 4,
    CredGroups = "cred"."group_info": 8,
    MmArgStart = "mm_struct"."arg_start": 8,
    MmArgEnd = "mm_struct"."arg_end": 8,
    NsproxyMnt = "nsproxy"."mnt_ns": 8,
    MntNsInum = "mnt_namespace"."ns.inum": 4,
    PidLevel = "pid"."level": 4,
    /// A flexible array of `struct upid`: its size is not checked.
    PidNumbers = "pid"."numbers": 0,
    UpidNs = "upid"."ns": 8,
    PidNsInum = "pid_namespace"."ns.inum": 4,
    TtyDriver = "tty_struct"."driver": 8,
    TtyIndex = "tty_struct"."index": 4,
    TtyDriverMajor = "tty_driver"."major": 4,
    TtyDriverMinorStart = "tty_driver"."minor_start": 4,
    BprmFile = "linux_binprm"."file": 8,
    BprmFilename = "linux_binprm"."filename": 8,
    BprmInterp = "linux_binprm"."interp": 8,
    BprmArgc = "linux_binprm"."argc": 4,
    FileDentry = "file"."f_path.dentry": 8,
    FileMnt = "file"."f_path.mnt": 8,
    FileInode = "file"."f_inode": 8,
    InodeIno = "inode"."i_ino": 8,
    InodeSb = "inode"."i_sb": 8,
    InodeNlink = "inode"."i_nlink": 4,
    SbDev = "super_block"."s_dev": 4,
    DentryParent = "dentry"."d_parent": 8,
    DentryName = "dentry"."d_name.name": 8,
    MountMnt = "mount"."mnt": 0,
    MountParent = "mount"."mnt_parent": 8,
    MountMountpoint = "mount"."mnt_mountpoint": 8,
    VfsmountRoot = "vfsmount"."mnt_root": 8,
    FsPwdDentry = "fs_struct"."pwd.dentry": 8,
    FsPwdMnt = "fs_struct"."pwd.mnt": 8,
    CgroupRoot = "cgroup"."root": 8,
    CgroupKn = "cgroup"."kn": 8,
    CgroupRootHierarchy = "cgroup_root"."hierarchy_id": 4,
    KernfsId = "kernfs_node"."id": 8,
}

/// Number of offsets.
pub const FIELD_COUNT: usize = FIELDS.len();

/// Binary logarithm of `sizeof(struct upid)`, behind the offsets. The verifier of Linux 6.1 knows the limits of a shift,
/// but not those of a product with an unknown factor.
pub const UPID_SHIFT: usize = FIELD_COUNT;
/// Offsets of the first three arguments of a system call in `struct pt_regs`.
pub const REGS_ARG0: usize = FIELD_COUNT + 1;
pub const REGS_ARG1: usize = FIELD_COUNT + 2;
pub const REGS_ARG2: usize = FIELD_COUNT + 3;
/// Number of the system call execveat(2).
pub const NR_EXECVEAT: usize = FIELD_COUNT + 4;
/// Offsets of these arguments for a call of the 32-bit table.
pub const REGS_COMPAT_ARG0: usize = FIELD_COUNT + 5;
pub const REGS_COMPAT_ARG1: usize = FIELD_COUNT + 6;
pub const REGS_COMPAT_ARG2: usize = FIELD_COUNT + 7;
/// Offset of the call's number in `struct pt_regs`.
pub const REGS_NR: usize = FIELD_COUNT + 8;
/// Offset in `task_struct`, and bit, that show a call through the 32-bit table.
pub const COMPAT_AT: usize = FIELD_COUNT + 9;
pub const COMPAT_BIT: usize = FIELD_COUNT + 10;
/// Numbers of the calls in the 32-bit table and in the x32 table.
pub const NR_COMPAT_EXECVE: usize = FIELD_COUNT + 11;
pub const NR_COMPAT_EXECVEAT: usize = FIELD_COUNT + 12;
pub const NR_X32_EXECVE: usize = FIELD_COUNT + 13;
pub const NR_X32_EXECVEAT: usize = FIELD_COUNT + 14;
/// Offset in `task_struct` of the number of execs so far, or [`ABSENT`].
pub const SELF_EXEC_ID: usize = FIELD_COUNT + 15;
/// Number of elements in the probe's array.
pub const LAYOUT_LEN: usize = FIELD_COUNT + 16;

/// A member that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// Part of a `struct dentry` that the probe reads at once, from [`Field::DentryParent`] on. The
/// agent checks this layout at start. It has been the same for fifteen years, except in kernels
/// that randomise struct layouts.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct DentryWindow {
    pub parent: u64,
    pub hash_and_len: u64,
    pub name: u64,
}

/// Part of a `struct mount` that the probe reads at once, from [`Field::MountParent`] on.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MountWindow {
    pub parent: u64,
    pub mountpoint: u64,
    pub root: u64,
}
