//! Opens a browser.

use std::env;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::timeout;
use url::Url;

/// Time to wait for an error of the started program. If it still runs then, a browser has opened.
const SETTLES: Duration = Duration::from_secs(2);

/// Opens an address, and returns whether a browser took it. Never opens a text browser.
pub(crate) async fn open(url: &Url) -> bool {
    if !has_screen() {
        return false;
    }
    for launcher in open::commands(url.as_str()) {
        if takes(launcher).await {
            return true;
        }
    }
    false
}

/// Returns whether there is a display: without one, `xdg-open` starts a text browser on this terminal.
fn has_screen() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    // Remote editors set `BROWSER` to open pages on the user's own machine.
    cfg!(target_os = "macos")
        || ["DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME"]
            .into_iter()
            .any(is_set)
}

async fn takes(mut launcher: Command) -> bool {
    use std::os::unix::process::CommandExt as _;

    launcher
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // In its own process group: Ctrl-C must stop vctl, not the browser.
        .process_group(0);
    let Ok(mut child) = tokio::process::Command::from(launcher).spawn() else {
        return false;
    };
    match timeout(SETTLES, child.wait()).await {
        Ok(Ok(status)) => status.success(),
        Ok(Err(_)) => false,
        Err(_) => true,
    }
}
