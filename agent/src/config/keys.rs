//! The table of keys: every setting, once.

use std::path::PathBuf;

use vctl_common::config::{ByteSize, Key, Raw, Table, list, optional, optional_path, path, text};
use vctl_common::key;

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
    key! { host: "text" = "", host_name, text,
    "Name of this host in its records. Default: the kernel's host name." },
    key! { mode: "`best-effort` or `strict`" = "best-effort", Raw::one, text,
    "What happens to a login that the collector does not stamp within 2 s: `best-effort` accepts it \
      and stamps it late, which the session shows; `strict` refuses it. The PAM hook reads this from the \
      file or from its own line in PAM, never from the environment." },
    key! { break_glass_group: "name of a Unix group" = "", Raw::some, optional,
    "Members of this group are accepted even if `strict` would refuse them. The session shows it, and \
      syslog gets a line. Default: none." },
    key! { spool_dir: "absolute path" = "/var/lib/vctl/spool", Raw::absolute_path, path,
    "Directory of the spool: records until they are shipped or dropped. `vctl session --local` reads \
      it." },
    key! { spool_cap: "size"
    = "1GiB", |raw: &Raw| raw.size_within(ByteSize(128 << 10), ByteSize(1 << 50)), text,
    "Maximum size of the spool, at least two segments. At the cap the agent drops shipped segments \
      first, then the oldest events of the largest session, else the oldest segment of closed sessions, \
      else the oldest segment. A gap records the loss." },
    key! { session_budget: "size"
    = "64MiB", |raw: &Raw| raw.size_within(ByteSize(4 << 10), ByteSize(1 << 50)), text,
    "Bytes that one session may store in a day; at most a 16th of `spool_cap` counts. Beyond it, argv \
      of that session is cut to 4 KiB; beyond twice the budget, argv and paths are cut to 256 bytes. \
      Each such exec is marked. An account has four times as much for all its sessions." },
    key! { segment_size: "size"
    = "16MiB", |raw: &Raw| raw.size_within(ByteSize(64 << 10), ByteSize(1 << 30)), text,
    "Size at which the spool begins a new segment file, and the amount that it drops at its cap." },
    key! { centre.spool_keep: "time" = "7d", Raw::one, text,
    "How long closed, shipped sessions stay readable on this host. The agent deletes them earlier only if \
      the spool needs room. Without a central store it deletes nothing before the cap." },
    key! { run_dir: "absolute path" = "/run/vctl", Raw::absolute_path, path,
    "Directory of `agent.sock`, the socket between the PAM hook and the collector. Only root may own \
      or write it." },
    key! { pending_dir: "absolute path" = "/var/lib/vctl/pending", Raw::absolute_path, path,
    "Directory of the late-login files: one for each login that continued without a stamp." },
    key! { pin_dir: "absolute path" = "/sys/fs/bpf/vctl", Raw::absolute_path, path,
    "Directory in bpffs that keeps the probe, its maps and its ring while no agent runs. Two agents on \
      one host need two directories." },
    key! { ring_size: "size, a power of two" = "16MiB", power_of_two, text,
    "Size of the kernel's ring buffer, which holds events while the agent is away. Allocated once from \
      kernel memory; a change needs `vctl-agent detach`. The ring counts for `MemoryMax` of \
      vctl-collect.service: raise it by as much." },
    key! { capture: "`sessions` or `all`" = "sessions", Raw::one, text,
    "Which processes are recorded: those of sessions, or all processes of the host." },
    key! { failed_exec: "`true` or `false`" = "true", Raw::boolean, text,
    "Whether an exec that the kernel refused is recorded with its errno (in sessions only). Kernels \
      that do not preempt themselves show it at the exit of exec, which costs other system calls nothing. On other \
      kernels the agent uses tracepoints, which make every system call of the host about 67 ns slower while a session is open, and for a minute after: \
      `vctl-agent check` says which way is used." },
    key! { redact_flags: "list of text" = "", Raw::list, list,
    "Flags with a secret value, such as `--otp`, in addition to the built-in ones." },
    key! { redact_names: "list of text" = "", Raw::list, list,
    "Names with a secret value in `NAME=value`, such as `DEPLOY_PIN`, in addition to the built-in \
      ones." },
    key! { sshd_names: "list of text" = "", Raw::list, list,
    "Process names of the listening sshd. The agent expects a stamp only for logins of these. Empty: \
      every sshd of the host." },
    key! { log_level: "`off`, `error`, `warn`, `info`, `debug` or `trace`" = "info", Raw::one, text,
    "How much the agent logs to stderr. Levels up to `debug` contain no argv." },
    key! { probe_log: "`true` or `false`" = "false", Raw::boolean, text,
    "Whether the agent logs the probe's own diagnostics. Only for debugging the probe: it slows every \
      exec of a session." },
    key! { end_sessions: "`true` or `false`" = "true", Raw::boolean, text,
    "Whether `vctl session end` may end sessions of this host. The agent signals only processes with \
      the kernel's mark of that session. Without it, requests are refused, and `vctl session end` shows \
      that." },
    key! { local_log: "`none`, `journald` or `syslog`" = "none", Raw::one, text,
    "Log of this host that also gets a line for each start and end of a session, each program of its \
      user and each gap, with masked secrets. The agent never waits for the log daemon: a line that it \
      does not take is dropped and counted." },
    key! { metrics_listen: "loopback address with port, or `unix:` and an absolute path"
    = "", Raw::some, optional,
    "Address at which the collector serves its metrics over HTTP at `/metrics`, such as \
      `127.0.0.1:9461` or `unix:/run/vctl/metrics.sock`. The agent refuses any other address, because \
      there is no access control. Default: none." },
    key! { metrics_textfile: "absolute path" = "", Raw::some_absolute_path, optional_path,
    "File for the collector's metrics, for the textfile collector of node_exporter. Written every 5 s \
      while a session is open, else every 30 s. Default: none." },
    key! { centre.vault_addr: "`https://host:port`" = "", Raw::some, optional,
    "Address of the Vault or OpenBao server. `collect` without `--local` needs it." },
    key! { centre.vault_namespace: "text" = "", Raw::some, optional,
    "Namespace in Vault. Default: none." },
    key! { centre.vault_ca_cert: "absolute path" = "", Raw::some_absolute_path, optional_path,
    "PEM file with the only CAs to trust for Vault. Default: the CA that this agent was built with, if \
      any, and those of the system." },
    key! { centre.approle_mount: "text" = "approle", Raw::one, text,
    "Mount of Vault's AppRole method." },
    key! { centre.role_id_file: "absolute path" = "/etc/vctl/role_id", Raw::absolute_path, path,
    "File with the role id of this host's AppRole, from `vctl host enroll`." },
    key! { centre.secret_id_file: "absolute path" = "/etc/vctl/secret_id", Raw::absolute_path, path,
    "File with the secret id of this host's AppRole, or with the wrapping token from `vctl host \
      enroll`. The agent unwraps the token once and stores the secret id in its place, 0600. It also \
      replaces the secret id before it expires." },
    key! { centre.database_mount: "text" = "database", Raw::one, text,
    "Mount of Vault's database engine." },
    key! { centre.db_host: "host name or address" = "", Raw::some, optional,
    "Host of the central Postgres. `collect` without `--local` needs it." },
    key! { centre.db_port: "port" = "5432", Raw::one, text,
    "Port of the central Postgres." },
    key! { centre.db_name: "text" = "vctl", Raw::one, text,
    "Database of the central Postgres." },
    key! { centre.db_server_name: "host name" = "", Raw::some, optional,
    "Name that the certificate of Postgres must have. Default: `db_host`." },
    key! { centre.db_ca_cert: "absolute path" = "", Raw::some_absolute_path, optional_path,
    "PEM file with the only CAs to trust for Postgres. Default: the CA that this agent was built with, \
      if any, and those of the system." },
    key! { nats.ship: "`postgres` or `jetstream`" = "postgres", Raw::one, text,
    "Way to the central store. With `jetstream` the agent publishes its records to NATS, holds no \
      connection to Postgres, and `vctl session end` does not reach this host; `vctl-agent ingest` stores \
      the records. With `postgres` the agent stores them itself." },
    key! { nats.nats_url: "list of `tls://host:port`" = "", nats::servers, list,
    "Address of the NATS server, or the addresses of a cluster. `ship: jetstream` and `ingest` need it." },
    key! { nats.nats_key_file: "absolute path" = "/etc/vctl/nats.key", Raw::absolute_path, path,
    "File with the nkey seed of this machine, from `vctl-agent nats-key`, or a credentials file of \
      `nsc`." },
    key! { nats.nats_ca_cert: "absolute path" = "", Raw::some_absolute_path, optional_path,
    "PEM file with the only CAs to trust for NATS. Default: the CA that this agent was built with, if \
      any, and those of the system." },
];

fn host_name(raw: &Raw) -> Result<String, String> {
    let host: String = raw.one()?;
    if host.is_empty() || host.len() > 253 || !host.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!("`{}` is not a host name", host.escape_debug()));
    }
    Ok(host)
}

fn power_of_two(raw: &Raw) -> Result<ByteSize, String> {
    let size = raw.size_within(ByteSize(4 << 10), ByteSize(1 << 30))?;
    if !size.bytes().is_power_of_two() {
        return Err(format!("`{size}` is not a power of two"));
    }
    Ok(size)
}
