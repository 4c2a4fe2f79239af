//! The table of keys: every setting, once.

use std::path::PathBuf;

use vctl_common::config::{ByteSize, Key, Table, list, put, text, text_or_none};

use super::Config;
use super::centre::{self, CentreConfig};
use super::nats::{self, NatsConfig};
use super::value::{Capture, LocalLogKind, LogLevel, Mode};

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
    // The table sets each value; these are placeholders.
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
        end_sessions: false,
        local_log: LocalLogKind::None,
        metrics_listen: None,
        metrics_textfile: None,
        centre: CentreConfig::default(),
        nats: NatsConfig::default(),
    })
}

/// In the order of the printed configuration and of the documentation.
pub static KEYS: &[Key<Config>] = &[
    Key {
        name: "host",
        kind: "text",
        default: "",
        doc: "Name of this host in its records. Default: the kernel's host name.",
        switch: false,
        set: |config, raw| {
            let host: String = raw.one()?;
            if host.is_empty() || host.len() > 253 || !host.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(format!("`{}` is not a host name", host.escape_debug()));
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
        doc: "What happens to a login that the collector does not stamp within 2 s: \
              `best-effort` accepts it and stamps it late, which the session shows; `strict` \
              refuses it. The PAM hook reads this from the file or from its own line in PAM, \
              never from the environment.",
        switch: false,
        set: |config, raw| put(&mut config.mode, raw.one()),
        get: |config| text(&config.mode),
    },
    Key {
        name: "break_glass_group",
        kind: "name of a Unix group",
        default: "",
        doc: "Members of this group are accepted even if `strict` would refuse them. The session \
              shows it, and syslog gets a line. Default: none.",
        switch: false,
        set: |config, raw| put(&mut config.break_glass_group, raw.one().map(Some)),
        get: |config| text_or_none(config.break_glass_group.as_ref()),
    },
    Key {
        name: "spool_dir",
        kind: "absolute path",
        default: "/var/lib/vctl/spool",
        doc: "Directory of the spool: records until they are shipped or dropped. `vctl session \
              --local` reads it.",
        switch: false,
        set: |config, raw| put(&mut config.spool_dir, raw.absolute_path()),
        get: |config| text(&config.spool_dir.display()),
    },
    Key {
        name: "spool_cap",
        kind: "size",
        default: "1GiB",
        doc: "Maximum size of the spool, at least two segments. At the cap the agent drops \
              shipped segments first, then the oldest events of the largest session, else the \
              oldest segment of closed sessions, else the oldest segment. A gap records the \
              loss.",
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
              Beyond it, argv of that session is cut to 4 KiB; beyond twice the budget, argv and \
              paths are cut to 256 bytes. Each such exec is marked. An account has four times as \
              much for all its sessions.",
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
        doc: "Size at which the spool begins a new segment file, and the amount that it drops at \
              its cap.",
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
        doc: "Directory of `agent.sock`, the socket between the PAM hook and the collector. Only \
              root may own or write it.",
        switch: false,
        set: |config, raw| put(&mut config.run_dir, raw.absolute_path()),
        get: |config| text(&config.run_dir.display()),
    },
    Key {
        name: "pending_dir",
        kind: "absolute path",
        default: "/var/lib/vctl/pending",
        doc: "Directory of the late-login files: one for each login that continued without a \
              stamp.",
        switch: false,
        set: |config, raw| put(&mut config.pending_dir, raw.absolute_path()),
        get: |config| text(&config.pending_dir.display()),
    },
    Key {
        name: "pin_dir",
        kind: "absolute path",
        default: "/sys/fs/bpf/vctl",
        doc: "Directory in bpffs that keeps the probe, its maps and its ring while no agent \
              runs. Two agents on one host need two directories.",
        switch: false,
        set: |config, raw| put(&mut config.pin_dir, raw.absolute_path()),
        get: |config| text(&config.pin_dir.display()),
    },
    Key {
        name: "ring_size",
        kind: "size, a power of two",
        default: "16MiB",
        doc: "Size of the kernel's ring buffer, which holds events while the agent is away. \
              Allocated once from kernel memory; a change needs `vctl-agent detach`. The ring \
              counts for `MemoryMax` of vctl-collect.service: raise it by as much.",
        switch: false,
        set: |config, raw| {
            let size = raw.size_within(ByteSize(4 << 10), ByteSize(1 << 30))?;
            if !size.bytes().is_power_of_two() {
                return Err(format!("`{size}` is not a power of two"));
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
        doc: "Which processes are recorded: those of sessions, or all processes of the host.",
        switch: false,
        set: |config, raw| put(&mut config.capture, raw.one()),
        get: |config| text(&config.capture),
    },
    Key {
        name: "failed_exec",
        kind: "`true` or `false`",
        default: "true",
        doc: "Whether an exec that the kernel refused is recorded with its errno (in sessions \
              only). Its tracepoint makes every system call of the host about 50 ns slower while \
              a session is open, and for a minute after. Without it, sessions cost other \
              processes nothing.",
        switch: true,
        set: |config, raw| put(&mut config.failed_exec, raw.boolean()),
        get: |config| text(&config.failed_exec),
    },
    Key {
        name: "redact_flags",
        kind: "list of text",
        default: "",
        doc: "Flags with a secret value, such as `--otp`, in addition to the built-in ones.",
        switch: false,
        set: |config, raw| put(&mut config.redact_flags, raw.list()),
        get: |config| list(&config.redact_flags),
    },
    Key {
        name: "redact_names",
        kind: "list of text",
        default: "",
        doc: "Names with a secret value in `NAME=value`, such as `DEPLOY_PIN`, in addition to \
              the built-in ones.",
        switch: false,
        set: |config, raw| put(&mut config.redact_names, raw.list()),
        get: |config| list(&config.redact_names),
    },
    Key {
        name: "sshd_names",
        kind: "list of text",
        default: "",
        doc: "Process names of the listening sshd. The agent expects a stamp only for logins of \
              these. Empty: every sshd of the host.",
        switch: false,
        set: |config, raw| put(&mut config.sshd_names, raw.list()),
        get: |config| list(&config.sshd_names),
    },
    Key {
        name: "log_level",
        kind: "`off`, `error`, `warn`, `info`, `debug` or `trace`",
        default: "info",
        doc: "How much the agent logs to stderr. Levels up to `debug` contain no argv.",
        switch: false,
        set: |config, raw| put(&mut config.log_level, raw.one()),
        get: |config| text(&config.log_level),
    },
    Key {
        name: "probe_log",
        kind: "`true` or `false`",
        default: "false",
        doc: "Whether the agent logs the probe's own diagnostics. Only for debugging the probe: \
              it slows every exec of a session.",
        switch: true,
        set: |config, raw| put(&mut config.probe_log, raw.boolean()),
        get: |config| text(&config.probe_log),
    },
    Key {
        name: "end_sessions",
        kind: "`true` or `false`",
        default: "true",
        doc: "Whether `vctl session end` may end sessions of this host. The agent signals only \
              processes with the kernel's mark of that session. Without it, requests are refused, \
              and `vctl session end` shows that.",
        switch: true,
        set: |config, raw| put(&mut config.end_sessions, raw.boolean()),
        get: |config| text(&config.end_sessions),
    },
    Key {
        name: "local_log",
        kind: "`none`, `journald` or `syslog`",
        default: "none",
        doc: "Log of this host that also gets a line for each start and end of a session, each \
              program of its user and each gap, with masked secrets. The agent never waits for \
              the log daemon: a line that it does not take is dropped and counted.",
        switch: false,
        set: |config, raw| put(&mut config.local_log, raw.one()),
        get: |config| text(&config.local_log),
    },
    Key {
        name: "metrics_listen",
        kind: "loopback address with port, or `unix:` and an absolute path",
        default: "",
        doc: "Address at which the collector serves its metrics over HTTP at `/metrics`, such as \
              `127.0.0.1:9461` or `unix:/run/vctl/metrics.sock`. The agent refuses any other \
              address, because there is no access control. Default: none.",
        switch: false,
        set: |config, raw| put(&mut config.metrics_listen, raw.one().map(Some)),
        get: |config| text_or_none(config.metrics_listen.as_ref()),
    },
    Key {
        name: "metrics_textfile",
        kind: "absolute path",
        default: "",
        doc: "File for the collector's metrics, for the textfile collector of node_exporter. \
              Written every 5 s while a session is open, else every 30 s. Default: none.",
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
    nats::SHIP,
    nats::NATS_URL,
    nats::NATS_KEY_FILE,
    nats::NATS_CA_CERT,
];
