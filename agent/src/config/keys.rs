//! The key table: every setting, once.

use std::path::PathBuf;

use vctl_common::config::{ByteSize, Key, Table, list, put, text, text_or_none};

use super::Config;
use super::centre::{self, CentreConfig};
use super::value::{Capture, LogLevel, Mode};

pub static TABLE: Table<Config> = Table {
    keys: KEYS,
    env: |key| {
        vec![match centre::env(key) {
            Some(shared) => shared.to_owned(),
            None => format!("VCTL_AGENT_{}", key.to_ascii_uppercase()),
        }]
    },
    has_flag: |_| true,
    refuse: |_, _| None,
};

pub(super) fn defaults() -> Config {
    // What each holds is the table's to say; this is only room for it.
    TABLE.defaults(Config {
        host: String::new(),
        mode: Mode::BestEffort,
        break_glass_group: None,
        spool_dir: PathBuf::new(),
        spool_cap: ByteSize(0),
        session_budget: ByteSize(0),
        segment_size: ByteSize(0),
        run_dir: PathBuf::new(),
        pending_dir: PathBuf::new(),
        pin_dir: PathBuf::new(),
        ring_size: ByteSize(0),
        capture: Capture::Sessions,
        failed_exec: false,
        redact_flags: Vec::new(),
        redact_names: Vec::new(),
        sshd_names: Vec::new(),
        log_level: LogLevel::Info,
        probe_log: false,
        metrics_listen: None,
        metrics_textfile: None,
        centre: CentreConfig::default(),
    })
}

/// In the order of the printed configuration and of the documentation.
pub static KEYS: &[Key<Config>] = &[
    Key {
        name: "host",
        kind: "text",
        default: "",
        doc: "Name of this host in everything it records. Default: the kernel's host name.",
        switch: false,
        set: |config, raw| {
            let host: String = raw.one()?;
            if host.is_empty() || host.len() > 253 || !host.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(format!("`{}` is no host name", host.escape_debug()));
            }
            config.host = host;
            Ok(())
        },
        get: |config| text(&config.host),
    },
    Key {
        name: "mode",
        kind: "`best-effort` or `strict`",
        default: "best-effort",
        doc: "What happens to a login that the collector does not stamp within 2 s. `best-effort` \
              lets it in and stamps it late, which the session shows; `strict` refuses it. The \
              stamper takes it from the file or from its own line in PAM, never from the \
              environment.",
        switch: false,
        set: |config, raw| put(&mut config.mode, raw.one()),
        get: |config| text(&config.mode),
    },
    Key {
        name: "break_glass_group",
        kind: "name of a Unix group",
        default: "",
        doc: "Members are let in even when `strict` would refuse them; the session shows it and \
              syslog gets a line. Default: none.",
        switch: false,
        set: |config, raw| put(&mut config.break_glass_group, raw.one().map(Some)),
        get: |config| text_or_none(config.break_glass_group.as_ref()),
    },
    Key {
        name: "spool_dir",
        kind: "absolute path",
        default: "/var/lib/vctl/spool",
        doc: "Directory of the spool: what was recorded, until it is shipped or dropped. \
              `vctl session --local` reads it.",
        switch: false,
        set: |config, raw| put(&mut config.spool_dir, raw.absolute_path()),
        get: |config| text(&config.spool_dir.display()),
    },
    Key {
        name: "spool_cap",
        kind: "size",
        default: "1GiB",
        doc: "Most bytes the spool takes. At the cap what is shipped goes first, then the oldest \
              events of the largest session, else the oldest segment of closed sessions, else the \
              oldest segment, and a gap record says so. At least two segments.",
        switch: false,
        set: |config, raw| {
            put(
                &mut config.spool_cap,
                raw.size_within(ByteSize(128 << 10), ByteSize(1 << 50)),
            )
        },
        get: |config| text(&config.spool_cap),
    },
    Key {
        name: "session_budget",
        kind: "size",
        default: "64MiB",
        doc: "Bytes that one session may store in a day; at most a 16th of `spool_cap` counts. \
              Beyond it argv of that session is cut to 4 KiB, beyond twice as much argv and paths \
              to 256 bytes; each such exec says so. An account has four times as much for all its \
              sessions.",
        switch: false,
        set: |config, raw| {
            put(
                &mut config.session_budget,
                raw.size_within(ByteSize(4 << 10), ByteSize(1 << 50)),
            )
        },
        get: |config| text(&config.session_budget),
    },
    Key {
        name: "segment_size",
        kind: "size",
        default: "16MiB",
        doc: "Size at which the spool begins a new segment file; also the step in which it drops \
              at its cap.",
        switch: false,
        set: |config, raw| {
            put(
                &mut config.segment_size,
                raw.size_within(ByteSize(64 << 10), ByteSize(1 << 30)),
            )
        },
        get: |config| text(&config.segment_size),
    },
    centre::SPOOL_KEEP,
    Key {
        name: "run_dir",
        kind: "absolute path",
        default: "/run/vctl",
        doc: "Directory of `agent.sock`, the socket between the stamper and the collector. Owned \
              by root and writable by nobody else.",
        switch: false,
        set: |config, raw| put(&mut config.run_dir, raw.absolute_path()),
        get: |config| text(&config.run_dir.display()),
    },
    Key {
        name: "pending_dir",
        kind: "absolute path",
        default: "/var/lib/vctl/pending",
        doc: "Directory of the files of late logins, which continued without a stamp.",
        switch: false,
        set: |config, raw| put(&mut config.pending_dir, raw.absolute_path()),
        get: |config| text(&config.pending_dir.display()),
    },
    Key {
        name: "pin_dir",
        kind: "absolute path",
        default: "/sys/fs/bpf/vctl",
        doc: "Directory in bpffs that keeps the probe, its maps and its ring alive while no agent \
              runs. Two agents on one host need two.",
        switch: false,
        set: |config, raw| put(&mut config.pin_dir, raw.absolute_path()),
        get: |config| text(&config.pin_dir.display()),
    },
    Key {
        name: "ring_size",
        kind: "size, a power of two",
        default: "16MiB",
        doc: "Bytes of the kernel's ring buffer: what it holds while the agent is away. Taken from \
              kernel memory once; a change needs `vctl-agent detach`.",
        switch: false,
        set: |config, raw| {
            let size = raw.size_within(ByteSize(4 << 10), ByteSize(1 << 30))?;
            if !size.bytes().is_power_of_two() {
                return Err(format!("`{size}` is no power of two"));
            }
            config.ring_size = size;
            Ok(())
        },
        get: |config| text(&config.ring_size),
    },
    Key {
        name: "capture",
        kind: "`sessions` or `all`",
        default: "sessions",
        doc: "Whose processes are recorded: those of sessions, or all of the host's.",
        switch: false,
        set: |config, raw| put(&mut config.capture, raw.one()),
        get: |config| text(&config.capture),
    },
    Key {
        name: "failed_exec",
        kind: "`true` or `false`",
        default: "true",
        doc: "Whether an exec that the kernel refused is recorded with its errno (in sessions \
              only). The tracepoint for it makes every system call of the host some 50 ns slower \
              while a session is open, and for a minute after; without it, sessions cost nobody \
              else anything.",
        switch: true,
        set: |config, raw| put(&mut config.failed_exec, raw.boolean()),
        get: |config| text(&config.failed_exec),
    },
    Key {
        name: "redact_flags",
        kind: "list of text",
        default: "",
        doc: "Flags whose value is a secret, such as `--otp`, beside the built-in ones.",
        switch: false,
        set: |config, raw| put(&mut config.redact_flags, raw.list()),
        get: |config| list(&config.redact_flags),
    },
    Key {
        name: "redact_names",
        kind: "list of text",
        default: "",
        doc: "Names whose `NAME=value` is a secret, such as `DEPLOY_PIN`, beside the built-in \
              ones.",
        switch: false,
        set: |config, raw| put(&mut config.redact_names, raw.list()),
        get: |config| list(&config.redact_names),
    },
    Key {
        name: "sshd_names",
        kind: "list of text",
        default: "",
        doc: "Process names of the listening sshd whose logins must be stamped. Empty: every sshd of \
              the host.",
        switch: false,
        set: |config, raw| put(&mut config.sshd_names, raw.list()),
        get: |config| list(&config.sshd_names),
    },
    Key {
        name: "log_level",
        kind: "`off`, `error`, `warn`, `info`, `debug` or `trace`",
        default: "info",
        doc: "How much the agent logs to stderr. No argv is logged above `debug`.",
        switch: false,
        set: |config, raw| put(&mut config.log_level, raw.one()),
        get: |config| text(&config.log_level),
    },
    Key {
        name: "probe_log",
        kind: "`true` or `false`",
        default: "false",
        doc: "Whether the probe's own diagnostics are logged. For debugging the probe: it slows \
              every exec of a session.",
        switch: true,
        set: |config, raw| put(&mut config.probe_log, raw.boolean()),
        get: |config| text(&config.probe_log),
    },
    Key {
        name: "metrics_listen",
        kind: "loopback address with port, or `unix:` and an absolute path",
        default: "",
        doc: "Where the collector serves its metrics over HTTP at `/metrics`, such as \
              `127.0.0.1:9461` or `unix:/run/vctl/metrics.sock`. Any other address is refused: \
              there is no access control. Default: nowhere.",
        switch: false,
        set: |config, raw| put(&mut config.metrics_listen, raw.one().map(Some)),
        get: |config| text_or_none(config.metrics_listen.as_ref()),
    },
    Key {
        name: "metrics_textfile",
        kind: "absolute path",
        default: "",
        doc: "File that the collector writes its metrics to, every 5 s while a session is open, \
              else every 30 s: for the textfile collector of node_exporter. Default: none.",
        switch: false,
        set: |config, raw| put(&mut config.metrics_textfile, raw.absolute_path().map(Some)),
        get: |config| text_or_none(config.metrics_textfile.as_ref().map(|path| path.display())),
    },
    centre::VAULT_ADDR,
    centre::VAULT_NAMESPACE,
    centre::VAULT_CA_CERT,
    centre::APPROLE_MOUNT,
    centre::ROLE_ID_FILE,
    centre::SECRET_ID_FILE,
    centre::DATABASE_MOUNT,
    centre::DB_HOST,
    centre::DB_PORT,
    centre::DB_NAME,
    centre::DB_SERVER_NAME,
    centre::DB_CA_CERT,
];
