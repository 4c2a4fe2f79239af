//! The page of a session in a real browser.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use vctl_common::session::{Gap, GapCause, JournalEntry};
use vctl_common::time::BootNs;
use vctl_tests::browser::Browser;
use vctl_tests::lab::{eventually, skip};

use super::{Reading, certificate, unique};

const BROWSER: &str = "/usr/bin/chromium";

/// Texts that would change the page if the browser took them for markup or script.
const MARKUP: [&str; 6] = [
    "</script><script>document.body.innerHTML='pwned'</script>",
    "<img src=x onerror=\"document.title='pwned'\">",
    "<!-- <script>",
    "javascript:document.title='pwned'",
    "]]>{{7*7}}${7*7}<style>*{display:none}</style>",
    "\u{202e}\u{2028}\u{1b}[2J\u{0}",
];

/// Opens a page, runs its script, and returns the resulting document.
fn dom(page: &Path, hash: &str) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = browser(profile.path(), page, hash)
        .arg("--dump-dom")
        .stderr(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn browser(profile: &Path, page: &Path, hash: &str) -> Command {
    let mut command = Command::new("timeout");
    command
        .args(["60", BROWSER])
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
        ])
        .args([
            "--disable-sync",
            "--hide-scrollbars",
            "--window-size=1280,900",
        ])
        .arg("--virtual-time-budget=10000")
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}{hash}", page.display()));
    command
}

fn has_browser() -> bool {
    let installed = Path::new(BROWSER).exists();
    if !installed {
        skip("`chromium` is not installed");
    }
    installed
}

/// Returns the visible lines, identified by their last column.
fn visible(dom: &str) -> Vec<String> {
    // Each row is a `div` of class `row`. A hidden row has an attribute.
    let rows = dom.split("<div class=\"row").skip(1);
    rows.filter(|row| {
        let tag = row.split('>').next().unwrap();
        !tag.contains("hidden")
    })
    .map(str::to_owned)
    .collect()
}

/// Escapes text as the browser does.
fn as_written(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn write_page(reading: &Reading, session: &[&str]) -> PathBuf {
    let page = reading.dir.path().join("page.html");
    let args = [session, &["--html", page.to_str().unwrap(), "--force"]].concat();
    assert_eq!(reading.shows(&args), "");
    page
}

#[test]
fn a_page_is_complete_and_runs_only_its_own_script() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    if !has_browser() {
        return;
    }
    let ca = unique('p');
    reading.our_ca(&ca);
    reading.ship();
    let person = format!("userpass-{}", MARKUP[1]);
    let mut hostile = reading.opening(Some(certificate(&person, 951, &ca)));
    hostile.login_user = MARKUP[0].to_owned();
    hostile.service = MARKUP[2].to_owned();
    hostile.tty = Some(MARKUP[4].to_owned());
    hostile.auth.problem = Some(MARKUP[1].to_owned());
    let id = hostile.id;
    reading.record(&JournalEntry::Opened(Box::new(hostile)));
    reading.source.sessions.insert(id, 0);
    for markup in MARKUP {
        reading.exec(id, &[b"sh", b"-c", markup.as_bytes()]);
    }
    reading.exec(id, &[b"needle", b"in a haystack"]);
    let at = BootNs(reading.source.tick());
    let gap = Gap::new(GapCause::RingFull, id, at, at).with_events(5);
    reading.record(&JournalEntry::Gap(gap.with_numbers(8, 12)));
    reading.log_out(id, 12);
    reading.wait_for(id, 7);
    let id = id.to_string();
    let spool = reading.source.dir.to_str().unwrap().to_owned();
    for session in [
        vec!["session", &*id],
        vec!["session", "--local", "--spool", &*spool, &*id],
    ] {
        let page = write_page(&reading, &session);
        let mode = fs::metadata(&page).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let dom = dom(&page, "");
        assert!(
            dom.contains("data-ready=\"yes\""),
            "its script did not end: {dom}"
        );
        assert!(
            !dom.contains("<title>pwned") && !dom.contains(">pwned<"),
            "{dom}"
        );
        let body = dom.split("<body>").nth(1).unwrap();
        let (shown, _) = body.split_once("<script id=\"session\"").unwrap();
        for element in ["<img", "<script", "<style"] {
            assert!(!shown.contains(element), "{element}: {shown}");
        }
        for markup in &MARKUP[..5] {
            // Quotes have the form that bash uses.
            let plain = markup
                .split(['\'', '"', '\\'])
                .max_by_key(|part| part.len())
                .unwrap();
            assert!(shown.contains(&as_written(plain)), "{plain}: {shown}");
        }
        assert!(shown.contains("\\u202e\\u2028\\x1b[2J"), "{shown}");
        assert!(
            shown.contains("class=\"incomplete\">INCOMPLETE: 5 events missing"),
            "{shown}"
        );
        assert!(shown.contains("5 events missing between"), "{shown}");
        assert_eq!(visible(shown).len(), 8, "{shown}");
    }
}

#[test]
fn a_page_is_searched_and_zoomed_by_its_address() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    if !has_browser() {
        return;
    }
    reading.ship();
    let opened = reading.log_in(None);
    let id = opened.id;
    for nth in 0..40 {
        reading.exec(id, &[b"step", format!("number-{nth}-").as_bytes()]);
    }
    reading.log_out(id, 40);
    reading.wait_for(id, 40);
    let page = write_page(&reading, &["session", &id.to_string()]);
    let rows = |hash: &str| visible(&dom(&page, hash));
    assert_eq!(rows("").len(), 40);
    let found = rows("#q=NUMBER-7-");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("number-7-"));
    // A tick of the spool is a tenth of a millisecond, so the first ticks are all in the first millisecond.
    let zoomed = rows("#from=0&to=1");
    assert!((8..=12).contains(&zoomed.len()), "{}", zoomed.len());
    assert!(zoomed[0].contains("number-0-"));
    let tree = rows("#view=tree&q=number-7-");
    assert!(tree.iter().any(|row| row.contains("number-7-")));
    assert!(tree.len() < 5, "{tree:?}");
    assert_eq!(rows("#q=%3Cscript%3Enot+there").len(), 0);
}

#[test]
fn a_page_of_ten_thousand_events_is_there_within_seconds() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    if !has_browser() {
        return;
    }
    let id = reading.source.log_in(961).unwrap();
    reading.source.work(id, 10_000).unwrap();
    reading.source.log_out(id).unwrap();
    let spool = reading.source.dir.to_str().unwrap().to_owned();
    let id = id.to_string();
    let page = write_page(&reading, &["session", "--local", "--spool", &spool, &id]);
    let began = std::time::Instant::now();
    let document = dom(&page, "#q=release-9999");
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(visible(&document).len(), 1);
    let drawn = eventually(Duration::from_secs(30), || {
        let picture = reading.dir.path().join("page.png");
        let profile = tempfile::tempdir()?;
        let mut screenshot = browser(profile.path(), &page, "");
        screenshot
            .arg(format!("--screenshot={}", picture.display()))
            .stderr(Stdio::null())
            .status()?;
        Ok(fs::metadata(&picture).is_ok_and(|picture| picture.len() > 20_000))
    });
    assert!(drawn.unwrap(), "the browser draws nothing");
}

/// The width of A4 between Chromium's default margins.
const PAPER: u32 = 717;

/// A script that returns the headings, the lines of the first programs, and every text that would be cut on paper.
const LAYOUT: &str = "(() => {
    const texts = (line) => [...line.children].filter((cell) => cell.getClientRects().length && cell.textContent.trim())
        .map((cell) => cell.textContent.trim());
    const lines = [...document.querySelectorAll('.head, .row:not([hidden])')].filter((line) => line.getClientRects().length);
    const beyond = (cell) => { const range = document.createRange(); range.selectNodeContents(cell);
        return [...range.getClientRects()].some((box) => box.right > innerWidth + 1 || box.left < 0); };
    const cut = (cell) => getComputedStyle(cell).overflowX !== 'visible' && cell.scrollWidth > cell.clientWidth + 1;
    const cells = lines.flatMap((line) => [...line.children]);
    return { lines: lines.map(texts), cut: cells.filter((cell) => beyond(cell) || cut(cell)).map((cell) => cell.textContent) };
})()";

#[test]
fn paper_shows_every_column_of_every_line() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    let Some(mut browser) = Browser::or_skip() else {
        return;
    };
    let id = reading.source.log_in(962).unwrap();
    for index in 0..8 {
        let long = format!("{index}-{}", "word".repeat(20 * index));
        reading.exec(id, &[b"program", long.as_bytes(), b"a  b"]);
    }
    reading.source.log_out(id).unwrap();
    let spool = reading.source.dir.to_str().unwrap().to_owned();
    let id = id.to_string();
    let page = write_page(&reading, &["session", "--local", "--spool", &spool, &id]);
    browser.open(&format!("file://{}", page.display())).unwrap();
    browser
        .wait_until("document.querySelectorAll('.row').length > 7")
        .unwrap();
    let screen = browser.evaluate(LAYOUT).unwrap();
    browser.lay_out_for_print(PAPER).unwrap();
    browser
        .wait_until(&format!(
            "innerWidth === {PAPER} && matchMedia('print').matches"
        ))
        .unwrap();
    let print = browser.evaluate(LAYOUT).unwrap();
    let headings = print["lines"][0].as_array().unwrap();
    assert!(headings.len() > 4, "{print:#}");
    assert_eq!(print["lines"], screen["lines"]);
    assert_eq!(print["cut"], serde_json::json!([]), "{print:#}");
}
