//! `--html` and `--open`: one session as a page.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;
use vctl_common::id::SessionId;

use super::SessionArgs;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::files::private_file;
use crate::files::state_dir::StateDir;
use crate::process::browser;
use crate::session::model::{History, Selector};
use crate::session::page;
use crate::session::source::Source;
use crate::ui::{Layout, Screen, notice};

/// Directory of the pages of `--open`, in the state directory.
const PAGES: &str = "pages";

/// Age at which a page of `--open` is removed. It can be made again.
const MAX_AGE: Duration = Duration::from_hours(24);

pub(super) async fn make<S: Source>(
    args: &SessionArgs,
    selector: Selector,
    sessions: &[S::SessionRef],
    source: &mut S,
    layout: Layout,
) -> Result<(), Stop> {
    let [found] = sessions else {
        let ids: Vec<String> = sessions
            .iter()
            .map(|found| S::opened(found).id.to_string())
            .collect();
        let message = format!("a page shows one session, but {selector} has {}", ids.len());
        let hint = format!("give one of these ids: {}", ids.join(", "));
        return Err(CliError::new(Exit::Usage, message).hint(hint).into());
    };
    let file = match &args.html {
        Some(file) if file.as_os_str() == "-" => None,
        Some(file) => {
            check_replaceable(file, args.force)?;
            Some(file.clone())
        }
        None => Some(page_file(S::opened(found).id)?),
    };
    let history = args.for_display(source.history(found).await?);
    let Some(file) = file else {
        if args.open {
            let error = CliError::new(Exit::Usage, "standard output cannot be opened in a browser");
            return Err(error.hint("give a file name, or leave out `--html`").into());
        }
        let mut screen = Screen::for_programs();
        page::write(&mut screen, &history, layout)?;
        return Ok(screen.flush()?);
    };
    write(&file, &history, layout)?;
    if args.open {
        open(&file).await;
    }
    Ok(())
}

fn write(file: &Path, history: &History, layout: Layout) -> Result<(), Stop> {
    private_file::replace(file, |out| page::write(out, history, layout)).map_err(|error| {
        let message = format!("cannot write `{}`", file.display());
        CliError::new(Exit::Failure, message).caused_by(&error)
    })?;
    let (id, stored) = (history.session.opened.id, history.session.stored);
    let plural = if stored == 1 { "" } else { "s" };
    let file = file.display();
    notice::done(&format!(
        "wrote session {id}, {stored} event{plural}, to `{file}`"
    ));
    Ok(())
}

/// Refuses to replace a file by accident: it may be evidence.
fn check_replaceable(file: &Path, force: bool) -> Result<(), CliError> {
    match fs::symlink_metadata(file) {
        Ok(_) if !force => {
            let message = format!("`{}` already exists", file.display());
            let hint = "`--force` replaces it; `--html -` writes to standard output";
            Err(CliError::new(Exit::Usage, message).hint(hint))
        }
        _ => Ok(()),
    }
}

async fn open(file: &Path) {
    let shown = file.display();
    let whole = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let opened = match Url::from_file_path(&whole) {
        Ok(url) => browser::open(&url).await,
        Err(()) => false,
    };
    if opened {
        notice::done("opened the page in a browser");
    } else {
        notice::note(&format!(
            "cannot open a browser here: open `{shown}` in one, or copy the file to another machine"
        ));
    }
}

/// Returns the file for the page of a session, in a directory that only its owner can read. Removes old
/// pages.
fn page_file(id: SessionId) -> Result<PathBuf, CliError> {
    let state = StateDir::find();
    state.make()?;
    let pages = state.file(PAGES);
    let made = match DirBuilder::new().mode(0o700).create(&pages) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    };
    made.map_err(|error| {
        let message = format!("cannot create `{}`", pages.display());
        CliError::new(Exit::Failure, message).caused_by(&error)
    })?;
    remove_old(&pages);
    Ok(pages.join(format!("{id}.html")))
}

/// Removes the pages of `--open`, each with the record of a session.
pub(crate) fn remove_pages(state: &StateDir) -> Result<(), CliError> {
    let pages = state.file(PAGES);
    match fs::remove_dir_all(&pages) {
        Ok(()) => notice::done(&format!("removed `{}`", pages.display())),
        Err(error) if private_file::is_absence(&error) => {}
        Err(error) => {
            let message = format!("cannot remove `{}`", pages.display());
            return Err(CliError::new(Exit::Failure, message).caused_by(&error));
        }
    }
    Ok(())
}

/// Removes old pages. Errors are ignored: the next run tries again.
fn remove_old(pages: &Path) {
    for entry in fs::read_dir(pages).into_iter().flatten().flatten() {
        let changed = entry.metadata().and_then(|metadata| metadata.modified());
        let age = changed.ok().and_then(|changed| changed.elapsed().ok());
        if age.is_some_and(|age| age > MAX_AGE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
