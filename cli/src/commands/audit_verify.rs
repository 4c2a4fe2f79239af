//! `vctl audit verify`: compares the audit log of Vault with the records of vctl.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vctl_common::centre::VaultSettings;
use vctl_common::count::counted;

use super::duration_arg;
use crate::audit::verify::log::{self, AuditLog, LogQuery};
use crate::audit::verify::model::Span;
use crate::audit::verify::reconcile::reconcile;
use crate::audit::verify::report::Report;
use crate::audit::verify::store::Ours;
use crate::audit::verify::{json, text};
use crate::centre::context;
use crate::centre::context::Context;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::retention::model::Period;
use crate::session::centre::Store;
use crate::ssh_ca;
use crate::ui::format::OutputFormat;
use crate::ui::help::TEMPLATE;
use crate::ui::moment::{self, Moment};
use crate::ui::{Screen, notice, time};

/// Records this long before and after the window are read too: they may explain one inside of it.
const AROUND: Duration = Duration::from_hours(24);

/// Compare the audit log of Vault with the access log and the sessions
///
/// Vault writes each certificate that it signs into its audit log. Each one must have a row in the access
/// log, each row must have a signature, and each session with a certificate of the SSH CA must have both. A
/// signature without a row is a certificate that a client other than vctl requested, or a row that was
/// deleted. Only the time that the audit log and the access log both cover is compared.
///
/// The files may be rotated, compressed with gzip, and in any order. Needs the Vault policy `vctl-auditor`,
/// and a mount whose serials the audit log does not hash: docs/audit-verify.md.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl audit verify --audit-log /var/log/vault/audit.log*
  vctl audit verify --audit-log audit.log.gz --since 2d
  ssh vault-1 sudo cat /var/log/vault/audit.log |
      vctl audit verify --audit-log -
  vctl audit verify --audit-log audit.log -o json     For programs",
after_help = "\
Exit status:
  0  everything matches
  1  there are exceptions, or lines and rows that cannot be read")]
pub(crate) struct VerifyArgs {
    /// Files of Vault's or OpenBao's `file` audit device, also compressed with gzip; `-` is standard input
    #[arg(long, value_name = "FILE", num_args = 1.., required = true, value_hint = clap::ValueHint::FilePath)]
    audit_log: Vec<PathBuf>,

    #[arg(long, value_name = "TIME", help = format!("Compare only this time or later: {}", moment::FORMS))]
    since: Option<Moment>,

    /// Compare only the time before
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,

    /// Time at each end of the log that is left out: the clocks of Vault, Postgres and hosts may differ, and
    /// an access row is written some seconds after the signature
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = margin)]
    margin: Duration,

    /// Output format
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t)]
    output: OutputFormat,
}

fn margin(text: &str) -> Result<Duration, String> {
    duration_arg::within(text, Duration::ZERO, Duration::from_hours(24))
}

pub(super) fn run(args: &VerifyArgs, globals: &Globals) -> Result<(), Stop> {
    let stdin = args.audit_log.iter().filter(|path| path.as_os_str() == "-");
    if stdin.count() > 1 {
        let message = "`--audit-log -` is standard input, which can be read only once";
        return Err(CliError::new(Exit::Usage, message).into());
    }
    let wanted = args.wanted()?;
    log::check(&args.audit_log)?;
    let period = Period::of_days(globals.load()?.config.access_retention_days);
    context::run(globals, async |context| {
        verify(args, wanted, period, context).await
    })
}

async fn verify(
    args: &VerifyArgs,
    wanted: Span,
    period: Period,
    context: &Context,
) -> Result<(), Stop> {
    let vault = &context.settings().vault;
    let mut store = Store::new(context)?;
    let ours = store.our_cas().await?;
    let query = args.query(wanted, &ours, vault);
    let mounts = query.mounts.clone();
    let read = tokio::task::spawn_blocking(move || log::read(&query)).await;
    let mut log = read.map_err(|error| {
        CliError::new(Exit::Failure, "reading the audit log ended").caused_by(&error)
    })??;
    refuse_hashed(&log)?;
    let log_span = log.readable_span().ok_or_else(|| {
        CliError::new(
            Exit::Failure,
            "the audit log is empty: nothing can be compared",
        )
        .hint("Vault starts a new file when it is rotated: add the file before, `audit.log.1`")
    })?;
    let store_span = ours.covered(period);
    // The ends of the wanted time need no margin: records before and after it are read, too.
    let window = log_span
        .common(store_span)
        .and_then(|both| both.without(args.margin))
        .and_then(|both| both.common(wanted));
    let window = window.ok_or_else(|| no_window(log_span, store_span, args))?;
    let around = window.with(AROUND);
    let stored = store.records_of(&ours, around, &mut log.names).await?;
    let report = Report {
        found: reconcile(&log, &stored, window),
        log: &log,
        stored: &stored,
        log_span,
        store_span,
        window,
        margin: args.margin,
        vault: &vault.addr,
        mounts: &mounts,
    };
    let mut screen = Screen::for_format(args.output);
    if args.output.is_for_people() {
        let layout = screen.layout(args.output == OutputFormat::Wide);
        text::write(&mut screen, &report, layout)?;
    } else {
        json::write(&mut screen, args.output, &report)?;
    }
    screen.flush()?;
    for note in report.notes() {
        notice::note(&note);
    }
    match report.verdict() {
        None => Ok(()),
        Some(verdict) => Err(CliError::new(Exit::Failure, verdict)
            .hint("docs/audit-verify.md explains each kind of exception and its usual causes")
            .into()),
    }
}

impl VerifyArgs {
    /// Returns the time of `--since` and `--until`.
    fn wanted(&self) -> Result<Span, CliError> {
        let wanted = Span {
            from: self.since.map_or(UNIX_EPOCH, |Moment(since)| since),
            to: self.until.map_or_else(far_away, |Moment(until)| until),
        };
        if wanted.from <= wanted.to {
            return Ok(wanted);
        }
        let (since, until) = (time::seconds(wanted.from), time::seconds(wanted.to));
        let message = format!("`--since` is {since}, which is later than `--until`, {until}");
        Err(CliError::new(Exit::Usage, message).hint("exchange the two times"))
    }

    fn query(&self, wanted: Span, ours: &Ours, vault: &VaultSettings) -> LogQuery {
        let mut mounts = ssh_ca::mounts(&vault.ssh_mount).to_vec();
        mounts.extend(ours.mounts.iter().cloned());
        for mount in &mut mounts {
            mount.truncate(mount.trim_end_matches('/').len());
        }
        mounts.sort();
        mounts.dedup();
        let namespace = vault.namespace.as_deref().unwrap_or_default();
        LogQuery {
            files: self.audit_log.clone(),
            mounts,
            namespace: namespace.trim_matches('/').to_owned(),
            wanted,
        }
    }
}

/// Returns a time after every record.
fn far_away() -> SystemTime {
    UNIX_EPOCH + Duration::from_hours(24 * 365 * 250)
}

/// The serials of the log must be readable.
fn refuse_hashed(log: &AuditLog) -> Result<(), CliError> {
    let Some(hashed) = &log.hashed else {
        return Ok(());
    };
    let message = format!(
        "the audit log has only hashes of the serials of {}, first at {}",
        counted(hashed.count, "certificate"),
        log.place(hashed.first),
    );
    let tune = hashed.mounts.iter().map(|mount| {
        format!("`vault secrets tune -audit-non-hmac-response-keys=serial_number {mount}`")
    });
    let tune = tune.collect::<Vec<_>>().join(" and ");
    let is_tuned = log.signatures.iter().any(|signature| {
        signature.at > hashed.last_at && hashed.mounts.contains(log.names.text(signature.mount))
    });
    let hint = if is_tuned {
        let since = time::seconds(hashed.last_at + Duration::from_secs(1));
        format!("the mount is tuned by now: compare the time since then with `--since {since}`")
    } else {
        format!("{tune} makes Vault write them in clear from now on, as deploy/vault/setup.sh does")
    };
    Err(CliError::new(Exit::Config, message).hint(hint))
}

fn no_window(log: Span, store: Span, args: &VerifyArgs) -> CliError {
    let period = |span: Span| format!("{} to {}", time::seconds(span.from), time::seconds(span.to));
    let mut error = CliError::new(
        Exit::Failure,
        "nothing can be compared: the audit log and the records of vctl have no time in common",
    );
    error
        .causes
        .push(format!("the audit log has {}", period(log)));
    error
        .causes
        .push(format!("the records of vctl have {}", period(store)));
    let margin = duration_arg::humane(args.margin);
    error.hint(format!(
        "`--margin` leaves out {margin} at each end; `--since` and `--until` limit the time too"
    ))
}
