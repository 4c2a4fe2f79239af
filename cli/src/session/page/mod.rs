//! A session as one HTML page that loads nothing else.
//!
//! Recorded text is in the page as JSON, escaped as on a terminal, and the script turns it only into text nodes. The
//! page's Content-Security-Policy allows only its own script and style, by their hashes, and no loading or sending.

mod document;

use std::io::{self, Write};

use base64ct::{Base64, Encoding as _};
use sha2::{Digest as _, Sha256};
use vctl_common::charset;

use crate::session::model::History;
use crate::ui::Layout;
use crate::ui::json::write_embedded;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

pub(crate) fn write(out: &mut dyn Write, history: &History, layout: Layout) -> io::Result<()> {
    charset::write_for_programs();
    let page = document::page(history, layout);
    let mut rest = TEMPLATE;
    while let Some((before, from_mark)) = rest.split_once('@') {
        out.write_all(before.as_bytes())?;
        let (mark, after) = from_mark.split_once('@').unwrap_or((from_mark, ""));
        match mark {
            "STYLE" => out.write_all(STYLE.as_bytes())?,
            "STYLE_HASH" => out.write_all(hash(STYLE).as_bytes())?,
            "SCRIPT" => out.write_all(SCRIPT.as_bytes())?,
            "SCRIPT_HASH" => out.write_all(hash(SCRIPT).as_bytes())?,
            "SESSION" => write_embedded(out, &page)?,
            unknown => unreachable!("`page.html` has no mark `{unknown}`"),
        }
        rest = after;
    }
    out.write_all(rest.as_bytes())
}

fn hash(text: &str) -> String {
    Base64::encode_string(&Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Login, rendered};

    fn page(history: &History) -> String {
        rendered(|out| write(out, history, Layout::default()))
    }

    fn data(page: &str) -> serde_json::Value {
        let data = page.split("application/json\">").nth(1).unwrap();
        serde_json::from_str(data.split("</script>").next().unwrap()).unwrap()
    }

    #[test]
    fn a_running_program_is_drawn_up_to_the_end_of_the_chart() {
        let session = || {
            let login = Login::of_alice().exec(4102, 4101, &["sleep", "9"]);
            login.after_ms(2_000).exec(4103, 4101, &["date"])
        };
        let open = data(&page(&session().open()));
        let sleep = &open["rows"][0];
        assert_eq!(sleep["what"], "sleep 9");
        let drawn = sleep["at_us"].as_u64().unwrap() + sleep["took_us"].as_u64().unwrap();
        assert_eq!(open["until_us"], drawn);
        let closed = data(&page(&session().closed()));
        assert_eq!(closed["rows"][0]["took_us"], serde_json::Value::Null);
    }

    #[test]
    fn recorded_text_cannot_end_its_script_element() {
        let hostile = "</script><script>alert(1)</script><!--&amp;\u{2028}";
        let mut login = Login::of_alice().exec(4102, 4101, &["sh", hostile]);
        login.session().host = hostile.to_owned();
        login.session().opened.login_user = hostile.to_owned();
        let page = page(&login.closed());
        assert_eq!(page.matches("<script").count(), 2);
        assert_eq!(page.matches("</script>").count(), 2);
        assert!(!page.contains("<!--"));
        let data = data(&page);
        let what = data["rows"][0]["what"].as_str().unwrap();
        assert!(what.contains("</script><script>alert(1)"), "{what}");
    }

    #[test]
    fn page_refers_to_nothing_outside_itself() {
        let page = page(&Login::of_alice().closed());
        for way_out in [
            "http:",
            "https:",
            "src=",
            "href=",
            "url(",
            "@import",
            "innerHTML",
            "eval(",
        ] {
            assert!(!page.contains(way_out), "{way_out}");
        }
    }
}
