//! Opening the person's browser.

use std::env;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::timeout;
use url::Url;

/// How long to watch whether what was started finds a browser; one that still runs then is at it.
const SETTLES: Duration = Duration::from_secs(2);

/// Opens an address, and says whether somebody took it. Never on the terminal.
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

/// Without a screen `xdg-open` starts a browser for terminals, in ours.
fn has_screen() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    // `BROWSER` is also how an editor far away has pages opened where the person sits.
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
        // Ctrl-C is for us, not for a browser that was started just now.
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
